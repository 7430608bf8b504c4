"""Vectors of rosters that follow each other, and of the charters that they let their members enter."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.charter import Charter, check_chain, check_charter_roster, load_roster
from fedspallm_secure.charter.roster_chain import ROSTER_TYPE
from fedspallm_secure.messages import digest, pre_authentication_encoding
from protocol.vectors.making.rounds import signing_key
from protocol.vectors.making.stage import as_json

__all__ = ["CASES", "bad_rosters", "rosters", "with_charter"]

Json = dict[str, Any]


def rosters(given: Json) -> Json:
    """The last roster of a chain, if it lets everybody into the charter, where there is one."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "roster.json"
        chain = []
        for text in [given["text"]] if "text" in given else [_line(signed) for signed in given["rosters"]]:
            path.write_text(text, encoding="utf-8")
            chain.append(load_roster(path))
    last = check_chain(chain)
    if "charter" in given:
        check_charter_roster(Charter.model_validate_json(json.dumps(given["charter"])), last)
    return {"roster": as_json(last), "digest": digest(last)}


def with_charter(charter: Json, **changes: Any) -> Json:
    """A charter, and the first roster of those who are its clients, and of two others."""
    clients = [{"name": one["name"], "public_key": one["public_key"]} for one in charter["roster"]]
    members = [*clients, _member("erfurt"), _member("fulda")]
    names = [one["name"] for one in members]
    return {"rosters": [_signed(_roster(members=members, threshold=4, **changes), *names)], "charter": charter}


def _line(signed: Json) -> str:
    return rfc8785.dumps(signed).decode() + "\n"


def _public(key: str) -> str:
    return Ed25519PrivateKey.from_private_bytes(signing_key(key)).public_key().public_bytes_raw().hex()


def _member(name: str, key: str = "") -> Json:
    return {"name": name, "public_key": _public(key or name)}


def _revoked(key: str, reason: str = "stolen") -> Json:
    return {"public_key": _public(key), "reason": reason}


def _roster(**changes: Any) -> Json:
    members = [_member(name) for name in ("aachen", "berlin", "celle")]
    first = {"number": 1, "previous": None, "members": members, "threshold": 2, "revoked": []}
    return {"version": "fedspallm-secure/roster/v1", **first, **changes}


def _next(before: Json, **changes: Any) -> Json:
    previous = hashlib.sha256(rfc8785.dumps(before)).hexdigest()
    return {**before, "number": before["number"] + 1, "previous": previous, **changes}


def _signed(roster: Json | bytes, *signers: str | tuple[str, str]) -> Json:
    """A roster and its signatures, each by the first key of a name, or by a key (the second) in a name."""
    payload = roster if isinstance(roster, bytes) else rfc8785.dumps(roster)
    signatures = []
    for signer in signers:
        name, key = (signer, signer) if isinstance(signer, str) else signer
        private = Ed25519PrivateKey.from_private_bytes(signing_key(key))
        made = private.sign(pre_authentication_encoding(ROSTER_TYPE, payload))
        signatures.append({"keyid": name, "sig": base64.b64encode(made).decode()})
    return {"payloadType": ROSTER_TYPE, "payload": base64.b64encode(payload).decode(), "signatures": signatures}


_EVERYBODY = ("aachen", "berlin", "celle")
_NEW_KEY = ("berlin", "berlin, second key")
_FIRST = _roster()
_START = _signed(_FIRST, *_EVERYBODY)
_ROTATED = _next(_FIRST, members=[_member("aachen"), _member(*_NEW_KEY), _member("celle")])
_REVOKED = {**_ROTATED, "revoked": [_revoked("berlin")]}
_GROWN = _next(_FIRST, members=[*_FIRST["members"], _member("dresden"), _member("erfurt")], threshold=3)

CASES: list[Json] = [
    {"rosters": [_START]},
    {"text": _line(_START)},
    {"rosters": [_START, _signed(_ROTATED, "aachen", "celle")]},
    {"rosters": [_START, _signed(_ROTATED, "berlin", _NEW_KEY, "celle")]},
    {"rosters": [_START, _signed(_GROWN, "aachen", "berlin", "dresden")]},
    {
        "rosters": [
            _START,
            _signed(_REVOKED, "celle", "aachen"),
            _signed(_next(_REVOKED, members=_REVOKED["members"][:2]), "aachen", _NEW_KEY),
        ]
    },
]


def bad_rosters(charter: Json) -> dict[str, Json]:
    """rosters/NAME -> vector that must be refused.

    Args:
        charter: whose clients are aachen and others, with a witness.
    """
    cases = [*_bad_forms(), *_bad_alone(), *_bad_chains(), *_bad_signatures(), *_bad_charters(charter)]
    return {
        f"rosters/rosters_bad_{defect}": {
            "family": "rosters",
            "about": about,
            "input": given,
            "refused": {"check": check, "error": error, "says": says},
        }
        for defect, about, check, error, says, given in cases
    }


_Cases = list[tuple[str, str, str, str, str, Json]]


def _bad_forms() -> _Cases:
    def of(payload: bytes) -> Json:
        return {"rosters": [_signed(payload, *_EVERYBODY)]}

    text, remote, none = rfc8785.dumps(_FIRST).decode(), "RemoteProtocolError", "What was signed is no roster"
    other = "in another form than one line"
    plain = {**_START, "payloadType": "application/vnd.fedspallm-secure.message.v1+json"}
    return [
        ("type", "The type of a message.", "R1", "ConfigError", "is no signed roster", {"rosters": [plain]}),
        ("unended", "A file without its line end.", "R1", "ConfigError", other, {"text": _line(_START)[:-1]}),
        ("spaced", "A file with white space.", "R1", "ConfigError", other, {"text": json.dumps(_START) + "\n"}),
        ("no_base64", "No base64.", "R2", remote, "is not base64", {"rosters": [{**_START, "payload": "A"}]}),
        ("no_roster", "An empty object.", "R2", remote, none, of(b"{}")),
        ("no_number", "A roster with number 0.", "R2", remote, none, of(rfc8785.dumps(_roster(number=0)))),
        ("extra", "A member too many.", "R2", remote, none, of(rfc8785.dumps({**_FIRST, "comment": ""}))),
        (
            *("line_end", "A reason of two lines.", "R2", remote, none),
            of(rfc8785.dumps(_roster(revoked=[_revoked("dresden", "sto\nlen")]))),
        ),
        ("space", "White space.", "R2", remote, "not in canonical form", of(text.replace(":", ": ", 1).encode())),
        (
            *("twice", "A member twice.", "R2", remote, "not in canonical form"),
            of(text.replace("{", '{"number":7,', 1).encode()),
        ),
    ]


def _bad_alone() -> _Cases:
    def alone(defect: str, about: str, check: str, says: str, **changes: Any) -> tuple[str, str, str, str, str, Json]:
        signed = _signed(_roster(**changes), *_EVERYBODY)
        return defect, about, check, "CharterError", says, {"rosters": [signed]}

    members, revoked = _FIRST["members"], _revoked("dresden")
    named, keyed = [*members, _member("celle", "dresden")], [*members, _member("dresden", "celle")]
    return [
        alone("before_the_first", "A first roster that follows one.", "R3", "names a roster before", previous="5" * 64),
        alone("nothing_before", "A second roster that follows none.", "R3", "names no roster before", number=2),
        alone("name", "Two members of one name.", "R4", "members have the name celle", members=named, threshold=3),
        alone("same_key", "Two members of one key.", "R4", "members have the key", members=keyed, threshold=3),
        alone("revoked_twice", "A key that is revoked twice.", "R4", "revocations are of", revoked=[revoked, revoked]),
        alone("half", "Half of the members.", "R5", "more than half", members=members[:2], threshold=1),
        alone("too_many", "More than there are.", "R5", "has threshold 4 with 3 members", threshold=4),
        alone("nobody", "No member.", "R5", "with 0 members", members=[], threshold=0),
        alone("revoked", "A member with a revoked key.", "R6", "is revoked: stolen", revoked=[_revoked("celle")]),
    ]


def _bad_chains() -> _Cases:
    def chain(defect: str, about: str, check: str, says: str, *chained: Json) -> tuple[str, str, str, str, str, Json]:
        return defect, about, check, "RemoteProtocolError", says, {"rosters": list(chained)}

    other = _next(_roster(threshold=3))
    later = _next(_REVOKED, revoked=[])
    renamed = _next(_REVOKED, revoked=[_revoked("berlin", "retired")])
    drops = "Roster 3 drops or changes the revocation"
    revoking, signers = _signed(_REVOKED, "aachen", "celle"), ("aachen", "celle")
    gap = _signed(_next(_ROTATED), "aachen", "celle")
    return [
        chain("again", "The first roster twice.", "R7", "Roster 1 came where roster 2 was due", _START, _START),
        chain("no_start", "No first one.", "R7", "Roster 2 came where roster 1 was due", _signed(_ROTATED, *signers)),
        chain("gap", "A roster is missing.", "R7", "Roster 3 came where roster 2 was due", _START, gap),
        chain("another", "It follows another one.", "R8", "Roster 2 follows", _START, _signed(other, *_EVERYBODY)),
        chain("forgotten", "A forgotten revocation.", "R9", drops, _START, revoking, _signed(later, *signers)),
        chain("reason", "Another reason.", "R9", drops, _START, revoking, _signed(renamed, *signers)),
    ]


def _bad_signatures() -> _Cases:
    def second(
        defect: str, about: str, check: str, says: str, roster: Json, *signers: str | tuple[str, str]
    ) -> tuple[str, str, str, str, str, Json]:
        given = {"rosters": [_START, _signed(roster, *signers)]}
        return defect, about, check, "RemoteProtocolError", says, given

    false, few = "under roster 2 does not hold", "needs signatures of"
    cases = [
        second("stranger", "A stranger signs too.", "R10", "'dresden', which is no", _ROTATED, *_EVERYBODY, "dresden"),
        second("false", "aachen signs for celle.", "R10", false, _ROTATED, "aachen", "berlin", ("celle", "aachen")),
        second("no_key", "A key that berlin never had.", "R10", false, _ROTATED, "aachen", ("berlin", "erfurt")),
        second("signed_twice", "One key signs twice.", "R11", "signed roster 2 twice", _ROTATED, "aachen", "aachen"),
        second("revoked_signs", "A revoked key signs.", "R11", "that it revokes", _REVOKED, *_EVERYBODY),
        second("few_old", "One of the members before.", "R12", few, _GROWN, "aachen", "dresden", "erfurt"),
        second("few_new", "Two of five new members.", "R12", few, _GROWN, "aachen", "berlin"),
        second("new_for_old", "A new key does not count for the old one.", "R12", few, _ROTATED, "aachen", _NEW_KEY),
        second("old_for_new", "An old key does not count for the new one.", "R12", few, _ROTATED, "aachen", "berlin"),
    ]
    first = {"rosters": [_signed(_FIRST, "aachen", "berlin")]}
    return [*cases, ("few_first", "A member did not sign the first.", "R12", "RemoteProtocolError", few, first)]


def _bad_charters(charter: Json) -> _Cases:
    error = "CharterError"

    def entered(index: int, name: str, key: str) -> Json:
        clients = [dict(client) for client in charter["roster"]]
        clients[index] |= {"name": name, "public_key": _public(key)}
        return {**with_charter(charter), "charter": {**charter, "roster": clients}}

    def counted_by(name: str) -> Json:
        custodian = {"name": name, "public_key": _public("hagen")}
        return {**charter, "votes": {"backend": "ckks", "custodian": custodian, "contexts": ["5" * 64]}}

    server = {**charter, "server": "erfurt"}
    return [
        (
            *("charter_custodian_revoked", "The custodian's key is revoked.", "R13", error, "revokes: stolen"),
            {**with_charter(charter, revoked=[_revoked("hagen")]), "charter": counted_by("custodian")},
        ),
        (
            *("charter_custodian", "The custodian has a member's name.", "R15", error, "roster 1 lists"),
            {**with_charter(charter), "charter": counted_by("fulda")},
        ),
        (
            *("charter_revoked", "The server's key is revoked.", "R13", error, "which roster 1 revokes: stolen"),
            with_charter(charter, revoked=[_revoked("coordinator")]),
        ),
        (
            *("charter_stranger", "A client that is no member.", "R14", error, "is not on roster 1"),
            entered(1, "hagen", "hagen"),
        ),
        ("charter_key", "A client with another key.", "R14", error, "roster 1 lists", entered(1, "berlin", "hagen")),
        (
            *("charter_server", "The server has a member's name.", "R15", error, "roster 1 lists"),
            {**with_charter(charter), "charter": server},
        ),
        (
            *("charter_witness", "The witness has a member's name.", "R15", error, "roster 1 lists"),
            {
                **with_charter(charter),
                "charter": {**charter, "witness": {"name": "fulda", "public_key": _public("hagen")}},
            },
        ),
    ]
