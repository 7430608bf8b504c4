"""How good a model still is, and how a run is told to people."""

from fedspallm_secure.evaluation.membership import Auc, auc, auc_bound, error_scores, kept_scores, relative_sizes
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
from fedspallm_secure.evaluation.tables import (
    evaluation_table,
    perplexity_table,
    seconds_table,
    settings_table,
    traffic_table,
)
from fedspallm_secure.evaluation.tradeoff import (
    PointFigures,
    Tradeoff,
    TradeoffPoint,
    figures_of,
    make_tradeoff,
    write_tables,
)
from fedspallm_secure.evaluation.tradeoff_page import write_tradeoff_page

__all__ = [
    "Auc",
    "LedgerHead",
    "Perplexities",
    "PerplexityTable",
    "PointFigures",
    "Results",
    "RunPrivacy",
    "SpentPrivacy",
    "Tradeoff",
    "TradeoffPoint",
    "auc",
    "auc_bound",
    "error_scores",
    "evaluate_kinds",
    "evaluation_table",
    "figures_of",
    "geometric_mean",
    "kept_scores",
    "make_tradeoff",
    "perplexity",
    "perplexity_table",
    "relative_sizes",
    "seconds_table",
    "settings_table",
    "traffic_table",
    "write_model_card",
    "write_report",
    "write_tables",
    "write_tradeoff_page",
]
