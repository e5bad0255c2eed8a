"""The listener: exact requests in the journal, its port, and its end."""

import signal
import socket
from pathlib import Path

from .driver import remote


def test_request_is_journalled_exactly_as_sent(tmp_path: Path) -> None:
    head = b"PUT /Mcp/%20x?a=b&a HTTP/1.1\r\nhost: h\r\nX-oDD: 1\r\nx-odd: 2\r\nContent-Length: 2\r\n\r\n"
    with remote(tmp_path, "http") as mock, mock.raw(head + b"\xff\xfe") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 404")
        (entry,) = mock.events("http-request")
        assert entry.data["target"] == "/Mcp/%20x?a=b&a"
        assert entry.data["headers"] == [
            ["host", "h"],
            ["X-oDD", "1"],
            ["x-odd", "2"],
            ["Content-Length", "2"],
        ]
        assert (entry.data["base64"], entry.data["method"]) == ("//4=", "PUT")
        connection.close()
        mock.wait_for("disconnect", connection=entry.data["connection"])


def test_ends_with_its_stdin(tmp_path: Path) -> None:
    with remote(tmp_path, "http") as mock:
        stream = mock.request("GET")
        assert mock.process.stdin
        mock.process.stdin.close()
        assert mock.process.wait(5) == 0
        assert mock.events("exit")[0].data["reason"] == "eof"
        stream.close()


def test_sigterm_ends_it(tmp_path: Path) -> None:
    with remote(tmp_path, "http") as mock:
        mock.process.send_signal(signal.SIGTERM)
        assert mock.process.wait(5) == 128 + signal.SIGTERM
        assert mock.events("signal")


def test_used_port_can_be_reused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        with remote(folder, "http", None, "--port", str(port)) as mock:
            assert mock.url == f"http://127.0.0.1:{port}/mcp"
            mock.handshake()
