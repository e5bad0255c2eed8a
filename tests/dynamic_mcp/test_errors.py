"""The copies of failures: a caller may add to its copy what no other caller gets."""

from __future__ import annotations

from dynamic_mcp.errors import HttpStatus, UpstreamFailed


def test_a_remedy_goes_into_a_copy() -> None:
    failure = HttpStatus("HTTP 503", "busy", status=503, retry_after=5.0)
    copy = failure.with_remedy("Wait.")
    assert (failure.remedy, copy.remedy) == ("", "Wait.")
    assert (str(copy), copy.last_output, copy.status, copy.retry_after) == ("HTTP 503", "busy", 503, 5.0)


def test_a_last_output_goes_into_a_copy_and_replaces_no_other_one() -> None:
    failure = UpstreamFailed("it ended")
    copy = failure.with_last_output("first")
    assert (failure.last_output, copy.last_output) == ("", "first")
    assert copy.with_last_output("second").last_output == "first"
