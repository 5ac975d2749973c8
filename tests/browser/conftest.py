"""One Lab for all browser tests, one Chromium for a file of them; a page without a past, and new kernels, for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.lab import Lab, Visit, launch_chromium, running_lab, visit


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for the session: Playwright keeps an event loop running in this thread, in which no other test could start its own."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture
def visitor(lab, chromium, request, tmp_path) -> Iterator[Visit]:
    """A page. At its end nothing may have left the machine; if the test failed, a picture of the page is kept."""
    with visit(lab, chromium) as somebody:
        failed_before = request.session.testsfailed
        yield somebody
        if request.session.testsfailed > failed_before:
            somebody.page.screenshot(path=tmp_path / "failed.png")
            print(f"a picture of the page: {tmp_path / 'failed.png'}")
        assert somebody.requests, "requests are seen at all"
        assert somebody.foreign_requests() == []
