"""The argument parser of the command line and its commands."""

from __future__ import annotations

import argparse
from typing import NoReturn

from dynamic_mcp.printable import printable


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors quote the arguments in a printable form."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))
