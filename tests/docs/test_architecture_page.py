"""The drawing of the layers has every module and package that is directly in the proxy's package."""

from __future__ import annotations

import re

from .pages import ROOT, fences


def test_drawing_has_every_module() -> None:
    _, _, drawing = next(fences(ROOT / "docs" / "architecture.md"))
    known = {
        path.stem
        for path in (ROOT / "dynamic_mcp").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert sorted(known - set(re.findall(r"\w+", drawing)) - {"__init__"}) == []
