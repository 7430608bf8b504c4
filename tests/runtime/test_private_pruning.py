"""One institution's pruning with noise: clipped exactly, spent before it is drawn, and never more than is allowed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.messages import Identity
from fedspallm_secure.privacy import Budget, Ledger, read_ledger, to_diagonal, to_matrix
from fedspallm_secure.pruning import (
    DecoderLayer,
    InputMoment,
    Method,
    PruneSettings,
    decoder_layers,
    layer_moments,
    prune,
)
from fedspallm_secure.runtime.private_pruning import PrivateInstitution, PublicInput, clipped_sums, public_inputs
from tests.pruning.tiny_models import FAMILIES, LAYERS, calibration_windows, tiny_model

_SETTINGS = PruneSettings(block=8, device="cpu")
_METHODS: tuple[Method, ...] = ("sparsegpt", "wanda")
_SIGNER = Identity("hospital", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
_ROUNDS = [(0, 1, 2), (0, 2)]

Entropy = Callable[[int], bytes]


def _inputs(method: Method, family: str = "llama") -> dict[int, list[PublicInput]]:
    return public_inputs(
        tiny_model(family),
        calibration_windows(8, seed=99),
        diagonal=method == "wanda",
        quantile=Fraction(1, 2),
        settings=_SETTINGS,
    )


def _ledger(folder: Path, epsilon: str = "8") -> Ledger:
    return Ledger(folder / "ledger.jsonl", _SIGNER, Budget(epsilon=epsilon, delta="0.000001"))


def _institution(
    ledger: Ledger, method: Method = "wanda", entropy: Entropy = os.urandom, family: str = "llama", epsilon: str = "8"
) -> PrivateInstitution:
    return PrivateInstitution(
        ledger,
        data="letters",
        run="0" * 64,
        inputs=_inputs(method, family),
        rounds=_ROUNDS,
        epsilon=epsilon,
        entropy=entropy,
    )


def _prune(
    one: PrivateInstitution, method: Method, windows: torch.Tensor, number: int = 0, family: str = "llama"
) -> None:
    prune(
        tiny_model(family),
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


def test_what_the_pruner_gets_is_the_sum_with_the_noise_of_the_ledger_repaired(tmp_path: Path) -> None:
    each = _all_windows("wanda", calibration_windows(6), "llama")
    with _ledger(tmp_path) as ledger:
        one = _institution(ledger)
        released = one.release(0, decoder_layers(tiny_model())[0], iter(each[0]))
        (spending,) = ledger.account.spendings
    sums, _ = clipped_sums(_inputs("wanda")[0], each[0])
    for moment, total, release in zip(released, sums, spending.use.releases, strict=True):
        assert moment.tokens == 1
        assert moment.total.dtype == torch.float32
        assert (moment.total >= release.deviation * 0.999).all()
        truth = total * 2.0**release.exponent
        off = np.abs(moment.total.numpy() - np.maximum(truth, release.deviation))
        assert (off <= 10 * release.deviation).all()
        assert off.max() > 0.1 * release.deviation


@pytest.mark.parametrize("method", _METHODS)
def test_hardly_any_noise_prunes_nearly_as_clipped_sums_without_noise_do(tmp_path: Path, method: Method) -> None:
    inputs = _inputs(method)

    def no_noise(layer: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
        sums, moments = clipped_sums(inputs[layer.index], each)
        totals = [
            to_diagonal(total, part.clipping) if part.diagonal else to_matrix(total, part.inputs, part.clipping)
            for total, part in zip(sums, inputs[layer.index], strict=True)
        ]
        return [replace(m, total=torch.from_numpy(t).float(), tokens=1) for m, t in zip(moments, totals, strict=True)]

    def kept(release: Callable[..., list[InputMoment]]) -> torch.Tensor:
        model = tiny_model()
        pattern = parse_pattern("0.5")
        prune(model, windows, method=method, pattern=pattern, settings=_SETTINGS, release=release)
        return torch.cat(
            [(linear.matrix() != 0).flatten() for layer in decoder_layers(model) for linear in layer.linears]
        )

    # The largest epsilon there is, few releases and many windows: the noise is small beside the sums.
    windows = calibration_windows(600)
    stream = iter(range(10**6))

    def entropy(count: int) -> bytes:
        return hashlib.shake_256(next(stream).to_bytes(8)).digest(count)

    with _ledger(tmp_path, "50") as ledger:
        one = PrivateInstitution(
            ledger, data="a", run="0" * 64, inputs=inputs, rounds=[(0, 1, 2)], epsilon="50", entropy=entropy
        )
        same = kept(no_noise) == kept(lambda layer, each: one.release(0, layer, each))
    assert same.float().mean() > (0.97 if method == "wanda" else 0.85)
