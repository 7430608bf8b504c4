"""SPEC.md sections 4.1 and 18: signatures under a charter, and rosters that follow each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.vectors.second.encoding import (
    base64_text,
    canonical,
    count,
    decode_base64,
    digest,
    hex32,
    listed,
    matching,
    members,
    name,
    nullable,
    one_of,
    parse,
    signature_holds,
)
from protocol.vectors.second.refusal import CheckError, require

__all__ = ["CHARTER_TYPE", "ROSTER_TYPE", "check_admitted", "check_chain", "check_signatures", "read_roster"]

CHARTER_TYPE = "application/vnd.fedspallm-secure.charter.v1+json"
ROSTER_TYPE = "application/vnd.fedspallm-secure.roster.v1+json"

_signatures = listed(members(keyid=name, sig=base64_text))
_charter_signatures = members(payloadType=one_of(CHARTER_TYPE), signatures=_signatures)
_signed_roster = members(payloadType=one_of(ROSTER_TYPE), payload=base64_text, signatures=_signatures)
_roster = members(
    version=one_of("fedspallm-secure/roster/v1"),
    number=lambda value: count(value) and value > 0,
    previous=nullable(hex32),
    members=listed(members(name=name, public_key=hex32)),
    threshold=count,
    revoked=listed(members(public_key=hex32, reason=matching("[ -~]{1,200}"))),
)


def check_signatures(charter: Mapping[str, Any], signed: Any) -> list[str]:
    """G13 to G15: everybody whom the charter names; those who signed it, in their order."""
    require("G13", _charter_signatures(signed))
    keys = {member["name"]: member["public_key"] for member in charter["roster"]}
    keys[charter["server"]] = charter["server_key"]
    if charter["witness"] is not None:
        keys[charter["witness"]["name"]] = charter["witness"]["public_key"]
    if charter["votes"]["backend"] == "ckks":
        keys[charter["votes"]["custodian"]["name"]] = charter["votes"]["custodian"]["public_key"]
    signers = [one["keyid"] for one in signed["signatures"]]
    require("G14", sorted(signers) == sorted(keys), f"{signers}")
    payload = canonical(charter)
    for one in signed["signatures"]:
        require("G15", signature_holds(payload, one["sig"], keys[one["keyid"]], CHARTER_TYPE), one["keyid"])
    return signers


def read_roster(text: str) -> Any:
    """R1, of a file: the envelope in it."""
    try:
        signed = parse(text)
        require("R1", _signed_roster(signed))
        require("R1", canonical(signed).decode() + "\n" == text, "another form")
    except ValueError as error:
        raise CheckError("R1", str(error)) from error
    return signed


def check_chain(chain: Sequence[Any]) -> dict[str, Any]:
    """R1 to R12: the last roster of a chain."""
    before: dict[str, Any] | None = None
    for place, signed in enumerate(chain, start=1):
        require("R1", _signed_roster(signed))
        payload = _payload(signed)
        roster = _parsed(payload)
        _check_alone(roster)
        require("R7", roster["number"] == place)
        if before is not None:
            require("R8", roster["previous"] == digest(before))
            require("R9", all(one in roster["revoked"] for one in before["revoked"]))
        _check_signers(roster, before, _signing_keys(signed, payload, roster, before))
        before = roster
    assert before is not None
    return before


def check_admitted(charter: Mapping[str, Any], roster: Mapping[str, Any]) -> None:
    """R13 to R15: whether somebody who follows this chain may enter into this charter."""
    keys, revoked = _keys(roster), {one["public_key"] for one in roster["revoked"]}
    clients = [(member["name"], member["public_key"]) for member in charter["roster"]]
    others = [(charter["server"], charter["server_key"])]
    if charter["votes"]["backend"] == "ckks":
        others.append((charter["votes"]["custodian"]["name"], charter["votes"]["custodian"]["public_key"]))
    if charter["witness"] is not None:
        others.append((charter["witness"]["name"], charter["witness"]["public_key"]))
    require("R13", all(key not in revoked for _, key in clients + others))
    require("R14", all(keys.get(who) == key for who, key in clients))
    require("R15", all(keys.get(who, key) == key for who, key in others))


def _keys(roster: Mapping[str, Any]) -> dict[str, str]:
    return {member["name"]: member["public_key"] for member in roster["members"]}


def _payload(signed: Mapping[str, Any]) -> bytes:
    try:
        return decode_base64(signed["payload"])
    except ValueError as error:
        raise CheckError("R2", str(error)) from error


def _parsed(payload: bytes) -> dict[str, Any]:
    try:
        roster = json.loads(payload.decode())
        require("R2", _roster(roster))
        require("R2", canonical(roster) == payload, "another form")
    except ValueError as error:
        raise CheckError("R2", str(error)) from error
    return dict(roster)


def _check_alone(roster: Mapping[str, Any]) -> None:
    require("R3", (roster["previous"] is None) is (roster["number"] == 1))
    listed_keys = [member["public_key"] for member in roster["members"]]
    revoked = [one["public_key"] for one in roster["revoked"]]
    for values in ([member["name"] for member in roster["members"]], listed_keys, revoked):
        require("R4", len(set(values)) == len(values))
    require("R5", len(listed_keys) < 2 * roster["threshold"] and roster["threshold"] <= len(listed_keys))
    require("R6", not set(listed_keys) & set(revoked))


def _signing_keys(
    signed: Mapping[str, Any], payload: bytes, roster: Mapping[str, Any], before: Mapping[str, Any] | None
) -> set[str]:
    found = list[str]()
    lists = [_keys(one) for one in (roster, before) if one is not None]
    for one in signed["signatures"]:
        known = {keys[one["keyid"]] for keys in lists if one["keyid"] in keys}
        held = [key for key in known if signature_holds(payload, one["sig"], key, ROSTER_TYPE)]
        require("R10", len(held) == 1, one["keyid"])
        found += held
    require("R11", len(set(found)) == len(found))
    require("R11", not set(found) & {one["public_key"] for one in roster["revoked"]})
    return set(found)


def _check_signers(roster: Mapping[str, Any], before: Mapping[str, Any] | None, signers: set[str]) -> None:
    due = [(roster, len(roster["members"]))]
    if before is not None:
        due = [(before, before["threshold"]), (roster, roster["threshold"])]
    for one, needed in due:
        require("R12", sum(key in signers for key in _keys(one).values()) >= needed)
