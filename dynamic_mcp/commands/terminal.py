"""What the command line and its commands share: messages for a person, and the configuration that the line names."""

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
    """Tell the person at the terminal."""
    print(text, file=sys.stderr)  # noqa: T201  # the command line speaks to people


def fail(message: str) -> NoReturn:
    """Say what is wrong, and end with the status of a usage error."""
    say(f"dynamic-mcp: {message}")
    sys.exit(USAGE_ERROR)


def config_path(argument: str | None, environment: Mapping[str, str]) -> str | None:
    """The configuration file that the argument or the environment names; None when neither does."""
    return argument or environment.get("DYNAMIC_MCP_CONFIG") or None


def required_path(argument: str | None, command_line: argparse.ArgumentParser) -> Path:
    """The configuration file that the argument or the environment names; ends the program when neither does."""
    path = config_path(argument, os.environ)
    if path is None:
        command_line.print_usage(sys.stderr)
        fail(
            "no configuration: name a file as the argument or in DYNAMIC_MCP_CONFIG; "
            "`dynamic-mcp import TOOL --yes` makes one of what a tool has"
        )
    return Path(path)


def load(argument: str | None, command_line: argparse.ArgumentParser) -> Config:
    """The configuration for a command; ends the program when it cannot be used."""
    from dynamic_mcp import log
    from dynamic_mcp.config.load import load as load_file
    from dynamic_mcp.errors import ConfigError

    path = required_path(argument, command_line)
    log.configure()
    try:
        return load_file(path, os.environ)
    except ConfigError as error:
        fail(str(error))
