"""Somebody's encrypted votes, counted a second time under another name.

Adversary: the server with one institution, where votes are encrypted under CKKS and a custodian counts them.
What it does: it waits for a client's ciphertexts, adds an encryption of zero so that nobody recognises them, and hands
them in as its own. Of three clients, 2 a + b tells a from b.
Why it works where the custodian adds what it gets: CKKS is malleable, and a copy looks like anybody's votes.
What stops it here: everybody signs the digests of its ciphertexts first, a quorum confirms the log that holds them, and
only then does anybody show ciphertexts. What is signed later, or in another log, is not counted (SPEC section 20.2,
docs/adr/0008-commit-then-release.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.charter import CkksVotes
from fedspallm_secure.errors import FedspallmError, StorageError
from fedspallm_secure.messages import Counted, Encrypted, Envelope, LaneBlob, Survivors, open_envelope, seal
from fedspallm_secure.votes import (
    CkksParameters,
    Decryptor,
    Encryptor,
    PublicContext,
    SecretContext,
    add_ciphertexts,
    choose_parameters,
    make_key_pair,
)
from fedspallm_secure.votes.packing import unpack_counts
from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.attack import Attack, Trial, reason, told_apart
from threat_model.attacks.plain import uploads
from threat_model.attacks.stage import Stage

__all__ = ["MALLEABLE_VOTES"]

_SETTING = Setting(clients=3, layers=1, shapes=((96, 64),), method="wanda", ckks=True)
_VICTIM, _OTHER, _COLLUDER = "i0", "i1", "i2"


def _on_plain(folder: Path) -> Trial:
    run = Run(Setting(clients=3, layers=1, shapes=_SETTING.shapes, method="wanda"), folder)
    votes = {name: upload.mask for name, upload in uploads(run, run.prune(run.plan(), run.base)).items()}
    parameters = choose_parameters(3)
    keys = make_key_pair(parameters)
    public = PublicContext(parameters, keys.public, keys.digest)
    encryptor = Encryptor(public, folder)
    victim, other = (list(encryptor.encrypt(votes[name])) for name in (_VICTIM, _OTHER))
    copy = _rerandomised(parameters, encryptor, np.concatenate(victim)).reshape(-1, parameters.words)
    length = votes[_VICTIM].size
    decryptor = Decryptor(SecretContext(keys.secret, public), folder)
    counts = np.empty(length, np.uint8)
    sums = add_ciphertexts(parameters, length, [iter(one) for one in (victim, other, list(copy))])
    for number, total in enumerate(sums):
        part = counts[number * parameters.votes : (number + 1) * parameters.votes]
        unpack_counts(parameters, decryptor.decrypt(total), 3, part)
    return _read(counts, votes[_VICTIM], votes[_OTHER])


def _here(folder: Path) -> Trial:
    stage = Stage(Run(_SETTING, folder))
    stage.play(until="survivors votes")
    (lane,) = stage.plan.lanes
    committed = _digest_of(stage, _VICTIM)
    too_early = _shown(stage, committed)
    stage.play(until="collected")
    copy = _hand_in(stage, _copied(stage, folder, stage.blobs.get(committed)))
    at = next(number for number, said in enumerate(stage.said()) if isinstance(said, Survivors))
    tries = []
    for how, log in (
        ("in a log rewritten around it", [*stage.entries[:at], copy, *stage.entries[at:]]),
        ("signed after the survivors", [*stage.entries, copy]),
    ):
        counts = _counted(stage, log)
        if isinstance(counts, FedspallmError):
            tries.append(Trial(False, f"a copy {how} is refused by the custodian: {reason(counts)}"))
            continue
        read = _read(counts, stage.votes(_VICTIM, lane), stage.votes(_OTHER, lane))
        tries.append(Trial(read.succeeded, f"with a copy {how}, {read.evidence}"))
    told = "; ".join(one.evidence for one in tries)
    return Trial(any(one.succeeded for one in tries), f"{told}; before a quorum confirmed, {too_early}")


def _counted(stage: Stage, log: Sequence[Envelope]) -> NDArray[Any] | FedspallmError:
    """What the custodian says when it is shown a log."""
    (lane,), office = stage.plan.lanes, stage.run.office
    assert office is not None
    try:
        answer = open_envelope(office.count(stage.plan, log, stage.blobs), stage.run.charter.keys)
    except FedspallmError as error:
        return error
    assert isinstance(answer, Counted)
    return lane.votes.unpack(stage.blobs.get(answer.lanes[0].blob), lane.length)


def _read(counts: NDArray[Any], mine: NDArray[np.bool_], other: NDArray[np.bool_]) -> Trial:
    """Take counts for 2 a + b; where a and b are equal, a + b tells them too."""
    differ = mine != other
    return told_apart((counts >= 2)[differ], mine[differ], f"votes where {_VICTIM} and {_OTHER} differ")


def _rerandomised(parameters: CkksParameters, encryptor: Encryptor, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Ciphertexts of the same votes that share no word with the first ones."""
    zeros = [encryptor.encrypt_numbers(np.zeros(parameters.ring)) for _ in range(words.size // parameters.words)]
    added: NDArray[np.uint64] = (words + np.concatenate(zeros)) % np.uint64(parameters.q)
    return added


def _copied(stage: Stage, folder: Path, words: NDArray[np.uint64]) -> LaneBlob:
    backend, parameters, (lane,) = stage.run.charter.votes, stage.plan.ckks, stage.plan.lanes
    assert isinstance(backend, CkksVotes)
    assert parameters is not None
    public = PublicContext(parameters, stage.blobs.get_bytes(backend.contexts[0]), backend.contexts[0])
    copy = _rerandomised(parameters, Encryptor(public, folder), words)
    return LaneBlob(lane=lane.name, words=copy.size, blob=stage.blobs.put(copy))


def _hand_in(stage: Stage, copy: LaneBlob) -> Envelope:
    """The colluder signs the copy as its own."""
    message = next(said for said in stage.heard if isinstance(said, Encrypted) and said.sender == _COLLUDER)
    identity = stage.run.participants.institutions[_COLLUDER]
    return seal(message.model_copy(update={"lanes": (copy,)}), identity)


def _digest_of(stage: Stage, name: str) -> str:
    """What a client said of its ciphertexts, which it keeps."""
    message = next(said for said in stage.heard if isinstance(said, Encrypted) and said.sender == name)
    return message.lanes[0].blob


def _shown(stage: Stage, blob: str) -> str:
    try:
        words = stage.blobs.get(blob)
    except StorageError:
        return f"{_VICTIM} had shown a digest and no ciphertext"
    return f"{_VICTIM} had shown {words.size} words of its ciphertexts"


MALLEABLE_VOTES = Attack(
    "malleable_votes",
    "Nobody's encrypted votes are counted a second time under another name.",
    _on_plain,
    _here,
)
