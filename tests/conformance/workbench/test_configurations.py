"""The configuration of a check in the form of another program."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.errors import NotApplicable
from conformance.model.profile_tables import ConfigTable
from conformance.workbench.configurations import entry_in, rendered, translated


def test_members_get_the_names_and_places_of_the_profile() -> None:
    config = ConfigTable(
        servers="mcp.servers",
        rename={"url": "serverUrl", "oauth_client_id": "auth.clientId"},
        drop=("description",),
    )
    entry = {"description": "x", "url": "http://a", "oauth_client_id": "me"}
    text = rendered(config, {"a": entry}, {"log": "debug"})
    expected = {"serverUrl": "http://a", "auth": {"clientId": "me"}}
    assert json.loads(text) == {"mcp": {"servers": {"a": expected}}, "log": "debug"}


@pytest.mark.parametrize(
    ("config", "timeout", "expected"),
    [
        (ConfigTable(), {"tools": "1s"}, {"timeout": {"tools": "1s"}}),
        (ConfigTable(units="milliseconds"), "1s", {"timeout": 1000}),
        (ConfigTable(units="seconds"), "1m 30s", {"timeout": 90}),
        (ConfigTable(units="seconds"), "500ms", {"timeout": 0.5}),
        (ConfigTable(units="milliseconds"), {"tools": "2s"}, {"timeout": 2000}),
        (
            ConfigTable(units="seconds", rename={"timeout": "limits.call"}),
            {"tools": "2s"},
            {"limits": {"call": 2}},
        ),
        (
            ConfigTable(units="seconds", rename={"timeout.start": "startup", "timeout.tools": "call"}),
            {"start": "3s", "tools": "1s"},
            {"startup": 3, "call": 1},
        ),
        (ConfigTable(units="seconds"), "soon", {"timeout": "soon"}),
        (ConfigTable(units="seconds"), "", {"timeout": ""}),
        (ConfigTable(rename={"timeout": "requestTimeout"}), "30s", {"requestTimeout": "30s"}),
    ],
)
def test_a_timeout_has_the_units_of_the_program(config: ConfigTable, timeout: Any, expected: Any) -> None:
    assert entry_in(config, {"timeout": timeout}) == expected


@pytest.mark.parametrize(
    ("config", "entry", "reason"),
    [
        (ConfigTable(drop=("features",)), {"features": {}}, "'features' of a server"),
        (ConfigTable(units="seconds"), {"timeout": {"start": "1s"}}, "timeouts for start"),
        (ConfigTable(variables=False), {"args": ["${HOME}"]}, "no variables"),
    ],
)
def test_what_the_program_lacks_does_not_apply(
    config: ConfigTable, entry: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NotApplicable, match=reason):
        rendered(config, {"a": entry}, None)


def test_a_text_of_the_check_is_translated_if_it_is_a_configuration() -> None:
    config = ConfigTable(servers="servers")
    whole = translated(config, '{"mcpServers": {"a": {}}, "x": 1}')
    assert json.loads(whole) == {"servers": {"a": {}}, "x": 1}
    for text in ("{bad", "[]", '{"mcpServers": 1}', b"\xff"):
        assert translated(config, text) == text
    assert translated(ConfigTable(), b'{"mcpServers": {}}') == b'{"mcpServers": {}}'


def test_a_text_without_a_difference_keeps_its_members_that_are_there_twice() -> None:
    text = '{"mcpServers": {"a": {"command": "x", "command": "y"}}}'
    assert translated(ConfigTable(drop=("cwd",)), text) == text


def test_a_dropped_table_is_missing_for_all_servers_too() -> None:
    config = ConfigTable(drop=("security",))
    with pytest.raises(NotApplicable, match="'security' for all servers"):
        rendered(config, {"a": {"command": "x"}}, {"security": {"require_https": True}})
