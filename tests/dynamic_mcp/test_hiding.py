"""The last words of a server without the values of the configuration."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.config.model import RemoteTransport, StdioTransport
from dynamic_mcp.hiding import MAX_CHARACTERS, MIN_LENGTH, HiddenValues, hide_in_json
from dynamic_mcp.secret import Secret

TOKEN = "s3cr3t-value-4711"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (TOKEN, TOKEN),
        (f"--token={TOKEN}", TOKEN),
        (f"--token={TOKEN}", f"['x', '--token={TOKEN}']"),
        (f"-p{TOKEN}", TOKEN),
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        (f"X-Key:{TOKEN}", TOKEN),
        ("Bearer hunter", "hunter"),
        ("https://jane:hunter@example.com/x", "hunter"),
        (f"https://example.com/{TOKEN}/x", TOKEN),
        ("https://example.com/x?key=hunter&a=1", "hunter"),
        (f'{{"token": "{TOKEN}"}}', TOKEN),
        ('{"a":{"token":"hunter"}}', "hunter"),
        ("first line\nsecond line", "second line"),
        ("a'b\"c\\d", "a'b\\\"c\\\\d"),
        ("tab\there\x1b", "tab\\there\\x1b"),
        ("Größe-日本語", "Größe-日本語"),
    ],
)
def test_value_and_its_parts_are_hidden(value: str, words: str) -> None:
    shown = HiddenValues([value]).hide(f"before {words} after")

    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "[hidden]" in shown
    assert words not in shown
    assert "hunter" not in shown
    assert TOKEN not in shown


def test_useful_words_stay() -> None:
    values = ["-m", "stdio", "--verbose", "--no-cache", "-v", "8080", "python3.11", "/opt/bin/fetch-server"]
    hidden = HiddenValues(values, programs=["/usr/bin/python3.11", "/opt/bin/fetch-server"])
    words = "python3.11 -m stdio --verbose --no-cache fetch-server 8080: No module named x"

    assert hidden.hide(words) == words


def test_longer_value_is_not_hidden_by_half() -> None:
    assert HiddenValues(["abcdef", "abcdef-and-more"]).hide("x abcdef-and-more y") == "x [hidden] y"
    assert HiddenValues(["abcdef", "defghi"]).hide("x abcdefghi y") == "x [hidden] y"


@given(st.lists(st.text("ab-=\n", min_size=MIN_LENGTH, max_size=20), max_size=5), st.data())
def test_no_value_remains(values: list[str], data: st.DataObject) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from([*values, "a", "-", "\n"]), max_size=10)))
    shown = HiddenValues([f"={value}" for value in values]).hide(text).split("[hidden]")

    assert not [value for value in values for part in shown if value in part]


def test_overlapping_places_of_a_value_are_one_place() -> None:
    hidden = HiddenValues(["aaaaaa"])
    assert len([*hidden._places("a" * 10_000)]) == 1
    assert hidden.hide("a" * 10_000 + "baaaaaab") == "[hidden]b[hidden]b"


def test_begin_that_may_be_the_end_of_a_value_is_left_out() -> None:
    hidden = HiddenValues(["0123456789"])

    assert hidden.hide("56789 0123456789 x", whole=False) == " x"


def test_end_is_bounded() -> None:
    hidden = HiddenValues([TOKEN])

    assert hidden.end_of("\n".join(map(str, range(9)))) == "4\n5\n6\n7\n8"
    assert len(hidden.end_of("x" * 10_000)) == MAX_CHARACTERS


def test_many_values_in_much_output_take_little_time() -> None:
    hidden = HiddenValues([f"value-number-{number}" for number in range(5000)])
    text = "value-number-4999 " * 600
    began = time.process_time()

    assert hidden.hide(text) == "[hidden] " * 600
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    "value", [":" + " " * 100_000 + '"', "=" + " " * 100_000 + '"', ": " * 100_000 + '"']
)
def test_value_of_many_spaces_takes_little_time(value: str) -> None:
    began = time.process_time()

    assert HiddenValues([value]).hide(f"x{value}y") == "x[hidden]y"
    assert time.process_time() - began < 2.0


def test_values_of_each_transport() -> None:
    child = StdioTransport(
        "run-server", ("argument-1",), (("A", Secret("variable-1")),), prefix=("sandbox", "prefix-1")
    )
    remote = RemoteTransport(Secret("https://example.com/?k=address-1"), (("X", Secret("header-1")),))

    assert child.hidden().hide("sandbox run-server argument-1 variable-1 prefix-1") == (
        "sandbox run-server [hidden] [hidden] [hidden]"
    )
    assert remote.hidden().hide("address-1 header-1") == "[hidden] [hidden]"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"message": "bad key hunter2", "data": 1.50}', b'{"message": "bad key [hidden]", "data": 1.50}'),
        (b'{"message":"bad key h\\u0075nter2"}', b'{"message":"bad key [hidden]"}'),
        (b'{"data":{"hunter2":["hunter2"]}}', b'{"data":{"[hidden]":["[hidden]"]}}'),
        (b'{"message":"\\"hunter2\\" \\\\"}', b'{"message":"\\"[hidden]\\" \\\\"}'),
        (b'"hunter2 \\ud800"', b'"[hidden] \\\\ud800"'),
        (b'{"message":"nothing","data":NaN}', b'{"message":"nothing","data":NaN}'),
    ],
)
def test_values_in_json_are_hidden_and_the_rest_stays(raw: bytes, shown: bytes) -> None:
    assert hide_in_json(raw, [HiddenValues(["hunter2", "message"])]) == shown


def test_texts_that_are_too_short_for_a_value_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    hidden = HiddenValues(["hunter"])

    def noted(text: str) -> str:
        searched.append(text)
        return text

    monkeypatch.setattr(hidden, "hide", noted)
    hide_in_json(b'{"message":"hunter","data":["a","","hunte"]}', [hidden])
    assert searched == ["hunter"]
