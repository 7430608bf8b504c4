"""A synthetic run whose custodian is elsewhere, up to where it waits for counts, and the custodian's command line."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

from fedspallm_secure.charter import CharterSignature, CharterSignatures, sign_charter
from fedspallm_secure.cli import main
from fedspallm_secure.custodian import Elsewhere, Exchange, load_contexts, load_offer
from fedspallm_secure.messages import Envelope
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.transcript import BlobStore
from tests.rounds.synthetic import Run, Setting

__all__ = ["NAME", "SMALL", "Done", "Waiting", "custodian", "keygen", "refused", "start"]

Done = subprocess.CompletedProcess[str]

NAME = "notary"
SMALL = Setting(clients=3, layers=1, method="wanda", ckks=True)


def custodian(*arguments: str | Path, answer: str = "") -> Done:
    """What `fedspallm custodian` with `arguments` says, run in this process; `answer` is typed by who runs it."""
    words = ["fedspallm", "custodian", *map(str, arguments)]
    out, err, typed = io.StringIO(), io.StringIO(), io.StringIO(answer)
    handler = signal.getsignal(signal.SIGINT)
    code = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.object(sys, "argv", words),
        patch.object(sys, "stdin", typed),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        finally:
            signal.signal(signal.SIGINT, handler)
    return Done(words, code, out.getvalue(), err.getvalue())


def refused(done: Done, code: int, *parts: str) -> None:
    """Assert that the command ended with `code` and one message that holds `parts`."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 2, done.stderr
    for part in parts:
        assert part in done.stderr


def keygen(folder: Path, institutions: int = 3, rounds: int = 1) -> Path:
    """A custodian's folder, made."""
    numbers = ["--institutions", str(institutions), "--rounds", str(rounds)]
    done = custodian("keygen", folder, "--name", NAME, *numbers)
    assert done.returncode == 0, done.stderr
    return folder


class _StoppedError(Exception):
    """The run waits for counts, and these tests do not."""


class _Stops:
    def count(self, plan: RoundPlan, log: Iterable[Envelope], blobs: BlobStore) -> Envelope:
        raise _StoppedError


@dataclass(frozen=True)
class Waiting:
    """A run that waits for the custodian.

    Attributes:
        run: the synthetic run; its charter names the custodian of `keys`, whose folder that is.
        exchange: its files.
    """

    run: Run
    keys: Path
    exchange: Exchange

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.exchange.run

    @property
    def answer(self) -> Path:
        """The counts of the first round."""
        return self.exchange.counted(0)

    def elsewhere(self, sleep: Callable[[float], None], said: list[str]) -> Elsewhere:
        """What stands for the custodian in the run."""
        rounds = len(self.run.setting.schedule)
        offer = self.keys / "offer.json"
        return Elsewhere(offer, self.run.setting.clients, rounds, self.exchange, said.append, sleep)

    def sign(self) -> None:
        """Everybody signs the charter, the custodian by its command."""
        self.exchange.propose(self.run.charter)
        done = custodian("sign", self.keys, self.folder, "--yes")
        assert done.returncode == 0, done.stderr
        signature = CharterSignature.model_validate_json(self.exchange.signature.read_bytes())
        self.write_signatures(signature)

    def write_signatures(self, *more: CharterSignature) -> None:
        """Write the charter into the transcript, with the signatures of all but the custodian, and `more`."""
        signed = sign_charter(self.run.charter, self.run.participants.everybody).signatures
        self.run.transcript.write_charter(self.run.charter, CharterSignatures(signatures=(*signed, *more)))

    def until_counts_are_due(self) -> None:
        """The first round, until its votes are to be counted."""
        self.run.participants = replace(self.run.participants, custodian=_Stops())
        plan = self.run.plan()
        with contextlib.suppress(_StoppedError):
            self.run.round(plan, self.run.base, self.run.prune(plan, self.run.base))
            raise AssertionError("nobody was asked for counts")

    def count(self) -> Done:
        """The custodian's command."""
        return custodian("count", self.keys, self.folder)


def start(folder: Path, setting: Setting = SMALL, keys: Path | None = None) -> Waiting:
    """A run whose charter names the custodian of `keys`, or of new ones. Nobody signed it yet."""
    keys = keygen(folder / "keys", setting.clients, len(setting.schedule)) if keys is None else keys
    run = Run(setting, folder / "run")
    offer = load_offer(keys / "offer.json")
    run.charter = run.charter.model_copy(update={"votes": offer.votes})
    for context in load_contexts(offer, keys):
        run.transcript.blobs.put_bytes(context)
    return Waiting(run, keys, Exchange(folder / "run"))
