"""The security page has a section for each documented weakness of dynamic-mcp, in order, with the quotation that it answers."""

from __future__ import annotations

import re

from conformance.model.registry import Registry

from .pages import ROOT


def test_each_requirement_has_its_section_with_its_quote() -> None:
    requirements = [one for one in Registry.load() if "HARD-001" <= one.id <= "HARD-013"]
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^## .+\n\n> (.+)$", page, re.MULTILINE)

    assert len(requirements) == 13
    assert len(quoted) == len(requirements)
    for requirement, quote in zip(requirements, quoted, strict=True):
        assert quote in {source.quote for source in requirement.sources}, requirement.id
