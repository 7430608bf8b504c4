"""A server that shows a client another log than before, or a part of it, and clients whose links do not fit the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedspallm_secure.tlog import sign_note
from protocol.vectors.making.editor import Change, Collector, Editor, Json, identity
from protocol.vectors.making.stage import as_json

__all__ = ["bad_log"]


def bad_log(one: Editor, bad: Collector) -> None:
    """Collect them, from a round in which aachen hears and says everything that it can."""
    _notes(one, bad)
    _places(one, bad)
    _survivors(one, bad)
    _links(one, bad)


def _notes(one: Editor, bad: Collector) -> None:
    number = one.find("survivors", sum="votes")
    server = one.plan.charter.server

    def noted(name: str, signer: str, change: Callable[[str], str] = lambda text: text) -> Change:
        def sign(evidence: Json) -> None:
            text = change(evidence["checkpoint"].rpartition("\n\n")[0] + "\n")
            evidence["checkpoint"] = sign_note(text, name, identity(signer))

        return sign

    def with_origin(origin: str) -> Callable[[str], str]:
        return lambda text: text.replace(text.split("\n")[0], origin)

    origin = one.log(0).origin
    elsewhere = f"fedspallm-secure.invalid/v1/log/{'5' * 64}"
    unsigned = "is not of this log, or of nothing, or its keeper did not sign it"
    for defect, about, says, change in (
        ("checkpoint_of_another_run", "The checkpoint of another log.", unsigned, noted(elsewhere, server)),
        (
            "checkpoint_names_another_run",
            "A checkpoint that names another log, signed under this one's name.",
            unsigned,
            noted(origin, server, with_origin(elsewhere)),
        ),
        ("checkpoint_of_berlin", "A checkpoint that berlin signed.", unsigned, noted(origin, "berlin")),
        (
            "checkpoint_changed",
            "A checkpoint that is not the one that was signed.",
            "under the note does not hold",
            lambda evidence: evidence.update(checkpoint=evidence["checkpoint"].replace("\n17\n", "\n18\n")),
        ),
    ):
        bad.add(defect, about, number, "aachen", "L1", says, deliver=[one.envelope(number)], beside=change)


def _places(one: Editor, bad: Collector) -> None:
    number = one.find("survivors", sum="votes")
    survivors = one.envelope(number)

    def add(defect: str, about: str, check: str, says: str, beside: Change, error: str = "RemoteProtocolError") -> None:
        bad.add(defect, about, number, "aachen", check, says, error=error, deliver=[survivors], beside=beside)

    entries = [event["envelope"] for event in one.events[:number] if "envelope" in event]
    entries[1] = one.changed(1, lambda body: body.update(channel="00" * 32))
    forked = one.log(0, [*entries, survivors])
    continues, shows = "is not shown to continue", "The proof does not show entry"
    equivocation = "EquivocationError"
    add(
        "forked",
        "berlin's advertisement was replaced in the log, and everything after it kept.",
        "L2",
        continues,
        lambda evidence: evidence.update(one.evidence(forked, survivors, "aachen", number)),
        equivocation,
    )
    earlier = next(
        event["evidence"]["aachen"] for event in one.events[:number] if "aachen" in event.get("evidence", {})
    )
    add(
        "went_back",
        "An earlier checkpoint.",
        "L2",
        continues,
        lambda evidence: evidence.update(checkpoint=earlier["checkpoint"], since=[]),
        equivocation,
    )
    add(
        "not_in_the_log",
        "The survivors are not where they are said to stand.",
        "L3",
        shows,
        lambda evidence: evidence["place"].update(index=evidence["place"]["index"] - 1),
    )
    add(
        "place_cut",
        "A proof without its last hash.",
        "L3",
        shows,
        lambda evidence: evidence["place"]["proof"].pop(),
    )
    add(
        "own_message_another",
        "berlin's message is shown for aachen's.",
        "L4",
        "which we did not send",
        lambda evidence: evidence.update(own=as_json(one.log(number, [survivors]).own("berlin"))),
    )
    add(
        "own_message_elsewhere",
        "aachen's last message does not stand where it is said to.",
        "L4",
        shows,
        lambda evidence: evidence["own"].update(index=evidence["own"]["index"] - 1),
    )


def _survivors(one: Editor, bad: Collector) -> None:
    number = one.find("survivors", sum="votes")
    elsewhere = "which is not where they stand in the log"

    def with_log(**head: Any) -> Json:
        return one.changed(number, lambda body: body["log"].update(head))

    size, continues = one.head(number)["size"], "The proof does not show the log of"
    for defect, about, check, says, deliver in (
        ("log_shorter", "They name the log before the last entry.", "L5", elsewhere, with_log(**one.head(number - 2))),
        ("log_longer", "They name a log that holds them.", "L5", elsewhere, with_log(size=size + 1)),
        ("log_otherwise", "They name a log that they do not stand in.", "L6", continues, with_log(root="5" * 64)),
    ):
        bad.add(defect, about, number, "aachen", check, says, deliver=[deliver])
    bad.add(
        "log_not_continued",
        "Nothing shows that the checkpoint continues the log that the survivors name.",
        number,
        *("aachen", "L6", continues),
        deliver=[one.envelope(number)],
        beside=lambda evidence: evidence.update(up_to=[]),
    )


def _links(one: Editor, bad: Collector) -> None:
    share, masked = one.find("share", sender="berlin"), one.find("masked", sum="votes", sender="berlin")
    links, saw = "'berlin' links its", "'berlin' saw a log of"
    bad.change("unlinked", "berlin links to nothing.", share, "S21", links, lambda body: body.update(prev=None))
    bad.change(
        *("linked_unseen", "berlin links to a message that it did not see in the log.", share, "S21", links),
        lambda body: body.update(seen=None),
    )
    bad.change(
        "linked_to_another",
        "berlin links to aachen's message.",
        share,
        "S21",
        links,
        lambda body: body.update(prev=one.leaf(share - 1)),
    )
    bad.change(
        "saw_another_log",
        "berlin saw another log.",
        masked,
        "S22",
        saw,
        lambda body: body["seen"].update(root="5" * 64),
    )
    bad.change(
        "saw_more",
        "berlin saw more entries than there are.",
        masked,
        "S22",
        saw,
        lambda body: body["seen"].update(size=1000),
    )
