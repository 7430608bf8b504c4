"""Vectors of the signatures under a charter, in which everybody whom it names must be there once."""

from __future__ import annotations

import base64
import json
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from fedspallm_secure.charter import Charter, CharterSignatures, check_charter_signatures, sign_charter
from fedspallm_secure.charter.signed_charter import CHARTER_TYPE
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.messages import Identity, pre_authentication_encoding
from protocol.vectors.making.rounds import signing_key
from protocol.vectors.making.stage import as_json

__all__ = ["bad_custodian_signatures", "bad_signatures", "cases", "signatures"]

Json = dict[str, Any]


def signatures(given: Json) -> Json:
    """Everybody's signature under a charter; or who signed it, if everybody did."""
    charter = Charter.model_validate_json(json.dumps(given["charter"]))
    if given["operation"] == "sign":
        raw = {name: bytes.fromhex(key) for name, key in given["signing"].items()}
        signers = [Identity(name, Ed25519PrivateKey.from_private_bytes(key)) for name, key in raw.items()]
        return {"signatures": as_json(sign_charter(charter, signers))}
    try:
        signed = CharterSignatures.model_validate_json(json.dumps(given["signatures"]))
    except ValidationError as error:
        raise ConfigError(f"These are no signatures of a charter: {error}.", "Ask for the file again.") from error
    check_charter_signatures(charter, signed)
    return {"signers": [one.keyid for one in signed.signatures]}


def cases(charter: Json) -> list[Json]:
    """What is signed and looked at, of a charter with a witness."""
    names = _names(charter)
    signing = {name: signing_key(name).hex() for name in names}
    return [
        {"operation": "sign", "charter": charter, "signing": signing},
        {"operation": "check", "charter": charter, "signatures": _signed(charter, *names)},
        {"operation": "check", "charter": charter, "signatures": _signed(charter, *reversed(names))},
    ]


def bad_signatures(charter: Json) -> dict[str, Json]:
    """signatures/NAME -> vector that must be refused."""
    names = _names(charter)
    good, other = _signed(charter, *names), _signed({**charter, "run": "another"}, *names)
    false, missing, more = "does not hold", "is not signed by", "signed the charter twice, or is not in it"
    vectors = {
        "type": ("Another type.", {**good, "payloadType": CHARTER_TYPE + "x"}, "G13", "payloadType"),
        "payload": ("A payload.", {**good, "payload": ""}, "G13", "payload"),
        "server": ("The server did not sign.", _signed(charter, *names[1:]), "G14", missing),
        "witness": ("The witness did not sign.", _signed(charter, *names[:-1]), "G14", missing),
        "twice": ("aachen signed twice.", _signed(charter, *names, "aachen"), "G14", more),
        "stranger": ("A stranger signed too.", _signed(charter, *names, "zwickau"), "G14", more),
        "another": ("Signatures under another charter.", other, "G15", false),
        "as_berlin": ("aachen signed for berlin.", _with(good, "berlin", good["signatures"][1]["sig"]), "G15", false),
        "bare": ("A signature over the charter without its type.", _with(good, "berlin", _bare(charter)), "G15", false),
    }
    return {
        f"signatures/signatures_bad_{defect}": {
            "family": "signatures",
            "about": about,
            "input": {"operation": "check", "charter": charter, "signatures": signed},
            "refused": {"check": check, "error": _error(check), "says": says},
        }
        for defect, (about, signed, check, says) in vectors.items()
    }


def bad_custodian_signatures(charter: Json) -> dict[str, Json]:
    """signatures/NAME -> vector that must be refused, of a charter that names a custodian."""
    names = [name for name in _names(charter) if name != "custodian"]
    given = {"operation": "check", "charter": charter, "signatures": _signed(charter, *names)}
    refused = {"check": "G14", "error": "RemoteProtocolError", "says": "is not signed by custodian"}
    about = "The custodian did not sign."
    vector = {"family": "signatures", "about": about, "input": given, "refused": refused}
    return {"signatures/signatures_bad_custodian": vector}


def _error(check: str) -> str:
    return "ConfigError" if check == "G13" else "RemoteProtocolError"


def _names(charter: Json) -> list[str]:
    custodian = charter["votes"].get("custodian")
    others = [custodian["name"]] if custodian else []
    return [charter["server"], *(client["name"] for client in charter["roster"]), *others, charter["witness"]["name"]]


def _signed(charter: Json, *names: str) -> Json:
    encoded = pre_authentication_encoding(CHARTER_TYPE, rfc8785.dumps(charter))
    made = [(name, Ed25519PrivateKey.from_private_bytes(signing_key(name)).sign(encoded)) for name in names]
    return {
        "payloadType": CHARTER_TYPE,
        "signatures": [{"keyid": name, "sig": base64.b64encode(signature).decode()} for name, signature in made],
    }


def _with(signed: Json, name: str, signature: str) -> Json:
    entries = [one if one["keyid"] != name else {**one, "sig": signature} for one in signed["signatures"]]
    return {**signed, "signatures": entries}


def _bare(charter: Json) -> str:
    key = Ed25519PrivateKey.from_private_bytes(signing_key("berlin"))
    return base64.b64encode(key.sign(rfc8785.dumps(charter))).decode()
