"""Inputs of the primitives' vectors, good and bad."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedspallm_secure.secagg.commitment import commit_to_seed
from fedspallm_secure.secagg.keys import (
    public_key,
)
from fedspallm_secure.secagg.shamir import PRIME, split
from protocol.vectors.making.primitives import packing, sealing
from protocol.vectors.making.stage import drawn

__all__ = ["GOOD", "bad_primitives"]

Json = dict[str, Any]


def _bytes(what: str, number: int = 32) -> bytes:
    return Random(what).randbytes(number)


def _digits(what: str, number: int, top: int) -> list[int]:
    rng = Random(what)
    return [rng.choice((0, top, rng.randint(0, top))) for _ in range(number)]


def _keystreams() -> list[Json]:
    key = _bytes("keystream").hex()
    words = ["0000000000000000", "ffffffffffffffff", "8000000000000000", "0123456789abcdef"]
    return [
        *({"operation": "stream", "key": key, "words": number} for number in (4, 1000, 2**17 + 5)),
        *({"operation": operation, "key": key, "words": words} for operation in ("add", "subtract")),
    ]


def _packing() -> list[Json]:
    votes = [{"operation": "choose", "sum": "votes", "clients": n} for n in (2, 3, 4, 5, 8, 16, 65, 1000)]
    moments = [
        {"operation": "choose", "sum": "moments", "clients": n, "digits_per_word": k}
        for n, k in ((3, 1), (255, 1), (256, 1), (1000, 1), (2**14, 1), (3, 4), (5, 2), (1000, 3))
    ]
    values = [
        {"operation": "choose", "sum": "values", "clients": n, "digits_per_word": k}
        for n, k in ((2, 1), (3, 4), (4, 4), (5, 8), (8, 6), (16, 6), (65, 5), (1000, 3))
    ]
    sums = []
    for clients, top, k, length in (
        (3, 1, 32, 70),
        (4, 6, 4, 9),
        (5, 50, 8, 17),
        (8, 202, 6, 1),
        (2, 2**28 - 1, 1, 2),
        (3, 2**52, 1, 7),
    ):
        digits = [_digits(f"digits {clients} {top} {client}", length, top) for client in range(clients)]
        shape = {"clients": clients, "top": top, "digits_per_word": k}
        added = {"operation": "add", **shape, "digits": digits}
        sums += [added, {"operation": "unpack", **shape, "words": packing(added)["sum"], "length": length}]
    return votes + moments + values + sums


def _shamir() -> list[Json]:
    cases: list[Json] = []
    for threshold, holders in ((1, [0]), (2, [0, 1, 2]), (3, [1, 4, 5, 900]), (5, list(range(7)))):
        secret = _bytes(f"secret {threshold}")
        entropy = _bytes(f"coefficients {threshold}", 64 * (threshold - 1))
        shares = split(secret, threshold, holders, drawn(entropy))
        some = {str(holder): shares[holder].hex() for holder in holders[-threshold:]}
        cases += [
            {
                "operation": "deal",
                "secret": secret.hex(),
                "threshold": threshold,
                "holders": holders,
                "entropy": entropy.hex(),
            },
            {
                "operation": "reconstruct",
                "shares": some,
                "threshold": threshold,
                "commitment": commit_to_seed(secret),
            },
        ]
    return cases


def _key_schedule() -> list[Json]:
    return [
        {
            "operation": "derive",
            "charter": _bytes("charter").hex(),
            "round": the_round,
            "sum": name,
            "attempt": attempt,
            "lane": lane,
            "group": group,
            "low": low,
            "high": high,
            "one": _bytes(f"one {lane}").hex(),
            "other": _bytes(f"other {lane}").hex(),
            "seed": _bytes(f"seed {lane}").hex(),
            "challenge": _bytes(f"challenge {lane}").hex(),
        }
        for the_round, name, attempt, lane, group, low, high in (
            (0, "votes", 0, 0, 0, 0, 1),
            (1, "values", 0, 7, 2, 3, 65),
            (2, "values", 2, 2**32 - 1, 2**16, 255, 256),
        )
    ]


def _sealing() -> list[Json]:
    sender, receiver = (X25519PrivateKey.from_private_bytes(_bytes(whose)) for whose in ("sender", "receiver"))
    shared = {"charter": _bytes("charter").hex(), "round": 1, "attempt": 0, "sender": 2, "receiver": 5}
    cases = []
    for number in (1, 4):
        plaintext = b"".join(Random(f"share {at}").randrange(PRIME).to_bytes(33, "big") for at in range(2 * number))
        sealed = {
            "operation": "seal",
            **shared,
            "private": _bytes("sender").hex(),
            "public": public_key(receiver),
            "plaintext": plaintext.hex(),
        }
        opened = {
            "operation": "open",
            **shared,
            "private": _bytes("receiver").hex(),
            "public": public_key(sender),
            "sealed": sealing(sealed)["sealed"],
        }
        cases += [sealed, opened]
    return cases


def _graphs() -> list[Json]:
    beacon = _bytes("beacon").hex()
    orders = [
        {"operation": "order", "what": what, "beacon": beacon, "round": the_round, "number": number}
        for what, the_round, number in (("layers", 0, 12), ("clients", 3, 7), ("graph/0", 0, 20), ("graph/11", 1, 20))
    ]
    layers = [
        {
            "operation": "layers",
            "capacities": ["1", "0.5", "0.25", "0.999999999", "1.000"],
            "layers": 7,
            "minimum_cohort": 3,
            "beacon": beacon,
            "round": the_round,
        }
        for the_round in (0, 1)
    ]
    degrees = [
        {"operation": "degree", "members": n, "colluders": c, "dropouts": d}
        for n, c, d in (
            (66, 3, 3),
            (66, 0, 0),
            (66, 65, 0),
            (70, 34, 30),
            (100, 5, 5),
            (100, 10, 5),
            (300, 3, 60),
            (1000, 50, 300),
        )
    ]
    whole = [
        {
            "operation": "graph",
            "members": n,
            "colluders": c,
            "dropouts": d,
            "group": group,
            "beacon": beacon,
            "round": 0,
        }
        for n, c, d, group in (
            (3, 1, 0, 0),
            (8, 1, 2, 1),
            (65, 2, 10, 0),
            (66, 3, 3, 2),
            (66, 65, 0, 0),
            (100, 5, 5, 10),
        )
    ]
    ring = [7, 2, 9, 0, 11, 4, 1, 10, 3, 8, 5, 6]
    thin = [
        {"operation": "thinnest", "ring": ring, "neighbours": neighbours, "present": present}
        for neighbours, present in (
            (4, ring),
            (4, [2, 9, 11, 4, 10, 3, 5]),
            (4, [9, 0, 11, 4, 1, 10, 3, 8]),
            (6, [7, 2, 9, 0, 11, 4]),
            (10, [7, 2, 9, 0, 11, 4, 12, 13]),
            (2, []),
        )
    ]
    return orders + layers + degrees + whole + thin


def _checks() -> list[Json]:
    return [
        {"challenge": _bytes(f"challenge {top}").hex(), "lane": lane, "digits": _digits(f"check {top}", number, top)}
        for lane, number, top in ((0, 5, 1), (3, 40, 8), (17, 25, 4 * 2**24), (18, 2, 2**37 - 1), (19, 60, 2**60 - 1))
    ]


GOOD: Mapping[str, tuple[str, list[Json]]] = {
    "keystreams": ("Masks: AES-256-CTR as words, alone and applied.", _keystreams()),
    "packing": ("Which packings there are, digits as words, and back.", _packing()),
    "shamir": ("Shares of a secret, and the secret of as few shares as the threshold asks for.", _shamir()),
    "key_schedule": ("From private keys to every key that follows.", _key_schedule()),
    "sealing": ("Shares on their way to a holder.", _sealing()),
    "graphs": ("Drawn orders, cohorts of layers, degrees and graphs.", _graphs()),
    "checks": ("Inner products of digits with the public vector.", _checks()),
}
"""Family -> what it shows, and its inputs."""


def bad_primitives() -> dict[str, Json]:
    """FAMILY/NAME -> vector that must be refused."""
    bad: dict[str, Json] = {}

    def add(family: str, defect: str, about: str, given: Json, check: str, error: str, says: str) -> None:
        refused = {"check": check, "error": error, "says": says}
        bad[f"{family}/{family}_bad_{defect}"] = {
            "family": family,
            "about": about,
            "input": given,
            "refused": refused,
        }

    remote, gate = "RemoteProtocolError", "CharterError"
    unpack = {"operation": "unpack", "clients": 4, "top": 1, "digits_per_word": 27, "length": 30}
    no_sum = "A word is no sum of digits"
    over, past = [f"{5**27:016x}", "0" * 16], ["0" * 16, f"{5**15:016x}"]
    add("packing", "word", "A word that is not below R^k.", {**unpack, "words": over}, "C30", remote, no_sum)
    add("packing", "end", "A digit past the end of the lane.", {**unpack, "words": past}, "C30", remote, no_sum)
    choose = {"operation": "choose", "sum": "values", "clients": 8, "digits_per_word": 33}
    add("packing", "crowded", "So many digits a word that none can be 1.", choose, "G12", gate, "do not fit a 64-bit")

    rebuild = next(case for case in _shamir() if case["operation"] == "reconstruct" and case["threshold"] == 3)
    first, *others = rebuild["shares"]
    few = {**rebuild, "shares": {holder: rebuild["shares"][holder] for holder in others}}
    add("shamir", "few", "One share less than the threshold.", few, "S17", remote, "3 are needed")
    for defect, about, share, check, says in (
        (
            "share",
            "A share that is one off.",
            int(rebuild["shares"][first], 16) + 1,
            "S18",
            "give the committed secret",
        ),
        ("large", "A share that is no number below p.", PRIME, "S17", "3 are needed"),
    ):
        changed = {**rebuild, "shares": {**rebuild["shares"], first: f"{share:066x}"}}
        add("shamir", defect, about, changed, check, remote, says)

    agree = {"operation": "agree", "low": 0, "high": 1, "one": _bytes("one").hex(), "other": _bytes("other").hex()}
    for defect, about, public, says in (
        ("zero", "The point 0, of small order.", 0, "of small order"),
        ("order_8", "A point of order 8.", _ORDER_8, "of small order"),
        ("not_reduced", "The base point, written as 9 + p.", 2**255 - 19 + 9, "not in canonical form"),
        ("high_bit", "A key with its top bit set.", 2**255 + 9, "not in canonical form"),
    ):
        given = {**agree, "public": public.to_bytes(32, "little").hex()}
        add("key_schedule", defect, about, given, "C10", remote, says)

    opened = next(case for case in _sealing() if case["operation"] == "open")
    sealed = opened["sealed"]
    swapped = {"sender": opened["receiver"], "receiver": opened["sender"]}
    for defect, about, change in (
        ("receiver", "Handed to another holder.", {"receiver": 6}),
        ("direction", "Sent back to where it came from.", swapped),
        ("round", "Of another round.", {"round": 0}),
        ("attempt", "Of another exchange.", {"attempt": 1}),
        ("charter", "Of another run.", {"charter": _bytes("another charter").hex()}),
        ("bit", "One letter changed.", {"sealed": ("A" if sealed[0] != "A" else "B") + sealed[1:]}),
        ("short", "Without its last 33 bytes of text.", {"sealed": sealed[:44] + sealed[-4:]}),
        ("padding", "Base64 that no encoder writes.", {"sealed": _with_spare_bits(opened)}),
        ("key", "Under another channel key.", {"private": _bytes("another receiver").hex()}),
    ):
        add("sealing", defect, about, {**opened, **change}, "C14", remote, "were not sealed by it for this client")

    thin = {**next(case for case in _graphs() if case["operation"] == "layers")}
    thin["minimum_cohort"] = 4
    add("graphs", "thin", "Capacities that can't give each layer its cohort.", thin, "G11", gate, "The capacities give")
    over_1 = {**thin, "minimum_cohort": 1, "capacities": ["1", "1.000000001"]}
    add("graphs", "capacity", "A capacity above 1.", over_1, "G11", gate, "has capacity")
    return bad


_ORDER_8 = 325606250916557431795983626356110631294008115727848805560023387167927233504
"""u-coordinate of a point of order 8 on Curve25519 (RFC 7748 section 6.1 asks to reject its products)."""


def _with_spare_bits(opened: Json) -> str:
    """The same bytes in base64, but with bits set that the padding leaves unused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = str(opened["sealed"])
    body = text.rstrip("=")
    assert body != text
    return body[:-1] + alphabet[alphabet.index(body[-1]) + 1] + text[len(body) :]
