"""How numbers are written for people: the same in the terminal, on the report page and on the model card.

Perplexities carry four digits or so, since that is what an evaluation of some thousand tokens supports; bytes use
powers of 1000, as network operators do.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import PurePath

from fedspallm_secure.charter import NM, parse_pattern

__all__ = [
    "bits_text",
    "bytes_text",
    "is_hub_name",
    "model_text",
    "pattern_text",
    "perplexity_text",
    "seconds_text",
    "share_text",
]

_UNITS = ("kB", "MB", "GB", "TB")


def perplexity_text(value: float) -> str:
    """At most seven characters, whatever the size.

    >>> [perplexity_text(value) for value in (58.0449, 1234.56, 98765432.1, float("inf"))]
    ['58.04', '1234.6', '9.9e+07', 'inf']
    """
    if value < 1000:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 1e5 else f"{value:.1e}"


def bytes_text(number: int) -> str:
    """Three digits or so and a unit.

    >>> [bytes_text(number) for number in (812, 40_960, 113_246_208, 2_000_000_000)]
    ['812 B', '41.0 kB', '113 MB', '2.00 GB']
    """
    if number < 1000:
        return f"{number} B"
    # 999.5 would be written as 1000 of a unit.
    power = 1
    while power < len(_UNITS) and number / 1000**power >= 999.5:
        power += 1
    value = number / 1000**power
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[power - 1]}"


def seconds_text(seconds: float) -> str:
    """Seconds under two minutes, then minutes, then hours.

    >>> [seconds_text(seconds) for seconds in (0.034, 41.26, 125.0, 7384.0)]
    ['0.03 s', '41.3 s', '2 min 05 s', '2 h 03 min']
    """
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def share_text(share: float, decimals: int = 0) -> str:
    """A share as per cent, "not a number" and infinities included.

    >>> [share_text(0.4444), share_text(0.49998, 2)]
    ['44 %', '50.00 %']
    """
    return f"{100 * share:.{decimals}f} %"


def bits_text(bits: float) -> str:
    """Bits a weight, two decimals."""
    return f"{bits:.2f}"


def pattern_text(text: str) -> str:
    """What a pruning pattern demands, in words.

    >>> [pattern_text(text) for text in ("0.5", "1/3", "2:4")]
    ['50 % of the weights zero', '33.33 % of the weights zero', '2 of every 4 weights zero']

    Raises:
        CharterError: it is no pattern.
    """
    pattern = parse_pattern(text)
    if isinstance(pattern, NM):
        return f"{pattern.group - pattern.kept} of every {pattern.group} weights zero"
    exact = pattern.sparsity * 100
    return f"{float(exact):.{0 if exact == Fraction(round(exact)) else 2}f} % of the weights zero"


def is_hub_name(model: str) -> bool:
    """Whether a base model's name can be one of the Hugging Face hub: NAME or OWNER/NAME.

    >>> [is_hub_name(name) for name in ("gpt2", "meta-llama/Llama-3.2-1B", "/data/models/gpt2", "../gpt2")]
    [True, True, False, False]
    """
    return re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", model, re.ASCII) is not None


def model_text(model: str) -> str:
    """A base model's name without the folders of the machine it lay on.

    >>> [model_text(name) for name in ("meta-llama/Llama-3.2-1B", "/data/models/gpt2")]
    ['meta-llama/Llama-3.2-1B', 'gpt2']
    """
    return model if is_hub_name(model) else PurePath(model).name or model
