"""The files by which a run and a custodian elsewhere talk: they may be carried from machine to machine by hand.

RUN/custodian/charter.json              the charter that the run proposes; the custodian answers with
RUN/custodian/charter.signature.json    its signature
RUN/custodian/counted-0001.json         its word on the votes of the first round
RUN/transcript/                         charter, signatures and log; ciphertexts in blobs/, where counts go too

Nobody asks for counts by a file of its own: what is due stands in the log. An answer is one file that appears at once,
after the payloads that it names; the run takes it away once it has it in its transcript or is about to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedspallm_secure.charter import (
    Charter,
    CharterSignature,
    check_charter_signatures,
    load_charter,
    load_charter_signatures,
)
from fedspallm_secure.custodian.office import Office
from fedspallm_secure.errors import ConfigError, RemoteProtocolError
from fedspallm_secure.messages import Collected, Counted, ModelStatement, canonical, open_envelope
from fedspallm_secure.rounds import RoundPlan, plan_round
from fedspallm_secure.transcript import Transcript, read_log
from fedspallm_secure.workspace import write_whole

__all__ = ["Exchange"]

_TODO = "Free space, or make the run's folder writable."


class Exchange:
    """The files of one run.

    Args:
        run: its folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder = run / "custodian"
        self.charter = self.folder / "charter.json"
        self.signature = self.folder / "charter.signature.json"
        self.transcript = Transcript(run / "transcript")

    @classmethod
    def find(cls, path: Path) -> Exchange:
        """The files of the run that somebody calls `path`: its folder, finished or not, or its transcript.

        Raises:
            ConfigError: there is no run.
        """
        path = path.absolute()
        for run in (path, path.with_name(path.name + ".partial")):
            if (run / "transcript").is_dir() or (run / "custodian").is_dir():
                return cls(run)
        if path.name == "transcript" and path.is_dir():
            return cls(path.parent)
        raise ConfigError(f"{path} is no folder of a run.", "Give the --out of the run, or its folder *.partial.")

    def counted(self, number: int) -> Path:
        """The file of counts of round `number`, from 0."""
        return self.folder / f"counted-{number + 1:04}.json"

    def propose(self, charter: Charter) -> None:
        """For the run: ask for a signature under `charter`.

        Raises:
            StorageError: the disk refuses.
        """
        write_whole(self.charter, canonical(charter), _TODO)

    def proposed(self) -> Charter | None:
        """For the custodian: the charter to be signed; None where none is.

        Raises:
            ConfigError: the file can't be read, or is no charter.
        """
        return load_charter(self.charter) if self.charter.exists() else None

    def hand_in(self, signature: CharterSignature) -> None:
        """For the custodian: answer with a signature.

        Raises:
            StorageError: the disk refuses.
        """
        write_whole(self.signature, canonical(signature), _TODO)

    def due(self, office: Office) -> RoundPlan | None:
        """For the custodian: the round whose votes are to be counted; None where none is.

        Raises:
            CharterError: the charter breaks a rule, or does not name this custodian and its keys.
            RemoteProtocolError: not everybody signed the charter, or the log is no log of it.
            StorageError: the transcript can't be read, or is damaged.
        """
        if not self.transcript.log.exists():
            return None
        charter = load_charter(self.transcript.charter)
        office.check(charter)
        check_charter_signatures(charter, load_charter_signatures(self.transcript.signatures))
        asked: set[int] = set()
        models: dict[int, str] = {}
        for _, envelope in read_log(self.transcript.log):
            message = open_envelope(envelope, charter.keys)
            if isinstance(message, Collected) and message.sender == charter.server:
                asked.add(message.round)
            if isinstance(message, ModelStatement) and message.sender == charter.server:
                models[message.round] = message.model
            if isinstance(message, Counted) and message.sender == office.offer.name:
                asked.discard(message.round)
        if not asked:
            return None
        number = min(asked)
        if number >= charter.rounds:
            raise RemoteProtocolError(
                f"The log asks for the votes of round {number + 1} of {charter.rounds}.",
                "Nothing was decrypted. Keep the log as evidence.",
            )
        return plan_round(charter, number, models.get(number - 1))  # a quorum confirmed from which model it starts

    def count(self, office: Office, plan: RoundPlan, progress: Callable[[int, int], None]) -> Path:
        """For the custodian: count the votes of a round, and answer.

        Args:
            office: whose keys the charter names.
            plan: of the round that is due.
            progress: called with (lanes counted, lanes in all).

        Returns:
            The file of the answer.

        Raises:
            RemoteProtocolError: the log does not show that the votes may be counted, or they are no votes.
            LocalProtocolError: a lane was counted for others before, or the keys are for another charter.
            StorageError: a payload is missing or damaged, or the disk refuses.
        """
        log = (envelope for _, envelope in read_log(self.transcript.log))
        answer = office.count(plan, log, self.transcript.blobs, progress)
        path = self.counted(plan.context.round)
        write_whole(path, canonical(answer), _TODO)
        return path
