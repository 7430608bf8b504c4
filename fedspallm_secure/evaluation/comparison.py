"""The comparison that a run is made for: its models side by side, and the verdict in words.

The question is what an institution gains by taking part. So the best model is looked for among those that can be had
without bringing texts together: the federated one and each institution's own. Dense and central frame them: the one
says what pruning costs, the other what privacy costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from fedspallm_secure.evaluation.results import Perplexities, PerplexityTable, Results
from fedspallm_secure.evaluation.wording import bits_text, pattern_text, perplexity_text, share_text

__all__ = ["Row", "columns", "mean_alone", "model_rows", "own_kinds", "sampled_layers", "verdict"]

Role = Literal["dense", "federated", "alone", "mean", "central"]


@dataclass(frozen=True)
class Row:
    """One model's line in a table of perplexities.

    Attributes:
        label: its name for people.
        role: dense, federated, alone (one institution), mean (of those alone) or central.
        values: kind of text -> perplexity, and "mix".
        best: the kinds, "mix" included, on which it is the best of the federated model and those alone.
        own: of an institution alone, the kind of text it calibrated on.
    """

    label: str
    role: Role
    values: Perplexities
    best: frozenset[str] = frozenset()
    own: str | None = None


def columns(table: PerplexityTable) -> list[str]:
    """The kinds of text in the order in which they were measured, and "mix" last."""
    return [kind for kind in table.dense if kind != "mix"] + ["mix"]


def mean_alone(table: PerplexityTable) -> Perplexities | None:
    """The arithmetic mean over institutions, kind by kind, or None where nobody was evaluated alone."""
    if not table.alone:
        return None
    return {kind: sum(row[kind] for row in table.alone.values()) / len(table.alone) for kind in columns(table)}


def model_rows(results: Results) -> list[Row]:
    """Every model in reading order: dense, federated, the institutions alone, their mean, central."""
    table, own = results.perplexity, own_kinds(results)
    rivals = [table.federated, *table.alone.values()]
    least = {kind: min(row[kind] for row in rivals) for kind in columns(table)}

    def rival(label: str, role: Role, values: Perplexities, own: str | None = None) -> Row:
        return Row(label, role, values, frozenset(kind for kind in least if values[kind] == least[kind]), own)

    rows = [Row("dense", "dense", table.dense), rival("federated", "federated", table.federated)]
    rows += [rival(f"{name} alone", "alone", values, own[name]) for name, values in table.alone.items()]
    mean = mean_alone(table)
    if mean is not None:
        rows.append(Row("mean of those alone", "mean", mean))
    if table.central is not None:
        rows.append(Row("central", "central", table.central))
    return rows


def own_kinds(results: Results) -> dict[str, str]:
    """Institution -> the kind of text it calibrated on; an institution that names none stands for its own."""
    return {member["name"]: member["kind"] or member["name"] for member in results.config["institution"]}


def sampled_layers(results: Results) -> bool:
    """Whether some institution left out some layer in some round."""
    return any(len(cohort) < len(results.bytes_up) for layers in results.cohorts for cohort in layers)


def verdict(results: Results) -> list[str]:
    """What the run showed, as two to four sentences of plain text."""
    table = results.perplexity
    federated, kinds = table.federated["mix"], len(columns(table)) - 1
    pattern = pattern_text(results.config["pruning"]["pattern"][-1])
    sentences = [
        f"Pruned together, with {pattern}, the model has perplexity {perplexity_text(federated)} on the mix of {kinds} "
        f"{'kinds' if kinds > 1 else 'kind'} of text; the dense model has {perplexity_text(table.dense['mix'])}."
    ]
    alone = mean_alone(table)
    if alone is not None:
        sentences.append(_beside_alone(table, federated, alone["mix"]))
    if table.central is not None:
        sentence = f"Pruned in one place on everybody's text it would have {perplexity_text(table.central['mix'])}"
        gap = table.gap_closed
        closed = f": federation closes {share_text(gap)} of that gap" if gap is not None else ""
        sentences.append(sentence + closed + ".")
    sentences.append(
        f"An institution uploaded {bits_text(results.uplink_bits_per_parameter)} bits for each weight it pruned, "
        "where dense fp16 weights take 16."
    )
    return sentences


def _beside_alone(table: PerplexityTable, federated: float, alone: float) -> str:
    sentence = f"An institution alone has {perplexity_text(alone)} on average"
    if isfinite(federated) and isfinite(alone):
        change = 1 - federated / alone
        sentence += f", so federation is {share_text(abs(change), 1)} {'better' if change >= 0 else 'worse'}"
    beaten = sum(federated < row["mix"] for row in table.alone.values())
    number = len(table.alone)
    return f"{sentence}; it beats {f'all {number}' if beaten == number else f'{beaten} of {number}'} of them."
