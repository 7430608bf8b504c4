"""Differential privacy of one calibration record: clipped second moments, noise, and the ledger of what was spent.

Nothing here needs torch or Opacus, except the check of the accounting by Opacus, which loads it.
"""

from fedspallm_secure.privacy.accounting import (
    Gaussian,
    checked_epsilon,
    epsilon_together,
    multiplier_for,
    opacus_epsilon,
    variance_for,
)
from fedspallm_secure.privacy.allowance import Allowance
from fedspallm_secure.privacy.analytic import delta_of, epsilon_of, multiplier_of
from fedspallm_secure.privacy.book import Account, Head, check_budget
from fedspallm_secure.privacy.clipping import (
    WHOLE,
    Clipping,
    clip_diagonal,
    clip_matrix,
    diagonal_length,
    matrix_length,
    public_clipping,
    public_scale,
    to_diagonal,
    to_matrix,
    whitened_diagonal,
    whitened_matrix,
    whole_scale,
)
from fedspallm_secure.privacy.entries import Budget, Opening, Release, Spending, Use
from fedspallm_secure.privacy.ledger import Ledger, read_ledger
from fedspallm_secure.privacy.noise import add_noise, add_symmetric_noise, share_of_noise
from fedspallm_secure.privacy.repair import repair_diagonal, repair_matrix

__all__ = [
    "WHOLE",
    "Account",
    "Allowance",
    "Budget",
    "Clipping",
    "Gaussian",
    "Head",
    "Ledger",
    "Opening",
    "Release",
    "Spending",
    "Use",
    "add_noise",
    "add_symmetric_noise",
    "check_budget",
    "checked_epsilon",
    "clip_diagonal",
    "clip_matrix",
    "delta_of",
    "diagonal_length",
    "epsilon_of",
    "epsilon_together",
    "matrix_length",
    "multiplier_for",
    "multiplier_of",
    "opacus_epsilon",
    "public_clipping",
    "public_scale",
    "read_ledger",
    "repair_diagonal",
    "repair_matrix",
    "share_of_noise",
    "to_diagonal",
    "to_matrix",
    "variance_for",
    "whitened_diagonal",
    "whitened_matrix",
    "whole_scale",
]
