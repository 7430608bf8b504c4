"""What public text says of a model's inputs: bounds and scales for private moments, and moments to fall back on.

Bounds and scales come from the dense base model before a run, so that they can be written down beforehand. The moments
that private ones are drawn towards are measured when a layer is due, through the model as it is by then: both texts
went through the same pruned layers, and only one layer's moments are in memory. An institution that learns nothing
from its own text prunes exactly as anybody does from public text alone.
"""

from __future__ import annotations

import pydoc_data.topics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fedspallm_secure.errors import DataError
from fedspallm_secure.privacy import (
    Clipping,
    Release,
    clip_diagonal,
    clip_matrix,
    diagonal_length,
    matrix_length,
    public_clipping,
    public_scale,
    variance_for,
    whitened_diagonal,
    whitened_matrix,
)
from fedspallm_secure.pruning import DecoderLayer, InputMoment, PruneSettings, layer_moments
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.sections import PYTHON
from fedspallm_secure.runtime.steps import Advance
from fedspallm_secure.runtime.text import load_documents, token_windows

__all__ = ["PublicInput", "PublicMoments", "public_inputs", "public_windows"]


@dataclass(frozen=True, eq=False)
class PublicInput:
    """One distinct input of a decoder layer.

    Attributes:
        tensors: the parameter names of the linear modules that see it.
        inputs: its width.
        diagonal: whether only the diagonal of its moment is released.
        clipping: of each window's moment.
        scale: that moments are whitened by before they are clipped, float64 (inputs,).
    """

    tensors: tuple[str, ...]
    inputs: int
    diagonal: bool
    clipping: Clipping
    scale: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Of its releases: the first module's."""
        return self.tensors[0]

    def clipped(self, moment: torch.Tensor) -> NDArray[np.int64]:
        """What one window adds to the sum."""
        clip = clip_diagonal if self.diagonal else clip_matrix
        return clip(_whitened(moment, self.scale), self.clipping)

    def planned(self, multiplier: float) -> Release:
        """Its release with so much noise."""
        return Release(
            name=self.name,
            kind="diagonal" if self.diagonal else "matrix",
            inputs=self.inputs,
            bound=self.clipping.bound,
            exponent=self.clipping.exponent,
            variance=variance_for(multiplier, self.clipping.bound),
        )


def public_windows(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Windows of the public text, int64 (n, T), drawn by the run's seed.

    Raises:
        DataError: the text can't be read, or is too short.
    """
    topics = pydoc_data.topics.topics
    parts = [
        [topics[topic] for topic in sorted(topics)] if source == PYTHON else load_documents([source])
        for source in config.privacy.public
    ]
    documents = (document for part in parts for document in part)
    count, length = config.privacy.public_windows, config.pruning.window
    try:
        return token_windows(documents, tokenizer, count=count, length=length, seed=config.seed)
    except DataError as error:
        raise DataError(f"privacy.public: {error.problem}", error.todo) from error


def public_inputs(
    model: PreTrainedModel,
    windows: torch.Tensor,
    *,
    diagonal: bool,
    quantile: Fraction,
    settings: PruneSettings,
    scale: Callable[[NDArray[Any]], NDArray[np.float64]] = public_scale,
    advance: Advance = lambda done, total: None,
) -> dict[int, list[PublicInput]]:
    """The distinct inputs of every decoder layer, with bounds that a share of the windows keeps in the dense model.

    Two walks go through the model side by side: one for what moments are whitened by, one for their lengths.

    Args:
        model: the base model.
        windows: of public text, int64 (n, T).
        diagonal: whether diagonals are to be released.
        quantile: share of the windows that is not clipped, above 0 and up to 1.
        settings: the device to work on.
        scale: what moments are whitened by, of each input's mean squares on the windows.
        advance: called with (layers done, layers).

    Raises:
        DataError: a bound would be zero or not finite.
    """
    length = diagonal_length if diagonal else matrix_length
    lengths: list[list[float]] = []
    scales: list[NDArray[np.float64]] = []
    plain = layer_moments(model, windows, diagonal=True, settings=settings)

    def measure(layer: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
        moments: list[InputMoment] = []
        lengths.clear()
        scales[:] = [scale(_array(moment.total) / moment.tokens) for moment in next(plain)[1]]
        for moments in each:
            pairs = zip(moments, scales, strict=True)
            lengths.append([length(_whitened(moment.total, of_input)) for moment, of_input in pairs])
        return moments

    found: dict[int, list[PublicInput]] = {}
    layers = model.config.get_text_config().num_hidden_layers
    for layer, moments in layer_moments(model, windows, diagonal=diagonal, settings=settings, release=measure):
        found[layer.index] = [
            PublicInput(
                tuple(linear.name for linear in moment.linears),
                len(moment.total),
                diagonal,
                public_clipping(seen, quantile),
                of_input,
            )
            for moment, seen, of_input in zip(moments, zip(*lengths, strict=True), scales, strict=True)
        ]
        advance(len(found), layers)
    return found


class PublicMoments:
    """The moments of public text where an institution's own are released, through the model as it is by then.

    Args:
        model: that the institution prunes in place.
        windows: of public text, int64 (n, T).
        rounds: the layers that it prunes, a round.
        diagonal: only the diagonals.
        settings: the device to work on; the moments stay there.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        windows: torch.Tensor,
        rounds: Sequence[Sequence[int]],
        *,
        diagonal: bool,
        settings: PruneSettings,
    ) -> None:
        self._model = model
        self._windows = windows
        self._rounds = rounds
        self._diagonal = diagonal
        self._settings = settings
        self._walk: Iterator[tuple[DecoderLayer, list[InputMoment]]] = iter(())
        self._last = (-1, -1)

    def at(self, number: int, layer: int) -> list[InputMoment]:
        """The moments of one layer in round `number`, when those before it were pruned; layers come in order.

        Args:
            number: the round.
            layer: one that the institution prunes in it.

        Raises:
            NumericalError: activations overflow.
        """
        if self._last[0] != number or self._last[1] >= layer:
            self._walk = layer_moments(
                self._model,
                self._windows,
                diagonal=self._diagonal,
                settings=self._settings,
                layers=[due for due in self._rounds[number] if due >= layer],
            )
        self._last = (number, layer)
        return next(moments for found, moments in self._walk if found.index == layer)


def _whitened(moment: torch.Tensor, scale: NDArray[np.float64]) -> NDArray[Any]:
    array = _array(moment)
    return whitened_diagonal(array, scale) if array.ndim == 1 else whitened_matrix(array, scale)


def _array(moment: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = moment.cpu().numpy()
    return array
