"""A whole run with privacy on: it says what it cost, costs no more than that, and tells nothing else it could keep."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest
import torch

from fedspallm_secure.charter import Charter
from fedspallm_secure.evaluation import Results
from fedspallm_secure.messages import digest
from fedspallm_secure.privacy import Account, Gaussian, epsilon_together, multiplier_for, read_ledger
from fedspallm_secure.runtime.config import load_config
from fedspallm_secure.runtime.model import load_tokenizer
from fedspallm_secure.runtime.windows import load_windows
from tests.runtime.conftest import COMMAND, ENVIRONMENT, Fedspallm
from tests.runtime.private_runs import private_configuration
from tests.runtime.test_bad_input import refused

_LAYERS = 3
_INPUTS = 4  # of a layer: what q, k and v see, o, gate and up, down


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, tiny: Path, texts: dict[str, Path]) -> Path:
    return private_configuration(tmp_path_factory.mktemp("private"), tiny, texts)


def _options(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def _done(fedspallm: Fedspallm, configuration: Path, out: Path, *settings: str) -> Results:
    done = fedspallm("simulate", configuration, "--out", out, *_options(*settings))
    assert done.returncode == 0, done.stderr
    return Results.model_validate_json((out / "results.json").read_bytes())


def _account(results: Results, ledgers: Path, name: str) -> Account:
    assert results.privacy is not None
    return read_ledger(ledgers / f"{name}.jsonl", results.privacy.institutions[name].key)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("pruning.method=sparsegpt", "privacy.public_windows=1"), True),
        (("pruning.method=sparsegpt", "privacy.public_windows=40"), False),
        (("pruning.method=wanda", "privacy.public_windows=1"), False),
        (("pruning.method=sparsegpt", "privacy.public_windows=1", "protocol.aggregate=statistics"), False),
    ],
)
def test_too_little_public_text_for_a_matrix_is_said_before_anything_is_spent(
    private: Path, fedspallm: Fedspallm, tmp_path: Path, settings: tuple[str, ...], said: bool
) -> None:
    done = fedspallm("simulate", private, "--out", tmp_path / "out", *_options(*settings))
    assert done.returncode == 0, done.stderr
    assert ("tokens of public text are few" in done.stderr) is said
    if said:
        assert "Raise privacy.public_windows, 1 now, to several times" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("setting", "code", "parts"),
    [
        ("privacy.public_windows=9000000", 5, ["privacy.public: 9000000 windows of 32 tokens need 288000000 tokens"]),
        ("privacy.public=/no/such/file.txt", 5, ["/no/such/file.txt"]),
        ("privacy.public_windows=0", 2, ["privacy.public_windows"]),
    ],
)
def test_public_text_that_is_too_short_or_missing_is_named(
    private: Path, fedspallm: Fedspallm, tmp_path: Path, setting: str, code: int, parts: list[str]
) -> None:
    refused(fedspallm("simulate", private, "--out", tmp_path / "out", "--set", setting), code, *parts)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_run_with_noise_prunes_as_asked_and_says_what_its_ledgers_say(
    private: Path, texts: dict[str, Path], fedspallm: Fedspallm, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "out"
    results = _done(fedspallm, private, out, f"pruning.method={method}")
    assert set(results.sparsity.values()) == {0.5}
    assert results.privacy is not None
    assert (results.privacy.epsilon, results.privacy.delta, results.privacy.unit) == ("8", "0.000001", "window")
    assert set(results.privacy.institutions) == set(texts)
    charter = Charter.model_validate_json((out / "transcript" / "charter.json").read_bytes())
    for name, spent in results.privacy.institutions.items():
        account = _account(results, out / "ledgers", name)
        assert (spent.head.lines, spent.head.digest) == (account.head.lines, account.head.digest)
        assert spent.epsilon == account.epsilon
        assert Fraction("7.999") < Fraction(spent.epsilon) <= 8
        uses = [spending.use for spending in account.spendings]
        assert len(uses) == _LAYERS
        assert {(use.run, use.round, use.method) for use in uses} == {(digest(charter), 0, method)}
        assert spent.releases == sum(len(use.releases) for use in uses) == _LAYERS * _INPUTS
        assert spent.multiplier is not None
        for use in uses:
            assert list(use.not_covered) == results.privacy.not_covered
            for release in use.releases:
                assert release.variance == ceil((Fraction(spent.multiplier) * release.bound) ** 2)
        twice = epsilon_together([Gaussian(spent.multiplier / 2, spent.releases)], 1e-6)
        assert float(results.privacy.epsilon_exchanged) == pytest.approx(twice, abs=0.02)
    card, report = ((out / place).read_text(encoding="utf-8") for place in ("model/README.md", "report.html"))
    assert "Differential privacy: epsilon 8 at delta 0.000001" in card
    assert "no guarantee" not in card
    assert f"| letters | 8 | 0.000001 | {results.privacy.institutions['letters'].multiplier:.2f} | 12 | " in card
    assert "<h2>Differential privacy</h2>" in report
    assert results.privacy.institutions["letters"].head.digest[:16] in report


def test_with_noise_no_tokens_and_no_loss_are_sent(private: Path, fedspallm: Fedspallm, tmp_path: Path) -> None:
    (told,) = _done(fedspallm, private, tmp_path / "out", "pruning.method=sparsegpt").telemetry
    assert (told.institutions, told.tokens, told.mean_loss) == (3, 0, 0.0)
    assert told.mean_clipped is not None
    assert "are not sent" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_without_noise_nothing_changes_and_no_ledger_is_made(
    configuration: Path, fedspallm: Fedspallm, tmp_path: Path
) -> None:
    quick = ("evaluation.alone=false", "evaluation.central=false")
    plain = _done(fedspallm, configuration, tmp_path / "plain", *quick)
    off = _done(fedspallm, configuration, tmp_path / "off", *quick, 'privacy.epsilon="inf"', 'privacy.clip="0.9"')
    assert plain.model_digest == off.model_digest
    assert plain.privacy is off.privacy is None
    assert not (tmp_path / "off" / "ledgers").exists()
    card, report = (
        (tmp_path / "off" / place).read_text(encoding="utf-8") for place in ("model/README.md", "report.html")
    )
    assert "Pruning gives no guarantee of differential privacy." in card
    assert "Differential privacy" not in report


def test_both_rounds_of_a_schedule_and_only_the_layers_that_an_institution_prunes_count(
    private: Path, texts: dict[str, Path], fedspallm: Fedspallm, tmp_path: Path
) -> None:
    four = tmp_path / "four.toml"
    source = private.parent / "poems.jsonl"
    lines = ["[[institution]]", 'name = "small"', f'calibration = "{source}"', 'capacity = "0.34"']
    lines += ["[[institution]]", 'name = "none"', f'calibration = "{source}"', 'capacity = "0.1"']
    four.write_text("\n".join([private.read_text(encoding="utf-8"), *lines]), encoding="utf-8")
    ledgers = tmp_path / "ledgers"
    results = _done(fedspallm, four, tmp_path / "out", 'pruning.pattern=["0.25", "0.5"]', f'privacy.ledger="{ledgers}"')
    assert results.privacy is not None
    for name, spent in results.privacy.institutions.items():
        pruned = [
            (number, layer)
            for number, layers in enumerate(results.cohorts)
            for layer, cohort in enumerate(layers)
            if name in cohort
        ]
        uses = [spending.use for spending in _account(results, ledgers, name).spendings]
        assert [use.round for use in uses] == [number for number, _ in pruned]
        assert all(f"layers.{layer}." in use.releases[0].name for use, (_, layer) in zip(uses, pruned, strict=True))
        assert spent.releases == _INPUTS * len(pruned)
        if pruned:
            assert Fraction("7.999") < Fraction(spent.epsilon) <= 8
        else:
            assert (spent.multiplier, spent.epsilon) == (None, "0")
    none, small, letters = (results.privacy.institutions[name] for name in ("none", "small", "letters"))
    assert none.releases == 0 < small.releases < letters.releases
    assert 0 < (small.multiplier or 0) < (letters.multiplier or 0)


def test_a_second_run_with_the_same_ledgers_and_nothing_left_is_refused_before_anything_is_drawn(
    private: Path, fedspallm: Fedspallm, tmp_path: Path
) -> None:
    ledgers = tmp_path / "ledgers"
    again = ("simulate", private, "--out", tmp_path / "again", *_options(f'privacy.ledger="{ledgers}"'))
    _done(fedspallm, private, tmp_path / "out", f'privacy.ledger="{ledgers}"')
    before = {path.name: path.read_bytes() for path in ledgers.iterdir()}
    refused(fedspallm(*again), 7, "letters has not enough privacy left for this run", "the budget is 8, and 8.000000")
    assert {path.name: path.read_bytes() for path in ledgers.iterdir()} == before
    assert not list(tmp_path.glob("again*"))
    refused(fedspallm(*again, *_options('privacy.budget="20"')), 2, "with a budget of epsilon 8 at delta 0.000001")


def test_runs_within_one_budget_go_on_with_the_ledgers_of_those_before(
    private: Path, fedspallm: Fedspallm, tmp_path: Path
) -> None:
    ledgers = tmp_path / "ledgers"
    settings = ('privacy.epsilon="3"', 'privacy.budget="5"', f'privacy.ledger="{ledgers}"')
    first = _done(fedspallm, private, tmp_path / "first", *settings)
    second = _done(fedspallm, private, tmp_path / "second", *settings)
    before, after = _account(first, ledgers, "poems"), _account(second, ledgers, "poems")
    assert after.spendings[:_LAYERS] == before.spendings[:_LAYERS]
    assert len(after.spendings) == 2 * _LAYERS
    assert first.privacy is not None
    assert second.privacy is not None
    assert Fraction(first.privacy.institutions["poems"].epsilon) <= 3
    assert 4 < Fraction(second.privacy.institutions["poems"].epsilon) <= 5
    options = _options(*settings)
    refused(fedspallm("simulate", private, "--out", tmp_path / "third", *options), 7, "not enough privacy left")


def test_what_a_killed_run_spent_stands_and_it_goes_on_where_the_budget_has_room(
    private: Path, fedspallm: Fedspallm, tmp_path: Path
) -> None:
    ledgers, out = tmp_path / "ledgers", tmp_path / "out"
    # The last institution's ledger is spent from last, so the run is killed while that one prunes, or just before.
    settings = ("pruning.method=sparsegpt", 'privacy.budget="20"', f'privacy.ledger="{ledgers}"')
    command = [COMMAND, "simulate", str(private), "--out", str(out), *_options(*settings)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        watched = ledgers / "ledger.jsonl"
        until = time.monotonic() + 120
        while running.poll() is None and time.monotonic() < until:
            if watched.exists() and len(watched.read_bytes().splitlines()) > 1:
                running.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        assert running.wait() == -signal.SIGKILL
    before = {path.name: path.read_bytes() for path in ledgers.iterdir()}
    assert len(before["letters.jsonl"].splitlines()) == 1 + _LAYERS
    results = _done(fedspallm, private, out, *settings)
    for path in ledgers.iterdir():
        assert path.read_bytes().startswith(before[path.name])
    assert (ledgers / "letters.jsonl").read_bytes() == before["letters.jsonl"]
    account = _account(results, ledgers, "ledger")
    assert _LAYERS <= len(account.spendings) <= _LAYERS + 1  # one layer at most was lost
    assert Fraction(account.epsilon) < 20
    assert results.privacy is not None
    assert results.privacy.institutions["ledger"].releases == _LAYERS * _INPUTS


def test_each_calibration_window_is_of_a_document_of_its_own_and_heldout_ones_of_others(private: Path) -> None:
    config = load_config(private)
    tokenizer = load_tokenizer(config.model)
    windows = load_windows(config, tokenizer, lambda done, total: None)
    for member in config.institution:
        lines = Path(member.calibration[0]).read_text(encoding="utf-8").splitlines()
        ids = [tokenizer(json.loads(line)["text"], add_special_tokens=False)["input_ids"] for line in lines]
        mine = [*windows.calibration[member.name], *windows.heldout[member.label]]
        assert len(mine) == 8
        documents = [
            [i for i, whole in enumerate(ids) if torch.equal(window, torch.tensor(whole[:32]))] for window in mine
        ]
        assert sorted(len(found) for found in documents) == [1] * 8
        assert len({found[0] for found in documents}) == 8


def test_a_model_alone_is_pruned_without_noise_and_noise_is_never_drawn_from_the_seed(
    private: Path, fedspallm: Fedspallm, tmp_path: Path
) -> None:
    # With less epsilon so few windows drown: all prune as from public text, and every run gives the same model.
    settings = ("evaluation.alone=true", "evaluation.central=true", 'privacy.epsilon="50"')
    one = _done(fedspallm, private, tmp_path / "one", *settings)
    other = _done(fedspallm, private, tmp_path / "other", *settings)
    assert one.perplexity.alone == other.perplexity.alone
    assert one.perplexity.central == other.perplexity.central
    assert one.model_digest != other.model_digest


def test_too_few_documents_are_refused_with_what_to_do(
    configuration: Path, fedspallm: Fedspallm, tmp_path: Path
) -> None:
    done = fedspallm("simulate", configuration, "--out", tmp_path / "out", *_options('privacy.epsilon="8"'))
    refused(done, 5, "6 windows of 64 tokens, each of a document of its own", "a .txt file is one document")


def test_the_page_on_privacy_says_what_an_exchanged_window_costs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
    costs = []
    for epsilon in (1, 2, 4, 8):
        half = multiplier_for(epsilon, 1e-6, 12) / 2
        costs.append(f"{ceil(100 * epsilon_together([Gaussian(half, 12)], 1e-6)) / 100:.2f}")
    assert f"For 1, 2, 4 and 8 at δ = 10⁻⁶ it is {', '.join(costs[:3])} and {costs[3]}." in page
