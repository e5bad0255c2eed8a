from pathlib import Path

import pytest

from mock_servers.answers import CAPABILITIES_KEY, VERSION_KEY
from mock_servers.script import Script, list_changed, on_call, reply, set_tools, tool

from .driver import ENVELOPE, running

INFO = {"_meta": {"io.modelcontextprotocol/serverInfo": {"name": "mock", "version": "1.0.0"}}}
FRESH = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **INFO}


def test_discover_describes_the_server(tmp_path: Path) -> None:
    with running(tmp_path, Script(era="modern", instructions="be kind")) as mock:
        result = mock.ask_modern("server/discover")["result"]
    capabilities = {"tools": {"listChanged": False}}
    mine = {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, "instructions": "be kind"}
    assert result == {**FRESH, **mine}


def test_results_are_complete_and_have_cache_hints(tmp_path: Path) -> None:
    with running(tmp_path, Script(era="modern", resources=[{"uri": "r://a", "name": "a"}])) as mock:
        listed = mock.ask_modern("tools/list")["result"]
        called = mock.ask_modern("tools/call", name="echo", arguments={})["result"]
        assert FRESH.items() <= listed.items()
        assert FRESH.items() <= mock.ask_modern("resources/read", uri="r://a")["result"].items()
        assert called["resultType"] == "complete"
        assert "ttlMs" not in called
        assert mock.ask_modern("resources/read", uri="r://b")["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("method", "meta", "code"),
    [
        ("tools/list", {}, -32602),
        ("tools/list", {VERSION_KEY: "2026-07-28"}, -32602),
        ("tools/list", {VERSION_KEY: "2030-01-01", CAPABILITIES_KEY: {}}, -32022),
        ("ping", ENVELOPE["_meta"], -32601),
        ("nonsense", ENVELOPE["_meta"], -32601),
        ("initialize", ENVELOPE["_meta"], -32601),
    ],
)
def test_wrong_envelope_is_refused(tmp_path: Path, method: str, meta: dict[str, object], code: int) -> None:
    with running(tmp_path, Script(era="modern")) as mock:
        assert mock.ask(method, {"_meta": meta})["error"]["code"] == code


def test_refused_initialize_lists_the_supported_versions(tmp_path: Path) -> None:
    with running(tmp_path, Script(era="modern")) as mock:
        error = mock.ask("initialize", {"protocolVersion": "2025-11-25"})["error"]
    assert error["code"] == -32022
    assert error["data"] == {"supported": ["2026-07-28"], "requested": "2025-11-25"}


def test_each_request_selects_its_era(tmp_path: Path) -> None:
    with running(tmp_path, Script(era="both")) as mock:
        assert "result" in mock.ask_modern("server/discover")
        assert mock.ask("server/discover")["error"]["code"] == -32601
        assert "result" in mock.ask("initialize", {"protocolVersion": "2025-11-25"})
        assert "resultType" not in mock.ask("tools/list")["result"]
        assert mock.ask_modern("tools/list")["result"]["resultType"] == "complete"
        assert mock.ask("ping")["result"] == {}


def test_scripted_result_gets_the_modern_members(tmp_path: Path) -> None:
    with running(tmp_path, Script(era="modern", on=[on_call("echo", reply({"content": []}))])) as mock:
        result = mock.ask_modern("tools/call", name="echo")["result"]
    assert result == {"content": [], "resultType": "complete", **INFO}


def test_change_reaches_only_matching_subscriptions(tmp_path: Path) -> None:
    script = Script(era="modern", on=[on_call("echo", set_tools([tool("new")]), list_changed())])
    with running(tmp_path, script) as mock:
        for wanted in ({"toolsListChanged": True}, {"promptsListChanged": True}):
            identity = mock.start("subscriptions/listen", {"notifications": wanted, **ENVELOPE})
            acknowledged = mock.next()
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            assert acknowledged["params"]["notifications"] == wanted
            assert acknowledged["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": identity}
        mock.start("tools/call", {"name": "echo", **ENVELOPE})
        changed = mock.next()
        assert changed["method"] == "notifications/tools/list_changed"
        assert changed["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 1}
        # The default answer knows only the new tools.
        assert mock.next()["error"]["code"] == -32602
        mock.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        mock.start("tools/call", {"name": "echo", **ENVELOPE})
        assert "error" in mock.next()
        assert [t["name"] for t in mock.ask_modern("tools/list")["result"]["tools"]] == ["new"]
