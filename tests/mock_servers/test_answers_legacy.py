import json
from pathlib import Path

import pytest

from mock_servers.script import Script, tool

from .driver import running


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_initialize_echoes_a_known_version(tmp_path: Path, version: str) -> None:
    with running(tmp_path) as mock:
        result = mock.ask("initialize", {"protocolVersion": version})["result"]
    assert result["protocolVersion"] == version
    assert result["serverInfo"] == {"name": "mock", "version": "1.0.0"}
    assert result["capabilities"] == {"tools": {"listChanged": False}}


def test_initialize_answers_an_unknown_version_with_the_newest(tmp_path: Path) -> None:
    with running(tmp_path) as mock:
        assert (
            mock.ask("initialize", {"protocolVersion": "1999"})["result"]["protocolVersion"] == "2025-11-25"
        )


def test_initialize_uses_the_version_of_the_script(tmp_path: Path) -> None:
    with running(tmp_path, Script(protocol_version="1.0", instructions="be kind")) as mock:
        result = mock.ask("initialize", {"protocolVersion": "2025-11-25"})["result"]
    assert (result["protocolVersion"], result["instructions"]) == ("1.0", "be kind")


def test_echo_returns_the_exact_text_of_the_arguments(tmp_path: Path) -> None:
    arguments = '{"a": 1.0, "big":12345678901234567890123,"c":1e400,"a":"\\ud800 é","id":"$id"}'
    call = (
        f'{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}'
    )
    with running(tmp_path) as mock:
        mock.write(call.encode() + b"\n")
        line = mock.line().decode()
    assert f'"structuredContent":{{"arguments":{arguments}}}' in line
    assert json.loads(line)["result"]["content"] == [{"type": "text", "text": arguments}]


def test_add_returns_the_sum(tmp_path: Path) -> None:
    with running(tmp_path) as mock:
        assert mock.call("add", a=2, b=3)["result"]["structuredContent"] == {"result": 5}
        assert mock.call("add", a=2)["result"]["isError"] is True


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("server/discover", {}, -32601),
        ("resources/list", {}, -32601),
        ("prompts/list", {}, -32601),
        ("nonsense", {}, -32601),
        ("tools/call", {"name": "nobody"}, -32602),
        ("tools/call", {"name": "echo", "arguments": "{}"}, -32602),
        ("tools/list", {"cursor": "nonsense"}, -32602),
    ],
)
def test_unknown_methods_and_names_are_refused(
    tmp_path: Path, method: str, params: dict[str, str], code: int
) -> None:
    with running(tmp_path) as mock:
        assert mock.ask(method, params)["error"]["code"] == code


def test_strict_server_refuses_requests_before_initialized(tmp_path: Path) -> None:
    with running(tmp_path, Script(strict=True)) as mock:
        assert mock.ask("tools/list")["error"]["code"] == -32600
        assert "result" in mock.ask("initialize", {"protocolVersion": "2025-11-25"})
        assert mock.ask("tools/list")["error"]["code"] == -32600
        mock.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert "result" in mock.ask("tools/list")


def test_lists_have_pages(tmp_path: Path) -> None:
    tools = [tool(f"t{number}") for number in range(5)]
    pages = []
    with running(tmp_path, Script(tools=tools, page_size=2)) as mock:
        params: dict[str, str] = {}
        while True:
            result = mock.ask("tools/list", params)["result"]
            pages.append(result["tools"])
            if "nextCursor" not in result:
                break
            params = {"cursor": result["nextCursor"]}
    assert pages == [tools[:2], tools[2:4], tools[4:]]


def test_script_sets_the_cursors(tmp_path: Path) -> None:
    script = Script(tools=[tool(f"t{number}") for number in range(4)], page_size=1, cursors=["", "p2"])
    with running(tmp_path, script) as mock:
        first = mock.ask("tools/list")["result"]
        second = mock.ask("tools/list", {"cursor": ""})["result"]
        third = mock.ask("tools/list", {"cursor": "p2"})["result"]
        fourth = mock.ask("tools/list", {"cursor": "tools-after-3"})["result"]
        assert mock.ask("tools/list", {"cursor": "p3"})["error"]["code"] == -32602
    names = [page["tools"][0]["name"] for page in (first, second, third, fourth)]
    assert names == ["t0", "t1", "t2", "t3"]
    assert [page.get("nextCursor") for page in (first, second, third, fourth)] == [
        "",
        "p2",
        "tools-after-3",
        None,
    ]


def test_serves_resources_and_prompts_of_the_script(tmp_path: Path) -> None:
    script = Script(
        tools=None,
        resources=[{"uri": "r://a", "name": "a"}, {"uri": "r://b", "name": "b"}],
        templates=[{"uriTemplate": "t://{x}/end", "name": "t"}],
        contents={"r://b": [{"uri": "r://b", "blob": "AA=="}]},
        prompts=[{"name": "p", "arguments": [{"name": "who", "required": True}]}],
    )
    with running(tmp_path, script) as mock:
        capabilities = mock.ask("initialize", {"protocolVersion": "2025-11-25"})["result"]["capabilities"]
        assert sorted(capabilities) == ["prompts", "resources"]
        assert mock.ask("tools/list")["error"]["code"] == -32601
        assert mock.ask("resources/list")["result"]["resources"] == script.resources
        assert mock.ask("resources/templates/list")["result"]["resourceTemplates"] == script.templates
        assert mock.ask("prompts/list")["result"]["prompts"] == script.prompts
        read = mock.ask("resources/read", {"uri": "r://a"})["result"]["contents"]
        assert read == [{"uri": "r://a", "mimeType": "text/plain", "text": "contents of r://a"}]
        assert mock.ask("resources/read", {"uri": "r://b"})["result"]["contents"][0]["blob"] == "AA=="
        assert "result" in mock.ask("resources/read", {"uri": "t://1/end"})
        assert mock.ask("resources/read", {"uri": "r://c"})["error"]["code"] == -32002
        prompt = mock.ask("prompts/get", {"name": "p", "arguments": {"who": "me"}})["result"]
        assert prompt["messages"][0]["content"]["text"] == "prompt p(who=me)"
        assert mock.ask("prompts/get", {"name": "p"})["error"]["code"] == -32602
        assert mock.ask("prompts/get", {"name": "q"})["error"]["code"] == -32602
