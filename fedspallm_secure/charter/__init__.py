"""What the institutions agree on before a run."""

from fedspallm_secure.charter.beacon import drawn_order
from fedspallm_secure.charter.charter import Base, Charter, Decimal, Institution, Method, Parameters, Tensor, Witness
from fedspallm_secure.charter.charter_file import load_charter
from fedspallm_secure.charter.digests import model_digest, tensor_digest
from fedspallm_secure.charter.gate import check_charter, unmasking_threshold
from fedspallm_secure.charter.pattern import NM, Pattern, Unstructured, parse_pattern
from fedspallm_secure.charter.policy import Policy, check_policy, load_policy

__all__ = [
    "NM",
    "Base",
    "Charter",
    "Decimal",
    "Institution",
    "Method",
    "Parameters",
    "Pattern",
    "Policy",
    "Tensor",
    "Unstructured",
    "Witness",
    "check_charter",
    "check_policy",
    "drawn_order",
    "load_charter",
    "load_policy",
    "model_digest",
    "parse_pattern",
    "tensor_digest",
    "unmasking_threshold",
]
