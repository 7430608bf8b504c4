"""What SPEC.md says comes out of each family's vectors, computed by the second implementation."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from protocol.vectors.second import ckks, crypto, merkle, note, roster
from protocol.vectors.second.agreement import Round, assign_layers, check_charter
from protocol.vectors.second.charter import pattern, read_charter
from protocol.vectors.second.charter import rounds as number_of_rounds
from protocol.vectors.second.encoding import canonical, digest, open_envelope, seal, sign
from protocol.vectors.second.graph import degree, drawn_order, make_graph, quorum, thinnest
from protocol.vectors.second.model import decode
from protocol.vectors.second.packing import Packing, moments_packing, values_packing, votes_packing
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.payloads import payload
from protocol.vectors.second.pooled import rounded
from protocol.vectors.second.published import blob_of
from protocol.vectors.second.refusal import CheckError, require
from protocol.vectors.second.replay import Replay
from protocol.vectors.second.solver import prune_from_diagonal, prune_from_factor
from protocol.vectors.second.substitution import inverse_factor
from protocol.vectors.second.transcript import verify

__all__ = ["FAMILIES", "Json", "rounds", "transcripts"]

Json = dict[str, Any]


def _hex(words: list[int]) -> list[str]:
    return [f"{word:016x}" for word in words]


def keystreams(given: Json) -> Json:
    """Section 7.3."""
    key = bytes.fromhex(given["key"])
    if given["operation"] == "stream":
        words = crypto.keystream(key, given["words"])
        data = struct.pack(f"<{len(words)}Q", *words)
        return {"first": _hex(words[:4]), "last": _hex(words[-4:]), "sha256": hashlib.sha256(data).hexdigest()}
    sign = {"add": 1, "subtract": -1}[given["operation"]]
    stream = crypto.keystream(key, len(given["words"]))
    pairs = zip(given["words"], stream, strict=True)
    return {"words": _hex([(int(word, 16) + sign * mask) % 2**64 for word, mask in pairs])}


def packing(given: Json) -> Json:
    """Section 6.2."""
    n = given["clients"]
    if given["operation"] == "choose":
        match given["sum"]:
            case "votes":
                found = votes_packing(n)
            case "moments":
                found = moments_packing(n, given["digits_per_word"])
            case _:
                found = values_packing(n, given["digits_per_word"])
        require("G12", found.exists())
        return {"top": found.q, "digits_per_word": found.k, "radix": str(found.radix)}
    chosen = Packing(n, given["top"], given["digits_per_word"])
    require("G12", chosen.exists())
    if given["operation"] == "unpack":
        digits = chosen.unpack([int(word, 16) for word in given["words"]], given["length"])
        require("C30", digits is not None)
        return {"digits": digits}
    words = [chosen.pack(digits) for digits in given["digits"]]
    return {"words": [_hex(mine) for mine in words], "sum": _hex([sum(column) for column in zip(*words, strict=True)])}


def shamir(given: Json) -> Json:
    """Section 7.5."""
    t = given["threshold"]
    if given["operation"] == "deal":
        drawn = bytes.fromhex(given["entropy"])
        coefficients = [int.from_bytes(drawn[64 * at : 64 * at + 64], "big") for at in range(t - 1)]
        shares = crypto.deal(bytes.fromhex(given["secret"]), coefficients, given["holders"])
        return {"shares": {str(holder): share.hex() for holder, share in shares.items()}}
    came = {int(holder): bytes.fromhex(share) for holder, share in given["shares"].items()}
    secret = crypto.reconstruct(came, t, lambda raw: crypto.commitment(raw) == given["commitment"])
    return {"secret": secret.hex()}


def key_schedule(given: Json) -> Json:
    """Section 7.2."""
    low, high = given["low"], given["high"]
    one, other = bytes.fromhex(given["one"]), bytes.fromhex(given["other"])
    if given["operation"] == "agree":
        return {"secret": crypto.checked_agree("C10", one, given["public"]).hex()}
    seed, challenge = bytes.fromhex(given["seed"]), bytes.fromhex(given["challenge"])
    secret = crypto.agree(other, crypto.public_key(one))
    lane = crypto.lane_context(given["charter"], given["round"], given["sum"], given["attempt"], given["lane"])
    channel = crypto.channel_context(given["charter"], given["round"], given["attempt"], low, high)
    masks = [crypto.product_mask(secret, challenge, m, given["group"], low, high) for m in range(2)]
    return {
        "public": [crypto.public_key(one), crypto.public_key(other)],
        "secret": secret.hex(),
        "lane_context": lane.hex(),
        "channel_context": channel.hex(),
        "pair_key": crypto.pair_key(secret, lane, high, low).hex(),
        "self_key": crypto.self_key(seed, lane, low).hex(),
        "channel_key": crypto.channel_key(secret, channel).hex(),
        "commitment": crypto.commitment(seed),
        "vector_keys": [crypto.vector_key(challenge, m, given["lane"]).hex() for m in range(2)],
        "product_masks": [f"{mask:064x}" for mask in masks],
    }


def sealing(given: Json) -> Json:
    """Section 7.6."""
    context = crypto.channel_context(*(given[name] for name in ("charter", "round", "attempt", "sender", "receiver")))
    secret = crypto.agree(bytes.fromhex(given["private"]), given["public"])
    if given["operation"] == "seal":
        return {"sealed": crypto.seal_shares(secret, context, bytes.fromhex(given["plaintext"]))}
    try:
        return {"plaintext": crypto.unseal(secret, context, given["sealed"]).hex()}
    except ValueError as error:
        raise CheckError("C14", str(error)) from error


def graphs(given: Json) -> Json:
    """Sections 5, 6.4 and 6.5."""
    match given["operation"]:
        case "order":
            return {"order": drawn_order(given["what"], given["beacon"], given["round"], given["number"])}
        case "layers":
            numbers = (given["layers"], given["minimum_cohort"])
            cohorts = assign_layers(given["capacities"], *numbers, given["beacon"], given["round"])
            return {"cohorts": [list(cohort) for cohort in cohorts]}
        case "thinnest":
            return {"thinnest": thinnest(given["ring"], given["neighbours"], given["present"])}
    n, c, d = given["members"], given["colluders"], given["dropouts"]
    if given["operation"] == "degree":
        found = degree(n, c, d)
        return {"degree": None if found is None else list(found)}
    graph = make_graph(n, c, d, drawn_order(f"graph/{given['group']}", given["beacon"], given["round"], n))
    neighbours = [list(mine) for mine in graph.neighbours]
    return {
        "threshold": graph.threshold,
        "quorum": quorum(n, c) if graph.complete else n - d,
        "holds_own_share": 0 in graph.holders[0],
        "neighbours_of_0": neighbours[0],
        "neighbours_digest": digest(neighbours),
    }


def checks(given: Json) -> Json:
    """Section 9.4."""
    products = []
    for m, modulus in enumerate(crypto.MODULI):
        key = crypto.vector_key(bytes.fromhex(given["challenge"]), m, given["lane"])
        r = [word % 2**61 for word in crypto.keystream(key, len(given["digits"]))]
        products.append(sum(map(int.__mul__, r, given["digits"])) % modulus)
    return {"products": _hex(products)}


def votes(given: Json) -> Json:
    """Section 21."""
    parameters = ckks.choose(given["clients"])
    match given["operation"]:
        case "parameters":
            return {"votes": parameters.v, "scale": parameters.scale, "words": parameters.words(given["length"])}
        case "numbers":
            kept = set(given["kept"])
            lane = parameters.split([int(at in kept) for at in range(given["length"])])
            return {"numbers": [{str(at): number for at, number in enumerate(some) if number} for some in lane]}
        case "encrypt":
            return _shown(payload(given["ciphertexts"]))
        case "counts":
            numbers = [0.0] * ckks.RING
            for at, number in given["numbers"].items():
                numbers[int(at)] = float(number)
            return _counted(given, ckks.counts(parameters, numbers, given["contributors"], given["length"]))
    contributions = []
    for data in map(payload, given["contributions"]):
        contributions.append(list(struct.unpack(f"<{len(data) // 8}Q", data)))
        ckks.check_ciphertexts("K10", parameters, given["length"], contributions[-1])
    total = ckks.add(contributions)
    if given["operation"] == "add":
        return _shown(blob_of(total))
    secret, counts = ckks.secret_key(bytes.fromhex(given["secret"])), list[int]()
    for start in range(0, len(total), ckks.WORDS):
        numbers = ckks.decrypt(parameters, secret, total[start : start + ckks.WORDS])
        left = min(given["length"] - len(counts), parameters.v * ckks.RING)
        counts += ckks.counts(parameters, numbers, len(contributions), left)
    return {"ciphertexts": ckks.sum_digest(total), **_counted(given, counts)}


def pruning(given: Json) -> Json:
    """Sections 22.4 to 22.7."""
    d, (sparsity, group) = given["columns"], pattern(given["pattern"]) or (Fraction(0), 1)
    x = [byte - 256 if byte > 127 else byte for byte in bytes.fromhex(given["text"])]
    tokens = [x[start : start + d] for start in range(0, len(x), d)]
    M = [[float(sum(token[i] * token[k] for token in tokens)) for k in range(d)] for i in range(d)]
    numbers = decode(bytes.fromhex(given["weights"]), given["dtype"])
    W, D = [numbers[start : start + d] for start in range(0, len(numbers), d)], [M[i][i] for i in range(d)]
    if given["operation"] == "diagonal":
        return {"weights": rounded(given["dtype"], prune_from_diagonal(W, D, sparsity, group)).hex()}
    U = inverse_factor(M, Fraction(given["damping"]))
    require("C52", U is not None)
    new = prune_from_factor(W, U or [], [x == 0 for x in D], sparsity, group, given["block"])
    return {"weights": rounded(given["dtype"], new).hex()}


def _counted(given: Json, counts: list[int]) -> Json:
    blob = blob_of(votes_packing(given["cohort"]).pack(counts))
    found = {str(at): count for at, count in enumerate(counts) if count}
    return {"counts": found, "blob": hashlib.sha256(blob).hexdigest()}


def _shown(data: bytes) -> Json:
    words = list(struct.unpack(f"<{len(data) // 8}Q", data))
    digest = hashlib.sha256(data).hexdigest()
    return {"words": len(words), "first": _hex(words[:4]), "last": _hex(words[-4:]), "sha256": digest}


def tlog(given: Json) -> Json:
    """Sections 17.1 and 17.4."""
    leaves = [merkle.leaf_hash(bytes.fromhex(entry)) for entry in given.get("entries", [])]
    proof = [bytes.fromhex(part) for part in given.get("proof", [])]
    match given["operation"]:
        case "leaf":
            return {"leaf": merkle.leaf_hash(bytes.fromhex(given["entry"])).hex()}
        case "root":
            return {"root": merkle.root(leaves).hex()}
        case "inclusion":
            return {"proof": [part.hex() for part in merkle.inclusion(given["index"], leaves)]}
        case "consistency":
            return {"proof": [part.hex() for part in merkle.consistency(given["old"], leaves)]}
        case "check_inclusion":
            leaf, root = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
            merkle.check_inclusion("L3", leaf, given["index"], given["size"], proof, root)
            return {"holds": given["leaf"]}
        case "check_consistency":
            old, new = (bytes.fromhex(given[which]) for which in ("old_root", "new_root"))
            merkle.check_consistency("L2", given["old"], old, given["new"], new, proof)
            return {"holds": given["new_root"]}
        case "read":
            text, found = note.read_note(given["note"], given["keys"])
            return {"text": text, "signatures": [{"name": name, "time": time} for name, time in found]}
    origin = note.origin_of(given["charter"])
    key = bytes.fromhex(given["signing"])
    if given["operation"] == "checkpoint":
        text = note.checkpoint_text(origin, given)
        return {"note": f"{text}\n{note.signature_line(text, origin, key)}"}
    head = note.read_checkpoint(given["note"], origin, given["key"])
    line = note.cosignature_line(note.checkpoint_text(origin, head), given["name"], key, given["time"])
    return {**head, "line": line}


def envelopes(given: Json) -> Json:
    """Sections 1 and 8."""
    match given["operation"]:
        case "canonical":
            return {"bytes": canonical(given["value"]).hex()}
        case "seal":
            return {"envelope": seal(given["body"], bytes.fromhex(given["signing"]))}
        case _:
            return {"body": open_envelope(given["envelope"], given["keys"], given["charter"], given["round"])}


def charters(given: Json) -> Json:
    """Sections 4 to 6."""
    charter = read_charter(given["text"] if "text" in given else json.dumps(given["charter"]))
    check_charter(charter)
    the_round = Round(charter, given.get("round", 0))
    return {
        "digest": the_round.digest,
        "rounds": number_of_rounds(charter),
        "sparsity": str(the_round.sparsity),
        "lanes": [
            {
                "name": lane.name,
                "length": lane.length,
                "cohort": list(lane.cohort),
                **{which: [lane.packing[which].q, lane.packing[which].k] for which in ("votes", "values")},
            }
            for lane in the_round.lanes
        ],
        "groups": [
            {"cohort": list(group.cohort), "threshold": group.threshold, "quorum": group.quorum}
            for group in the_round.groups
        ],
    }


def survivors(given: Json) -> Json:
    """Sections 6.4 and 9.1."""
    the_round = Round(given["charter"], 0)
    left = Participation(the_round).after_survivors(given["survivors"], None, ()).survivors["votes"]
    return {"left": [len(left & set(group.cohort)) for group in the_round.groups]}


def signatures(given: Json) -> Json:
    """Section 4.1."""
    if given["operation"] == "check":
        return {"signers": roster.check_signatures(given["charter"], given["signatures"])}
    payload, made = canonical(given["charter"]), list[Json]()
    for name, key in given["signing"].items():
        made.append({"keyid": name, "sig": sign(payload, bytes.fromhex(key), roster.CHARTER_TYPE)})
    return {"signatures": {"payloadType": roster.CHARTER_TYPE, "signatures": made}}


def rosters(given: Json) -> Json:
    """Section 18."""
    chain = [roster.read_roster(given["text"])] if "text" in given else given["rosters"]
    last = roster.check_chain(chain)
    if "charter" in given:
        roster.check_admitted(given["charter"], last)
    return {"roster": last, "digest": digest(last)}


def rounds(given: Json, output: Json) -> Json:
    """Sections 9 to 17: every message of `output` must be the one that we would send."""
    replay = Replay(given, {})
    replay.take(output["events"])
    replay.finish()
    return {
        "events": output["events"],
        "blobs": replay.made(),
        "weights": {name: data.hex() for name, data in replay.server.weights.items()},
        "model": replay.server.model,
        "checkpoint": replay.checkpoint(given["time"]),
    }


def transcripts(given: Json, all_vectors: Mapping[str, Json]) -> Json:
    """Section 13."""
    if "of" in given:
        given = _changed(all_vectors[f"transcripts/{given['of']}"]["cases"][0]["input"], given)
    return verify(given, full=given["depth"] == "full")


def _changed(whole: Json, given: Json) -> Json:
    """A transcript with other lines, files and payloads; where null stands, there is none."""
    files, lines = {**whole["files"], **given.get("files", {})}, whole["files"]["log.jsonl"].splitlines()
    for number, text in given.get("lines", {}).items():
        lines[int(number)] = text
    if "lines" in given:
        files["log.jsonl"] = "".join(f"{text}\n" for text in lines if text is not None)
    changed = {**whole, **given, "files": files, "blobs": {**whole["blobs"], **given.get("blobs", {})}}
    for part in ("files", "blobs"):
        changed[part] = {name: data for name, data in changed[part].items() if data is not None}
    return changed


FAMILIES: Mapping[str, Callable[[Json], Json]] = {
    "keystreams": keystreams,
    "packing": packing,
    "shamir": shamir,
    "key_schedule": key_schedule,
    "sealing": sealing,
    "graphs": graphs,
    "survivors": survivors,
    "checks": checks,
    "votes": votes,
    "pruning": pruning,
    "tlog": tlog,
    "envelopes": envelopes,
    "charters": charters,
    "signatures": signatures,
    "rosters": rosters,
}
"""By name: input -> output, of families whose vectors need nothing else."""
