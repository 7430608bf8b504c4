"""A sweep: one configuration, and the keys that change from point to point. docs/tradeoff.md has the file's form.

An axis is any dotted key of a configuration, so a key that is new there can be swept without a word about it here. Two
axes are no keys: `institutions` takes the first so many of the roster, and `dropout_rate` has a share of them fall
silent once votes are counted. Every point's configuration is built and checked before anything runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedspallm_secure.errors import ConfigError, FedspallmError
from fedspallm_secure.reading import faults, read_toml
from fedspallm_secure.runtime.config import RunConfig, build_config, put
from fedspallm_secure.runtime.sections import HERE

__all__ = ["DEMO", "DROPOUT_RATE", "INSTITUTIONS", "MOST_POINTS", "Sweep", "SweepPoint", "load_sweep"]

DEMO = "demo"
"""The base that is the demo's configuration instead of a file's."""

INSTITUTIONS = "institutions"
DROPOUT_RATE = "dropout_rate"

MOST_POINTS = 500
"""A grid of more is a slip more often than a plan."""

_SEE = "See docs/tradeoff.md for the form of a sweep."
_LONGEST_SLUG = 60


class _SweepFile(BaseModel):
    """The TOML file as it stands.

    Attributes:
        base: a configuration's path, from the file's own folder, or `DEMO`.
        set: dotted key -> value, the same for all points.
        axes: dotted key -> list of values; points are all combinations.
        points: instead of axes, dotted key -> value, point by point.
        membership: whether each point measures what its first published sums tell of calibration windows.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    base: str
    set: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, Any] = Field(default_factory=dict)
    points: list[dict[str, Any]] = Field(default_factory=list)
    membership: bool = False


@dataclass(frozen=True)
class SweepPoint:
    """One run of a sweep.

    Attributes:
        name: of its folder: its values for people, and a digest of what it depends on.
        axes: key -> value.
        config: of the run.
        vanishing: institutions that fall silent once votes are counted.
    """

    name: str
    axes: dict[str, Any]
    config: RunConfig
    vanishing: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """What is to be run.

    Attributes:
        axes: key -> its values, in order.
        points: all, in order.
        membership: whether each point measures what its first published sums tell of calibration windows.
    """

    axes: dict[str, list[Any]]
    points: tuple[SweepPoint, ...]
    membership: bool = False


def load_sweep(path: Path, demo: Callable[[], dict[str, Any]]) -> Sweep:
    """Read a sweep and build the configuration of each of its points.

    Args:
        path: the TOML file.
        demo: gives the demo's configuration as plain values; called where that is the base.

    Raises:
        ConfigError: the file is not right, an axis is empty, there are too many points, or a key or value is wrong.
        CharterError: a pattern is none.
        FetchError: what the demo needs can't be had.
    """
    try:
        file = _SweepFile.model_validate(read_toml(path, "sweep"))
    except ValidationError as error:
        raise ConfigError(f"The sweep {path} is not right: {faults(error)}.", _SEE) from error
    fixed, chosen = _flat(file.set), _choices(file, path)
    clash = sorted(set(fixed) & {key for values in chosen for key in values})
    if clash:
        raise ConfigError(f"The sweep {path} both sets and varies {clash[0]}.", "Leave it out of one of the two.")
    if file.base == DEMO:
        raw, folder = demo(), Path()
    else:
        base = path.parent / file.base
        raw, folder = read_toml(base, "configuration"), base.parent
    points = tuple(_point(raw, folder, fixed, values, file.membership) for values in chosen)
    axes: dict[str, list[Any]] = {}
    for point in points:
        for key, value in point.axes.items():
            known = axes.setdefault(key, [])
            if not _among(value, known):
                known.append(value)
    return Sweep(axes, points, file.membership)


def _choices(file: _SweepFile, path: Path) -> list[dict[str, Any]]:
    """Key -> value of every point."""
    if bool(file.axes) == bool(file.points):
        raise ConfigError(f"The sweep {path} needs either [axes] or [[points]].", _SEE)
    if file.points:
        chosen = [_flat(point) for point in file.points]
        _not_too_many(len(chosen), path)
        for number, values in enumerate(chosen, 1):
            if not values:
                raise ConfigError(f"Point {number} of the sweep {path} has no key.", _SEE)
            twin = next(other for other, these in enumerate(chosen, 1) if _text(these) == _text(values))
            if twin != number:
                raise ConfigError(f"Points {twin} and {number} of the sweep {path} are the same.", "Remove one.")
        return chosen
    axes = _flat(file.axes)
    number = 1
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"The axis {key} of the sweep {path} is not a list with values.", _SEE)
        if len({_text(value) for value in values}) < len(values):
            raise ConfigError(f"The axis {key} of the sweep {path} has a value twice.", "Remove one.")
        number *= len(values)
    _not_too_many(number, path)
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _not_too_many(number: int, path: Path) -> None:
    if number > MOST_POINTS:
        raise ConfigError(
            f"The sweep {path} has {number} points; at most {MOST_POINTS} are allowed.", "Split it, or vary less."
        )


def _point(
    raw: dict[str, Any], folder: Path, fixed: dict[str, Any], values: dict[str, Any], membership: bool
) -> SweepPoint:
    """Build and check one point."""
    raw = deepcopy(raw)
    keys = fixed | values
    number, rate = keys.pop(INSTITUTIONS, None), keys.pop(DROPOUT_RATE, "0")
    try:
        for key, value in keys.items():
            put(raw, key, value, key)
        if number is not None:
            raw["institution"] = _first(raw.get("institution"), number)
        config = build_config(raw, folder)
        if config.protocol.custodian != HERE:
            raise ConfigError(
                "A sweep can't wait for a custodian elsewhere.", f'Leave protocol.custodian out: it is "{HERE}" then.'
            )
        vanishing = _vanishing(config, rate)
    except FedspallmError as error:
        said = ", ".join(f"{key} = {_text(value)}" for key, value in values.items())
        raise type(error)(f"The point {said} can't be run. {error.problem}", error.todo) from error
    stands_for: dict[str, Any] = {"config": config.model_dump(mode="json"), "vanishing": vanishing}
    if membership:
        stands_for["membership"] = True
    slug = "-".join(re.sub(r"[^\w.]+", "_", _plain(value), flags=re.ASCII).strip("_") for value in values.values())
    mark = hashlib.sha256(_text(stands_for).encode()).hexdigest()[:10]
    return SweepPoint(f"{slug[:_LONGEST_SLUG]}-{mark}", values, config, vanishing)


def _first(institutions: object, number: object) -> list[Any]:
    roster = institutions if isinstance(institutions, list) else []
    if type(number) is not int or not 1 <= number <= len(roster):
        raise ConfigError(
            f"{INSTITUTIONS} = {_text(number)}, and the configuration has {len(roster)} institutions.",
            "Give a whole number from 1 up to that.",
        )
    return roster[:number]


def _vanishing(config: RunConfig, rate: object) -> tuple[str, ...]:
    """The largest number of institutions that is no more than this share, drawn from the seed, in roster order."""
    try:
        share = Fraction(str(rate))
    except (ValueError, ZeroDivisionError):
        share = Fraction(-1)
    if not 0 <= share < 1:
        raise ConfigError(f"{DROPOUT_RATE} = {_text(rate)} is no share.", 'Give one as text, "0" up to less than "1".')
    names = [member.name for member in config.institution]
    drawn = sorted(names, key=lambda name: hashlib.sha256(f"{config.seed}/{name}/vanishes".encode()).digest())
    gone = drawn[: int(share * len(names))]
    return tuple(name for name in names if name in gone)


def _flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted keys, whether TOML had them quoted or as tables."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat


def _among(value: object, known: list[Any]) -> bool:
    return any(_text(value) == _text(other) for other in known)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else _text(value)
