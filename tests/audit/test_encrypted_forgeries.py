"""Encrypted votes: what the server, the custodian and institutions sign anew is found, and blamed on who signed it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedspallm_secure.audit import Depth
from fedspallm_secure.messages import Attest, Attested, Counted, CountedLane, Encrypted, Envelope, Sums, digest, seal
from fedspallm_secure.tlog import HeldLog
from tests.audit.forging import SERVER, Forgery, edit, edited, failed, find, rewritten, signer, written
from tests.audit.honest_transcript import ENCRYPTED, Honest, record
from tests.rounds.synthetic import Setting

_FOUR = Setting(clients=4, layers=1, shapes=((4, 8), (4, 8)), minimum_cohort=4, dropouts=1, method="wanda", ckks=True)
_BOTH = ("coordinator", "custodian")  # the log's keeper comes first: A6 fails before


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(_FOUR, tmp_path_factory.mktemp("four"))


@pytest.fixture(scope="module")
def three_of_four(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    """i1 vanishes before it hands over its ciphertexts."""
    return record(_FOUR, tmp_path_factory.mktemp("three"), {"i1": "confirmed votes"})


def _counted(honest: Honest) -> Counted:
    (counted,) = [message for message in honest.messages() if isinstance(message, Counted)]
    return counted


def _changed(honest: Honest) -> tuple[CountedLane, ...]:
    """The custodian's lanes with one count one less; the payload is stored."""
    first, *more = _counted(honest).lanes
    packing, length = honest.run.plan().context.lanes[0].votes, honest.run.plan().context.lanes[0].length
    digits = packing.unpack(honest.run.transcript.blobs.get(first.blob), length).copy()
    digits[np.flatnonzero(digits)[0]] -= 1
    return (first.model_copy(update={"blob": honest.run.transcript.blobs.put(packing.pack(digits))}), *more)


def _publishes_others(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """The server publishes other counts beside the custodian's word."""
    lanes = tuple(one.counts for one in _changed(honest))
    return edited(honest, entries, find(honest, "sums"), lanes=lanes)


def _in_its_name(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """The server publishes other counts, and a word for them in the custodian's name under its own signature."""
    word = seal(_counted(honest).model_copy(update={"lanes": _changed(honest)}), signer(honest, "coordinator"))
    named = word.signatures[0].model_copy(update={"keyid": "custodian"})
    word = word.model_copy(update={"signatures": (named,)})
    lanes = tuple(one.counts for one in _changed(honest))
    return edited(honest, entries, find(honest, "sums"), lanes=lanes, counted=word)


def _recounted(honest: Honest, entries: list[Envelope], **update: Any) -> list[Envelope]:
    """The custodian signs another word, which the server publishes."""
    at = find(honest, "counted", sender="custodian")
    changed = edited(honest, entries, at, **update)
    lanes = tuple(one.counts for one in update.get("lanes", _counted(honest).lanes))
    return edited(honest, changed, find(honest, "sums"), lanes=lanes, counted=changed[at])


def _says(kind: str) -> Any:
    """What the custodian says otherwise, by name."""

    def change(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
        lanes = _counted(honest).lanes
        other: dict[str, Any] = {
            "contributors": {"contributors": ("i0", "i2", "i3")},
            "survivors": {"survivors": "ab" * 32},
            "another sum": {"lanes": (lanes[0].model_copy(update={"ciphertexts": "ab" * 32}), *lanes[1:])},
            "words": {"lanes": (lanes[0].model_copy(update={"words": lanes[0].words + 1}), *lanes[1:])},
            "fewer lanes": {"lanes": lanes[:1]},
            "swapped lanes": {"lanes": lanes[::-1]},
        }
        return _recounted(honest, entries, **other[kind])

    return change


def _two_words(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """In the log stands another word of the custodian's than beside the published counts."""
    return edited(honest, entries, find(honest, "counted", sender="custodian"), lanes=_changed(honest))


def _dropped(kind: str, sender: str) -> Any:
    def change(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
        at = find(honest, kind, sender=sender)
        return [*entries[:at], *entries[at + 1 :]]

    return change


def _copied(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """i1 signs the digests of i0's ciphertexts."""
    one, other = (find(honest, "encrypted", sender=name) for name in ("i0", "i1"))
    message = honest.messages()[one]
    assert isinstance(message, Encrypted)
    return edited(honest, entries, other, lanes=message.lanes)


def _other_ciphertexts(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """i1 signs other ciphertexts than those that it handed over, which are stored."""
    at = find(honest, "encrypted", sender="i1")
    message = honest.messages()[at]
    assert isinstance(message, Encrypted)
    words = honest.run.transcript.blobs.get(message.lanes[0].blob).copy()
    words[0] ^= np.uint64(1)
    first = message.lanes[0].model_copy(update={"blob": honest.run.transcript.blobs.put(words)})
    return edited(honest, entries, at, lanes=(first, *message.lanes[1:]))


def _early(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """The custodian's word stands before what was collected."""
    at = find(honest, "counted", sender="custodian")
    return [*entries[: at - 1], entries[at], entries[at - 1], *entries[at + 1 :]]


def _late(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """The custodian says the same again when the counts are published, and links it as a new word."""
    at = find(honest, "sums") + 1
    return [*entries[:at], entries[find(honest, "counted", sender="custodian")], *entries[at:]]


_DEPTHS: tuple[Depth, ...] = ("public", "full")
_OTHERS = ("i0", "i2", "i3")

_FORGERIES = {
    "the server publishes other counts": Forgery(_publishes_others, {"A6", "A14"}),
    "and signs for them in the custodian's name": Forgery(_in_its_name, {"A6", "A14"}),
    "counts without the custodian's word": Forgery(edit("sums", counted=None), {"A6", "A14"}),
    "the custodian's word is missing": Forgery(_dropped("counted", "custodian"), {"A6", "A14"}),
    "the custodian's word comes early": Forgery(_early, {"A6"}),
    "the custodian's word comes again": Forgery(_late, {"A6", "A14"}, colluders=("custodian",)),
    "a word in the custodian's name": Forgery(
        edit("counted", sender="custodian", by="coordinator", contributors=_OTHERS), {"A4"}
    ),
    "a release is dropped": Forgery(_dropped("release", "i1"), {"A5", "A6", "A11"}),
    "collected leaves out who released": Forgery(edit("collected", contributors=_OTHERS), {"A6", "A11"}),
    "collected for other survivors": Forgery(edit("collected", survivors="ab" * 32), {"A6", "A11"}),
    "released for other survivors": Forgery(
        edit("release", sender="i1", survivors="ab" * 32), {"A6", "A13"}, colluders=("i1",)
    ),
    "ciphertexts copied from another": Forgery(_copied, {"A6", "A10"}, colluders=("i1",)),
    "other ciphertexts, with their sender's help": Forgery(_other_ciphertexts, {"A6", "A12"}, colluders=("i1",)),
    "counts of other contributors": Forgery(_says("contributors"), {"A6", "A14"}, _BOTH, ("custodian",)),
    "counts for other survivors": Forgery(_says("survivors"), {"A6", "A14"}, _BOTH, ("custodian",)),
    "counts of fewer lanes": Forgery(_says("fewer lanes"), {"A6", "A14"}, _BOTH, ("custodian",)),
    "counts of lanes in another order": Forgery(_says("swapped lanes"), {"A6", "A14"}, _BOTH, ("custodian",)),
    "counts of more words": Forgery(_says("words"), {"A6", "A14"}, _BOTH, ("custodian",)),
    "counts of another encrypted sum": Forgery(_says("another sum"), {"A6", "A21"}, _BOTH, ("custodian",)),
    "two words of the custodian": Forgery(_two_words, {"A6", "A14"}, _BOTH, ("custodian",)),
}


@pytest.mark.parametrize("name", _FORGERIES)
def test_what_is_signed_anew_is_found_and_its_signers_are_blamed(four: Honest, name: str, tmp_path: Path) -> None:
    forgery = _FORGERIES[name]
    changed = forgery.change(four, four.entries())
    assert changed != four.entries()
    folder = rewritten(four, tmp_path / "rewritten", changed, forgery.colluders)
    verdict = four.audited(folder)
    assert verdict.exit_code == 1
    assert forgery.checks <= failed(verdict), verdict.failed
    assert verdict.at_fault == forgery.at_fault, verdict.failed
    assert any(finding.entry is not None for finding in verdict.failed)
    public = four.audited(folder, "public")
    assert forgery.checks - {"A21"} <= failed(public)  # only who adds up the ciphertexts sees that
    assert public.at_fault == (SERVER if "A21" in forgery.checks else forgery.at_fault)
    # The same copy beside the checkpoint that all cosigned: it shows no more than that somebody changed it.
    copied = four.audited(written(four, tmp_path / "written", changed))
    assert copied.exit_code == 1
    assert "A7" in failed(copied)


def test_who_did_not_release_is_not_collected(three_of_four: Honest, tmp_path: Path) -> None:
    assert _counted(three_of_four).contributors == _OTHERS
    changed = edit("collected", contributors=("i0", "i1", "i2", "i3"))(three_of_four, three_of_four.entries())
    verdict = three_of_four.audited(rewritten(three_of_four, tmp_path / "copy", changed))
    assert {"A6", "A11"} <= failed(verdict)
    assert verdict.at_fault == SERVER


def test_counts_above_the_contributors_are_the_custodians_fault(three_of_four: Honest, tmp_path: Path) -> None:
    of = three_of_four.run.plan().context.lanes[1]
    digits = np.full(of.length, 4, np.uint8)  # of three
    first, second = _counted(three_of_four).lanes
    blob = three_of_four.run.transcript.blobs.put(of.votes.pack(digits))
    lanes = (first, second.model_copy(update={"blob": blob}))
    changed = _recounted(three_of_four, three_of_four.entries(), lanes=lanes)
    for colluders in (("custodian",), ()):
        folder = rewritten(three_of_four, tmp_path / f"{len(colluders)}", changed, colluders)
        for depth in _DEPTHS:
            verdict = three_of_four.audited(folder, depth)
            (finding,) = [finding for finding in verdict.failed if finding.number == "A14"]
            assert (finding.expected, finding.actual, finding.at_fault) == ("at most 3", "4", ("custodian",))


def test_words_that_are_no_counts_and_payloads_of_another_size_are_the_custodians_fault(
    four: Honest, tmp_path: Path
) -> None:
    first, second = _counted(four).lanes
    blobs = four.run.transcript.blobs
    none = blobs.put(np.full(first.words, 2**64 - 1, np.uint64))
    longer = blobs.put(np.zeros(first.words + 1, np.uint64))
    for blob in (none, longer):
        lanes = (first.model_copy(update={"blob": blob}), second)
        changed = _recounted(four, four.entries(), lanes=lanes)
        folder = rewritten(four, tmp_path / blob, changed, ("custodian",))
        for depth in _DEPTHS:
            verdict = four.audited(folder, depth)
            (finding,) = [finding for finding in verdict.failed if finding.number == "A14"]
            assert finding.at_fault == ("custodian",)
            (folder / "blobs" / blob).write_bytes(b"changed by anybody")
            (finding,) = [finding for finding in four.audited(folder).failed if finding.number == "A14"]
            assert finding.at_fault == ()
            (folder / "blobs" / blob).write_bytes((four.folder / "blobs" / blob).read_bytes())


def test_a_custodian_that_was_shown_another_log_is_not_blamed_for_counts_that_do_not_follow_from_this_one(
    four: Honest, tmp_path: Path
) -> None:
    seen = _counted(four).seen
    assert seen is not None
    fork = seen.model_copy(update={"root": "ab" * 32})
    other = _counted(four).lanes[0].model_copy(update={"ciphertexts": "ab" * 32})
    updates: list[dict[str, Any]] = [{"contributors": _OTHERS}, {"lanes": (other, *_counted(four).lanes[1:])}]
    for number, update in enumerate(updates):
        changed = _recounted(four, four.entries(), seen=fork, **update)
        verdict = four.audited(rewritten(four, tmp_path / f"fork-{number}", changed))
        assert {"A6"} < failed(verdict)
        assert verdict.at_fault == SERVER
        early = HeldLog("").head()
        changed = _recounted(four, four.entries(), seen=early, **update)
        verdict = four.audited(rewritten(four, tmp_path / f"early-{number}", changed))
        assert verdict.at_fault == SERVER
        changed = _recounted(four, four.entries(), seen=None, prev=None, **update)
        verdict = four.audited(rewritten(four, tmp_path / f"none-{number}", changed))
        assert verdict.at_fault == _BOTH  # it never counts without a log


def test_the_server_answers_for_the_log_that_it_collected_in(four: Honest, tmp_path: Path) -> None:
    changed = _dropped("release", "i1")(four, four.entries())
    collected = find(four, "collected") - 1
    folder = rewritten(four, tmp_path / "copy", changed[: collected + 1])
    for note in (folder / "checkpoints").iterdir():
        note.unlink()
    verdict = four.audited(folder)
    assert [(f.number, f.entry, f.at_fault) for f in verdict.failed] == [("A11", collected, SERVER)]


@pytest.mark.parametrize("votes", ["masked", "encrypted"])
def test_the_witness_can_vouch_for_counts_unless_they_are_the_custodians(votes: str, tmp_path: Path) -> None:
    setting = replace(_FOUR, witness="auditor", ckks=votes == "encrypted")
    honest = record(setting, tmp_path / "honest", {"i1": "sums votes"})
    if votes == "masked":
        assert find(honest, "attested")
        return
    at = find(honest, "unproven")
    published = honest.messages()[find(honest, "sums")]
    assert isinstance(published, Sums)
    same = published.model_dump(include={"charter", "round", "sum", "attempt"})
    word = seal(Attest(**same, sender="auditor", sums=digest(published)), signer(honest, "auditor"))
    passed_on = seal(Attested(**same, sender="coordinator", attestation=word), signer(honest, "coordinator"))
    entries = honest.entries()
    changed = [*entries[:at], word, passed_on, *entries[at + 1 :]]
    verdict = honest.audited(rewritten(honest, tmp_path / "copy", changed))
    assert "A15" in failed(verdict)
    assert verdict.at_fault == SERVER


def test_counts_of_a_server_without_the_custodian_are_found_where_values_follow_too(tmp_path: Path) -> None:
    honest = record(ENCRYPTED, tmp_path / "honest")
    changed = _publishes_others(honest, honest.entries())
    assert isinstance(honest.messages()[find(honest, "sums", "votes")], Sums)
    verdict = honest.audited(rewritten(honest, tmp_path / "copy", changed))
    assert {"A6", "A14"} <= failed(verdict)
    assert verdict.at_fault == SERVER
