"""`fedspallm audit` in its four forms: what it prints, and the exit code that scripts act on."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from unittest.mock import patch

import pytest

from fedspallm_secure.cli import main
from fedspallm_secure.messages import Envelope, canonical
from tests.audit.recorded import checkpoint, copy_of, model_folder, record
from tests.rounds.synthetic import Run

_COMMAND = Path(sys.executable).parent / "fedspallm"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two rounds."""
    return record(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def here(run: Run) -> Path:
    """Its transcript."""
    return run.transcript.folder


@pytest.fixture(scope="module")
def base(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its base model."""
    return model_folder(run, run.base, tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def entries(run: Run) -> list[Envelope]:
    """Its log."""
    return run.entries()


def audit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What the installed command does, in this process: starting one takes seconds."""
    words = ["fedspallm", "audit", *map(str, arguments)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    handler = signal.getsignal(signal.SIGINT)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch.object(sys, "argv", words):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        finally:
            signal.signal(signal.SIGINT, handler)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def refused(done: subprocess.CompletedProcess[str], code: int, part: str) -> None:
    """Assert that the command ended with `code` and one message that holds `part`."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr[done.stderr.index("error: ") :]
    assert message.count("\n") == 2
    assert part in message


def test_the_help_lists_all_four_forms_and_the_exit_codes() -> None:
    done = audit("--help")
    assert done.returncode == 0
    for form in ("DIR", "compare", "prove", "check-proof"):
        assert f"\n  {form} " in done.stdout
    said = " ".join(done.stdout.split())
    assert "0 all holds, 1 something does not, 2 wrong arguments, 3 the evidence is incomplete" in said
    assert audit().returncode == 2


def test_a_transcript_that_holds_ends_with_0_and_the_time_and_bytes_it_took(here: Path, base: Path) -> None:
    done = audit(here, "--base", base, "--depth", "full")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("VERIFIED: ")
    assert "Not proven" in done.stdout
    assert " bytes in " in done.stdout
    assert "audit, full depth" in done.stderr


def test_options_may_come_before_the_folder_and_the_format_is_for_machines_too(here: Path, base: Path) -> None:
    done = audit("--format", "json", "--base", base, here)
    assert done.returncode == 0
    verdict = json.loads(done.stdout)
    assert (verdict["status"], verdict["depth"], verdict["exit_code"]) == ("verified", "public", 0)


def test_without_the_base_model_the_evidence_is_incomplete(here: Path) -> None:
    done = audit(here)
    assert done.returncode == 3
    assert done.stdout.startswith("INCOMPLETE: ")


def test_a_damaged_transcript_fails_a_check_and_is_no_error(here: Path, tmp_path: Path) -> None:
    copy = copytree(here, tmp_path / "copy")
    log = copy / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"a", b"b", 1))
    command = [str(_COMMAND), "audit", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("form", "begin"), [("text", "INCOMPLETE: "), ("json", "{\n"), ("html", "<!doctype html>")])
def test_a_verdict_goes_into_a_file_that_is_never_replaced(form: str, begin: str, here: Path, tmp_path: Path) -> None:
    out = tmp_path / "verdict"
    done = audit(here, "--format", form, "--out", out)
    assert (done.returncode, done.stdout) == (3, "")
    assert "INCOMPLETE: no check failed" in done.stderr
    assert f"It is in {out}." in done.stderr
    made = out.read_bytes()
    assert made.decode().lower().startswith(begin.lower())
    refused(audit(here, "--out", out), 2, f"There is a file {out} already")
    assert out.read_bytes() == made
    refused(audit(here, "--format", form, "--out", tmp_path / "none" / "verdict"), 9, "can't be written")


def test_folders_that_are_not_there_are_wrong_arguments(here: Path, tmp_path: Path) -> None:
    refused(audit(tmp_path / "none"), 2, "none can't be read")
    refused(audit(tmp_path), 2, "holds no transcript")
    refused(audit(here, "--base", tmp_path / "none"), 2, "none can't be read")
    refused(audit(here, "--model", tmp_path), 2, "config.json can't be read")
    refused(audit("compare", here, tmp_path / "none"), 2, "none can't be read")
    refused(audit("prove", tmp_path, "--institution", "i0", "--out", tmp_path / "x"), 2, "There is no charter.json")
    assert audit(here, "--depth", "deep").returncode == 2
    assert audit("--depth", "full").returncode == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_named_like_a_form_is_given_by_its_path(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("compare", "DIR"):
        copytree(here, tmp_path / name)
    for path in ("./compare", "DIR"):
        assert audit(path).returncode == 3


def test_a_fork_is_printed_with_both_checkpoints_and_who_signed_both(
    run: Run, here: Path, entries: list[Envelope], tmp_path: Path
) -> None:
    other = [*entries[:30], *entries[31:]]
    note = checkpoint(run, other[:60], ("i1", "i4"))
    fork = copy_of(run, tmp_path / "fork", other, {"0001.note": note})
    done = audit("compare", here, fork)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("FORK: coordinator signed two logs")
    for path in (here, fork):
        assert f"entry 30 of {path / 'log.jsonl'}: " in done.stdout
    for shown in (note, run.transcript.checkpoint(0).read_text()):
        assert "\n".join(f"    {line}" for line in shown.split("\n")) in done.stdout
    assert done.stdout.endswith("Signed both: coordinator, i1, i4\n")
    assert audit("compare", here, here).returncode == 0
    early = copy_of(run, tmp_path / "early", entries[:9])
    done = audit("compare", early, here)
    assert (done.returncode, done.stdout.split("\n")[0]) == (
        0,
        f"CONSISTENT: one log continues the other. They have 9 and {len(entries)} entries; the second has more.",
    )
    changed = audit("compare", here, copy_of(run, tmp_path / "changed", other))
    assert changed.returncode == 3
    assert changed.stdout.startswith("UNPROVEN: ")
    assert "it is no evidence against the keeper" in changed.stdout


def test_two_runs_are_not_compared(here: Path, run: Run, entries: list[Envelope], tmp_path: Path) -> None:
    other = copy_of(run, tmp_path / "other", entries)
    (other / "charter.json").write_bytes(canonical(run.charter.model_copy(update={"run": "another"})))
    refused(audit("compare", here, other), 2, "These are two runs")


def test_a_receipt_is_made_and_checked_alone(here: Path, run: Run, tmp_path: Path) -> None:
    receipt, charter = tmp_path / "i2.tlog-proof", tmp_path / "charter.json"
    made = audit("prove", here, "--institution", "i2", "--round", "1", "--sum", "values", "--out", receipt)
    assert made.returncode == 0, made.stderr
    charter.write_text(run.charter.model_dump_json(indent=2))
    done = audit("check-proof", receipt, "--charter", charter)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Proven: i2 signed a contribution to the values of round 1, ")
    assert "cosigned by i0, i1, i2, i3, i4" in done.stdout
    assert "Not proven: that it was added up" in done.stdout
    for tensor in run.charter.base.pruned:
        assert f"  {tensor.name}: " in done.stdout
    refused(audit("prove", here, "--institution", "i2", "--out", receipt), 2, "already")
    receipt.write_bytes(receipt.read_bytes().replace(b"index ", b"index 1", 1))
    refused(audit("check-proof", receipt, "--charter", charter), 1, "The proof does not show entry 1")
    refused(audit("check-proof", tmp_path / "none", "--charter", charter), 2, "none can't be read")
    refused(audit("prove", here, "--institution", "i9", "--out", tmp_path / "x"), 2, "no institution 'i9'")


def test_what_a_forged_transcript_says_can_not_move_the_cursor(
    run: Run, here: Path, entries: list[Envelope], tmp_path: Path
) -> None:
    note = checkpoint(run, [*entries[:30], *entries[31:60]]) + "— \x1b[2Jstranger AAAAAAAA\n"
    fork = copy_of(run, tmp_path / "fork", [*entries[:30], *entries[31:]], {"0001.note": note})
    done = audit("compare", here, fork)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "[U+001B][2Jstranger" in done.stdout


@pytest.mark.parametrize("form", ["DIR", "compare", "check-proof"])
def test_an_auditor_needs_jinja2_for_a_page_only_and_no_torch(
    form: str, here: Path, base: Path, tmp_path: Path
) -> None:
    receipt = tmp_path / "i2.tlog-proof"
    audit("prove", here, "--institution", "i2", "--out", receipt)
    arguments = {
        "DIR": [here, "--base", base, "--depth", "full"],
        "compare": ["compare", here, here],
        "check-proof": ["check-proof", receipt, "--charter", here / "charter.json"],
    }[form]
    program = f"""if True:
        import sys
        sys.modules |= dict.fromkeys(["torch", "transformers", "flwr", "datasets", "jinja2"])
        sys.argv = ["fedspallm", "audit", *{[str(argument) for argument in arguments]!r}]
        from fedspallm_secure.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
