"""Masked lanes, survivors, confirmations and revealed shares that a client or the server must refuse."""

from __future__ import annotations

from protocol.vectors.making.editor import Change, Collector, Editor, sign

__all__ = ["bad_survivors"]


def bad_survivors(one: Editor, bad: Collector) -> None:
    """Collect them, from a round in which dresden vanishes before its votes."""
    _at_a_client(one, bad)
    _at_the_server(one, bad)


def _at_a_client(one: Editor, bad: Collector) -> None:
    votes, values = one.find("survivors", sum="votes"), one.find("survivors", sum="values")

    def named(participants: list[str], survivors: list[str]) -> Change:
        return lambda body: body.update(participants=participants, survivors=survivors)

    a, b, c, d = one.plan.context.roster
    claim = sign({**one.body(votes), "sender": "berlin"})
    bad.add(
        "not_the_server",
        "berlin says who survived.",
        votes,
        "aachen",
        "C1",
        "sent what only the server 'coordinator' may send",
        deliver=[claim],
    )
    bad.change(
        "survivors_attempt",
        "Survivors of an attempt that there was not.",
        votes,
        "C3",
        "speaks of attempt 1 at votes",
        lambda body: body.update(attempt=1),
    )
    may = "are not institutions that may be named here"
    bad.change("participants_order", "Names out of order.", votes, "C16", may, named([b, a, c, d], [a, b, c]))
    bad.change(
        "survivor_no_participant",
        "dresden survives what it took no part in.",
        votes,
        "C16",
        may,
        named([a, b, c], [a, b, c, d]),
    )
    bad.change(
        "voter_left_out",
        "celle voted, but is no participant of values.",
        values,
        "C17",
        "participants of values are not those that voted",
        named([a, b], [a, b]),
    )
    bad.change(
        "without_us",
        "aachen is said to have vanished.",
        votes,
        "C18",
        "goes on without us",
        named([a, b, c, d], [b, c]),
    )
    bad.change(
        "participant_left_out",
        "dresden shared with aachen, which masked with it, but is said to be no participant.",
        votes,
        "C19",
        "not the institutions whose shares it passed on to us",
        named([a, b, c], [a, b, c]),
    )
    bad.change("no_quorum", "Two survivors of four.", votes, "C20", "3 are needed", named([a, b, c, d], [a, b]))
    confirmed = one.find("confirmed", sum="votes")
    bad.change(
        "other_survivors_confirmed",
        "Confirmations of survivors that aachen did not confirm.",
        confirmed,
        "C23",
        "not for the survivors that we confirmed",
        lambda body: body.update(survivors="5" * 64),
    )
    bad.change(
        "vanished_confirms",
        "dresden did not survive.",
        confirmed,
        "C24",
        "confirmed the survivors without being one",
        lambda body: body["signatures"].update(dresden=body["signatures"]["berlin"]),
    )
    bad.change(
        "few_confirmations",
        "Two confirmations of four.",
        confirmed,
        "C25",
        "confirmed the survivors; 3 are needed",
        lambda body: body["signatures"].pop("celle"),
    )
    bad.change(
        "confirmation_forged",
        "berlin's signature as celle's.",
        confirmed,
        "C26",
        "The signature of 'celle' does not hold",
        lambda body: body["signatures"].update(celle=body["signatures"]["berlin"]),
    )


def _at_the_server(one: Editor, bad: Collector) -> None:
    masked, confirm = (
        one.find("masked", sum="votes", sender="berlin"),
        one.find("confirm", sum="votes", sender="berlin"),
    )
    unmask = one.find("unmask", sum="votes", sender="celle")
    bad.change(
        "masked_lanes", "berlin leaves a lane out.", masked, "S10", "named 2 lanes", lambda body: body["lanes"].pop(0)
    )
    bad.change(
        "masked_words",
        "berlin announces a word too many.",
        masked,
        "S10",
        "announced 2 words",
        lambda body: body["lanes"][0].update(words=2),
    )
    bad.add(
        "masked_blob",
        "berlin's payload is not the one that it announced.",
        unmask,
        "coordinator",
        "S11",
        "does not hold what its name says",
        error="StorageError",
        blobs={one.body(masked)["lanes"][0]["blob"]: "00" * 8},
        deliver=[one.envelope(unmask)],
    )
    late = sign({**one.body(confirm), "sender": "dresden"})
    bad.add(
        "late",
        "dresden vanished, and confirms.",
        confirm,
        "coordinator",
        "S3",
        "takes no part in this step",
        deliver=[late],
    )
    bad.change(
        "confirm_attempt",
        "berlin confirms another attempt.",
        confirm,
        "S4",
        "speaks of attempt 1 at votes",
        lambda body: body.update(attempt=1),
    )
    bad.change(
        "confirm_others",
        "berlin confirms other survivors.",
        confirm,
        "S12",
        "confirmed other survivors than those it was told of",
        lambda body: body.update(survivors="5" * 64),
    )
    other = "handed out other shares than those of the survivors' seeds and the vanished's keys"
    bad.change(
        "both_shares",
        "celle hands out both shares of dresden.",
        unmask,
        "S13",
        other,
        lambda body: body["groups"][1]["seeds"].update(dresden=body["groups"][1]["keys"]["dresden"]),
    )
    bad.change(
        "share_kept",
        "celle keeps a share.",
        unmask,
        "S13",
        other,
        lambda body: body["groups"][0]["seeds"].pop("aachen"),
    )
    bad.add(
        "few_shares",
        "The deadline passes with two shares of each secret; three are needed.",
        unmask,
        "coordinator",
        "S17",
        "2 shares of",
        deadline=True,
    )
    share = one.body(unmask)["groups"][0]["seeds"]["aachen"]
    wrong = f"{int(share, 16) ^ 1:066x}"
    bad.change(
        "share_wrong",
        "celle hands out a wrong share, and there is none to spare.",
        unmask,
        "S18",
        "do not give what it committed to",
        lambda body: body["groups"][0]["seeds"].update(aachen=wrong),
    )
