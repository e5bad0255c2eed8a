"""Shared by the command line and its commands: messages for the user, and the path of the configuration."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from dynamic_mcp.config.model import Config

USAGE_ERROR = 2
COMMANDS = ("check", "completion", "import", "login", "logout", "schema")


def say(text: str) -> None:
    """Print a message for the user on stderr."""
    print(text, file=sys.stderr)  # noqa: T201  # the output of a command


def fail(message: str) -> NoReturn:
    """Print an error, and exit with the status of a usage error."""
    say(f"dynamic-mcp: {message}")
    sys.exit(USAGE_ERROR)


def config_path(argument: str | None, environment: Mapping[str, str]) -> str | None:
    """The configuration file that the argument or the environment names, or None."""
    return argument or environment.get("DYNAMIC_MCP_CONFIG") or None


def required_path(argument: str | None, command_line: argparse.ArgumentParser) -> Path:
    """The configuration file that the argument or the environment names; without one, ends the program."""
    path = config_path(argument, os.environ)
    if path is None:
        command_line.print_usage(sys.stderr)
        fail(
            "no configuration: name a file as the argument or in DYNAMIC_MCP_CONFIG; "
            "`dynamic-mcp import TOOL --yes` writes one with the servers of an AI tool"
        )
    return Path(path)


def load(argument: str | None, command_line: argparse.ArgumentParser) -> Config:
    """The configuration for a command; ends the program if it is invalid."""
    from dynamic_mcp import log
    from dynamic_mcp.config.load import load as load_file
    from dynamic_mcp.errors import ConfigError

    path = required_path(argument, command_line)
    log.configure()
    try:
        return load_file(path, os.environ)
    except ConfigError as error:
        fail(str(error))
