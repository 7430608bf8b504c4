"""The documents say what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", ".venv-auditor", "out", "build"} & set(path.relative_to(ROOT).parts)
)


def test_commands_md_is_what_the_command_line_says_of_itself(tmp_path: Path) -> None:
    generated = tmp_path / "commands.md"
    options = ["utils", "docs", "--name", "fedspallm", "--title", "Commands", "--output", str(generated)]
    subprocess.run([Path(sys.executable).parent / "typer", "fedspallm_secure.cli.app", *options], check=True)
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == generated.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_every_command_of_the_readme_is_a_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets
    for target in targets:
        assert f"\n{target}: " in makefile


def test_every_key_of_the_configuration_is_documented_with_its_default() -> None:
    import tomllib

    from fedspallm_secure.runtime.config import RunConfig
    from fedspallm_secure.runtime.sections import InstitutionConfig

    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    documented = tomllib.loads(text.split("```toml")[1].split("```")[0])
    assert set(documented) == set(RunConfig.model_fields)
    assert set(documented["institution"][0]) == set(InstitutionConfig.model_fields)
    for section in ("pruning", "protocol", "privacy", "evaluation"):
        defaults = getattr(RunConfig.model_validate(documented), section).model_dump()
        fields = RunConfig.model_fields[section].default.model_dump()
        assert set(documented[section]) == set(fields)
        assert defaults == fields


def test_every_exit_code_is_documented() -> None:
    from fedspallm_secure import errors

    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in errors.__all__:
        code = getattr(errors, name).exit_code
        assert code == 1 or f"| {code} |" in text, name
