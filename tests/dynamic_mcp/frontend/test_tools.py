"""The two tools: their definitions, the requests to the upstream, and the results for the client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.errors import HttpStatus, UpstreamFailed, UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.frontend.tools import Toolbox
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol import era
from dynamic_mcp.upstream.handshake import with_request_meta
from tests.dynamic_mcp.fakes import REQUEST_META, Client, FakeGroup, FakeUpstream, named, server

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion


def text_of(answer: dict[str, Any]) -> str:
    (block,) = answer["result"]["content"]
    assert isinstance(block["text"], str)
    return block["text"]


async def test_tool_surface(snapshot: SnapshotAssertion) -> None:
    groups = [
        FakeGroup(server("files", "Reads files")),
        FakeGroup(server("web search", 'Looks "things" up\nfor you')),
    ]
    assert json.loads(Toolbox(named(*groups), Hooks()).definitions) == snapshot


async def test_tool_surface_does_not_depend_on_the_state_of_a_group() -> None:
    here, gone = FakeGroup(server("a"), FakeUpstream()), FakeGroup(server("a"), None)
    assert Toolbox(named(here), Hooks()).definitions == Toolbox(named(gone), Hooks()).definitions


async def test_arguments_reach_the_upstream_unchanged() -> None:
    client = Client()
    args = b'{"big":12345678901234567890123,"f":1.0,"e":1E+2}'
    arguments = b'{"group":"files","name":"echo","args":%b}' % args
    client.send(
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%b","arguments":%b}}'
        % (CALL.encode(), arguments)
    )
    await client.answers(1)
    assert client.upstream.requests == [("tools/call", b'{"name":"echo","arguments":%b}' % args)]


@pytest.mark.parametrize("args", [None, "{}", ' {\n"a": 1} '])
async def test_arguments_may_be_missing_or_in_a_string(args: str | None) -> None:
    client = Client()
    await client.tool(CALL, {"group": "files", "name": "echo", "args": args})
    assert client.upstream.last_params["arguments"] == json.loads(args or "{}")


@pytest.mark.parametrize("params", [None, {}, {"name": 5}, {"name": "get_dynamic_tool", "arguments": {}}])
async def test_what_no_call_can_be_is_an_error(params: object) -> None:
    client = Client()
    answer = await client.ask("tools/call", params)
    assert answer["error"]["code"] == -32602
    assert client.upstream.requests == []


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        (GET, {"group": "file"}, "Did you mean 'files'? Groups: files, broken, off."),
        (GET, {"group": "FILES"}, "Did you mean 'files'? Groups: files, broken, off."),
        (CALL, {"group": "files", "name": "ECHO"}, "Did you mean 'echo'? Tools: echo."),
        (CALL, {"group": "nowhere", "name": "echo"}, "Unknown group 'nowhere'. Groups: files, broken, off."),
        (CALL, {"group": "files", "name": "ecko"}, "Did you mean 'echo'? Tools: echo."),
        (
            GET,
            {"group": "broken"},
            "Group 'broken' is not available: it is broken. Other groups are not affected.",
        ),
        (CALL, {"group": "broken", "name": "echo"}, "Group 'broken' is not available: it is broken."),
        (GET, {"group": "off"}, "switched off in the configuration"),
        (CALL, {"group": "off", "name": "echo"}, "switched off in the configuration"),
    ],
)
async def test_mistakes_of_the_model_are_tool_results(
    tool: str, arguments: dict[str, object], says: str
) -> None:
    client = Client()
    answer = await client.tool(tool, arguments)
    assert answer["result"]["isError"] is True
    assert says in text_of(answer)
    assert client.upstream.requests == []


@pytest.mark.parametrize(
    ("allow", "deny", "name", "says"),
    [
        (("echo",), (), "files.echo", ""),
        (("echo",), (), "files/other", "is not allowed by the configuration (tools.allow)"),
        (None, ("other",), "files.other", "'other' of group 'files' is denied"),
        (None, ("*.other",), "files.other", "'files.other' of group 'files' is denied"),
    ],
)
async def test_filter_knows_a_name_with_its_group(
    allow: tuple[str, ...] | None, deny: tuple[str, ...], name: str, says: str
) -> None:
    client = Client()
    files = client.groups[0]
    files.define(msgspec.structs.replace(files.server, tools=ToolRules(allow, deny)))
    for tool in (GET, CALL):
        answer = await client.tool(tool, {"group": "files", "name": name})
        assert answer["result"].get("isError", False) is bool(says)
        assert not says or says in text_of(answer)


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (
            HttpStatus("it answered with HTTP 422", "too long"),
            "The call of 'echo' in group 'files' failed: it answered",
        ),
        (UpstreamFailed("the answer is malformed"), "The call of 'echo' in group 'files' failed: the answer"),
        (
            UpstreamGone("the server process ended"),
            "Group 'files' is not available: the server process ended.",
        ),
    ],
)
async def test_bad_answer_of_a_connected_server_concerns_the_call(failure: Exception, says: str) -> None:
    client = Client()
    client.groups[0]._state.set_ready(client.upstream)
    client.upstream.answer = failure
    answer = await client.tool(CALL, {"group": "files", "name": "echo"})
    assert text_of(answer).startswith(says)


@pytest.mark.parametrize("support", ["required", "optional", None])
async def test_a_tool_that_needs_a_task_explains_its_refusal(support: str | None) -> None:
    client = Client()
    tool = {"name": "echo", "execution": {"taskSupport": support}}
    client.frontend = client.frontend_over(
        FakeGroup(server("files"), client.upstream, {"echo": json.dumps(tool).encode()})
    )
    client.upstream.answer = UpstreamRefused(b'{"code":-32601,"message":"needs a task"}')
    answer = await client.echo()
    if support == "required":
        assert "runs only as a task" in text_of(answer)
    else:
        assert answer["error"]["message"] == "needs a task"


async def test_meta_of_the_client_is_passed_on_without_hop_keys() -> None:
    client = Client()
    meta = {**REQUEST_META, era.CLIENT_INFO: {}, "progressToken": 7, "com.example/trace": "t"}
    await client.ask(
        "tools/call", {"name": CALL, "arguments": {"group": "files", "name": "echo"}, "_meta": meta}
    )
    assert client.upstream.last_params["_meta"] == {"com.example/trace": "t"}


@pytest.mark.parametrize(
    ("meta", "code"), [(None, None), ({}, None), (5, -32602), ([], -32602), ("x", -32602)]
)
async def test_meta_must_be_an_object(meta: object, code: int | None) -> None:
    client = Client()
    answer = await client.ask(
        "tools/call", {"name": CALL, "arguments": {"group": "files", "name": "echo"}, "_meta": meta}
    )
    assert answer.get("error", {}).get("code") == code
    assert len(client.upstream.requests) == (1 if code is None else 0)


@pytest.mark.parametrize("token", ["", "t", 0, -7, 1.0, None, True, 1.5, [], {}], ids=repr)
async def test_only_a_text_or_a_whole_number_asks_for_progress(token: object) -> None:
    client = Client()
    params = {"name": CALL, "arguments": {"group": "files", "name": "echo"}}
    answer = await client.ask("tools/call", {**params, "_meta": {"progressToken": token}})
    assert not answer["result"].get("isError")
    options = client.upstream.last_options
    assert options is not None
    assert (options.on_progress is not None) is (token in ("", "t", 0, -7, 1.0) and token is not True)


def test_modern_upstream_gets_the_metadata_of_this_hop() -> None:
    for params, kept in ((b"", {}), (b'{"name":"x"}', {}), (b'{"_meta":{"a":1},"name":"x"}', {"a": 1})):
        meta = json.loads(with_request_meta(params))["_meta"]
        assert meta[era.PROTOCOL_VERSION] == era.MODERN
        assert meta[era.CLIENT_INFO]["name"] == "dynamic-mcp"
        assert {name: meta[name] for name in kept} == kept


# Answers of the upstream

RESULT = b'{"content":[],"structuredContent":{"big":12345678901234567890123,"f":1.0},"future":1E+2}'


async def test_legacy_client_gets_the_result_unchanged() -> None:
    client = Client()
    client.upstream.answer = RESULT
    await client.echo()
    assert client.lines == [b'{"jsonrpc":"2.0","id":"q","result":%b}\n' % RESULT]


async def test_modern_client_gets_the_result_with_additional_members() -> None:
    client = Client()
    client.upstream.answer = RESULT
    answer = await client.echo(modern=True)
    assert RESULT[1:-1] in client.lines[0]
    assert answer["result"]["resultType"] == "complete"
    assert answer["result"]["_meta"][era.SERVER_INFO]["name"] == "dynamic-mcp"


async def test_question_of_a_modern_upstream_in_both_eras() -> None:
    client = Client(FakeUpstream(modern=True))
    client.upstream.answer = b'{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}}}'
    modern = await client.echo(modern=True)
    legacy = await client.echo()
    assert modern["result"]["resultType"] == "input_required"
    assert modern["result"]["inputRequests"] == {"a": {"method": "roots/list"}}
    assert legacy["result"]["isError"] is True


@pytest.mark.parametrize("modern", [False, True])
async def test_error_of_the_upstream_is_passed_on_unchanged(modern: bool) -> None:
    client = Client()
    error = b'{"code":-32050,"message":"no","data":{"big":12345678901234567890123},"future":1.0}'
    client.upstream.answer = UpstreamRefused(error)
    await client.echo(modern=modern)
    assert client.lines == [b'{"jsonrpc":"2.0","id":"q","error":%b}\n' % error]


REFUSED = UpstreamRefused(b'{"code":-32602,"message":"not these"}')


async def test_refused_arguments_are_explained_to_the_model() -> None:
    client = Client()
    client.upstream.answer = REFUSED
    answer = await client.echo()
    assert answer["result"]["isError"] is True
    assert "not these" in text_of(answer)


@pytest.mark.parametrize("later", [{"inputResponses": {"q": {}}}, {"requestState": "sealed"}])
async def test_refused_later_round_is_an_error(later: dict[str, Any]) -> None:
    client = Client()
    client.upstream.answer = REFUSED
    call = {"name": CALL, "arguments": {"group": "files", "name": "echo"}}
    answer = await client.ask("tools/call", {**call, **later}, modern=True)
    assert answer["error"] == {"code": -32602, "message": "not these"}


@pytest.mark.parametrize("problem", [UpstreamTimeout("no answer within 5 s"), UpstreamGone("it crashed")])
async def test_missing_answer_is_a_failed_tool_call(problem: Exception) -> None:
    client = Client()
    client.upstream.answer = problem
    answer = await client.echo()
    assert answer["result"]["isError"] is True
    assert str(problem) in text_of(answer)


async def test_bug_of_the_proxy_is_an_internal_error_and_the_session_goes_on() -> None:
    client = Client()
    client.upstream.answer = RuntimeError("a secret")
    answer = await client.echo()
    assert answer["error"]["code"] == -32603
    assert "secret" not in answer["error"]["message"]
    assert (await client.ask("ping"))["result"] == {}
