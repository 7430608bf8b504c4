"""The one error family, and the exit code of the command line for each member.

Every failure a user or a peer can cause is a `FedspallmError`. Its text says what was expected, what came, and what to
do now. Anything else that escapes is a bug of ours and shows as a traceback on purpose.
"""

from __future__ import annotations

__all__ = [
    "CharterError",
    "ConfigError",
    "DataError",
    "EquivocationError",
    "FedspallmError",
    "FetchError",
    "LocalProtocolError",
    "ModelError",
    "NumericalError",
    "ProtocolError",
    "RemoteProtocolError",
    "StorageError",
]


class FedspallmError(Exception):
    """Base of the family.

    Args:
        problem: what was expected and what came, one sentence.
        todo: what the reader can do about it, one sentence.
    """

    exit_code = 1

    def __init__(self, problem: str, todo: str) -> None:
        super().__init__(f"{problem} {todo}")
        self.problem = problem
        self.todo = todo


class ConfigError(FedspallmError):
    """A configuration file, an option or an argument is wrong."""

    exit_code = 2


class ModelError(FedspallmError):
    """A model can't be loaded, has no decoder layers to prune, or holds weights that are not finite."""

    exit_code = 4


class DataError(FedspallmError):
    """An institution's text can't be read, is empty, or is too short for the windows asked for."""

    exit_code = 5


class CharterError(FedspallmError):
    """The agreed parameters are refused before anything runs: cohorts, capacities, thresholds, headroom."""

    exit_code = 6


class ProtocolError(FedspallmError):
    """A step of the protocol was refused. The machine that refused it is as it was before."""

    exit_code = 7


class LocalProtocolError(ProtocolError):
    """We tried to do something that the protocol does not allow now: our own fault."""


class RemoteProtocolError(ProtocolError):
    """A peer sent something that the protocol does not allow: the sender's fault."""


class EquivocationError(RemoteProtocolError):
    """The keeper of a log did not show one version of it to continue the one before.

    Two notes of equal size and other roots prove by themselves that it signed two logs; of other sizes, together with
    the two logs.

    Args:
        problem: as for all.
        todo: as for all.
        notes: the two checkpoints that contradict each other, as they were signed.
    """

    def __init__(self, problem: str, todo: str, notes: tuple[str, str]) -> None:
        super().__init__(problem, todo)
        self.notes = notes


class NumericalError(FedspallmError):
    """Local pruning failed numerically: no damping made a Hessian positive definite."""

    exit_code = 8


class StorageError(FedspallmError):
    """Something can't be written or read back: no space, no permission, a digest that does not match."""

    exit_code = 9


class FetchError(FedspallmError):
    """A model or text that had to be fetched can't be had, or is not the one that was pinned."""

    exit_code = 10
