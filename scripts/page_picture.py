"""Make the picture of the page for docs/page.md, with the chromium of the system.

python scripts/page_picture.py training/demo/pipeline docs/images/page.png
"""

import shutil
import socket
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import typer
from PIL import Image
from playwright.sync_api import sync_playwright

PATIENCE = 120  # seconds
STILL = 2000  # milliseconds after which nothing moves any more
SEEN = "furosemide"  # a word of the fictional note whose entity is pressed


def main(model: str, output: Path) -> None:
    """Serve MODEL, press an entity of the fictional note, and write the picture to OUTPUT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spacy", "btl", "visualize", model, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health")
            picture = _picture(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()
    image = Image.open(BytesIO(picture)).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(output, optimize=True)


def _wait(url: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urlopen(url).close()
            return
        except URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _picture(address: str) -> bytes:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(address)
        page.locator("mark.entity", has_text=SEEN).click()
        page.locator("mark.chosen", has_text=SEEN).wait_for()
        page.mouse.move(0, 0)
        page.wait_for_timeout(STILL)
        return page.screenshot()


if __name__ == "__main__":
    typer.run(main)
