"""The search for tools: which tools match some words, and in which order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from dynamic_mcp.frontend.ranking import rank


def tool(name: str, description: str, **members: Any) -> tuple[str, Raw]:
    definition = {"name": name, "description": description, "inputSchema": {}, **members}
    return name, Raw(json.dumps(definition).encode())


TOOLS = dict(
    [
        tool("theme_manage", "Changes the theme of the site"),
        tool("create_issue_comment", "Add a comment to an issue"),
        tool("create_issue", "Create a new issue in a repository. " + "It has a title and labels. " * 10),
        tool("list_issues", "List the issues of a repository"),
        tool("delete_file", "Deletes a file from the repository"),
        tool("create_pull_request", "Create a new pull request for a branch"),
        tool("list_pull_requests", "List the pull requests"),
        tool("getWeather", "Das Wetter einer Stra\u00dfe in M\u00fcnchen"),
        tool("read", "\u30d5\u30a1\u30a4\u30eb\u3092\u8aad\u307f\u53d6\u308a\u307e\u3059"),
        tool(
            "padhna",
            "\u092f\u0939 \u092b\u093c\u093e\u0907\u0932 \u092a\u0922\u093c\u0924\u093e \u0939\u0948",
        ),
        tool("run", "Runs it", inputSchema={"properties": {"sql": {"description": "the statement"}}}),
    ]
)


@pytest.mark.parametrize(
    ("search", "best"),
    [
        ("create issue", "create_issue"),
        ("creating issues", "create_issue"),
        ("issue comments", "create_issue_comment"),
        ("deleting files", "delete_file"),
        ("please open a new pull request for my branch", "create_pull_request"),
        ("theme", "theme_manage"),
        ("weather", "getWeather"),
        ("sql statements", "run"),
        ("STRASSE", "getWeather"),
        ("munchen", "getWeather"),
        ("\uff4d\uff55\uff4e\uff43\uff48\uff45\uff4e", "getWeather"),
        ("\u30d5\u30a1\u30a4\u30eb\u306e\u8aad\u307f", "read"),
        ("\u092b\u093c\u093e\u0907\u0932", "padhna"),
        ("epository fil", "delete_file"),
        ("DeleteFile", "delete_file"),
    ],
)
async def test_the_best_match_comes_first(search: str, best: str) -> None:
    assert (await rank(TOOLS, search))[0] == best


async def test_a_short_word_does_not_match_inside_of_words() -> None:
    assert "theme_manage" not in await rank(TOOLS, "hem comment")


async def test_weak_matches_are_left_out() -> None:
    assert await rank(TOOLS, "list pull requests") == ["list_pull_requests", "create_pull_request"]


async def test_no_match() -> None:
    assert await rank(TOOLS, "zebra") == []


@pytest.mark.parametrize("search", ["", "  ", "_-.,"])
async def test_a_search_without_a_word_matches_everything(search: str) -> None:
    assert await rank(TOOLS, search) == list(TOOLS)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"description":5,"title":[]}',
        b'{"description":"\\ud83d half"}',
        b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
async def test_odd_definitions_are_found_by_name(raw: bytes) -> None:
    assert await rank({"odd": Raw(raw), **TOOLS}, "odd") == ["odd"]


async def test_equal_matches_keep_their_order() -> None:
    tools = dict(tool(name, "Handles files") for name in ("c", "a", "b"))
    assert await rank(tools, "files") == ["c", "a", "b"]


async def test_a_search_has_a_bound_of_words() -> None:
    tools = dict([tool("a", "w63"), tool("b", "w64")])
    assert await rank(tools, " ".join(f"w{number}" for number in range(65))) == ["a"]
