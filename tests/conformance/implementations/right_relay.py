"""A relay from stdin to a Streamable HTTP server that does right what the reproductions are about.

Its last argument is the URL. It passes messages on unchanged, each in a thread, and starts a new session after a 404.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

Message = dict[str, Any]
URL = urlsplit(sys.argv[-1])
lock = threading.Lock()
session: dict[str, str] = {}
handshake: list[Message] = []


def write(message: Message) -> None:
    with lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def post(message: Message) -> tuple[int, list[Message]]:
    """Send a message; the status, and the messages of the answer."""
    connection = http.client.HTTPConnection(URL.hostname or "", URL.port, timeout=30)
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **session}
    connection.request("POST", URL.path, json.dumps(message), headers)
    response = connection.getresponse()
    text = response.read().decode()
    if identifier := response.headers.get("Mcp-Session-Id"):
        session["Mcp-Session-Id"] = identifier
    connection.close()
    if response.headers.get_content_type() == "text/event-stream":
        return response.status, [
            json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")
        ]
    return response.status, [json.loads(text)] if text else []


def relay(message: Message) -> None:
    status, answers = post(message)
    if status == 404 and session:
        session.clear()
        for step in handshake:
            post(step)
        status, answers = post(message)
    if status >= 400 and "id" in message:
        error = {"code": -32000, "message": f"the server answered with HTTP {status}"}
        answers = [{"jsonrpc": "2.0", "id": message["id"], "error": error}]
    for answer in answers:
        write(answer)


for line in sys.stdin:
    received = json.loads(line)
    if received.get("method") in ("initialize", "notifications/initialized"):
        handshake.append(received)
        relay(received)
    else:
        threading.Thread(target=relay, args=(received,), daemon=True).start()
