"""mcp-proxy 0.13.0: of two open requests with the ids 7 and "7", one gets the answer of the other (python-sdk issue 3060)."""

import threading
import time

from small_client import Program, command_of, new_folder, report
from small_http import Session, free_port, listens
from small_upstream import stdio_command

port = free_port()
answers: dict[str, list[object]] = {}


def call(session: Session, id: int | str, seconds: int) -> None:
    params = {"name": "slow", "arguments": {"seconds": seconds}}
    message = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
    answers[repr(id)] = [answer.get("id") for answer in session.post(message)[1]]


with Program([*command_of("mcp-proxy"), "--port", str(port), "--", *stdio_command(new_folder() / "journal")]):
    listens(port)
    client = Session(f"http://127.0.0.1:{port}/mcp")
    client.handshake()
    first = threading.Thread(target=call, args=(client, 7, 3))
    first.start()
    time.sleep(1)
    call(client, "7", 5)
    first.join()
report(answers != {"7": [7], "'7'": ["7"]}, f"the ids of the answers, by those of the requests: {answers}")
