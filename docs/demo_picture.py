"""Draws README's picture of the demo, images/demo.png: `python docs/demo_picture.py`.

It runs the demo, and photographs what that prints together with a part of its report. Needs playwright and Chromium.
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

OUT = Path(__file__).resolve().parent / "images" / "demo.png"
WIDTH = 1080  # pixels of the page; the picture has 1.5 times as many
PAGE = """
<body style="margin: 0; padding: 16px; width: {width}px; box-sizing: border-box; background: #fff">
<pre style="margin: 0 0 14px; padding: 14px 18px; border: 1px solid #d4d8e0; border-radius: 8px; background: #f6f7f9;
color: #1a1f2b; font: 13.2px/1.45 'DejaVu Sans Mono', monospace; white-space: pre-wrap">{printed}</pre>
<img src="data:image/png;base64,{report}" style="width: 100%">
</body>
"""


def photograph_report(browser: Browser, report: Path) -> bytes:
    """The two lines of which the report shows what the network says."""
    tab = browser.new_page(viewport={"width": WIDTH, "height": 800}, color_scheme="light", device_scale_factor=1.5)
    tab.goto(report.as_uri())
    return tab.locator("h2#inside ~ div").first.screenshot()


def main() -> None:
    """Runs the demo with its report in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        demo = [sys.executable, "-m", "ctckit", "demo"]
        printed = subprocess.run(demo, cwd=folder, capture_output=True, text=True, check=True).stdout
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        report = base64.b64encode(photograph_report(browser, Path(folder) / "demo-report" / "index.html")).decode()
        tab = browser.new_page(viewport={"width": WIDTH, "height": 100}, device_scale_factor=1.5)
        tab.set_content(PAGE.format(width=WIDTH, printed=html.escape("$ make demo\n" + printed.strip()), report=report))
        memory = io.BytesIO()
        with Image.open(io.BytesIO(tab.screenshot(full_page=True))) as picture:
            picture.convert("RGB").quantize(64).save(memory, "PNG", optimize=True)
        browser.close()
    write_whole(OUT, memory.getvalue())
    print(f"wrote {OUT.name}, {OUT.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
