"""What the server's sums mean: masks, averages, layer assignments; pure functions, the same on every machine."""

from fedspallm_secure.aggregation.average import average, sums_fit_counts
from fedspallm_secure.aggregation.expansion import expand_groups, expand_mask, expand_tensor
from fedspallm_secure.aggregation.moments import MomentQuantiser
from fedspallm_secure.aggregation.quantise import Quantiser
from fedspallm_secure.aggregation.rows import RowScales, row_scales
from fedspallm_secure.aggregation.sampling import sample_layers

__all__ = [
    "MomentQuantiser",
    "Quantiser",
    "RowScales",
    "average",
    "expand_groups",
    "expand_mask",
    "expand_tensor",
    "row_scales",
    "sample_layers",
    "sums_fit_counts",
]
