"""Mistakes in reading the configuration."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import instances, mutant, replace
from dynamic_mcp.commands import terminal
from dynamic_mcp.config import duration, model
from dynamic_mcp.config.expand import Expander
from dynamic_mcp.config.load import SERVER_ENTRY, load, parse
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.frontend.tools import Toolbox
from dynamic_mcp.groups.group import Group
from dynamic_mcp.oauth.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamic_mcp.frontend.call import Call
    from dynamic_mcp.oauth.tokens import Tokens


@mutant("CFG-001")
def finds_a_configuration_by_itself() -> None:
    """The proxy falls back to files such as ./config.json."""
    right = terminal.config_path

    def wrong(argument: str | None, environment: Mapping[str, str]) -> str | None:
        places = (Path("config.json"), Path("dynamic-mcp.json"), Path.home() / ".dynamic-mcp/config.json")
        return right(argument, environment) or next((str(place) for place in places if place.exists()), None)

    replace(right, wrong)


@mutant("CFG-001")
def finds_the_file_of_other_programs() -> None:
    """The proxy falls back to .mcp.json."""
    right = terminal.config_path

    def wrong(argument: str | None, environment: Mapping[str, str]) -> str | None:
        return right(argument, environment) or (".mcp.json" if Path(".mcp.json").exists() else None)

    replace(right, wrong)


@mutant("CFG-002")
def the_environment_beats_the_argument() -> None:
    right = terminal.config_path
    replace(
        right,
        lambda argument, environment: environment.get("DYNAMIC_MCP_CONFIG") or right(argument, environment),
    )


@mutant("CFG-003")
def ignores_the_environment_variable() -> None:
    replace(terminal.config_path, lambda argument, environment: argument)


@mutant("CFG-004")
def wants_a_name_that_ends_in_json() -> None:
    right = load

    def wrong(path: Path, environment: Mapping[str, str]) -> model.Config:
        if path.suffix != ".json":
            raise ConfigError(f"{path}: is not a .json file")
        return right(path, environment)

    replace(right, wrong)


@mutant("CFG-005")
def takes_a_broken_file_for_an_empty_one() -> None:
    """The proxy starts without servers."""
    right = parse

    def wrong(data: bytes, *more: Any) -> model.Config:
        try:
            msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return model.Config(servers=())
        return right(data, *more)

    replace(right, wrong)


@mutant("CFG-005")
def takes_comments() -> None:
    _change_text(rb"//[^\n]*|/\*.*?\*/", b"")


@mutant("CFG-005")
def takes_trailing_commas() -> None:
    _change_text(rb",(\s*[}\]])", rb"\1")


def _change_text(pattern: bytes, by: bytes) -> None:
    """Replace a pattern outside of strings before the reference reads the configuration."""
    right = parse
    known = re.compile(rb'"(?:[^"\\]|\\.)*"|' + pattern, re.DOTALL)

    def wrong(data: bytes, *more: Any) -> model.Config:
        return right(known.sub(lambda one: one[0] if one[0][:1] == b'"' else one.expand(by), data), *more)

    replace(right, wrong)


@mutant(
    "CFG-006",
    also=dict.fromkeys(
        ("CFG-007", "CFG-008", "CFG-016", "CFG-022"), "a mistake is in a disabled entry there too"
    ),
)
def looks_at_no_disabled_entry() -> None:
    def wrong(entry: dict[str, Any]) -> None:
        if entry.get("enabled") is False:
            entry.clear()
            entry.update(description="", command="x", enabled=False)

    _change_entries(wrong)


@mutant("CFG-006")
def a_missing_description_becomes_empty() -> None:
    _change_entries(lambda entry: entry.setdefault("description", ""))


@mutant("CFG-007")
def only_the_top_level_is_strict() -> None:
    known = {field.encode_name for field in msgspec.structs.fields(SERVER_ENTRY)}

    def wrong(entry: dict[str, Any]) -> None:
        for name in set(entry) - known:
            del entry[name]

    _change_entries(wrong)


@mutant("CFG-007")
def entries_with_a_url_may_have_any_member() -> None:
    known = {field.encode_name for field in msgspec.structs.fields(SERVER_ENTRY)}

    def wrong(entry: dict[str, Any]) -> None:
        for name in set(entry) - known if "url" in entry else ():
            del entry[name]

    _change_entries(wrong)


@mutant("CFG-008")
def takes_the_command_of_an_entry_with_both() -> None:
    _change_entries(lambda entry: entry.pop("url") if {"command", "url"} <= entry.keys() else None)


@mutant("CFG-008")
def ignores_type_sse_beside_a_command() -> None:
    _change_entries(
        lambda entry: entry.pop("type") if "command" in entry and entry.get("type") == "sse" else None
    )


@mutant("CFG-008")
def an_unknown_type_is_ignored() -> None:
    _change_entries(lambda entry: entry.pop("type", None))


@mutant(
    "CFG-009",
    also=dict.fromkeys(("CFG-011", "CFG-012"), "a reference inside of a text is not found there either"),
)
def expands_only_whole_values() -> None:
    right = Expander.__call__

    def wrong(self: Expander, text: str, place: str) -> str:
        return right(self, text, place) if re.fullmatch(r"\$\{\w+\}", text) else text

    replace(right, wrong)


@mutant("CFG-009")
def leaves_the_client_id_as_it_is() -> None:
    """`oauth_client_id` is not expanded."""
    right = Expander.__call__

    def wrong(self: Expander, text: str, place: str) -> str:
        return text if place.endswith(".oauth_client_id") else right(self, text, place)

    replace(right, wrong)


@mutant(
    "CFG-010",
    also={"CFG-013": "one of the values holds $HOME", "HARD-010": "an argument behind the prefix is $HOME"},
)
def expands_like_a_shell() -> None:
    """`$HOME` is replaced too."""
    right = Expander.__call__
    replace(right, lambda self, text, place: os.path.expandvars(right(self, text, place)))


@mutant("CFG-011")
def is_silent_about_undefined_variables() -> None:
    """dmcp 1.5.0 behaves like this."""
    replace(Expander.warnings, lambda self: [])


@mutant("CFG-012")
def takes_an_empty_variable_for_an_undefined_one() -> None:
    right = Expander.__init__

    def wrong(self: Expander, environment: Mapping[str, str]) -> None:
        right(self, {name: value for name, value in environment.items() if value})

    replace(right, wrong)


@mutant("CFG-013")
def expands_what_it_has_expanded() -> None:
    right = Expander.__call__
    replace(right, lambda self, text, place: right(self, right(self, text, place), place))


@mutant("CFG-014")
def starts_disabled_servers_too() -> None:
    _change_entries(lambda entry: entry.pop("enabled", None))


@mutant("CFG-015")
def a_feature_flag_hides_but_still_forwards() -> None:
    """dmcp 1.5.0 behaves like this: its call_tool does not look at the flag."""
    groups, right = instances(Group), Toolbox.run

    async def wrong(self: Toolbox, call: Call) -> bytes:
        if call.read("name", str) == CALL:
            for group in groups:
                group.define(msgspec.structs.replace(group.server, features=model.Features()))
        return await right(self, call)

    replace(right, wrong)


@mutant("CFG-015", also={"FRONT-135": "a group without prompts has some"})
def ignores_a_feature_flag_of_prompts() -> None:
    def wrong(data: bytes, *arguments: Any) -> model.Config:
        config = right(data, *arguments)
        servers = [
            msgspec.structs.replace(one, features=msgspec.structs.replace(one.features, prompts=True))
            for one in config.servers
        ]
        return msgspec.structs.replace(config, servers=tuple(servers))

    right = parse
    replace(right, wrong)


@mutant("CFG-016")
def takes_numbers_for_milliseconds() -> None:
    right = duration.seconds
    replace(right, lambda value: right(value) / 1000 if isinstance(value, int) else right(value))


@mutant("CFG-016")
def takes_fractions_of_seconds() -> None:
    def wrong(entry: dict[str, Any]) -> None:
        for kind, value in entry.get("timeout", {}).items():
            entry["timeout"][kind] = int(value) if isinstance(value, float) else value

    _change_entries(wrong)


@mutant("CFG-016")
def knows_no_hours() -> None:
    """The proxy behaved like this before version 1.3 of the requirements."""
    right = duration.seconds
    replace(right, lambda value: right(value.replace("h", " h") if isinstance(value, str) else value))


@mutant("CFG-017")
def writes_the_configuration_back() -> None:
    right = load

    def wrong(path: Path, environment: Mapping[str, str]) -> model.Config:
        loaded = right(path, environment)
        path.write_bytes(msgspec.json.format(path.read_bytes(), indent=4))
        return loaded

    replace(right, wrong)


@mutant("CFG-017")
def stores_the_token_in_the_configuration() -> None:
    loaded: list[Path] = []
    right, save = load, FileStore.save

    def remember(path: Path, environment: Mapping[str, str]) -> model.Config:
        loaded.append(path)
        return right(path, environment)

    def wrong(self: FileStore, tokens: Tokens) -> None:
        save(self, tokens)
        whole = msgspec.json.decode(loaded[-1].read_bytes())
        for entry in whole["mcpServers"].values():
            if "url" in entry:
                entry["headers"] = {"Authorization": f"Bearer {tokens.access_token}"}
        loaded[-1].write_bytes(msgspec.json.encode(whole))

    replace(right, remember)
    replace(save, wrong)


def _change_entries(change: Callable[[dict[str, Any]], object]) -> None:
    """Let ``change`` alter the entry of each server before the reference reads the configuration."""
    right = parse

    def wrong(data: bytes, *more: Any) -> model.Config:
        try:
            whole, before = msgspec.json.decode(data), msgspec.json.decode(data)
            for entry in whole["mcpServers"].values():
                change(entry)
        except (msgspec.DecodeError, KeyError, AttributeError):
            return right(data, *more)
        # Unchanged as it stands there, because a report of a mistake has the number of its line.
        return right(data if whole == before else msgspec.json.encode(whole), *more)

    replace(right, wrong)
