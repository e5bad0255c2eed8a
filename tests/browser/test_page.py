"""The HTML report in a browser: filters, keyboard, no script, contrast, narrow and wide, nothing loaded, large runs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from conformance.model.evidence import Event, Evidence
from conformance.reports.html.render import MAX_BYTES, render_comparison
from tests.conformance.reports.test_html import LOG, OTHER, long_report
from tests.conformance.reports.test_html_hostile import HOSTILE, everywhere
from tests.conformance.reports.test_reports import REPORT, result

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from .conftest import Visit

    Open = Callable[..., Visit]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

COMPARISON = render_comparison([REPORT, OTHER])
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


def choose(visit: Visit, name: str, value: str) -> None:
    visit.page.select_option(f"select[name={name}]", value)


def open_everything(page: Page) -> None:
    page.click("text=Open all shown")
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.wait_for_function("!document.querySelector('[data-log]')")


# Nothing is loaded, nothing runs


def test_it_loads_nothing_but_itself_and_has_nothing_to_complain_about(visit: Open) -> None:
    seen = visit(COMPARISON)
    open_everything(seen.page)
    assert [url.rpartition("/")[2] for url in seen.requests] == ["report.html"]
    assert seen.complaints == []


def test_hostile_text_neither_runs_nor_becomes_an_element(visit: Open) -> None:
    seen = visit(render_comparison([everywhere(HOSTILE), everywhere("x")]))
    open_everything(seen.page)
    assert len(seen.requests) == 1
    assert seen.complaints == []
    assert seen.page.locator("img, iframe, object, [onerror]").count() == 0
    assert seen.page.evaluate("document.scripts.length") == 2
    assert "onerror=alert(1)" in seen.page.inner_text("h1")


def test_the_policy_stops_what_would_get_past_the_escaping(visit: Open) -> None:
    """The second line of defence, tried with a page that was tampered with."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        attack = (
            f'<img src="http://127.0.0.1:{port}/"><script>document.title = "attacked"</script><b onclick="1">'
        )
        seen = visit(COMPARISON.replace("<main>", f"<main>{attack}"))
        assert seen.page.title() == "Conformance of fake, other"
        with pytest.raises(BlockingIOError):
            server.accept()
    assert len([text for text in seen.complaints if "Content Security Policy" in text]) >= 3


# Filters


def test_searching_leaves_the_requirements_that_have_all_words(visit: Open) -> None:
    seen = visit(COMPARISON)
    assert seen.count == "11 of 11 requirements"
    assert len(seen.rows) == 11
    seen.page.get_by_role("searchbox", name="Search").fill("Upstream  FIRST starts")
    assert seen.rows == seen.details == ["CFG-002"]
    assert seen.count == "1 of 11 requirements"
    assert seen.page.get_by_role("status").first.inner_text() == seen.count
    assert not seen.page.locator("#_table tr.family", has_text="HARD").is_visible()
    assert not seen.page.get_by_role("heading", name="HARD").is_visible()


@pytest.mark.parametrize(
    ("name", "value", "rows"),
    [
        ("family", "HARD", ["HARD-002"]),
        ("level", "MAY", ["HARD-002"]),
        ("verdict", "known", ["CFG-006"]),
        ("verdict", "stale", ["CFG-007"]),
        ("verdict", "planned", ["OPS-001"]),
        ("verdict", "differs", ["CFG-002", "CFG-006"]),
    ],
)
def test_a_filter_leaves_what_fits(name: str, value: str, rows: list[str], visit: Open) -> None:
    seen = visit(COMPARISON)
    choose(seen, name, value)
    assert seen.rows == seen.details == rows
    assert seen.count == f"{len(rows)} of 11 requirements"


def test_what_did_not_pass_can_be_seen_alone(visit: Open) -> None:
    seen = visit(COMPARISON)
    choose(seen, "verdict", "not passed")
    # Passed, not applicable and planned are left out; not run is not.
    assert len(seen.rows) == 8
    assert not {"CFG-001", "CFG-005", "OPS-001"} & set(seen.rows)


def test_filters_work_together_and_can_be_taken_back(visit: Open) -> None:
    seen = visit(COMPARISON)
    choose(seen, "family", "CFG")
    choose(seen, "verdict", "pass")
    seen.page.fill("input[type=search]", "environment")
    assert seen.rows == ["CFG-002"]
    seen.page.click("text=Show all")
    seen.page.wait_for_function("document.getElementById('_count').textContent.startsWith('11')")
    assert len(seen.rows) == 11


def test_columns_are_sorted_inside_each_family(visit: Open) -> None:
    seen = visit(COMPARISON)
    heading = seen.page.get_by_role("columnheader", name="fake")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    # The worst first: harness error, timeout, fail, untestable, n/a, pass, not run; then the other families.
    assert seen.rows[:3] == ["CFG-008", "CFG-003", "CFG-002"]
    assert seen.rows[-2:] == ["HARD-002", "OPS-001"]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert seen.rows[0] == "CFG-009"
    assert seen.page.locator("[aria-sort]").count() == 1


# Reading


def test_everything_can_be_done_with_the_keyboard(visit: Open) -> None:
    seen = visit(COMPARISON)
    keyboard = seen.page.keyboard
    keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.className") == "skip"
    assert _box(seen.page.locator(".skip"))["x"] >= 0
    keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.id") == "_matrix"
    for _ in range(20):
        keyboard.press("Tab")
        if seen.page.evaluate("document.activeElement.textContent") == "CFG-002":
            break
    outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    keyboard.press("Enter")
    seen.page.wait_for_selector("details.requirement[open]")
    assert seen.page.locator("#CFG-002").is_visible()
    assert seen.page.evaluate("document.activeElement.id") == "CFG-002"
    seen.page.locator("details.requirement[open] > summary").focus()
    keyboard.press("Enter")
    assert not seen.page.locator("#CFG-002").is_visible()


def test_the_rerun_line_can_be_copied(visit: Open) -> None:
    seen = visit(COMPARISON, "#CFG-002", permissions=["clipboard-read", "clipboard-write"])
    button = seen.page.locator("#CFG-002").get_by_role("button", name="Copy the command").first
    button.focus()
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_function("document.getElementById('_said').textContent === 'Copied'")
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert copied == "python -m conformance run --only CFG-002 -- /bin/fake {config}"


def test_a_link_to_a_requirement_that_is_filtered_out_shows_it(visit: Open) -> None:
    seen = visit(COMPARISON)
    choose(seen, "family", "HARD")
    seen.page.evaluate("location.hash = '#CFG-006.2'")
    seen.page.wait_for_selector("[id='CFG-006.2']", state="visible")
    seen.page.wait_for_function("document.getElementById('_count').textContent.startsWith('11')")


def test_the_log_of_a_pass_is_drawn_in_full_when_it_is_opened(visit: Open) -> None:
    events = [*LOG, *(Event(10.0 + at, "client", "in", f'{{"method": "step-{at}"}}') for at in range(60))]
    report = result("CFG-001", evidence=Evidence(events))
    seen = visit(render_comparison([_only(report)]), "#CFG-001")
    assert seen.page.locator(".log li", has_text="step-30").count() == 0
    seen.page.click(".log > summary")
    seen.page.locator(".log li", has_text="step-30").wait_for()
    assert seen.page.locator(".log li").count() == len(events)
    whole = seen.page.get_by_role("button", name="Whole messages")
    whole.click()
    assert whole.get_attribute("aria-pressed") == "true"


def test_an_arrow_goes_from_the_lane_of_one_to_the_lane_of_the_other(visit: Open) -> None:
    seen = visit(COMPARISON, "#CFG-006.2")
    place = seen.page.locator("[id='CFG-006.2']")
    client, proxy = (_box(lane) for lane in place.locator(".lanes b").all())
    for arrow in (_box(place.locator("li.r b").first), _box(place.locator("li.l b").first)):
        assert arrow["x"] == pytest.approx(client["x"] + client["width"] / 2, abs=2)
        assert arrow["x"] + arrow["width"] == pytest.approx(proxy["x"] + proxy["width"] / 2, abs=2)


def test_without_javascript_everything_can_be_read(visit: Open) -> None:
    seen = visit(COMPARISON, "#CFG-002.1", java_script_enabled=False)
    page = seen.page
    assert not page.locator("#_filters").is_visible()
    assert not page.locator("#_all").is_visible()
    assert len(seen.rows) == len(seen.details) == 11
    # The browser itself opens what a link leads into.
    assert page.locator("#CFG-002").is_visible()
    assert "only the first upstream starts" in page.locator("#CFG-002 .expected").first.inner_text()
    page.locator("summary", has_text="CFG-006").click()
    log = page.locator("[id='CFG-006.2'] .log")
    assert "tools/list result 1" in log.inner_text()


# Looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_and_every_contrast_is_sufficient(
    scheme: str, screen: dict[str, Any], visit: Open
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    seen = visit(COMPARISON, color_scheme=scheme, **screen)
    open_everything(seen.page)
    found = axe.Axe().run(seen.page)
    assert [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found.response["violations"]
    ] == []
    assert "color-contrast" in {one["id"] for one in found.response["passes"]}


def test_dark_is_dark(visit: Open) -> None:
    brightness = (
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, one) => sum + +one, 0)"
    )
    assert visit(COMPARISON, color_scheme="light").page.evaluate(brightness) > 700
    assert visit(COMPARISON, color_scheme="dark").page.evaluate(brightness) < 100


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_the_page_never_scrolls_sideways(width: int, visit: Open) -> None:
    seen = visit(
        render_comparison([REPORT, OTHER, everywhere("W" * 300)]), viewport={"width": width, "height": 800}
    )
    open_everything(seen.page)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_controls_are_not_printed_and_the_matrix_is(visit: Open) -> None:
    seen = visit(COMPARISON)
    seen.page.emulate_media(media="print")
    assert not seen.page.locator("#_filters").is_visible()
    assert seen.page.locator("#_table").is_visible()
    assert len(seen.page.pdf()) > 10_000


def test_a_comparison_of_three_long_runs_loads_at_once(visit: Open) -> None:
    reports = [
        long_report(name, results=193, failing=failing, events=60, text=300)
        for name, failing in {"one": 0, "two": 60, "three": 90}.items()
    ]
    text = render_comparison(reports)
    assert len(text.encode()) <= MAX_BYTES
    page = visit(text).page
    cost = _Cost(page)
    page.reload()
    loaded = cost.seconds
    page.fill("input[type=search]", "CFG-100")
    page.wait_for_function("document.getElementById('_count').textContent.startsWith('1 of')")
    assert 0 < loaded < 3
    assert cost.seconds - loaded < 1


class _Cost:
    """What a page costs from now on, in seconds of processor time: the machine may be busy with others."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    @property
    def seconds(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def _only(one: Any) -> Any:
    return type(REPORT)(implementation="fake", command=(), homepage="", results=(one,))


def _box(locator: Any) -> Any:
    return locator.bounding_box()
