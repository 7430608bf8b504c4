"""How the solver works: the method and what it needs besides weights and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from fedspallm_secure.errors import ConfigError

__all__ = ["Method", "PruneSettings"]

Method = Literal["sparsegpt", "wanda", "magnitude"]


@dataclass(frozen=True)
class PruneSettings:
    """How the solver works.

    Attributes:
        damping: SparseGPT's lambda as a share of the mean of the Hessian's diagonal, above 0.
        block: columns SparseGPT prunes under one threshold, at least 1.
        device: where layers are worked on, as torch names it; "auto" is CUDA where there is one.
        batch: calibration windows that run through a layer together, at least 1.
    """

    damping: float = 0.01
    block: int = 128
    device: str = "auto"
    batch: int = 1

    def __post_init__(self) -> None:
        if not (self.damping > 0 and self.block >= 1 and self.batch >= 1):
            raise ConfigError(
                "Damping should be above 0, a block at least 1 column and a batch at least 1 window; "
                f"{self.damping}, {self.block} and {self.batch} came.",
                "The usual values are 0.01, 128 and 1.",
            )

    def torch_device(self) -> torch.device:
        """The device to work on.

        Raises:
            ConfigError: torch can't use it.
        """
        cuda = torch.cuda.is_available()
        name = self.device if self.device != "auto" else "cuda" if cuda else "cpu"
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"torch can't work on device {name!r}.", 'Choose "auto" or "cpu".') from error
