"""What must be refused when values are summed again, and what a witness must not sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.vectors.making.editor import Change, Collector, Editor, Json, sign, with_first

__all__ = ["bad_again"]


def bad_again(again: Editor, bad: Collector) -> None:
    """Collect them, from a round with a repeated sum and a witness who is asked."""
    _at_a_client(again, bad)
    _at_the_server(again, bad)
    _at_the_witness(again, bad)


def _at_a_client(again: Editor, bad: Collector) -> None:
    number = again.find("again")

    def gone(*names: str) -> Change:
        return lambda body: body.update(gone=list(names))

    bad.change(
        "skipped_attempt",
        "Attempt 2 after attempt 0.",
        number,
        "C3",
        "Attempt 2 at values came; 1 is next",
        lambda body: body.update(attempt=2),
    )
    bad.change("gone_ourselves", "aachen is said to be gone.", number, "C40", "goes on without us", gone("aachen"))
    may = "institutions that are gone are not institutions that may be named"
    bad.change("gone_twice", "dresden twice.", number, "C40", may, gone("dresden", "dresden"))
    bad.change("again_without_need", "Nobody is gone.", number, "C41", "which the bar allows for", gone())
    bad.change(
        "again_too_few", "Three of five are gone.", number, "C42", "3 are needed", gone("celle", "dresden", "erfurt")
    )
    everybody = list(again.plan.context.roster)
    left = [name for name in everybody if name != "dresden"]
    body = {**again.body(again.find("survivors", sum="votes")), "sum": "values", "log": again.head(number)}
    bad.add(
        "margin",
        "Values are to be opened although dresden, which voted, is missing and the margin is 0.",
        again.find("again"),
        "aachen",
        "C21",
        "more are missing from the values sum than the bar allows for",
        deliver=[sign({**body, "participants": everybody, "survivors": left})],
    )
    survivors = again.find("survivors", sum="values")
    bad.change(
        "gone_otherwise",
        "Nobody is gone any more: whoever believed it would open other positions than aachen.",
        survivors,
        "C17",
        "Others are said to be gone than those that we were told of",
        lambda body: body.update(gone=[]),
    )
    bad.change(
        "start_otherwise",
        "Another model is said to be the start: whoever starts from it would open other positions than aachen.",
        survivors,
        "C17",
        "The round is said to start from model",
        lambda body: body.update(start="0" * 64),
    )


def _at_the_server(again: Editor, bad: Collector) -> None:
    bad.change(
        "attest_others",
        "The witness attests other sums.",
        again.find("attest"),
        "S15",
        "attested other sums",
        lambda body: body.update(sums="5" * 64),
    )
    early = again.find("proof", sum="values", sender="aachen")
    bad.add(
        "attest_early",
        "The witness speaks before it is asked.",
        early,
        "coordinator",
        "S15",
        "A witness's word is not due",
        deliver=[again.envelope(again.find("attest"))],
    )


def _at_the_witness(again: Editor, bad: Collector) -> None:
    attest = again.find("attest")
    masked = again.find("masked", sum="values", attempt=1, sender="berlin")
    unmask = again.find("unmask", sum="values", attempt=1, sender="berlin")
    survivors = again.find("survivors", sum="values")

    def add(defect: str, about: str, check: str, says: str, log: Mapping[int, Json | None], **given: Any) -> None:
        edits = {str(number): envelope for number, envelope in log.items()}
        bad.add(f"witness_{defect}", about, attest, "auditor", check, says, log=edits, **given)

    unsigned = {
        **again.envelope(unmask),
        "payload": again.changed(unmask, lambda body: body.update(attempt=0))["payload"],
    }
    add(
        "unsigned",
        "Shares that berlin did not sign.",
        "W1",
        "The signature of 'berlin' does not hold",
        {unmask: unsigned},
    )
    few = again.changed(survivors, lambda body: body.update(survivors=body["survivors"][:2]))
    add("no_quorum", "Two survivors of five.", "W2", "3 are needed", {survivors: few})
    both = again.changed(unmask, lambda body: body["groups"][0]["keys"].update(body["groups"][0]["seeds"]))
    other = "handed out other shares than those of the survivors' seeds and the vanished's keys"
    add("both_shares", "berlin handed out shares that it does not owe.", "W3", other, {unmask: both})
    add("lanes", "berlin's lanes are missing.", "W4", "The log lacks the lanes", {masked: None})

    def lie(body: Json) -> None:
        seeds = body["groups"][0]["seeds"]
        seeds["aachen"] = f"{int(seeds['aachen'], 16) ^ 1:066x}"

    wrong = {number: again.changed(number, lie) for number in (unmask, unmask + 1)}
    says = "do not give what it committed to"
    add("share", "Wrong shares of berlin and celle, with one to spare.", "W5", says, wrong)
    false, blobs = again.false_sums("values", 0, lambda digits: with_first(digits, int(digits[0]) + 1))
    sums = again.find("sums", sum="values")
    says = "are not the sum of what the institutions sent"
    add("sums", "A sum that is one off.", "W6", says, {sums: false}, blobs=blobs)
