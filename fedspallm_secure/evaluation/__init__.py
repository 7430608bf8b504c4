"""How good a model still is, and how a run is told to people."""

from fedspallm_secure.evaluation.model_card import write_model_card
from fedspallm_secure.evaluation.perplexity import evaluate_kinds, geometric_mean, perplexity
from fedspallm_secure.evaluation.report import write_report
from fedspallm_secure.evaluation.results import (
    LedgerHead,
    Perplexities,
    PerplexityTable,
    Results,
    RunPrivacy,
    SpentPrivacy,
)
from fedspallm_secure.evaluation.tables import evaluation_table, perplexity_table, seconds_table, traffic_table

__all__ = [
    "LedgerHead",
    "Perplexities",
    "PerplexityTable",
    "Results",
    "RunPrivacy",
    "SpentPrivacy",
    "evaluate_kinds",
    "evaluation_table",
    "geometric_mean",
    "perplexity",
    "perplexity_table",
    "seconds_table",
    "traffic_table",
    "write_model_card",
    "write_report",
]
