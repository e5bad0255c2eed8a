"""Completion in the shell, where argcomplete is installed (extra `completion`).

The script that `dynamic-mcp completion SHELL` prints makes a shell ask this module. It offers ids and families where the command line
expects a selector, and files elsewhere.
"""

from __future__ import annotations

import argparse

from conformance.model.registry import Registry
from conformance.model.selectors import FAMILY_WORDS


def answer(parser: argparse.ArgumentParser) -> None:
    """Print the possible next words of the command line and exit. Returns if argcomplete is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
    files = argcomplete.FilesCompleter()

    def offered(prefix: str, action: argparse.Action, **_: object) -> list[str]:
        if action.dest not in ("id", "only", "selectors", "skip"):
            return list(files(prefix))
        registry = Registry.load()
        families = [] if action.dest == "id" else [*registry.families, *FAMILY_WORDS]
        return [*families, *registry.requirements]

    argcomplete.autocomplete(parser, always_complete_options=False, default_completer=offered)
