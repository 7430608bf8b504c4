"""Institutions with keys of several generations, a first roster of three of them, and rosters that follow it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.charter.roster import Member, Revocation, Roster
from fedspallm_secure.charter.roster_chain import (
    ROSTER_TYPE,
    RosterSignature,
    SignedRoster,
    sign_roster,
    unsigned_roster,
)
from fedspallm_secure.messages import Identity, digest

__all__ = ["encoding", "example_roster", "holder", "member", "revocation", "signed", "successor", "with_signature"]


def holder(name: str, generation: int = 0) -> Identity:
    """The institution `name` with its first key, or a later one."""
    seed = hashlib.sha256(f"{name} {generation}".encode()).digest()
    return Identity(name, Ed25519PrivateKey.from_private_bytes(seed))


def member(name: str, generation: int = 0) -> Member:
    """The same, as a roster lists it."""
    return Member(name=name, public_key=holder(name, generation).public)


def revocation(name: str, generation: int = 0) -> Revocation:
    """That key, stolen."""
    return Revocation(public_key=holder(name, generation).public, reason=f"{name}: stolen")


def example_roster(**changes: Any) -> Roster:
    """Roster 1 of aachen, berlin and celle, of whom two must agree, but for `changes`."""
    fields: dict[str, Any] = {
        "number": 1,
        "previous": None,
        "members": (member("aachen"), member("berlin"), member("celle")),
        "threshold": 2,
        "revoked": (),
    }
    return Roster(**fields | changes)


def successor(before: Roster, **changes: Any) -> Roster:
    """The next roster, which says what `before` says, but for `changes`."""
    fields = {"number": before.number + 1, "previous": digest(before)}
    return before.model_copy(update=fields | changes)


def signed(roster: Roster, *signers: Identity) -> SignedRoster:
    """`roster` with the signatures of `signers`."""
    envelope = unsigned_roster(roster)
    for identity in signers:
        envelope = sign_roster(envelope, identity)
    return envelope


def with_signature(roster: SignedRoster, name: str, identity: Identity) -> SignedRoster:
    """`roster` with a signature that `sign_roster` would not make, or not twice."""
    made = identity.key.sign(encoding(ROSTER_TYPE, base64.b64decode(roster.payload)))
    signature = RosterSignature(keyid=name, sig=base64.b64encode(made).decode())
    return roster.model_copy(update={"signatures": (*roster.signatures, signature)})


def encoding(kind: str, body: bytes) -> bytes:
    """PAE(type, body), written from the DSSE specification."""
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(body)).encode(), body])
