"""What the institutions agree on before a run."""

from fedspallm_secure.charter.pattern import NM, Pattern, Unstructured, parse_pattern

__all__ = ["NM", "Pattern", "Unstructured", "parse_pattern"]
