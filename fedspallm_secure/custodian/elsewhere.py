"""A custodian outside the run's process: the run puts files where the custodian finds them, and waits for its answers.

It waits for as long as it takes, and shows for what. An answer is looked at before the run goes on with it: whoever can
write to the folder may have put it there.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from fedspallm_secure.charter import Charter, CharterSignature
from fedspallm_secure.charter.signed_charter import CHARTER_TYPE
from fedspallm_secure.custodian.exchange import Exchange
from fedspallm_secure.custodian.keys import holds_keys, load_contexts, load_offer
from fedspallm_secure.custodian.office import Offer
from fedspallm_secure.errors import ConfigError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import (
    Counted,
    Envelope,
    Frozen,
    canonical,
    decode_base64,
    open_envelope,
    pre_authentication_encoding,
)
from fedspallm_secure.reading import faults
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import PublicContext, choose_parameters

__all__ = ["Elsewhere"]

_Form = TypeVar("_Form", bound=Frozen)

_PAUSE = 0.25  # seconds


class Elsewhere:
    """A custodian that answers by files.

    Args:
        path: of its offer, with the public contexts beside it.
        institutions: how many the run has.
        rounds: how many it has.
        exchange: the run's files.
        say: shows a line to people.
        sleep: waits for so many seconds.

    Raises:
        ConfigError: the offer can't be read, or is for another run; or TenSEAL is not installed.
        CharterError: a public context is not what it should be.
        StorageError: a public context is missing or damaged.
    """

    def __init__(
        self,
        path: Path,
        institutions: int,
        rounds: int,
        exchange: Exchange,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._offer = load_offer(path)
        if (self._offer.institutions, len(self._offer.contexts)) != (institutions, rounds):
            raise ConfigError(
                f"The offer {path} is for {self._offer.institutions} institutions and {len(self._offer.contexts)} "
                f"rounds; the run has {institutions} and {rounds}.",
                f"Have the custodian make keys with --institutions {institutions} --rounds {rounds}.",
            )
        self._contexts = load_contexts(self._offer, path.parent)
        for context, name in zip(self._contexts, self._offer.contexts, strict=True):
            PublicContext(choose_parameters(institutions), context, name)
        self._keys = str(path.parent.absolute()) if holds_keys(path.parent) else "KEYS"
        self._exchange = exchange
        self._say = say
        self._sleep = sleep

    @property
    def offer(self) -> Offer:
        """What the charter says of it."""
        return self._offer

    @property
    def contexts(self) -> list[bytes]:
        """The public contexts, for everybody."""
        return self._contexts

    def sign(self, charter: Charter) -> CharterSignature:
        """Propose a charter, and wait for the custodian's signature.

        Raises:
            RemoteProtocolError: what came is not that.
            StorageError: the disk refuses.
        """
        self._take_away(*self._exchange.folder.glob("counted-*.json"))  # of an earlier attempt
        self._exchange.propose(charter)
        path = self._exchange.signature
        signature = self._answer("sign", "sign the charter", path, CharterSignature)
        if signature.keyid != self._offer.name or not _holds(charter, signature, self._offer.public_key):
            raise self._refused("sign", path, f"it is not the signature of {self._offer.name!r} under the charter")
        self._take_away(path, self._exchange.charter)
        return signature

    def count(self, plan: RoundPlan, log: Iterable[Envelope], blobs: BlobStore) -> Envelope:
        """Wait for the custodian's counts; what is in them the server checks, as of everybody.

        Args:
            plan: of the round.
            log: lies in the run's transcript already.
            blobs: where the counts go.

        Raises:
            RemoteProtocolError: what came is not the custodian's word on this round.
            StorageError: the disk refuses.
        """
        number = plan.context.round
        path = self._exchange.counted(number)
        envelope = self._answer("count", f"count the votes of round {number + 1}", path, Envelope)
        try:
            message = open_envelope(envelope, {self._offer.name: self._offer.public_key})
        except RemoteProtocolError as error:
            raise self._refused("count", path, error.problem.removesuffix(".")) from error
        if not isinstance(message, Counted) or (message.charter, message.round) != (plan.context.digest, number):
            raise self._refused("count", path, f"it says nothing about round {number + 1} of this charter")
        for lane in message.lanes:
            self._wait_for(blobs.folder / lane.blob)
        self._take_away(path)
        return envelope

    def _answer(self, verb: str, what: str, path: Path, form: type[_Form]) -> _Form:
        if not path.exists():
            self._say(
                f"Leave this running. It waits for the custodian {self._offer.name} to {what}:\n  {self._command(verb)}"
            )
        data = self._wait_for(path)
        try:
            answer = form.model_validate_json(data)
        except ValidationError as error:
            raise self._refused(verb, path, faults(error)) from error
        if canonical(answer) != data:
            raise self._refused(verb, path, "it is not in canonical form")
        return answer

    def _wait_for(self, path: Path) -> bytes:
        """The bytes of a file, once it is there and nobody writes to it: it may be copied here slowly."""
        before: tuple[int, int] | None = None
        while True:
            with suppress(FileNotFoundError):
                found = path.stat()
                now = found.st_size, found.st_mtime_ns
                if now == before:
                    break
                before = now
            self._sleep(_PAUSE)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StorageError(f"The custodian's answer {path} can't be read: {error}.", "Make it readable.") from error

    def _take_away(self, *paths: Path) -> None:
        """Remove what was taken in, and the folder with the last of it."""
        try:
            for path in paths:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path} can't be removed: {error}.", "Make the run's folder writable.") from error
        with suppress(OSError):  # not empty
            os.rmdir(self._exchange.folder)

    def _command(self, verb: str) -> str:
        return shlex.join(["fedspallm", "custodian", verb, self._keys, str(self._exchange.run.absolute())])

    def _refused(self, verb: str, path: Path, why: str) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"{path} is no answer of the custodian {self._offer.name!r}: {why}.",
            f"Remove that file and ask who put it there. The custodian answers with {self._command(verb)}",
        )


def _holds(charter: Charter, signature: CharterSignature, public_key: str) -> bool:
    encoded = pre_authentication_encoding(CHARTER_TYPE, canonical(charter))
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(decode_base64(signature.sig), encoded)
    except (InvalidSignature, ValueError):
        return False
    return True
