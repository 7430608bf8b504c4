"""What a sweep measured: the content of tradeoff.json, and the same as a table, a row a point.

Points may have different held-out text (other institutions, other windows). So besides every point's own mix there is
one over the kinds of text that all points were measured on, and that is what plots show.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fedspallm_secure.evaluation.comparison import mean_alone
from fedspallm_secure.evaluation.membership import Auc
from fedspallm_secure.evaluation.perplexity import geometric_mean
from fedspallm_secure.evaluation.results import Perplexities, Results
from fedspallm_secure.evaluation.writing import write_whole

__all__ = ["PointFigures", "Tradeoff", "TradeoffPoint", "figures_of", "make_tradeoff", "write_tables"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class PointFigures(_Frozen):
    """The figures of one finished point.

    Attributes:
        perplexity: of the federated model; kind of text -> perplexity, and "mix".
        dense: of the base model.
        alone: mean over institutions of the mix of the model each gets alone; None where not evaluated.
        central: mix of the model pruned on everybody's text; None where not evaluated.
        sparsity: share of zeros, mean over decoder layers.
        bytes_up: sent by all institutions together, messages and payloads.
        bytes_down: received by all institutions together.
        bits_per_weight: bits an institution uploads a weight that it prunes, mean over institutions, all rounds.
        seconds: of all steps that ran for this point.
        pruned: whether the first round's layers were pruned for this point; else they are those of another point.
        institutions: how many took part.
        vanishing: those of them that fell silent once votes were counted.
        seed: of the run.
        model_digest: SHA-256 that every participant computed for the final model.
        membership_auc: area under the ROC curve of telling an institution's calibration windows from others by the
            first published sums; None where not measured.
        membership_low: lower end of its 95 % interval.
        membership_high: upper end.
    """

    perplexity: Perplexities
    dense: Perplexities
    alone: float | None
    central: float | None
    sparsity: float
    bytes_up: int
    bytes_down: int
    bits_per_weight: float
    seconds: float
    pruned: bool
    institutions: int
    vanishing: list[str]
    seed: int
    model_digest: str
    membership_auc: float | None = None
    membership_low: float | None = None
    membership_high: float | None = None


class TradeoffPoint(_Frozen):
    """One point.

    Attributes:
        name: of its folder.
        axes: key -> value.
        figures: None where it failed.
        common: geometric mean of the federated model's perplexities over `Tradeoff.kinds`; None where it failed.
        common_dense: the same of the base model.
        failed: what went wrong; None where nothing did.
    """

    name: str
    axes: dict[str, Any]
    figures: PointFigures | None
    common: float | None
    common_dense: float | None
    failed: str | None


class Tradeoff(_Frozen):
    """The whole of tradeoff.json.

    Attributes:
        base_model: name or directory of the base model; None where points have different ones.
        axes: key -> its values, in order.
        kinds: kinds of text that every finished point was measured on.
        points: all, in order.
        versions: package -> version that ran, and the number of threads.
    """

    base_model: str | None
    axes: dict[str, list[Any]]
    kinds: list[str]
    points: list[TradeoffPoint]
    versions: dict[str, str]

    @property
    def finished(self) -> list[TradeoffPoint]:
        """The points that have figures."""
        return [point for point in self.points if point.figures is not None]


def figures_of(results: Results, vanishing: Sequence[str], pruned: bool, membership: Auc | None = None) -> PointFigures:
    """The figures of a finished run.

    Args:
        results: of the run.
        vanishing: institutions that fell silent.
        pruned: whether the first round's layers were pruned in the run itself.
        membership: how well calibration windows were told from others, if that was measured.
    """
    alone = mean_alone(results.perplexity)
    return PointFigures(
        perplexity=results.perplexity.federated,
        dense=results.perplexity.dense,
        alone=None if alone is None else alone["mix"],
        central=None if results.perplexity.central is None else results.perplexity.central["mix"],
        sparsity=sum(results.layers) / len(results.layers),
        bytes_up=sum(results.bytes_up.values()),
        bytes_down=sum(results.bytes_down.values()),
        bits_per_weight=results.uplink_bits_per_parameter,
        seconds=sum(results.seconds.values()),
        pruned=pruned,
        institutions=len(results.bytes_up),
        vanishing=list(vanishing),
        seed=results.config["seed"],
        model_digest=results.model_digest,
        membership_auc=None if membership is None else membership.value,
        membership_low=None if membership is None else membership.low,
        membership_high=None if membership is None else membership.high,
    )


def make_tradeoff(
    axes: dict[str, list[Any]],
    points: Sequence[tuple[str, dict[str, Any]]],
    figures: Mapping[str, PointFigures],
    failed: Mapping[str, str],
    base_models: Sequence[str],
    versions: dict[str, str],
) -> Tradeoff:
    """Put the points of a sweep together.

    Args:
        axes: key -> its values.
        points: name and axes of each, in order.
        figures: name -> figures, of those that are finished.
        failed: name -> what went wrong, of the others.
        base_models: of the finished points.
        versions: package -> version, and threads.
    """
    measured = list(figures.values())
    kinds = [
        kind
        for kind in (measured[0].perplexity if measured else {})
        if kind != "mix" and all(kind in other.perplexity for other in measured)
    ]

    def common(perplexities: Perplexities | None) -> float | None:
        if perplexities is None or not kinds:
            return None
        if len(kinds) == len(perplexities) - 1:
            return perplexities["mix"]
        return geometric_mean([perplexities[kind] for kind in kinds])

    def point(name: str, values: dict[str, Any]) -> TradeoffPoint:
        mine = figures.get(name)
        return TradeoffPoint(
            name=name,
            axes=values,
            figures=mine,
            common=common(None if mine is None else mine.perplexity),
            common_dense=common(None if mine is None else mine.dense),
            failed=failed.get(name),
        )

    return Tradeoff(
        base_model=base_models[0] if len(set(base_models)) == 1 else None,
        axes=axes,
        kinds=kinds,
        points=[point(name, values) for name, values in points],
        versions=versions,
    )


def write_tables(tradeoff: Tradeoff, folder: Path) -> None:
    """Write tradeoff.json, and tradeoff.csv with a row a point.

    Raises:
        StorageError: the disk refuses.
    """
    write_whole(folder / "tradeoff.json", tradeoff.model_dump_json(indent=2) + "\n")
    rows = [_row(point, tradeoff.axes) for point in tradeoff.points]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(folder / "tradeoff.csv", text.getvalue())


def _row(point: TradeoffPoint, axes: Mapping[str, Any]) -> dict[str, object]:
    """Column -> cell; what is not there is empty, numbers are written so that they read back exactly."""
    row: dict[str, object] = {"name": point.name}
    row |= {f"axis {key}": _cell(point.axes.get(key)) for key in axes}
    row |= {"failed": point.failed or "", "common perplexity": _cell(point.common)}
    row |= {"common dense perplexity": _cell(point.common_dense)}
    if point.figures is not None:
        plain = point.figures.model_dump()
        for name, label in (("perplexity", "perplexity"), ("dense", "dense perplexity")):
            row |= {f"{label} {kind}": repr(value) for kind, value in plain.pop(name).items()}
        row |= {name: _cell(value) for name, value in plain.items()}
    return row


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
