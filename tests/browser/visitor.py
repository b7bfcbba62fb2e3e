"""A user of the page in a real Chromium, and what several tests let them do."""

from __future__ import annotations

import base64
import io
import re
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import expect

SHOTS = Path(__file__).parents[1] / "screenshots"
SLOW = 90_000  # milliseconds: a loaded machine is not a failure
expect.set_options(timeout=SLOW)


class Visitor:
    """A user of a browser of their own, or of the window that is given, which they leave as it was."""

    def __init__(self, chromium, address, width=1280, dark=False, window=None):
        size = {"width": width, "height": 900}
        self.context = window or chromium.new_context(viewport=size, accept_downloads=True)
        self.window, self.address = window, address
        self.page, self.width, self.wrong = self.context.new_page(), width, []
        self.page.set_default_timeout(SLOW)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url, address))
        self.page.goto(address + ("?__theme=dark" if dark else "?__theme=light"))
        self.page.locator("#label-strip .th button").first.wait_for()
        self.page.locator("#label-painter [data-part=view]").wait_for()

    def _note(self, url, address):
        if url.startswith("http") and not url.startswith(address.rstrip("/")):
            self.wrong.append(f"asked somebody else: {url}")

    def tab(self, name):
        self.page.locator("#tabs").get_by_role("tab", name=name, exact=True).first.click()

    def category(self, painter, name):
        self.page.locator(f"#{painter}").get_by_text(name, exact=True).first.click()

    def stroke(self, painter, points):
        """Drag over points (x, y), in 0..1 of the picture, once there is one."""
        self.page.locator(f"#{painter} .lp[data-empty=false]").wait_for()
        view = self.page.locator(f"#{painter} [data-part=view]")
        view.scroll_into_view_if_needed()
        box = view.bounding_box()
        xy = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
        self.page.mouse.move(*xy[0])
        self.page.mouse.down()
        for each in xy[1:]:
            self.page.mouse.move(*each, steps=6)
        self.page.mouse.up()

    def canvas(self, painter, part):
        """A layer of the painter as (H, W, 4) uint8."""
        url = self.page.evaluate(
            "([id, part]) => document.querySelector(`#${id} [data-part=${part}]`).toDataURL('image/png')",
            [painter, part],
        )
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"))

    def until(self, holds, seconds=SLOW / 1000):
        """Wait for a condition that no element shows."""
        clock = time.monotonic()
        while not holds():
            assert time.monotonic() - clock < seconds, "it did not come to hold"
            self.page.wait_for_timeout(50)  # rather than sleep: what the page reports is heard meanwhile

    def stop(self, stop, run):
        """Press a Stop button; returns what it says until the run has ended, each with the milliseconds since then.

        The page itself notes it: whoever asks from outside may ask too late.
        """
        self.page.evaluate(
            """(ids) => {
                const [stop, run] = ids.map((id) => document.getElementById(id)), noted = (window.noted = []);
                const note = () => run.disabled && noted.push([stop.textContent.trim(), performance.now() - pressed]);
                let pressed;
                stop.addEventListener("click", () => { pressed = performance.now(); }, { capture: true, once: true });
                new MutationObserver(note).observe(stop, { characterData: true, childList: true, subtree: true });
            }""",
            [stop, run],
        )
        self.page.locator(f"#{stop}").click()
        expect(self.page.locator(f"#{run}")).to_be_enabled()
        return self.page.evaluate("window.noted")

    def said(self, place):
        return self.page.locator(f"#{place}").inner_text()

    def shot(self, name):
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SHOTS / f"app-{name}-{self.width}.png", full_page=True)

    def fits(self):
        """Whether nothing overflows horizontally."""
        return self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")

    def close(self):
        if self.window is None:
            return self.context.close()
        for page in self.window.pages:  # all of them, before what they kept is forgotten
            page.close()
        page = self.window.new_page()
        page.goto(self.address + "theme.css")
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.close()


def label_two(visitor):
    """Paint strokes of two categories and wait for the segmentation; returns the seconds from stroke to overlay."""
    visitor.category("label-painter", "background")
    visitor.stroke("label-painter", [(0.04, 0.05), (0.04, 0.5)])
    visitor.category("label-painter", "skin")
    seconds = until_followed(visitor, [(0.42, 0.5), (0.58, 0.55)])
    expect(visitor.page.locator("#label-status .ls-good")).to_be_visible()
    expect(visitor.page.locator("#label-sure .ls-row").first).to_be_visible()
    return seconds


def until_followed(visitor, points):
    """Paint a stroke; returns the seconds until the overlay on the same image has changed."""
    before = visitor.canvas("label-painter", "prediction").copy()
    visitor.stroke("label-painter", points)
    clock = time.monotonic()
    while np.array_equal(visitor.canvas("label-painter", "prediction"), before):
        assert time.monotonic() - clock < SLOW / 1000
        time.sleep(0.02)
    return time.monotonic() - clock


def close_to(rgba, color, slack=40):
    """The pixels of a layer painted in about this colour, (H, W) bool."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(rgba[..., :3].astype(int) - rgb).max(-1) <= slack) & (rgba[..., 3] > 0)


def picture(visitor, place, index):
    """An image of a strip as (H, W, 3) uint8."""
    url = visitor.page.locator(f"#{place} img").nth(index).get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def an_image_to_edit(visitor):
    """Wait until the tab Edit has an image."""
    visitor.page.locator("#edit-painter .lp[data-empty=false]").wait_for()
    expect(visitor.page.locator("#edit-strip [aria-selected=true], #edit-examples [aria-selected=true]")).to_have_count(
        1
    )


def few_steps(visitor, steps=10):
    """Ask for few steps of an edit: where it does not matter how far it comes."""
    visitor.page.locator("button:visible", has_text=re.compile(r"^\s*Options")).first.click()
    field = visitor.page.locator("#edit-steps input[type=number]")

    def asked():
        field.fill(str(steps))  # once more, if the slider was still being laid out
        field.press("Enter")
        visitor.page.wait_for_timeout(300)
        return field.input_value() == str(steps)

    visitor.until(asked)


def longer_hair(visitor):
    """Edit the image that is there, to the end."""
    an_image_to_edit(visitor)
    visitor.category("edit-painter", "hair")
    visitor.stroke("edit-painter", [(0.25, 0.55), (0.25, 0.8), (0.3, 0.6)])
    visitor.page.locator("#edit-run").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("strokes are matched")


def begin_an_edit(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    visitor.category("edit-painter", "hat")
    visitor.stroke("edit-painter", [(0.3, 0.1), (0.5, 0.05), (0.7, 0.1), (0.3, 0.15), (0.7, 0.15)])
    visitor.page.locator("#edit-run").click()
