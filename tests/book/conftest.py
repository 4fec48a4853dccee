"""Fixtures: the built book and its pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from built_book import HTML, Page, read


@pytest.fixture(scope="session")
def book() -> Path:
    """The folder of the built book."""
    if not (HTML / "index.html").is_file():
        pytest.fail(f"no built book in {HTML}: python book/build.py --strict", pytrace=False)
    return HTML


@pytest.fixture
def page(request, book) -> Page:
    """The page whose name is the parameter."""
    path = book / f"{request.param}.html"
    assert path.is_file(), f"_toc.yml lists {request.param}, but the book has no {path.relative_to(book)}"
    return read(path)


@pytest.fixture(scope="session")
def pages(book) -> list[Page]:
    """Every page of the book, with those that Sphinx adds (index, search), but without files to download."""
    return [read(path) for path in sorted(book.rglob("*.html")) if not path.relative_to(book).parts[0].startswith("_")]
