import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mock_servers.actions import (
    duplicate_reply,
    error,
    hold,
    list_changed,
    notify,
    payload,
    raw,
    release,
    reply,
    reply_in_chunks,
    request,
    send,
    set_tools,
    silence,
    sleep,
    wrong_id_reply,
)
from mock_servers.remote_actions import (
    answer_as,
    cut,
    end_stream,
    event,
    expire_session,
    hold_answers,
    push,
    redirect,
    respond,
    stream,
    wire,
)
from mock_servers.script import Action, Http, Rule, Script, on_call, tool

from .driver import META, Response, event_of, json_of, remote


def call_with(folder: Path, *actions: Action, http: Http = Http()) -> Response:  # noqa: B008 - frozen
    """The response to a call that these actions serve, read completely. The mock has ended."""
    with remote(folder, "http", Script(on=[on_call("echo", *actions)], http=http)) as mock:
        mock.handshake()
        response = mock.call(id=9)
        response.content = response.read()  # type: ignore[attr-defined]
        return response


def content(response: Response) -> bytes:
    found = response.content  # type: ignore[attr-defined]
    assert isinstance(found, bytes)
    return found


class TestFormOfAnAnswer:
    def test_default_is_json_with_its_length(self, tmp_path: Path) -> None:
        response = call_with(tmp_path)
        assert response.headers["Content-Type"] == "application/json"
        assert int(response.headers["Content-Length"]) == len(content(response))
        assert json.loads(content(response))["result"]["structuredContent"] == {"arguments": {"x": "é"}}

    def test_answer_as_sets_the_content_type(self, tmp_path: Path) -> None:
        response = call_with(tmp_path, answer_as("json", "text/html"))
        assert response.headers["Content-Type"] == "text/html"
        assert json.loads(content(response))["id"] == 9

    def test_earlier_message_makes_it_a_stream(self, tmp_path: Path) -> None:
        before = notify("notifications/progress", {"progressToken": 1, "progress": 1})
        response = call_with(tmp_path, before, request("ping"), wrong_id_reply(), reply())
        assert response.headers["Content-Type"] == "text/event-stream"
        data = [line[6:] for line in content(response).split(b"\n") if line.startswith(b"data: ")]
        messages = [json.loads(line) for line in data]
        assert [message.get("method") for message in messages[:2]] == ["notifications/progress", "ping"]
        assert [message["id"] for message in messages[2:]] == ["no-such-request", 9]

    def test_legacy_errors_have_status_200(self, tmp_path: Path) -> None:
        response = call_with(tmp_path, error(-32602, "no"))
        assert response.status == 200
        assert json.loads(content(response))["error"]["message"] == "no"

    @pytest.mark.parametrize("form", ["json", "sse"])
    def test_chunks_can_end_anywhere(self, tmp_path: Path, form: str) -> None:
        response = call_with(tmp_path, answer_as(form), reply_in_chunks([40, 1, 1], 0.01))  # type: ignore[arg-type]
        text = content(response).decode().removeprefix("event: message\ndata: ")
        assert json.loads(text)["result"]["structuredContent"] == {"arguments": {"x": "é"}}

    def test_huge_invalid_and_duplicate_answers(self, tmp_path: Path) -> None:
        rules = [
            on_call("a", payload(2_000_000)),
            on_call("b", raw("{half")),
            on_call("c", duplicate_reply()),
        ]
        script = Script(on=rules, tools=[tool(name) for name in "abc"])
        with remote(tmp_path, "http", script) as mock:
            mock.handshake()
            assert len(mock.call("a").read()) > 2_000_000
            assert mock.call("b").read() == b"{half"
            assert json_of(mock.call("c"))["id"] == 1


class TestScriptedResponses:
    def test_respond_sets_status_headers_and_body(self, tmp_path: Path) -> None:
        response = call_with(tmp_path, respond(418, '{"id":"$id","was":$answer}', headers={"X-A": "b"}))
        assert (response.status, response.headers["X-A"]) == (418, "b")
        body = json.loads(content(response))
        assert body["id"] == body["was"]["id"] == 9

    def test_respond_can_repeat_the_request_headers(self, tmp_path: Path) -> None:
        response = call_with(tmp_path, respond(500, "sent: $headers"))
        assert b"sent: Host: 127.0.0.1" in content(response)

    def test_respond_byte_by_byte_and_redirect(self, tmp_path: Path) -> None:
        begun = time.monotonic()
        assert content(call_with(tmp_path, respond(200, "12345", pause=0.05))) == b"12345"
        assert time.monotonic() - begun >= 0.25
        response = call_with(tmp_path, redirect("http://127.0.0.1:9/x", 308))
        assert (response.status, response.headers["Location"]) == (308, "http://127.0.0.1:9/x")

    def test_verb_rule_ignores_the_body(self, tmp_path: Path) -> None:
        rules = [
            Rule("POST", [respond(503)], nth=1),
            Rule("GET", [respond(500)]),
            Rule("DELETE", [respond(1 + 400)]),
        ]
        with remote(tmp_path, "http", Script(on=rules)) as mock:
            assert [mock.request(verb).status for verb in ("POST", "GET", "DELETE")] == [503, 500, 401]
            mock.handshake()

    def test_verb_rule_without_an_answer_only_delays(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(on=[Rule("POST", [sleep(0.1)])])) as mock:
            mock.handshake()
            assert mock.call().status == 200

    def test_stream_pieces_arrive_unchanged(self, tmp_path: Path) -> None:
        pieces: list[str | bytes] = ["\ufeff: c\r", "\ndata:", "$answer\r\n\r", b"\n\xff"]
        response = call_with(tmp_path, stream(*pieces, pause=0.01))
        assert response.headers["Content-Type"] == "text/event-stream"
        before, _, after = content(response).partition(b"data:")
        assert before == b"\xef\xbb\xbf: c\r\n"
        assert after.endswith(b"\r\n\r\n\xff")
        assert json.loads(after[: after.index(b"\r")])["id"] == 9

    @pytest.mark.parametrize("reset", [False, True])
    def test_cut_breaks_off_the_response(self, tmp_path: Path, reset: bool) -> None:
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            call_with(tmp_path, event("x"), sleep(0.1), cut(reset=reset))

    def test_wire_sends_arbitrary_bytes(self, tmp_path: Path) -> None:
        with pytest.raises(http.client.BadStatusLine):
            call_with(tmp_path, wire("HELO you\r\n\r\n"))

    def test_silence_leaves_the_request_open(self, tmp_path: Path) -> None:
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo"}}'
        head = b"POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
        with remote(tmp_path, "http", Script(on=[on_call("echo", silence())])) as mock:
            with mock.raw(head + body) as waiting:
                mock.wait_for("action", do="silence")
                waiting.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    waiting.recv(1)
            mock.wait_for("http-end", by="client")

    def test_hold_waits_for_another_request(self, tmp_path: Path) -> None:
        rules = [on_call("a", hold("b")), on_call("b", reply(), release("b"))]
        with (
            remote(tmp_path, "http", Script(on=rules, tools=[tool("a"), tool("b")])) as mock,
            ThreadPoolExecutor() as pool,
        ):
            held = pool.submit(mock.call, "a")
            mock.wait_for("action", do="hold")
            assert mock.call("b").status == 200
            assert held.result(5).status == 200


class TestStreams:
    def test_resume_continues_after_the_last_event(self, tmp_path: Path) -> None:
        rule = on_call("echo", event("", id="e-1", retry=500), end_stream(), reply())
        with remote(tmp_path, "http", Script(on=[rule], http=Http(event_ids=True, get=False))) as mock:
            mock.handshake()
            assert mock.call(id=4).read() == b"id: e-1\nretry: 500\ndata: \n\n"
            resumed = mock.request("GET", Last_Event_ID="e-1")
            found = event_of(resumed)
            assert json.loads(found["data"])["id"] == 4
            assert resumed.read() == b""
            assert mock.request("GET", Last_Event_ID="other").status == 405

    def test_limit_ends_each_response_and_the_answer_comes_later(self, tmp_path: Path) -> None:
        rules = [on_call("echo", event("", id="e-1"), hold("go"), reply()), on_call("add", release("go"))]
        http = Http(event_ids=True, get=False, stream_limit=0.2)
        with remote(tmp_path, "http", Script(on=rules, http=http)) as mock:
            mock.handshake()
            assert mock.call(id=4).read() == b"id: e-1\ndata: \n\n"
            assert mock.request("GET", Last_Event_ID="e-1").read() == b""
            mock.call("add", id=5).read()
            contents = [mock.request("GET", Last_Event_ID="e-1").read() for _ in range(4)]
            assert b'"id":4' in contents[-1].replace(b" ", b"")

    def test_priming_event_comes_first(self, tmp_path: Path) -> None:
        http = Http(answers="sse", priming=True, retry=700)
        first, second, _ = content(call_with(tmp_path, http=http)).split(b"\n\n")
        assert first.startswith(b"id: ")
        assert first.endswith(b"\nretry: 700\ndata: ")
        assert second.startswith(b"event: message\nid: ")

    def test_get_stream_carries_messages_without_a_request(self, tmp_path: Path) -> None:
        rules = [on_call("add", reply({}), set_tools([tool("new")]), list_changed(), push("notifications/x"))]
        with remote(tmp_path, "http", Script(on=rules)) as mock:
            mock.handshake()
            listening = mock.request("GET")
            assert mock.call("add").status == 200
            methods = [json.loads(event_of(listening)["data"])["method"] for _ in range(2)]
            assert methods == ["notifications/tools/list_changed", "notifications/x"]
            assert [t["name"] for t in json_of(mock.post("tools/list"))["result"]["tools"]] == ["new"]

    def test_modern_subscription_gets_changes(self, tmp_path: Path) -> None:
        script = Script(era="modern", on=[on_call("add", reply({}), list_changed())])
        headers = {"MCP_Protocol_Version": "2026-07-28"}
        wanted = {"notifications": {"toolsListChanged": True}, "_meta": META}
        with remote(tmp_path, "http", script) as mock:
            listening = mock.post(
                "subscriptions/listen", wanted, 5, **headers, Mcp_Method="subscriptions/listen"
            )
            acknowledged = json.loads(event_of(listening)["data"])
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            call = {"name": "add", "_meta": META}
            assert (
                mock.post("tools/call", call, 6, **headers, Mcp_Method="tools/call", Mcp_Name="add").status
                == 200
            )
            changed = json.loads(event_of(listening)["data"])
            assert changed["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 5}

    def test_hold_answers_leaves_the_post_of_an_answer_without_a_response(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(on=[on_call("echo", hold_answers())])) as mock:
            mock.handshake()
            assert "result" in json_of(mock.call())
            answer = json.dumps({"jsonrpc": "2.0", "id": "q", "result": {}}).encode()
            head = f"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
            with mock.raw(head + answer) as connection:
                mock.wait_for("answer", id="q")
                connection.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    connection.recv(1)

    def test_client_answers_a_server_request_by_post(self, tmp_path: Path) -> None:
        rule = on_call("echo", request("ping", id="p", wait=5.0), reply())
        with remote(tmp_path, "http", Script(on=[rule])) as mock:
            mock.handshake()
            response = mock.call()
            assert json.loads(event_of(response)["data"])["method"] == "ping"
            assert mock.request("POST", body={"jsonrpc": "2.0", "id": "p", "result": {}}).status == 202
            assert json.loads(event_of(response)["data"])["id"] == 1


def test_expire_session_forgets_the_session(tmp_path: Path) -> None:
    with remote(
        tmp_path, "http", Script(on=[on_call("add", expire_session(), send([]))], http=Http(sessions=True))
    ) as mock:
        mock.handshake()
        assert mock.call("add").read() == b"[]"
        assert mock.call("echo").status == 404
