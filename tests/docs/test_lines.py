"""Lines of prose end at 140 columns. Rows of tables and blocks of code cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import PAGES, ROOT

LONGEST = 140
_GENERATED = {"CHANGELOG.md", "implementations.md", "requirements.md"}


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in _GENERATED],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_line_of_prose_is_not_too_long(page: Path) -> None:
    in_code, long = False, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        in_code ^= line.lstrip().startswith("```")
        if len(line) > LONGEST and not in_code and not line.startswith("|"):
            long.append(number)

    assert long == []
