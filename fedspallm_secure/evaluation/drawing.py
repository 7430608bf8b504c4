"""How every drawing on a page is made: as SVG to be put into the page itself.

Texts stay text (the reader can search them, and the browser has the glyphs), and colours become the page's own CSS
variables, so one drawing serves light, dark and paper.

Drawn with matplotlib's objects: no global figure, no clock, no random identifiers, so equal results give equal bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "STEPS", "Plot", "drawn", "short"]

COLOURS: dict[str, tuple[str, str]] = {
    "ink": ("#1c2430", "#e6e9ee"),
    "muted": ("#5b6675", "#a3adba"),
    "line": ("#d6dbe2", "#39414d"),
    "paper": ("#fefefe", "#14181e"),
    "federated": ("#0a58ca", "#6db1ff"),
    "alone": ("#a85400", "#ffb05c"),
    "central": ("#1b7a46", "#62d196"),
    "dense": ("#5c6773", "#aab4c0"),
    "step-0": ("#8a94a1", "#7d8896"),
    "step-1": ("#2f6fb3", "#5c9fe0"),
    "step-2": ("#d9822b", "#f0a04e"),
    "step-3": ("#3f8f6b", "#5fc398"),
    "step-4": ("#8b5fa8", "#b890d4"),
    "step-5": ("#b04a5a", "#e0808e"),
}
"""CSS variable -> its colour in light and in dark mode."""

INK = {name: light for name, (light, _) in COLOURS.items()}
"""Name -> the colour to draw with; `drawn` turns it into the page's variable."""

STEPS = [name for name in COLOURS if name.startswith("step-")]
"""Names of the colours for things that stand side by side."""

_VARIABLE = {light: f"var(--{name})" for name, (light, _) in COLOURS.items()}
_WIDTH = 10.0
_LONGEST = 26
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11.0,
    "axes.edgecolor": INK["line"],
    "axes.labelcolor": INK["muted"],
    "axes.titlecolor": INK["ink"],
    "axes.titlelocation": "left",
    "axes.titlesize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.linewidth": 1.0,
    "grid.color": INK["line"],
    "xtick.color": INK["line"],
    "ytick.color": INK["line"],
    "xtick.labelcolor": INK["muted"],
    "ytick.labelcolor": INK["ink"],
    "text.color": INK["ink"],
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.4,
    # A name with two dollar signs is a name, not a formula.
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Plot:
    """A drawing and what it shows.

    Attributes:
        svg: an `<svg>` element without any reference outwards; texts in it are escaped.
        summary: one sentence for those who do not see it, plain text.
    """

    svg: str
    summary: str


def short(name: str) -> str:
    """A name, cut where it would take the drawing's room."""
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def drawn(draw: Callable[[Figure], None], height: float, name: str) -> str:
    """What `draw` draws, `height` inches high; `name` keeps identifiers apart on a page with several plots."""
    settings = _STYLE | {"svg.hashsalt": name}
    buffer = StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The page's fonts draw the text, so a glyph that matplotlib's own font lacks is not missing.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure)
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    drawing = buffer.getvalue()
    size = re.search(r'viewBox="[^"]*"', drawing)
    assert size is not None
    body = drawing[drawing.index("</defs>") + len("</defs>") :]
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = re.sub("|".join(_VARIABLE), lambda found: _VARIABLE[found[0]], body)
    return f'<svg {size[0]} aria-hidden="true">{body}'
