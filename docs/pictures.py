"""The pictures of the pages, taken of a report by Chromium: python docs/pictures.py runs/reports/report-quick.html.

Those in docs/assets are of the tutorial's run: the embedded model, the recipe quick, after `toolkit diagnose`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ASSETS = Path(__file__).with_name("assets")
PARTS = {"report-head": ".verdict", "report-figure": "figure >> nth=0", "report-pair": "article.pair >> nth=0"}


def main(report: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 860, "height": 900})
        page.goto(report.resolve().as_uri())
        for name, part in PARTS.items():
            page.locator(part).screenshot(path=ASSETS / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
