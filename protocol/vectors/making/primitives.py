"""What a sum is made of, as the package computes it: masks, packing, shares, keys, sealed texts, graphs, products."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import rfc8785
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.aggregation import sample_layers
from fedspallm_secure.charter import drawn_order, unmasking_threshold
from fedspallm_secure.secagg import Packing, moments_packing, values_packing, votes_packing
from fedspallm_secure.secagg.check import PRIMES, inner_products
from fedspallm_secure.secagg.commitment import commit_to_seed
from fedspallm_secure.secagg.degree import compute_degree
from fedspallm_secure.secagg.graph import make_graph
from fedspallm_secure.secagg.keys import (
    ChannelContext,
    MaskContext,
    derive,
    pair_mask_key,
    public_key,
    self_mask_key,
    shared_secret,
)
from fedspallm_secure.secagg.keystream import apply_keystream
from fedspallm_secure.secagg.sealing import open_sealed, seal_for
from fedspallm_secure.secagg.shamir import robust_combine, split
from fedspallm_secure.secagg.stretches import thinnest
from protocol.vectors.making.stage import drawn

__all__ = ["RUN"]

Json = dict[str, Any]


def _hex(words: Sequence[Any] | NDArray[Any]) -> list[str]:
    return [f"{int(word):016x}" for word in words]


def _words(texts: Sequence[str]) -> NDArray[np.uint64]:
    return np.array([int(text, 16) for text in texts], np.uint64)


def keystreams(given: Json) -> Json:
    """The first and last words of a keystream and its digest, or words with it added or taken off."""
    key = bytes.fromhex(given["key"])
    if given["operation"] == "stream":
        stream = np.zeros(given["words"], np.uint64)
        apply_keystream(stream, key, subtract=False)
        data = hashlib.sha256(stream.astype("<u8").tobytes()).hexdigest()
        return {"first": _hex(stream[:4]), "last": _hex(stream[-4:]), "sha256": data}
    words = _words(given["words"])
    apply_keystream(words, key, subtract=given["operation"] == "subtract")
    return {"words": _hex(words)}


def packing(given: Json) -> Json:
    """Which packing a sum has; a sum of clients' digits as words; the digits of a sum's words."""
    n = given["clients"]
    if given["operation"] == "choose":
        match given["sum"]:
            case "votes":
                found = votes_packing(n)
            case "moments":
                found = moments_packing(n, given["digits_per_word"])
            case _:
                found = values_packing(n, given["digits_per_word"])
        return {"top": found.top, "digits_per_word": found.digits, "radix": str(found.radix)}
    chosen = Packing(n, given["top"], given["digits_per_word"])
    if given["operation"] == "unpack":
        return {"digits": chosen.unpack(_words(given["words"]), given["length"]).tolist()}
    total = np.zeros(chosen.words(len(given["digits"][0])), np.uint64)
    words = []
    for digits in given["digits"]:
        words.append(_hex(packed := chosen.pack(np.array(digits, np.uint64))))
        total += packed
    return {"words": words, "sum": _hex(total)}


def shamir(given: Json) -> Json:
    """Shares of a secret, or a secret from shares."""
    if given["operation"] == "deal":
        entropy = drawn(bytes.fromhex(given["entropy"]))
        shares = split(bytes.fromhex(given["secret"]), given["threshold"], given["holders"], entropy)
        return {"shares": {str(holder): share.hex() for holder, share in shares.items()}}
    came = {int(holder): bytes.fromhex(share) for holder, share in given["shares"].items()}
    secret, _ = robust_combine(came, given["threshold"], lambda raw: commit_to_seed(raw) == given["commitment"])
    return {"secret": secret.hex()}


def key_schedule(given: Json) -> Json:
    """Every key and mask that two clients have in common, and those of the lower one alone."""
    low, high = given["low"], given["high"]
    one, other = (X25519PrivateKey.from_private_bytes(bytes.fromhex(given[whose])) for whose in ("one", "other"))
    if given["operation"] == "agree":
        return {"secret": shared_secret(one, given["public"], "other").hex()}
    secret = shared_secret(one, public_key(other), "other")
    seed, challenge = bytes.fromhex(given["seed"]), bytes.fromhex(given["challenge"])
    lane = MaskContext(given["charter"], given["round"], given["sum"], given["attempt"], given["lane"])
    channel = ChannelContext(given["charter"], given["round"], given["attempt"], low, high)
    group = b"".join(number.to_bytes(4, "big") for number in (given["group"], low, high))
    return {
        "public": [public_key(one), public_key(other)],
        "secret": secret.hex(),
        "lane_context": lane.encode().hex(),
        "channel_context": channel.encode().hex(),
        "pair_key": pair_mask_key(secret, lane, low, high).hex(),
        "self_key": self_mask_key(seed, lane, low).hex(),
        "channel_key": derive(secret, b"share-channel", channel.encode()).hex(),
        "commitment": commit_to_seed(seed),
        "vector_keys": [
            derive(challenge, b"check/vector", bytes([m]) + given["lane"].to_bytes(4, "big")).hex() for m in range(2)
        ],
        "product_masks": [derive(secret, b"check/mask", bytes([m]) + group + challenge).hex() for m in range(2)],
    }


def sealing(given: Json) -> Json:
    """A text sealed by its sender, or opened by its receiver."""
    context = ChannelContext(*(given[name] for name in ("charter", "round", "attempt", "sender", "receiver")))
    own = X25519PrivateKey.from_private_bytes(bytes.fromhex(given["private"]))
    secret = shared_secret(own, given["public"], "peer")
    if given["operation"] == "seal":
        return {"sealed": seal_for(secret, context, bytes.fromhex(given["plaintext"]))}
    return {"plaintext": open_sealed(secret, context, given["sealed"], "peer").hex()}


def graphs(given: Json) -> Json:
    """A drawn order, the cohorts of layers, the degree of a cohort's graph, the whole graph, or its thinnest place."""
    if given["operation"] == "order":
        beacon = bytes.fromhex(given["beacon"])
        return {"order": drawn_order(given["what"], beacon, given["round"], given["number"])}
    if given["operation"] == "layers":
        shares = [Fraction(capacity) for capacity in given["capacities"]]
        beacon = bytes.fromhex(given["beacon"])
        cohorts = sample_layers(shares, given["layers"], given["minimum_cohort"], beacon, given["round"])
        return {"cohorts": [list(cohort) for cohort in cohorts]}
    if given["operation"] == "thinnest":
        return {"thinnest": thinnest(given["ring"], given["neighbours"], given["present"])}
    n, c, d = given["members"], given["colluders"], given["dropouts"]
    if given["operation"] == "degree":
        degree = compute_degree(n, c, d)
        return {"degree": None if degree is None else [degree.neighbours, degree.threshold]}
    order = drawn_order(f"graph/{given['group']}", bytes.fromhex(given["beacon"]), given["round"], n)
    graph = make_graph(n, c, d, order)
    neighbours = [list(mine) for mine in graph.neighbours]
    return {
        "threshold": graph.threshold,
        "quorum": unmasking_threshold(n, c) if graph.complete else n - d,
        "holds_own_share": 0 in graph.holders(0),
        "neighbours_of_0": neighbours[0],
        "neighbours_digest": hashlib.sha256(rfc8785.dumps(neighbours)).hexdigest(),
    }


def checks(given: Json) -> Json:
    """<r, digits> for both moduli, before anything masks it."""
    digits = np.array(given["digits"], np.uint64)
    products = []
    for m, modulus in enumerate(PRIMES):
        info = bytes([m]) + given["lane"].to_bytes(4, "big")
        key = derive(bytes.fromhex(given["challenge"]), b"check/vector", info)
        products.append(f"{inner_products(key, [digits])[0] % modulus:016x}")
    return {"products": products}


RUN = {
    "keystreams": keystreams,
    "packing": packing,
    "shamir": shamir,
    "key_schedule": key_schedule,
    "sealing": sealing,
    "graphs": graphs,
    "checks": checks,
}
"""Family -> what the package does with an input."""
