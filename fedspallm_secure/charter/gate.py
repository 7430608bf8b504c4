"""What a charter must satisfy before anything runs; every institution checks it, and so does the server.

Layer coverage and the packing's headroom are checked where lanes are made (`rounds.plan`).
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from fedspallm_secure.charter.charter import Charter, CkksVotes, PooledInput, PooledStatistics
from fedspallm_secure.charter.pattern import NM
from fedspallm_secure.errors import CharterError

__all__ = ["LARGEST_ROSTER", "RESERVED", "check_charter", "unmasking_threshold"]

LARGEST_ROSTER = 2**14
"""Most institutions: with 28 bits of telemetry each, what is published of it stays below 2^42."""

LARGEST_ROW = 2**19
"""Inputs of a row from which its squares no longer add up in 64 bits."""

RESERVED = "fedspallm-secure/"
"""Start of the names of lanes that carry no tensor."""


def unmasking_threshold(members: int, colluders: int) -> int:
    """t, how many of a cohort must agree on the survivors and hand out shares: the smallest t with 2t > n + c.

    With fewer, c colluders could sign for two different sets of survivors, each with half of the honest members, and
    the server would learn both a client's self mask and its key.

    Args:
        members: n, size of the cohort.
        colluders: c.
    """
    return (members + colluders) // 2 + 1


def check_charter(charter: Charter) -> None:
    """Refuse a charter whose run could not keep what the protocol promises.

    Raises:
        CharterError: says which rule is broken, by which numbers, and what to change.
    """
    _check_participants(charter)
    _check_base(charter)
    _check_thresholds(charter)
    _check_schedule(charter)
    if charter.pooled is not None:
        _check_pooled(charter, charter.pooled)


def _check_participants(charter: Charter) -> None:
    participants = {(member.name, member.public_key) for member in charter.roster}
    if len(charter.roster) > LARGEST_ROSTER:
        raise CharterError(
            f"{len(charter.roster)} institutions are more than the {LARGEST_ROSTER} whose digits a sum can hold.",
            "Split the roster.",
        )
    everybody = [(charter.server, charter.server_key), *((member.name, member.public_key) for member in charter.roster)]
    if charter.custodian is not None:
        everybody.append((charter.custodian.name, charter.custodian.public_key))
    if charter.witness is not None and (charter.witness.name, charter.witness.public_key) not in participants:
        everybody.append((charter.witness.name, charter.witness.public_key))
    for what, values in zip(("name", "public key"), zip(*everybody, strict=True), strict=True):
        if len(set(values)) != len(values):
            raise CharterError(f"Two participants have the same {what}.", "Give each its own.")


def _check_base(charter: Charter) -> None:
    base = charter.base
    if base.layers == 0:
        raise CharterError("The base model has no decoder layer.", "List the linear weights of every decoder layer.")
    names = [*(tensor.name for tensor in base.pruned), *base.rest]
    if len(set(names)) != len(names):
        raise CharterError("The base model names a tensor twice.", "List each tensor once, as pruned or as the rest.")
    for tensor in base.pruned:
        if tensor.layer >= base.layers:
            raise CharterError(
                f"{tensor.name} is in decoder layer {tensor.layer}, but the base model has {base.layers}.",
                "Count the layers from 0, and list the base model again.",
            )
        if tensor.rows == 0 or not 0 < tensor.columns < LARGEST_ROW:
            raise CharterError(
                f"{tensor.name} is {tensor.rows} by {tensor.columns}; row scales are exact from 1 to {LARGEST_ROW - 1} "
                "inputs.",
                "Leave this tensor out of those to prune.",
            )
        if tensor.name.startswith(RESERVED):
            raise CharterError(f"The name {tensor.name} is reserved.", "Rename that tensor.")
    layers = [tensor.layer for tensor in base.pruned]
    if len(set(layers)) != base.layers or layers != sorted(layers):
        raise CharterError(
            f"The base model has {base.layers} decoder layers, of which {len(set(layers))} hold a tensor to prune, or "
            "they are not in order.",
            "List the linear weights of every decoder layer, layer by layer.",
        )


def _check_thresholds(charter: Charter) -> None:
    parameters, clients = charter.parameters, len(charter.roster)
    if parameters.minimum_contributors < parameters.colluders + 2:
        raise CharterError(
            f"minimum_contributors is {parameters.minimum_contributors} with {parameters.colluders} colluders: what "
            "they subtract would leave a single institution's weights.",
            f"Set minimum_contributors to at least {parameters.colluders + 2}.",
        )
    if parameters.minimum_cohort < parameters.bar:
        raise CharterError(
            f"minimum_cohort is {parameters.minimum_cohort}, but a position needs {parameters.bar} votes "
            "(minimum_contributors + dropout_margin) before its values are summed.",
            f"Set minimum_cohort to at least {parameters.bar}.",
        )
    threshold = unmasking_threshold(parameters.minimum_cohort, parameters.colluders)
    if parameters.minimum_cohort - parameters.dropouts < threshold:
        raise CharterError(
            f"Of a cohort of {parameters.minimum_cohort}, {parameters.dropouts} drop-outs leave fewer than the "
            f"{threshold} that must agree before anything is unmasked: with {parameters.colluders} colluders a server "
            "could otherwise find two quorums for two different sets of survivors.",
            "Lower dropouts or colluders, or raise minimum_cohort.",
        )
    if clients < parameters.minimum_cohort:
        raise CharterError(
            f"{clients} institutions are fewer than the minimum cohort of {parameters.minimum_cohort}.",
            "Add institutions, or lower the thresholds if everybody agrees to.",
        )
    if charter.changes_weights and float(parameters.clip) == 0:
        raise CharterError("clip is 0: no weight could change.", "Set it to about 1 (row root mean squares).")


def _check_schedule(charter: Charter) -> None:
    if not charter.schedule:
        raise CharterError("The schedule has no round.", 'Give at least one pattern, such as ["0.5"].')
    contexts = charter.votes.contexts if isinstance(charter.votes, CkksVotes) else ()
    if charter.custodian is not None and not len(contexts) == len(set(contexts)) == charter.rounds:
        raise CharterError(
            f"The charter names {len(contexts)} CKKS contexts for {charter.rounds} rounds, "
            f"{len(set(contexts))} of them different.",
            "Have the custodian make one key for each round: a ciphertext of one must be worth nothing in another.",
        )
    for earlier, later in pairwise(charter.patterns):
        if later.sparsity < earlier.sparsity:
            raise CharterError(
                f"The schedule {list(charter.schedule)} goes back from a higher sparsity to a lower one.",
                "Order the rounds by sparsity: a zero weight is never revived.",
            )
    for pattern in charter.patterns:
        for tensor in charter.base.pruned:
            if isinstance(pattern, NM) and tensor.columns % pattern.group:
                raise CharterError(
                    f"{tensor.name} has {tensor.columns} inputs, not a multiple of {pattern.group}.",
                    "Choose another N:M or an unstructured sparsity.",
                )


def _check_pooled(charter: Charter, pooled: PooledStatistics) -> None:
    if charter.method == "magnitude":
        raise CharterError("Magnitude pruning needs no statistics.", "Choose wanda or sparsegpt, or average weights.")
    if charter.custodian is not None:
        raise CharterError("A custodian counts votes; second moments are none.", "Have them summed under masks.")
    if Fraction(pooled.damping) == 0 or pooled.block == 0:
        raise CharterError(
            f"damping is {pooled.damping} and block {pooled.block}; neither may be 0.", "Set them to 0.01 and 128."
        )
    if any(one.matrix for one in pooled.inputs) is not charter.changes_weights:
        raise CharterError(
            f"{charter.method} needs " + ("no matrix" if charter.method == "wanda" else "the matrix of an input") + ".",
            "Set `matrix` of the inputs accordingly.",
        )
    if len({one.noise is None for one in pooled.inputs}) > 1:
        raise CharterError(
            "Some inputs have noise and others have none.", "Protect all of them: every sum tells of the same texts."
        )
    tensors = {tensor.name: (place, tensor) for place, tensor in enumerate(charter.base.pruned)}
    named = [name for one in pooled.inputs for name in one.tensors]
    if sorted(named) != sorted(tensors) or not all(one.tensors for one in pooled.inputs):
        raise CharterError(
            "The inputs do not name every tensor to prune once.", "List, for each input, the tensors that see it."
        )

    def places(one: PooledInput) -> list[int]:
        return [tensors[name][0] for name in one.tensors]

    firsts = [places(one)[0] for one in pooled.inputs]
    if firsts != sorted(firsts) or any(places(one) != sorted(places(one)) for one in pooled.inputs):
        raise CharterError("The inputs or their tensors are not in the order of the base model.", "Sort them.")
    for one in pooled.inputs:
        seen = {(tensors[name][1].layer, tensors[name][1].columns) for name in one.tensors}
        if len(seen) != 1:
            raise CharterError(
                f"{', '.join(one.tensors)} can't see the same input: they differ in layer or columns.",
                "List tensors together only if they are given the same numbers.",
            )
        columns = tensors[one.tensors[0]][1].columns
        if one.noise is not None and len(one.noise.scale) != columns:
            raise CharterError(
                f"{', '.join(one.tensors)} have {columns} columns, and the scale of their input has "
                f"{len(one.noise.scale)} entries.",
                "Give one divisor for each number of the input.",
            )
