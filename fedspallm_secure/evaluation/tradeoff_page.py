"""The page of a sweep: one HTML file that needs nothing but itself. Plots first, then every number behind them."""

from __future__ import annotations

from pathlib import Path

from fedspallm_secure.evaluation.pages import page
from fedspallm_secure.evaluation.settings import SEED, axis_name, mean, settings_of, value_text, varied
from fedspallm_secure.evaluation.tradeoff import Tradeoff
from fedspallm_secure.evaluation.tradeoff_plots import tradeoff_plots
from fedspallm_secure.evaluation.writing import write_whole

__all__ = ["write_tradeoff_page"]


def write_tradeoff_page(tradeoff: Tradeoff, path: Path) -> None:
    """Write the page. Equal contents give equal bytes.

    Args:
        tradeoff: of the sweep.
        path: the HTML file.

    Raises:
        StorageError: the disk refuses.
    """
    settings = settings_of(tradeoff)
    finished = [point.figures for point in tradeoff.points if point.figures is not None]
    own = list(dict.fromkeys(kind for figures in finished for kind in figures.perplexity if kind != "mix"))
    least = min((setting.mean for setting in settings), default=None)
    text = page(
        "tradeoff.html.j2",
        tradeoff=tradeoff,
        plots=tradeoff_plots(tradeoff),
        settings=settings,
        least=least,
        varied=varied(tradeoff),
        axis=axis_name,
        value=value_text,
        mean=mean,
        seeds=len(tradeoff.axes.get(SEED, [None])),
        kinds=own,
        membership=any(figures.membership_auc is not None for figures in finished),
        everywhere=len(own) == len(tradeoff.kinds),
        failed=[point for point in tradeoff.points if point.failed is not None],
        seconds=sum(figures.seconds for figures in finished),
    )
    write_whole(path, text)
