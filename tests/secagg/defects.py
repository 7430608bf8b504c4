"""What one institution can send wrongly at each stage of a round, and what its refusal says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedspallm_secure.messages import Envelope, Identity, LaneBlob, Revealed, seal
from tests.messages.example_messages import EXAMPLES
from tests.secagg.small_round import identity, round_context
from tests.secagg.staged_round import STAGED, Scene

__all__ = ["DEFECTS", "IN_USE", "ME", "OTHER_SHARES", "defects_at", "in_group"]

ME = "i1"
"""Who sends it: a client in both groups."""

_OTHER_CHARTER = round_context(3, [(70, (0, 1, 2))]).digest
_FRESH = "ab" * 32

Make = Callable[[Scene], Envelope]
Defects = dict[str, tuple[Make, str]]
"""What is wrong -> (what is sent in place of what is due, what its refusal says)."""


def _edit(**changes: Any) -> Make:
    """The good message with fields changed."""
    return lambda scene: scene.changed(ME, **changes)


def _field(name: str, change: Callable[[Any], Any]) -> Make:
    """The good message with one field made from what it was."""
    return lambda scene: scene.changed(ME, **{name: change(getattr(scene.message(ME), name))})


def in_group(name: str, at: int, **changes: Any) -> Make:
    """The good message with one group's entry changed."""
    return _field(
        name,
        lambda entries: tuple(
            entry.model_copy(update=changes) if place == at else entry for place, entry in enumerate(entries)
        ),
    )


_ANY: Defects = {
    "signed by another key": (
        lambda scene: scene.changed(ME, Identity(ME, identity("i0").key)),
        "The signature of 'i1' does not hold",
    ),
    "from a stranger": (
        lambda scene: scene.changed(ME, identity("eve"), sender="eve"),
        "The signer 'eve' is not in the charter",
    ),
    "from the server": (
        lambda scene: scene.changed(ME, identity("server"), sender="server"),
        "'server' is not a client",
    ),
    "in another's name": (
        lambda scene: scene.changed(ME, identity("i0")),
        "'i0' signed a message in the name of 'i1'",
    ),
    "of another charter": (_edit(charter=_OTHER_CHARTER), f"'i1' speaks of charter {_OTHER_CHARTER}"),
    "of another round": (_edit(round=1), "'i1' speaks of round 1, not 0"),
}


def _kinds(due: str) -> Defects:
    """All other kinds of messages than the one that is due."""
    head = {"charter": STAGED.digest, "round": 0, "sender": ME}
    said = {kind: seal(example.model_copy(update=head), identity(ME)) for kind, example in EXAMPLES.items()}
    says = {kind: f"'i1' sent '{kind}', which is not due in" for kind in said}
    says |= {"attest": "A witness's word is not due in state", "counted": "To get counted is not due in state"}
    return {f"of kind {kind}": (_always(envelope), says[kind]) for kind, envelope in said.items() if kind != due}


def _always(envelope: Envelope) -> Make:
    return lambda scene: envelope


_ONE_EACH = "'i1' advertised not one key a group and sum"
IN_USE = "'i1' advertised a key that is in use already"
_SMALL_ORDER = "'i1' advertised an X25519 key of small order"
_ADVERTISE: Defects = {
    "for an exchange far ahead": (_edit(attempt=7), "'i1' advertised for attempt 7, not"),
    "no groups": (_edit(groups=()), _ONE_EACH),
    "a group too few": (_field("groups", lambda groups: groups[:1]), _ONE_EACH),
    "a group too many": (_field("groups", lambda groups: (*groups, groups[0])), _ONE_EACH),
    "no values key": (in_group("groups", 1, values=None), _ONE_EACH),
    "one key for two groups": (_field("groups", lambda groups: (groups[0], groups[0])), IN_USE),
    "one key for channel and masks": (
        lambda scene: scene.changed(ME, channel=scene.message(ME).groups[1].values),
        IN_USE,
    ),
    "a channel key of small order": (_edit(channel="00" * 32), _SMALL_ORDER),
    "a mask key of small order": (in_group("groups", 1, values="01" + "00" * 31), _SMALL_ORDER),
    "a key not in canonical form": (
        in_group("groups", 0, values="ff" * 32),
        "'i1' advertised an X25519 key that is not in canonical form",
    ),
}
_NOT_FOR_EACH = "'i1' did not seal shares of this exchange for each peer that advertised"
_COMMITTED = "'i1' committed to not one seed a group and sum"
_SHARE: Defects = {
    "of another exchange": (_edit(attempt=7), _NOT_FOR_EACH),
    "for nobody": (_edit(sealed={}), _NOT_FOR_EACH),
    "not for one": (
        _field("sealed", lambda sealed: {name: text for name, text in sealed.items() if name != "i2"}),
        _NOT_FOR_EACH,
    ),
    "for a stranger too": (_field("sealed", lambda sealed: sealed | {"eve": "AAAA"}), _NOT_FOR_EACH),
    "for itself too": (_field("sealed", lambda sealed: sealed | {ME: "AAAA"}), _NOT_FOR_EACH),
    "no commitments": (_edit(commitments=()), _COMMITTED),
    "a commitment too many": (
        _field("commitments", lambda commitments: (*commitments, commitments[0])),
        _COMMITTED,
    ),
    "no commitment to a values seed": (in_group("commitments", 0, values=None), _COMMITTED),
}


def _lanes(change: Callable[[list[LaneBlob]], list[LaneBlob]]) -> Make:
    return _field("lanes", lambda lanes: tuple(change(list(lanes))))


def _words(at: int, words: int) -> Make:
    return _lanes(lambda lanes: [*lanes[:at], lanes[at].model_copy(update={"words": words}), *lanes[at + 1 :]])


def _speaks(name: str, attempt: int, due: str) -> str:
    return f"'i1' speaks of attempt {attempt} at {name}; attempt {due} is due"


def _in_sum(name: str, attempt: int) -> Defects:
    """Speaking of another sum, or of another attempt at it."""
    other, due = "votes" if name == "values" else "values", f"{attempt} at {name}"
    return {
        "of the other sum": (_edit(sum=other), _speaks(other, attempt, due)),
        "of the next attempt": (_edit(attempt=attempt + 1), _speaks(name, attempt + 1, due)),
        "of an attempt far ahead": (_edit(attempt=2**53 - 1), _speaks(name, 2**53 - 1, due)),
    }


_DUE = "that are not the 3 due, in the charter's order"
_MASKED: Defects = {
    "no lanes": (_lanes(lambda lanes: []), f"'i1' named 0 lanes {_DUE}"),
    "a lane missing": (_lanes(lambda lanes: lanes[:2]), f"'i1' named 2 lanes {_DUE}"),
    "a lane twice": (_lanes(lambda lanes: [*lanes, lanes[0]]), f"'i1' named 4 lanes {_DUE}"),
    "permuted": (_lanes(lambda lanes: lanes[::-1]), f"'i1' named 3 lanes {_DUE}"),
    "a lane of another name": (
        _lanes(lambda lanes: [lanes[0].model_copy(update={"lane": "lane9"}), *lanes[1:]]),
        f"'i1' named 3 lanes {_DUE}",
    ),
}
_MASKED_VOTES: Defects = _MASKED | {
    "a lane cut short": (_words(0, 2), "'i1' announced 2 words for lane lane0; 3 are due"),
    "a lane too long": (_words(2, 2**53 - 1), "'i1' announced 9007199254740991 words for lane lane2; 1 are due"),
    "an empty lane": (_words(1, 0), "'i1' announced 0 words for lane lane1; 1 are due"),
}
_MASKED_VALUES: Defects = _MASKED | {
    "the lengths of votes": (_words(0, 3), "'i1' announced 3 words for lane lane0; 5 are due"),
    "words where none are due": (_words(1, 1), "'i1' announced 1 words for lane lane1; 0 are due"),
}
_CONFIRM: Defects = {
    "other survivors": (_edit(survivors="0" * 64), "'i1' confirmed other survivors than those it was told of"),
}
OTHER_SHARES = "'i1' handed out other shares than those of the survivors' seeds and the vanished's keys"
_UNMASK: Defects = {
    "no shares": (_edit(groups=()), OTHER_SHARES),
    "empty groups": (_edit(groups=(Revealed(seeds={}, keys={}),) * 2), OTHER_SHARES),
    "a group too few": (_field("groups", lambda groups: groups[:1]), OTHER_SHARES),
    "a group too many": (_field("groups", lambda groups: (*groups, groups[0])), OTHER_SHARES),
    "groups exchanged": (_field("groups", lambda groups: groups[::-1]), OTHER_SHARES),
    "a seed's share missing": (
        _field("groups", lambda groups: (_without(groups[0], "i0"), *groups[1:])),
        OTHER_SHARES,
    ),
    "a stranger's seed": (
        _field("groups", lambda groups: (_also(groups[0], "seeds", "eve"), *groups[1:])),
        OTHER_SHARES,
    ),
    "a survivor's key too": (
        _field("groups", lambda groups: (_also(groups[0], "keys", "i0"), *groups[1:])),
        OTHER_SHARES,
    ),
    "a survivor's key in place of its seed": (
        _field("groups", lambda groups: (_also(_without(groups[0], "i0"), "keys", "i0"), *groups[1:])),
        OTHER_SHARES,
    ),
}


def _without(revealed: Revealed, name: str) -> Revealed:
    return Revealed(seeds={of: share for of, share in revealed.seeds.items() if of != name}, keys=revealed.keys)


def _also(revealed: Revealed, which: str, name: str) -> Revealed:
    return revealed.model_copy(update={which: getattr(revealed, which) | {name: "0" * 66}})


_GROUPS = "'i1' proved another number of groups than it is in"
_PROOF: Defects = {
    "of no group": (_edit(products=()), _GROUPS),
    "of a group too few": (_field("products", lambda products: products[:1]), _GROUPS),
    "of a group too many": (_field("products", lambda products: (*products, products[0])), _GROUPS),
}

DEFECTS: dict[str, Defects] = {
    "advertise": _ADVERTISE
    | {
        "for the next exchange": (_edit(attempt=1), "'i1' advertised for attempt 1, not 0"),
        "no votes key": (in_group("groups", 0, votes=None), _ONE_EACH),
        "one key for both sums": (
            lambda scene: in_group("groups", 0, votes=scene.message(ME).groups[0].values)(scene),
            IN_USE,
        ),
        "a votes key of small order": (in_group("groups", 1, votes="00" * 32), _SMALL_ORDER),
    },
    "share": _SHARE | {"no commitment to a votes seed": (in_group("commitments", 1, votes=None), _COMMITTED)},
    "masked votes": _MASKED_VOTES | _in_sum("votes", 0),
    "confirm votes": _CONFIRM | _in_sum("votes", 0),
    "unmask votes": _UNMASK | _in_sum("votes", 0),
    "proof of votes": _PROOF | _in_sum("votes", 0),
    "masked values": _MASKED_VALUES | _in_sum("values", 0),
    "advertise again": _ADVERTISE
    | {
        "for the first exchange": (_edit(attempt=0), "'i1' advertised for attempt 0, not 1"),
        "what it advertised first": (
            lambda scene: scene.said["advertise"][ME],
            "'i1' advertised for attempt 0, not 1",
        ),
        "a votes key": (in_group("groups", 0, votes=_FRESH), _ONE_EACH),
        "another's key of the first exchange": (
            lambda scene: scene.changed(ME, channel=_channel(scene.said["advertise"]["i0"])),
            IN_USE,
        ),
        "from who is gone": (
            lambda scene: scene.changed(ME, identity("i3"), sender="i3"),
            "'i3' takes no part in this step: it missed one before, or was never in",
        ),
    },
    "share again": _SHARE
    | {
        "for who is gone": (_field("sealed", lambda sealed: sealed | {"i3": "AAAA"}), _NOT_FOR_EACH),
        "what it shared first": (lambda scene: scene.said["share"][ME], _NOT_FOR_EACH),
        "a commitment to a votes seed": (in_group("commitments", 0, votes=_FRESH), _COMMITTED),
    },
    "masked values again": _MASKED_VALUES
    | _in_sum("values", 1)
    | {"what it masked first": (lambda scene: scene.said["masked values"][ME], _speaks("values", 0, "1 at values"))},
    "confirm values": _CONFIRM
    | _in_sum("values", 1)
    | {"what it confirmed first": (lambda scene: scene.said["confirm votes"][ME], _speaks("votes", 0, "1 at values"))},
    "unmask values": _UNMASK
    | _in_sum("values", 1)
    | {
        "what it handed out first": (lambda scene: scene.said["unmask votes"][ME], _speaks("votes", 0, "1 at values")),
        "a share of who is gone": (
            _field("groups", lambda groups: (groups[0], _also(groups[1], "keys", "i3"))),
            OTHER_SHARES,
        ),
    },
    "proof of values": _PROOF
    | _in_sum("values", 1)
    | {"what it proved first": (lambda scene: scene.said["proof of votes"][ME], _speaks("votes", 0, "1 at values"))},
}


def _channel(envelope: Envelope) -> str:
    advertisement: Any = STAGED.open(envelope)
    return str(advertisement.channel)


def defects_at(stage: str) -> Defects:
    """Everything that is wrong at a stage."""
    due = stage.split()[0]
    return _ANY | _kinds(due) | DEFECTS[stage]
