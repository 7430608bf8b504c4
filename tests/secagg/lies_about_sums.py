"""Lies about who survived, what they confirmed, what came out, and whether it is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedspallm_secure.messages import Again, Envelope, Identity, LogHead, Survivors, seal
from tests.messages.example_messages import EXAMPLES
from tests.secagg.lies import ME, NO_HOLD, Lies, Make, edit, field, flipped, may_be_named
from tests.secagg.small_round import identity, resealed
from tests.secagg.staged_round import STAGED, Scene

__all__ = [
    "AGAIN",
    "CONFIRMED_VALUES",
    "CONFIRMED_VOTES",
    "COUNTS",
    "SUMS",
    "SURVIVORS_OF_VALUES",
    "SURVIVORS_OF_VOTES",
    "VERDICT_ON_COUNTS",
    "VERDICT_ON_SUMS",
]


def _who(participants: str, survivors: str) -> Make:
    return edit(participants=tuple(participants.split()), survivors=tuple(survivors.split()))


SURVIVORS_OF_VOTES: Lies = {
    "of the other sum": (edit(sum="values"), "Survivors of values came; those of votes are due"),
    "of another attempt": (edit(attempt=1), "The server speaks of attempt 1 at votes, which is not the one we are in"),
    "a stranger took part": (_who("i0 i1 i2 i3 eve", "i0 i1 i2 i3"), may_be_named("participants of votes")),
    "the server took part": (_who("server i0 i1 i2 i3", "i0 i1 i2 i3"), may_be_named("participants of votes")),
    "one took part twice": (_who("i0 i1 i1 i2 i3", "i0 i1 i2 i3"), may_be_named("participants of votes")),
    "participants permuted": (_who("i0 i2 i1 i3", "i0 i1 i2 i3"), may_be_named("participants of votes")),
    "a stranger survived": (_who("i0 i1 i2 i3", "i0 i1 i2 eve"), may_be_named("survivors of votes")),
    "one survived twice": (_who("i0 i1 i2 i3", "i0 i1 i2 i2"), may_be_named("survivors of votes")),
    "survivors permuted": (_who("i0 i1 i2 i3", "i1 i0 i2 i3"), may_be_named("survivors of votes")),
    "one survived that did not take part": (_who("i0 i1 i2", "i0 i1 i2 i3"), may_be_named("survivors of votes")),
    "nobody survived": (_who("i0 i1 i2 i3", ""), "The server goes on without us in votes"),
    "we did not survive": (_who("i0 i1 i2 i3", "i0 i2 i3"), "The server goes on without us in votes"),
    "we did not take part": (_who("i0 i2 i3", "i0 i2 i3"), "The server goes on without us in votes"),
    "one whose shares came to us did not take part": (
        _who("i0 i1 i2", "i0 i1 i2"),
        "participants of votes are not the institutions whose shares it passed on to us",
    ),
    "we alone survived": (
        _who("i0 i1 i2 i3", "i1"),
        "1 of the 3 institutions of lane lane0's cohort are there for votes; 2 are needed",
    ),
    "too few survived in one cohort": (
        _who("i0 i1 i2 i3", "i0 i1"),
        "1 of the 3 institutions of lane lane2's cohort are there for votes; 2 are needed",
    ),
}


def _again(attempt: int, gone: str) -> Make:
    message = Again(charter=STAGED.digest, round=0, sender="server", attempt=attempt, gone=tuple(gone.split()))
    return lambda scene: seal(message, identity("server"))


def _survivors(attempt: int, participants: str, survivors: str, gone: str = "") -> Make:
    message = Survivors(
        charter=STAGED.digest,
        round=0,
        sender="server",
        sum="values",
        attempt=attempt,
        participants=tuple(participants.split()),
        survivors=tuple(survivors.split()),
        gone=tuple(gone.split()),
        start=STAGED.start,
        log=LogHead(size=1, root="00" * 32),
    )
    return lambda scene: seal(message, identity("server"))


_MORE_MISSING = "more are missing from the values sum than the bar allows for"
# The values were sent, and i3's are missing: the sum must be repeated without it, and not otherwise.
AGAIN: Lies = {
    "the same attempt": (_again(0, "i3"), "Attempt 0 at values came; 1 is next"),
    "an attempt left out": (_again(2, "i3"), "Attempt 2 at values came; 1 is next"),
    "we are gone": (_again(1, "i1 i3"), "The server goes on without us"),
    "nobody is gone": (_again(1, ""), "The server repeats the values sum, but only nobody is said to be gone"),
    "a stranger is gone": (_again(1, "i3 eve"), may_be_named("institutions that are gone")),
    "those that are gone permuted": (_again(1, "i3 i0"), may_be_named("institutions that are gone")),
    "too many are gone": (
        _again(1, "i0 i2"),
        "1 of the 3 institutions of lane lane0's cohort are there for values; 2 are needed",
    ),
    "too many are gone from one cohort": (
        _again(1, "i2 i3"),
        "1 of the 3 institutions of lane lane2's cohort are there for values; 2 are needed",
    ),
    "not repeated": (
        _survivors(0, "i0 i1 i2 i3", "i0 i1 i2"),
        f"Of the institutions that voted in lane lane2, {_MORE_MISSING}",
    ),
    "one took no part": (
        _survivors(0, "i0 i1 i2", "i0 i1 i2"),
        "The participants of values are not those that voted",
    ),
    "the next attempt without its keys": (
        _survivors(1, "i0 i1 i2", "i0 i1 i2"),
        "The server speaks of attempt 1 at values, which is not the one we are in",
    ),
    "the survivors of votes again": (
        lambda scene: scene.said["survivors of votes"][ME],
        "Survivors of votes came; those of values are due",
    ),
}
SURVIVORS_OF_VALUES: Lies = {
    "of the other sum": (edit(sum="votes"), "Survivors of votes came; those of values are due"),
    "of the attempt before": (
        _survivors(0, "i0 i1 i2 i3", "i0 i1 i2 i3"),
        "The server speaks of attempt 0 at values, which is not the one we are in",
    ),
    "one took part who is gone": (_who("i0 i1 i2 i3", "i0 i1 i2"), may_be_named("participants of values")),
    "we did not survive": (_who("i0 i1 i2", "i0 i2"), "The server goes on without us in values"),
    "one whose shares came to us did not take part": (
        _who("i1 i2", "i1 i2"),
        "participants of values are not the institutions whose shares it passed on to us",
    ),
    "too few survived": (
        _who("i0 i1 i2", "i1"),
        "1 of the 3 institutions of lane lane0's cohort are there for values; 2 are needed",
    ),
    "one more is missing than the bar allows for": (
        _who("i0 i1 i2", "i1 i2"),
        f"Of the institutions that voted in lane lane0, {_MORE_MISSING}",
    ),
    "repeated once more with nobody else gone": (_again(2, "i3"), "but only i3 is said to be gone, which the bar"),
    "repeated without one who is not gone any more": (_again(2, "i0"), "but only i0 is said to be gone, which the bar"),
}


def _signatures(change: Callable[[dict[str, str]], Mapping[str, str]]) -> Make:
    return field("signatures", lambda signatures: dict(change(dict(signatures))))


def _confirmed_else(name: str, **changes: Any) -> Make:
    """One institution signed another confirmation than this one."""

    def make(scene: Scene) -> Envelope:
        stage = f"confirm {scene.message(ME).sum}"
        other = resealed(STAGED, scene.said[stage][name], **changes).signatures[0].sig
        return _signatures(lambda signatures: signatures | {name: other})(scene)

    return make


_NOT_OURS = "The confirmations are not for the survivors that we confirmed"
_CONFIRMED: Lies = {
    "of other survivors": (edit(survivors="0" * 64), _NOT_OURS),
    "of another attempt": (edit(attempt=2), "The server speaks of attempt 2 at .*, which is not the one we are in"),
    "by a stranger": (
        _signatures(lambda signatures: signatures | {"eve": signatures["i0"]}),
        "'eve' confirmed the survivors without being one",
    ),
    "by the server": (
        _signatures(lambda signatures: {"server": signatures["i0"]}),
        "'server' confirmed the survivors without being one",
    ),
    "by nobody": (edit(signatures={}), "0 members of lane lane0's cohort confirmed the survivors; 2 are needed"),
    "by one alone": (
        _signatures(lambda signatures: {"i0": signatures["i0"]}),
        "1 members of lane lane0's cohort confirmed the survivors; 2 are needed",
    ),
    "by too few of one cohort": (
        _signatures(lambda signatures: {name: signatures[name] for name in ("i0", ME)}),
        "1 members of lane lane2's cohort confirmed the survivors; 2 are needed",
    ),
    "with another's signature": (
        _signatures(lambda signatures: signatures | {"i0": signatures["i2"]}),
        NO_HOLD,
    ),
    "with a signature that was changed": (
        _signatures(lambda signatures: signatures | {"i0": flipped(signatures["i0"])}),
        NO_HOLD,
    ),
    "with no signature": (_signatures(lambda signatures: signatures | {"i0": ""}), NO_HOLD),
    "one of other survivors": (_confirmed_else("i0", survivors="0" * 64), NO_HOLD),
    "one of another attempt": (_confirmed_else("i0", attempt=2), NO_HOLD),
    "one of another round": (_confirmed_else("i0", round=1, charter=STAGED.digest), NO_HOLD),
}
CONFIRMED_VOTES: Lies = _CONFIRMED | {"of the other sum": (edit(sum="values"), _NOT_OURS)}
CONFIRMED_VALUES: Lies = _CONFIRMED | {
    "of the other sum": (edit(sum="votes", attempt=0), _NOT_OURS),
    "those of votes": (lambda scene: scene.said["confirmed votes"][ME], _NOT_OURS),
    "by who is gone": (
        _signatures(lambda signatures: {"i3": signatures["i0"]}),
        "'i3' confirmed the survivors without being one",
    ),
}


def _lanes(change: Callable[[list[Any]], list[Any]]) -> Make:
    return field("lanes", lambda lanes: tuple(change(list(lanes))))


def _words(at: int, words: int) -> Make:
    """The lanes, of which one has another number of words."""
    return _lanes(lambda lanes: [*lanes[:at], lanes[at].model_copy(update={"words": words}), *lanes[at + 1 :]])


_DUE = "not the 3 due, in the charter's order"
_SUMS: Lies = {
    "of another attempt": (edit(attempt=2), "The server speaks of attempt 2 at .*, which is not the one we are in"),
    "no lanes": (_lanes(lambda lanes: []), f"The server named 0 lanes that are {_DUE}"),
    "the last lane missing": (_lanes(lambda lanes: lanes[:-1]), f"The server named 2 lanes that are {_DUE}"),
    "a lane twice": (_lanes(lambda lanes: [*lanes, lanes[0]]), f"The server named 4 lanes that are {_DUE}"),
    "permuted": (_lanes(lambda lanes: lanes[::-1]), f"The server named 3 lanes that are {_DUE}"),
    "a lane of another name": (
        _lanes(lambda lanes: [lanes[0].model_copy(update={"lane": "lane9"}), *lanes[1:]]),
        f"The server named 3 lanes that are {_DUE}",
    ),
}
COUNTS: Lies = _SUMS | {
    "called values": (edit(sum="values"), "To get sums of values is not due in state 'votes unmasked'"),
    "a lane cut short": (_words(0, 1), "The server announced 1 words for lane lane0; 3 are due"),
    "a lane too long": (_words(2, 2**53 - 1), "The server announced 9007199254740991 words for lane lane2; 1 are due"),
}
SUMS: Lies = _SUMS | {
    "called votes": (edit(sum="votes"), "To get sums of votes is not due in state 'values unmasked'"),
    "the lengths of votes": (_words(0, 3), "The server announced 3 words for lane lane0; 5 are due"),
    "words where none are due": (_words(1, 1), "The server announced 1 words for lane lane1; 0 are due"),
}


def _proofs(change: Callable[[list[Envelope]], list[Envelope]]) -> Make:
    return field("proofs", lambda proofs: tuple(change(list(proofs))))


def _proved(name: str, **changes: Any) -> Make:
    """The proofs, of which `name` itself made another."""
    return _proofs(
        lambda proofs: [
            resealed(STAGED, proof, **changes) if proof.signatures[0].keyid == name else proof for proof in proofs
        ]
    )


def _products(scene: Scene, at: int) -> Any:
    proof: Any = STAGED.open(scene.message(ME).proofs[at])
    return proof.products


def _unproven(missing: str, **changes: Any) -> Make:
    def make(scene: Scene) -> Envelope:
        header = scene.message(ME).model_dump(include={"charter", "round", "sender", "sum", "attempt"})
        message = EXAMPLES["unproven"].model_copy(update=header | {"missing": tuple(missing.split())} | changes)
        return seal(message, identity("server"))

    return make


def _attested(scene: Scene) -> Envelope:
    """A witness's word, where the charter names none."""
    header = scene.message(ME).model_dump(include={"charter", "round", "sum", "attempt"})
    attest = EXAMPLES["attest"].model_copy(update=header | {"sender": "i0"})
    said = seal(attest, identity("i0"))
    message = EXAMPLES["attested"].model_copy(update=header | {"sender": "server", "attestation": said})
    return seal(message, identity("server"))


_ONE_OF_EACH = "The proofs are not one of each contributor, in roster order"
_VERDICT: Lies = {
    "of another attempt": (edit(attempt=2), "The server speaks of attempt 2 at .*, which is not the one we are in"),
    "no proofs": (_proofs(lambda proofs: []), _ONE_OF_EACH),
    "one missing": (_proofs(lambda proofs: proofs[1:]), _ONE_OF_EACH),
    "one twice": (_proofs(lambda proofs: [*proofs, proofs[0]]), _ONE_OF_EACH),
    "permuted": (_proofs(lambda proofs: [proofs[1], proofs[0], *proofs[2:]]), _ONE_OF_EACH),
    "one made up by the server": (
        lambda scene: _proofs(
            lambda proofs: [resealed(STAGED, proofs[0], Identity("i0", identity("server").key)), *proofs[1:]]
        )(scene),
        NO_HOLD,
    ),
    "one of another round": (_proved("i0", round=1), "'i0' speaks of round 1, not 0"),
    "one of another attempt": (_proved("i0", attempt=2), "'i0' did not prove its"),
    "another kind among them": (
        lambda scene: _proofs(lambda proofs: [scene.said["advertise"]["i0"], *proofs[1:]])(scene),
        "'i0' did not prove its",
    ),
    "one of no group": (_proved("i0", products=()), "'i0' proved another number of groups than it is in"),
    "one of more groups": (
        _proved("i0", products=(("0" * 16, "0" * 16),) * 2),
        "'i0' proved another number of groups than it is in",
    ),
    "one that is false": (
        _proved("i0", products=(("0" * 16, "0" * 16),)),
        f"'{ME}' found that the published .* are not the sum of what the institutions sent.* .lane lane0 or one with",
    ),
    "one that is false in one group": (
        lambda scene: _proved("i2", products=(_products(scene, 2)[0], ("f" * 16, "0" * 16)))(scene),
        f"'{ME}' found that the published .* are not the sum of what the institutions sent.* .lane lane2 or one with",
    ),
    "attested by no witness": (_attested, "'i0' is not the charter's witness, or attested nothing"),
    "unproven, but by none": (_unproven(""), "unproven, but no proof is missing"),
    "unproven by a stranger": (_unproven("eve"), may_be_named("institutions without a proof")),
    "unproven, permuted": (_unproven("i2 i0"), may_be_named("institutions without a proof")),
    "unproven in another attempt": (_unproven("i0", attempt=2), "The server speaks of attempt 2 at"),
}
VERDICT_ON_COUNTS: Lies = _VERDICT | {
    "of the other sum": (edit(sum="values"), "Proofs of values came; those of votes are due"),
    "one of the other sum": (_proved("i0", sum="values"), "'i0' did not prove its votes"),
    "the other sum unproven": (
        _unproven("i0", sum="values"),
        "The server calls values unproven; votes are being checked",
    ),
}
VERDICT_ON_SUMS: Lies = _VERDICT | {
    "of the other sum": (edit(sum="votes", attempt=0), "Proofs of votes came; those of values are due"),
    "those of votes": (lambda scene: scene.said["proofs of votes"][ME], "Proofs of votes came; those of values are"),
    "one of the other sum": (_proved("i0", sum="votes"), "'i0' did not prove its values"),
    "the other sum unproven": (
        _unproven("i0", sum="votes", attempt=0),
        "The server calls votes unproven; values are being checked",
    ),
    "unproven by who is gone": (_unproven("i3"), may_be_named("institutions without a proof")),
}
