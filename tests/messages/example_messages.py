"""Two signers, one message of each kind, and strategies that draw any message of each kind."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from fedspallm_secure.messages import (
    Advertise,
    Advertised,
    Envelope,
    Identity,
    LaneBlob,
    Masked,
    Message,
    ModelStatement,
    Proof,
    Proofs,
    Sums,
    seal,
)

__all__ = ["ALICE", "BOB", "EXAMPLES", "KEYS", "messages"]


def _identity(name: str) -> Identity:
    return Identity(name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


ALICE = _identity("alice")
BOB = _identity("bob")
KEYS = {"alice": ALICE.public, "bob": BOB.public}

_LANES = (
    LaneBlob(lane="a.weight", words=2**53 - 1, blob="ab" * 32),
    LaneBlob(lane="é\u2028😀", words=0, blob="0" * 64),
)
_ADVERTISE = Advertise(charter="c" * 64, round=0, sender="alice", votes="1" * 64, values=None)
EXAMPLES: dict[str, Message] = {
    "advertise": _ADVERTISE,
    "advertised": Advertised(charter="c" * 64, round=0, sender="alice", advertisements=(seal(_ADVERTISE, ALICE),)),
    "masked": Masked(charter="c" * 64, round=1, sender="alice", sum="votes", lanes=_LANES),
    "sums": Sums(charter="c" * 64, round=2, sender="alice", sum="values", lanes=_LANES),
    "proof": Proof(charter="c" * 64, round=2, sender="alice", sum="votes", products=("0" * 16, "f" * 16)),
    "proofs": Proofs(charter="c" * 64, round=2, sender="alice", sum="votes", proofs=(seal(_ADVERTISE, ALICE),)),
    "model": ModelStatement(charter="c" * 64, round=3, sender="alice", model="d" * 64),
}

_HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
_HALF_HEX = st.binary(min_size=8, max_size=8).map(bytes.hex)
_COUNT = st.integers(0, 2**53 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_LANE = st.builds(LaneBlob, lane=_TEXT.filter(bool), words=_COUNT, blob=_HEX)
_LANE_LISTS = st.lists(_LANE, max_size=4).map(tuple)
_SUM = st.sampled_from(["votes", "values"])


def messages(sender: str) -> st.SearchStrategy[Message]:
    """Any message that names `sender`."""
    head = {"charter": _HEX, "round": _COUNT, "sender": st.just(sender)}
    advertise = st.builds(Advertise, **head, votes=_HEX, values=st.none() | _HEX)
    foreign = st.builds(
        lambda kind, payload, keyid, sig: Envelope.model_validate(
            {"payloadType": kind, "payload": payload, "signatures": ({"keyid": keyid, "sig": sig},)}
        ),
        *(_TEXT, _TEXT, _TEXT, _TEXT),
    )
    envelopes = advertise.map(lambda message: seal(message, ALICE)) | foreign
    return st.one_of(
        advertise,
        st.builds(Advertised, **head, advertisements=st.lists(envelopes, max_size=3).map(tuple)),
        st.builds(Masked, **head, sum=_SUM, lanes=_LANE_LISTS),
        st.builds(Sums, **head, sum=_SUM, lanes=_LANE_LISTS),
        st.builds(Proof, **head, sum=_SUM, products=st.tuples(_HALF_HEX, _HALF_HEX)),
        st.builds(Proofs, **head, sum=_SUM, proofs=st.lists(envelopes, max_size=3).map(tuple)),
        st.builds(ModelStatement, **head, model=_HEX),
    )
