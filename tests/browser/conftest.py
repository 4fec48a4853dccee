"""The built book behind a server on the loopback, and a headless Chromium. CHROME names another browser."""

from __future__ import annotations

import http.server
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book"))
from built_book import HTML

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the built book."""
    if not (HTML / "index.html").is_file():
        pytest.fail(f"no built book in {HTML}: python book/build.py --strict", pytrace=False)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(HTML))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    """A running browser."""
    named = os.environ.get("CHROME")
    path = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        tried = f"CHROME={named} is no program" if named else f"found none of {', '.join(NAMES)}"
        pytest.fail(
            f"the browser tests need Chromium: {tried}. On Debian and Ubuntu: apt-get install chromium. "
            "Elsewhere set CHROME to the program.",
            pytrace=False,
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page in the browser, and what went wrong on the way to it."""

    page: object
    root: str
    faults: list[str] = field(default_factory=list)

    def open(self, name: str) -> None:
        self.page.goto(self.root + name)
        self.page.wait_for_load_state("networkidle")

    def listen(self) -> None:
        def on_console(message):
            if message.type == "error":
                self.faults.append(f"console: {message.text}")

        def on_request(request):
            if not request.url.startswith((self.root, "data:", "blob:")):
                self.faults.append(f"asked outside: {request.url}")

        def on_response(response):
            if response.status >= 400:
                self.faults.append(f"{response.status}: {response.url}")

        def on_failure(request):
            if request.failure != "net::ERR_ABORTED":  # the next page was opened before this one was complete
                self.faults.append(f"not loaded ({request.failure}): {request.url}")

        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script failed: {error}"))
        self.page.on("request", on_request)
        self.page.on("response", on_response)
        self.page.on("requestfailed", on_failure)


@pytest.fixture
def visit(chromium, site):
    """A fresh page; whatever it loads is watched, and a fault fails the test at its end."""
    yield from _visit(chromium, site)


@pytest.fixture(scope="module")
def opened(request, chromium, site):
    """The page of the book whose name is the parameter, opened once for all tests that take it."""
    for visit in _visit(chromium, site):
        visit.open(f"{request.param}.html")
        yield request.param, visit


@pytest.fixture
def visit_file(chromium, site):
    """A page without a server, as when a reader opens the folder."""
    # The theme preloads its icon fonts in a way that browsers refuse to files; the icons are drawn all the same.
    yield from _visit(chromium, HTML.as_uri() + "/", forgive=("/webfonts/fa-", "net::ERR_FAILED"))


def _visit(chromium, root: str, forgive: tuple[str, ...] = ()) -> Iterator[Visit]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    visit = Visit(context.new_page(), root)
    visit.page.set_default_timeout(15_000)
    visit.listen()
    yield visit
    context.close()
    faults = [fault for fault in visit.faults if not any(text in fault for text in forgive)]
    assert not faults, "\n".join(faults)
