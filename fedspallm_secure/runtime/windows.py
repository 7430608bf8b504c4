"""Which windows of text each institution calibrates on, and on which ones everybody's model is evaluated."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.sections import InstitutionConfig
from fedspallm_secure.runtime.steps import Advance
from fedspallm_secure.runtime.text import document_windows, load_documents, token_windows

__all__ = ["Windows", "load_windows"]


@dataclass(frozen=True)
class Windows:
    """Token ids of a run.

    Attributes:
        calibration: institution -> its private windows, int64 (count, T).
        heldout: kind of text -> windows no calibration saw, int64 (count, T).
    """

    calibration: dict[str, torch.Tensor]
    heldout: dict[str, torch.Tensor]


def load_windows(config: RunConfig, tokenizer: PreTrainedTokenizerBase, advance: Advance) -> Windows:
    """Read and tokenise every institution's text.

    Held-out windows of institutions with the same kind of text are put together. Where a window is to be protected,
    each calibration window is of a document of its own.

    Raises:
        DataError: a source can't be read, is empty, or too short.
    """
    calibration: dict[str, torch.Tensor] = {}
    heldout: dict[str, torch.Tensor] = {}
    for done, member in enumerate(config.institution, 1):
        mine, held = _windows_of(member, config, tokenizer)
        calibration[member.name] = mine
        heldout[member.label] = torch.cat([heldout[member.label], held]) if member.label in heldout else held
        advance(done, len(config.institution))
    return Windows(calibration, heldout)


def _windows_of(
    member: InstitutionConfig, config: RunConfig, tokenizer: PreTrainedTokenizerBase
) -> tuple[torch.Tensor, torch.Tensor]:
    number, held, length = config.pruning.windows, config.evaluation.windows, config.pruning.window

    def draw(sources: list[str], count: int, purpose: str) -> torch.Tensor:
        documents = load_documents(sources, split=member.split, field=member.field)
        seed = int.from_bytes(hashlib.sha256(f"{config.seed}/{member.name}/{purpose}".encode()).digest()[:7])
        cut = document_windows if config.privacy.on and purpose == "calibration" else token_windows
        return cut(documents, tokenizer, count=count, length=length, seed=seed)

    if member.heldout is not None:
        return draw(member.calibration, number, "calibration"), draw(member.heldout, held, "heldout")
    both = draw(member.calibration, number + held, "calibration")
    return both[:number], both[number:]
