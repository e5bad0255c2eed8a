"""Every check has a requirement, every requirement has a check, and the registry is valid."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from conformance.checks.loading import load_checks
from conformance.errors import HarnessError
from conformance.model.registry import REQUIREMENTS, Registry

if TYPE_CHECKING:
    from pathlib import Path


def test_there_are_400_requirements_in_13_families() -> None:
    registry = Registry.load()
    assert len(registry) == 448
    assert len(registry.families) == 13


def test_titles_are_unique() -> None:
    titles = [requirement.title for requirement in Registry.load()]
    assert len(set(titles)) == len(titles)


def test_every_check_has_an_entry() -> None:
    assert load_checks().keys() <= Registry.load().requirements.keys()


def test_every_entry_has_a_check_or_is_planned_or_retired() -> None:
    checks = load_checks()
    missing = [
        requirement.id
        for requirement in Registry.load()
        if requirement.id not in checks and not requirement.planned and requirement.retired is None
    ]
    assert missing == []


def test_an_entry_with_a_check_is_not_planned() -> None:
    registry = Registry.load()
    assert [id_ for id_ in load_checks() if registry[id_].planned] == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "requirements"
    target.mkdir()
    shutil.copy(REQUIREMENTS / "cfg.toml", target)
    return target


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "CFG-002"', 'id = "CFG-001"', r"cfg\.toml: CFG-001: id: already used"),
        ('id = "CFG-002"', 'id = "OPS-002"', r"cfg\.toml: OPS-002: id: does not belong to the family CFG"),
        ('id = "CFG-002"', 'id = "CFG-2"', r"cfg\.toml: CFG-2: id: is not of the form"),
        ('level = "DOC"', 'level = "WILL"', r"cfg\.toml: CFG-001: .*WILL.*level"),
        ('level = "DOC"', 'level = "MUST"', r"CFG-001: level: MUST needs a source besides the documents"),
        (
            'id = "CFG-035"\nlevel = "SHOULD"',
            'id = "CFG-035"\nlevel = "MUST"',
            r"CFG-035: level: MUST needs a source besides",
        ),
        ('why = "', 'why = " ", was = "', r"cfg\.toml: CFG-001: .*was"),
        ('era = "any"', 'era = "future"', r"cfg\.toml: CFG-001: .*future.*era"),
        ('era = "any"', 'era = "any"\nerra = 1', r"cfg\.toml: CFG-001: .*erra"),
        ('era = "any"\n', "", r"cfg\.toml: CFG-001: .*era"),
        ('reach = "dynamic-mcp"', 'reach = "gateway"', r"cfg\.toml: CFG-001: .*gateway.*reach"),
        ('reach = "dynamic-mcp"\n', "", r"cfg\.toml: CFG-001: .*reach"),
        (
            'quote = "User-specified path (no default discovery)"',
            "",
            r"CFG-001: sources\[1\]: .*must be quoted",
        ),
        (
            'quote = "User-specified path',
            f'quote = "{"word " * 26}',
            r"sources\[1\]: quote is longer than 25",
        ),
        ('title = "Without', f'title = "{"x" * 71}', r"CFG-001: title: is longer than 70"),
        ('family = "CFG"', 'family = "CFG', r"cfg\.toml: "),
    ],
)
def test_a_defect_is_reported_with_file_id_and_field(folder: Path, old: str, new: str, message: str) -> None:
    file = folder / "cfg.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new, 1)
    # An inline table must not end in a comma once its last field is gone.
    file.write_text(
        text.replace(', place = "Config File",  }', ', place = "Config File" }'), encoding="utf-8"
    )
    with pytest.raises(HarnessError, match=message):
        Registry.load(folder)


@pytest.mark.parametrize(
    ("document", "quote", "refused"),
    [
        ("MCP 2025-11-25", "the client MUST do this", False),
        ("RFC 7636", "code_challenge REQUIRED", False),
        ("MCP 2025-11-25", "the client SHOULD do this", True),
        ("MCP 2025-11-25", "the client must do this", True),
        ("WHATWG SSE", "the stream must be parsed", False),
        ("dynamic-mcp README.md", "this MUST hold", True),
        ("MCP 2025-11-25", None, True),
    ],
)
def test_a_must_has_a_quotation_that_obliges(
    folder: Path, document: str, quote: str | None, refused: bool
) -> None:
    file = folder / "cfg.toml"
    quoted = f', quote = "{quote}"' if quote else ""
    source = f'sources = [\n    {{ document = "RFC 6749", place = "x" }},\n    {{ document = "{document}", place = "x"{quoted} }},'
    text = file.read_text(encoding="utf-8").replace('level = "DOC"', 'level = "MUST"', 1)
    file.write_text(text.replace("sources = [", source, 1), encoding="utf-8")
    if not refused:
        assert Registry.load(folder)["CFG-001"].level == "MUST"
        return
    with pytest.raises(HarnessError, match=r"CFG-001: level: MUST needs a quotation with MUST"):
        Registry.load(folder)


def test_the_revision_that_introduced_a_requirement_is_known(folder: Path) -> None:
    file = folder / "cfg.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("reach =", 'from_revision = "2025-01-01"\nreach =', 1), encoding="utf-8")
    with pytest.raises(HarnessError, match=r"CFG-001: from_revision: is not one of 2024-11-05, "):
        Registry.load(folder)


def test_a_folder_without_requirements_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no requirement files"):
        Registry.load(tmp_path)
