"""The page of all requirements equals the registry, is complete, and is valid Markdown for any text."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from conformance.cli import main
from conformance.commands.requirements_page import PAGE, page
from conformance.model.registry import VERSION, Registry, Requirement
from conformance.mutants.described import wrong_implementations

if TYPE_CHECKING:
    from markdown_it.token import Token

ROOT = Path(__file__).parents[3]

#: a digest of what each version demands; a released version keeps its line, and the next one gets a new line
DEMANDS = {
    "1.0": "e50740e374d7af72",
    "1.1": "0b9b930111c9e545",
    "1.2": "60d49a11054f6949",
    "1.3": "3122bdc1261f08dd",
}

A_TEXT = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]))
    | st.text('-+*_#>=~|[]()<!&;:$\\"1.a `x')
).filter(str.strip)


def rendered(requirement: Requirement) -> list[Token]:
    text = page(Registry({requirement.id: requirement}, {requirement.family: "a family"}))
    return MarkdownIt("gfm-like", {"linkify": False}).parse(text)


def shown(tokens: list[Token]) -> list[str]:
    """What a reader sees, block by block, white space as one space."""
    blocks = []
    for block in tokens:
        inner = [token for token in block.children or () if token.type != "html_inline"]
        blocks.append("".join(" " if token.type == "softbreak" else token.content for token in inner))
    return [" ".join(block.split()) for block in blocks if block]


def test_the_page_equals_the_registry() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(Registry.load()), (
        "run: python -m conformance requirements"
    )


def test_demands_change_only_with_the_version() -> None:
    demanded = [
        (
            one.id,
            one.level,
            one.era,
            one.from_revision,
            one.reach,
            " ".join(one.statement.split()),
            one.retired,
        )
        for one in Registry.load()
    ]
    digest = hashlib.sha256(msgspec.json.encode(demanded)).hexdigest()[:16]
    assert DEMANDS[VERSION] == digest, (
        "raise conformance.model.registry.VERSION, if the last one was released"
    )


def test_every_link_within_the_page_has_a_target() -> None:
    text = page(Registry.load())
    anchors = set(re.findall(r'<a id="([^"]+)"></a>', text)) | {"documents"}
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert len(links) > len(Registry.load())
    assert set(links) <= anchors


def test_every_field_of_every_entry_is_shown() -> None:
    for requirement in Registry.load():
        seen = " ".join(shown(rendered(requirement)))
        for field in ("id", "level", "title", "statement", "observed", "timing", "conflict"):
            text = getattr(requirement, field) or ""
            assert " ".join(text.replace("`", "").split()) in seen, (requirement.id, field)
        for source in requirement.sources:
            assert source.place.replace("`", "") in seen
            assert (source.quote or "").replace("`", "") in seen
        for name, text in wrong_implementations()[requirement.id].items():
            assert name in seen
            assert text.replace("`", "").removesuffix(".") in seen


@given(A_TEXT)
def test_a_text_without_backticks_is_shown_as_it_is(text: str) -> None:
    plain = " ".join(text.replace("`", "x").split())
    requirement = Registry.load()["CFG-001"]
    changed = msgspec.structs.replace(requirement, statement=plain, observed=plain, title=plain, changed=())
    tokens = rendered(changed)
    assert {plain, f"CFG-001 {plain}", f"Observed: {plain}"} <= set(shown(tokens))
    html = [
        token.content for block in tokens for token in block.children or () if token.type == "html_inline"
    ]
    assert set(html) <= {'<a id="cfg">', '<a id="cfg-001">', "</a>"}


def test_check_compares_a_file_with_the_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "page.md"
    assert main(["requirements", "--check", str(file)]) == 2
    assert main(["requirements", str(file)]) == 0
    assert main(["requirements", "--check", str(file)]) == 0
    file.write_text(file.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    assert main(["requirements", "--check", str(file)]) == 1
    assert "run `python -m conformance requirements`" in capsys.readouterr().err


def test_a_dash_stands_for_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requirements", "-"]) == 0
    assert capsys.readouterr().out == page(Registry.load())
