"""Completion in the shell, where argcomplete is installed (extra `completion`).

What `dynamic-mcp completion SHELL` prints has a shell ask for it. Ids and families of requirements are offered where a selection is
meant, elsewhere files.
"""

from __future__ import annotations

import argparse

from conformance.model.registry import Registry


def answer(parser: argparse.ArgumentParser) -> None:
    """Offer what the line of the shell can go on with, and end the program; return where argcomplete is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
    files = argcomplete.FilesCompleter()

    def offered(prefix: str, action: argparse.Action, **_: object) -> list[str]:
        if action.dest not in ("id", "only", "selectors", "skip"):
            return list(files(prefix))
        registry = Registry.load()
        families = [] if action.dest == "id" else registry.families
        return [*families, *registry.requirements]

    argcomplete.autocomplete(parser, always_complete_options=False, default_completer=offered)
