"""Photographs the interactive page in a browser, for whoever reviews it: `python docs/screenshots.py`.

Two widths, light and dark, English and Chinese. Needs playwright and Chromium.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from ctckit.explanation import explain_word
from ctckit.files import write_whole

OUT = Path(__file__).resolve().parent / "screenshots"
VIEWS = [(1280, "light", "en"), (1280, "dark", "zh"), (390, "light", "zh"), (390, "dark", "en")]


def photograph(browser: Browser, page: Path, width: int, scheme: str) -> bytes:
    """The whole page as a PNG of few colours: a quarter of the bytes."""
    tab = browser.new_page(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",  # else the picture is taken while colours still change
    )
    tab.goto(page.as_uri())
    tab.locator(".views label:has(input[value=gamma])").click()
    memory = io.BytesIO()
    with Image.open(io.BytesIO(tab.screenshot(full_page=True))) as picture:
        picture.convert("RGB").quantize(96).save(memory, "PNG", optimize=True)
    return memory.getvalue()


def main() -> None:
    """All views, into docs/screenshots."""
    OUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, scheme, lang in VIEWS:
            page = Path(folder) / f"{lang}.html"
            explain_word("see", 6, lang=lang).save(page)
            picture = OUT / f"{width}-{scheme}-{lang}.png"
            write_whole(picture, photograph(browser, page, width, scheme))
            print(f"wrote {picture.name}, {picture.stat().st_size // 1024} KiB")
        browser.close()


if __name__ == "__main__":
    main()
