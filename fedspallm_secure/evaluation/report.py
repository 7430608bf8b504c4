"""The report of a run: one HTML page that needs nothing but itself, for researchers and for those who answer for a run.

The verdict comes first, then what it rests on: perplexities, sparsity, traffic, time, and at the end what identifies
the run. Plots are inlined, there is no script, and light, dark and paper are one page. Names come from users: whatever
the template writes is escaped, except the drawings, which escape their own texts.
"""

from __future__ import annotations

import json
from pathlib import Path

from fedspallm_secure.evaluation.comparison import columns, model_rows, sampled_layers, verdict
from fedspallm_secure.evaluation.pages import page
from fedspallm_secure.evaluation.plots import cohorts_plot, perplexity_plot, sparsity_plot, traffic_plot
from fedspallm_secure.evaluation.results import Results
from fedspallm_secure.evaluation.wording import bits_text, pattern_text, perplexity_text, share_text
from fedspallm_secure.evaluation.writing import write_whole

__all__ = ["write_report"]


def write_report(results: Results, path: Path) -> None:
    """Write the page. Equal results give equal bytes.

    Args:
        results: of the run.
        path: the HTML file.

    Raises:
        StorageError: the disk refuses.
    """
    text = page(
        "report.html.j2",
        results=results,
        verdict=verdict(results),
        kinds=columns(results.perplexity),
        rows=model_rows(results),
        pattern=pattern_text(results.config["pruning"]["pattern"][-1]),
        encrypted=results.config["protocol"].get("votes") == "ckks",
        pooled=results.pooled,
        tiles=_tiles(results),
        perplexities=perplexity_plot(results),
        sparsities=sparsity_plot(results),
        traffic=traffic_plot(results),
        steps=_steps(results),
        cohorts=cohorts_plot(results) if sampled_layers(results) else None,
        damped=[(name, tensor) for name, tensors in results.damping_raised.items() for tensor in tensors],
        configuration=json.dumps(results.model_dump(mode="json")["config"], indent=2, ensure_ascii=False),
    )
    write_whole(path, text)


def _tiles(results: Results) -> list[tuple[str, str, str]]:
    """The numbers in large: value, what it is, and the class that colours it."""
    table = results.perplexity
    roles = {"dense": "dense", "federated": "federated", "mean": "alone", "central": "central"}
    names = {"dense": "dense", "federated": "federated", "mean": "alone, on average", "central": "central"}
    tiles = [
        (perplexity_text(row.values["mix"]), names[row.role], roles[row.role])
        for row in model_rows(results)
        if row.role in roles
    ]
    if table.gap_closed is not None:
        tiles.append((share_text(table.gap_closed), "of the gap to central closed", "plain"))
    return [*tiles, (bits_text(results.uplink_bits_per_parameter), "bits uploaded a weight (fp16:\u00a016)", "plain")]


def _steps(results: Results) -> dict[str, list[str]]:
    """Direction -> the protocol's steps in the order in which they came."""
    traffic = results.bytes_by_step.values()
    return {way: list(dict.fromkeys(step for both in traffic for step in both[way])) for way in ("up", "down")}
