"""A mutant that reaches a private name says why no public one serves: a comment that begins with `Private`, in the same function."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

from conformance import mutants

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = sorted(Path(mutants.__file__).parent.glob("*.py"))
#: private names in the code that a mutant has as text, for a program of its own
IN_TEXT = re.compile(r"\b[a-z]\w*\.(_[a-z]\w*)")
#: the public methods of named tuples begin like private names
OF_NAMED_TUPLES = frozenset({"_replace", "_asdict", "_fields", "_make"})


def test_every_private_name_has_a_comment_that_says_why() -> None:
    missing = {
        f"{path.name}: {name}": found
        for path in MODULES
        for name, (found, comments) in functions(path.read_text(encoding="utf-8")).items()
        if found and not comments
    }

    assert missing == {}


def test_no_comment_stays_when_the_private_name_is_gone() -> None:
    outdated = {
        f"{path.name}: {name}": comments
        for path in MODULES
        for name, (found, comments) in functions(path.read_text(encoding="utf-8")).items()
        if comments and not found
    }

    assert outdated == {}


def test_names_are_found_wherever_a_mutant_can_write_them() -> None:
    source = (
        "import os\n"
        "from dynamic_mcp.config.load import _decode\n"
        "def attribute(): self._session = 1\n"
        "def nested():\n    # Private: a reason.\n    def wrong(self): self._a\n"
        "def text(): change('c._limit = None')\n"
        "class Own:\n    def method(self): return self._mine\n"
        "def public(): os._exit(2); parts._replace(query=''); self.__class__; message['_meta']\n"
    )

    assert {name: found for name, (found, _) in functions(source).items() if found} == {
        "line 2": ["_decode"],
        "attribute": ["_session"],
        "nested": ["_a"],
        "text": ["_limit"],
    }
    assert functions(source)["nested"] == (["_a"], ["# Private: a reason."])


def functions(source: str) -> dict[str, tuple[list[str], list[str]]]:
    """The private names and the comments about them, for each statement at the top of a module."""
    tree = ast.parse(source)
    foreign = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if not alias.name.startswith("dynamic_mcp")
    }
    comments = [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and token.string.startswith("# Private")
    ]
    return {
        getattr(node, "name", f"line {node.lineno}"): (
            sorted(set(private_names(node, foreign))),
            [text for line, text in comments if node.lineno <= line <= (node.end_lineno or node.lineno)],
        )
        for node in tree.body
    }


def private_names(node: ast.AST, foreign: set[str], *, in_class: bool = False) -> Iterator[str]:
    """Private names in attributes, imports and code as text; not those of `self` in a class of the module, and of foreign modules."""
    in_class = in_class or isinstance(node, ast.ClassDef)
    for child in ast.iter_child_nodes(node):
        yield from private_names(child, foreign, in_class=in_class)
    if isinstance(node, ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if is_private(node.attr) and owner not in foreign and not (in_class and owner == "self"):
            yield node.attr
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.name for alias in node.names if is_private(alias.name))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from IN_TEXT.findall(node.value)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in OF_NAMED_TUPLES
