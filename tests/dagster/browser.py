"""Pages of the Dagster UI in a real browser: headless Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "PATCHLINE_REQUIRE_BROWSER"
"""Set where a missing browser is a failure instead of a reason to skip."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000
SETTLE_MS = 700


def missing() -> str | None:
    """Why there is no browser to test with; None when there is one."""
    if not any(shutil.which(name) for name in CHROMIUM):
        return "no chromium on PATH (Debian: apt-get install chromium)"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return None


def required() -> bool:
    """Whether a missing browser is a failure."""
    return bool(os.environ.get(REQUIRED))


@contextmanager
def browser_page(width: int, height: int) -> Iterator[Any]:
    """An empty page of a new browser with a profile of its own."""
    from playwright.sync_api import sync_playwright

    program = next(path for name in CHROMIUM if (path := shutil.which(name)))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE_MS)
        try:
            yield page
        finally:
            browser.close()


def open_run(page: Any, url: str, dagster_run_id: str, some_step: str) -> None:
    """The page of a run, its Gantt chart as large as it gets; every box has its name.

    Args:
        page: of `browser_page`.
        url: the webserver's.
        dagster_run_id: the run.
        some_step: a step of it, as the chart shows it.
    """
    page.goto(f"{url}/runs/{dagster_run_id}")
    page.get_by_text("Re-execute all").wait_for()
    page.locator("button:has([aria-label=expand_arrows])").first.click()
    page.locator("button:has([aria-label=gantt_flat])").click()
    page.locator(f"text={some_step}").first.wait_for(state="attached")


def show_times(page: Any, zoom: int) -> None:
    """Turn a run's chart into one that is true to time; short steps lose their names.

    Args:
        page: after `open_run`.
        zoom: how many notches to widen the time scale.
    """
    page.locator("button:has([aria-label=timer])").click()
    handle = page.get_by_role("slider").first
    for _ in range(zoom):
        handle.press("ArrowRight")


def open_job(page: Any, url: str, job: str, some_op: str) -> None:
    """The graph of a job with its workstreams opened up.

    Args:
        page: of `browser_page`.
        url: the webserver's.
        job: its name.
        some_op: an op inside of a workstream, as the graph shows it.
    """
    page.goto(f"{url}/locations/patchline/jobs/{job}")
    page.get_by_text("Explode graphs").click()
    page.locator(f"text={some_op}").first.wait_for()


def keep(page: Any, path: Path) -> None:
    """Save what the page shows, once two looks in a row are the same."""
    page.evaluate("() => document.fonts.ready")
    before, now = b"", page.screenshot(animations="disabled")
    while now != before:
        page.wait_for_timeout(SETTLE_MS)
        before, now = now, page.screenshot(animations="disabled")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(now)
