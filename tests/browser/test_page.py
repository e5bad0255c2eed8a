"""The HTML report in a browser: loads, filters, keyboard, no JavaScript, contrast, widths, and large runs."""

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


# Security


def test_page_loads_only_itself_without_errors(visit: Open) -> None:
    view = visit(COMPARISON)
    open_everything(view.page)
    assert [url.rpartition("/")[2] for url in view.requests] == ["report.html"]
    assert view.errors == []


def test_hostile_text_stays_text(visit: Open) -> None:
    view = visit(render_comparison([everywhere(HOSTILE), everywhere("x")]))
    open_everything(view.page)
    assert len(view.requests) == 1
    assert view.errors == []
    assert view.page.locator("img, iframe, object, [onerror]").count() == 0
    assert view.page.evaluate("document.scripts.length") == 2
    assert "onerror=alert(1)" in view.page.inner_text("h1")


def test_content_security_policy_blocks_injected_elements(visit: Open) -> None:
    """The policy is the second line of defence after escaping, so this page contains unescaped elements."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        attack = (
            f'<img src="http://127.0.0.1:{port}/"><script>document.title = "attacked"</script><b onclick="1">'
        )
        view = visit(COMPARISON.replace("<main>", f"<main>{attack}"))
        assert view.page.title() == "Conformance of fake, other"
        with pytest.raises(BlockingIOError):
            server.accept()
    assert len([text for text in view.errors if "Content Security Policy" in text]) >= 3


# Filters


def test_search_shows_requirements_with_all_words(visit: Open) -> None:
    view = visit(COMPARISON)
    assert view.count == "11 of 11 requirements"
    assert len(view.rows) == 11
    view.page.get_by_role("searchbox", name="Search").fill("Upstream  FIRST starts")
    assert view.rows == view.details == ["CFG-002"]
    assert view.count == "1 of 11 requirements"
    assert view.page.get_by_role("status").first.inner_text() == view.count
    assert not view.page.locator("#_table tr.family", has_text="HARD").is_visible()
    assert not view.page.get_by_role("heading", name="HARD").is_visible()


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
def test_filter_shows_matching_requirements(name: str, value: str, rows: list[str], visit: Open) -> None:
    view = visit(COMPARISON)
    choose(view, name, value)
    assert view.rows == view.details == rows
    assert view.count == f"{len(rows)} of 11 requirements"


def test_filter_shows_only_requirements_without_a_pass(visit: Open) -> None:
    view = visit(COMPARISON)
    choose(view, "verdict", "not passed")
    # The filter hides pass, n/a and planned, but shows not run.
    assert len(view.rows) == 8
    assert not {"CFG-001", "CFG-005", "OPS-001"} & set(view.rows)


def test_filters_combine_and_reset(visit: Open) -> None:
    view = visit(COMPARISON)
    choose(view, "family", "CFG")
    choose(view, "verdict", "pass")
    view.page.fill("input[type=search]", "environment")
    assert view.rows == ["CFG-002"]
    view.page.click("text=Show all")
    view.page.wait_for_function("document.getElementById('_count').textContent.startsWith('11')")
    assert len(view.rows) == 11


def test_columns_sort_inside_each_family(visit: Open) -> None:
    view = visit(COMPARISON)
    heading = view.page.get_by_role("columnheader", name="fake")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    # The worst verdict comes first: harness error, timeout, fail, untestable, n/a, pass, not run. Other families follow.
    assert view.rows[:3] == ["CFG-008", "CFG-003", "CFG-002"]
    assert view.rows[-2:] == ["HARD-002", "OPS-001"]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert view.rows[0] == "CFG-009"
    assert view.page.locator("[aria-sort]").count() == 1


# Reading


def test_keyboard_reaches_everything(visit: Open) -> None:
    view = visit(COMPARISON)
    keyboard = view.page.keyboard
    keyboard.press("Tab")
    assert view.page.evaluate("document.activeElement.className") == "skip"
    assert _box(view.page.locator(".skip"))["x"] >= 0
    keyboard.press("Enter")
    assert view.page.evaluate("document.activeElement.id") == "_matrix"
    for _ in range(20):
        keyboard.press("Tab")
        if view.page.evaluate("document.activeElement.textContent") == "CFG-002":
            break
    outline = view.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    keyboard.press("Enter")
    view.page.wait_for_selector("details.requirement[open]")
    assert view.page.locator("#CFG-002").is_visible()
    assert view.page.evaluate("document.activeElement.id") == "CFG-002"
    view.page.locator("details.requirement[open] > summary").focus()
    keyboard.press("Enter")
    assert not view.page.locator("#CFG-002").is_visible()


def test_rerun_command_can_be_copied(visit: Open) -> None:
    view = visit(COMPARISON, "#CFG-002", permissions=["clipboard-read", "clipboard-write"])
    button = view.page.locator("#CFG-002").get_by_role("button", name="Copy the command").first
    button.focus()
    view.page.keyboard.press("Enter")
    view.page.wait_for_function("document.getElementById('_said').textContent === 'Copied'")
    copied = view.page.evaluate("navigator.clipboard.readText()")
    assert copied == "python -m conformance run --only CFG-002 -- /bin/fake {config}"


def test_link_shows_a_filtered_requirement(visit: Open) -> None:
    view = visit(COMPARISON)
    choose(view, "family", "HARD")
    view.page.evaluate("location.hash = '#CFG-006.2'")
    view.page.wait_for_selector("[id='CFG-006.2']", state="visible")
    view.page.wait_for_function("document.getElementById('_count').textContent.startsWith('11')")


def test_opened_log_of_a_pass_is_complete(visit: Open) -> None:
    events = [*LOG, *(Event(10.0 + at, "client", "in", f'{{"method": "step-{at}"}}') for at in range(60))]
    report = result("CFG-001", evidence=Evidence(events))
    view = visit(render_comparison([_only(report)]), "#CFG-001")
    assert view.page.locator(".log li", has_text="step-30").count() == 0
    view.page.click(".log > summary")
    view.page.locator(".log li", has_text="step-30").wait_for()
    assert view.page.locator(".log li").count() == len(events)
    whole = view.page.get_by_role("button", name="Whole messages")
    whole.click()
    assert whole.get_attribute("aria-pressed") == "true"


def test_arrow_connects_two_lanes(visit: Open) -> None:
    view = visit(COMPARISON, "#CFG-006.2")
    place = view.page.locator("[id='CFG-006.2']")
    client, proxy = (_box(lane) for lane in place.locator(".lanes b").all())
    for arrow in (_box(place.locator("li.r b").first), _box(place.locator("li.l b").first)):
        assert arrow["x"] == pytest.approx(client["x"] + client["width"] / 2, abs=2)
        assert arrow["x"] + arrow["width"] == pytest.approx(proxy["x"] + proxy["width"] / 2, abs=2)


def test_page_is_readable_without_javascript(visit: Open) -> None:
    view = visit(COMPARISON, "#CFG-002.1", java_script_enabled=False)
    page = view.page
    assert not page.locator("#_filters").is_visible()
    assert not page.locator("#_all").is_visible()
    assert len(view.rows) == len(view.details) == 11
    # The browser itself opens the target of the link.
    assert page.locator("#CFG-002").is_visible()
    assert "only the first upstream starts" in page.locator("#CFG-002 .expected").first.inner_text()
    page.locator("summary", has_text="CFG-006").click()
    log = page.locator("[id='CFG-006.2'] .log")
    assert "tools/list result 1" in log.inner_text()


# Appearance


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["wide", "phone"])
def test_axe_finds_no_violation(scheme: str, screen: dict[str, Any], visit: Open) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    view = visit(COMPARISON, color_scheme=scheme, **screen)
    open_everything(view.page)
    found = axe.Axe().run(view.page)
    assert [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found.response["violations"]
    ] == []
    assert "color-contrast" in {one["id"] for one in found.response["passes"]}


def test_dark_scheme_is_dark(visit: Open) -> None:
    brightness = (
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, one) => sum + +one, 0)"
    )
    assert visit(COMPARISON, color_scheme="light").page.evaluate(brightness) > 700
    assert visit(COMPARISON, color_scheme="dark").page.evaluate(brightness) < 100


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_page_does_not_scroll_sideways(width: int, visit: Open) -> None:
    view = visit(
        render_comparison([REPORT, OTHER, everywhere("W" * 300)]), viewport={"width": width, "height": 800}
    )
    open_everything(view.page)
    assert view.page.evaluate("document.documentElement.scrollWidth") <= width


def test_print_has_the_matrix_without_controls(visit: Open) -> None:
    view = visit(COMPARISON)
    view.page.emulate_media(media="print")
    assert not view.page.locator("#_filters").is_visible()
    assert view.page.locator("#_table").is_visible()
    assert len(view.page.pdf()) > 10_000


def test_long_comparison_loads_within_seconds(visit: Open) -> None:
    reports = [
        long_report(name, results=193, failing=failing, events=60, text=300)
        for name, failing in {"one": 0, "two": 60, "three": 90}.items()
    ]
    text = render_comparison(reports)
    assert len(text.encode()) <= MAX_BYTES
    page = visit(text).page
    cost = _ProcessorTime(page)
    page.reload()
    loaded = cost.seconds
    page.fill("input[type=search]", "CFG-100")
    page.wait_for_function("document.getElementById('_count').textContent.startsWith('1 of')")
    assert 0 < loaded < 3
    assert cost.seconds - loaded < 1


class _ProcessorTime:
    """The processor time of a page from now on, in seconds; unlike elapsed time, it does not depend on the load."""

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
