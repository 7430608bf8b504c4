"""One institution's pruning with noise: clipped exactly, spent before it is drawn, and never more than is allowed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from transformers import PreTrainedModel

from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.messages import Identity
from fedspallm_secure.privacy import (
    Budget,
    Ledger,
    add_noise,
    public_scale,
    read_ledger,
    repair_diagonal,
    to_diagonal,
    to_matrix,
    whitened_diagonal,
    whitened_matrix,
    whole_scale,
)
from fedspallm_secure.pruning import (
    DecoderLayer,
    InputMoment,
    Method,
    PruneSettings,
    decoder_layers,
    layer_moments,
    prune,
)
from fedspallm_secure.runtime.private_pruning import PrivateInstitution, clipped_sums
from fedspallm_secure.runtime.public_text import PublicInput, PublicMoments, public_inputs
from tests.pruning.tiny_models import FAMILIES, LAYERS, calibration_windows, tiny_model

_SETTINGS = PruneSettings(block=8, device="cpu")
_METHODS: tuple[Method, ...] = ("sparsegpt", "wanda")
_SIGNER = Identity("hospital", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
_ROUNDS = [(0, 1, 2), (0, 2)]

_PUBLIC = calibration_windows(8, seed=99)

Entropy = Callable[[int], bytes]
Scale = Callable[[NDArray[Any]], NDArray[np.float64]]


def _inputs(method: Method, family: str = "llama", scale: Scale = public_scale) -> dict[int, list[PublicInput]]:
    return public_inputs(
        tiny_model(family),
        _PUBLIC,
        diagonal=method == "wanda",
        quantile=Fraction(1, 2),
        settings=_SETTINGS,
        scale=scale,
    )


def _beside(
    model: PreTrainedModel, method: Method, rounds: Sequence[Sequence[int]] = _ROUNDS, windows: torch.Tensor = _PUBLIC
) -> PublicMoments:
    return PublicMoments(model, windows, rounds, diagonal=method == "wanda", settings=_SETTINGS)


def _counted() -> Entropy:
    """The same bytes for the same call."""
    stream = iter(range(10**6))
    return lambda count: hashlib.shake_256(next(stream).to_bytes(8)).digest(count)


def _ledger(folder: Path, epsilon: str = "8") -> Ledger:
    return Ledger(folder / "ledger.jsonl", _SIGNER, Budget(epsilon=epsilon, delta="0.000001"))


def _institution(
    ledger: Ledger,
    method: Method = "wanda",
    entropy: Entropy = os.urandom,
    epsilon: str = "8",
    model: PreTrainedModel | None = None,
) -> PrivateInstitution:
    return PrivateInstitution(
        ledger,
        data="letters",
        run="0" * 64,
        inputs=_inputs(method),
        public=_beside(model or tiny_model(), method),
        rounds=_ROUNDS,
        epsilon=epsilon,
        entropy=entropy,
    )


def _prune(
    one: PrivateInstitution,
    method: Method,
    windows: torch.Tensor,
    number: int = 0,
    model: PreTrainedModel | None = None,
) -> None:
    prune(
        model or tiny_model(),
        windows,
        method=method,
        pattern=parse_pattern("0.5"),
        settings=_SETTINGS,
        layers=_ROUNDS[number],
        release=lambda layer, each: one.release(number, layer, each),
    )


def _all_windows(method: Method, windows: torch.Tensor, family: str) -> dict[int, list[list[InputMoment]]]:
    """Layer -> each window's moments, in the dense model."""
    found: dict[int, list[list[InputMoment]]] = {}

    def keep(layer: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
        found[layer.index] = list(each)
        return found[layer.index][0]

    list(layer_moments(tiny_model(family), windows, diagonal=method == "wanda", settings=_SETTINGS, release=keep))
    return found


def _squared_length(difference: NDArray[np.int64], part: PublicInput) -> int:
    """In whole numbers; elements off a matrix's diagonal count twice."""
    numbers = [int(number) for number in difference]
    if part.diagonal:
        return sum(number**2 for number in numbers)
    places = [row * part.inputs - row * (row - 1) // 2 for row in range(part.inputs)]
    return 2 * sum(number**2 for number in numbers) - sum(numbers[place] ** 2 for place in places)


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_window_more_or_less_moves_the_whole_numbers_of_every_sum_by_its_bound_at_most(
    method: Method, family: str
) -> None:
    inputs, each = _inputs(method, family), _all_windows(method, calibration_windows(5), family)
    longest = Fraction(0)
    for layer, windows in each.items():
        whole, _ = clipped_sums(inputs[layer], windows)
        for missing in range(len(windows)):
            rest, _ = clipped_sums(inputs[layer], windows[:missing] + windows[missing + 1 :])
            for total, less, part in zip(whole, rest, inputs[layer], strict=True):
                squared = _squared_length(total - less, part)
                assert 0 < squared <= part.clipping.bound**2
                longest = max(longest, Fraction(squared, part.clipping.bound**2))
    assert longest > Fraction(99, 100)  # the bound is in use


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("wrong", [inf, -inf, nan])
def test_a_window_whose_moments_are_no_numbers_counts_as_nothing(method: Method, wrong: float) -> None:
    inputs, each = _inputs(method), _all_windows(method, calibration_windows(3), "llama")
    windows = each[1]
    broken = [replace(moment, total=torch.full_like(moment.total, wrong)) for moment in windows[0]]
    without, _ = clipped_sums(inputs[1], windows)
    with_it, _ = clipped_sums(inputs[1], [broken, *windows])
    assert all(np.array_equal(one, other) for one, other in zip(without, with_it, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_module_sees_one_of_the_inputs_that_are_released(family: str) -> None:
    inputs = _inputs("wanda", family)
    assert list(inputs) == list(range(LAYERS))
    for layer in decoder_layers(tiny_model(family)):
        groups = [moments.linears for moments in _all_windows("wanda", calibration_windows(1), family)[layer.index][0]]
        assert [part.name for part in inputs[layer.index]] == [group[0].name for group in groups]
        assert {linear.name for group in groups for linear in group} == {linear.name for linear in layer.linears}


@pytest.mark.parametrize("method", _METHODS)
def test_the_ledger_has_exactly_the_releases_that_were_drawn_each_on_the_disk_before(
    tmp_path: Path, method: Method
) -> None:
    path = tmp_path / "ledger.jsonl"
    lines_when_drawn: list[int] = []

    def entropy(count: int) -> bytes:
        lines_when_drawn.append(len(path.read_bytes().splitlines()))
        return os.urandom(count)

    with _ledger(tmp_path) as ledger:
        one = _institution(ledger, method, entropy)
        for number in range(len(_ROUNDS)):
            _prune(one, method, calibration_windows(), number)
    spendings = read_ledger(path, _SIGNER.public).spendings
    assert [(spending.use.round, spending.use.method) for spending in spendings] == [
        (number, method) for number, layers in enumerate(_ROUNDS) for _ in layers
    ]
    inputs = _inputs(method)
    names = [[release.name for release in spending.use.releases] for spending in spendings]
    assert names == [[part.name for part in inputs[layer]] for layers in _ROUNDS for layer in layers]
    draws = 1 if method == "wanda" else 2  # a matrix's diagonal is drawn apart
    drawn = Counter(lines_when_drawn)
    assert drawn == {line + 2: draws * len(part) for line, part in enumerate(names)}
    assert one.releases == sum(map(len, names))


@pytest.mark.parametrize("epsilon", ["0.5", "1", "3.7", "8", "50"])
@pytest.mark.parametrize("method", _METHODS)
def test_all_releases_of_a_run_together_cost_its_epsilon_and_no_more(
    tmp_path: Path, method: Method, epsilon: str
) -> None:
    with _ledger(tmp_path, epsilon) as ledger:
        one = _institution(ledger, method, epsilon=epsilon)
        for number in range(len(_ROUNDS)):
            _prune(one, method, calibration_windows(), number)
        spent = Fraction(ledger.account.epsilon)
        assert Fraction("0.999") * Fraction(epsilon) < spent <= Fraction(epsilon)
        with pytest.raises(LocalProtocolError, match=r"the budget is .*, and .* is spent"):
            _prune(one, method, calibration_windows(), 1)


@pytest.mark.parametrize("method", _METHODS)
def test_a_run_that_ends_between_the_ledger_and_the_pruning_has_spent_the_layer(tmp_path: Path, method: Method) -> None:
    def ended(_: int) -> bytes:
        raise KeyboardInterrupt

    with _ledger(tmp_path) as ledger:
        one = _institution(ledger, method, ended)
        with pytest.raises(KeyboardInterrupt):
            _prune(one, method, calibration_windows())
    before = (tmp_path / "ledger.jsonl").read_bytes()
    assert len(read_ledger(tmp_path / "ledger.jsonl", _SIGNER.public).spendings) == 1
    with _ledger(tmp_path) as ledger:
        again = _institution(ledger, method, ended)
        planned = [again.use(number, layer) for number, layers in enumerate(_ROUNDS) for layer in layers]
        with pytest.raises(LocalProtocolError, match="With these 5 uses"):
            ledger.check(planned)
        ledger.check(planned[1:])
    assert (tmp_path / "ledger.jsonl").read_bytes() == before


def test_what_the_pruner_gets_is_the_sum_with_the_noise_of_the_ledger_drawn_towards_public_text(
    tmp_path: Path,
) -> None:
    each = _all_windows("wanda", calibration_windows(300), "llama")
    with _ledger(tmp_path, "50") as ledger:
        one = _institution(ledger, entropy=_counted(), epsilon="50")
        released = one.release(0, decoder_layers(tiny_model())[0], iter(each[0]))
        (spending,) = ledger.account.spendings
    inputs = _inputs("wanda")[0]
    sums, _ = clipped_sums(inputs, each[0])
    _, public = next(layer_moments(tiny_model(), _PUBLIC, diagonal=True, settings=_SETTINGS))
    entropy = _counted()
    for moment, total, release, part, beside in zip(released, sums, spending.use.releases, inputs, public, strict=True):
        noisy = total.copy()
        add_noise(noisy, Fraction(release.variance), entropy)
        assert part.scale is not None
        there = beside.total.numpy().astype(np.float64)
        expected = repair_diagonal(to_diagonal(noisy, release.clipping), release.deviation, there, part.scale)
        assert moment.total.dtype == torch.float32
        assert np.array_equal(moment.total.numpy(), expected.astype(np.float32))
        assert not torch.equal(moment.total, beside.total)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("method", _METHODS)
def test_what_noise_hides_altogether_is_pruned_just_as_from_public_text(
    tmp_path: Path, method: Method, family: str
) -> None:
    pattern = parse_pattern("0.5")
    for number, layers in enumerate(_ROUNDS):
        by_public, by_private = tiny_model(family), tiny_model(family)
        prune(by_public, _PUBLIC, method=method, pattern=pattern, settings=_SETTINGS, layers=layers)
        with _ledger(tmp_path / str(number), "0.01") as ledger:
            one = PrivateInstitution(
                ledger,
                data="letters",
                run="0" * 64,
                inputs=_inputs(method, family),
                public=_beside(by_private, method),
                rounds=_ROUNDS,
                epsilon="0.01",
                entropy=_counted(),
            )
            prune(
                by_private,
                calibration_windows(6),
                method=method,
                pattern=pattern,
                settings=_SETTINGS,
                layers=layers,
                release=partial(one.release, number),
            )
        for name, weight in by_public.state_dict().items():
            assert torch.equal(weight, by_private.state_dict()[name]), name


@pytest.mark.parametrize("method", _METHODS)
def test_public_moments_are_those_of_the_model_as_it_is_by_then_whoever_pruned_it(method: Method) -> None:
    model, other = tiny_model(), tiny_model()
    beside = _beside(model, method, rounds=[(0, 1, 2), (1, 2)])
    expected: list[torch.Tensor] = []

    def seen(layer: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
        moments = list(each)[-1]
        for moment, public in zip(moments, beside.at(0, layer.index), strict=True):
            assert [linear.name for linear in moment.linears] == [linear.name for linear in public.linears]
            expected.append(public.total)
        return moments

    prune(
        model,
        calibration_windows(),
        method=method,
        pattern=parse_pattern("0.5"),
        settings=_SETTINGS,
        release=seen,
    )
    assert expected
    for name, weight in model.state_dict().items():
        other.state_dict()[name].copy_(weight)
    again = layer_moments(other, _PUBLIC, diagonal=method == "wanda", settings=_SETTINGS)
    now = [moment.total for _, moments in again for moment in moments]
    dense = layer_moments(tiny_model(), _PUBLIC, diagonal=method == "wanda", settings=_SETTINGS)
    before = [moment.total for _, moments in dense for moment in moments]
    inputs = len(now) // LAYERS
    # The first input of a layer is not touched by pruning that layer, only by what came before it.
    for index in range(0, len(now), inputs):
        assert torch.equal(expected[index], now[index])
        assert torch.equal(expected[index], before[index]) == (index == 0)
    assert torch.equal(beside.at(1, 2)[0].total, now[2 * inputs])  # another round, after a layer that was not asked for


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", _METHODS)
def test_scales_and_bounds_are_of_the_public_windows_themselves(method: Method, family: str) -> None:
    each = _all_windows(method, _PUBLIC, family)
    fine, coarse = _inputs(method, family), _inputs(method, family, whole_scale)
    for layer, windows in each.items():
        for index, (one, other) in enumerate(zip(fine[layer], coarse[layer], strict=True)):
            moments = [window[index].total.numpy() for window in windows]
            whiten = whitened_diagonal if method == "wanda" else whitened_matrix
            for part in (one, other):
                white = [whiten(moment, part.scale).astype(np.float64) for moment in moments]
                lengths = sorted(float(np.linalg.norm(moment)) for moment in white)
                bound = part.clipping.bound * 2.0**part.clipping.exponent
                assert lengths[3] * (1 - 1e-6) <= bound <= lengths[3] * (1 + 1e-3)
            total = np.sum(moments, axis=0)
            squares = total if method == "wanda" else np.diagonal(total)
            mean = squares / _PUBLIC.numel()
            assert one.scale == pytest.approx(np.maximum(mean, mean.mean() / 1024), rel=1e-5)
            whole = np.sqrt(other.scale) * 2**16
            assert (whole == np.rint(whole)).all()
            assert whole.max() == 2**16
            assert other.scale == pytest.approx(one.scale / one.scale.max(), rel=2**-4)


@pytest.mark.parametrize("method", _METHODS)
def test_hardly_any_noise_prunes_nearly_as_clipped_sums_without_noise_do(tmp_path: Path, method: Method) -> None:
    inputs = _inputs(method)

    def no_noise(layer: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
        sums, moments = clipped_sums(inputs[layer.index], each)
        return [
            replace(moment, total=torch.from_numpy(_plain(total, part)).float(), tokens=1)
            for moment, total, part in zip(moments, sums, inputs[layer.index], strict=True)
        ]

    def kept(model: PreTrainedModel, release: Callable[..., list[InputMoment]]) -> torch.Tensor:
        pattern = parse_pattern("0.5")
        prune(model, windows, method=method, pattern=pattern, settings=_SETTINGS, release=release)
        return torch.cat(
            [(linear.matrix() != 0).flatten() for layer in decoder_layers(model) for linear in layer.linears]
        )

    # The largest epsilon there is, few releases and many windows: the noise is small beside the sums.
    windows = calibration_windows(600)
    with _ledger(tmp_path, "50") as ledger:
        model = tiny_model()
        one = PrivateInstitution(
            ledger,
            data="a",
            run="0" * 64,
            inputs=inputs,
            public=_beside(model, method, [(0, 1, 2)], calibration_windows(8, seed=98)),
            rounds=[(0, 1, 2)],
            epsilon="50",
            entropy=_counted(),
        )
        same = kept(tiny_model(), no_noise) == kept(model, lambda layer, each: one.release(0, layer, each))
    assert same.float().mean() > (0.97 if method == "wanda" else 0.85)


def _plain(total: NDArray[np.int64], part: PublicInput) -> NDArray[np.float64]:
    """A sum that is not whitened any more."""
    assert part.scale is not None
    if part.diagonal:
        return to_diagonal(total, part.clipping) * part.scale
    root = np.sqrt(part.scale)
    return to_matrix(total, part.inputs, part.clipping) * root[:, None] * root
