"""What the server's sums mean: masks, averages, layer assignments; pure functions, the same on every machine."""

from fedspallm_secure.aggregation.average import average, sums_fit_counts
from fedspallm_secure.aggregation.exact_product import exact_product
from fedspallm_secure.aggregation.expansion import expand_groups, expand_mask, expand_tensor
from fedspallm_secure.aggregation.moments import DiagonalQuantiser, MatrixQuantiser
from fedspallm_secure.aggregation.noisy import draw_diagonal, draw_matrix
from fedspallm_secure.aggregation.pooled_sparsegpt import prune_from_moment
from fedspallm_secure.aggregation.pooled_wanda import prune_from_diagonal
from fedspallm_secure.aggregation.quantise import Quantiser
from fedspallm_secure.aggregation.rows import RowScales, row_scales
from fedspallm_secure.aggregation.sampling import sample_layers

__all__ = [
    "DiagonalQuantiser",
    "MatrixQuantiser",
    "Quantiser",
    "RowScales",
    "average",
    "draw_diagonal",
    "draw_matrix",
    "exact_product",
    "expand_groups",
    "expand_mask",
    "expand_tensor",
    "prune_from_diagonal",
    "prune_from_moment",
    "row_scales",
    "sample_layers",
    "sums_fit_counts",
]
