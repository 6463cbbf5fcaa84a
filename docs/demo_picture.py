"""Draws the pictures of the demos, images/demo.png and images/speech.png.

`python docs/demo_picture.py [demo] [speech]` runs the demos. It photographs what the one prints together with a part of
its report, and of the page of the other a recording and a line. Needs playwright and Chromium.
"""

from __future__ import annotations

import base64
import html
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from ctckit.files import write_whole

OUT = Path(__file__).resolve().parent / "images"
WIDTH = 1080  # pixels of the page; the picture has 1.5 times as many
PAGE = """
<body style="margin: 0; padding: 16px; width: {width}px; box-sizing: border-box; background: #fff">
<pre style="margin: 0 0 14px; padding: 14px 18px; border: 1px solid #d4d8e0; border-radius: 8px; background: #f6f7f9;
color: #1a1f2b; font: 13.2px/1.45 'DejaVu Sans Mono', monospace; white-space: pre-wrap">{printed}</pre>
<img src="data:image/png;base64,{report}" style="width: 100%">
</body>
"""

ONLY = """() => {
  const blocks = (kind) => [...document.querySelectorAll(`.block:has(.${kind})`)];
  document.querySelector("main").replaceChildren(blocks("sound")[2], blocks("print")[1]);
  document.querySelector("main").style.paddingBottom = 0;
}"""


def photograph_report(browser: Browser, report: Path) -> bytes:
    """The two lines of which the report shows what the network says."""
    tab = browser.new_page(viewport={"width": WIDTH, "height": 800}, color_scheme="light", device_scale_factor=1.5)
    tab.goto(report.as_uri())
    return tab.locator("h2#inside ~ div").first.screenshot()


def photograph_demo(browser: Browser, folder: str) -> bytes:
    """What the demo prints, and a part of its report."""
    demo = [sys.executable, "-m", "ctckit", "demo"]
    printed = subprocess.run(demo, cwd=folder, capture_output=True, text=True, check=True).stdout
    report = base64.b64encode(photograph_report(browser, Path(folder) / "demo-report" / "index.html")).decode()
    tab = browser.new_page(viewport={"width": WIDTH, "height": 100}, device_scale_factor=1.5)
    tab.set_content(PAGE.format(width=WIDTH, printed=html.escape("$ make demo\n" + printed.strip()), report=report))
    return tab.screenshot(full_page=True)


def photograph_speech(browser: Browser, folder: str) -> bytes:
    """The third recording, and below it the second line of print."""
    subprocess.run([sys.executable, "-m", "ctckit", "demo-speech"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    view = {"viewport": {"width": WIDTH, "height": 800}, "color_scheme": "light", "device_scale_factor": 1.5}
    tab = browser.new_page(**view, reduced_motion="reduce")
    tab.goto((Path(folder) / "demo-speech" / "index.html").as_uri())
    tab.evaluate(ONLY)
    return tab.locator("main").screenshot()


def main() -> None:
    """Runs the demos with their pages in a temporary folder."""
    pictures = {"demo": photograph_demo, "speech": photograph_speech}
    for name in sys.argv[1:] or pictures:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            memory = io.BytesIO()
            with Image.open(io.BytesIO(pictures[name](browser, folder))) as picture:
                picture.convert("RGB").quantize(128).save(memory, "PNG", optimize=True)
            browser.close()
        write_whole(OUT / f"{name}.png", memory.getvalue())
        print(f"wrote {name}.png, {len(memory.getvalue()) // 1024} KiB")


if __name__ == "__main__":
    main()
