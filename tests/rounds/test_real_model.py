"""On a real model the secure result is the plain one: same masks, weights within half a step, perplexity in 0.2 %."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedspallm_secure.charter import Base, Charter, Institution, Parameters, Tensor, parse_pattern
from fedspallm_secure.evaluation import evaluate_kinds
from fedspallm_secure.pruning import PruneSettings, load_weights, prune, snapshot
from fedspallm_secure.rounds import PublicWeights, plan_round
from fedspallm_secure.runtime.assets import smollm2_directory, text_files
from fedspallm_secure.runtime.embedded import Participants, Traffic, run_round
from fedspallm_secure.runtime.model import describe, load_model, load_tokenizer
from fedspallm_secure.runtime.text import load_documents, token_windows
from fedspallm_secure.workspace import LayerStore
from tests.rounds.reference import Pruned, fedspallm, largest_change, root_mean_square

CACHE = Path(os.environ.get("FEDSPALLM_CACHE") or Path.home() / ".cache" / "fedspallm-secure")
LAYERS = range(4)
KINDS = ("news", "documentation", "code")
CLIP, DIGITS = "1", 6


def _charter(tensors: tuple[Tensor, ...], participants: Participants) -> Charter:
    return Charter(
        run="real-model",
        server=participants.server.name,
        server_key=participants.server.public,
        roster=tuple(
            Institution(name=name, public_key=identity.public, capacity="1")
            for name, identity in participants.institutions.items()
        ),
        method="sparsegpt",
        schedule=("0.5",),
        beacon="00" * 32,
        base=Base(layers=len(LAYERS), pruned=tensors, rest={}),
        parameters=Parameters(
            minimum_cohort=3,
            minimum_contributors=3,
            dropout_margin=0,
            colluders=1,
            dropouts=0,
            digits_per_word=DIGITS,
            clip=CLIP,
        ),
    )


def _plain_layer(
    layer: int, tensors: tuple[Tensor, ...], base: LayerStore, pruned: dict[str, LayerStore], secure: LayerStore
) -> dict[str, NDArray[np.float32]]:
    """The plain federated weights of one layer, after comparing the secure ones with them."""
    Q = largest_change(len(KINDS), DIGITS)
    plain = {}
    for tensor in (tensor for tensor in tensors if tensor.layer == layer):
        W = base.weights(layer, tensor.name)
        cohort = [
            Pruned(store.kept(layer, tensor.name), store.weights(layer, tensor.name)) for store in pruned.values()
        ]
        expected = fedspallm(W, cohort, "0.5", bar=3, clip=float(CLIP))
        got = secure.weights(layer, tensor.name)
        assert np.array_equal(got == 0, expected == 0), tensor.name
        half_step = float(CLIP) * root_mean_square(W.astype(np.float64)) / Q / 2
        assert (np.abs(got - expected) <= 1.0001 * half_step).all(), tensor.name
        plain[tensor.name] = expected.astype(np.float32)
    return plain


@pytest.mark.real_model
def test_the_secure_round_on_a_real_model_gives_the_plain_federated_model(tmp_path: Path) -> None:
    directory = str(smollm2_directory(CACHE))
    tokenizer = load_tokenizer(directory)
    settings = PruneSettings(device="cpu")
    model = load_model(directory, "auto", settings.torch_device())
    texts = {kind: text_files(CACHE)[kind] for kind in KINDS}

    def draw(path: Path) -> torch.Tensor:
        return token_windows(load_documents([str(path)]), tokenizer, count=2, length=256, seed=0)

    base, secure, plain = (LayerStore(tmp_path / name) for name in ("base", "secure", "plain"))
    snapshot(model, base)
    tensors = tuple(tensor for tensor in describe(model).pruned if tensor.layer in LAYERS)
    participants = Participants.fresh(list(KINDS))
    pruned = {kind: LayerStore(tmp_path / kind) for kind in KINDS}
    for kind, store in pruned.items():
        load_weights(model, base)
        prune(
            model,
            draw(texts[kind].calibration),
            method="sparsegpt",
            pattern=parse_pattern("0.5"),
            settings=settings,
            layers=LAYERS,
            store=store,
        )
    plan = plan_round(_charter(tensors, participants), 0)
    run_round(plan, participants, PublicWeights(base), pruned, tmp_path / "transcript", secure, Traffic())
    for layer in LAYERS:
        plain.write(layer, _plain_layer(layer, tensors, base, pruned, secure))

    held = {kind: draw(files.heldout) for kind, files in texts.items()}
    load_weights(model, base)
    dense = evaluate_kinds(model, held)["mix"]
    perplexities = []
    for store in (secure, plain):
        load_weights(model, store, LAYERS)
        perplexities.append(evaluate_kinds(model, held)["mix"])
    assert perplexities[0] == pytest.approx(perplexities[1], rel=0.002)
    assert perplexities[0] > 1.005 * dense  # pruning did something that could differ
