"""Every configuration in the documentation is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dynamic_mcp.config.load import parse

from .pages import PAGES

_BLOCKS = [
    (page, number, text)
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"^```json(?: [^\n]*)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    )
    if '"mcpServers"' in text
]


@pytest.mark.parametrize(
    ("page", "text"),
    [(page, text) for page, _, text in _BLOCKS],
    ids=[f"{page.name}-{n}" for page, n, _ in _BLOCKS],
)
def test_configuration_of_a_page_is_valid(page: Path, text: str) -> None:
    parse(text.encode(), page.name, {})
