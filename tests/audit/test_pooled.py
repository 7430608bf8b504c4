"""An honest run that pooled statistics is verified, and sums or models that do not belong there are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.audit import Depth, audit
from fedspallm_secure.charter import sign_charter
from fedspallm_secure.messages import Envelope, ModelStatement, SumName
from tests.audit.forging import SERVER, Change, Forgery, edit, edited, failed, find, rewritten, written
from tests.audit.honest_transcript import Honest, everybody, model_folder
from tests.rounds.pooled_runs import PooledRun, PooledSetting
from tests.rounds.vanishing import vanish

_TINY = PooledSetting(clients=3, shapes=((4, 6), (2, 6), (4, 8)))
_FOUR = replace(_TINY, clients=4, minimum_cohort=4, dropouts=1)  # 3 of the 4 must be left


def _record(setting: PooledSetting, folder: Path, when: dict[str, str] | None = None) -> Honest:
    """All rounds of a setting; in the first one somebody may vanish."""
    run = PooledRun(setting, folder)
    current = run.base
    with pytest.MonkeyPatch.context() as monkeypatch:
        vanish(monkeypatch, run, when or {})
        for number in range(run.charter.rounds):
            plan = run.plan(number)
            _, current = run.round(plan, current, run.measure(plan))
    run.transcript.write_charter(run.charter, sign_charter(run.charter, everybody(run)))
    base, model = model_folder(run, run.base, folder / "base-model"), model_folder(run, current, folder / "model")
    return Honest(run, run.transcript.folder, base, model)


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    """SparseGPT, a round a layer, the first input's matrix kept back."""
    return _record(replace(_TINY, kept_back=1), tmp_path_factory.mktemp("layers"))


@pytest.mark.parametrize(
    ("setting", "when"),
    [
        (replace(_TINY, kept_back=1), None),
        (replace(_TINY, exchange="once", schedule=("0.25", "0.5")), None),
        (replace(_TINY, method="wanda"), None),
        (replace(_FOUR, exchange="once"), {"i1": "shares"}),
        (replace(_FOUR, exchange="once", dropout_margin=1), {"i1": "proofs votes"}),
        (_FOUR, {"i1": "proofs votes"}),
        (replace(_FOUR, exchange="once", dropout_margin=1), {"i1": "shares"}),
        (replace(_FOUR, exchange="once"), {"i1": "sums votes"}),
    ],
)
def test_an_honest_run_is_verified_at_both_depths(
    setting: PooledSetting, when: dict[str, str] | None, tmp_path: Path
) -> None:
    honest = _record(setting, tmp_path, when)
    for depth, checks in (("public", 19), ("full", 21)):
        verdict = honest.audited(depth=depth)  # type: ignore[arg-type]
        assert [(f.number, f.evidence) for f in verdict.findings if f.status != "ok"] == []
        assert (verdict.status, verdict.exit_code, len(verdict.findings)) == ("verified", 0, checks)
        assert verdict.model == honest.run.result.model


@pytest.mark.parametrize("depth", ["public", "full"])
def test_without_the_base_model_what_hangs_on_it_is_skipped_and_the_rest_holds(layers: Honest, depth: Depth) -> None:
    verdict = audit(layers.folder, depth=depth)
    assert {finding.number for finding in verdict.skipped} == {"A16", "A17"}
    assert (verdict.failed, verdict.exit_code) == ((), 3)


@pytest.mark.parametrize("with_base", [False, True])
def test_progress_comes_to_exactly_its_end(layers: Honest, with_base: bool) -> None:
    told: list[tuple[int, int]] = []
    base = layers.base if with_base else None
    audit(layers.folder, depth="full", base=base, progress=lambda done, total: told.append((done, total)))
    # Two rounds of two inputs and the operator's lane; four looks at each, and with the base the model's two.
    total = 2 * (3 * 4 + 2 * with_base)
    assert told == [(done, total) for done in range(1, total + 1)]


def test_another_model_than_the_one_stated_is_found_tensor_by_tensor(layers: Honest, tmp_path: Path) -> None:
    verdict = audit(layers.folder, depth="full", base=layers.base, model=layers.base)
    assert failed(verdict) == {"A19"}


# What somebody signs anew.


def _other_sum(name: SumName, lane: int, change: Callable[[NDArray[Any]], None]) -> Change:
    """Digits of a published sum of the first round are changed; the payload is stored."""

    def altered(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
        at = find(honest, "sums", name)
        message = honest.messages()[at]
        assert message.kind == "sums"
        lanes, of, blobs = list(message.lanes), honest.run.plan().context.lanes[lane], honest.run.transcript.blobs
        packing, length = of.packing(name), of.length if name == "votes" else of.most_values
        digits = packing.unpack(blobs.get(lanes[lane].blob), length).copy()
        change(digits)
        lanes[lane] = lanes[lane].model_copy(update={"blob": blobs.put(packing.pack(digits))})
        return edited(honest, entries, at, lanes=tuple(lanes))

    return altered


def _one_less(digits: NDArray[Any]) -> None:
    digits[2] -= 1


def _words_of_a_matrix_kept_back(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """The server publishes something where nothing was sent."""
    at = find(honest, "sums", "values")
    message = honest.messages()[at]
    assert message.kind == "sums"
    assert message.lanes[0].words == 0
    blob = honest.run.transcript.blobs.put(np.zeros(1, np.uint64))
    first = message.lanes[0].model_copy(update={"words": 1, "blob": blob})
    return edited(honest, entries, at, lanes=(first, *message.lanes[1:]))


def _everybody_states_another_model(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    for at, message in enumerate(honest.messages()):
        if isinstance(message, ModelStatement) and message.round == 1:
            entries = edited(honest, entries, at, model="ab" * 32)
    return entries


_EVERYBODY = ("i0", "i1", "i2")

_FORGERIES = {
    "a diagonal": Forgery(_other_sum("votes", 0, _one_less), {"A6", "A21"}),
    "a diagonal of the other input": Forgery(_other_sum("votes", 1, _one_less), {"A6", "A21"}),
    "a matrix": Forgery(_other_sum("values", 1, _one_less), {"A6", "A21"}),
    "a matrix that was kept back": Forgery(_words_of_a_matrix_kept_back, {"A6", "A14"}),
    "one statement": Forgery(edit("model", None, "i1", model="ab" * 32), {"A18"}, ("i1", *SERVER), ("i1",)),
    "every statement of the last round": Forgery(
        _everybody_states_another_model, {"A17"}, (*_EVERYBODY, *SERVER), _EVERYBODY
    ),
}


@pytest.mark.parametrize("name", _FORGERIES)
def test_what_is_signed_anew_contradicts_what_others_signed(layers: Honest, name: str, tmp_path: Path) -> None:
    forgery = _FORGERIES[name]
    changed = forgery.change(layers, layers.entries())
    assert changed != layers.entries()
    verdict = layers.audited(rewritten(layers, tmp_path / "rewritten", changed, forgery.colluders))
    assert verdict.exit_code == 1
    assert forgery.checks <= failed(verdict), verdict.failed
    assert set(verdict.at_fault) == set(forgery.at_fault)
    copied = layers.audited(written(layers, tmp_path / "written", changed))
    assert "A7" in failed(copied)


@pytest.mark.parametrize("name", ["a diagonal", "a matrix"])
def test_a_false_sum_is_found_without_the_payloads_of_institutions_too(
    layers: Honest, name: str, tmp_path: Path
) -> None:
    changed = _FORGERIES[name].change(layers, layers.entries())
    verdict = layers.audited(rewritten(layers, tmp_path / "rewritten", changed), "public")
    assert "A6" in failed(verdict)
    assert failed(verdict) & {"A10", "A14", "A15", "A18"}
    assert verdict.at_fault == SERVER


def _stored(folder: Path, blob: str, change: Callable[[bytearray], None]) -> None:
    """Change a payload where it lies, without a key."""
    path = folder / "blobs" / blob
    data = bytearray(path.read_bytes())
    change(data)
    path.chmod(0o600)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(("of", "lane"), [("votes", 0), ("votes", 1), ("values", 1)])
def test_a_published_sum_that_is_changed_where_it_lies_is_no_longer_the_one_that_was_signed(
    layers: Honest, of: str, lane: int, tmp_path: Path
) -> None:
    folder = layers.copy(tmp_path / "copy")
    message = layers.messages()[find(layers, "sums", of)]
    assert message.kind == "sums"
    _stored(folder, message.lanes[lane].blob, lambda data: data.__setitem__(5, data[5] ^ 1))
    verdict = layers.audited(folder)
    assert failed(verdict) == {"A14"}
    assert verdict.at_fault == ()
