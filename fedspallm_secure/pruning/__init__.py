"""Local pruning: what one institution does to the public base model with its own calibration text."""

from fedspallm_secure.pruning.decoder import DecoderLayer, PrunableLinear, check_finite, decoder_layers
from fedspallm_secure.pruning.layer_files import load_masks, load_weights, snapshot, to_numpy
from fedspallm_secure.pruning.layerwise import Method, PruneSettings, PruningReport, TensorReport, prune

__all__ = [
    "DecoderLayer",
    "Method",
    "PrunableLinear",
    "PruneSettings",
    "PruningReport",
    "TensorReport",
    "check_finite",
    "decoder_layers",
    "load_masks",
    "load_weights",
    "prune",
    "snapshot",
    "to_numpy",
]
