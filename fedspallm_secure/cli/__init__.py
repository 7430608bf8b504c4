"""The command line. Exit codes are those of `fedspallm_secure.errors`; 2 for wrong arguments, 130 after Ctrl-C."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from fedspallm_secure.errors import ConfigError, FedspallmError, StorageError

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit."""
    signal.signal(signal.SIGINT, _interrupt)
    from fedspallm_secure.cli.app import app

    try:
        app()
    except FedspallmError as error:
        sys.exit(_say(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__name__.partition(".")[0]):
            raise  # one of our own: a fault of the program
        needed = f"This command needs {error.name!r}, which the base install does not bring: it is enough for auditors."
        sys.exit(_say(ConfigError(needed, "Install the package with its extra: pip install 'fedspallm-secure[run]'.")))
    except OSError as error:
        sys.exit(_say(StorageError(f"The system refuses: {error}.", "Free space or check the path; then start again.")))


def _say(error: FedspallmError) -> int:
    print(f"error: {error.problem}\n       {error.todo}", file=sys.stderr)
    return error.exit_code


def _interrupt(number: int, frame: FrameType | None) -> None:
    print("\nInterrupted. What is unfinished is in a folder named *.partial; start again to go on.", file=sys.stderr)
    sys.exit(_INTERRUPTED)
