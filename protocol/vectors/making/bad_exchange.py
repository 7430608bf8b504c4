"""Keys and shares that a client or the server must refuse."""

from __future__ import annotations

from protocol.vectors.making.editor import Change, Collector, Editor, Json, sign

__all__ = ["bad_exchange"]


def bad_exchange(one: Editor, bad: Collector) -> None:
    """Collect them, from a round with one exchange."""
    _at_a_client(one, bad)
    _at_the_server(one, bad)


def _at_a_client(one: Editor, bad: Collector) -> None:
    advertised, shares = one.find("advertised"), one.find("shares", to="aachen")
    advertise = one.find("advertise", sender="berlin")

    def with_berlins(change: Change) -> Change:
        envelope = one.changed(advertise, change)
        return lambda body: body["advertisements"].__setitem__(1, envelope)

    def keep(*places: int) -> Change:
        return lambda body: body.update(advertisements=[body["advertisements"][place] for place in places])

    early = "Shares come before the advertisements."
    bad.add("early", early, advertised, "aachen", "C2", "is not due in state", deliver=[one.envelope(shares)])
    bad.change(
        "advertised_attempt",
        "Advertisements of another exchange.",
        advertised,
        "C3",
        "Advertisements came for attempt 1",
        lambda body: body.update(attempt=1),
    )
    senders = "senders of the advertisements are not institutions"
    bad.change("advertised_order", "Advertisements out of order.", advertised, "C4", senders, keep(1, 0, 2, 3))
    bad.change("advertised_twice", "An advertisement twice.", advertised, "C4", senders, keep(0, 1, 1, 2, 3))
    bad.change(
        "advertise_attempt",
        "berlin advertises for another exchange.",
        advertised,
        "C5",
        "did not advertise keys for this exchange",
        with_berlins(lambda body: body.update(attempt=1)),
    )
    bad.change(
        "advertise_keys",
        "berlin advertises no key for values.",
        advertised,
        "C6",
        "advertised not one key a group and sum",
        with_berlins(lambda body: body["groups"][0].update(values=None)),
    )
    channel = one.body(one.find("advertise", sender="aachen"))["channel"]
    bad.change(
        "key_copied",
        "berlin advertises aachen's key as its own.",
        advertised,
        "C7",
        "advertised a key that is in use already",
        with_berlins(lambda body: body.update(channel=channel)),
    )
    bad.change(
        "own_missing",
        "aachen's own advertisement does not come back.",
        advertised,
        "C8",
        "Our own advertisement came back changed, or not at all",
        keep(1, 2, 3),
    )
    bad.change(
        "few_advertised",
        "Too few peers to reconstruct aachen's secrets.",
        advertised,
        "C9",
        "institutions that should hold our shares",
        keep(0, 1),
    )
    bad.change(
        "small_order",
        "berlin's channel key has a small order: everybody knows the secret.",
        advertised,
        "C10",
        "of small order",
        with_berlins(lambda body: body.update(channel="00" * 32)),
    )
    bad.change(
        "not_canonical",
        "berlin's key for votes is not reduced.",
        advertised,
        "C10",
        "not in canonical form",
        with_berlins(lambda body: body["groups"][0].update(votes=(2**255 - 19 + 9).to_bytes(32, "little").hex())),
    )
    bad.add(
        "not_for_us",
        "berlin's inbox.",
        shares,
        "aachen",
        "C11",
        "Shares came for 'berlin'",
        deliver=[one.envelope(one.find("shares", to="berlin"))],
    )
    bad.change(
        "shares_of_a_stranger",
        "Shares of somebody who advertised nothing.",
        shares,
        "C12",
        "advertised no keys to us",
        lambda body: body["sealed"].update(zwickau="AAAA"),
    )
    bad.change(
        "few_shared",
        "Too few peers shared.",
        shares,
        "C13",
        "institutions that should hold our shares",
        lambda body: [body["sealed"].pop(name) for name in ("celle", "dresden")],
    )
    bad.change(
        "shares_swapped",
        "berlin's shares as celle's, and the other way round.",
        shares,
        "C14",
        "were not sealed by it for this client",
        lambda body: body["sealed"].update(berlin=body["sealed"]["celle"], celle=body["sealed"]["berlin"]),
    )
    for defect, about, plaintext in (
        ("shares_short", "berlin seals shares for one group; it owes two.", bytes(4 * 33)),
        ("share_large", "berlin seals a share that is no number below p.", b"\xff" * 8 * 33),
    ):
        sealed = one.sealed_by("berlin", "aachen", plaintext)

        def with_sealed(body: Json, sealed: str = sealed) -> None:
            body["sealed"]["berlin"] = sealed

        bad.change(defect, about, shares, "C15", "sealed something that is not the shares it owes us", with_sealed)


def _at_the_server(one: Editor, bad: Collector) -> None:
    advertise, share = one.find("advertise", sender="berlin"), one.find("share", sender="berlin")
    first = one.find("advertise", sender="aachen")
    bad.change(
        "charter", "Of another run.", first, "E8", "speaks of charter", lambda body: body.update(charter="5" * 64)
    )
    bad.change("round", "Of another round.", first, "E9", "speaks of round 1", lambda body: body.update(round=1))
    first_word = {"prev": None, "seen": None}
    word = {name: one.body(first)[name] for name in ("charter", "round")}
    stated = sign({**word, "kind": "model", "sender": "auditor", "model": "5" * 64, **first_word})
    bad.add("no_client", "The witness is no client.", 0, "coordinator", "S1", "is not a client", deliver=[stated])
    masked = one.changed(one.find("masked", sum="votes"), lambda body: body.update(first_word))
    bad.add("too_early", "Votes before the keys.", 0, "coordinator", "S2", "is not due in state", deliver=[masked])
    twice = [one.envelope(first)]
    bad.add(
        "sent_twice",
        "aachen advertises twice.",
        1,
        "coordinator",
        "S3",
        "sent this step's message twice",
        deliver=twice,
    )
    bad.change(
        "server_advertise_keys",
        "berlin advertises for a group too many.",
        advertise,
        "S5",
        "advertised not one key a group and sum",
        lambda body: body["groups"].append(body["groups"][0]),
    )
    key = one.body(first)["groups"][0]["votes"]
    bad.change(
        "server_key_copied",
        "berlin advertises aachen's key for votes.",
        advertise,
        "S6",
        "advertised a key that is in use already",
        lambda body: body["groups"][0].update(votes=key),
    )
    bad.change(
        "server_small_order",
        "berlin advertises a key of small order.",
        advertise,
        "S7",
        "of small order",
        lambda body: body["groups"][0].update(votes="00" * 32),
    )
    bad.change(
        "not_shared_with_all",
        "berlin seals nothing for celle.",
        share,
        "S8",
        "did not seal shares of this exchange for each peer that advertised",
        lambda body: body["sealed"].pop("celle"),
    )
    bad.change(
        "commitments",
        "berlin commits to no seed for values.",
        share,
        "S9",
        "committed to not one seed a group and sum",
        lambda body: body["commitments"][0].update(values=None),
    )
    after = one.find("advertise", sender="berlin")
    bad.add(
        "too_few",
        "The deadline passes with one advertisement of four.",
        after,
        "coordinator",
        "S16",
        "advertised keys; 3 are needed",
        deadline=True,
    )
