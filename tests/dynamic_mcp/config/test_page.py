"""The page about the configuration documents every field of the schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dynamic_mcp.config.load import parse, schema

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
DEFINITIONS = json.loads(schema())["$defs"]


@pytest.mark.parametrize("section", ["server", "securityForAll"])
def test_every_field_has_a_row(section: str) -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))

    assert DEFINITIONS[section]["properties"].keys() <= rows


@pytest.mark.parametrize("section", ["features", "tools", "timeout", "limits"])
def test_every_inner_field_is_named(section: str) -> None:
    assert [name for name in DEFINITIONS[section]["properties"] if name not in PAGE] == []


@pytest.mark.parametrize("example", re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
def test_example_is_a_valid_configuration(example: str) -> None:
    assert parse(example.encode(), "page", {}).servers


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.json")), ids=lambda path: path.stem)
def test_example_files_are_valid_configurations(path: Path) -> None:
    url = "http://127.0.0.1:8931/mcp"
    environment = {"FILES_FOLDER": "/", "TICKETS_KEY": "k", "TICKETS_URL": url, "NOTES_URL": url}
    config = parse(path.read_bytes(), path.name, environment)

    assert config.servers
    assert config.warnings == ()
    assert f"({path.name})" in (ROOT / "examples" / "README.md").read_text()
