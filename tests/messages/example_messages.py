"""Two signers, one message of each kind, and strategies that draw any message of each kind."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from fedspallm_secure.messages import (
    Advertise,
    Advertised,
    Again,
    Attest,
    Attested,
    Collected,
    Confirm,
    Confirmed,
    Counted,
    CountedLane,
    Encrypted,
    Envelope,
    GroupCommitments,
    GroupKeys,
    Identity,
    LaneBlob,
    LogHead,
    Masked,
    Message,
    ModelStatement,
    Proof,
    Proofs,
    Release,
    Revealed,
    Share,
    Shares,
    Sums,
    Survivors,
    Unmask,
    Unproven,
    seal,
)

__all__ = ["ALICE", "BOB", "EXAMPLES", "KEYS", "messages"]


def _identity(name: str) -> Identity:
    return Identity(name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


ALICE = _identity("alice")
BOB = _identity("bob")
KEYS = {"alice": ALICE.public, "bob": BOB.public}

_ROUND: dict[str, Any] = {"charter": "c" * 64, "round": 2, "sender": "alice"}
_VOTES: dict[str, Any] = {**_ROUND, "sum": "votes", "attempt": 0}
_VALUES: dict[str, Any] = {**_ROUND, "sum": "values", "attempt": 3}

_LANES = (
    LaneBlob(lane="a.weight", words=2**53 - 1, blob="ab" * 32),
    LaneBlob(lane="é\u2028😀", words=0, blob="0" * 64),
)
_ADVERTISE = Advertise(
    **_ROUND,
    attempt=0,
    channel="1" * 64,
    groups=(GroupKeys(votes="2" * 64, values="3" * 64), GroupKeys(votes=None, values="4" * 64)),
)
_PROOF = Proof(**_VOTES, products=(("0" * 16, "f" * 16), ("1" * 16, "e" * 16)))
_ATTEST = Attest(**_VALUES, sums="5" * 64)
_LOG = LogHead(size=7, root="0e" * 32)
_COUNTED = Counted(
    **_ROUND,
    survivors="a" * 64,
    contributors=("alice", "bob"),
    lanes=tuple(CountedLane(**lane.model_dump(), ciphertexts="7" * 64) for lane in _LANES),
)
_REVEALED = Revealed(seeds={"alice": "6" * 66, "bob": "7" * 66}, keys={"c.3_d-e": "8" * 66})

EXAMPLES: dict[str, Message] = {
    message.kind: message
    for message in (
        _ADVERTISE,
        Advertised(**_ROUND, attempt=0, advertisements=(seal(_ADVERTISE, ALICE),)),
        Share(
            **_ROUND,
            attempt=0,
            commitments=(GroupCommitments(votes="9" * 64, values=None),),
            sealed={"bob": "AAEC", "Z": "", "a" * 64: "/+8="},
        ),
        Shares(**_ROUND, attempt=1, to="bob", sealed={"alice": "AAECAw=="}),
        Again(**_ROUND, attempt=1, gone=("bob",)),
        Masked(**_VOTES, lanes=_LANES, prev="0d" * 32, seen=_LOG),
        Encrypted(**_ROUND, lanes=_LANES, prev=None, seen=_LOG),
        Survivors(
            **_VOTES,
            participants=("alice", "bob"),
            survivors=("alice",),
            gone=("bob",),
            start="ab" * 32,
            log=_LOG,
        ),
        Confirm(**_VALUES, survivors="a" * 64),
        Confirmed(**_VALUES, survivors="a" * 64, signatures={"alice": "AAEC", "bob": "AA=="}),
        Unmask(**_VOTES, groups=(_REVEALED, Revealed(seeds={}, keys={}))),
        Release(**_ROUND, survivors="a" * 64, prev="0d" * 32, seen=_LOG),
        Collected(**_ROUND, survivors="a" * 64, contributors=("alice",), log=_LOG),
        _COUNTED,
        Sums(**_VOTES, lanes=_LANES, counted=seal(_COUNTED, ALICE)),
        _PROOF,
        Proofs(**_VOTES, proofs=(seal(_PROOF, ALICE),)),
        _ATTEST,
        Attested(**_VALUES, attestation=seal(_ATTEST, ALICE)),
        Unproven(**_VOTES, missing=("bob",)),
        ModelStatement(**_ROUND, model="d" * 64, prev="0c" * 32, seen=None),
    )
}

_COUNT = st.integers(0, 2**53 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
_NAMES = st.lists(_NAME, max_size=4).map(tuple)
_BASE64 = st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())
_SUM = st.sampled_from(["votes", "values"])


def _hex(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


_DIGEST = _hex(32)
_OPTIONAL = st.none() | _DIGEST
_HEADS = st.builds(LogHead, size=_COUNT, root=_DIGEST)
_PRODUCTS = st.lists(st.tuples(_hex(8), _hex(8)), max_size=3).map(tuple)
_LANE_LISTS = st.lists(
    st.builds(LaneBlob, lane=_TEXT.filter(bool), words=_COUNT, blob=_DIGEST),
    max_size=4,
).map(tuple)
_COUNTED_LISTS = st.lists(
    st.builds(CountedLane, lane=_TEXT.filter(bool), words=_COUNT, blob=_DIGEST, ciphertexts=_DIGEST),
    max_size=4,
).map(tuple)
_KEY_LISTS = st.lists(st.builds(GroupKeys, votes=_OPTIONAL, values=_OPTIONAL), max_size=3).map(tuple)
_COMMITMENT_LISTS = st.lists(st.builds(GroupCommitments, votes=_OPTIONAL, values=_OPTIONAL), max_size=3).map(tuple)
_SEALED = st.dictionaries(_NAME, _BASE64, max_size=4)
_SHARES = st.dictionaries(_NAME, _hex(33), max_size=3)
_REVEALED_LISTS = st.lists(st.builds(Revealed, seeds=_SHARES, keys=_SHARES), max_size=3).map(tuple)


def messages(sender: str) -> st.SearchStrategy[Message]:
    """Any message that names `sender`."""
    head = {"charter": _DIGEST, "round": _COUNT, "sender": st.just(sender)}
    tried, summed = head | {"attempt": _COUNT}, head | {"attempt": _COUNT, "sum": _SUM}
    links = {"prev": _OPTIONAL, "seen": st.none() | _HEADS}
    advertise = st.builds(Advertise, **tried, **links, channel=_DIGEST, groups=_KEY_LISTS)
    foreign = st.builds(
        lambda kind, payload, keyid, sig: Envelope.model_validate(
            {"payloadType": kind, "payload": payload, "signatures": ({"keyid": keyid, "sig": sig},)}
        ),
        *(_TEXT, _TEXT, _TEXT, _TEXT),
    )
    envelope = advertise.map(lambda message: seal(message, ALICE)) | foreign
    envelopes = st.lists(envelope, max_size=3).map(tuple)
    return st.one_of(
        advertise,
        st.builds(Advertised, **tried, advertisements=envelopes),
        st.builds(Share, **tried, **links, commitments=_COMMITMENT_LISTS, sealed=_SEALED),
        st.builds(Shares, **tried, to=_NAME, sealed=_SEALED),
        st.builds(Again, **tried, gone=_NAMES),
        st.builds(Masked, **summed, **links, lanes=_LANE_LISTS),
        st.builds(Survivors, **summed, participants=_NAMES, survivors=_NAMES, gone=_NAMES, start=_DIGEST, log=_HEADS),
        st.builds(Confirm, **summed, survivors=_DIGEST),
        st.builds(Confirmed, **summed, survivors=_DIGEST, signatures=_SEALED),
        st.builds(Unmask, **summed, **links, groups=_REVEALED_LISTS),
        st.builds(Encrypted, **head, **links, lanes=_LANE_LISTS),
        st.builds(Release, **head, **links, survivors=_DIGEST),
        st.builds(Collected, **head, survivors=_DIGEST, contributors=_NAMES, log=_HEADS),
        st.builds(Counted, **head, **links, survivors=_DIGEST, contributors=_NAMES, lanes=_COUNTED_LISTS),
        st.builds(Sums, **summed, lanes=_LANE_LISTS, counted=st.none() | envelope),
        st.builds(Proof, **summed, **links, products=_PRODUCTS),
        st.builds(Proofs, **summed, proofs=envelopes),
        st.builds(Attest, **summed, **links, sums=_DIGEST),
        st.builds(Attested, **summed, attestation=envelope),
        st.builds(Unproven, **summed, missing=_NAMES),
        st.builds(ModelStatement, **head, **links, model=_DIGEST),
    )
