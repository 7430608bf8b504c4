"""What the institutions agree on before a run."""

from fedspallm_secure.charter.beacon import drawn_order
from fedspallm_secure.charter.charter import (
    Aggregate,
    AveragedWeights,
    Base,
    Charter,
    CkksVotes,
    Custodian,
    Decimal,
    Institution,
    MaskedVotes,
    Method,
    Parameters,
    PooledInput,
    PooledNoise,
    PooledStatistics,
    Tensor,
    Votes,
    Witness,
)
from fedspallm_secure.charter.charter_file import load_charter
from fedspallm_secure.charter.digests import model_digest, tensor_digest
from fedspallm_secure.charter.gate import check_charter, unmasking_threshold
from fedspallm_secure.charter.key_file import load_key, save_key
from fedspallm_secure.charter.pattern import NM, Pattern, Unstructured, parse_pattern
from fedspallm_secure.charter.policy import Policy, check_policy, load_policy
from fedspallm_secure.charter.roster import Member, Revocation, Roster, check_charter_roster
from fedspallm_secure.charter.roster_chain import SignedRoster, check_chain, open_roster, sign_roster, unsigned_roster
from fedspallm_secure.charter.roster_change import RosterChange, first_roster, next_roster
from fedspallm_secure.charter.roster_file import load_roster, save_roster
from fedspallm_secure.charter.signed_charter import (
    CharterSignature,
    CharterSignatures,
    check_charter_signatures,
    load_charter_signatures,
    sign_charter,
)

__all__ = [
    "NM",
    "Aggregate",
    "AveragedWeights",
    "Base",
    "Charter",
    "CharterSignature",
    "CharterSignatures",
    "CkksVotes",
    "Custodian",
    "Decimal",
    "Institution",
    "MaskedVotes",
    "Member",
    "Method",
    "Parameters",
    "Pattern",
    "Policy",
    "PooledInput",
    "PooledNoise",
    "PooledStatistics",
    "Revocation",
    "Roster",
    "RosterChange",
    "SignedRoster",
    "Tensor",
    "Unstructured",
    "Votes",
    "Witness",
    "check_chain",
    "check_charter",
    "check_charter_roster",
    "check_charter_signatures",
    "check_policy",
    "drawn_order",
    "first_roster",
    "load_charter",
    "load_charter_signatures",
    "load_key",
    "load_policy",
    "load_roster",
    "model_digest",
    "next_roster",
    "open_roster",
    "parse_pattern",
    "save_key",
    "save_roster",
    "sign_charter",
    "sign_roster",
    "tensor_digest",
    "unmasking_threshold",
    "unsigned_roster",
]
