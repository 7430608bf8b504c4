"""What a finished run, or a sweep of them, says on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from fedspallm_secure.evaluation import (
    Results,
    Tradeoff,
    perplexity_table,
    seconds_table,
    settings_table,
    traffic_table,
)

__all__ = ["show_results", "show_tradeoff"]


def show_results(results: Results, out: Path, console: Console) -> None:
    """Print the tables of a run, and where everything is."""
    console.print(perplexity_table(results))
    gap = results.perplexity.gap_closed
    if gap is not None:
        console.print(f"Federation closes {gap:.0%} of the gap between an institution alone and pooling all text.\n")
    console.print(traffic_table(results))
    console.print()
    console.print(seconds_table(results))
    if results.privacy is not None:
        privacy = results.privacy
        spent = max((one.epsilon for one in privacy.institutions.values()), key=float)
        console.print(
            f"\nDifferential privacy of one window: epsilon {privacy.epsilon} at delta {privacy.delta}; "
            f"at most {spent} of {privacy.budget} is spent in an institution's ledger.\n"
        )
    for what, place in (
        ("Model", "model"),
        ("Report", "report.html"),
        ("Numbers", "results.json"),
        ("Transcript", "transcript"),
    ):
        console.print(f"{what + ':':12}{out / place}", highlight=False, soft_wrap=True)
    base = results.config["model"]
    if Path(base).is_dir():
        audit = f"fedspallm audit {out / 'transcript'} --model {out / 'model'} --base {base} --depth full"
        console.print(f"{'Audit it:':12}{audit}", highlight=False, soft_wrap=True)


def show_tradeoff(tradeoff: Tradeoff, out: Path, console: Console) -> None:
    """Print the settings of a sweep, what failed, and where everything is."""
    if tradeoff.finished:
        console.print(settings_table(tradeoff))
    failed = [point for point in tradeoff.points if point.failed is not None]
    for point in failed:
        console.print(f"failed: {point.name}: {point.failed}", markup=False, highlight=False, soft_wrap=True)
    if failed:
        console.print("Start again to try those that failed; what is finished stays.\n")
    for what, place in (("Page", "tradeoff.html"), ("Table", "tradeoff.csv"), ("Numbers", "tradeoff.json")):
        console.print(f"{what + ':':12}{out / place}", highlight=False, soft_wrap=True)
