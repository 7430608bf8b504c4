"""A custodian counts what a quorum confirmed, and refuses every other log by name before it decrypts anything.

CKKS is malleable: whoever sees a ciphertext makes another one of the same votes, and nobody can tell. A server in
league with one institution would have somebody's votes counted twice, and read them off the counts: 2 a + b tells a
from b.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import pytest

from fedspallm_secure.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    Collected,
    Confirm,
    Confirmed,
    Encrypted,
    Message,
    Release,
    Survivors,
    seal,
)
from fedspallm_secure.tlog import HeldLog, origin_of
from tests.rounds.retelling import ATTACKERS, COLLUDER, EVERYBODY, VICTIM, Change, Shown, shown


@pytest.fixture(scope="module")
def round_(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return shown(tmp_path_factory.mktemp("shown"))


def _truly(message: Message) -> Iterable[Message]:
    return [message]


def _instead(kind: type, change: Callable[[Any], Iterable[Message]], sender: str | None = None) -> Change:
    """Every message of a kind, of one sender or of all, becomes something else."""

    def changed(message: Message) -> Iterable[Message]:
        if isinstance(message, kind) and sender in (None, message.sender):
            return change(message)
        return [message]

    return changed


def _with(**changes: object) -> Callable[[Any], Iterable[Message]]:
    return lambda message: [message.model_copy(update=changes)]


def _nothing(_: Message) -> Iterable[Message]:
    return []


def _copied(round_: Shown) -> Change:
    """The colluder names the victim's ciphertexts, made unrecognisable, in place of its own."""
    return _instead(Encrypted, _with(lanes=round_.again(VICTIM)), COLLUDER)


def _refused(round_: Shown, entries: list[Any], words: str, fault: type[ProtocolError] = RemoteProtocolError) -> None:
    """Refused by name, and nothing was decided: the true log is counted afterwards as if nothing had happened."""
    office = round_.office()
    with pytest.raises(fault, match=words):
        round_.count(entries, office)
    assert round_.counts(round_.count(round_.entries, office)).tolist() == _sum(round_, *round_.votes).tolist()


def _sum(round_: Shown, *names: str) -> Any:
    return np.sum([round_.votes[name] for name in names], axis=0, dtype=np.int64)


def test_the_true_log_is_counted_and_gives_the_same_answer_again(round_: Shown) -> None:
    office = round_.office()
    first, second = round_.count(round_.entries, office), round_.count(round_.entries, office)
    assert first == second == round_.counted
    assert round_.counts(first).tolist() == _sum(round_, *round_.votes).tolist()
    assert round_.retold(_truly, EVERYBODY) == round_.entries


# The attack on malleable ciphertexts.


def test_were_a_copy_counted_the_counts_would_tell_the_victims_votes_from_the_others(round_: Shown) -> None:
    """As if everybody had confirmed it: what stands in the way is their signatures, and no property of a ciphertext."""

    def of_three(message: Message) -> Iterable[Message]:
        without: dict[str, object] = {"survivors": (VICTIM, "i1", COLLUDER)} if isinstance(message, Survivors) else {}
        if isinstance(message, Collected):
            without = {"contributors": (VICTIM, "i1", COLLUDER)}
        if isinstance(message, Confirm | Release) and message.sender == "i2":
            return []
        if isinstance(message, Confirmed):
            without = {"signatures": dict.fromkeys((VICTIM, "i1", COLLUDER), "")}
        return [said.model_copy(update=without) for said in _copied(round_)(message)]

    counts = round_.counts(round_.count(round_.retold(of_three, EVERYBODY)))
    assert counts.tolist() == (2 * round_.votes[VICTIM].astype(int) + round_.votes["i1"]).tolist()
    assert (counts // 2).tolist() == round_.votes[VICTIM].tolist()


def test_a_copy_in_place_of_what_was_signed_is_another_log_than_the_survivors_were_confirmed_in(round_: Shown) -> None:
    entries = round_.retold(_copied(round_), [COLLUDER])
    _refused(round_, entries, "The survivors were confirmed in another log than this one")


def test_survivors_that_name_the_log_with_a_copy_have_no_honest_confirmation(round_: Shown) -> None:
    entries = round_.retold(_copied(round_), ATTACKERS)
    _refused(round_, entries, r"The signature of 'i\d' does not hold")


def test_nor_do_they_have_enough_dishonest_ones(round_: Shown) -> None:
    def alone(message: Message) -> Iterable[Message]:
        if isinstance(message, Confirmed):
            return [message.model_copy(update={"signatures": {COLLUDER: ""}})]
        return _copied(round_)(message)

    _refused(round_, round_.retold(alone, ATTACKERS), "not confirmed by a quorum of them in every cohort")


def test_two_sets_of_survivors_find_no_two_quorums(round_: Shown) -> None:
    """The victim released its votes for a quorum's survivors; i2 was told of others, in a log that has the copy."""

    def other(message: Message) -> Iterable[Message]:
        if isinstance(message, Survivors):
            return [message.model_copy(update={"survivors": (VICTIM, "i2", COLLUDER)})]
        if isinstance(message, Collected):
            return [message.model_copy(update={"contributors": (VICTIM, "i2", COLLUDER)})]
        if isinstance(message, Confirmed):
            return [message.model_copy(update={"signatures": {"i2": "", COLLUDER: ""}})]
        return _copied(round_)(message)

    entries = round_.retold(other, [*ATTACKERS, "i2"])
    _refused(round_, entries, "not confirmed by a quorum of them in every cohort")


def test_a_digest_signed_after_the_survivors_does_not_count_and_changes_nothing(round_: Shown) -> None:
    """The colluder saw the victim's ciphertexts, and signs again: what it signed before is what is counted."""
    late = round_.encrypted(COLLUDER).model_copy(update={"lanes": round_.again(VICTIM)})
    entries = round_.retold(_instead(Collected, lambda message: [late, message]), ATTACKERS)
    counted = round_.count(entries)
    assert counted.lanes == round_.counted.lanes


def test_who_signed_nothing_before_the_survivors_is_not_counted_though_everybody_says_so(round_: Shown) -> None:
    own = round_.encrypted(COLLUDER)

    def late(message: Message) -> Iterable[Message]:
        if message == own:
            return []
        return [message, own] if isinstance(message, Survivors) else [message]

    entries = round_.retold(late, EVERYBODY)
    _refused(round_, entries, "i3 signed no ciphertexts before the survivors were named")


def test_who_signed_two_different_ciphertexts_is_not_counted(round_: Shown) -> None:
    again = round_.encrypted(COLLUDER).model_copy(update={"lanes": round_.again(COLLUDER)})
    entries = round_.retold(_instead(Encrypted, lambda message: [message, again], COLLUDER), EVERYBODY)
    _refused(round_, entries, "'i3' signed its ciphertexts twice")


def test_the_same_bytes_under_two_names_are_refused_though_everybody_says_so(round_: Shown) -> None:
    copied = _instead(Encrypted, _with(lanes=round_.encrypted(VICTIM).lanes), COLLUDER)
    entries = round_.retold(copied, EVERYBODY)
    _refused(round_, entries, r"'i3' sent for lane layers\.0\.0\.weight the ciphertexts of 'i0'")


def test_lanes_that_are_not_those_due_are_refused_though_everybody_says_so(round_: Shown) -> None:
    (lane,) = round_.encrypted(COLLUDER).lanes
    for lanes, words in (((), "named 0 lanes"), ((lane.model_copy(update={"words": 7}),), "announced 7 words")):
        entries = round_.retold(_instead(Encrypted, _with(lanes=lanes), COLLUDER), EVERYBODY)
        _refused(round_, entries, words)


# Confirmations, releases and what the server collected.


def _of_three(*names: str) -> Change:
    return _instead(Collected, _with(contributors=names))


REFUSED: dict[str, tuple[Change, Collection[str], str]] = {
    "no survivors": (_instead(Survivors, _nothing), ATTACKERS, "names the survivors of votes 0 times; once is due"),
    "survivors twice": (
        _instead(Survivors, lambda message: [message, message.model_copy(update={"survivors": ("i0", "i1", "i2")})]),
        ATTACKERS,
        "names the survivors of votes 2 times; once is due",
    ),
    "survivors of another start": (_instead(Survivors, _with(start="ab" * 32)), EVERYBODY, "is said to start from"),
    "too few survivors": (
        _instead(Survivors, _with(survivors=("i0", "i3"))),
        EVERYBODY,
        "2 of the . institutions of lane .* are there for votes; 3 are needed",
    ),
    "an entry left out before the survivors": (
        _instead(Encrypted, _nothing, "i2"),
        [COLLUDER],
        "confirmed in another log than this one",
    ),
    "no confirmations": (_instead(Confirmed, _nothing), ATTACKERS, "The survivors of votes are not confirmed"),
    "confirmations of other survivors": (
        _instead(Confirmed, _with(survivors="ab" * 32)),
        ATTACKERS,
        "The survivors of votes are not confirmed",
    ),
    "too few confirmations": (
        _instead(Confirmed, lambda message: [message.model_copy(update={"signatures": {"i0": "", "i1": ""}})]),
        EVERYBODY,
        "not confirmed by a quorum",
    ),
    "a confirmation of nobody": (
        _instead(
            Confirmed, lambda message: [message.model_copy(update={"signatures": message.signatures | {"i9": "AAAA"}})]
        ),
        ATTACKERS,
        "not confirmed by a quorum",
    ),
    "a false confirmation": (
        _instead(
            Confirmed,
            lambda message: [
                message.model_copy(update={"signatures": message.signatures | {"i1": message.signatures["i0"]}})
            ],
        ),
        ["coordinator"],
        "The signature of 'i1' does not hold",
    ),
    "no release": (_instead(Release, _nothing, "i0"), ATTACKERS, "i0 did not release the ciphertexts"),
    "a release for other survivors": (
        _instead(Release, _with(survivors="ab" * 32), "i0"),
        EVERYBODY,
        "i0 did not release the ciphertexts",
    ),
    "nothing collected": (_instead(Collected, _nothing), ATTACKERS, "did not say, or not once, whose ciphertexts came"),
    "collected twice": (
        _instead(Collected, lambda message: [message, message.model_copy(update={"contributors": ("i0", "i1", "i2")})]),
        ATTACKERS,
        "did not say, or not once, whose ciphertexts came",
    ),
    "collected for other survivors": (
        _instead(Collected, _with(survivors="ab" * 32)),
        ATTACKERS,
        "did not say, or not once, whose ciphertexts came",
    ),
    "too few contributors": (
        _of_three("i0", "i3"),
        ATTACKERS,
        "2 of the . institutions of lane .* are there for votes; 3 are needed",
    ),
    "a sum of one": (_of_three("i0"), ATTACKERS, "1 of the . institutions of lane .* are there for votes"),
    "nobody": (_of_three(), ATTACKERS, "0 of the . institutions of lane .* are there for votes; 3 are needed"),
    "a stranger": (_of_three("i0", "i1", "i9"), ATTACKERS, "contributors of votes are not institutions that may be"),
    "somebody twice": (_of_three("i0", "i0", "i1", "i2"), ATTACKERS, "each once and in roster order"),
    "another charter's message": (
        _instead(Encrypted, _with(charter="ab" * 32), COLLUDER),
        ATTACKERS,
        "'i3' speaks of charter abab",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_log_that_does_not_show_that_votes_may_be_counted_is_refused_by_name(what: str, round_: Shown) -> None:
    change, signers, words = REFUSED[what]
    _refused(round_, round_.retold(change, signers), words)


def test_survivors_who_are_none_can_not_be_contributors(round_: Shown) -> None:
    def without_i2(message: Message) -> Iterable[Message]:
        if isinstance(message, Survivors):
            return [message.model_copy(update={"survivors": ("i0", "i1", "i3")})]
        if isinstance(message, Confirmed):
            return [message.model_copy(update={"signatures": dict.fromkeys(("i0", "i1", "i3"), "")})]
        return [message]

    _refused(round_, round_.retold(without_i2, EVERYBODY), "contributors of votes are not institutions that may be")


def test_a_log_that_was_forked_after_the_survivors_is_refused(round_: Shown) -> None:
    *before, last = round_.entries
    collected = round_.message(last)
    log = HeldLog(origin_of(round_.plan.context.digest))
    for envelope in before[:-1]:
        log.append(envelope)
    assert isinstance(collected, Collected)
    forked = seal(collected.model_copy(update={"log": log.head()}), round_.run.participants.server)
    _refused(round_, [*before, forked], "The ciphertexts were collected in another log than this one")


def test_an_entry_that_nobody_signed_is_refused(round_: Shown) -> None:
    *before, last = round_.entries
    stranger = last.model_copy(update={"payload": round_.entries[0].payload})
    _refused(round_, [*before, stranger], "does not hold")


def test_a_second_set_of_contributors_is_refused_by_the_journal(round_: Shown) -> None:
    office = round_.office()
    first = round_.count(round_.entries, office)
    fewer = round_.retold(_of_three("i0", "i1", "i3"), ATTACKERS)
    with pytest.raises(LocalProtocolError, match=r"lane layers\.0\.0\.weight was decided as decrypted for"):
        round_.count(fewer, office)
    assert round_.count(round_.entries, office) == first
    another = round_.office()  # and the other way round
    assert round_.count(fewer, another).contributors == ("i0", "i1", "i3")
    with pytest.raises(LocalProtocolError, match="was decided as decrypted for"):
        round_.count(round_.entries, another)


def test_its_answer_names_the_log_that_it_read_and_whose_votes_it_counted(round_: Shown) -> None:
    counted = round_.count(round_.entries)
    log = HeldLog(origin_of(round_.plan.context.digest))
    for envelope in round_.entries:
        log.append(envelope)
    assert (counted.sender, counted.prev, counted.seen) == ("custodian", None, log.head())
    collected = round_.message(round_.entries[-1])
    assert isinstance(collected, Collected)
    assert (counted.survivors, counted.contributors) == (collected.survivors, collected.contributors)


def test_an_entry_left_out_doubled_or_moved_is_refused_or_changes_no_count(round_: Shown) -> None:
    """With that one error and no other; only what was said after the survivors can be told otherwise at all."""
    entries, true = round_.entries, round_.counted
    survivors = next(at for at, entry in enumerate(entries) if isinstance(round_.message(entry), Survivors))
    refused = taken = 0
    for at in range(len(entries)):
        without = entries[:at] + entries[at + 1 :]
        doubled = entries[: at + 1] + entries[at:]
        last_first = [entries[at], *without]
        for told in (without, doubled, last_first):
            if told == entries:
                continue
            try:
                counted = round_.count(told)
            except RemoteProtocolError:
                refused += 1
            else:
                taken += 1
                assert at > survivors
                assert (counted.lanes, counted.contributors) == (true.lanes, true.contributors)
    assert refused > 3 * survivors
    assert taken <= 3 * (len(entries) - survivors)
