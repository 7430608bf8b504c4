"""SPEC.md section 9.4: what proofs must add up to, for a client and for a verifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from protocol.vectors.second import crypto
from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.encoding import digest
from protocol.vectors.second.outcome import Outcome
from protocol.vectors.second.refusal import require

__all__ = ["check_proofs", "public_vector", "totals"]


def public_vector(sums: dict[str, Any], m: int, lane: Lane, length: int) -> list[int]:
    """R of a lane, for modulus m and the body of `sums`."""
    key = crypto.vector_key(bytes.fromhex(digest(sums)), m, lane.index)
    return [word % 2**61 for word in crypto.keystream(key, length)]


def totals(
    the_round: Round,
    outcome: Outcome,
    sums: dict[str, Any],
    lengths: Sequence[int],
    check_counted: Callable[[], None] = lambda: None,
) -> dict[int, list[int]]:
    """C28 to C30, and <r, published digits> by group and modulus.

    Args:
        the_round: which.
        outcome: of the round.
        sums: the body of `sums`.
        lengths: digits of each lane.
        check_counted: C45 to C48, between C28 and what needs payloads.
    """
    lanes, which = the_round.lanes, sums["sum"]
    due = [(lane.name, lane.packing[which].words(length)) for lane, length in zip(lanes, lengths, strict=True)]
    require("C28", [(blob["lane"], blob["words"]) for blob in sums["lanes"]] == due)
    check_counted()
    found = {group.index: [0, 0] for group in the_round.groups}
    for lane, blob, length in zip(lanes, sums["lanes"], lengths, strict=True):
        published = outcome.digits(lane, which, blob, length)
        for m in range(2):
            r = public_vector(sums, m, lane, length)
            found[the_round.group_of(lane).index][m] += sum(map(int.__mul__, r, published))
    return found


def check_proofs(the_round: Round, body: dict[str, Any], survivors: frozenset[int], due: dict[int, list[int]]) -> None:
    """C33 to C36: `body` is a `proofs`, `due` what its products must add up to."""
    left = {group: list(mine) for group, mine in due.items()}
    opened = [the_round.open(envelope) for envelope in body["proofs"]]
    require("C33", [proof["sender"] for proof in opened] == the_round.names(survivors))
    for client, proof in zip(sorted(survivors), opened, strict=True):
        require("C34", proof["kind"] == "proof")
        require("C34", (proof["sum"], proof["attempt"]) == (body["sum"], body["attempt"]))
        groups = the_round.groups_of(client)
        require("C35", len(proof["products"]) == len(groups))
        for group, products in zip(groups, proof["products"], strict=True):
            for m in range(2):
                left[group.index][m] -= int(products[m], 16)
    for mine in left.values():
        require("C36", all(rest % modulus == 0 for rest, modulus in zip(mine, crypto.MODULI, strict=True)))
