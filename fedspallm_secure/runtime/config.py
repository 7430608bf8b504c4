"""The configuration of a run: one TOML file, checked before anything is loaded. docs/configuration.md has every key."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from fedspallm_secure.charter import parse_pattern, unmasking_threshold
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.privacy import Budget, check_budget
from fedspallm_secure.reading import faults, read_toml
from fedspallm_secure.runtime.sections import (
    CKKS,
    FINE_ENOUGH,
    FINE_ENOUGH_POOLED,
    HERE,
    LARGEST_BOUND,
    OFF,
    PYTHON,
    ROOM_FOR_NOISE,
    STATISTICS,
    EvaluationConfig,
    InstitutionConfig,
    PrivacyConfig,
    ProtocolConfig,
    PruningConfig,
    Section,
)
from fedspallm_secure.secagg import COMPLETE_UP_TO, most_digits

__all__ = ["RunConfig", "build_config", "load_config", "put"]


class RunConfig(Section):
    """The whole configuration.

    Attributes:
        model: directory or hub name of the base model.
        seed: of every draw: windows, and the beacon of layer sampling.
        pruning: local pruning.
        protocol: the secure sums.
        privacy: noise on what the pruner sees of the text.
        evaluation: what is measured.
        institution: the roster, in order.
    """

    model: str
    seed: int = Field(0, ge=0, lt=2**63)
    pruning: PruningConfig = PruningConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    institution: list[InstitutionConfig] = Field(min_length=1)


def load_config(path: Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file, apply `a.b=c` settings, and resolve paths against the file's folder.

    Args:
        path: the TOML file.
        settings: each "KEY=VALUE" with a dotted key (a number indexes a list) and a TOML value or bare text.

    Raises:
        ConfigError: the file can't be read, is no TOML, or a key or value is not what is expected.
    """
    return build_config(read_toml(path, "configuration"), path.parent, settings)


def build_config(raw: dict[str, Any], folder: Path, settings: Sequence[str] = ()) -> RunConfig:
    """Check a configuration given as plain values.

    Args:
        raw: as TOML has it; settings are applied in place.
        folder: what relative paths start from.
        settings: each "KEY=VALUE", as in `load_config`.

    Raises:
        ConfigError: a key or value is not what is expected.
    """
    for setting in settings:
        _apply(raw, setting)
    try:
        config = RunConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(
            f"The configuration is not right: {faults(error)}.", "See docs/configuration.md for keys."
        ) from error
    for pattern in config.pruning.pattern:
        parse_pattern(pattern)
    institutions = [
        member.model_copy(
            update={
                "calibration": [_resolve(source, folder) for source in member.calibration],
                "heldout": member.heldout and [_resolve(source, folder) for source in member.heldout],
                "policy": member.policy and _resolve(member.policy, folder),
            }
        )
        for member in config.institution
    ]
    protocol = config.protocol
    if protocol.custodian != HERE:
        if protocol.votes != CKKS:
            raise ConfigError(
                f"The custodian {protocol.custodian} has nothing to count: votes are {protocol.votes}.",
                f'Set protocol.votes = "{CKKS}", or leave protocol.custodian out.',
            )
        protocol = protocol.model_copy(update={"custodian": _resolve(protocol.custodian, folder)})
    if protocol.aggregate == STATISTICS:
        protocol = _pooled(config, protocol)
    elif protocol.exchange != "auto":
        raise ConfigError(
            f'protocol.exchange is "{protocol.exchange}", but no statistics are summed.',
            f'Set protocol.aggregate = "{STATISTICS}", or leave protocol.exchange out.',
        )
    if protocol.digits_per_word == "auto":
        digits = most_digits(len(institutions), 2 * _fine_enough(config))
        protocol = protocol.model_copy(update={"digits_per_word": digits})
    if protocol.dropouts == "auto":
        dropouts = _most_dropouts(protocol.minimum_cohort, protocol.colluders)
        protocol = protocol.model_copy(update={"dropouts": dropouts})
    resolved = {
        "model": _resolve(config.model, folder),
        "institution": institutions,
        "protocol": protocol,
        "privacy": _private(config, folder),
    }
    return config.model_copy(update=resolved)


def _pooled(config: RunConfig, protocol: ProtocolConfig) -> ProtocolConfig:
    """The section on the protocol with its exchange chosen, once pooled statistics can be had."""
    if config.pruning.method == "magnitude":
        raise ConfigError(
            "Magnitude pruning reads no text: there are no statistics to pool.",
            'Leave protocol.aggregate at "weights", or prune with Wanda or SparseGPT.',
        )
    if protocol.votes == CKKS:
        raise ConfigError(
            "A custodian counts votes; second moments are none.",
            'Set protocol.votes = "masked", or protocol.aggregate = "weights".',
        )
    if protocol.exchange != "auto":
        return protocol
    exchange = "each layer" if config.pruning.method == "sparsegpt" else "once"
    return protocol.model_copy(update={"exchange": exchange})


def _fine_enough(config: RunConfig) -> int:
    """Q, the steps that a digit of the values sum should have on each side of zero."""
    if config.protocol.aggregate != STATISTICS:
        return FINE_ENOUGH
    return FINE_ENOUGH_POOLED if not config.privacy.on else (config.pruning.windows + ROOM_FOR_NOISE) * LARGEST_BOUND


def _private(config: RunConfig, folder: Path) -> PrivacyConfig:
    """The section on privacy with its paths resolved, once what it asks for can be had."""
    privacy = config.privacy
    if not privacy.on:
        return privacy
    if config.pruning.method == "magnitude":
        raise ConfigError(
            "Magnitude pruning reads no text: there is nothing that noise could protect.",
            f'Leave privacy.epsilon at "{OFF}", or prune with Wanda or SparseGPT.',
        )
    check_budget(Budget(epsilon=privacy.epsilon, delta=privacy.delta))
    check_budget(privacy.whole)
    if Fraction(privacy.epsilon) > Fraction(privacy.whole.epsilon):
        raise ConfigError(
            f"A run with an epsilon of {privacy.epsilon} does not fit into a budget of {privacy.budget}.",
            "Lower privacy.epsilon, or raise privacy.budget before the ledgers are made.",
        )
    if not 0 < Fraction(privacy.clip) <= 1:
        raise ConfigError(
            f"privacy.clip is a share of public windows, above 0 and at most 1, not {privacy.clip}.",
            'Write for example privacy.clip = "0.5".',
        )
    ledger = privacy.ledger if privacy.ledger == HERE else str((folder / privacy.ledger).resolve())
    public = [source if source == PYTHON else _resolve(source, folder) for source in privacy.public]
    return privacy.model_copy(update={"ledger": ledger, "public": public})


def _apply(raw: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {setting!r} is not KEY=VALUE.", "Write for example --set pruning.windows=32.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    put(raw, key, value, f"--set {setting!r}")


def put(raw: dict[str, Any], key: str, value: object, said: str) -> None:
    """Change one key of a configuration given as plain values, in place.

    Args:
        raw: as TOML has it.
        key: dotted; a number indexes a list.
        value: as TOML has it.
        said: what the error calls the change.

    Raises:
        ConfigError: there is no such place.
    """
    *parents, last = key.split(".")
    place: Any = raw
    try:
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[int(last) if isinstance(place, list) else last] = value
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise ConfigError(f"{said} names no place in the configuration.", "Check the dotted key.") from error


def _resolve(source: str, folder: Path) -> str:
    """A path relative to the configuration when there is such a file; anything else (a hub name) as it is."""
    path = folder / source
    return str(path.resolve()) if path.exists() else source


def _most_dropouts(cohort: int, colluders: int) -> int:
    most = max(0, cohort - unmasking_threshold(cohort, colluders))
    return most if cohort <= COMPLETE_UP_TO else min(most, cohort // 20)
