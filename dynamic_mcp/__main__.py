"""``python -m dynamic_mcp config.json``, and the program ``dynamic-mcp``."""

import os
import sys

from dynamic_mcp.unread import occupy_streams


def main() -> None:
    """Give the early answers, then run the command line."""
    occupy_streams()
    words = sys.argv[1:]
    try:
        from dynamic_mcp.extras.early_answers import EarlyAnswers
    except ModuleNotFoundError:
        # The core without extras answers after all imports.
        early = None
    else:
        early = EarlyAnswers.for_command_line(words, os.environ)
        if early is not None:
            early.import_proxy()
    from dynamic_mcp import cli

    cli.main(words, early)


if __name__ == "__main__":
    main()
