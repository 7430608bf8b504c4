"""A round in which somebody lies or errs ends in an error that names whom or what, never in a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.charter import Method
from fedspallm_secure.errors import ModelError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import (
    Envelope,
    LaneBlob,
    Masked,
    ModelStatement,
    SumName,
    Sums,
    open_envelope,
    seal,
)
from fedspallm_secure.rounds import (
    AddingUp,
    CoordinatorRound,
    InstitutionRound,
    LocalTelemetry,
    Member,
    Outcome,
    PublicWeights,
    RoundPlan,
)
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Delivery, Lane, Server
from fedspallm_secure.tlog import Evidence, HeldLog, origin_of
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.workspace import Journal, LayerStore
from tests.rounds.synthetic import Run, Setting

Change = Callable[[Lane, NDArray[Any]], NDArray[Any]]
"""A lane and its sum's digits -> other digits."""

Corrupt = Callable[[NDArray[np.uint64]], NDArray[np.uint64]]
"""A sum's words -> other words."""


def _on_words(run: Run, of: str, corrupt: Corrupt) -> Callable[[Envelope], Envelope]:
    """The server's own forgery: the first lane of one published sum is another blob, and the message is signed anew."""
    blobs = run.transcript.blobs

    def forge(envelope: Envelope) -> Envelope:
        message = open_envelope(envelope, run.charter.keys)
        if not isinstance(message, Sums) or message.sum != of:
            return envelope
        first = message.lanes[0]
        name = blobs.put(corrupt(blobs.get(first.blob)))
        lanes = (first.model_copy(update={"blob": name}), *message.lanes[1:])
        return seal(message.model_copy(update={"lanes": lanes}), run.participants.server)

    return forge


def _on_digits(run: Run, of: str, change: Change, length: int | None = None) -> Callable[[Envelope], Envelope]:
    """The same, by what the words stand for. `length`: how many digits, all weights of the lane if None."""
    lane = run.plan().context.lanes[0]
    packing = lane.votes if of == "votes" else lane.values

    def corrupt(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        altered: NDArray[np.uint64] = packing.pack(change(lane, packing.unpack(words, length or lane.length)))
        return altered

    return _on_words(run, of, corrupt)


def _lying_to_all(monkeypatch: pytest.MonkeyPatch, forge: Callable[[Envelope], Envelope]) -> None:
    """The server's log holds its forgery too, or nobody would take it in."""

    class LyingCoordinator(CoordinatorRound):
        def receive(self, envelope: Envelope) -> list[Delivery]:
            lies = [Delivery(honest.to, forge(honest.envelope)) for honest in super().receive(envelope)]
            for lie in lies:
                self._log.append(lie.envelope)
            return lies

    monkeypatch.setattr(embedded, "CoordinatorRound", LyingCoordinator)


def _lying_to_i2(monkeypatch: pytest.MonkeyPatch, forge: Callable[[Envelope], Envelope]) -> None:
    """As if i2 had not looked for the message in the log: what then stands in the way is what is tested."""

    class PossiblyDeceived(InstitutionRound):
        def receive(self, envelope: Envelope, evidence: Evidence) -> Envelope | None:
            lie = forge(envelope) if self._identity.name == "i2" else envelope
            return super().receive(envelope, evidence) if lie == envelope else self._answer(lie)

    monkeypatch.setattr(embedded, "InstitutionRound", PossiblyDeceived)


def _one_vote_less(lane: Lane, counts: NDArray[Any]) -> NDArray[Any]:
    """Takes a vote where all voted: mask and eligible positions stay as they are, the denominator does not."""
    counts = counts.copy()
    counts[np.flatnonzero(counts == lane.votes.clients)[0]] -= 1
    return counts


def _one_step_more(lane: Lane, sums: NDArray[Any]) -> NDArray[Any]:
    """Adds a step to the smallest change, where it is far from what the votes allow."""
    sums = sums.copy()
    no_change = lane.values.clients * lane.values.top // 2
    sums[np.argmin(np.abs(sums.astype(np.int64) - no_change))] += 1
    return sums


def _eligible(run: Run) -> int:
    """How many positions of the first lane take part in the values sum, from an honest round."""
    plan = run.plan()
    pruned = run.prune(plan, run.base)
    _, output = run.round(plan, run.base, pruned)
    name = run.charter.base.pruned[0].name
    votes = np.sum([store.kept(0, name) for store in pruned.values()], axis=0)
    return int(np.count_nonzero((output.weights(0, name) != 0) & (votes >= run.setting.minimum_contributors)))


_FALSE = "'i0' found that the published {} are not the sum of what the institutions sent"


@pytest.mark.parametrize("lie", [_lying_to_all, _lying_to_i2])
@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
@pytest.mark.parametrize("change", [_one_vote_less, lambda _, counts: np.roll(counts, 1), lambda _, counts: counts * 0])
def test_false_counts_are_found_before_any_value_is_sent(
    lie: Any, method: Method, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Setting(method=method), tmp_path)
    lie(monkeypatch, _on_digits(run, "votes", change))
    with pytest.raises(RemoteProtocolError, match=_FALSE.format("votes")):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    assert "proofs votes" in run.said(run.plan())
    assert "masked values" not in run.said(run.plan())


def test_counts_that_make_a_position_of_one_institution_eligible_are_found_even_if_the_server_believes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Setting(), tmp_path)

    def everybody_kept_everything(lane: Lane, counts: NDArray[Any]) -> NDArray[Any]:
        return np.full_like(counts, lane.votes.clients)

    class Believing(AddingUp):
        def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
            honest = super().__call__(server, name, lane)
            if name != "votes" or lane.index > 0:
                return honest
            counts = lane.votes.unpack(self._blobs.get(honest.blob), lane.length)
            forged = self._blobs.put(lane.votes.pack(everybody_kept_everything(lane, counts)))
            return honest.model_copy(update={"blob": forged})

    monkeypatch.setattr(embedded, "AddingUp", Believing)
    with pytest.raises(RemoteProtocolError, match=_FALSE.format("votes")):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    assert "masked values" not in run.said(run.plan())


@pytest.mark.parametrize("lie", [_lying_to_all, _lying_to_i2])
def test_false_sums_are_found_before_a_model_is_stated(
    lie: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = _eligible(Run(Setting(), tmp_path / "honest"))
    run = Run(Setting(), tmp_path / "lied to")
    lie(monkeypatch, _on_digits(run, "values", _one_step_more, length))
    with pytest.raises(RemoteProtocolError, match=_FALSE.format("values")):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    assert "model" not in run.said(run.plan())


@pytest.mark.parametrize("of", ["votes", "values"])
def test_a_false_sum_for_one_institution_alone_does_not_reach_its_check_since_no_log_holds_it(
    of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Setting(), tmp_path)
    forge = _on_words(run, of, lambda words: words ^ np.uint64(1))

    class Deceived(InstitutionRound):
        def receive(self, envelope: Envelope, evidence: Evidence) -> Envelope | None:
            return super().receive(forge(envelope) if self._identity.name == "i2" else envelope, evidence)

    monkeypatch.setattr(embedded, "InstitutionRound", Deceived)
    with pytest.raises(RemoteProtocolError, match=r"The proof does not show entry \d+ to be in the log of \d+ entries"):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    assert run.said(run.plan())[-1] == f"sums {of}"


class _TwoFaced(LayerStore):
    """Votes with its mask, and then sends changes as if it had voted for everything."""

    voted = 0

    def kept(self, layer: int, name: str) -> NDArray[np.bool_]:
        mask = super().kept(layer, name)
        self.voted += 1
        return mask if self.voted <= 2 else np.ones_like(mask)  # once to vote, once to prove it


def _all_move_by_the_clip(folder: Path) -> tuple[Run, dict[str, LayerStore]]:
    """Where all voters move by as much as they may, one more is one too many."""
    run = Run(Setting(layers=1, shapes=((12, 16),), change=0), folder)
    pruned = run.prune(run.plan(), run.base)
    name = run.charter.base.pruned[0].name
    for store in pruned.values():
        store.write(0, {name: run.base.weights(0, name) + np.float32(100)}, {name: store.kept(0, name)})
    return run, pruned


def test_an_institution_that_moves_weights_it_did_not_vote_for_fails_the_round(tmp_path: Path) -> None:
    honest, pruned = _all_move_by_the_clip(tmp_path / "honest")
    honest.round(honest.plan(), honest.base, pruned)
    run, pruned = _all_move_by_the_clip(tmp_path / "two-faced")
    pruned["i3"] = _TwoFaced(pruned["i3"].folder)
    name = run.charter.base.pruned[0].name
    with pytest.raises(RemoteProtocolError, match=rf"sum of lane {name} is larger than its votes allow"):
        run.round(run.plan(), run.base, pruned)


@pytest.mark.parametrize("of", ["votes", "values"])
def test_a_published_sum_of_another_length_than_announced_is_refused(
    of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Setting(), tmp_path)
    _lying_to_all(monkeypatch, _on_words(run, of, lambda words: words[:-1]))
    with pytest.raises(RemoteProtocolError, match=r"sum of lane layers\.0\.0\.weight has \d+ words; \d+ are due"):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))


def test_a_published_word_that_is_no_sum_of_digits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Setting(), tmp_path)
    _lying_to_all(monkeypatch, _on_words(run, "votes", lambda words: words | np.uint64(2**64 - 1)))
    with pytest.raises(RemoteProtocolError, match="no sum of digits"):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))


def test_a_blob_that_nobody_stored_is_reported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Setting(), tmp_path)

    def forge(envelope: Envelope) -> Envelope:
        message = open_envelope(envelope, run.charter.keys)
        if not isinstance(message, Sums):
            return envelope
        lanes = (message.lanes[0].model_copy(update={"blob": "ab" * 32}), *message.lanes[1:])
        return seal(message.model_copy(update={"lanes": lanes}), run.participants.server)

    _lying_to_all(monkeypatch, forge)
    with pytest.raises(StorageError, match="ab" * 32):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named_and_never_sent(value: float, tmp_path: Path) -> None:
    run = Run(Setting(), tmp_path)
    plan = run.plan()
    pruned = run.prune(plan, run.base)
    names = [tensor.name for tensor in run.tensors(1)]
    weights = {name: pruned["i1"].weights(1, name) for name in names}
    weights[names[1]][2, 3] = value
    pruned["i1"].write(1, weights, {name: pruned["i1"].kept(1, name) for name in names})
    with pytest.raises(ModelError, match=rf"i1's pruned {names[1]} holds values that are not finite"):
        run.round(plan, run.base, pruned)


def test_another_base_model_at_one_institution_ends_in_a_mismatch_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Setting(), tmp_path)
    pruned = run.prune(run.plan(), run.base)
    tensor, *others = run.tensors(0)
    votes = np.sum([store.kept(0, tensor.name) for store in pruned.values()], axis=0)
    W = run.base.weights(0, tensor.name)
    at = np.unravel_index(np.argmax(votes), W.shape)
    W[at] = -W[at]  # the same magnitude: masks and steps stay as they are
    other = LayerStore(tmp_path / "other-base")
    other.write(0, {tensor.name: W} | {one.name: run.base.weights(0, one.name) for one in others})
    other.write(1, {one.name: run.base.weights(1, one.name) for one in run.tensors(1)})

    class WithOtherBase(InstitutionRound):
        def __init__(self, plan: RoundPlan, member: Member, public: PublicWeights, *rest: Any) -> None:
            public = PublicWeights(other) if member.identity.name == "i2" else public
            super().__init__(plan, member, public, *rest)

    monkeypatch.setattr(embedded, "InstitutionRound", WithOtherBase)
    with pytest.raises(RemoteProtocolError, match=r"'i2' computed .* Do not use the model: .* another base model"):
        run.round(run.plan(), run.base, pruned)
    with pytest.raises(StorageError, match=rf"{tensor.name} has digest \w+; the charter says {tensor.digest}"):
        PublicWeights(other).check(tensor)
    PublicWeights(run.base).check(tensor)


def _i2_answers(
    run: Run, monkeypatch: pytest.MonkeyPatch, forge: Callable[[Masked | ModelStatement], Masked | ModelStatement]
) -> None:
    """Institution i2 signs something else than the honest answer."""

    class PossiblyLying(InstitutionRound):
        def _answer(self, envelope: Envelope) -> Envelope | None:
            answer = super()._answer(envelope)
            if answer is None or self._identity.name != "i2":
                return answer
            message = open_envelope(answer, run.charter.keys)
            if not isinstance(message, Masked | ModelStatement):
                return answer
            self._view.chain.prev = message.prev  # it never said what it was to say
            return self._view.chain.seal(forge(message), self._identity)

    monkeypatch.setattr(embedded, "InstitutionRound", PossiblyLying)


def test_an_institution_that_states_another_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Setting(), tmp_path)

    def forge(message: Masked | ModelStatement) -> Masked | ModelStatement:
        return message.model_copy(update={"model": "cd" * 32}) if isinstance(message, ModelStatement) else message

    _i2_answers(run, monkeypatch, forge)
    with pytest.raises(RemoteProtocolError, match=rf"'i2' computed the model {'cd' * 32}, 'coordinator' \w+\."):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))


def test_a_contribution_of_another_length_than_announced_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Setting(), tmp_path)
    blobs = run.transcript.blobs

    def forge(message: Masked | ModelStatement) -> Masked | ModelStatement:
        if isinstance(message, ModelStatement):
            return message
        first = message.lanes[0]
        short = first.model_copy(update={"blob": blobs.put(blobs.get(first.blob)[1:])})
        return message.model_copy(update={"lanes": (short, *message.lanes[1:])})

    _i2_answers(run, monkeypatch, forge)
    with pytest.raises(RemoteProtocolError, match=r"'i2' stored \d+ words for lane layers\.0\.0\.weight; \d+ are due"):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))


def test_at_first_everybody_is_missing_and_then_those_who_have_not_advertised(tmp_path: Path) -> None:
    run = Run(Setting(), tmp_path)
    plan, public, blobs = run.plan(), PublicWeights(run.base), BlobStore(tmp_path / "blobs")
    outcome, log = Outcome(plan, public, blobs), HeldLog(origin_of(plan.context.digest))
    coordinator = CoordinatorRound(plan, run.participants.server, outcome, AddingUp(blobs), None, log)
    assert coordinator.missing() == tuple(run.names)
    for name in ("i3", "i0"):
        view = run.participants.view(name, run.charter)
        member = Member(run.participants.institutions[name], run.entropy, Journal(), view, run.setting.policy)
        own = LayerStore(tmp_path / name)
        institution = InstitutionRound(plan, member, public, own, LocalTelemetry(), blobs, None)
        assert coordinator.receive(institution.start()) == []
    assert coordinator.missing() == ("i1", "i2", "i4")
    assert coordinator.model is None
