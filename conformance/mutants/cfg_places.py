"""Mistakes about the places of servers and of the configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.commands import terminal
from dynamic_mcp.config import expand
from dynamic_mcp.config.expand import Expander
from dynamic_mcp.config.load import parse
from dynamic_mcp.config.model import Config, Server, StdioTransport
from dynamic_mcp.process import scripts

if TYPE_CHECKING:
    from collections.abc import Callable


@mutant("CFG-030")
def leaves_references_in_a_command() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    _leave("command")


@mutant("CFG-031")
def leaves_references_in_scopes() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    _leave("oauth_scopes[")


def _leave(member: str) -> None:
    right = Expander.__call__

    def wrong(self: Expander, text: str, place: str) -> str:
        return text if f".{member}" in place else right(self, text, place)

    replace(right, wrong)


@mutant("CFG-032", also={"CFG-034": "one of the folders begins with ~"})
def leaves_the_tilde_of_a_path() -> None:
    replace(Expander.path, Expander.__call__)


@mutant("CFG-033")
def leaves_the_tilde_in_the_path_of_the_configuration() -> None:
    replace(
        terminal.config_path,
        lambda argument, environment: argument or environment.get("DYNAMIC_MCP_CONFIG") or None,
    )


@mutant("CFG-034")
def resolves_a_cwd_in_the_folder_of_the_proxy() -> None:
    replace(expand.beside, lambda file, path: os.path.abspath(path))


@mutant(
    "CFG-034",
    also={"CFG-035": "a folder that is ignored cannot be missing", "CFG-036": "nothing has changed"},
)
def ignores_cwd() -> None:
    _change_folders(lambda name, cwd: None)


@mutant("CFG-035")
def starts_elsewhere_if_the_folder_is_missing() -> None:
    _change_folders(lambda name, cwd: cwd if cwd and os.path.isdir(cwd) else None)


@mutant("CFG-036")
def keeps_the_first_cwd() -> None:
    known: dict[str, str | None] = {}
    _change_folders(known.setdefault)


def _change_folders(folder_of: Callable[[str, str | None], str | None]) -> None:
    """Let ``folder_of`` choose the folder of each server, by its name and its right folder."""
    right = parse

    def changed(server: Server) -> Server:
        if not isinstance(server.transport, StdioTransport):
            return server
        cwd = folder_of(server.name, server.transport.cwd)
        return msgspec.structs.replace(server, transport=msgspec.structs.replace(server.transport, cwd=cwd))

    def wrong(data: bytes, *more: Any) -> Config:
        config = right(data, *more)
        return msgspec.structs.replace(config, servers=tuple(map(changed, config.servers)))

    replace(right, wrong)


@mutant("OPS-040")
def starts_no_script_without_an_interpreter_line() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    replace(scripts.is_text, lambda *command: False)
