"""Who takes part in a simulated run, and the charter that they sign: fresh keys, since nobody here needs convincing.

Only a custodian may be somebody else, in another process or on another machine: it has keys of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from transformers import PreTrainedModel

from fedspallm_secure.charter import (
    AveragedWeights,
    Charter,
    CharterSignature,
    CharterSignatures,
    Institution,
    MaskedVotes,
    Parameters,
    Policy,
    PooledStatistics,
    Witness,
    check_policy,
    load_policy,
    sign_charter,
)
from fedspallm_secure.custodian import Elsewhere, Exchange, Offer, Office
from fedspallm_secure.errors import CharterError
from fedspallm_secure.messages import Identity
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.embedded import Counting, Participants
from fedspallm_secure.runtime.kept_keys import KeptKeys
from fedspallm_secure.runtime.model import describe
from fedspallm_secure.runtime.sections import CKKS, HERE, NOBODY
from fedspallm_secure.votes import choose_parameters, make_key_pair
from fedspallm_secure.workspace import Journal

__all__ = [
    "Seat",
    "all_signatures",
    "check_policies",
    "custodian_of",
    "make_charter",
    "participants_of",
    "policies_of",
]


class Seat(Counting, Protocol):
    """A custodian that can also be asked for its keys and its signature, as `custodian.Office`."""

    @property
    def offer(self) -> Offer:
        """What the charter says of it."""
        ...

    @property
    def contexts(self) -> list[bytes]:
        """The public contexts, for everybody."""
        ...

    def sign(self, charter: Charter) -> CharterSignature:
        """Sign the charter; see `custodian.Office.sign`."""
        ...


def policies_of(config: RunConfig) -> dict[str, Policy]:
    """Institution's name -> what it insists on.

    Raises:
        ConfigError: a policy's file is not right.
    """
    files = {member.name: member.policy for member in config.institution}
    return {name: Policy() if file is None else load_policy(Path(file)) for name, file in files.items()}


def check_policies(charter: Charter, policies: dict[str, Policy]) -> None:
    """Refuse a charter that one of the institutions would not sign.

    Raises:
        CharterError: names the institution and its rule.
    """
    for name, policy in policies.items():
        try:
            check_policy(charter, policy)
        except CharterError as error:
            raise CharterError(f"{name} does not take part. {error.problem}", error.todo) from error


def custodian_of(config: RunConfig, run: Path, scratch: Path, say: Callable[[str], None]) -> Seat | None:
    """The custodian, where votes are to be encrypted: in this process with new keys, or elsewhere.

    Args:
        config: of the run.
        run: its folder, where a custodian elsewhere finds it.
        scratch: a folder of this run's own; made when votes are counted here.
        say: shows what a custodian elsewhere has to do.

    Raises:
        ConfigError: TenSEAL is not installed, or there is no such custodian.
        CharterError: no parameters hold the votes of so many institutions.
        StorageError: something is missing or damaged beside the offer of a custodian elsewhere.
    """
    if config.protocol.votes != CKKS:
        return None
    clients, rounds = len(config.institution), len(config.pruning.pattern)
    if config.protocol.custodian != HERE:
        return Elsewhere(Path(config.protocol.custodian), clients, rounds, Exchange(run), say)
    keys = [make_key_pair(choose_parameters(clients)) for _ in config.pruning.pattern]
    return Office(Identity("custodian", Ed25519PrivateKey.generate()), clients, keys, Journal(), scratch)


def participants_of(
    config: RunConfig, policies: dict[str, Policy], custodian: Counting | None, kept: KeptKeys | None = None
) -> Participants:
    """Everybody with a fresh key, or the one `kept`; the witness is an institution if it has the name of one.

    Raises:
        ConfigError: a kept key is damaged.
    """
    of = _itself if kept is None else kept.of
    fresh = replace(
        Participants.fresh([member.name for member in config.institution]), policies=policies, custodian=custodian
    )
    institutions = {name: of(identity) for name, identity in fresh.institutions.items()}
    fresh = replace(fresh, server=of(fresh.server), institutions=institutions)
    name = config.protocol.witness
    if name == NOBODY:
        return fresh
    witness = institutions.get(name) or of(Identity(name, Ed25519PrivateKey.generate()))
    return replace(fresh, witness=witness)


def make_charter(
    config: RunConfig,
    model: PreTrainedModel,
    participants: Participants,
    custodian: Seat | None,
    pooled: PooledStatistics | None = None,
) -> Charter:
    """The agreement of a simulated run; its beacon comes from the seed."""
    witness = participants.witness
    return Charter(
        run="simulation",
        server=participants.server.name,
        server_key=participants.server.public,
        roster=tuple(
            Institution(
                name=member.name, public_key=participants.institutions[member.name].public, capacity=member.capacity
            )
            for member in config.institution
        ),
        method=config.pruning.method,
        aggregate=AveragedWeights() if pooled is None else pooled,
        schedule=tuple(config.pruning.pattern),
        beacon=hashlib.sha256(f"fedspallm-secure/v1/simulated-beacon/{config.seed}".encode()).hexdigest(),
        base=describe(model),
        parameters=Parameters(**config.protocol.model_dump(include=set(Parameters.model_fields))),
        votes=MaskedVotes() if custodian is None else custodian.offer.votes,
        witness=None if witness is None else Witness(name=witness.name, public_key=witness.public),
    )


def all_signatures(charter: Charter, participants: Participants, custodian: Seat | None) -> CharterSignatures:
    """Everybody's signature under the charter."""
    signed = sign_charter(charter, participants.everybody)
    if custodian is None:
        return signed
    return signed.model_copy(update={"signatures": (*signed.signatures, custodian.sign(charter))})


def _itself(identity: Identity) -> Identity:
    return identity
