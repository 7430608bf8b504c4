"""A server that shows two institutions two logs: who notices, when, and what the server gets out of it until then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedspallm_secure.errors import EquivocationError, RemoteProtocolError
from fedspallm_secure.messages import Confirm, Confirmed, Envelope, seal
from fedspallm_secure.rounds import replay
from fedspallm_secure.secagg import Delivery
from fedspallm_secure.tlog import open_note, parse_checkpoint, signers
from tests.rounds.forking import Side, TwoFaced
from tests.rounds.synthetic import Run, Setting

_FIVE = Setting(layers=1, shapes=((4, 4),))  # 4 of the 5 must agree
_MASKS = replace(_FIVE, method="wanda")
_SECOND = ("i3", "i4")


def _forked(folder: Path, setting: Setting, alike: int, apart: int) -> TwoFaced:
    """After `alike` steps in which both logs are the same, `apart` ones in which their entries stand in two orders."""
    server = TwoFaced(Run(setting, folder), _SECOND)
    for number in range(alike + apart):
        server.step(apart=number >= alike)
    return server


def _due(server: TwoFaced) -> set[str]:
    """What the institutions said last."""
    messages = [server.plan.context.open(envelope) for envelope in server.upward.values()]
    return {f"{message.kind} {getattr(message, 'sum', '')}".strip() for message in messages}


def _show(server: TwoFaced, side: Side, envelope: Envelope, to: str) -> None:
    """Somebody is told an entry of one side's log, by the keeper's best evidence."""
    evidence = side.log.evidence(envelope, server.run.participants.server, to, server.views[to].chain.seen)
    server.institutions[to].receive(envelope, evidence)


@pytest.mark.parametrize(("alike", "of"), [(0, "votes"), (1, "votes"), (2, "votes"), (5, "values"), (6, "values")])
def test_after_a_fork_no_quorum_confirms_the_survivors_and_no_share_of_that_sum_is_handed_out(
    alike: int, of: str, tmp_path: Path
) -> None:
    server = _forked(tmp_path, _FIVE, alike, (3 if of == "votes" else 7) - alike)
    assert _due(server) == {f"confirm {of}"}
    server.step()
    assert server.upward == {}
    for side, there in zip(server.sides, (3, 2), strict=True):
        with pytest.raises(RemoteProtocolError, match=rf"{there} of the 5 .* confirmed the survivors; 4 are needed"):
            side.coordinator.close()
        assert f"unmask {of}" not in server.said(side)
        assert server.said(side).count("unmask votes") == (5 if of == "values" else 0)


def test_confirmations_from_both_sides_of_a_fork_do_not_make_a_quorum(tmp_path: Path) -> None:
    server = _forked(tmp_path, _FIVE, 0, 3)
    first, _ = server.sides
    mine = server.plan.context.open(server.upward["i0"])
    assert isinstance(mine, Confirm)
    together = Confirmed(
        charter=mine.charter,
        round=0,
        sender="coordinator",
        sum="votes",
        attempt=0,
        survivors=mine.survivors,
        signatures={name: envelope.signatures[0].sig for name, envelope in server.upward.items()},
    )
    server.step()
    envelope = seal(together, server.run.participants.server)
    first.log.append(envelope)
    for name in first.shown:
        with pytest.raises(RemoteProtocolError, match=r"The signature of 'i[34]' does not hold"):
            server.tell(first, Delivery(name, envelope))
    assert server.upward == {}


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_institution_that_is_shown_the_other_log_refuses_it_and_holds_both_checkpoints(
    steps: int, tmp_path: Path
) -> None:
    server = _forked(tmp_path, _FIVE, 0, steps)
    first, second = server.sides
    survivors = steps == 3
    for name in second.shown:
        before = server.views[name].note
        with pytest.raises(EquivocationError, match="not shown to continue the one of") as refused:
            _show(server, first, first.entries[-1 if survivors else 0], name)
        assert refused.value.notes == (before, first.log.checkpoint(server.run.participants.server))
        assert server.views[name].note == before
        _contradict(server, *refused.value.notes)


def test_an_institution_whose_keys_are_not_in_the_log_shares_nothing_under_those_of_the_others(tmp_path: Path) -> None:
    server = _forked(tmp_path, replace(_FIVE, minimum_cohort=5, dropouts=1), 0, 0)
    coordinator, log = server.honest()
    for name in ("i0", "i1", "i2", "i3"):
        assert coordinator.receive(server.upward[name]) == []
    (told, *_) = coordinator.close()
    with pytest.raises(RemoteProtocolError, match="Our own advertisement came back changed, or not at all"):
        _show(server, Side(log, coordinator, ()), told.envelope, "i4")
    chain = server.views["i4"].chain
    assert (chain.prev, chain.seen) == (None, log.head())  # the keeper may be honest: what came too late stands nowhere


def test_a_fork_after_the_last_survivors_goes_through_but_each_log_holds_signed_word_of_the_other(
    tmp_path: Path,
) -> None:
    server = _forked(tmp_path, _MASKS, 5, 2)
    notes = [server.checkpoint(side) for side in server.sides]
    for side, others in zip(server.sides, (_SECOND, ("i0", "i1", "i2")), strict=True):
        assert side.coordinator.model is not None
        coordinator, log = server.honest()
        with pytest.raises(RemoteProtocolError, match=r"saw a log of \d+ entries .* which is not this one") as refused:
            replay(coordinator, server.plan, log, side.entries)
        assert any(repr(name) in refused.value.problem for name in others)
    _contradict(server, *notes)


def test_a_fork_of_the_last_statements_is_told_by_the_cosigned_checkpoints_alone(tmp_path: Path) -> None:
    server = _forked(tmp_path, _MASKS, 6, 1)
    assert server.upward == {}
    notes = [server.checkpoint(side) for side in server.sides]
    for side in server.sides:
        coordinator, log = server.honest()
        replay(coordinator, server.plan, log, side.entries)
        assert coordinator.model == side.coordinator.model is not None
    _contradict(server, *notes)
    keys = server.run.charter.keys
    for note, side in zip(notes, server.sides, strict=True):
        assert signers(open_note(note, keys)[1], cosigners=True) == list(side.shown)
    for side, other in zip(server.sides, server.sides[::-1], strict=True):
        for name in side.shown:
            view, identity = server.views[name], server.run.participants.institutions[name]
            note = other.log.checkpoint(server.run.participants.server)
            with pytest.raises(EquivocationError) as refused:
                view.cosign(note, (), other.log.own(name), identity, 0)
            _contradict(server, *refused.value.notes)


def _contradict(server: TwoFaced, *notes: str) -> None:
    """Two notes, both with the server's signature, that say two things of the same number of entries of one log."""
    keys = {server.origin: server.run.charter.server_key}
    said = []
    for note in notes:
        text, signatures = open_note(note, keys)
        assert signers(signatures, cosigners=False) == [server.origin]
        said.append(parse_checkpoint(text))
    one, other = said
    assert one.origin == other.origin == server.origin
    assert one.head.size == other.head.size
    assert one.head.root != other.head.root


def test_without_a_fork_the_same_server_comes_to_the_end_and_its_logs_are_one(tmp_path: Path) -> None:
    server = _forked(tmp_path, _FIVE, 11, 0)
    assert server.upward == {}
    first, second = server.sides
    assert first.entries == second.entries
    assert first.coordinator.model == second.coordinator.model is not None
