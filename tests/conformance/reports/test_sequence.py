"""The sequence diagram: the meaning of events, and their place in the diagram."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.model.evidence import Event
from conformance.reports.html.render import TEMPLATES
from conformance.reports.html.sequence import Diagram, DiagramLine, draw
from conformance.reports.html.steps import field, read_log

ORIGIN = "http://127.0.0.1:4000"


def event(actor: str, kind: str, text: str = "", peer: str = "") -> Event:
    return Event(1.0, actor, kind, text, peer)


def journal(actor: str, kind: str, **data: Any) -> Event:
    """The event of an entry in the journal of a mock."""
    return event(actor, kind, f"pid 9 {json.dumps(data)}")


def diagram(*events: Event, most: int = 100, longest: int = 600, minor: bool = True) -> Diagram:
    return draw(read_log(events), most=most, longest=longest, minor=minor)


def lines_of(drawn: Diagram) -> list[tuple[str, str, str]]:
    return [(line.direction, line.who, line.label) for line in drawn.lines]


def test_a_call_goes_to_the_upstream_and_back() -> None:
    drawn = diagram(
        event("proxy", "start", "pid 7: proxy config.json"),
        event("client", "in", '{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}'),
        journal("upstream a", "start", ppid=7),
        event("upstream a", "line", 'pid 9 {"jsonrpc":"2.0","id":5,"method":"tools/call"}'),
        event("upstream a", "sent", 'pid 9 {"jsonrpc":"2.0","id":5,"error":{"code":-1}}'),
        event("proxy", "out", '{"jsonrpc":"2.0","id":1,"result":{"isError":true}}'),
        event("runner", "close-stdin"),
        event("upstream a", "eof", "pid 9 "),
        event("proxy", "exit", "exit status 0"),
    )
    assert drawn.lanes == ("client", "proxy", "upstream a")
    assert lines_of(drawn) == [
        ("n", "proxy", "start"),
        ("r", "client → proxy", "tools/call 1"),
        ("n", "upstream a", "start"),
        ("r", "proxy → upstream a", "tools/call 5"),
        ("l", "upstream a → proxy", "tools/call error 5"),
        ("l", "proxy → client", "tools/call error 1"),
        ("r", "client → proxy", "closes stdin"),
        ("r", "proxy → upstream a", "end of input"),
        ("n", "proxy", "exit"),
    ]
    assert [(line.first, line.width) for line in drawn.lines[:5]] == [(1, 1), (0, 2), (2, 1), (1, 2), (1, 2)]


def http(n: int, method: str, target: str, **more: Any) -> Event:
    return journal("upstream a", "http-request", n=n, connection=1, method=method, target=target, **more)


def test_a_sign_in_has_an_authorization_server_and_a_browser() -> None:
    drawn = diagram(
        event("proxy", "start", "pid 7: proxy"),
        journal("upstream a", "listening", url=f"{ORIGIN}/mcp", issuer=ORIGIN),
        http(1, "POST", "/mcp", text='{"method":"ping"}'),
        journal("upstream a", "http-response", n=1, status=401),
        http(2, "GET", "/.well-known/oauth-protected-resource/mcp"),
        http(3, "GET", "/.well-known/oauth-authorization-server"),
        journal("upstream a", "http-response", n=3, status=200),
        journal("browser", "opened", argv=["xdg-open"], url=f"{ORIGIN}/authorize?state=s"),
        http(4, "GET", "/authorize?state=s"),
        journal("upstream a", "authorize", n=4, problem=None),
        journal("upstream a", "http-response", n=4, status=302),
        journal("browser", "callback", url="http://127.0.0.1:5000/callback", status=200),
        http(5, "POST", "/token"),
        journal("upstream a", "token", n=5, problem="invalid_grant: used before"),
    )
    server = "authorization server of a"
    assert drawn.lanes == ("proxy", "upstream a", server, "browser")
    assert lines_of(drawn)[2:] == [
        ("r", "proxy → upstream a", "POST /mcp ping"),
        ("l", "upstream a → proxy", "HTTP 401"),
        ("r", "proxy → upstream a", "GET /.well-known/oauth-protected-resource/mcp"),
        ("r", f"proxy → {server}", "GET /.well-known/oauth-authorization-server"),
        ("l", f"{server} → proxy", "HTTP 200"),
        ("r", "proxy → browser", "opens a page"),
        ("l", f"browser → {server}", "GET /authorize"),
        ("n", server, "authorize granted"),
        ("r", f"{server} → browser", "HTTP 302"),
        ("l", "browser → proxy", "callback, answered 200"),
        ("r", f"proxy → {server}", "POST /token"),
        ("n", server, "token refused: invalid_grant: used before"),
    ]


def test_several_proxies_have_their_own_messages_and_children() -> None:
    drawn = diagram(
        event("proxy", "start", "pid 7: proxy"),
        event("proxy-2", "start", "pid 8: proxy"),
        event("client", "in", '{"method": "ping"}', peer="proxy"),
        journal("upstream a", "start", ppid=7),
        event("upstream a", "line", 'pid 9 {"method":"ping"}'),
        event("runner", "signal", "SIGTERM", peer="proxy"),
    )
    who = [line.who for line in drawn.lines[2:]]
    assert who == ["client → proxy", "upstream a", "proxy → upstream a", "client → proxy"]
    assert drawn.lines[-1].label == "SIGTERM"


def test_an_answer_over_http_names_its_method() -> None:
    drawn = diagram(
        http(1, "POST", "/mcp", text='{"jsonrpc":"2.0","id":4,"method":"tools/list"}'),
        event("upstream a", "sent", 'pid 9 {"jsonrpc":"2.0","id":4,"result":{}}'),
    )
    assert [line.label for line in drawn.lines] == ["POST /mcp tools/list", "tools/list result 4"]


def test_leftover_processes_are_shown() -> None:
    drawn = diagram(
        journal("upstream a", "grandchild-start", ppid=9), event("runner", "ended-leftover", "pid 5 sleep")
    )
    assert drawn.lanes == ("processes",)
    assert lines_of(drawn) == [
        ("n", "processes", "grandchild-start of upstream a"),
        ("n", "processes", "left over, ended by the runner"),
    ]


def test_a_remark_spans_all_lanes() -> None:
    drawn = diagram(event("check", "note", "the second case"), event("runner", "dropped", "3 events"))
    assert drawn.lanes == ()
    assert lines_of(drawn) == [("x", "", "note"), ("x", "", "dropped")]
    assert [line.text for line in drawn.lines] == ["the second case", "3 events"]


def test_an_unknown_actor_has_a_lane() -> None:
    drawn = diagram(event("observer", "saw", "something"))
    assert (drawn.lanes, lines_of(drawn)) == (("observer",), [("n", "observer", "saw")])


def test_many_upstreams_share_a_lane_and_each_line_names_its_own() -> None:
    drawn = diagram(*(event(f"upstream {name}", "sent", 'pid 9 {"method":"ping"}') for name in "abcde"))
    assert drawn.lanes == ("proxy", "5 upstreams")
    assert [(line.about, line.label) for line in drawn.lines] == [(name, "ping") for name in "abcde"]


def test_a_long_log_shows_both_ends() -> None:
    drawn = diagram(*(event("check", "note", str(number)) for number in range(100)), most=9)
    texts = [line.text for line in drawn.lines]
    assert texts == ["0", "1", "2", "", "94", "95", "96", "97", "98", "99"]
    assert drawn.lines[3].label == "91 events are not shown here"


def test_minor_steps_can_be_left_out() -> None:
    events = (
        journal("upstream a", "connection", connection=1),
        journal("upstream a", "http-end", n=1, by="cut"),
    )
    assert [line.minor for line in diagram(*events).lines] == [True, False]
    assert [line.label for line in diagram(*events, minor=False).lines] == ["the connection breaks"]


def test_a_cut_text_has_the_number_of_missing_characters() -> None:
    (line,) = diagram(event("check", "note", "x" * 20), longest=5).lines
    assert line.text == "xxxxx [... 15 characters]"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('pid 1 {"n": 12, "n": 13}', "12"),
        ('pid 1 {"n": "a\\"b"}', 'a"b'),
        ('pid 1 {"n": "cut [... 9 characters', ""),
        ('pid 1 {"n": null}', ""),
        ('pid 1 {"n": [1]}', ""),
        ('pid 1 {"n": ' + "[" * 100_000, ""),
        ('pid 1 {"n": ' + "9" * 10_000, ""),
        ("", ""),
    ],
)
def test_a_field_is_found_even_in_broken_json(text: str, value: str) -> None:
    assert field(text, "n") == value


_MESSAGES = [
    "in",
    "out",
    "line",
    "sent",
    "http-request",
    "http-response",
    "http-end",
    "connection",
    "callback",
]
_HAPPENINGS = [
    "start",
    "listening",
    "authorize",
    "opened",
    "signal",
    "grandchild-exit",
    "ended-leftover",
    "other",
]
_KINDS = st.sampled_from([*_MESSAGES, *_HAPPENINGS])
_ACTORS = st.one_of(
    st.sampled_from(["client", "runner", "check", "browser"]),
    st.builds("{} {}".format, st.sampled_from(["upstream", "mock", "proxy-1", ""]), st.text(max_size=3)),
    st.builds("proxy-{}".format, st.integers(0, 9)),
)
_FIELDS = st.sampled_from(["n", "by", "method", "target", "url", "issuer", "ppid", "status"])
_VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=9), st.lists(st.integers()))
_DATA = st.dictionaries(_FIELDS, _VALUES).map(lambda data: f"pid 1 {json.dumps(data)}")
_TEXTS = st.one_of(st.text(max_size=30), _DATA)
_EVENTS = st.lists(
    st.builds(Event, st.floats(0, 1e6), _ACTORS, _KINDS, _TEXTS, st.text(max_size=9)), max_size=30
)


@given(_EVENTS, st.integers(1, 40))
def test_any_log_becomes_a_diagram_with_every_line_on_lanes(events: list[Event], most: int) -> None:
    steps = read_log(events)
    drawn = draw(steps, most=most, longest=50)
    assert len(steps) == len(events)
    assert len(drawn.lines) == (len(events) if len(events) <= most else most + 1)
    for line in drawn.lines:
        assert line.first >= 0
        assert line.direction == "x" or line.first + line.width <= len(drawn.lanes)


def test_the_style_has_the_greatest_possible_number_of_lanes() -> None:
    names = ["proxy", "proxy-2", "proxy-3", "one", "two"]
    names += [f"upstream {name}" for name in "abcd"] + ["browser"]
    drawn = diagram(
        event("client", "in"),
        event("runner", "ended-leftover"),
        *(event(name, "other") for name in names),
        journal("upstream a", "token", n=1),
        journal("upstream b", "token", n=1),
    )
    style = (TEMPLATES / "page.css").read_text()
    most = len(drawn.lanes)
    assert most == 14
    assert {f".n{most}", f".f{most - 1}", f".k{most}"} <= set(re.findall(r"\.[a-z]\d+", style))


def test_a_line_from_right_to_left_begins_at_its_left_lane() -> None:
    line = DiagramLine(0.0, 3, 1, "a → b", "label", "")
    assert (line.first, line.width, line.direction) == (1, 3, "l")
