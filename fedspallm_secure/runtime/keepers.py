"""Who keeps a ledger in a run with privacy on: institutions that prune from noisy moments, or that pool them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fedspallm_secure.messages import digest
from fedspallm_secure.privacy import Ledger
from fedspallm_secure.pruning import PruneSettings
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.private_pooling import PoolingInstitution
from fedspallm_secure.runtime.private_pruning import LedgerKeeper, PrivateInstitution
from fedspallm_secure.runtime.public_text import PublicMoments, public_inputs, public_windows
from fedspallm_secure.runtime.steps import Advance

__all__ = ["keepers"]

Keeper = Callable[[str, Ledger, str], LedgerKeeper]


def keepers(
    config: RunConfig,
    plans: Sequence[RoundPlan],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: PruneSettings,
    advance: Advance,
) -> Keeper:
    """What makes an institution of its name, its ledger, and what its text is called there.

    Args:
        config: of the run, with privacy on.
        plans: of all rounds. Where statistics are pooled, their charter says how much noise there is; elsewhere bounds
            come from public text here.
        model: the base model.
        tokenizer: the model's.
        settings: the device to work on.
        advance: called with (layers done, layers).

    Raises:
        DataError: the public text can't be read, or gives no bounds.
    """
    if plans[0].charter.pooled is not None:
        return lambda name, ledger, data: PoolingInstitution(ledger, name, data, plans)
    privacy, diagonal = config.privacy, config.pruning.method == "wanda"
    windows = public_windows(config, tokenizer)
    inputs = public_inputs(
        model, windows, diagonal=diagonal, quantile=Fraction(privacy.clip), settings=settings, advance=advance
    )

    def pruning(name: str, ledger: Ledger, data: str) -> LedgerKeeper:
        rounds = [plan.layers_of(name) for plan in plans]
        return PrivateInstitution(
            ledger,
            data=data,
            run=digest(plans[0].charter),
            inputs=inputs,
            public=PublicMoments(model, windows, rounds, diagonal=diagonal, settings=settings),
            rounds=rounds,
            epsilon=privacy.epsilon,
        )

    return pruning
