"""An honest run is verified, whoever vanished in it; what is missing of a transcript is never taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fedspallm_secure.audit import Depth, Verdict, audit
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.messages import canonical
from tests.audit.honest_transcript import ENCRYPTED, TINY, Honest, record
from tests.rounds.synthetic import Setting
from tests.rounds.vanishing import AT_ONCE

_FOUR = Setting(clients=4, layers=1, shapes=((4, 4),), minimum_cohort=4, dropouts=1)  # 3 of the 4 must be left
_MASKS = replace(_FOUR, method="wanda")
_WITNESSED = replace(_FOUR, witness="auditor")
_ENCRYPTED = replace(_FOUR, ckks=True)
_ENCRYPTED_MASKS = replace(_MASKS, ckks=True)


@dataclass(frozen=True)
class _Case:
    """An honest run.

    Attributes:
        setting: of the run.
        when: who vanishes.
        rare: messages that it must hold, in brief.
        witness_gone: whether the witness never comes.
    """

    setting: Setting
    when: Mapping[str, str] = field(default_factory=dict)
    rare: str | None = None
    witness_gone: bool = False

    def record(self, folder: Path) -> Honest:
        return record(self.setting, folder, self.when, witness_gone=self.witness_gone)


_HONEST = {
    "nobody vanishes": _Case(TINY),
    "masks alone": _Case(_MASKS),
    "one never comes": _Case(_FOUR, {"i1": AT_ONCE}),
    "one vanishes before it shared": _Case(_MASKS, {"i1": "advertised"}),
    "one vanishes before it voted": _Case(_FOUR, {"i1": "shares"}),
    "one vanishes before it confirmed": _Case(_FOUR, {"i1": "survivors votes"}, "unproven votes"),
    "a witness of the counts, and values again": _Case(_WITNESSED, {"i1": "sums votes"}, "again"),
    "a witness of the values": _Case(_WITNESSED, {"i1": "sums values"}, "attest values"),
    "the witness never comes": _Case(_WITNESSED, {"i1": "confirmed votes"}, "unproven votes", witness_gone=True),
    "nobody can check the values": _Case(_FOUR, {"i1": "confirmed values"}, "unproven values"),
    "one never states the model": _Case(_FOUR, {"i1": "proofs values"}),
    "two rounds": _Case(replace(TINY, schedule=("0.25", "0.5"))),
    "two rounds of masks": _Case(replace(TINY, method="wanda", schedule=("0.25", "0.5"))),
    "two rounds, one vanishes in the first": _Case(replace(_MASKS, schedule=("0.25", "0.5")), {"i1": "shares"}),
    "cohorts by layer": _Case(
        Setting(clients=4, layers=3, shapes=((4, 8), (2, 4)), capacities=("1", "1", "1", "0.7"), minimum_cohort=3)
    ),
    "a pattern in groups": _Case(replace(TINY, schedule=("2:4",))),
    "half precision": _Case(replace(TINY, dtype="bfloat16")),
    "encrypted votes": _Case(ENCRYPTED, rare="counted"),
    "encrypted masks": _Case(_ENCRYPTED_MASKS, rare="counted"),
    "encrypted, one vanishes before it encrypted": _Case(_ENCRYPTED_MASKS, {"i1": "shares"}),
    "encrypted, one vanishes before it confirmed": _Case(_ENCRYPTED, {"i1": "survivors votes"}),
    "encrypted, one vanishes before it released": _Case(_ENCRYPTED, {"i1": "confirmed votes"}, "proofs votes"),
    "encrypted, one vanishes before it proved": _Case(_ENCRYPTED, {"i1": "sums votes"}, "unproven votes"),
    "encrypted, and values again": _Case(_ENCRYPTED, {"i1": "proofs votes"}, "again"),
    "encrypted, nobody can check the values": _Case(_ENCRYPTED, {"i1": "confirmed values"}, "unproven values"),
    "encrypted, a witness of the values": _Case(replace(_WITNESSED, ckks=True), {"i1": "sums values"}, "attest values"),
    "encrypted, the witness can't help the counts": _Case(
        replace(_WITNESSED, ckks=True), {"i1": "sums votes"}, "unproven votes"
    ),
    "encrypted, two rounds": _Case(replace(ENCRYPTED, schedule=("0.25", "0.5"))),
    "encrypted, two rounds, one vanishes in the first": _Case(
        replace(_ENCRYPTED_MASKS, schedule=("0.25", "0.5")), {"i1": "confirmed votes"}
    ),
    "encrypted, cohorts by layer": _Case(
        Setting(clients=4, layers=3, shapes=((4, 8), (2, 4)), capacities=("1", "1", "1", "0.7"), ckks=True)
    ),
}


@pytest.mark.parametrize("name", _HONEST)
def test_an_honest_run_is_verified_at_both_depths(name: str, tmp_path: Path) -> None:
    case = _HONEST[name]
    honest = case.record(tmp_path)
    said = [f"{message.kind} {getattr(message, 'sum', '')}".strip() for message in honest.messages()]
    assert case.rare is None or case.rare in said
    for depth, checks in (("public", 19), ("full", 21)):
        verdict = honest.audited(depth=depth)  # type: ignore[arg-type]
        assert [(f.number, f.evidence) for f in verdict.findings if f.status != "ok"] == []
        checks += case.setting.ckks
        assert (verdict.status, verdict.exit_code, len(verdict.findings)) == ("verified", 0, checks)
        assert verdict.model == honest.run.result.model
        assert (verdict.log_size, len(verdict.events)) == (len(said), len(said))
        gone = {"i1"} if "i1" in case.when and len(case.setting.schedule) == 1 else set()
        assert {p.name for p in verdict.participants if p.cosigned} == set(honest.run.names) - gone


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(replace(TINY, schedule=("0.25", "0.5")), tmp_path_factory.mktemp("honest"))


@pytest.mark.parametrize("depth", ["public", "full"])
def test_without_the_models_what_hangs_on_them_is_skipped_and_the_rest_holds(honest: Honest, depth: Depth) -> None:
    neither = audit(honest.folder, depth=depth)
    assert {finding.number for finding in neither.skipped} == {"A16", "A17"}
    assert neither.exit_code == 3
    no_base = audit(honest.folder, depth=depth, model=honest.model)
    assert {finding.number for finding in no_base.skipped} == {"A16", "A17", "A19"}
    assert audit(honest.folder, depth=depth, base=honest.base).exit_code == 0


def test_what_an_audit_does_not_show_is_said(honest: Honest) -> None:
    public, full = audit(honest.folder), honest.audited()
    assert set(full.not_proven) < set(public.not_proven)
    assert any("full depth" in sentence for sentence in public.not_proven)
    assert any("no model was given" in sentence for sentence in public.not_proven)


def test_an_audit_changes_nothing_and_says_the_same_again(honest: Honest, tmp_path: Path) -> None:
    folder = honest.copy(tmp_path / "copy")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in before:
        path.chmod(0o400)
    first, again = honest.audited(folder), honest.audited(folder)
    assert replace(first, seconds=0.0) == replace(again, seconds=0.0)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_progress_comes_to_its_end(honest: Honest, tmp_path: Path) -> None:
    for run in (honest, record(ENCRYPTED, tmp_path)):
        told: list[tuple[int, int]] = []
        audit(run.folder, depth="full", base=run.base, progress=lambda done, total: told.append((done, total)))  # noqa: B023
        assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))


@pytest.mark.parametrize(
    "name",
    ["two rounds of masks", "a witness of the counts, and values again", "encrypted, one vanishes before it released"],
)
def test_a_log_cut_after_any_entry_is_incomplete_and_nobody_is_blamed(name: str, tmp_path: Path) -> None:
    honest = _HONEST[name].record(tmp_path)
    folder = honest.copy(tmp_path / "cut")
    for note in (folder / "checkpoints").iterdir():
        note.unlink()
    entries = honest.entries()
    for size in range(len(entries)):
        (folder / "log.jsonl").write_bytes(b"".join(canonical(entry) + b"\n" for entry in entries[:size]))
        verdict = honest.audited(folder)
        assert (size, verdict.status, verdict.failed) == (size, "incomplete", ())
        assert {"A7", "A8", "A18", "A19"} <= {finding.number for finding in verdict.skipped}


def test_a_cut_log_contradicts_the_checkpoint_that_was_signed(honest: Honest, tmp_path: Path) -> None:
    folder = honest.copy(tmp_path / "cut")
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    for size in range(0, len(lines), 3):
        (folder / "log.jsonl").write_bytes(b"".join(lines[:size]))
        verdict = honest.audited(folder)
        assert (size, [finding.number for finding in verdict.failed]) == (size, ["A7"])
        assert verdict.at_fault == ()  # whoever handed over the copy may have cut it


def test_a_transcript_that_lacks_a_part_is_not_verified_and_says_which(honest: Honest, tmp_path: Path) -> None:
    lacking = {
        "charter.json": ("failed", "A1"),
        "charter.signatures.json": ("failed", "A2"),
        "log.jsonl": ("failed", "A3"),
        "checkpoints/0001.note": ("incomplete", "A7"),
        "checkpoints/0002.note": ("incomplete", "A7"),
        "blobs": ("failed", "A14"),
    }
    for name, (status, check) in lacking.items():
        folder = honest.copy(tmp_path / name.replace("/", "-"))
        (folder / name).rename(tmp_path / f"away-{name.replace('/', '-')}")
        verdict = honest.audited(folder)
        found = {finding.number: finding for finding in verdict.findings}
        assert (name, verdict.status) == (name, status)
        assert found[check].status == ("failed" if status == "failed" else "skipped")
        assert verdict.at_fault == ()


def test_where_there_is_no_transcript_the_caller_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="holds no transcript"):
            audit(folder)


def test_the_verdict_names_what_each_contributed_to(tmp_path: Path) -> None:
    case = _HONEST["a witness of the counts, and values again"]
    verdict: Verdict = case.record(tmp_path).audited()
    by_name = {participant.name: participant for participant in verdict.participants}
    assert by_name["i0"].contributed == ("round 1 votes", "round 1 values")
    assert by_name["i1"].contributed == ("round 1 votes",)
    assert (by_name["auditor"].contributed, by_name["coordinator"].contributed) == ((), ())
    assert {by_name[name].role for name in ("i0", "auditor", "coordinator")} == {
        "institution",
        "witness",
        "coordinator",
    }
