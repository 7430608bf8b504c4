"""The configuration of a run: one TOML file, checked before anything is loaded. docs/configuration.md has every key.

Numbers that enter the charter (patterns, capacities, the clipping bound) are text here too: they are exact there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fedspallm_secure.charter import Decimal, Method, parse_pattern, unmasking_threshold
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.messages import Name
from fedspallm_secure.privacy import Budget, check_budget
from fedspallm_secure.reading import faults, read_toml
from fedspallm_secure.secagg import COMPLETE_UP_TO, most_digits

__all__ = [
    "CKKS",
    "FINE_ENOUGH",
    "FINE_ENOUGH_POOLED",
    "HERE",
    "LARGEST_BOUND",
    "NOBODY",
    "OFF",
    "PYTHON",
    "ROOM_FOR_NOISE",
    "STATISTICS",
    "EvaluationConfig",
    "InstitutionConfig",
    "PrivacyConfig",
    "ProtocolConfig",
    "PruningConfig",
    "RunConfig",
    "build_config",
    "load_config",
    "put",
]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
"""One text, or a list of them."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PruningConfig(_Section):
    """What every institution does with its own text.

    Attributes:
        method: "sparsegpt", "wanda" or "magnitude".
        pattern: sparsity ("0.5") or N:M ("2:4"); a list of them is a schedule, one round each, the last is the target.
        windows: calibration windows an institution.
        window: tokens a window; evaluation uses the same length.
        damping: SparseGPT's damping, as a share of the mean of the Hessian's diagonal.
        block: SparseGPT's block, in columns.
        batch: windows that run through a layer together.
        device: "auto" (cuda when there), or a torch device.
        dtype: of the model: "auto" takes the checkpoint's.
    """

    method: Method = "sparsegpt"
    pattern: Texts = ["0.5"]
    windows: int = Field(16, ge=1)
    window: int = Field(512, ge=2)
    damping: float = Field(0.01, gt=0)
    block: int = Field(128, ge=1)
    batch: int = Field(1, ge=1)
    device: str = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"

    @property
    def solver(self) -> dict[str, Any]:
        """What `pruning.PruneSettings` is made of."""
        return self.model_dump(include={"damping", "block", "device", "batch"})


FINE_ENOUGH = 25
"""Q, steps between no change and the clipping bound, below which quantisation may show; docs/choices.md."""

FINE_ENOUGH_POOLED = 4096
"""Q, steps between no correlation of two inputs and the largest one, below which quantisation may show."""

LARGEST_BOUND = 2**15
"""Steps that bounds from public text have at most."""

ROOM_FOR_NOISE = 2**12
"""Bounds that a digit of a pooled sum can hold besides one a window."""

STATISTICS = "statistics"
"""What is summed where everybody prunes from pooled second moments."""

NOBODY = "nobody"
"""The witness's name where there is none."""


CKKS = "ckks"
"""How votes are counted under encryption."""

HERE = "here"
"""The custodian is in the run's own process, with new keys."""


class ProtocolConfig(_Section):
    """Parameters of the secure sums; see `charter.Parameters`.

    `aggregate` says what is summed: "weights" (FedSpaLLM), or "statistics", from which everybody prunes the same way.
    `exchange` says how often statistics are: "once", for the dense model's inputs, or in "each layer", for inputs that
    went through the layers pruned before; "auto" is replaced by the first for Wanda and the second for SparseGPT.
    `digits_per_word = "auto"` is replaced by the most digits that leave `FINE_ENOUGH` steps, `dropouts = "auto"` by the
    most drop-outs that still leave a quorum of the smallest cohort, though no more than one in twenty of a large one.
    `votes` is "masked", or "ckks" to have them encrypted and counted by a custodian. `custodian` is the file of its
    offer (`fedspallm custodian keygen`), or `HERE`. `witness` is the name of an
    auditor, who gets a key of its own, of an institution, or `NOBODY`.
    """

    aggregate: Literal["weights", "statistics"] = "weights"
    exchange: Literal["auto", "once", "each layer"] = "auto"
    minimum_cohort: int = Field(3, ge=1)
    minimum_contributors: int = Field(3, ge=1)
    dropout_margin: int = Field(0, ge=0)
    colluders: int = Field(1, ge=0)
    dropouts: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    digits_per_word: Literal["auto"] | Annotated[int, Field(ge=1, le=32)] = "auto"
    clip: Decimal = "1"
    votes: Literal["masked", "ckks"] = "masked"
    custodian: str = HERE
    witness: Name = NOBODY


OFF = "inf"
"""The epsilon of a run without noise."""

PYTHON = "python"
"""The public text that every Python brings: the language reference that `help()` reads."""


class PrivacyConfig(_Section):
    """Differential privacy of one calibration window against everybody else; docs/privacy.md says what it covers.

    Attributes:
        epsilon: what this run may cost, decimal text; `OFF` for no noise.
        delta: decimal text like "0.000001".
        unit: what is protected. Each window is then the beginning of a document of its own.
        clip: share of the public text's windows that would not be clipped, above 0 and at most 1.
        public: the text that bounds come from: `PYTHON`, or files and names as for calibration; nobody's private text.
        ledger: folder of the institutions' ledgers and their keys, made if it is missing; `HERE` for one in the output.
        budget: what all runs with these ledgers may cost together, decimal text, fixed when they are made; "epsilon"
            for what this run may.
    """

    epsilon: Literal["inf"] | Decimal = OFF
    delta: Annotated[str, Field(pattern=r"^0\.[0-9]{1,15}$")] = "0.000001"
    unit: Literal["window"] = "window"
    clip: Decimal = "0.5"
    public: Texts = [PYTHON]
    ledger: str = HERE
    budget: Literal["epsilon"] | Decimal = "epsilon"

    @property
    def on(self) -> bool:
        """Whether there is noise."""
        return self.epsilon != OFF

    @property
    def whole(self) -> Budget:
        """What the ledgers are opened with; only where there is noise."""
        return Budget(epsilon=self.epsilon if self.budget == "epsilon" else self.budget, delta=self.delta)


class EvaluationConfig(_Section):
    """What is measured afterwards.

    Attributes:
        windows: held-out windows a kind of text.
        alone: whether every institution's own pruned model is evaluated.
        central: whether a model pruned on the pooled text is made and evaluated.
    """

    windows: int = Field(8, ge=1)
    alone: bool = True
    central: bool = True


class InstitutionConfig(_Section):
    """One institution.

    Attributes:
        name: letters, digits, dot, underscore, dash.
        kind: what reports call its held-out text; the name when left out.
        calibration: files (txt, jsonl, json, parquet), `datasets` directories or hub names.
        heldout: the same, for evaluation; when left out, windows that calibration did not take.
        field: name of the text field in jsonl, json, parquet and datasets.
        split: split of a datasets directory or hub dataset.
        capacity: share of the decoder layers that it can prune, above 0 and at most 1.
        policy: TOML file of what it insists on; the defaults of `charter.Policy` when left out.
    """

    name: Name
    kind: str | None = None
    calibration: Texts
    heldout: Texts | None = None
    field: str = "text"
    split: str = "train"
    capacity: Decimal = "1"
    policy: str | None = None

    @property
    def label(self) -> str:
        """What reports call its text."""
        return self.kind or self.name


class RunConfig(_Section):
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
