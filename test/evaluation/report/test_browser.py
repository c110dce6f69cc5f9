# SPDX-License-Identifier: Apache-2.0
"""The pages in a real browser without a network: they are whole, quiet, readable, and react."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, MISSING, NARROW, WIDE, Opened, address, pixels, running
from episodes import START_NS, make_episode, replace, waves
from playwright.sync_api import Browser, Page
from reports import HOSTILE, make_report

from dreamzero_ros.evaluation.episode import Floats, load
from dreamzero_ros.evaluation.report.numbers import interval, quantity

pytestmark = [
    pytest.mark.cpu,
    pytest.mark.skipif(CHROMIUM is None, reason=MISSING),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    page = browser.new_page(viewport=WIDE)
    page.set_default_timeout(10_000)
    yield Opened(page)
    page.close()


@pytest.fixture
def episode(opened: Opened, report: Path) -> Page:
    """The page of the first episode, at 2 s."""
    opened.page.goto(address(report / "episodes" / "session1-000" / "index.html") + "#t=2")
    opened.page.wait_for_function("find('observed').complete && find('observed').naturalWidth > 0")
    return opened.page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", ["report.html", "episodes/session1-000/index.html"])
def test_a_page_is_quiet_and_fits_the_window(
    opened: Opened, report: Path, name: str, size: Any, scheme: Any
) -> None:
    page = opened.page
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    page.goto(address(report / name))
    page.wait_for_load_state("networkidle")
    image = pixels(page.screenshot())
    assert image.std() > 5
    assert (np.median(image) > 128) == (scheme == "light")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("img:visible:not([alt])").count() == 0
    opened.check()


def test_the_report_shows_what_is_asked_first(opened: Opened, report: Path, summary: dict[str, Any]) -> None:
    page = opened.page
    page.goto(address(report / "report.html"))
    cards = page.locator("#cards .card")
    rmse = summary["metrics"]["rmse"]
    words = cards.first.inner_text().split("\n")
    assert words[:3] == ["Error of the joints (RMSE)", quantity(rmse["value"], "rad"), interval(rmse, "rad")]
    assert {"hold still", quantity(rmse["hold"]["value"], "rad"), "repeat"} <= set(words)
    assert page.locator("svg.chart polyline").count() == 3 + 2
    for name, metric in summary["metrics"].items():
        assert metric["text"] in page.locator(f"tr[id='metric-{name}']").inner_text()
    opened.check()


def test_columns_are_sorted_by_their_values(opened: Opened, report: Path) -> None:
    page = opened.page
    page.goto(address(report / "report.html"))
    table = page.locator("table.sortable").first
    names = table.locator("tbody th")
    heading = table.get_by_role("button", name="calls")
    heading.focus()
    page.keyboard.press("Enter")
    assert names.all_inner_texts() == ["session2-000", "session 1 #2 50%?-001", "session1-000"]
    page.keyboard.press("Enter")
    assert names.first.inner_text() == "session1-000"


def test_every_link_leads_to_a_page(opened: Opened, report: Path, summary: dict[str, Any]) -> None:
    page = opened.page
    page.goto(address(report / "report.html"))
    links = page.locator("main a").evaluate_all("links => links.map((link) => link.href)")
    assert len(links) == 3 + len(summary["worst"])
    for link in dict.fromkeys(links):
        page.goto(link)
        assert page.locator("#plots canvas").count() == 3
    opened.check()


def test_a_worst_moment_opens_at_its_time(opened: Opened, report: Path, summary: dict[str, Any]) -> None:
    page = opened.page
    page.goto(address(report / "report.html"))
    moment = page.locator(".moments a").first
    assert moment.locator("img").evaluate("image => image.naturalWidth") == 160
    moment.click()
    at_s = summary["worst"][0]["at_s"]
    assert page.evaluate("now") == pytest.approx(at_s, abs=0.01)
    assert page.locator("#time").inner_text().startswith(f"0:{int(10 * at_s + 1e-6) / 10:04.1f} of")
    opened.check()


def test_the_pictures_are_those_of_the_time(episode: Page, report: Path) -> None:
    stored = load(report / "episodes" / "session1-000")
    exactly_s = (stored.pictures_ns[4] - START_NS) / 1e9
    for at_s in (0.0, 0.99, exactly_s, 3.7):
        episode.evaluate("time => seek(time)", at_s)
        index = int(np.flatnonzero(stored.pictures_ns <= START_NS + at_s * 1e9)[-1])
        shown = "name => find('observed').getAttribute('src') === name"
        episode.wait_for_function(shown, arg=f"observed/{index:06d}.jpg")
        assert episode.locator("#dreamed").is_visible() == (index % 2 == 0)
        assert episode.get_by_text("nothing was dreamed").is_visible() == (index % 2 == 1)
    episode.evaluate("for (const time of [1, 2, 3, 0.5]) seek(time)")
    episode.wait_for_function(shown, arg="observed/000001.jpg")
    box = episode.locator("#observed").bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(160 / 90, rel=0.01)


def test_a_click_on_a_plot_goes_to_that_time(opened: Opened, episode: Page) -> None:
    canvas = episode.locator("#plots canvas").first
    before = episode.evaluate("[now, view.begin, view.end]")
    x = episode.evaluate("plots[0].x(6.5)")
    canvas.click(position={"x": x, "y": 40})
    assert episode.evaluate("now") == pytest.approx(6.5, abs=0.1)
    assert before[0] == 2
    assert "#t=6.5" in episode.url
    assert episode.locator("#scrub").evaluate("input => Number(input.value)") == pytest.approx(6.5, abs=0.1)
    opened.check()


def test_it_plays_and_stops_at_the_end(opened: Opened, episode: Page) -> None:
    episode.locator("#speed").select_option("8")
    episode.keyboard.press("Escape")
    episode.locator("#play").click()
    assert episode.locator("#play").inner_text() == "Pause"
    episode.wait_for_function("now > 5")
    episode.wait_for_function("!playing")
    assert episode.evaluate("now === data.duration")
    assert episode.locator("#play").inner_text() == "Play"
    opened.check()


def test_the_keyboard_does_all(episode: Page) -> None:
    def after(key: str) -> float:
        episode.keyboard.press(key)
        return float(episode.evaluate("now"))

    assert after("ArrowRight") == pytest.approx(7 / 3)  # a picture every third of a second
    assert after("ArrowLeft") == pytest.approx(2)
    assert after("Shift+ArrowRight") == pytest.approx(3)
    marks = episode.evaluate("MARKS")
    assert after("n") == pytest.approx(min(mark for mark in marks if mark > 3))
    assert after("p") == pytest.approx(max(mark for mark in marks if mark < 3))
    episode.keyboard.press("-")
    assert episode.locator("#span").input_value() == "1 min"
    episode.keyboard.press(" ")
    assert episode.evaluate("playing")


def test_marks_are_misses_refused_chunks_and_worst_moments(
    episode: Page, report: Path, summary: dict[str, Any]
) -> None:
    calls = load(report / "episodes" / "session1-000").calls
    wrong = calls.late | (calls.used == 0)
    worst = [moment["at_s"] for moment in summary["worst"] if moment["episode"] == "session1-000"]
    expected = sorted([*((calls.answered_ns[wrong] - START_NS) / 1e9), *worst])
    assert episode.evaluate("MARKS") == pytest.approx(expected)
    assert "chunk refused or too late: 1" in episode.locator(".player .legend").inner_text()


def test_plots_hold_the_values_of_the_episode(episode: Page, report: Path) -> None:
    stored = load(report / "episodes" / "session1-000")
    measured = episode.evaluate("data.joints.map((_, j) => Array.from(data.lines.measured.rows[j]))")
    np.testing.assert_array_equal(np.array(measured).T, stored.measured.astype(np.float32))
    chunks = episode.evaluate("Array.from(data.chunks.rows[1])")
    np.testing.assert_array_equal(chunks, stored.calls.targets[:, :, 1].ravel().astype(np.float32))
    episode.evaluate("seek(3.01)")
    shown = episode.locator("#plots .values .recorded b").first.inner_text()
    assert float(shown) == pytest.approx(waves(np.array(3.0))[0], abs=0.001)


def test_lines_can_be_hidden_and_limits_shown(episode: Page) -> None:
    canvas = episode.locator("#plots canvas").first
    full = canvas.screenshot()
    episode.get_by_role("checkbox", name="scale to limits").check()
    assert episode.evaluate("[plots[0].low < -1, plots[0].high > 1]") == [True, True]
    scaled = canvas.screenshot()
    for name in ("measured", "recorded commands", "predicted chunks", "planned motion"):
        episode.get_by_role("checkbox", name=name).uncheck()
    empty = canvas.screenshot()
    assert len({full, scaled, empty}) == 3
    assert pixels(empty).std() < pixels(scaled).std()


def test_one_value_of_many_is_seen(opened: Opened, tmp_path: Path) -> None:
    """An hour in one plot: the least and the greatest of the values that share a pixel are drawn."""

    def spike(t_s: Floats) -> Floats:
        return np.where(np.abs(t_s - 1801)[..., None] < 0.04, 1.0, 0.1 * waves(t_s))

    make_report(tmp_path, {"hour-000": make_episode(recorded=spike, calls=2250, steps=24)})
    page = opened.page
    page.goto(address(tmp_path / "episodes" / "hour-000" / "index.html"))
    page.locator("#span").select_option("all")
    for name in ("recorded commands", "predicted chunks", "planned motion"):
        page.get_by_role("checkbox", name=name).uncheck()
    plot = pixels(page.locator("#plots canvas").first.screenshot()).astype(int)
    x, y = page.evaluate("[plots[0].x(1801), plots[0].y(0.7)].map(Math.round)")
    assert np.abs(plot[y, x - 1 : x + 2] - plot[y, x - 40]).max() > 50
    opened.check()


def test_an_episode_without_answers_or_pictures_has_a_page(opened: Opened, tmp_path: Path) -> None:
    episode = make_episode(calls=2)
    none = {name: values[:0] for name, values in vars(episode.calls).items()}
    bare = {"measured": episode.measured[:0], "upper": np.full(3, np.inf)}
    bare |= {name: getattr(episode, name)[:0] for name in ("measured_ns", "pictures_ns")}
    make_report(tmp_path, {"none-000": replace(episode, **none, **bare)})
    opened.page.goto(address(tmp_path / "report.html"))
    opened.page.get_by_role("link", name="none-000").click()
    assert opened.page.locator("#call").inner_text() == "no chunk yet"
    assert opened.page.get_by_text("no picture of this time").is_visible()
    opened.page.locator("#scrub").fill("1")
    assert opened.page.evaluate("now") == 1
    opened.check()


def test_what_bags_say_is_shown_as_it_is(opened: Opened, report: Path) -> None:
    page = opened.page
    for path in ("report.html", "episodes/session 1 %232 50%25%3F-001/index.html"):
        page.goto(f"{report.resolve().as_uri()}/{path}")
        words = " ".join(HOSTILE.split())
        assert page.get_by_text(words).count() >= 3
        assert page.evaluate("typeof broken") == "undefined"
        assert page.locator("img[src=x]").count() == 0
    opened.check()
