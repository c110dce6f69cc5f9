# SPDX-License-Identifier: Apache-2.0
"""Pages in a real browser without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--disable-gpu", "--disable-quic", "--disable-sync"]
"""Besides those that Playwright gives itself: a new empty profile, no sandbox, nothing in the background."""
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 400, "height": 800}
MISSING = "no Chromium here: apt-get install chromium"
"""Why tests of pages are skipped."""


class Opened:
    """A page, and what it said and asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def check(self) -> None:
        """It was quiet, and asked for nothing but files."""
        assert not self.said
        assert all(url.startswith(("file:", "data:")) for url in self.asked)


@contextmanager
def running() -> Iterator[Browser]:
    """A browser until the end of the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def address(path: Path) -> str:
    return path.resolve().as_uri()


def pixels(screenshot: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(screenshot, np.uint8), cv2.IMREAD_COLOR)
