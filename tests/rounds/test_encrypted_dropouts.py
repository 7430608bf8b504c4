"""Whoever vanishes while votes are encrypted: those who released theirs are counted, or nothing is, and nobody else's
ciphertexts were ever shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedspallm_secure.charter import Method
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Again, Counted, Encrypted, Envelope, Release, Unproven
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.transcript import BlobStore
from tests.rounds.comparison import Parts, check_round
from tests.rounds.synthetic import Run, Setting
from tests.rounds.vanishing import AT_ONCE, vanish

_FOUR = Setting(clients=4, layers=1, shapes=((6, 8),), minimum_cohort=4, dropouts=1, ckks=True)  # 3 must be left
_BEFORE_COUNTING = (AT_ONCE, "advertised", "shares", "survivors votes", "confirmed votes")


def _without(run: Run, *names: str) -> list[str]:
    return [name for name in run.names if name not in names]


def _check(run: Run, parts: Parts) -> None:
    """The run's first round against the reference."""
    plan = run.plan()
    check_round(run, plan, run.base, run.prune(plan, run.base), parts)


def _shown(run: Run) -> set[str]:
    """Whose ciphertexts lie where the server and the custodian find them."""
    lies = {path.name for path in run.transcript.blobs.folder.iterdir()}
    signed = [message for message in run.messages(run.plan()) if isinstance(message, Encrypted)]
    return {message.sender for message in signed if lies.intersection(blob.blob for blob in message.lanes)}


def _counted(run: Run) -> list[tuple[str, ...]]:
    return [message.contributors for message in run.messages(run.plan()) if isinstance(message, Counted)]


@pytest.mark.parametrize("when", _BEFORE_COUNTING)
@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_who_vanishes_before_it_released_its_votes_is_not_counted_and_the_others_go_on(
    when: str, method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_FOUR, method=method), tmp_path)
    vanish(monkeypatch, run, {"i1": when})
    left = _without(run, "i1")
    _check(run, Parts(voted=left, moved=left, stated=left))
    assert _counted(run) == [tuple(left)]
    assert _shown(run) == set(left)


def test_a_release_that_got_lost_leaves_its_sender_out_though_its_ciphertexts_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_FOUR, tmp_path)
    vanish(monkeypatch, run, {"i1": "confirmed votes"}, after_it_answered=True)
    left = _without(run, "i1")
    _check(run, Parts(voted=left, moved=left, stated=left))
    assert _counted(run) == [tuple(left)]
    assert _shown(run) == set(run.names)


@pytest.mark.parametrize("witness", [None, "auditor"])
def test_counts_of_which_a_proof_is_missing_move_no_weight_and_no_witness_is_asked(
    witness: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_FOUR, witness=witness), tmp_path)
    vanish(monkeypatch, run, {"i1": "sums votes"})
    _check(run, Parts(voted=run.names, moved=None, stated=_without(run, "i1")))
    unproven = [said for said in run.messages(run.plan()) if isinstance(said, Unproven)]
    assert [(said.sum, said.missing) for said in unproven] == [("votes", ("i1",))]
    assert not {"masked values", "attest votes", "attested votes"}.intersection(run.said(run.plan()))


def test_a_witness_still_vouches_for_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(replace(_FOUR, witness="auditor"), tmp_path)
    vanish(monkeypatch, run, {"i1": "sums values"})
    _check(run, Parts(voted=run.names, moved=run.names, stated=_without(run, "i1")))
    assert [said for said in run.said(run.plan()) if said.startswith("attest ")] == ["attest values"]


def test_who_vanishes_before_it_sent_values_is_given_up_as_with_masked_votes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_FOUR, tmp_path)
    vanish(monkeypatch, run, {"i1": "proofs votes"})
    left = _without(run, "i1")
    _check(run, Parts(voted=run.names, moved=left, stated=left, given_up=("i1",)))
    assert [(said.attempt, said.gone) for said in run.messages(run.plan()) if isinstance(said, Again)] == [(1, ("i1",))]


def test_one_may_vanish_from_the_votes_and_another_one_from_the_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_FOUR, clients=6, minimum_cohort=6, dropouts=2), tmp_path)
    vanish(monkeypatch, run, {"i1": "confirmed votes", "i4": "proofs votes"})
    voted, left = _without(run, "i1"), _without(run, "i1", "i4")
    _check(run, Parts(voted=voted, moved=left, stated=left, given_up=("i4",)))


@pytest.mark.parametrize(
    ("when", "did", "shown"),
    [
        (AT_ONCE, "advertised keys", set()),
        ("advertised", "shared their secrets", set()),
        ("shares", "sent their votes", set()),
        ("survivors votes", "confirmed the survivors", set()),
        ("confirmed votes", "released their votes", {"i0", "i3"}),
    ],
)
def test_when_too_few_are_left_the_round_fails_with_the_names_of_the_others_and_nothing_is_counted(
    when: str, did: str, shown: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_FOUR, tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(("i1", "i2"), when))
    said = rf"2 of the 4 institutions .* {did}; 3 are needed\. Missing: i1, i2\."
    with pytest.raises(RemoteProtocolError, match=said):
        _check(run, Parts((), (), ()))
    assert {"collected", "counted", "sums votes"}.isdisjoint(run.said(run.plan()))
    assert _shown(run) == shown  # nobody's before a quorum confirmed


@dataclass
class _Silent:
    """A custodian that never answers."""

    asked: int = 0

    def count(self, plan: RoundPlan, log: Iterable[Envelope], blobs: BlobStore) -> Envelope | None:
        """Nothing."""
        self.asked += 1
        return None


def test_without_the_custodian_the_round_fails_with_its_name_and_nothing_is_published(tmp_path: Path) -> None:
    run = Run(_FOUR, tmp_path)
    silent = _Silent()
    run.participants = replace(run.participants, custodian=silent)  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError, match=r"custodian has not counted the votes\. Nothing was revealed"):
        _check(run, Parts((), (), ()))
    assert silent.asked == 1
    assert run.said(run.plan())[-1] == "collected"


@pytest.mark.parametrize("when", ["shares", "survivors votes", "confirmed votes", "sums votes", "proofs votes"])
def test_who_vanished_from_one_round_takes_part_in_the_next(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_FOUR, schedule=("0.3", "0.5"), method="wanda"), tmp_path)
    vanish(monkeypatch, run, {"i1": when})
    left = _without(run, "i1")
    voted = run.names if when in ("sums votes", "proofs votes") else left
    first = run.plan(0)
    parts = Parts(voted, None if when == "sums votes" else left, left)
    output = check_round(run, first, run.base, run.prune(first, run.base), parts)
    second = run.plan(1)
    check_round(run, second, output, run.prune(second, output))
    assert {said.sender for said in run.messages(second) if isinstance(said, Release)} == set(run.names)
