"""Local pruning: what one institution does to the public base model with its own calibration text."""

from fedspallm_secure.pruning.decoder import DecoderLayer, PrunableLinear, check_finite, decoder_layers
from fedspallm_secure.pruning.hessian import InputMoment, Release
from fedspallm_secure.pruning.layer_files import load_masks, load_weights, snapshot, to_numpy
from fedspallm_secure.pruning.layerwise import PruningReport, TensorReport, prune
from fedspallm_secure.pruning.settings import Method, PruneSettings
from fedspallm_secure.pruning.solve import PrunedLayer, prune_layer
from fedspallm_secure.pruning.walk import layer_moments

__all__ = [
    "DecoderLayer",
    "InputMoment",
    "Method",
    "PrunableLinear",
    "PruneSettings",
    "PrunedLayer",
    "PruningReport",
    "Release",
    "TensorReport",
    "check_finite",
    "decoder_layers",
    "layer_moments",
    "load_masks",
    "load_weights",
    "prune",
    "prune_layer",
    "snapshot",
    "to_numpy",
]
