"""``python -m dynamic_mcp config.json``, and the program ``dynamic-mcp``."""

import os
import signal
import sys

from dynamic_mcp.unread import occupy_streams


def main() -> None:
    """Give the early answers, then run the command line."""
    occupy_streams()
    restore_signals()
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


def restore_signals() -> None:
    """Unblock all signals, and take SIGCHLD as by default. A parent can leave other settings, which servers would inherit too.

    Other ignored signals stay ignored, as ``nohup`` and background jobs of a shell want it. While the proxy serves, SIGINT, SIGTERM and
    SIGHUP have handlers. The system replaces a handler by the default when a server starts.
    """
    if sys.platform == "win32":
        return
    # Else the system reaps each child at once: its exit code is lost, and a stranger can get its id.
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    main()
