"""A chain of rosters that breaks a rule is refused by that rule."""

from __future__ import annotations

import base64
import json
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from fedspallm_secure.charter.roster import Member
from fedspallm_secure.charter.roster_chain import (
    ROSTER_TYPE,
    RosterSignature,
    SignedRoster,
    check_chain,
    open_roster,
    sign_roster,
)
from fedspallm_secure.errors import CharterError, LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Identity, canonical, digest
from tests.charter.example_rosters import (
    encoding,
    example_roster,
    holder,
    member,
    revocation,
    signed,
    successor,
    with_signature,
)

A, B, C, D = (holder(name) for name in ("aachen", "berlin", "celle", "dresden"))
B1 = holder("berlin", 1)

FIRST = example_roster()
START = signed(FIRST, A, B, C)
_ROTATED = successor(FIRST, members=(member("aachen"), member("berlin", 1), member("celle")))
_REVOKED = _ROTATED.model_copy(update={"revoked": (revocation("berlin"),)})
_NEWCOMERS = successor(FIRST, members=(*FIRST.members, member("dresden"), member("essen")), threshold=3)


@pytest.mark.parametrize(
    "chain",
    [
        [START],
        [START, signed(_ROTATED, A, C)],
        [START, signed(_ROTATED, B, B1, C)],
        [START, signed(_REVOKED, A, B1, C)],
        [START, signed(_NEWCOMERS, A, B, D)],
        [START, signed(_REVOKED, A, C), signed(successor(_REVOKED, members=_REVOKED.members[:2]), A, B1)],
    ],
    ids=["first", "rotated", "signed with both keys", "revoked", "newcomers", "three"],
)
def test_a_chain_that_keeps_the_rules_ends_with_its_last_roster(chain: list[SignedRoster]) -> None:
    assert check_chain(chain) == open_roster(chain[-1])


def _other_payload(payload: bytes) -> SignedRoster:
    return START.model_copy(update={"payload": base64.b64encode(payload).decode()})


_FALSE = RosterSignature(keyid="celle", sig=signed(_ROTATED, A).signatures[0].sig)
_LATER = successor(_REVOKED, revoked=())
_SWAPPED = successor(FIRST, threshold=3)

REFUSED: dict[str, tuple[list[SignedRoster], str]] = {
    "a first roster that one member did not sign": (
        [signed(FIRST, A, B)],
        "Roster 1 needs signatures of 3 of the 3 members of roster 1 * 2: aachen, berlin",
    ),
    "a chain without its start": ([signed(_ROTATED, A, C)], "Roster 2 came where roster 1 was due"),
    "a roster twice": ([START, START], "Roster 1 came where roster 2 was due"),
    "a gap": ([START, signed(successor(_ROTATED), A, C)], "Roster 3 came where roster 2 was due"),
    "a roster that follows another one": (
        [START, signed(successor(_SWAPPED, number=2), A, B, C)],
        f"Roster 2 follows a roster with digest {digest(_SWAPPED)}; roster 1 has {digest(FIRST)}",
    ),
    "a forgotten revocation": (
        [START, signed(_REVOKED, A, C), signed(_LATER, A, B1, C)],
        "Roster 3 drops or changes the revocation of the key * berlin: stolen",
    ),
    "another reason": (
        [
            START,
            signed(_REVOKED, A, C),
            signed(
                successor(_REVOKED, revoked=(revocation("berlin").model_copy(update={"reason": "berlin: retired"}),)),
                A,
                B1,
                C,
            ),
        ],
        "Roster 3 drops or changes",
    ),
    "too few of the old members": (
        [START, signed(_NEWCOMERS, A, D, holder("essen"))],
        "Roster 2 needs signatures of 2 of the 3 members of roster 1 * 1: aachen",
    ),
    "too few of the new members": (
        [START, signed(_NEWCOMERS, A, B)],
        "Roster 2 needs signatures of 3 of the 5 members of roster 2 * 2: aachen, berlin",
    ),
    "a new key does not sign for the old one": (
        [START, signed(_ROTATED, A, B1)],
        "2 of the 3 members of roster 1 * 1: aachen",
    ),
    "an old key does not sign for the new one": (
        [START, signed(_ROTATED, A, B)],
        "2 of the 3 members of roster 2 * 1: aachen",
    ),
    "nobody": ([START, signed(_ROTATED)], "it has 0: nobody"),
    "a stranger besides": ([START, signed(_ROTATED, A, C, D)], "signed by 'dresden', which is no member"),
    "a false signature besides": (
        [
            START,
            signed(_ROTATED, A, B1).model_copy(update={"signatures": (*signed(_ROTATED, A, B1).signatures, _FALSE)}),
        ],
        "The signature of 'celle' under roster 2 does not hold",
    ),
    "a key that it never had": (
        [START, signed(_ROTATED, A, C, holder("berlin", 2))],
        "The signature of 'berlin' under roster 2 does not hold",
    ),
    "another one's key": (
        [START, signed(_ROTATED, A, C, Identity("berlin", A.key))],
        "The signature of 'berlin' under roster 2 does not hold",
    ),
    "a payload that is not base64": ([START.model_copy(update={"payload": "A"})], "is not base64"),
    "a payload that is no roster": ([_other_payload(b"{}")], "What was signed is no roster: number: field required"),
    "a payload in another form": (
        [_other_payload(json.dumps(json.loads(canonical(FIRST))).encode())],
        "Roster 1 is not in canonical form",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_chain_that_breaks_a_rule_is_refused_by_that_rule(case: str) -> None:
    chain, problem = REFUSED[case]
    with pytest.raises(RemoteProtocolError, match=re.escape(problem).replace(r"\ \*\ ", ".* ")):
        check_chain(chain)


def test_a_revoked_key_spoils_the_roster_that_revokes_it_and_is_not_let_to_sign() -> None:
    with pytest.raises(LocalProtocolError, match=f"Roster 2 revokes the key {B.public}: berlin: stolen"):
        sign_roster(signed(_REVOKED, A, C), B)
    with pytest.raises(RemoteProtocolError, match="'berlin' signed roster 2 with a key that it revokes"):
        check_chain([START, with_signature(signed(_REVOKED, A, C), "berlin", B)])


def test_one_key_counts_once_however_often_and_by_whatever_name_it_signs() -> None:
    with pytest.raises(RemoteProtocolError, match="One key of 'aachen' signed roster 2 twice"):
        check_chain([START, with_signature(signed(_ROTATED, A), "aachen", A)])
    renamed = successor(FIRST, members=(Member(name="trier", public_key=A.public), *FIRST.members[1:]))
    with pytest.raises(RemoteProtocolError, match="One key of 'trier' signed roster 2 twice"):
        check_chain([START, signed(renamed, A, Identity("trier", A.key))])
    assert check_chain([START, signed(renamed, A, B)]) == renamed


def test_a_roster_that_breaks_a_rule_by_itself_spoils_the_chain() -> None:
    with pytest.raises(CharterError, match="threshold 1 with 3 members"):
        check_chain([_other_payload(canonical(example_roster(threshold=1)))])


def test_an_empty_chain_has_no_last_roster() -> None:
    with pytest.raises(LocalProtocolError, match="starts with roster 1"):
        check_chain([])


def test_the_signature_is_ed25519_over_the_dsse_encoding_and_made_once() -> None:
    payload = base64.b64decode(START.payload)
    assert payload == canonical(FIRST)
    assert [signature.keyid for signature in START.signatures] == ["aachen", "berlin", "celle"]
    for signature, identity in zip(START.signatures, (A, B, C), strict=True):
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(identity.public))
        key.verify(base64.b64decode(signature.sig), encoding(ROSTER_TYPE, payload))
        assert sign_roster(START, identity) == START


def test_a_message_s_type_is_not_taken_for_a_roster() -> None:
    body = json.loads(canonical(START)) | {"payloadType": "application/vnd.fedspallm-secure.message.v1+json"}
    with pytest.raises(ValidationError, match="payloadType"):
        SignedRoster.model_validate_json(json.dumps(body))
