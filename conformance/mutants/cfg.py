"""Mistakes in reading the configuration."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.commands import terminal
from dynamic_mcp.config import duration, model
from dynamic_mcp.config.expand import Expander
from dynamic_mcp.config.load import load, parse, schema
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.frontend.tools import Toolbox
from dynamic_mcp.groups.group import Group
from dynamic_mcp.oauth.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamic_mcp.frontend.call import Call
    from dynamic_mcp.oauth.tokens import Tokens

    Entry = dict[str, Any]


@mutant("CFG-001")
def finds_a_configuration_by_itself() -> None:
    right = terminal.config_path

    def wrong(argument: str | None, environment: Mapping[str, str]) -> str | None:
        places = (Path("config.json"), Path("dynamic-mcp.json"), Path.home() / ".dynamic-mcp/config.json")
        return right(argument, environment) or next((str(place) for place in places if place.exists()), None)

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
    def wrong(path: Path, environment: Mapping[str, str]) -> model.Config:
        if path.suffix != ".json":
            raise ConfigError(f"{path}: is not a .json file")
        return load(path, environment)

    replace(load, wrong)


@mutant("CFG-005")
def takes_a_broken_file_for_an_empty_one() -> None:
    right = parse

    def wrong(data: bytes, *more: Any) -> model.Config:
        try:
            msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return model.Config(servers=())
        return right(data, *more)

    replace(right, wrong)


@mutant("CFG-006")
def a_missing_description_becomes_empty() -> None:
    change_servers(lambda entry: entry.setdefault("description", ""))


@mutant("CFG-007")
def only_the_top_level_is_strict() -> None:
    known = msgspec.json.decode(schema())["$defs"]["server"]["properties"]

    def wrong(entry: Entry) -> None:
        for name in set(entry) - set(known):
            del entry[name]

    change_servers(wrong)


@mutant("CFG-008")
def an_unknown_type_is_ignored() -> None:
    change_servers(lambda entry: entry.pop("type", None))


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
    right = Expander.__call__

    def wrong(self: Expander, text: str, place: str) -> str:
        return text if place.endswith(".oauth_client_id") else right(self, text, place)

    replace(right, wrong)


@mutant(
    "CFG-010",
    also={"CFG-013": "one of the values holds $HOME", "HARD-010": "an argument behind the prefix is $HOME"},
)
def expands_like_a_shell() -> None:
    right = Expander.__call__
    replace(right, lambda self, text, place: os.path.expandvars(right(self, text, place)))


@mutant("CFG-011")
def is_silent_about_undefined_variables() -> None:
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
    change_servers(lambda entry: entry.pop("enabled", None))


@mutant("CFG-015")
def a_feature_flag_hides_but_still_forwards() -> None:
    """dmcp 1.5.0 behaves like this: its call_tool does not look at the flag."""
    groups: list[Group] = []
    create, right = Group.__init__, Toolbox.run

    def remember(self: Group, *arguments: Any) -> None:
        groups.append(self)
        create(self, *arguments)

    async def wrong(self: Toolbox, call: Call) -> bytes:
        if b"call_dynamic_tool" in bytes(call.incoming.params):
            for group in groups:
                group.server = msgspec.structs.replace(group.server, features=model.Features())
        return await right(self, call)

    replace(create, remember)
    replace(right, wrong)


@mutant("CFG-016")
def takes_numbers_for_milliseconds() -> None:
    right = duration.seconds
    replace(right, lambda value: right(value) / 1000 if isinstance(value, int) else right(value))


@mutant("CFG-017")
def writes_the_configuration_back() -> None:
    def wrong(path: Path, environment: Mapping[str, str]) -> model.Config:
        loaded = load(path, environment)
        path.write_bytes(msgspec.json.format(path.read_bytes(), indent=4))
        return loaded

    replace(load, wrong)


@mutant("CFG-017")
def stores_the_token_in_the_configuration() -> None:
    loaded: list[Path] = []
    save = FileStore.save

    def remember(path: Path, environment: Mapping[str, str]) -> model.Config:
        loaded.append(path)
        return load(path, environment)

    def wrong(self: FileStore, tokens: Tokens) -> None:
        save(self, tokens)
        whole = msgspec.json.decode(loaded[-1].read_bytes())
        for entry in whole["mcpServers"].values():
            if "url" in entry:
                entry["headers"] = {"Authorization": f"Bearer {tokens.access_token}"}
        loaded[-1].write_bytes(msgspec.json.encode(whole))

    replace(load, remember)
    replace(save, wrong)


def change_servers(change: Callable[[Entry], object]) -> None:
    """Let ``change`` alter in place each server of the configuration before the reference reads it."""

    def wrong(data: bytes, *more: Any) -> model.Config:
        try:
            whole = msgspec.json.decode(data)
            for entry in whole["mcpServers"].values():
                change(entry)
            data = msgspec.json.encode(whole)
        except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
            # The reference says what is wrong with the file.
            pass
        return parse(data, *more)

    replace(parse, wrong)
