"""`fedspallm charter check` says what a charter promises, or which rule refuses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedspallm_secure.charter import Charter, Witness
from fedspallm_secure.messages import canonical, digest
from tests.charter.example_charter import example_charter, example_digest, example_parameters
from tests.runtime.conftest import Fedspallm
from tests.runtime.test_bad_input import refused


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The example charter, laid out for people."""
    path = tmp_path / "charter.json"
    path.write_text(example_charter().model_dump_json(indent=2), encoding="utf-8")
    return path


def _said(fedspallm: Fedspallm, folder: Path, charter: Charter) -> str:
    """What a charter that passes is said to promise, without line breaks."""
    path = folder / "charter.json"
    path.write_bytes(canonical(charter))
    done = fedspallm("charter", "check", path)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_what_is_promised_is_said_with_the_charters_numbers(fedspallm: Fedspallm, tmp_path: Path) -> None:
    said = _said(fedspallm, tmp_path, example_charter())
    for part in (
        "spring",
        digest(example_charter()),
        "4: aachen, berlin, celle, dresden",
        "nobody vouches for a sum that misses an institution",
        f"2 decoder layers, digest {digest(example_charter().base)}",
        "2, sparsegpt to 0.25, then 0.5",
        "only if 3 of 4 agree",
        "at most 1 of its cohort vanish",
        "1 institution and the server may pool",
        "votes of fewer than 2 others, nor of changes of fewer than 2",
        "only where 4 of its cohort or more keep it",
    ):
        assert part in said


def test_every_size_of_cohort_is_said_with_its_own_threshold(fedspallm: Fedspallm, tmp_path: Path) -> None:
    members = example_charter().roster
    small = members[0].model_copy(update={"name": "essen", "public_key": example_digest("essen"), "capacity": "0.5"})
    said = _said(fedspallm, tmp_path, example_charter(roster=(*members, small)))
    assert "only if 3 of 4, 4 of 5 agree" in said


def test_what_another_charter_does_not_promise_is_not_said(fedspallm: Fedspallm, tmp_path: Path) -> None:
    witness = Witness(name="auditor", public_key=example_digest("auditor"))
    parameters = example_parameters(dropouts=0)
    said = _said(fedspallm, tmp_path, example_charter(method="wanda", witness=witness, parameters=parameters))
    assert "auditor may vouch" in said
    assert "a sum needs every member of its cohort" in said
    assert "changes of fewer" not in said
    assert "only votes are summed: wanda changes no weight" in said


@pytest.mark.parametrize(
    ("charter", "code", "part"),
    [
        (example_charter(parameters=example_parameters(dropouts=2)), 6, "2 drop-outs leave fewer than the 3"),
        (example_charter(roster=example_charter().roster[:3]), 6, "3 institutions are fewer"),
        (example_charter(schedule=()), 6, "The schedule has no round"),
        (example_charter(schedule=("0.5", "half")), 6, "'half' is not a pruning pattern"),
        (example_charter(parameters=example_parameters(digits_per_word=32)), 6, "64-bit word"),
        (example_charter(parameters=example_parameters(colluders=0)), 6, "minimum_colluders: "),
    ],
)
def test_a_charter_that_a_rule_of_the_protocol_or_of_the_default_policy_refuses_ends_with_that_rule(
    fedspallm: Fedspallm, tmp_path: Path, charter: Charter, code: int, part: str
) -> None:
    (tmp_path / "charter.json").write_bytes(canonical(charter))
    done = fedspallm("charter", "check", tmp_path / "charter.json")
    refused(done, code, part)
    assert done.stdout == ""


def test_your_own_policy_decides_in_place_of_the_default_one(
    fedspallm: Fedspallm, written: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("witness_required = true", encoding="utf-8")
    refused(fedspallm("charter", "check", written, "--policy", policy), 6, "witness_required: ", "names no witness")
    policy.write_text("minimum_institutions = 4", encoding="utf-8")
    assert fedspallm("charter", "check", written, "--policy", policy).returncode == 0


def test_files_that_are_not_right_are_refused_as_arguments(fedspallm: Fedspallm, written: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    refused(fedspallm("charter", "check", tmp_path / "none.json"), 2, "none.json can't be read")
    refused(fedspallm("charter", "check", written, "--policy", policy), 2, "policy.toml can't be read")
    policy.write_text("minimum = 4", encoding="utf-8")
    refused(fedspallm("charter", "check", written, "--policy", policy), 2, "minimum: there is no such key")
    refused(fedspallm("charter", "check", policy), 2, "policy.toml is no charter")


def test_it_needs_no_torch(written: Path) -> None:
    program = f"""if True:
        import sys
        sys.modules |= {{"torch": None, "transformers": None}}
        sys.argv = ["fedspallm", "charter", "check", {str(written)!r}]
        from fedspallm_secure.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "spring" in done.stdout
