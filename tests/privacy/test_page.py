"""What the page on privacy shows is what its programs print."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

_PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
_SHOWN = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", _PAGE, re.DOTALL)


def test_every_program_of_the_page_is_shown_with_what_it_prints() -> None:
    assert len(_SHOWN) == _PAGE.count("```python") == 3


@pytest.mark.parametrize(("program", "printed"), _SHOWN, ids=["noise", "records", "ledger"])
def test_a_program_of_the_page_prints_what_is_shown(program: str, printed: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(program, {})
    assert out.getvalue() == printed
