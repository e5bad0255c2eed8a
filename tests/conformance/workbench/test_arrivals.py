"""The evidence that an answer of the proxy comes from an upstream: arrivals and receipts in the journals."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from conformance.errors import HarnessError, Violation
from conformance.workbench.arrivals import Arrivals
from conformance.workbench.inbox import Answer
from conformance.workbench.mocks import StdioMockUpstream
from mock_servers.commands import JOURNAL
from mock_servers.journal import Journal
from mock_servers.script import Script, tool

if TYPE_CHECKING:
    from pathlib import Path

RECEIPT, OTHER = f"receipt-{'a' * 32}", f"receipt-{'b' * 32}"


class Mock:
    """An upstream `a` whose journal the test writes."""

    def __init__(self, folder: Path, script: Script | None = None) -> None:
        self.upstream = StdioMockUpstream("a", script or Script(), folder, folder / "program")
        self.journal = Journal(folder / JOURNAL)
        self.arrivals = Arrivals(lambda: [self.upstream])

    def reads(self, method: str, id: int = 1, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        self.journal.write_line(json.dumps(message).encode())

    def reads_call(self, args: Any, id: int = 1, receipt: str = RECEIPT) -> None:
        self.reads("tools/call", id, name="echo", arguments=args)
        self.journal.write("receipt", request=id, receipt=receipt)

    def must_accept(self, answer: Answer, args: Any, since: float = 0.0) -> None:
        self.arrivals.must_include_call("a", "echo", args, since, answer)


@pytest.fixture
def mock(tmp_path: Path) -> Mock:
    return Mock(tmp_path)


def answered(*texts: str, **members: Any) -> Answer:
    message = {"result": {"content": [{"type": "text", "text": text} for text in texts], **members}}
    return Answer(message, json.dumps(message), 0.0)


class TestACall:
    def test_with_its_receipt_is_accepted(self, mock: Mock) -> None:
        mock.reads_call({"n": 1, "big": 2**60})
        mock.must_accept(answered("{}", RECEIPT), {"n": 1.0, "big": 2**60 + 1})

    def test_that_did_not_arrive_is_a_violation(self, mock: Mock) -> None:
        with pytest.raises(Violation, match=r"the call of echo .* reaches upstream a"):
            mock.must_accept(answered("{}", RECEIPT), {})

    @pytest.mark.parametrize(("args", "late"), [({"n": 2}, False), ({"n": 1}, True)])
    def test_with_other_arguments_or_from_earlier_does_not_count(
        self, mock: Mock, args: dict[str, int], late: bool
    ) -> None:
        mock.reads_call({"n": 1})
        with pytest.raises(Violation, match="reaches upstream a"):
            mock.must_accept(answered("{}", RECEIPT), args, time.monotonic() if late else 0.0)

    def test_with_the_receipt_of_another_call_is_a_violation(self, mock: Mock) -> None:
        mock.reads_call({"n": 1}, 1, RECEIPT)
        mock.reads_call({"n": 2}, 2, OTHER)
        with pytest.raises(Violation, match=RECEIPT):
            mock.must_accept(answered("{}", OTHER), {"n": 1})

    def test_that_the_script_answers_needs_no_receipt(self, mock: Mock) -> None:
        mock.reads("tools/call", name="echo", arguments={})
        mock.must_accept(answered("of the script"), {})

    def test_that_waits_for_input_needs_no_receipt_yet(self, mock: Mock) -> None:
        mock.reads_call({})
        mock.must_accept(answered(resultType="input_required"), {})

    def test_of_a_batch_counts(self, mock: Mock) -> None:
        call = {"id": 1, "method": "tools/call", "params": {"name": "echo"}}
        mock.journal.write_line(json.dumps([call, {"method": "notifications/x"}]).encode())
        mock.must_accept(answered("{}"), {})

    def test_of_a_group_without_a_mock_needs_no_evidence(self, mock: Mock) -> None:
        mock.arrivals.must_include_call("b", "echo", {}, 0.0, answered("x"))

    def test_entries_after_the_first_reading_count(self, mock: Mock) -> None:
        with pytest.raises(Violation):
            mock.must_accept(answered("{}", RECEIPT), {})
        mock.reads_call({})
        mock.must_accept(answered("{}", RECEIPT), {})


class TestAConnection:
    def test_needs_an_opening_and_a_list(self, mock: Mock) -> None:
        assert "no connection" in str(mock.arrivals.connection_gap([mock.upstream]))
        mock.reads("initialize")
        assert "no request for its tools" in str(mock.arrivals.connection_gap([mock.upstream]))
        mock.reads("tools/list")
        assert mock.arrivals.connection_gap([mock.upstream]) is None

    def test_of_a_server_without_tools_needs_no_list(self, tmp_path: Path) -> None:
        mock = Mock(tmp_path, Script(tools=None))
        mock.reads("initialize")
        assert mock.arrivals.connection_gap([mock.upstream]) is None

    def test_of_the_modern_era_needs_no_discovery(self, mock: Mock) -> None:
        mock.reads("tools/list", _meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"})
        assert mock.arrivals.connection_gap([mock.upstream]) is None


class TestResourcesAndPrompts:
    def test_a_read_needs_an_arrival_after_it_was_sent(self, mock: Mock) -> None:
        mock.reads("resources/read", uri="x:1")
        read = Answer({"result": {"contents": [{}]}}, "", 0.0)
        mock.arrivals.must_include_request("resources/read", 0.0, read)
        with pytest.raises(Violation, match="resources/read reaches an upstream"):
            mock.arrivals.must_include_request("resources/read", time.monotonic(), read)

    def test_a_list_may_come_from_earlier_and_an_empty_one_from_nowhere(self, mock: Mock) -> None:
        full = Answer({"result": {"prompts": [{}]}}, "", 0.0)
        empty = Answer({"result": {"prompts": []}}, "", 0.0)
        mock.arrivals.must_include_request("prompts/list", time.monotonic(), empty)
        with pytest.raises(Violation, match="prompts/list reaches an upstream"):
            mock.arrivals.must_include_request("prompts/list", 0.0, full)
        mock.reads("prompts/list")
        mock.arrivals.must_include_request("prompts/list", time.monotonic(), full)


def test_the_text_of_an_answer_has_no_receipt() -> None:
    assert answered('{"x": 1}', RECEIPT).text == '{"x": 1}'
    assert answered(f"one\n{RECEIPT}\ntwo").text == "one\ntwo"


class TestArguments:
    def test_that_the_tool_declares_are_accepted(self, mock: Mock) -> None:
        mock.arrivals.must_be_declared("a", "echo", {"x": 1})
        mock.arrivals.must_be_declared("a", "of-no-script", {"y": 1})
        mock.arrivals.must_be_declared("another", "echo", {"y": 1})

    def test_that_the_tool_does_not_declare_are_a_fault_of_the_check(self, mock: Mock) -> None:
        with pytest.raises(HarnessError, match=r"echo of a with undeclared arguments \['y'\]"):
            mock.arrivals.must_be_declared("a", "echo", {"x": 1, "y": 1})

    def test_of_a_tool_whose_schema_is_the_subject_are_free(self, tmp_path: Path) -> None:
        strict = {**tool("strict"), "inputSchema": {"type": "object", "additionalProperties": False}}
        Mock(tmp_path, Script(tools=[strict])).arrivals.must_be_declared("a", "strict", {"y": 1})
