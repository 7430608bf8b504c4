"""Merkle trees, their proofs, checkpoints and cosignatures, as the package makes and checks them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.messages import Identity, LogHead
from fedspallm_secure.tlog import (
    Checkpoint,
    LogView,
    MerkleTree,
    check_consistency,
    check_inclusion,
    checkpoint_text,
    leaf_hash,
    open_note,
    origin_of,
    sign_note,
)
from protocol.vectors.making.editor import identity
from protocol.vectors.making.rounds import signing_key

__all__ = ["CASES", "bad_tlog", "tlog"]

Json = dict[str, Any]

_CHARTER = "c" * 64
_ORIGIN = origin_of(_CHARTER)
_TIME = 1_735_689_600
_PUBLISHED = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
_MANY = [number.to_bytes(1, "big").hex() for number in range(100)]


def tlog(given: Json) -> Json:
    """A leaf, a root, a proof, a note or its lines; or nothing, where something is checked."""
    run: dict[str, Callable[[Json], Json]] = {
        "leaf": lambda it: {"leaf": leaf_hash(bytes.fromhex(it["entry"])).hex()},
        "root": lambda it: {"root": _tree(it).root().hex()},
        "inclusion": lambda it: {"proof": _hexes(_tree(it).inclusion(it["index"], len(it["entries"])))},
        "consistency": lambda it: {"proof": _hexes(_tree(it).consistency(it["old"], len(it["entries"])))},
        "check_inclusion": _check_inclusion,
        "check_consistency": _check_consistency,
        "checkpoint": _checkpoint,
        "cosign": _cosign,
        "read": _read,
    }
    return run[given["operation"]](given)


def _tree(given: Json) -> MerkleTree:
    tree = MerkleTree()
    for entry in given["entries"]:
        tree.append(bytes.fromhex(entry))
    return tree


def _hexes(proof: list[bytes]) -> list[str]:
    return [part.hex() for part in proof]


def _raw(proof: list[str]) -> list[bytes]:
    return [bytes.fromhex(part) for part in proof]


def _check_inclusion(given: Json) -> Json:
    leaf, root = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
    check_inclusion(leaf, given["index"], given["size"], _raw(given["proof"]), root)
    return {"holds": given["leaf"]}


def _check_consistency(given: Json) -> Json:
    roots = [bytes.fromhex(given[which]) for which in ("old_root", "new_root")]
    check_consistency(given["old"], roots[0], given["new"], roots[1], _raw(given["proof"]))
    return {"holds": given["new_root"]}


def _checkpoint(given: Json) -> Json:
    checkpoint = Checkpoint(origin_of(given["charter"]), LogHead(size=given["size"], root=given["root"]))
    return {"note": sign_note(checkpoint_text(checkpoint), checkpoint.origin, _signer(given))}


def _cosign(given: Json) -> Json:
    view = LogView(origin_of(given["charter"]), given["key"])
    line = view.cosign(given["note"], (), None, _signer(given), given["time"])
    assert view.chain.seen is not None
    return {"size": view.chain.seen.size, "root": view.chain.seen.root, "line": line}


def _read(given: Json) -> Json:
    text, found = open_note(given["note"], given["keys"])
    return {"text": text, "signatures": [{"name": one.name, "time": one.time} for one in found]}


def _named(name: str) -> Json:
    return {"name": name, "signing": signing_key(name).hex()}


def _signer(given: Json) -> Identity:
    return Identity(given["name"], Ed25519PrivateKey.from_private_bytes(bytes.fromhex(given["signing"])))


def _signed(size: int, root: str, charter: str = _CHARTER) -> str:
    return str(_checkpoint({"charter": charter, "size": size, "root": root, **_named("coordinator")})["note"])


_ROOT = _tree({"entries": _PUBLISHED}).root().hex()
_EMPTY = MerkleTree().root().hex()
_NOTE = _signed(8, _ROOT)
_KEYS = {name: identity(name).public for name in ("aachen", "berlin")} | {_ORIGIN: identity("coordinator").public}
_TO_COSIGN = {"operation": "cosign", "charter": _CHARTER, "key": _KEYS[_ORIGIN], **_named("aachen"), "time": _TIME}
_COSIGNED = _NOTE + "".join(
    _cosign({**_TO_COSIGN, "note": _NOTE, **_named(name), "time": _TIME + late})["line"]
    for name, late in (("aachen", 0), ("berlin", 1), ("zwickau", 2))
)


def _consistent(entries: list[str], old: int) -> Json:
    before, after = _tree({"entries": entries[:old]}), _tree({"entries": entries})
    return {
        "operation": "check_consistency",
        **{"old": old, "old_root": before.root().hex(), "new": len(entries), "new_root": after.root().hex()},
        "proof": _hexes(after.consistency(old, len(entries))),
    }


def _included(entries: list[str], index: int) -> Json:
    tree = _tree({"entries": entries})
    return {
        "operation": "check_inclusion",
        **{"leaf": leaf_hash(bytes.fromhex(entries[index])).hex(), "index": index, "size": len(entries)},
        **{"proof": _hexes(tree.inclusion(index, len(entries))), "root": tree.root().hex()},
    }


CASES: list[Json] = [
    *({"operation": "leaf", "entry": entry} for entry in ("", "00", "7b7d")),
    *({"operation": "root", "entries": _PUBLISHED[:size]} for size in range(9)),
    {"operation": "root", "entries": _MANY},
    *(
        {"operation": "inclusion", "entries": _PUBLISHED[:size], "index": index}
        for size, index in ((1, 0), (8, 0), (8, 5), (3, 2), (5, 1), (7, 6))
    ),
    *({"operation": "inclusion", "entries": _MANY, "index": index} for index in (0, 63, 64, 95, 96, 99)),
    *(
        {"operation": "consistency", "entries": _PUBLISHED[:size], "old": old}
        for size, old in ((1, 1), (8, 1), (8, 6), (5, 2), (7, 3), (8, 8))
    ),
    *({"operation": "consistency", "entries": _MANY, "old": old} for old in (1, 37, 64, 96, 99, 100)),
    *(_included(_PUBLISHED[:size], index) for size, index in ((1, 0), (7, 6), (8, 3))),
    *(_consistent(_PUBLISHED[:size], old) for size, old in ((8, 8), (8, 4), (7, 3))),
    {"operation": "checkpoint", "charter": _CHARTER, "size": 8, "root": _ROOT, **_named("coordinator")},
    {
        "operation": "checkpoint",
        "charter": _CHARTER,
        "size": 0,
        "root": hashlib.sha256().hexdigest(),
        **_named("aachen"),
    },
    {**_TO_COSIGN, "note": _NOTE},
    {**_TO_COSIGN, "note": _COSIGNED, **_named("berlin"), "time": 2**63},
    {"operation": "read", "keys": _KEYS, "note": _COSIGNED},
    {"operation": "read", "keys": {**_KEYS, "aachen": _KEYS["berlin"]}, "note": _COSIGNED},
]


def bad_tlog() -> dict[str, Json]:
    """tlog/NAME -> vector that must be refused."""
    bad: dict[str, Json] = {}

    def add(defect: str, about: str, check: str, says: str, given: Json) -> None:
        refused = {"check": check, "error": "RemoteProtocolError", "says": says}
        bad[f"tlog/tlog_bad_{defect}"] = {"family": "tlog", "about": about, "input": given, "refused": refused}

    _bad_inclusion(add)
    _bad_consistency(add)
    _bad_notes(add)
    return bad


_Add = Callable[[str, str, str, str, Json], None]


def _bad_inclusion(add: _Add) -> None:
    good, says = _included(_MANY, 64), "The proof does not show entry"
    proof = good["proof"]
    for defect, about, change in (
        ("index", "The index of the neighbour.", {"index": 65}),
        ("outside", "An index that is not below the size.", {"index": 100}),
        ("size", "The size of another tree.", {"size": 65}),
        ("bit", "A hash of the proof is another one.", {"proof": ["0" * 64, *proof[1:]]}),
        ("swapped", "Two hashes of the proof in the other order.", {"proof": [proof[1], proof[0], *proof[2:]]}),
        ("short", "The last hash of the proof is missing.", {"proof": proof[:-1]}),
        ("long", "A hash too many.", {"proof": [*proof, "0" * 64]}),
        ("root", "The root of another tree.", {"root": "0" * 64}),
    ):
        add(f"inclusion_{defect}", about, "L3", says, {**good, **change})
    empty = {"leaf": good["leaf"], "index": 0, "size": 0, "proof": [], "root": _EMPTY}
    add("inclusion_empty", "An entry of the empty tree.", "L3", says, {"operation": "check_inclusion", **empty})


def _bad_consistency(add: _Add) -> None:
    good, says = _consistent(_MANY, 37), "The proof does not show the log of"
    same, proof = _consistent(_PUBLISHED, 8), good["proof"]
    for defect, about, given in (
        ("old_root", "The root of another smaller tree.", {**good, "old_root": "0" * 64}),
        ("new_root", "The root of another larger tree.", {**good, "new_root": "0" * 64}),
        ("old", "Another size of the smaller tree.", {**good, "old": 38}),
        ("bit", "A hash of the proof is another one.", {**good, "proof": ["0" * 64, *proof[1:]]}),
        ("short", "The last hash of the proof is missing.", {**good, "proof": proof[:-1]}),
        ("long", "A hash too many.", {**good, "proof": [*proof, "0" * 64]}),
        ("none", "No proof.", {**good, "proof": []}),
        ("rewritten", "Two trees of one size.", {**same, "new_root": good["new_root"]}),
        ("idle", "A proof where both are the same.", {**same, "proof": [same["old_root"]]}),
        ("shrunk", "The tree became smaller.", {**same, "old": 9}),
        ("from_nothing", "The empty tree, of which nothing can be shown.", {**good, "old": 0, "proof": []}),
    ):
        add(f"consistency_{defect}", about, "L2", says, given)


def _bad_notes(add: _Add) -> None:
    text, lines = _NOTE.split("\n\n")
    origin, size, root = text.split("\n")
    no_checkpoint, unsigned, broken = "This is no checkpoint", "its keeper did not sign it", "does not hold"
    no_note, malformed = "This is no signed note", "is malformed"

    def resigned(*rows: str) -> str:
        return sign_note("".join(f"{row}\n" for row in rows), _ORIGIN, identity("coordinator"))

    as_another = sign_note(text + "\n", "coordinator", identity("coordinator"))
    cosigned = (
        text
        + "\n\n"
        + _cosign({**_TO_COSIGN, "note": _NOTE, **_named("coordinator")})["line"].replace("coordinator", _ORIGIN)
    )
    for defect, about, note, says in (
        ("size", "Another size than was signed.", _NOTE.replace("\n8\n", "\n9\n"), broken),
        ("size_zero", "A size with a zero in front.", resigned(origin, "08", root), no_checkpoint),
        ("size_sign", "A size with a sign.", resigned(origin, "+8", root), no_checkpoint),
        ("more", "A line after the root.", resigned(origin, size, root, "more"), no_checkpoint),
        ("less", "No root.", resigned(origin, size), no_checkpoint),
        ("root_short", "A root of 24 bytes.", resigned(origin, size, root[:32]), "24 bytes; 32 are due"),
        ("root_hex", "A root that is not base64.", resigned(origin, size, "*" * 44), "is not base64"),
        ("of_nothing", "The log of no entries, of which nothing can be shown.", _signed(0, _EMPTY), "or of nothing"),
        ("charter", "Another run's.", _signed(8, _ROOT, "d" * 64), unsigned),
        ("origin", "It names another run's log.", resigned(origin[:-1] + "d", size, root), unsigned),
        ("name", "The server signed it, under its own name.", as_another, unsigned),
        ("signer", "aachen signed it as the server.", sign_note(text + "\n", _ORIGIN, identity("aachen")), unsigned),
        ("cosigned", "The server cosigned it, and did not sign it.", cosigned, unsigned),
        ("no_blank", "No empty line before the signatures.", f"{text}\n{lines}", no_note),
        ("no_signature", "No signature.", f"{text}\n\n", no_note),
        ("no_end", "The last line does not end.", _NOTE[:-1], no_note),
        ("dash", "A hyphen for the dash.", _NOTE.replace("\u2014", "-"), no_note),
        ("base64", "A signature that is not base64.", f"{text}\n\n{lines[:-2]}*\n", malformed),
        ("return", "Carriage returns.", f"{text}\n\n{lines}".replace("\n8\n", "\r\n8\r\n"), "control characters"),
    ):
        add(f"checkpoint_{defect}", about, "L1", says, {**_TO_COSIGN, "note": note})
    read = {"operation": "read", "keys": _KEYS}
    aachen = _COSIGNED.split("\n")[5]
    for defect, about, note in (
        ("of_another", "A cosignature of another checkpoint.", _signed(9, _ROOT) + aachen + "\n"),
        ("as_plain", "A cosignature whose signature is over the text alone.", _NOTE + _plain_cosignature(text + "\n")),
    ):
        add(f"cosignature_{defect}", about, "L1", "The signature of 'aachen' under the note", {**read, "note": note})


def _plain_cosignature(text: str) -> str:
    """What `aachen` would write if it left the time out of what it signs."""
    key_id = hashlib.sha256(b"aachen\n\x04" + bytes.fromhex(_KEYS["aachen"])).digest()[:4]
    signature = identity("aachen").sign(text.encode())
    return f"\u2014 aachen {base64.b64encode(key_id + _TIME.to_bytes(8, 'big') + signature).decode()}\n"
