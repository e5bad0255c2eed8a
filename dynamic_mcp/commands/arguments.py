"""The argument parser of the command line and its commands."""

from __future__ import annotations

import argparse
from typing import NoReturn

from dynamic_mcp.config import duration
from dynamic_mcp.printable import printable


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors quote the arguments in a printable form."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))

    def add_log_level(self) -> None:
        """Add the option of the log level."""
        self.add_argument(
            "--log-level",
            metavar="LEVEL",
            choices=("off", "error", "warn", "info", "debug"),
            help="what goes to stderr: off, error, warn (default), info or debug",
        )

    def seconds_of(self, option: str, word: str) -> float:
        """The duration that an option has, in seconds; ends the program if the word is none."""
        try:
            return duration.of_word(word)
        except ValueError as error:
            self.error(f"{option}: {error}; write {duration.DURATION_SYNTAX}")
