"""What the institutions agree on before a run."""

from fedspallm_secure.charter.charter import Base, Charter, Decimal, Institution, Method, Parameters, Tensor
from fedspallm_secure.charter.digests import model_digest, tensor_digest
from fedspallm_secure.charter.gate import check_charter
from fedspallm_secure.charter.pattern import NM, Pattern, Unstructured, parse_pattern

__all__ = [
    "NM",
    "Base",
    "Charter",
    "Decimal",
    "Institution",
    "Method",
    "Parameters",
    "Pattern",
    "Tensor",
    "Unstructured",
    "check_charter",
    "model_digest",
    "parse_pattern",
    "tensor_digest",
]
