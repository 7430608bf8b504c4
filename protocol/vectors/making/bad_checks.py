"""Published sums, proofs, the witness's word and models that a client or the server must refuse."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import partial

from fedspallm_secure.messages import SumName
from protocol.vectors.making.editor import Change, Collector, Editor, Json, message_digest, sign, with_first

__all__ = ["bad_checks"]


def bad_checks(one: Editor, bad: Collector) -> None:
    """Collect them, from a round whose charter names a witness."""
    _sums_at_a_client(one, bad)
    _verdicts_at_a_client(one, bad)
    _at_the_server(one, bad)


def _sums_at_a_client(one: Editor, bad: Collector) -> None:
    sums = one.find("sums", sum="votes")
    bad.change(
        "lanes_swapped",
        "Lanes out of order.",
        sums,
        "C28",
        "that are not the 3 due",
        lambda body: body["lanes"].reverse(),
    )
    bad.change(
        "lane_cut",
        "A lane with a word too few.",
        sums,
        "C28",
        "words for lane",
        lambda body: body["lanes"][1].update(words=0),
    )
    blob = one.body(sums)["lanes"][0]["blob"]
    bad.add(
        "blob",
        "The payload is not the one that was announced.",
        sums,
        "aachen",
        "C29",
        "does not hold what its name says",
        error="StorageError",
        blobs={blob: "00" * 8},
        deliver=[one.envelope(sums)],
    )
    filler = b"\xff" * 8
    name = hashlib.sha256(filler).hexdigest()
    bad.add(
        "no_digits",
        "A word that is no sum of digits.",
        sums,
        "aachen",
        "C30",
        "A word is no sum of digits",
        blobs={name: filler.hex()},
        deliver=[one.changed(sums, lambda body: body["lanes"][1].update(blob=name))],
    )
    for defect, about, which, check, says, digit in (
        ("count", "Four votes of three voters, which the witness calls true.", "votes", "C31", "up to 4 votes of 3", 4),
        (
            "large_sum",
            "A sum larger than three changes, called true.",
            "values",
            "C32",
            "larger than its votes allow",
            -1,
        ),
    ):
        found: SumName = "votes" if which == "votes" else "values"
        packing = one.plan.context.lanes[1].packing(found)
        top = packing.radix - 1 if digit < 0 else digit
        false, blobs = one.false_sums(found, 1, partial(with_first, digit=top))
        body = json.loads(base64.b64decode(false["payload"]))
        attested = {
            **{name: body[name] for name in ("charter", "round", "sender", "sum", "attempt")},
            "kind": "attested",
        }
        attest = {
            **attested,
            **{"kind": "attest", "sender": "auditor", "sums": message_digest(false), "prev": None, "seen": None},
        }
        bad.add(
            defect,
            about,
            one.find("sums", sum=which),
            "aachen",
            check,
            says,
            blobs=blobs,
            deliver=[false, sign({**attested, "attestation": sign(attest)})],
        )
    false, blobs = one.false_sums("votes", 1, lambda digits: with_first(digits, 3 - int(digits[0])))
    bad.add(
        "invented_count",
        "A count that nobody's votes gave, plausible by itself.",
        sums,
        "aachen",
        "C36",
        "are not the sum of what the institutions sent",
        blobs=blobs,
        deliver=[false, one.envelope(one.find("proofs", sum="votes"))],
    )


def _verdicts_at_a_client(one: Editor, bad: Collector) -> None:
    proofs = one.find("proofs", sum="votes")
    proof = one.find("proof", sum="votes", sender="berlin")

    def with_berlins(envelope: Json) -> Change:
        return lambda body: body["proofs"].__setitem__(1, envelope)

    bad.change(
        "proof_left_out",
        "berlin's proof is missing.",
        proofs,
        "C33",
        "not one of each contributor, in roster order",
        lambda body: body["proofs"].pop(1),
    )
    confirm = one.envelope(one.find("confirm", sum="votes", sender="berlin"))
    bad.change(
        "no_proof",
        "berlin's confirmation as its proof.",
        proofs,
        "C34",
        "did not prove its votes",
        with_berlins(confirm),
    )
    bad.change(
        "proof_of_values",
        "berlin's proof of another sum.",
        proofs,
        "C34",
        "did not prove its votes",
        with_berlins(one.envelope(one.find("proof", sum="values", sender="berlin"))),
    )
    bad.change(
        "proof_groups",
        "berlin proves three groups; it is in two.",
        proofs,
        "C35",
        "proved another number of groups than it is in",
        with_berlins(one.changed(proof, lambda body: body["products"].append(["0" * 16, "0" * 16]))),
    )
    product = one.body(proof)["products"][0][1]
    wrong = f"{int(product, 16) + 1:016x}"
    bad.change(
        "proof_wrong",
        "One of berlin's products is one off.",
        proofs,
        "C36",
        "are not the sum of what the institutions sent",
        with_berlins(one.changed(proof, lambda body: body["products"][0].__setitem__(1, wrong))),
    )
    head = {name: one.body(proofs)[name] for name in ("charter", "round", "sender", "sum", "attempt")}
    published = message_digest(one.envelope(one.find("sums", sum="votes")))
    for defect, about, signer, digest, check, says in (
        (
            "attested_by_another",
            "berlin attests.",
            "berlin",
            published,
            "C37",
            "is not the charter's witness",
        ),
        ("attested_other_sums", "The witness attests other sums.", "auditor", "5" * 64, "C38", "attested other sums"),
    ):
        word = sign({**head, "kind": "attest", "sender": signer, "sums": digest, "prev": None, "seen": None})
        attested = sign({**head, "kind": "attested", "attestation": word})
        bad.add(defect, about, proofs, "aachen", check, says, deliver=[attested])
    bad.change(
        "model",
        "The server states another model.",
        one.find("model", sender="coordinator"),
        "C43",
        "computed the model",
        lambda body: body.update(model="5" * 64),
    )


def _at_the_server(one: Editor, bad: Collector) -> None:
    proof = one.find("proof", sum="votes", sender="berlin")
    bad.change(
        "proof_short",
        "berlin proves one group; it is in two.",
        proof,
        "S14",
        "proved another number of groups than it is in",
        lambda body: body["products"].pop(),
    )
    bad.change(
        "stated_model",
        "celle states another model.",
        one.find("model", sender="celle"),
        "S20",
        "computed the model",
        lambda body: body.update(model="5" * 64),
    )
    bad.add(
        "few_statements",
        "The deadline passes with one statement of the model; three are needed.",
        one.find("model", sender="berlin"),
        "coordinator",
        "S20",
        "must before it counts",
        deadline=True,
    )
