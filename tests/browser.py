"""A real Chromium for tests, and what all pages are held to in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

__all__ = ["chromium", "contrast", "watch"]

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of its own; the test is skipped where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="browser tests need playwright: the extra browser"
    )
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("browser tests need a Chromium, and none is on the path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


def watch(tab: Any, own: Container[str], trouble: list[str]) -> None:
    """Notes what the tab logs, the errors in it, and the requests for other than ``own``."""

    def asked(request: Any) -> None:
        if request.url.split("?")[0] not in own:
            trouble.append(request.url)

    tab.set_default_timeout(5000)
    tab.on("console", lambda said: trouble.append(said.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("request", asked)


def contrast(a: str, b: str) -> float:
    """The ratio of WCAG 2.2 between two colours, rgb(…) each."""

    def light(colour: str) -> float:
        parts = np.array([int(part) / 255 for part in re.findall(r"\d+", colour)[:3]])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722] + 0.05)

    return max(light(a), light(b)) / min(light(a), light(b))
