"""Pages that need nothing but themselves: no script, nothing to load, light, dark and paper in one.

Names come from users: whatever a template writes is escaped, except the drawings, which escape their own texts.
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedspallm_secure.evaluation.drawing import COLOURS
from fedspallm_secure.evaluation.wording import (
    bits_text,
    bytes_text,
    model_text,
    perplexity_text,
    seconds_text,
    share_text,
)

__all__ = ["page"]


def page(template: str, **values: object) -> str:
    """The page that a template makes of `values`. Equal values give equal text."""
    environment = Environment(
        loader=PackageLoader("fedspallm_secure.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bits": bits_text,
        "bytes": bytes_text,
        "model": model_text,
        "perplexity": perplexity_text,
        "seconds": seconds_text,
        "share": share_text,
    }
    return environment.get_template(template).render(colours=COLOURS, **values)
