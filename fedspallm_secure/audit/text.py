"""What an audit says on the terminal: the verdict in one line, then what failed, then every check.

Results are words, so that colour only helps. Everything goes through `visible`: a transcript must not be able to move
the cursor of whoever audits it.
"""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fedspallm_secure.audit.verdict import Finding, Verdict, listed, summary, visible

__all__ = ["show_verdict"]

_WORDS = {"ok": ("ok", "green"), "failed": ("FAILED", "bold red"), "skipped": ("skipped", "yellow")}
_COLOURS = {"verified": "bold green", "failed": "bold red", "incomplete": "bold yellow"}


def show_verdict(verdict: Verdict, console: Console) -> None:
    """Print what the audit found.

    Args:
        verdict: of the audit.
        console: as wide as it is; 80 columns do.
    """
    line = Text(f"{verdict.status.upper()}: ", _COLOURS[verdict.status])
    console.print(line.append(visible(summary(verdict))))
    console.print(_plain(f"Run {verdict.run}, audited at {verdict.depth} depth."))
    for finding in verdict.failed:
        console.print()
        console.print(_plain(f"{finding.number} FAILED. This does not hold: {finding.title}", "bold"))
        console.print(Padding(_facts(finding), (0, 0, 0, 2)))
    if verdict.findings:
        console.print()
        console.print(_checks(verdict))
    console.print(Text("Not proven", "bold"))
    for sentence in verdict.not_proven or ("The audit does not say.",):
        console.print(_item(sentence))
    console.print()
    console.print(_digests(verdict))
    console.print()
    console.print(_plain(f"Read {verdict.bytes_read:,} bytes in {verdict.seconds:.1f} s."))


def _facts(finding: Finding) -> Table:
    """What is known of a check that failed, a line each."""
    facts = {
        "found": finding.evidence,
        "entry": None if finding.entry is None else f"{finding.entry} of the log (from 0)",
        "expected": finding.expected,
        "came": finding.actual,
        "at fault": listed(finding.at_fault) if finding.at_fault else "the evidence names nobody",
    }
    return _grid({label: fact for label, fact in facts.items() if fact is not None})


def _checks(verdict: Verdict) -> Table:
    """All checks; of those skipped also why."""
    table = Table(title="Checks", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("what holds if it is ok", overflow="fold")
    for finding in verdict.findings:
        claim = _plain(finding.title)
        if finding.status == "skipped":
            claim.append(f"\nskipped: {visible(finding.evidence)}", "italic")
        table.add_row(_plain(finding.number), Text(*_WORDS[finding.status]), claim)
    return table


def _digests(verdict: Verdict) -> Table:
    """What to compare with one's own copies."""
    return _grid(
        {
            "charter": verdict.charter,
            "log": f"{verdict.log_size:,} entries, root",
            "": verdict.log_root,
            "model": "none in the log" if verdict.model is None else verdict.model,
        }
    )


def _grid(facts: dict[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, fact in facts.items():
        grid.add_row(label, _plain(fact))
    return grid


def _item(sentence: str) -> Table:
    item = Table.grid(padding=(0, 1))
    item.add_row("  -", _plain(sentence))
    return item


def _plain(text: str, style: str = "") -> Text:
    return Text(visible(text), style)
