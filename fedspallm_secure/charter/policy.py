"""What one institution insists on, whatever the others agree to. docs/policy.md has every key.

The gate refuses charters that break what the protocol promises; a policy refuses those that keep it and are still not
safe enough for its owner. It is the owner's alone: nobody sends it, and no charter can change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from fedspallm_secure.charter.charter import Charter, Method
from fedspallm_secure.charter.gate import unmasking_threshold
from fedspallm_secure.errors import CharterError, ConfigError
from fedspallm_secure.messages import Frozen, Hex32, Name, digest
from fedspallm_secure.reading import faults, read_toml

__all__ = ["Policy", "check_policy", "load_policy"]

_TODO = (
    "Do not sign; agree on another charter, or change the policy once you know what that gives away: docs/policy.md."
)


class Policy(Frozen):
    """One institution's own rules.

    Attributes:
        minimum_institutions: fewest institutions of the roster.
        allow_two_institutions: whether a sum may be of two institutions, each of which learns the other's part.
        minimum_cohort: fewest institutions that contribute to a lane.
        minimum_threshold: fewest members of the smallest cohort that must agree before anything is unmasked, and so
            fewest inputs of any sum.
        minimum_contributors: fewest votes at which a position's values are summed.
        minimum_colluders: how many institutions must be able to pool what they know, with the server, in vain.
        methods: local pruners that may be used.
        aggregates: what may be summed: "weights", or "statistics", whose sums say more of all texts together.
        noise_required: whether statistics may only be summed with noise.
        maximum_rounds: most patterns of the schedule: each publishes more about the same texts.
        votes: how votes may be counted: "masked", or "ckks", under which a custodian could decrypt each institution's.
        base: digest of the base model's list of tensors, if it must be a certain one.
        institutions: name -> Ed25519 public key of all who may be on the roster, if not anybody.
        servers: name -> key of all who may be the server, if not anybody.
        witnesses: name -> key of all who may be the witness, if not anybody.
        custodians: name -> key of all who may be the custodian, if not anybody.
        witness_required: whether somebody must be able to vouch for a sum that misses an institution.
    """

    minimum_institutions: int = Field(3, ge=2)
    allow_two_institutions: bool = False
    minimum_cohort: int = Field(3, ge=2)
    minimum_threshold: int = Field(3, ge=2)
    minimum_contributors: int = Field(3, ge=2)
    minimum_colluders: int = Field(1, ge=0)
    methods: tuple[Method, ...] = Field(("sparsegpt", "wanda", "magnitude"), min_length=1, strict=False)
    aggregates: tuple[Literal["weights", "statistics"], ...] = Field(
        ("weights", "statistics"), min_length=1, strict=False
    )
    noise_required: bool = False
    maximum_rounds: int = Field(4, ge=1)
    votes: tuple[Literal["masked", "ckks"], ...] = Field(("masked", "ckks"), min_length=1, strict=False)
    base: Hex32 | None = None
    institutions: dict[Name, Hex32] | None = Field(None, min_length=1)
    servers: dict[Name, Hex32] | None = Field(None, min_length=1)
    witnesses: dict[Name, Hex32] | None = Field(None, min_length=1)
    custodians: dict[Name, Hex32] | None = Field(None, min_length=1)
    witness_required: bool = False


def load_policy(path: Path) -> Policy:
    """Read a policy from a TOML file; keys that are left out have their defaults.

    Raises:
        ConfigError: the file can't be read, is no TOML, or a key or value is not what is expected.
    """
    raw = read_toml(path, "policy")
    try:
        return Policy.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(
            f"The policy {path} is not right: {faults(error)}.", "See docs/policy.md for keys."
        ) from error


def check_policy(charter: Charter, policy: Policy) -> None:
    """Refuse a charter that its owner's policy does not allow. Whether the charter is sound at all, the gate says.

    Raises:
        CharterError: names the rule, what the charter has and what the policy asks for.
    """
    _check_numbers(charter, policy)
    if charter.method not in policy.methods:
        raise _refused("methods", f"prunes with {charter.method}", f"allows {', '.join(policy.methods)}")
    if charter.aggregate.kind not in policy.aggregates:
        raise _refused("aggregates", f"sums {charter.aggregate.kind}", f"allows {', '.join(policy.aggregates)}")
    bare = charter.pooled is not None and any(one.noise is None for one in charter.pooled.inputs)
    if policy.noise_required and bare:
        raise _refused("noise_required", "sums statistics without noise", "asks for some")
    if charter.votes.backend not in policy.votes:
        raise _refused("votes", f"counts votes as {charter.votes.backend}", f"allows {', '.join(policy.votes)}")
    found = digest(charter.base)
    if policy.base is not None and found != policy.base:
        raise _refused("base", f"has a base model with digest {found}", f"asks for {policy.base}")
    _check_keys("institutions", [(member.name, member.public_key) for member in charter.roster], policy.institutions)
    _check_keys("servers", [(charter.server, charter.server_key)], policy.servers)
    if charter.custodian is not None:
        _check_keys("custodians", [(charter.custodian.name, charter.custodian.public_key)], policy.custodians)
    if charter.witness is not None:
        _check_keys("witnesses", [(charter.witness.name, charter.witness.public_key)], policy.witnesses)
    elif policy.witness_required:
        raise _refused("witness_required", "names no witness", "asks for one")


def _check_numbers(charter: Charter, policy: Policy) -> None:
    parameters, institutions = charter.parameters, len(charter.roster)
    fewest = min(institutions, parameters.minimum_cohort, parameters.minimum_contributors)
    if fewest < 3 and not policy.allow_two_institutions:
        raise _refused(
            "allow_two_institutions",
            f"lets a sum be of {fewest} institutions",
            "does not: either party subtracts its own input from the sum and learns the other's",
        )
    threshold = unmasking_threshold(parameters.minimum_cohort, parameters.colluders)
    for rule, what, value, least in (
        ("minimum_institutions", "has {} institutions", institutions, policy.minimum_institutions),
        ("minimum_cohort", "has minimum_cohort {}", parameters.minimum_cohort, policy.minimum_cohort),
        ("minimum_threshold", "lets {} of its smallest cohort unmask a sum", threshold, policy.minimum_threshold),
        (
            "minimum_contributors",
            "has minimum_contributors {}",
            parameters.minimum_contributors,
            policy.minimum_contributors,
        ),
        ("minimum_colluders", "reckons with {} colluders", parameters.colluders, policy.minimum_colluders),
    ):
        if value < least:
            raise _refused(rule, what.format(value), f"asks for at least {least}")
    rounds = len(charter.schedule)
    if rounds > policy.maximum_rounds:
        raise _refused("maximum_rounds", f"has {rounds} rounds", f"allows at most {policy.maximum_rounds}")


def _check_keys(rule: str, participants: Iterable[tuple[str, str]], allowed: Mapping[str, str] | None) -> None:
    if allowed is None:
        return
    for name, key in participants:
        listed = allowed.get(name, "no such name")
        if key != listed:
            raise _refused(rule, f"has {name!r} with key {key}", f"lists {listed}")


def _refused(rule: str, charter: str, policy: str) -> CharterError:
    return CharterError(f"{rule}: the charter {charter}; the policy {policy}.", _TODO)
