"""supergateway 4.0.0: an event whose lines end in CR alone is lost at the end of its stream, and the call gets no answer."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from small_client import Program, command_of, report, text_of
from small_upstream import result_of


class Handler(BaseHTTPRequestHandler):
    """A server behind Streamable HTTP whose lines end as the text of a call says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "id" not in message:
            self.reply(202, b"")
            return
        end = message.get("params", {}).get("arguments", {}).get("text", "\n")
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result_of(message)}
        self.reply(200, f"data: {json.dumps(answer)}{end}{end}".encode())

    def do_GET(self) -> None:
        self.reply(405, b"")

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Write nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_address[1]}/mcp"
with Program([*command_of("supergateway"), "--streamableHttp", url]) as proxy:
    proxy.handshake()
    seen = {name: text_of(proxy.call("echo", {"text": end})) for name, end in (("LF", "\n"), ("CR", "\r"))}
report(seen == {"LF": "\n", "CR": "no answer"}, f"the answers by the ends of lines: {seen}")
