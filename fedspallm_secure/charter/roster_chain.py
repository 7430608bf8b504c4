"""Which roster follows which: a roster counts when enough members of the one before it, and of itself, signed it.

The rule is that of The Update Framework's roots (https://theupdateframework.github.io/specification/latest, section
5.3): the old members hand over, and the new ones take over. A threshold of either alone is not enough: thieves of a few
old keys can't bring in keys of their own, and nobody is handed a roster that its members do not stand behind. What a
chain can't vouch for is its start: every member signs roster 1, and its digest is compared by voice.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from fedspallm_secure.charter.roster import Roster, check_roster
from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    Base64,
    Frozen,
    Name,
    Signer,
    canonical,
    decode_base64,
    digest,
    pre_authentication_encoding,
)
from fedspallm_secure.reading import faults

__all__ = [
    "ROSTER_TYPE",
    "RosterSignature",
    "SignedRoster",
    "check_chain",
    "open_roster",
    "sign_roster",
    "unsigned_roster",
]

ROSTER_TYPE: Final = "application/vnd.fedspallm-secure.roster.v1+json"

_TODO = "Go on with the last roster that you accepted; ask the other members which one they have."


class RosterSignature(Frozen):
    """One Ed25519 signature (RFC 8032) over the pre-authentication encoding, and who made it."""

    keyid: Name
    sig: Base64


class SignedRoster(Frozen):
    """A roster as it travels: a DSSE envelope with any number of signatures, one a key.

    `keyid` is the signer's name. A member whose key changes may sign with both keys, and then is there twice.
    """

    payloadType: Literal["application/vnd.fedspallm-secure.roster.v1+json"]  # noqa: N815  (the field's name in DSSE)
    payload: Base64
    signatures: tuple[RosterSignature, ...]


def unsigned_roster(roster: Roster) -> SignedRoster:
    """`roster`, ready to be signed.

    Raises:
        CharterError: it breaks a rule by itself.
    """
    check_roster(roster)
    payload = base64.b64encode(canonical(roster)).decode()
    return SignedRoster(payloadType=ROSTER_TYPE, payload=payload, signatures=())


def sign_roster(signed: SignedRoster, signer: Signer) -> SignedRoster:
    """`signed` with the signature of `signer` besides; with no other change if it is there already.

    Whether that signature counts is not asked here: it may be of an old key, which only the roster before knows.

    Raises:
        CharterError: the roster breaks a rule by itself.
        LocalProtocolError: it revokes that key.
        RemoteProtocolError: the payload is no roster.
    """
    roster = open_roster(signed)
    if signer.public in roster.reasons:
        raise LocalProtocolError(
            f"Roster {roster.number} revokes the key {signer.public}: {roster.reasons[signer.public]}.",
            "Sign with your new key; with the revoked one you would spoil the roster.",
        )
    made = signer.sign(pre_authentication_encoding(ROSTER_TYPE, decode_base64(signed.payload)))
    signature = RosterSignature(keyid=signer.name, sig=base64.b64encode(made).decode())
    if signature in signed.signatures:
        return signed
    return signed.model_copy(update={"signatures": (*signed.signatures, signature)})


def open_roster(signed: SignedRoster) -> Roster:
    """What `signed` says, sound by itself. No signature is looked at: only `check_chain` says that a roster counts.

    Raises:
        CharterError: it breaks a rule by itself.
        RemoteProtocolError: the payload is not one roster in canonical form.
    """
    todo = "Ask whoever sent it for the roster again."
    try:
        payload = decode_base64(signed.payload)
        roster = Roster.model_validate_json(payload)
    except ValidationError as error:
        raise RemoteProtocolError(f"What was signed is no roster: {faults(error)}.", todo) from error
    except ValueError as error:
        raise RemoteProtocolError("The payload of the roster is not base64.", todo) from error
    if canonical(roster) != payload:
        raise RemoteProtocolError(f"Roster {roster.number} is not in canonical form.", todo)
    check_roster(roster)
    return roster


def check_chain(chain: Sequence[SignedRoster]) -> Roster:
    """The last of a chain of rosters, once every one of them follows from the one before it.

    1. Each is a roster in canonical form that is sound by itself (`open_roster`).
    2. Their numbers are 1, 2, 3, ..., and each names the digest of the one before it.
    3. Each keeps all revocations of the one before it.
    4. Each signature holds for a key that its signer has on the roster or on the one before it. The roster does not
       revoke that key, and the key signs once.
    5. All members of roster 1 sign it. Each later one is signed by a threshold of the members of the one before it,
       with their keys there, and by a threshold of its own members, with their keys there.

    Args:
        chain: from roster 1 on, without a gap.

    Raises:
        CharterError: a roster breaks a rule by itself.
        LocalProtocolError: the chain is empty.
        RemoteProtocolError: a roster does not follow from the one before it, or a signature is missing, false, of a
            stranger, or of a revoked key.
    """
    if not chain:
        raise LocalProtocolError("A chain of rosters starts with roster 1; this one is empty.", "Give all rosters.")
    before: Roster | None = None
    for signed in chain:
        roster = open_roster(signed)
        _check_place(roster, before)  # 2, 3
        signers = _signing_keys(signed, roster, before)  # 4
        _check_signers(roster, before, signers)  # 5
        before = last = roster
    return last


def _check_place(roster: Roster, before: Roster | None) -> None:
    due = 1 if before is None else before.number + 1
    if roster.number != due:
        raise RemoteProtocolError(
            f"Roster {roster.number} came where roster {due} was due.", "Give all rosters from 1 on, in order."
        )
    if before is None:
        return
    if roster.previous != digest(before):
        raise RemoteProtocolError(
            f"Roster {roster.number} follows a roster with digest {roster.previous}; roster {before.number} has "
            f"{digest(before)}.",
            _TODO,
        )
    for revocation in before.revoked:
        if revocation not in roster.revoked:
            raise RemoteProtocolError(
                f"Roster {roster.number} drops or changes the revocation of the key {revocation.public_key}: "
                f"{revocation.reason}.",
                _TODO,
            )


def _signing_keys(signed: SignedRoster, roster: Roster, before: Roster | None) -> set[str]:
    """The keys whose signatures hold; a key counts once, however many names it has."""
    encoded = pre_authentication_encoding(ROSTER_TYPE, decode_base64(signed.payload))
    lists = [roster.keys] if before is None else [roster.keys, before.keys]
    found: set[str] = set()
    for signature in signed.signatures:
        who = f"{signature.keyid!r}"
        keys = {names[signature.keyid] for names in lists if signature.keyid in names}
        if not keys:
            raise RemoteProtocolError(
                f"Roster {roster.number} is signed by {who}, which is no member of it, nor of the one before it.", _TODO
            )
        held = {key for key in keys if _holds(key, signature.sig, encoded)}
        if not held:
            raise RemoteProtocolError(f"The signature of {who} under roster {roster.number} does not hold.", _TODO)
        if held & roster.reasons.keys():
            raise RemoteProtocolError(
                f"{who} signed roster {roster.number} with a key that it revokes.",
                "Whoever sent it may hold a stolen key: ask the other members which roster they have.",
            )
        if held <= found:
            raise RemoteProtocolError(f"One key of {who} signed roster {roster.number} twice.", _TODO)
        found |= held
    return found


def _check_signers(roster: Roster, before: Roster | None, signers: set[str]) -> None:
    everybody = [(roster, len(roster.members))]
    quorums = everybody if before is None else [(before, before.threshold), (roster, roster.threshold)]
    for members, needed in quorums:
        signing = [member.name for member in members.members if member.public_key in signers]
        if len(signing) < needed:
            raise RemoteProtocolError(
                f"Roster {roster.number} needs signatures of {needed} of the {len(members.members)} members of roster "
                f"{members.number}, with their keys there; it has {len(signing)}: {', '.join(signing) or 'nobody'}.",
                "Let more of them sign it; until then it does not count.",
            )


def _holds(key: str, signature: str, encoded: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(decode_base64(signature), encoded)
    except (InvalidSignature, ValueError):
        return False
    return True
