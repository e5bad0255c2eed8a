"""JUnit XML, in the subset that common CI servers agree on.

Each family is a test suite. A failed requirement is a `failure`; a timeout, a crash and a harness error are an `error`. `n/a`, a known
failure, a result that was not repeated and a check that did not run are `skipped`. They do not show that the requirement holds. A broken
requirement that is not required passes with its text in `system-out`, unless the run was strict. The level, era and reach of a requirement
are `properties` of its test case. U+FFFD replaces characters that XML cannot hold.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import groupby
from typing import TYPE_CHECKING

from conformance.model.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.results import Result, RunReport

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ERRORS = frozenset({Verdict.TIMEOUT, Verdict.CRASH, Verdict.HARNESS_ERROR})


def render(report: RunReport) -> str:
    """A `testsuites` document."""
    root = ET.Element(
        "testsuites",
        name=_clean(f"conformance of {report.implementation}, requirements {report.specification}"),
    )
    missing = report.why_incomplete
    entries: list[tuple[str, Result | None]] = [(result.id, result) for result in report.results]
    entries += [(requirement_id, None) for requirement_id in report.not_run]
    entries.sort(key=lambda entry: entry[0])
    for family, of_family in groupby(entries, key=lambda entry: entry[0].partition("-")[0]):
        _suite(root, family, list(of_family), f"not run: {missing}", strict=report.strict)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{report.duration_s:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(
    root: ET.Element,
    family: str,
    entries: Sequence[tuple[str, Result | None]],
    why_missing: str,
    *,
    strict: bool,
) -> None:
    suite = ET.SubElement(root, "testsuite", name=family)
    for requirement_id, result in entries:
        if result is None:
            case = ET.SubElement(suite, "testcase", classname=family, name=requirement_id, time="0.000")
            ET.SubElement(case, "skipped", message=why_missing)
        else:
            _case(suite, family, result, strict=strict)
    suite.set("tests", str(len(entries)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{sum(result.duration_s for _, result in entries if result is not None):.3f}")


def _case(suite: ET.Element, family: str, result: Result, *, strict: bool) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=family,
        name=_clean(f"{result.id} {result.title}"),
        time=f"{result.duration_s:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    for name, value in (("level", result.level_text), ("era", result.era), ("reach", result.reach)):
        if value is not None:
            ET.SubElement(properties, "property", name=name, value=str(value))
    first_line = _clean(result.message.partition("\n")[0])
    facts = [
        *result.circumstances,
        *(("source", source) for source in result.sources),
        ("rerun", result.rerun),
    ]
    text = _clean("\n".join([result.message, "", *(f"{label}: {said}" for label, said in facts)]))
    if result.known is not None:
        message = _clean(f"known {result.verdict}: {result.known}")
        ET.SubElement(case, "skipped", message=message).text = text
    elif result.unrepeated:
        message = _clean(f"{result.verdict_words}, because the run was interrupted: {first_line}")
        ET.SubElement(case, "skipped", message=message).text = text
    elif result.verdict is Verdict.NOT_APPLICABLE:
        ET.SubElement(case, "skipped", message=first_line)
    elif result.stale:
        message = "the baseline expects a failure, but the check passes"
        ET.SubElement(case, "failure", message=message, type="stale").text = text
    elif result.is_failure(strict=strict):
        tag = "error" if result.verdict in _ERRORS else "failure"
        ET.SubElement(case, tag, message=first_line, type=str(result.verdict)).text = text
    elif result.verdict is not Verdict.PASS:
        ET.SubElement(case, "system-out").text = f"{result.verdict}: {text}"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
