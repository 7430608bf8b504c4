"""The log that a custodian is shown before it counts, told in another way by whoever holds some of the keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.custodian import Office
from fedspallm_secure.messages import (
    Collected,
    Confirm,
    Confirmed,
    Counted,
    Encrypted,
    Envelope,
    LaneBlob,
    Message,
    Release,
    Survivors,
    digest,
    open_envelope,
    seal,
)
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.tlog import HeldLog, origin_of
from fedspallm_secure.votes import Encryptor, PublicContext, add_ciphertexts
from fedspallm_secure.workspace import Journal
from tests.rounds.synthetic import CUSTODIAN, Run, Setting

__all__ = ["ATTACKERS", "COLLUDER", "EVERYBODY", "VICTIM", "Change", "Shown", "shown"]

VICTIM, COLLUDER = "i0", "i3"
ATTACKERS = ("coordinator", COLLUDER)
EVERYBODY = ("coordinator", "i0", "i1", "i2", "i3")

Change = Callable[[Message], Iterable[Message]]
"""What stands in the place of a message: itself, another one, several or none."""

_SETTING = Setting(clients=4, layers=1, shapes=((6, 8),), minimum_cohort=4, dropouts=1, method="wanda", ckks=True)


@dataclass(frozen=True)
class Shown:
    """A round of four institutions, of which three must agree, one of them in league with the server.

    Attributes:
        run: the setting.
        plan: of its only round.
        entries: the log, up to the server's `collected`.
        votes: institution -> its votes in the only lane.
        counted: what the custodian answered.
    """

    run: Run
    plan: RoundPlan
    entries: list[Envelope]
    votes: dict[str, NDArray[np.bool_]]
    counted: Counted

    def message(self, envelope: Envelope) -> Message:
        """What was signed."""
        return open_envelope(envelope, self.run.charter.keys)

    def office(self) -> Office:
        """The custodian with the same keys, and no memory of what it counted."""
        assert self.run.office is not None
        office = Office(CUSTODIAN, len(self.votes), self.run.office._keys, Journal(), self.run.folder / "another")
        office.sign(self.run.charter)
        return office

    def count(self, entries: Sequence[Envelope], office: Office | None = None) -> Counted:
        """What the custodian answers to a log."""
        answer = (office or self.office()).count(self.plan, entries, self.run.transcript.blobs)
        counted = self.message(answer)
        assert isinstance(counted, Counted)
        return counted

    def counts(self, counted: Counted) -> NDArray[Any]:
        """The counts that the custodian signed."""
        (lane,) = self.plan.context.lanes
        return lane.votes.unpack(self.run.transcript.blobs.get(counted.lanes[0].blob), lane.length)

    def again(self, name: str) -> tuple[LaneBlob, ...]:
        """The ciphertexts of `name`, an encryption of nothing added: other bytes, the same votes. They are stored."""
        parameters, blobs = self.plan.ckks, self.run.transcript.blobs
        assert parameters is not None
        assert self.run.office is not None
        pair = self.run.office._keys[0]
        encryptor = Encryptor(PublicContext(parameters, pair.public, pair.digest), self.run.folder)
        lanes = []
        for lane, blob in zip(self.plan.context.lanes, self.encrypted(name).lanes, strict=True):
            nothing = encryptor.encrypt(np.zeros(lane.length, np.bool_))
            streams = [blobs.stream(blob.blob, parameters.words), nothing]
            words = np.concatenate(list(add_ciphertexts(parameters, lane.length, streams)))
            lanes.append(LaneBlob(lane=lane.name, words=words.size, blob=blobs.put(words)))
        return tuple(lanes)

    def encrypted(self, name: str) -> Encrypted:
        """What `name` signed of its ciphertexts."""
        said = map(self.message, self.entries)
        return next(message for message in said if isinstance(message, Encrypted) and message.sender == name)

    def retold(self, change: Change, signers: Collection[str]) -> list[Envelope]:
        """The log with messages changed, and what follows from that signed anew by those who go along.

        Whoever does not go along said what it said: its messages may be left out or moved, never changed.
        """
        identities = {"coordinator": self.run.participants.server, **self.run.participants.institutions}
        telling = _Telling(HeldLog(origin_of(self.plan.context.digest)), {}, {})
        for envelope in self.entries:
            original = self.message(envelope)
            for said in change(original):
                if said.sender in signers:
                    followed = telling.following(said)
                    envelope = seal(followed, identities[said.sender])
                    telling.remember(original, followed, envelope)
                else:
                    truly = [entry for entry in self.entries if self.message(entry) == said]
                    assert truly, f"{said.sender} does not go along"
                    envelope = truly[0]
                telling.log.append(envelope)
                telling.entries.append(envelope)
        return telling.entries


class _Telling:
    """A log as it is being told again."""

    def __init__(self, log: HeldLog, chosen: dict[str, str], signatures: dict[str, str]) -> None:
        self.log = log
        self.entries: list[Envelope] = []
        self._chosen = chosen
        self._signatures = signatures

    def following(self, said: Message) -> Message:
        """The message as it must be after what was told before it."""
        if isinstance(said, Survivors):
            return said.model_copy(update={"log": self.log.head()})
        if not isinstance(said, Confirm | Confirmed | Release | Collected):
            return said
        changes: dict[str, object] = {"survivors": self._chosen.get(said.survivors, said.survivors)}
        if isinstance(said, Confirmed):
            changes["signatures"] = {name: self._signatures.get(name, old) for name, old in said.signatures.items()}
        if isinstance(said, Collected):
            changes["log"] = self.log.head()
        return said.model_copy(update=changes)

    def remember(self, original: Message, followed: Message, envelope: Envelope) -> None:
        """What later messages have to name."""
        if isinstance(followed, Survivors):
            self._chosen[digest(original)] = digest(followed)
        if isinstance(followed, Confirm):
            self._signatures[followed.sender] = envelope.signatures[0].sig


def shown(folder: Path) -> Shown:
    """Play that round."""
    run = Run(_SETTING, folder)
    plan = run.plan()
    pruned = run.prune(plan, run.base)
    run.round(plan, run.base, pruned)
    entries = run.entries()
    messages = [open_envelope(envelope, run.charter.keys) for envelope in entries]
    end = next(at for at, message in enumerate(messages) if isinstance(message, Collected))
    counted = messages[end + 1]
    assert isinstance(counted, Counted)
    tensor = run.charter.base.pruned[0]
    votes = {name: pruned[name].kept(tensor.layer, tensor.name).reshape(-1) for name in run.names}
    return Shown(run, plan, entries[: end + 1], votes, counted)
