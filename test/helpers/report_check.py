# SPDX-License-Identifier: Apache-2.0
"""A finished evaluation, looked at as a person would."""

from __future__ import annotations

from pathlib import Path

from browser import Opened, address, pixels, running

from dreamzero_ros.evaluation.summary import read_summary


def assert_pages_work(out: Path) -> None:
    """The report and the page of each episode open without a word, show pictures and plots, and play."""
    with running() as browser:
        opened = Opened(browser.new_page())
        page = opened.page
        page.goto(address(out / "report.html"))
        assert page.locator("#cards .card").count() >= 4
        assert page.locator("svg.chart polyline").count() >= 3
        assert pixels(page.screenshot()).std() > 5
        for entry in read_summary(out)["episodes"]:
            page.goto(address(out / "episodes" / entry["id"] / "index.html") + "#t=2")
            page.wait_for_function("find('observed').complete && find('observed').naturalWidth > 0")
            assert page.locator("#plots canvas").count() >= 1
            before = page.locator("#observed").get_attribute("src")
            page.locator("#play").click()
            page.wait_for_function("src => find('observed').getAttribute('src') !== src", arg=before)
            assert pixels(page.screenshot()).std() > 5
        opened.check()
