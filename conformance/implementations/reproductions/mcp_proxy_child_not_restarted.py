"""mcp-proxy 0.13.0: a server process that died is not started again, also for a new client (sparfenyuk/mcp-proxy issue 75)."""

import os
import signal

from small_client import Program, command_of, eventually, new_folder, report, text_of
from small_http import Session, free_port, listens
from small_upstream import read_journal, stdio_command

journal = new_folder() / "journal"
port = free_port()
with Program([*command_of("mcp-proxy"), "--port", str(port), "--", *stdio_command(journal)]) as proxy:
    listens(port)
    session = Session(f"http://127.0.0.1:{port}/mcp")
    session.handshake()
    first = text_of(session.call("echo", {"text": "before"}))
    child = read_journal(journal)[0]["pid"]
    os.kill(child, signal.SIGKILL)
    another = Session(f"http://127.0.0.1:{port}/mcp")
    another.handshake()
    eventually(lambda: text_of(another.call("echo", {"text": "after"})) == "after", 10)
    later = another.call("echo", {"text": "after"})
report(
    first == "before" and text_of(later) != "after", f"ten seconds after the crash a new client gets {later}"
)
