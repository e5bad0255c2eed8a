"""What servers send that is almost right: errors, ids, numbers and nulls."""

from __future__ import annotations

import json

import pytest

from dynamic_mcp.protocol.answers import MAX_REPAIRED, valid_error
from dynamic_mcp.protocol.ids import id_key, own_id_key, whole_number
from dynamic_mcp.protocol.jsonrpc import Repaired, parse
from dynamic_mcp.protocol.large import parse as parse_large
from dynamic_mcp.protocol.nulls import valid_result, without_nulls
from dynamic_mcp.protocol.numbers import with_valid_numbers
from dynamic_mcp.protocol.pieces import Large

LONG_TEXT = "null" * 5000


@pytest.mark.parametrize("error", [b'{"code":1,"message":""}', b'{ "message":"m","x":[1.0], "code":-32000}'])
def test_valid_errors_keep_their_bytes(error: bytes) -> None:
    assert valid_error(error) is error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        ('"boom"', -32603, "boom"),
        ("[1]", -32603, "[1]"),
        ("7", -32603, "7"),
        ("{}", -32603, "the server gave no reason"),
        ('{"message":"m"}', -32603, "m"),
        ('{"code":"ECONN","message":"m"}', -32603, "ECONN: m"),
        ('{"code":"-32001","message":"m"}', -32001, "m"),
        ('{"code":-32001.0,"message":"m"}', -32001, "m"),
        ('{"code":1.5,"message":"m"}', -32603, "1.5: m"),
        ('{"code":null,"message":"m"}', -32603, "m"),
        ('{"code":2147483647,"message":"m"}', 2147483647, "m"),
        ('{"code":2147483648,"message":"m"}', -32603, "2147483648: m"),
        ('{"code":-9999999999999999999999,"message":"m"}', -32603, "-9999999999999999999999: m"),
        ('{"code":5,"message":null}', 5, "the server gave no reason"),
        ('{"code":5,"message":{"a":1}}', 5, '{"a":1}'),
        ('{"code":5,"msg":"m"}', 5, '{"code":5,"msg":"m"}'),
    ],
)
def test_other_errors_become_valid_and_keep_their_reason(error: str, code: int, text: str) -> None:
    fixed = json.loads(valid_error(error.encode()))
    assert (fixed["code"], fixed["message"]) == (code, text)


def test_other_members_of_an_error_stay() -> None:
    assert json.loads(valid_error(b'{"message":"m","data":{"a":null}}'))["data"] == {"a": None}


@pytest.mark.parametrize("id", ["7", '"7"', "7.0", '"7.0"', "7.00", "7e0", "0.7E1", "0.07e+02"])
def test_ids_in_another_spelling(id: str) -> None:
    assert whole_number(id.encode()) == 7


@pytest.mark.parametrize("id", ["", "null", "7.5", '"7', '" 7"', "7.5e0", "7e400", '"x"', "[7]"])
def test_other_ids_are_none(id: str) -> None:
    assert whole_number(id.encode()) is None


def test_whole_numbers_stay_exact() -> None:
    assert whole_number(b"4.360123456789012E15") == 4360123456789012
    assert whole_number(b"-9007199254740993.0") == -9007199254740993


def test_equal_ids_have_equal_keys() -> None:
    for same in (("7", "7.0", "7e0"), ('"a"', '"\\u0061"'), ("1.5", "15e-1")):
        assert len({id_key(id.encode()) for id in same}) == 1
        assert len({own_id_key(id.encode()) for id in same}) == 1
    others = ["7", '"7"', "8", "1e400", "null", "[7]", "", '"\\ud800"', '"\xff"']
    assert len({id_key(id.encode("latin-1")) for id in others}) == len(others)
    assert own_id_key(b'"7"') == own_id_key(b"7.0") == 7


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("[NaN,-Infinity, Infinity ]", "[null,null, null ]"),
        (r'{"NaN":"NaN \" NaN","a":NaN}', r'{"NaN":"NaN \" NaN","a":null}'),
        ('"NaN"', '"NaN"'),
        ("[-NaN,-Infinity,1,NaN]", "[null,null,1,null]"),
        ('[NaN,"a', '[null,"a'),
        ('[NaN,"\\', '[NaN,"\\'),
        ('[NaN,"a",NaN,Nope]', '[NaN,"a",NaN,Nope]'),
    ],
)
def test_numbers_that_are_no_json_become_null(text: str, repaired: str) -> None:
    assert with_valid_numbers(text.encode()) == repaired.encode()


@pytest.mark.parametrize("text", ["[Nope, NaN]", '["NaN', "NaN Inf"])
def test_text_with_other_bare_words_stays(text: str) -> None:
    assert with_valid_numbers(text.encode()) in (text.encode(), text.encode().replace(b"NaN", b"null"))


def test_a_number_is_null_in_a_message_of_any_size() -> None:
    small = parse(b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}')
    assert type(small) is Repaired
    assert bytes(small.result) == b'{"a":null}'


async def test_a_number_is_null_in_a_large_message() -> None:
    value = ",".join(f'"text NaN {n}",NaN,-Infinity,{n}' for n in range(20_000))
    line = f'\ufeff{{"jsonrpc":"2.0","id":1,"result":{{"a":[{value}],"é":NaN}}}}'.encode()
    large = await parse_large(Large([line[start : start + 1000] for start in range(0, len(line), 1000)]))
    assert type(large) is Repaired
    assert json.loads(bytes(large.result)) == json.loads(
        bytes(large.result), parse_constant=lambda _: pytest.fail("not JSON")
    )
    expected = [one for n in range(20_000) for one in (f"text NaN {n}", None, None, n)]
    assert json.loads(bytes(large.result)) == {"a": expected, "é": None}


def test_nulls_of_the_server_stay() -> None:
    value = b'{"structuredContent":{"a":null},"_meta":{"b":null}, "text":"null"}'
    assert without_nulls(value) is value
    assert json.loads(
        without_nulls(b'{"title":null,"content":[null,{"size":null,"x":null}],"x":[null]}')
    ) == {
        "content": [{"x": None}],
        "x": [None],
    }


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ('{"content":null}', {"content": []}),
        ('{"content":"x"}', {"content": [{"type": "text", "text": "x"}]}),
        ('{"content":{"type":"text","text":"x"}}', {"content": [{"type": "text", "text": "x"}]}),
        ('{"content":[null,"x"]}', {"content": [{"type": "text", "text": "x"}]}),
        (
            '{"content":[{"type":"text","text":"x","annotations":null}],"isError":null}',
            {"content": [{"type": "text", "text": "x"}]},
        ),
        pytest.param(
            f'{{"content":[{{"text":"{LONG_TEXT}","type":"text","annotations":null}}]}}',
            {"content": [{"text": LONG_TEXT, "type": "text"}]},
            id="a null beside a long text",
        ),
        pytest.param(
            f'{{"content":"{LONG_TEXT}"}}',
            {"content": [{"type": "text", "text": LONG_TEXT}]},
            id="a long text in place of a list",
        ),
        ("{}", {"content": []}),
        ('{"resultType":"complete"}', {"resultType": "complete", "content": []}),
        ('{"structuredContent":{"a":null}}', {"structuredContent": {"a": None}, "content": []}),
    ],
)
def test_results_of_tools_become_valid(result: str, expected: object) -> None:
    assert json.loads(valid_result("tools/call", result.encode())) == expected


def test_valid_results_keep_their_bytes() -> None:
    long = b'{"content":[{"type":"text","text":"%b"}]}' % LONG_TEXT.encode()
    for result in (b'{"content": [ ] }', b'{"content":[{"type":"text","text":"null"}]}', long):
        assert valid_result("tools/call", result) == result


@pytest.mark.parametrize(("method", "name"), [("resources/read", "contents"), ("prompts/get", "messages")])
@pytest.mark.parametrize("result", ['{"%s":null,"x":1}', '{"x":1}'])
def test_other_results_get_their_list_too(method: str, name: str, result: str) -> None:
    made = valid_result(method, (result % name if "%" in result else result).encode())
    assert json.loads(made) == {name: [], "x": 1}
    kept = f'{{"x":1, "{name}": []}}'.encode()
    assert valid_result(method, kept) is kept


@pytest.mark.parametrize(
    "result",
    [
        b'{"resultType":"input_required","requestState":"s"}',
        b'{"resultType": "other"}',
        b'{"task":{"taskId":"1"}}',
        b'{"toolResult":1}',
    ],
)
def test_results_of_another_kind_get_no_list(result: bytes) -> None:
    assert valid_result("tools/call", result) is result


def test_a_large_error_of_another_form_becomes_a_text() -> None:
    error = (
        '{"code":"x","message":"m",' + ",".join(f'"{number}":1' for number in range(MAX_REPAIRED // 5)) + "}"
    )
    fixed = json.loads(valid_error(error.encode()))
    assert fixed.keys() == {"code", "message"}
    assert fixed["message"].startswith('{"code":"x","message":"m","0":1,')


def test_nulls_go_up_to_a_bound() -> None:
    """Each object with a null takes five microseconds, and a result has room for 30,000."""
    block = {"type": "text", "text": "x"}
    many = json.dumps({"content": [{**block, "title": None}] * 9000}).encode()
    found = json.loads(valid_result("tools/call", many))["content"]
    assert len(found) == 9000
    assert found[0] == block
    assert "title" in found[-1]


def test_result_with_very_many_members_stays() -> None:
    many = json.dumps({"content": None, **{str(number): 1 for number in range(40_000)}}).encode()
    assert valid_result("tools/call", many) is many
    one = json.dumps({"content": None, "rows": "x" * 100_000}).encode()
    assert json.loads(valid_result("tools/call", one))["content"] == []
