"""``python -m dynamic_mcp config.json``, and the program ``dynamic-mcp``."""

import os
import sys

from dynamic_mcp.extras.early_answers import EarlyAnswers


def main() -> None:
    """Answer what can be answered at once, then run the command line."""
    words = sys.argv[1:]
    doorstep = EarlyAnswers.of(words, os.environ)
    if doorstep is not None:
        doorstep.load()
    from dynamic_mcp import cli

    cli.main(words, doorstep)


if __name__ == "__main__":
    main()
