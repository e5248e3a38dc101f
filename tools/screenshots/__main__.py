"""Makes the pictures of the dashboard that README and docs show: `make screenshots`."""

import asyncio
import sys
from pathlib import Path
from urllib.parse import quote

from tests.browser.kit import SIZES, chromium, chromium_path, served
from tests.kit import Server
from tools.screenshots.shop import app_of, fill

_ROOT = Path(__file__).parents[2]
_INTO = _ROOT / "docs" / "images"
HIDE_ROOT = """root => document.querySelectorAll("pre").forEach(
    pre => { pre.textContent = pre.textContent.replaceAll(root, "/app") })"""
LOW = 560  # pixels, of desks: pages that are longer are shown whole
CUT = ("batch-phone", "queues-phone", "task")
"""Of these only what is seen at first."""
SETTLES_IN = 12  # seconds: some tasks fail twice, batches get going


async def shoot(redis: str, chromium_at: str) -> None:
    """Each page that is shown somewhere, at a desk and on a phone."""
    app = app_of(redis)
    async with served(app) as url, chromium(chromium_at) as browser:
        ids = await fill(app.state.task_processor)
        await asyncio.sleep(SETTLES_IN)
        shots = {
            "overview": ("", "desk", "light"),
            "overview-dark": ("", "desk", "dark"),
            "batches": ("/batches?tenant=acme", "desk", "light"),
            "batch-phone": (f"/batch?id={ids['batch']}", "phone", "light"),
            "dead": ("/dead?queue=" + quote("imports[fair]"), "desk", "light"),
            "task": (f"/task?id={ids['dead']}", "desk", "light"),
            "queues-phone": ("/queues", "phone", "dark"),
            "schedules": ("/schedules?tenant=acme", "desk", "light"),
            "workers": ("/workers", "desk", "dark"),
        }
        for name, (path, size, scheme) in shots.items():
            width, height = SIZES[size]
            height = LOW if size == "desk" else height
            page = await browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                device_scale_factor=1 if size == "desk" else 2,
            )
            await page.goto(f"{url}/tasks{path}")
            await page.evaluate(HIDE_ROOT, str(_ROOT))
            await page.screenshot(path=_INTO / f"{name}.png", full_page=name not in CUT)
            await page.close()
            print(f"docs/images/{name}.png")


def main() -> int:
    """0 when all are made."""
    path = chromium_path()
    if path is None:
        print("there is no Chromium: install it, or say where it is: CHROMIUM=/path", file=sys.stderr)
        return 1
    _INTO.mkdir(exist_ok=True)
    with Server() as server:
        asyncio.run(shoot(server.url, path))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
