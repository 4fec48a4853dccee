"""The built book, read as files: what it must hold, and what must not be in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml
from built_book import HTML, LESSONS, NOTEBOOKS, PAGES, ROOT, read

each_page = pytest.mark.parametrize("page", PAGES, indirect=True)
each_lesson = pytest.mark.parametrize("page", LESSONS, indirect=True)
each_notebook = pytest.mark.parametrize("page", NOTEBOOKS, indirect=True)

LOADING = {  # attributes that make a browser fetch something, by tag
    "img": ("src", "srcset"),
    "script": ("src",),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
    "input": ("src",),
}
LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest"}
NETWORKS = re.compile(r"(?:unpkg|jsdelivr|cdnjs|googleapis|gstatic|googletagmanager|plausible|mybinder)\.\w+")
DORMANT = {  # addresses in scripts that are never asked: the browser tests see to that
    ("_static/vendor/html-manager/dist/embed-amd.js", "jsdelivr.net"),  # set aside by data-jupyter-widgets-cdn
    ("_static/vendor/html-manager/dist/embed-amd.js", "googleapis.com"),  # inside a comment of a style sheet
    ("_static/vendor/mathjax/es5/a11y/sre.js", "jsdelivr.net"),  # MathJax tells it the local folder
    ("_static/vendor/mathjax/es5/tex-mml-chtml.js", "jsdelivr.net"),  # the version check of a combined file
}


def is_outside(address: str) -> bool:
    return bool(urlsplit(address).netloc)


def test_the_last_build_was_of_these_sources(book):
    if (ROOT / "_build" / "html").resolve() != HTML:
        pytest.fail("SPIKELAB_BOOK is set: nobody knows what that book was built from", pytrace=False)
    report = json.loads((ROOT / "_build" / "book.json").read_text(encoding="utf-8"))
    assert report["ok"], f"the last build failed: {report['problems']}"
    command = [sys.executable, "-c", "import build; print(build.sources_digest())"]
    digest = subprocess.run(command, cwd=ROOT / "book", capture_output=True, text=True, check=True).stdout.strip()
    assert report["sources"] == digest, "a source changed since: python book/build.py --strict"


@each_page
def test_has_one_title(page):
    titles = [heading.get_text() for heading in page.article.find_all("h1")]
    assert len(titles) == 1
    assert page.soup.title.get_text().strip().endswith("spikelab")
    assert page.soup.html["lang"] == "en"


def test_every_source_is_in_the_contents():
    there = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for pattern in ("book/*.md", "chapters/*/*.ipynb")
        for path in ROOT.glob(pattern)
    }
    assert there == set(PAGES)


def test_index_leads_to_the_first_page(book):
    target = re.search(r'content="0; url=([^"]+)"', (book / "index.html").read_text(encoding="utf-8"))
    assert target, "index.html does not redirect"
    assert (book / target[1]).is_file()
    assert target[1] == f"{PAGES[0]}.html"


@each_page
def test_every_picture_has_words(page):
    for image in page.soup.find_all("img"):
        if image.find_parent(class_="navbar-brand"):
            continue  # the word stands beside the logo
        alt = image.get("alt", "").strip()
        assert alt, f"an image without alt: {str(image)[:150]}"
        assert alt != image["src"], f"the alt text of {image['src']} is its address"
        assert "_images/" not in alt, f"the alt text of {image['src']} is a file name"


@each_page
def test_every_frame_of_a_slider_has_words_of_its_own(page):
    for frames in page.frames():
        texts = [image.get("alt", "").strip() for image in frames]
        assert all(texts), "a frame without alt"
        assert len(set(texts)) == len(texts), f"frames share an alt text: {texts}"


@each_page
def test_every_figure_says_what_it_shows(page):
    for figure in page.article.find_all("figure"):
        caption = figure.find("figcaption")
        assert caption, f"a figure without caption: {str(figure)[:150]}"
        text = caption.select_one(".caption-text").get_text().strip()
        assert len(text.split()) > 3, f"a caption that says nothing: {text!r}"
        assert figure.find("img") or figure.find("script"), f"a caption without a picture: {text!r}"
    for image in page.article.select(".cell_output img"):
        assert image.find_parent("figure"), f"a plot without caption: {image['alt'][:80]!r}"


@each_lesson
def test_lesson_shows_pictures_and_a_slider(page):
    assert len(page.article.select("figure img")) >= 3
    assert page.frames(), "no slider"


@each_lesson
def test_no_cell_shows_the_name_of_a_python_object(page):
    shown = [block.get_text() for block in page.article.select(".cell_output pre")]
    left = [
        line
        for text in shown
        for line in text.splitlines()
        if re.match(r"\s*\[?(<[\w.]+ (object )?at 0x|Text\()", line)
    ]
    assert not left, f"end the cell with a semicolon: {left}"


@each_page
def test_no_cell_failed_or_warned(page):
    assert not page.soup.select(".output.traceback")
    assert not page.soup.select(".output.stderr")
    for output in page.soup.select(".cell_output"):
        assert "Traceback (most recent call last)" not in output.get_text()


def test_nothing_is_loaded_from_outside(pages):
    for page in pages:
        for tag in page.soup.find_all(list(LOADING)):
            for attribute in LOADING[tag.name]:
                assert not is_outside(tag.get(attribute) or ""), f"{page.path.name}: {str(tag)[:200]}"
        for tag in page.soup.find_all("link"):
            if LOADING_LINKS & set(tag.get("rel", [])):
                assert not is_outside(tag["href"]), f"{page.path.name}: {tag}"
        for style in [tag.get_text() for tag in page.soup.find_all("style")] + [
            tag["style"] for tag in page.soup.select("[style]")
        ]:
            assert not re.search(r"url\(\s*['\"]?(https?:)?//", style), f"{page.path.name}: {style[:200]}"
        for frames in page.frames():
            assert all(image["src"].startswith("data:image/png;base64,") for image in frames)
        for script in page.soup.find_all("script", src=False):
            if script.get("type", "").startswith("application/"):
                continue
            assert not re.search(r"https?://(?!www\.w3\.org)", script.get_text()), f"{page.path}: {script}"


def test_style_sheets_load_nothing_from_outside(book):
    for sheet in book.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        found = re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)]*", text)
        assert not found, f"{sheet.relative_to(book)}: {found[0]}"


def test_scripts_name_no_network_that_nobody_looked_at(book):
    for script in book.rglob("*.js"):
        name = script.relative_to(book).as_posix()
        if name == "searchindex.js" or name.startswith("_sources/"):
            continue  # text of the pages
        for found in NETWORKS.findall(script.read_text(encoding="utf-8")):
            assert (name, found) in DORMANT, f"{name} knows {found}"


def test_every_file_a_page_loads_is_there(pages):
    for page in pages:
        for tag in page.soup.find_all(["img", "script", "link", "source"]):
            loading = tag.name != "link" or LOADING_LINKS & set(tag.get("rel", []))
            address = tag.get("src") or (tag.get("href") if loading else None)
            if not address or address.startswith("data:") or is_outside(address):
                continue
            target = (page.path.parent / unquote(urlsplit(address).path)).resolve()
            assert target.is_file(), f"{page.path.name} wants {address}"


def test_every_internal_link_and_anchor_resolves(book, pages):
    broken = []
    for page in pages:
        for link in page.soup.find_all("a", href=True):
            address = link["href"]
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                assert parts.scheme in ("http", "https", "mailto"), f"{page.path.name}: {address}"
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if not target.is_file():
                broken.append(f"{page.path.relative_to(book)}: {address}")
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read(target).ids:
                broken.append(f"{page.path.relative_to(book)}: no anchor in {address}")
    ignored = re.compile(r": no anchor in #$")
    assert not [each for each in broken if not ignored.search(each)]


@each_page
def test_every_citation_leads_to_its_entry(page):
    for citation in page.article.select(".bibtex-citation"):
        links = citation.find_all("a")
        assert links, f"an empty citation after {citation.find_previous(string=True)!r}"
        for link in links:
            address = urlsplit(urljoin(page.path.as_uri(), link["href"]))
            entry = read(Path(unquote(address.path))).soup.find(id=address.fragment)
            assert entry is not None, f"{link} leads nowhere"
            assert "citation" in entry["class"], f"{link} leads to {entry.name}"
    for text in prose(page):
        assert "[?]" not in text, text
        assert not re.search(r"\{(cite|ref|doc|numref|eq)(:\w)?\}", text), f"a role that was not read: {text!r}"


@each_page
def test_markdown_was_read(page):
    for text in prose(page):
        assert "```" not in text, f"a fence in the text: {text!r}"
        assert not re.search(r"\*\*\w[^*]*\*\*", text), f"asterisks in the text: {text!r}"
        assert ":::" not in text, f"a colon fence in the text: {text!r}"


def prose(page) -> list[str]:
    """The texts of a page outside code, outputs and formulas."""
    return [
        str(text)
        for text in page.article.find_all(string=True)
        if not text.find_parent(["pre", "code", "script", "style"]) and not text.find_parent(class_="math")
    ]


def test_references_page_lists_every_entry(book):
    keys = re.findall(r"^@\w+\s*\{\s*([^,\s]+)", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M)
    assert len(keys) == len(set(keys)), "a key stands twice in book/references.bib"
    assert len(read(book / "book" / "references.html").article.select("div.citation")) == len(keys)


@each_notebook
def test_notebook_can_be_downloaded(page):
    links = page.soup.select('a.btn-download-source-button[href$=".ipynb"]')
    assert len(links) == 1
    copy = (page.path.parent / links[0]["href"]).resolve()
    source = ROOT / "chapters" / page.path.parent.name / page.path.with_suffix(".ipynb").name
    assert json.loads(copy.read_text(encoding="utf-8")) == json.loads(source.read_text(encoding="utf-8"))


def test_buttons_follow_the_repository_address(pages):
    address = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    for page in pages:
        launch = page.soup.select(".dropdown-launch-buttons a")
        is_notebook = page.path.relative_to(HTML).parts[0] == "chapters"
        assert bool(launch) == (bool(address) and is_notebook), f"{page.path.name}: {launch}"
        assert all(address.removeprefix("https://github.com/") in button["href"] for button in launch)
        assert not page.soup.select("[class*=btn-source-], .dropdown-source-buttons, [title='Open an issue']")
        assert "initThebe" not in page.html
        assert "executablebooks/jupyter-book" not in page.html


def test_search_index_knows_the_words_of_the_course(book):
    text = (book / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    assert set(PAGES) <= set(index["docnames"])
    for stem in ("rheobas", "membran", "poisson"):
        assert stem in index["terms"], f"the search does not know {stem}"
    assert (book / "search.html").is_file()


def test_run_times_page_lists_every_lesson_as_run(book):
    page = read(book / "book" / "run_times.html")
    rows = [[cell.get_text().strip() for cell in row.find_all("td")] for row in page.article.select("table tr")]
    ran = {row[0]: (float(row[3]), row[4]) for row in rows if row}
    for lesson in LESSONS:
        seconds, status = ran[lesson]
        assert status == "ran", f"{lesson}: {status}"
        assert seconds > 0
    assert "torch" in page.article.get_text()


def test_contents_show_every_page(book):
    for name in PAGES:
        source = book / f"{name}.html"
        listed = {
            (source.parent / urlsplit(link["href"]).path).resolve()
            for link in read(source).soup.select(".bd-sidebar-primary a.reference.internal")
            if urlsplit(link["href"]).path
        } | {source}
        missing = [other for other in PAGES if (book / f"{other}.html") not in listed]
        assert not missing, f"the contents on {name} lack {missing}"
