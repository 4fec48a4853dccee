"""Every page of the book in a headless browser: it draws, it moves, and it asks nothing of the network."""

from __future__ import annotations

import re

import pytest
from built_book import HTML, LESSONS, PAGES, STATE, read
from playwright.sync_api import TimeoutError as PlaywrightTimeout

VIEWS = 'script[type="application/vnd.jupyter.widget-view+json"]'
each_page = pytest.mark.parametrize("opened", PAGES, indirect=True)
each_lesson = pytest.mark.parametrize("name", LESSONS)

UNREAD_MATHS = r"""() => {
  const skip = "script, style, pre, code, mjx-container, mjx-assistive-mml";
  const walker = document.createTreeWalker(document.querySelector("article.bd-article"), NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    if (!node.parentElement.closest(skip) && /\$[^$]+\$|\\\(|\\\[|\\begin\{/.test(node.data)) found.push(node.data);
  return found;
}"""
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width && document.body.scrollWidth <= width) return [];
  const hidden = (e) => {
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
      if (getComputedStyle(p).overflowX !== "visible") return true;
    return false;
  };
  return [`the page is ${document.documentElement.scrollWidth} px wide on ${width} px`].concat(
    [...document.querySelectorAll("article.bd-article *")]
      .filter((e) => e.getBoundingClientRect().right > width + 1 && !hidden(e))
      .map((e) => e.outerHTML.slice(0, 160)));
}"""
SHOWN = """(area) => {
  const images = [...area.querySelectorAll("img")].filter((e) => e.getBoundingClientRect().width > 50);
  return images.map((e) => ({alt: e.alt, src: e.src, drawn: e.complete && e.naturalWidth > 0,
                             width: e.getBoundingClientRect().width}));
}"""
COLOURS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const of = (selector) => {
    const e = document.querySelector("article.bd-article " + selector);
    return e && getComputedStyle(e);
  };
  const colour = (selector) => of(selector) && parse(of(selector).color);
  const plots = [...document.querySelectorAll("article.bd-article :is(figure img, img.spikelab-frame)")];
  const plot = plots.find((e) => !e.closest(".as-is, .tag_as-is"));
  const picture = plot && getComputedStyle(plot);
  return {text: colour("section > p"), caption: colour("figcaption p"), link: colour("section > p a"),
          page: parse(getComputedStyle(document.body).backgroundColor), filter: picture ? picture.filter : null};
}"""

BRIGHT = """() => [...document.querySelectorAll(".cell *, figure *, table *, details *, .admonition *")]
  .filter((e) => e.tagName !== "IMG")
  .filter((e) => {
    const [r, g, b, a = 1] = getComputedStyle(e).backgroundColor.match(/[\\d.]+/g).map(Number);
    return a > 0.2 && r + g + b > 450 && e.getBoundingClientRect().width > 100;
  })
  .map((e) => e.outerHTML.slice(0, 120))"""


def wait_for(page, selector: str, number: int, what: str) -> None:
    """Wait until the page holds as many elements."""
    try:
        page.wait_for_function("([s, n]) => document.querySelectorAll(s).length >= n", arg=[selector, number])
    except PlaywrightTimeout:
        pytest.fail(f"{page.locator(selector).count()} of {number} {what} were drawn", pytrace=False)


def wait_for_widgets(page) -> int:
    """Wait until every widget of the page has been drawn; return their number."""
    views = page.locator(VIEWS).count()
    if views:
        wait_for(page, ".widget-subarea > .jupyter-widgets", views, "widgets")
    return views


@each_page
def test_page_draws_and_asks_nothing_of_the_network(opened):
    name, visit = opened
    page = visit.page
    source = read(HTML / f"{name}.html")

    formulas = len(source.article.select("span.math, div.math"))
    if formulas:
        wait_for(page, "mjx-container", formulas, "formulas")
        assert page.locator("mjx-container mjx-merror, [data-mjx-error]").count() == 0, "a formula MathJax cannot read"
        assert page.locator("mjx-container").first.bounding_box()["width"] > 0
    assert page.evaluate(UNREAD_MATHS) == []

    wait_for_widgets(page)
    areas = page.locator(".widget-subarea")
    assert areas.count() == len(source.soup.select(VIEWS.replace('"', "'")))
    for index in range(areas.count()):
        box = areas.nth(index).bounding_box()
        assert box is not None, "a widget that is not shown"
        assert box["height"] > 30, "an empty widget"

    broken = "() => [...document.images].filter(e => e.complete && !e.naturalWidth).map(e => e.src)"
    assert page.evaluate(broken) == []
    assert not visit.faults


@each_page
def test_page_fits_a_phone(opened):
    _, visit = opened
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
    visit.page.wait_for_timeout(200)
    assert visit.page.evaluate(TOO_WIDE) == []
    visit.page.set_viewport_size({"width": 1280, "height": 900})


def move_every_slider(page) -> int:
    """Move each slider of the page by keyboard; picture and words must follow, and come back."""
    areas = page.locator(".widget-subarea:has([role=slider])")
    for index in range(areas.count()):
        area = areas.nth(index)
        handle = area.locator("[role=slider]")
        handle.press("Home")
        first = the_picture(area)
        seen = [first]
        for _ in range(3):
            handle.press("ArrowRight")
            seen.append(the_picture(area, other_than=seen[-1]))
        for key in ("src", "alt"):
            assert len({picture[key] for picture in seen}) > 1, f"the slider does not change the picture's {key}"
        handle.press("End")
        last = the_picture(area, other_than=first)
        assert last["src"] != first["src"]
        handle.press("Home")
        assert the_picture(area, other_than=last) == first
    return areas.count()


def the_picture(area, other_than: dict | None = None) -> dict:
    """The one picture that a slider shows now; waits a moment for it to become another one."""
    for _ in range(20):
        pictures = area.evaluate(SHOWN)
        if len(pictures) == 1 and pictures[0]["drawn"] and pictures[0] != other_than:
            return pictures[0]
        area.page.wait_for_timeout(50)
    assert len(pictures) == 1, f"a slider shows {len(pictures)} pictures at once"
    assert pictures[0]["drawn"], "the picture of a slider is not drawn"
    return pictures[0]


@each_lesson
def test_sliders_move_their_pictures(visit, name):
    visit.open(f"{name}.html")
    assert wait_for_widgets(visit.page) > 0
    assert move_every_slider(visit.page) > 0, "no slider on the page"


def light(colour: list[float]) -> float:
    """Relative luminance, as WCAG defines it."""
    parts = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@each_page
def test_dark_mode_turns_page_and_pictures_around(opened):
    _, visit = opened
    html = visit.page.locator("html")
    assert html.get_attribute("data-theme") == "light"
    day = visit.page.evaluate(COLOURS)
    for _ in range(3):  # the button goes round auto, light, dark
        visit.page.locator(".theme-switch-button:visible").first.click()
        if html.get_attribute("data-theme") == "dark":
            break
    assert html.get_attribute("data-theme") == "dark"
    visit.page.wait_for_timeout(300)
    night = visit.page.evaluate(COLOURS)
    assert light(day["page"]) > 0.8
    assert light(night["page"]) < 0.1
    for colours in (day, night):
        for kind, least in (("text", 7.0), ("caption", 4.5), ("link", 4.5)):
            if colours[kind] is not None:
                bright, dim = sorted((light(colours[kind]), light(colours["page"])), reverse=True)
                assert (bright + 0.05) / (dim + 0.05) >= least, f"too little contrast, {kind}: {colours}"
    if day["filter"] is not None:
        assert day["filter"] == "none"
        assert "invert" in night["filter"]
    assert visit.page.evaluate(BRIGHT) == [], "bright boxes in dark mode"


def test_a_dark_page_is_printed_light(visit):
    visit.page.emulate_media(color_scheme="dark")
    visit.open(f"{LESSONS[0]}.html")
    html = visit.page.locator("html")
    assert html.get_attribute("data-theme") == "dark"
    visit.page.evaluate("""() => {
      const html = document.documentElement;
      window.printed = [];
      window.addEventListener("beforeprint", () => window.printed.push(html.dataset.theme));
    }""")
    visit.page.pdf()
    assert visit.page.evaluate("window.printed") == ["light"]
    assert html.get_attribute("data-theme") == "dark"


def test_search_finds_rheobase(visit):
    visit.open(f"{PAGES[0]}.html")
    page = visit.page
    page.keyboard.press("Control+k")
    field = page.locator(".search-button__search-container input[type=search]")
    field.wait_for(state="visible")
    field.fill("rheobase")
    field.press("Enter")
    page.wait_for_selector("#search-results ul.search li a")
    addresses = page.locator("#search-results ul.search li a").evaluate_all("all => all.map(e => e.href)")
    assert any("01_integrate_and_fire/lesson.html" in address for address in addresses), addresses
    page.locator("#search-results ul.search li a").first.click()
    page.wait_for_load_state("networkidle")
    assert "rheobase" in page.locator("article.bd-article").inner_text().lower()


def test_front_page_leads_to_every_page_by_its_next_link(visit):
    visit.open("index.html")
    page = visit.page
    page.wait_for_url(re.compile(re.escape(f"{PAGES[0]}.html")))
    for name in PAGES[1:]:
        page.locator("a.right-next").click()
        page.wait_for_url(re.compile(re.escape(f"{name}.html")))
    page.wait_for_load_state("networkidle")


def test_the_book_works_from_the_folder_without_a_server(visit_file):
    visit_file.open("index.html")
    page = visit_file.page
    page.wait_for_url(re.compile(re.escape(f"{PAGES[0]}.html")))
    visit_file.open(f"{LESSONS[0]}.html")
    assert wait_for_widgets(page) > 0
    assert move_every_slider(page) > 0
    page.wait_for_selector("mjx-container")


@each_lesson
def test_download_gives_the_notebook_under_a_name_of_its_own(visit, name):
    visit.open(f"{name}.html")
    visit.page.locator("button[aria-label='Download this page']").click()
    with visit.page.expect_download() as waiting:
        visit.page.locator("a.btn-download-source-button").click()
    assert waiting.value.suggested_filename == name.removeprefix("chapters/").replace("/", "-") + ".ipynb"
    assert STATE not in waiting.value.path().read_text(encoding="utf-8")
