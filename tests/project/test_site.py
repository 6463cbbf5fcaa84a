"""The built site, in a browser: every page in both languages, the search, the reference, dark and narrow screens."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
from support.pages import Open, expect
from support.pictures import texts

for name in ("mkdocs", "material", "mkdocs_static_i18n", "mkdocstrings_handlers.python", "jieba"):
    pytest.importorskip(name, reason="the site is built with the packages of the extra docs")
griffe = pytest.importorskip("griffe", reason="the extra docs has it")
filelock = pytest.importorskip("filelock", reason="a developers' tool")

ROOT = Path(__file__).resolve().parents[2]
NARROW = {"viewport": {"width": 390, "height": 844}, "reduced_motion": "reduce"}


def build(folder: Path) -> Path:
    """Builds the site of a folder's mkdocs.yml, as `make docs` does."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],  # --quiet would not count warnings
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def copy(folder: Path) -> Path:
    """Copies what the site is made of, with old pictures, which the build must draw anew."""
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    for picture in (folder / "docs/images").rglob("*.svg"):
        picture.write_text("an old picture")
    for name in ("src", "bench", "tests"):  # pictures are drawn from the tests' data, too
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The built site; of all the processes that run tests, the first one builds it."""
    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        shared = shared.parent
    built = shared / "where-the-site-is"
    with filelock.FileLock(shared / "site.lock"):
        if not built.exists():
            built.write_text(str(build(copy(tmp_path_factory.mktemp("docs")))))
    return Path(built.read_text())


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def opened(new_tab: Open, address: str) -> Open:
    """Opens a page of the site by its path, in a window of its own: the site keeps what the reader chooses."""

    def visit(path: str, **options: Any) -> Any:
        tab = new_tab(own_window=True, **options)
        tab.goto(address + path)
        return tab

    return visit


def pages(site: Path) -> list[str]:
    """The paths of all pages, as in their addresses."""
    return sorted(page.parent.relative_to(site).as_posix() + "/" for page in site.rglob("index.html"))


# --- every page -------------------------------------------------------------------------------------------------------

SEEN = """() => ({
    links: [...document.querySelectorAll("a[href], link[href]")].map((one) => one.href),
    ids: [...document.querySelectorAll("[id], a[name]")].map((one) => one.id || one.name),
    wide: document.scrollingElement.scrollWidth - innerWidth,
    broken: [...document.images].filter((one) => !one.complete || !one.naturalWidth).map((one) => one.src),
    emphasised: [...document.querySelectorAll("article em")].map((one) => ({
        text: one.textContent,
        style: getComputedStyle(one).fontStyle,
        mark: getComputedStyle(one).textEmphasisStyle,
    })),
    title: document.title,
})"""


def test_every_page_on_a_telephone(site: Path, address: str, browser: Any) -> None:
    """No page is wider than the screen, no link leads nowhere, nothing is asked of the net, no Chinese is slanted."""
    context = browser.new_context(**NARROW)
    # Each page would read the index of all words, which takes longer than all else here; other tests search.
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8")) | {"docs": []}
    context.route("**/search_index.json", lambda route: route.fulfill(json=index))
    tab = context.new_page()
    asked: set[str] = set()
    tab.on("request", lambda request: asked.add(request.url))
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(f"{tab.url}: {error}"))
    seen = {}
    for path in pages(site):
        tab.goto(address + path)
        seen[path] = tab.evaluate(SEEN)
    context.close()
    assert len(seen) > 40
    version = importlib.metadata.version("ctckit")
    chinese = 0
    for path, page in seen.items():
        assert page["wide"] <= 0, f"{path} is {page['wide']} pixels wider than the screen"
        assert not page["broken"], path
        assert page["title"].endswith(f"ctckit {version}")
        faults += [f"{path}: {link}" for link in page["links"] if not leads(link, address, site, seen)]
        for one in page["emphasised"]:
            slanted = not re.search(r"[\u4e00-\u9fff]", one["text"])
            assert (one["style"] == "italic") == slanted, (path, one)
            assert (one["mark"] == "none") == slanted, (path, one)
            chinese += not slanted
    assert not faults
    assert chinese
    assert {url for url in asked if not url.startswith((address, "data:"))} == set()


def leads(link: str, address: str, site: Path, seen: dict[str, Any]) -> bool:
    """Whether a link of the site leads to a file and to a place in it; links to other sites are not followed."""
    if not link.startswith(address):
        return link.startswith(("https://", "mailto:"))
    url, place = urldefrag(link.removeprefix(address))
    path = unquote(url).removesuffix("index.html") or "./"
    if path in seen:
        return not place or unquote(place) in seen[path]["ids"]
    return (site / path).is_file() and not place


def test_wide_tables_scroll_by_themselves(opened: Any) -> None:
    tab = opened("design/", **NARROW)
    expect(tab.locator(".md-typeset__scrollwrap").first).to_be_attached()  # the theme's script puts tables into these
    wide = tab.evaluate(
        """[...document.querySelectorAll("article table")].filter((one) => one.scrollWidth > innerWidth).map((one) => {
            const box = one.closest(".md-typeset__scrollwrap");
            box.scrollLeft = 9;
            return box.scrollLeft;
        })"""
    )
    assert wide
    assert set(wide) == {9}


def test_pictures_are_drawn_anew_in_the_language_of_the_page(site: Path) -> None:
    shown = 0
    for page in pages(site):
        html = (site / page / "index.html").read_text(encoding="utf-8")
        chinese = page.startswith("zh/")
        assert f'<html lang="{"zh" if chinese else "en"}"' in html
        for picture in re.findall(r'<img [^>]*src="([^"]*)"', html):
            if picture.endswith(".png"):  # a photograph of the demo's page
                assert (site / page / picture).is_file()
                continue
            svg = (site / page / unquote(picture)).read_text(encoding="utf-8")
            assert texts(svg), picture
            said = texts(svg)[-1:] if "/page." in picture else texts(svg)  # a scan has both languages, its axis one
            assert bool(re.search("[\u4e00-\u9fff]", "".join(said))) == chinese, picture
            assert "prefers-color-scheme: dark" in svg, picture
            shown += 1
    assert shown > 30
    assert not list(site.rglob("*.py"))


# --- search -----------------------------------------------------------------------------------------------------------


READY = re.compile("Type to start searching|键入以开始搜索")  # the index is loaded, and nothing is typed


def found(tab: Any, query: str) -> list[str]:
    """The addresses of what the search finds for what is written into its box; the best first.

    It is written at once, as input methods do: after each key the search would show what it finds for a part of it.
    """
    tab.locator("[data-md-component=search-query]").click()
    count = tab.locator(".md-search-result__meta")
    expect(count).to_have_text(READY)
    tab.keyboard.insert_text(query)
    tab.keyboard.press("End")  # the search looks when a key is released
    expect(count).not_to_have_text(READY)
    return tab.evaluate("[...document.querySelectorAll('.md-search-result__link')].map((one) => one.href)")


def places(links: list[str], address: str) -> list[str]:
    """Paths with the place on the page, without what is to be highlighted there."""
    return [re.sub(r"\?[^#]*", "", link.removeprefix(address)) for link in links]


@pytest.mark.parametrize("start", ["training/", "zh/training/"])
@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("forced_align", "reference/align/#ctckit.forced_align"),
        ("ctckit.forced_align", "reference/align/#ctckit.forced_align"),
        ("CTCLoss", "reference/train/#ctckit.torch.CTCLoss"),
        ("merge_tokens", "reference/align/#ctckit.torch.merge_tokens"),
    ],
)
def test_names_are_found_in_the_reference(start: str, query: str, place: str, opened: Any, address: str) -> None:
    hits = places(found(opened(start), query), address)
    root = "zh/" if start.startswith("zh/") else ""
    assert root + place in hits[:4]
    assert len(hits) == len(set(hits)), "found twice"
    assert {hit.startswith("zh/") for hit in hits} == {bool(root)}, "found in the other language"


@pytest.mark.parametrize(
    ("query", "words", "page"),
    [
        ("无穷大", ["无穷大"], "zh/symptoms/"),
        ("强制对齐", ["强制", "对齐"], "zh/alignment/"),
        ("空白", ["空白"], "zh/ctc/"),
        ("语言模型", ["语言", "模型"], "zh/language/"),
    ],
)
def test_chinese_words_are_found(query: str, words: list[str], page: str, opened: Any, address: str) -> None:
    tab = opened("zh/")
    hits = places(found(tab, query), address)
    assert page in list(dict.fromkeys(urldefrag(hit).url for hit in hits))[:5]
    assert len(hits) == len(set(hits)), "found twice"
    assert all(hit.startswith("zh/") for hit in hits)
    marked = tab.locator(".md-search-result__link mark").all_inner_texts()
    assert {mark for mark in marked if mark.strip()} <= set(words)
    for one in tab.locator(".md-search-result__terms").all():  # words that a page lacks
        assert one.evaluate("(one) => getComputedStyle(one).fontStyle") == "normal"
        assert set(one.locator("del").all_text_contents()) < set(words)


def test_english_readers_find_no_chinese_pages(opened: Any) -> None:
    tab = opened("")
    assert found(tab, "空白") == []
    expect(tab.locator(".md-search-result__meta")).to_have_text("No matching documents")


def test_what_is_found_opens(opened: Any) -> None:
    tab = opened("zh/")
    found(tab, "forced_align")
    hit = tab.locator(".md-search-result__link[href$='forced_align']").first
    place = hit.get_attribute("href").partition("#")[2]
    hit.click()
    expect(tab.locator(f"[id='{place}']")).to_be_in_viewport()


# --- reference --------------------------------------------------------------------------------------------------------


@cache
def package() -> griffe.Module:
    loaded = griffe.load("ctckit", search_paths=[str(ROOT / "src")], resolve_aliases=True)
    assert isinstance(loaded, griffe.Module)
    return loaded


def public() -> dict[str, griffe.Object]:
    """What the modules export that docs/reference/index.md calls public, each by the first name that it has there."""
    page = (ROOT / "docs/reference/index.md").read_text(encoding="utf-8")
    names: dict[str, griffe.Object] = {}
    for module in re.findall(r"^\| `(ctckit[\w.]*)` \|", page, re.MULTILINE):
        of = package()[module.removeprefix("ctckit.")] if module != "ctckit" else package()
        assert of.exports, module
        for name in map(str, of.exports):
            what = of[name].final_target if of[name].is_alias else of[name]
            if what.path not in {known.path for known in names.values()}:
                names[f"{module}.{name}"] = what
    return names


@pytest.fixture(scope="module")
def entries(site: Path) -> dict[str, str]:
    """The reference's entries: each name, and what stands below it."""
    found: dict[str, str] = {}
    for page in sorted((site / "reference").glob("*/index.html")):
        for entry in page.read_text(encoding="utf-8").split('<div class="doc doc-object ')[1:]:
            if heading := re.search(r'<h2 id="([^"]+)"', entry):
                assert heading[1] not in found, f"{heading[1]} stands in two places"
                last = heading[1]
                found[last] = entry
            else:  # a member of the last one
                found[last] += entry
    return found


def test_the_reference_has_every_public_name(entries: dict[str, str]) -> None:
    assert set(entries) == set(public())
    assert len(entries) > 70


def test_entries_are_complete(entries: dict[str, str]) -> None:
    """A function's entry has its types and, as it needs them, arguments, errors and an example."""
    for name, what in public().items():
        entry = entries[name]
        assert what.docstring, name
        assert "doc-contents" in entry
        if what.is_class and any(part.kind.value == "parameters" for part in what.docstring.parse("google")):
            assert "doc-signature" in entry.partition("doc-contents")[0], f"{name} is made by users: how?"
        if what.is_function:
            assert "doc-signature" in entry, name
            assert "<pre" in entry, f"{name} has no example"
            linked = re.search(r'class="autorefs', entry)  # to the function that has the same ones
            assert len(what.parameters) < 3 or "Parameters:" in entry or linked, name


def test_docstrings_leave_no_marks(entries: dict[str, str]) -> None:
    """What docstrings are written in is translated to the page's."""
    for name, entry in entries.items():
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", entry, flags=re.DOTALL)
        assert not re.search(r":(?:func|class|meth|attr|data|mod|exc):", text), name
        assert "&gt;&gt;&gt;" not in text, name
        assert not re.search(r"<p>(Args|Raises|Returns|Example|Attributes|Source):", text), name


def test_the_chinese_site_says_that_the_reference_is_english(opened: Any) -> None:
    tab = opened("zh/reference/align/")
    expect(tab.get_by_text("本页只有英文版")).to_be_visible()
    assert tab.locator("article h1").evaluate("(one) => one.closest('[lang]').lang") == "en"
    expect(tab.locator("nav.md-tabs")).to_contain_text("学习")
    tab.locator("article h1").evaluate("(one) => one.insertAdjacentHTML('afterend', '<p><em>so</em></p>')")
    assert tab.locator("article em").first.evaluate("(one) => getComputedStyle(one).fontStyle") == "italic"


# --- look -------------------------------------------------------------------------------------------------------------


def is_dark(tab: Any) -> tuple[bool, bool]:
    """Whether the page is dark, and whether the first picture's corner is."""
    image = pytest.importorskip("matplotlib.image")
    channels = re.findall(r"[\d.]+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    picture = image.imread(io.BytesIO(tab.locator("article img").first.screenshot()), format="png")
    return max(map(float, channels[:3])) < 128, float(picture[2, 2, :3].max()) < 0.5


@pytest.mark.parametrize("system", ["light", "dark"])
def test_dark_and_light(system: str, opened: Any) -> None:
    """The page and its pictures are as the system is, until the reader chooses."""
    tab = opened("", color_scheme=system)
    scheme = tab.locator("body")
    dark = {"light": "default", "dark": "slate"}
    expect(scheme).to_have_attribute("data-md-color-scheme", dark[system])
    assert is_dark(tab) == (system == "dark",) * 2
    for expected in ("default", "slate"):  # the button goes from the system's to light, and then to dark
        tab.locator("[data-md-component=palette] label:not([hidden])").click()
        expect(scheme).to_have_attribute("data-md-color-scheme", expected)
        assert is_dark(tab) == (expected == "slate",) * 2


def test_the_other_language_is_one_click_away(opened: Any) -> None:
    tab = opened("alignment/")
    tab.locator(".md-select button").hover()
    tab.locator(".md-select a[hreflang=zh]").click()
    expect(tab.locator("h1")).to_contain_text("对齐")
    assert tab.url.endswith("/zh/alignment/")
    expect(tab.locator(".md-header__title").first).to_contain_text(importlib.metadata.version("ctckit"))


def test_the_repository_is_linked_once_it_has_an_address(site: Path, tmp_path: Path) -> None:
    assert "md-source__repository" not in (site / "index.html").read_text(encoding="utf-8")
    assert not (site / "sitemap.xml").exists()
    (tmp_path / "docs").mkdir()
    for page in ("index.md", "index.zh.md"):
        (tmp_path / "docs" / page).write_text(f"# {page}\n", encoding="utf-8")
    (tmp_path / "docs/site.css").touch()
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "hooks": [str(ROOT / "docs/hooks.py")],
        "nav": ["index.md"],
        "repo_url": "https://example.org/ctckit",
        "site_url": "https://example.org/docs/",
    }
    (tmp_path / "mkdocs.yml").write_text(json.dumps(settings), encoding="utf-8")
    build(tmp_path)
    for page in ("index.html", "zh/index.html"):
        text = (tmp_path / "site" / page).read_text(encoding="utf-8")
        assert 'href="https://example.org/ctckit"' in text
        assert "md-source__repository" in text
    assert "https://example.org/docs/zh/" in (tmp_path / "site/sitemap.xml").read_text(encoding="utf-8")
