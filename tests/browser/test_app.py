"""Goes through all four tabs of the served app in a real Chromium."""

from __future__ import annotations

import base64
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client
from PIL import Image
from playwright.sync_api import expect

from linsem.palette import parse_categories, read_label_map, write_label_map
from linsem.seeds import parse_seeds
from tests.readme import block

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]
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
        """Drag over points (x, y), in 0..1 of the picture."""
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


@pytest.fixture
def visitor(chromium, address, window):
    each = Visitor(chromium, address, window=window)
    yield each
    each.close()
    assert each.wrong == []


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


def test_scribbles_are_followed_on_this_image_and_on_the_others(visitor, model):
    colors = {c["name"]: c["color"] for c in model["categories"]}
    untouched = [item.get_attribute("src") for item in visitor.page.locator("#label-strip img").all()]
    label_two(visitor)
    strokes, prediction = visitor.canvas("label-painter", "strokes"), visitor.canvas("label-painter", "prediction")
    for name in ("background", "skin"):
        painted = close_to(strokes, colors[name])
        assert painted.sum() > 20
        assert close_to(prediction, colors[name])[painted].mean() > 0.9
        assert close_to(prediction, colors[name]).sum() > 2 * painted.sum()  # it goes beyond the strokes
    visitor.page.wait_for_function(
        "old => [...document.querySelectorAll('#label-strip img')].every((img, i) => img.src !== old[i])", arg=untouched
    )
    assert "not painted yet" in visitor.said("label-sure") and "sure" in visitor.said("label-sure")
    visitor.shot("label")
    visitor.page.locator("#label-next").click()
    visitor.until(lambda: visitor.canvas("label-painter", "strokes")[..., 3].max() == 0)  # another image
    expect(visitor.page.locator("#label-strip .th button").first).to_have_attribute("aria-selected", "false")
    visitor.page.locator("#label-strip .th button").first.click()
    visitor.until(lambda: np.array_equal(visitor.canvas("label-painter", "strokes"), strokes))  # nothing was lost


def test_images_worth_labelling_take_the_place_of_those_without_strokes(visitor):
    label_two(visitor)
    visitor.page.locator("#label-worth").click()
    box = visitor.page.locator("#label-seeds").locator("textarea, input")
    expect(box).not_to_have_value("1-8")
    seeds = box.input_value()
    chosen = [int(seed) for seed in seeds.split(",")]
    assert len(set(chosen)) == 4 and min(chosen) > 8 and max(chosen) - min(chosen) > 3  # and not just the next ones
    expect(visitor.page.locator("#label-strip .th button")).to_have_count(5)  # the one with strokes stays
    expect(visitor.page.locator("#label-strip")).to_contain_text(f"seed {chosen[0]}")
    expect(visitor.page.locator("#label-strip")).to_contain_text(re.compile(r"\d+ px"))


def test_an_overlay_follows_a_stroke_within_a_second_or_so(visitor):
    """The median is printed, with what of it the server says that it took; two seconds are for a machine at work."""
    label_two(visitor)
    strokes = [
        ("hair", [(0.42, 0.2), (0.58, 0.2)]), ("clothes", [(0.35, 0.95), (0.65, 0.95)]),
        ("background", [(0.96, 0.05), (0.96, 0.4)]), ("mouth", [(0.47, 0.62), (0.53, 0.62)]),
        ("eyes", [(0.4, 0.48), (0.43, 0.48)]), ("skin", [(0.48, 0.7), (0.52, 0.71)]),
        ("eyes", [(0.57, 0.48), (0.6, 0.48)]),
    ]  # fmt: skip
    waits, shares = [], []
    for name, points in strokes:
        visitor.category("label-painter", name)
        waits.append(until_followed(visitor, points))
        expect(visitor.page.locator("#label-status")).to_contain_text("Learnt from")
        shares.append(float(re.search(r"in ([\d.]+) s", visitor.said("label-status"))[1]))
        visitor.page.wait_for_timeout(1500)  # a hand is slower than the other thumbnails
    median = sorted(waits)[len(waits) // 2]
    print(
        f"\nstroke to overlay, median of {len(waits)}: {median:.2f} s; server {sorted(shares)[len(shares) // 2]:.2f} s"
    )
    assert median < 2


def test_strokes_in_a_hurry_over_several_images_are_all_followed(visitor, model):
    colors = {c["name"]: c["color"] for c in model["categories"]}
    visitor.category("label-painter", "background")
    visitor.stroke("label-painter", [(0.04, 0.05), (0.04, 0.5)])
    visitor.category("label-painter", "skin")
    visitor.stroke("label-painter", [(0.42, 0.5), (0.58, 0.55)])
    visitor.page.locator("#label-strip .th button").nth(2).click()  # while the fit is on its way
    visitor.until(lambda: visitor.canvas("label-painter", "strokes")[..., 3].max() == 0)
    visitor.until(lambda: close_to(visitor.canvas("label-painter", "prediction"), colors["skin"]).sum() > 20)
    visitor.category("label-painter", "clothes")
    visitor.stroke("label-painter", [(0.4, 0.97), (0.6, 0.97)])
    visitor.until(lambda: close_to(visitor.canvas("label-painter", "prediction"), colors["clothes"]).sum() > 20)
    expect(visitor.page.locator("#label-status")).to_contain_text("2 images")
    expect(visitor.page.locator("#label-strip")).to_contain_text(re.compile(r"\d+ px.*\d+ px", re.S))


def test_live_can_be_off_and_fit_now_fits(visitor):
    expect(visitor.page.locator("#fit-now")).to_be_hidden()
    visitor.page.locator("#live input").uncheck()
    for name, y in (("background", 0.05), ("skin", 0.5)):
        visitor.category("label-painter", name)
        visitor.stroke("label-painter", [(0.4, y), (0.6, y)])
    expect(visitor.page.locator("#label-status")).to_contain_text("Live is off")
    assert visitor.page.locator("#label-status .ls-good").count() == 0
    visitor.page.locator("#fit-now").click()
    expect(visitor.page.locator("#label-status .ls-good")).to_be_visible()


def test_one_category_is_not_an_error_but_a_sentence(visitor):
    visitor.category("label-painter", "skin")
    visitor.stroke("label-painter", [(0.4, 0.5), (0.6, 0.5)])
    expect(visitor.page.locator("#label-status")).to_contain_text(re.compile("at least one other|painted", re.I))
    assert visitor.page.locator(".toast-body").count() == 0


def test_a_category_with_a_hostile_name_stays_text(visitor):
    label_two(visitor)
    name = "<img src=x onerror=window.pwned=1>${window.pwned=2}"
    visitor.page.get_by_text("Categories: add, rename").click()
    visitor.page.locator("#category-name textarea, #category-name input").first.fill(name)
    visitor.page.locator("#category-add").click()
    expect(visitor.page.locator("#label-painter").get_by_text(name, exact=True).first).to_be_visible()
    expect(visitor.page.locator("#label-sure")).to_contain_text(name)
    assert visitor.page.evaluate("window.pwned") is None


def test_fresh_images_are_segmented_with_what_was_taught(visitor):
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("built-in labels. Teach your own")
    label_two_first = visitor.page.locator("#segment-grid img").first.get_attribute("src")
    visitor.tab("Label")
    label_two(visitor)
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("what you taught")
    assert visitor.page.locator("#segment-grid img").first.get_attribute("src") != label_two_first
    visitor.page.locator("#segment-grid .th button").nth(1).click()
    expect(visitor.page.locator("#segment-sides .th button")).to_have_count(4)
    expect(visitor.page.locator("#segment-legend")).to_contain_text("%")
    visitor.shot("segment")
    visitor.tab("Label")
    visitor.tab("Segment")
    visitor.page.wait_for_timeout(1500)  # in which an answer would have come, and emptied it
    expect(visitor.page.locator("#segment-grid .th button")).to_have_count(8)
    expect(visitor.page.locator("#segment-status")).to_contain_text("what you taught")


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


def test_an_edit_changes_the_image_where_it_was_asked_to_and_can_be_undone(visitor):
    visitor.tab("Edit")
    longer_hair(visitor)
    expect(visitor.page.locator("#edit-undo")).to_be_enabled()
    before, now = picture(visitor, "edit-frames", 0).astype(int), picture(visitor, "edit-frames", 1).astype(int)
    change, side = np.abs(now - before).mean(-1), len(now)
    there = np.zeros((side, side), bool)
    there[int(0.5 * side) : int(0.85 * side), int(0.2 * side) : int(0.35 * side)] = True
    told = visitor.said("edit-status")
    print(f"\n{told} change there {change[there].mean():.1f}, elsewhere {change[~there].mean():.1f}")
    assert change[there].mean() > 2 and change[there].mean() > change[~there].mean()
    numbers = [int(n) for n in re.findall(r"(\d+) %", visitor.said("edit-status"))]
    assert numbers[0] > numbers[1]
    visitor.shot("edit")
    expect(visitor.page.locator("#edit-slider img").first).to_be_visible()
    edited = visitor.canvas("edit-painter", "image")
    visitor.page.locator("#edit-undo").click()
    expect(visitor.page.locator("#edit-redo")).to_be_enabled()
    expect(visitor.page.locator("#edit-undo")).to_be_disabled()
    visitor.until(lambda: not np.array_equal(visitor.canvas("edit-painter", "image"), edited))
    first = Image.fromarray(visitor.canvas("edit-painter", "image")[..., :3]).resize(before.shape[1::-1])
    assert np.abs(np.asarray(first).astype(int) - before).mean() < 4  # the same picture, sent in two ways
    expect(visitor.page.locator("#edit-frames .th button")).to_have_count(1)  # an image without an edit: it alone


def test_a_hat_is_added_and_removed_without_a_stroke(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    few_steps(visitor, 20)
    for choice, button, said in (("lacking", "add", "of 'hat' is there"), ("gone", "remove", "of 'hat' is gone")):
        visitor.page.locator(f"#edit-{choice} input").click()
        visitor.page.get_by_role("option", name="hat", exact=True).click()
        visitor.page.locator(f"#edit-{button}").click()
        expect(visitor.page.locator("#edit-status")).to_contain_text("Done")
        expect(visitor.page.locator("#edit-status .ls-good")).to_contain_text(said)
        assert int(re.search(r"(\d+) %", visitor.said("edit-status"))[1]) > 80
        visitor.page.locator(f"#edit-{choice} input").click()  # what is there can be removed now, and not be added
        expect(visitor.page.get_by_role("option", name="hat", exact=True)).to_have_count(0)
        visitor.page.keyboard.press("Escape")
    visitor.page.locator("#edit-add").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Choose what to add first")


def begin_an_edit(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    visitor.category("edit-painter", "hat")
    visitor.stroke("edit-painter", [(0.3, 0.1), (0.5, 0.05), (0.7, 0.1), (0.3, 0.15), (0.7, 0.15)])
    visitor.page.locator("#edit-run").click()


def test_stop_can_be_pressed_while_an_edit_runs_and_keeps_what_there_is(visitor):
    begin_an_edit(visitor)
    expect(visitor.page.locator("#edit-stop")).to_be_enabled(timeout=1500)
    expect(visitor.page.locator("#edit-run")).to_be_disabled()
    expect(visitor.page.locator("#edit-status")).to_contain_text(re.compile(r"step \d", re.IGNORECASE))
    visitor.page.locator("#edit-stop").click()
    expect(visitor.page.locator("#edit-run")).to_be_enabled()
    expect(visitor.page.locator("#edit-stop")).to_be_disabled()
    expect(visitor.page.locator("#edit-painter")).to_contain_text("% painted")  # so that Run goes on


def test_an_edit_goes_on_while_another_tab_is_looked_at_and_ends_with_another_generator(visitor):
    begin_an_edit(visitor)
    expect(visitor.page.locator("#edit-stop")).to_be_enabled(timeout=1500)
    visitor.tab("Label")
    visitor.tab("Edit")
    for _ in range(4):
        expect(visitor.page.locator("#edit-painter")).to_contain_text("% painted")
        if visitor.page.locator("#edit-stop").is_enabled():
            assert not visitor.page.locator("#edit-undo").is_enabled()
        visitor.page.wait_for_timeout(200)
    visitor.page.locator("#model input").focus()  # passed on the way with the tab key: nothing has been chosen
    visitor.page.keyboard.press("Escape")
    visitor.page.keyboard.press("Tab")
    before = visitor.said("edit-status")
    visitor.until(lambda: "Done" in before or visitor.said("edit-status") != before)  # so the edit goes on
    expect(visitor.page.locator("#edit-painter")).to_be_visible()
    visitor.page.locator("#model input").click()
    visitor.page.get_by_role("option", name=re.compile("avatars-64")).click()
    expect(visitor.page.locator("#label-strip")).to_be_visible()  # back to the images of the other generator
    visitor.until(lambda: len(visitor.canvas("label-painter", "image")) == 64)
    visitor.tab("Edit")
    expect(visitor.page.locator("#edit-run")).to_be_enabled()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Seed 1. Paint what should be there")
    visitor.until(lambda: len(visitor.canvas("edit-painter", "image")) == 64)
    expect(visitor.page.locator("#edit-painter [data-do=uncertainty]")).to_be_hidden()  # its options are as they were
    expect(visitor.page.locator("#edit-undo")).to_be_disabled()


def test_another_image_chosen_during_an_edit_is_the_one_that_stays(visitor):
    begin_an_edit(visitor)
    expect(visitor.page.locator("#edit-stop")).to_be_enabled(timeout=1500)
    visitor.page.locator("#edit-strip .th button").nth(3).click()
    expect(visitor.page.locator("#edit-run")).to_be_enabled()
    chosen = picture(visitor, "edit-strip", 3)
    others = [picture(visitor, "edit-strip", i) for i in (0, 1, 2)]

    def is_shown():
        shown = Image.fromarray(visitor.canvas("edit-painter", "image")[..., :3]).resize(chosen.shape[1::-1])
        distance = [np.abs(np.asarray(shown).astype(int) - each).mean() for each in (chosen, *others)]
        return distance[0] == min(distance) < 12

    visitor.until(is_shown)
    expect(visitor.page.locator("#edit-status")).to_contain_text("Seed 4. Paint what should be there")
    visitor.page.wait_for_timeout(4000)  # in which the run would have gone on, and said so
    assert is_shown()
    expect(visitor.page.locator("#edit-undo")).to_be_disabled()
    expect(visitor.page.locator("#edit-stop")).to_be_disabled()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Seed 4. Paint what should be there")
    expect(visitor.page.locator("#edit-frames .th button")).to_have_count(1)
    few_steps(visitor)
    visitor.category("edit-painter", "hat")  # and the next run is of the image that is shown
    visitor.stroke("edit-painter", [(0.3, 0.1), (0.5, 0.05), (0.7, 0.1), (0.3, 0.15), (0.7, 0.15)])
    visitor.page.locator("#edit-run").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("strokes are matched")
    before = np.asarray(picture(visitor, "edit-frames", 0)).astype(int)
    assert np.abs(before - np.asarray(Image.fromarray(chosen).resize(before.shape[1::-1]))).mean() < 12


def test_an_edit_is_there_again_when_its_image_is_chosen_again(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    start = visitor.canvas("edit-painter", "image")
    few_steps(visitor)
    longer_hair(visitor)
    visitor.until(lambda: not np.array_equal(visitor.canvas("edit-painter", "image"), start))
    done, edited = visitor.said("edit-status"), visitor.canvas("edit-painter", "image")
    for image, says in ((1, "Seed 2. Paint what should be there"), (0, done)):
        if visitor.page.locator("#edit-strip").is_hidden():
            visitor.page.locator("#edit-choose").get_by_text("Choose an image").click()
        visitor.page.locator("#edit-strip .th button").nth(image).click()
        expect(visitor.page.locator("#edit-status")).to_contain_text(says.strip())
    visitor.until(lambda: np.array_equal(visitor.canvas("edit-painter", "image"), edited))
    expect(visitor.page.locator("#edit-undo")).to_be_enabled()


def test_stop_can_be_pressed_while_images_are_sampled(visitor):
    visitor.tab("Sample")
    visitor.page.locator("#sample-examples .th button").first.click()
    expect(visitor.page.locator("#sample-understood")).to_contain_text("Layout '")
    visitor.page.locator("#sample-run").click()
    expect(visitor.page.locator("#sample-stop")).to_be_enabled(timeout=1500)
    expect(visitor.page.locator("#sample-run")).to_be_disabled()
    visitor.page.locator("#sample-stop").click()
    expect(visitor.page.locator("#sample-run")).to_be_enabled()
    expect(visitor.page.locator("#sample-status")).to_contain_text("Stopped")


def test_what_is_not_learnt_is_said_and_the_shipped_extractor_is_one_click_away(visitor):
    label_two(visitor)
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    expect(visitor.page.locator("#edit-missing")).to_contain_text("Not learnt yet: hair, hat")
    expect(visitor.page.locator("#edit-examples .th button")).to_have_count(0)
    visitor.page.locator("#edit-reader").get_by_text("built-in labels").click()
    expect(visitor.page.locator("#edit-missing")).to_be_hidden()
    visitor.page.locator("#edit-examples .th button").first.click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("painted already")
    expect(visitor.page.locator("#edit-examples [aria-selected=true]")).to_have_count(1)
    expect(visitor.page.locator("#edit-strip")).to_be_hidden()  # the chooser is closed
    visitor.page.get_by_text("Edit another seed").click()
    seed = visitor.page.locator("#edit-seed input")
    expect(seed).to_have_value("12")
    visitor.page.wait_for_timeout(500)  # what was only just unfolded is filled in once more
    seed.fill("")
    expect(seed).to_have_value("")
    seed.press("Enter")
    expect(visitor.page.locator(".toast-body")).to_contain_text("Seed: enter a whole number from 0 to 4294967295.")
    seed.fill("20")
    seed.press("Enter")
    expect(visitor.page.locator("#edit-status")).to_contain_text("Seed 20.")
    visitor.page.locator("#edit-choose").get_by_text("Choose an image").click()
    expect(visitor.page.locator("#edit-choose [aria-selected=true]")).to_have_count(0)
    visitor.tab("Sample")
    expect(visitor.page.locator("#sample-examples .th button").first).to_be_visible()
    visitor.page.locator("#sample-reader").get_by_text("what I taught").click()
    expect(visitor.page.locator("#sample-examples .th button")).to_have_count(0)
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("what you taught")
    visitor.page.locator("#segment-reader").get_by_text("built-in labels").click()
    expect(visitor.page.locator("#segment-status")).to_contain_text("built-in labels")


def test_a_second_sampling_begins_with_nothing_of_the_first(visitor):
    visitor.tab("Sample")
    page = visitor.page
    page.locator("#sample-examples .th button").first.click()
    expect(page.locator("#sample-understood")).to_contain_text(re.compile(r"Layout '[\w ]+': \d+ categories\."))
    expect(page.locator("#sample-send")).to_be_disabled()
    page.locator("#sample-run").click()
    expect(page.locator("#sample-status")).to_contain_text("results in")
    expect(page.locator("#sample-results [aria-selected=true]")).to_have_count(1)  # the best one, until another
    expect(page.locator("#sample-sides .th button")).to_have_count(3)
    page.locator("#sample-pack").click()
    expect(page.locator("#sample-file a").first).to_be_visible()
    page.locator("#sample-first input").fill("4000")
    page.locator("#sample-first input").press("Enter")
    expect(page.locator("#sample-stop")).to_be_enabled()
    expect(page.locator("#sample-sides .th button")).to_have_count(0)
    expect(page.locator("#sample-file a")).to_have_count(0)
    expect(page.locator("#sample-send")).to_be_disabled()
    page.locator("#sample-stop").click()
    expect(page.locator("#sample-status")).to_contain_text("Stopped")
    expect(page.locator("#sample-run")).to_be_enabled()


def test_an_export_can_be_stopped_while_it_runs_and_only_then(visitor):
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status .ls-good")).to_be_visible()
    visitor.page.get_by_text("Export a data set").click()
    run, stop = visitor.page.locator("#export-run"), visitor.page.locator("#export-stop")
    expect(stop).to_be_disabled()
    run.click()
    expect(stop).to_be_enabled(timeout=1500)
    expect(run).to_be_disabled()
    stop.click()
    expect(run).to_be_enabled()
    expect(stop).to_be_disabled()
    expect(visitor.page.locator("#export-status")).to_contain_text("nothing was kept")


def test_what_was_learnt_goes_with_the_last_label(visitor):
    label_two(visitor)
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("what you taught")
    visitor.tab("Label")
    visitor.page.get_by_role("button", name="Clear image", exact=True).click()
    expect(visitor.page.locator("#label-sure")).to_contain_text("Nothing learnt yet")
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("built-in labels")


def test_running_an_edit_without_a_stroke_says_what_to_do(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    visitor.page.locator("#edit-run").click()
    expect(visitor.page.locator(".toast-body")).to_contain_text("draw at least one stroke, then press Run")
    expect(visitor.page.locator("#edit-run")).to_be_enabled()


def test_a_mask_gives_images_that_obey_it(visitor, address, model, tmp_path):
    client = Client(address, verbose=False, download_files=tmp_path)
    categories = parse_categories(model["categories"])
    files, _, _ = client.predict(model["id"], "900-906", 0.7, None, api_name="/segment")
    read = [read_label_map(Path(file), categories).labels for file in files]
    mask = tmp_path / "mask.png"
    mask.write_bytes(write_label_map(np.repeat(np.repeat(read[0], 3, 0), 3, 1), categories))
    visitor.tab("Sample")
    visitor.page.locator("#sample-mask input[type=file]").set_input_files(mask)
    expect(visitor.page.locator("#sample-understood")).to_contain_text("by the names in the file")
    visitor.page.locator("#sample-run").click()
    expect(visitor.page.locator("#sample-status")).to_contain_text("results in")
    visitor.page.locator("#sample-results .th button").first.click()
    expect(visitor.page.locator("#sample-sides .th button")).to_have_count(3)
    labels = picture(visitor, "sample-sides", 1)
    table = np.array([[int(c.color[i : i + 2], 16) for i in (1, 3, 5)] for c in categories])
    mine = np.abs(labels[:, :, None].astype(int) - table).max(-1).argmin(-1)
    assert mine.shape == read[0].shape
    random = [float((other == read[0]).mean()) for other in read[1:]]
    print(f"\nagreement {(mine == read[0]).mean():.3f}, random images {np.mean(random):.3f}")
    assert (mine == read[0]).mean() > max(random)
    scores = [int(s) for s in re.findall(r"match (\d+) %", visitor.said("sample-results"))]
    assert len(scores) == 4 and scores == sorted(scores, reverse=True)
    visitor.shot("sample")
    visitor.page.locator("#sample-send").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Sample of seed")
    expect(visitor.page.locator("#edit-painter [data-part=view]")).to_be_in_viewport()


def test_results_take_the_colours_of_another_seed(visitor):
    visitor.tab("Sample")
    visitor.page.get_by_role("tab", name="From an image").click()
    visitor.page.locator("#sample-take").click()
    expect(visitor.page.locator("#sample-layout .th button")).to_have_count(1)
    look, found, seeds = visitor.page.locator("#sample-look input, #sample-look textarea"), [], []
    for text in ("", "5"):
        look.fill(text)
        visitor.page.locator("#sample-run").click()
        expect(visitor.page.locator("#sample-status")).not_to_contain_text("results in")
        expect(visitor.page.locator("#sample-status")).to_contain_text("results in")
        found.append(picture(visitor, "sample-results", 0).astype(int))
        seeds.append(sorted(re.findall(r"seed (\d+)", visitor.said("sample-results"))))
    assert len(seeds[0]) == 4 and seeds[0] == seeds[1]  # the same layouts
    assert np.abs(found[0] - found[1]).mean() > 5  # of 255
    look.fill("like seed 5")
    visitor.page.locator("#sample-run").click()
    expect(visitor.page.locator(".toast-body")).to_contain_text(
        "Colours from seed: enter a whole number from 0 to 4294967295, or nothing, not"
    )


def test_a_mask_with_foreign_colours_is_refused_and_nothing_is_lost(visitor, tmp_path):
    visitor.tab("Sample")
    visitor.page.get_by_role("tab", name="From an image").click()
    visitor.page.locator("#sample-take").click()
    expect(visitor.page.locator("#sample-layout .th button")).to_have_count(1)
    bad = tmp_path / "bad.png"
    Image.new("RGB", (64, 64), "#010203").save(bad)
    visitor.page.get_by_role("tab", name="Upload", exact=True).click()
    visitor.page.locator("#sample-mask input[type=file]").set_input_files(bad)
    expect(visitor.page.locator("#sample-understood .ls-bad")).to_contain_text("#010203")
    expect(visitor.page.locator("#sample-mask")).not_to_contain_text("bad.png")
    expect(visitor.page.locator("#sample-layout .th button")).to_have_count(1)


def test_the_calls_of_the_readmes_javascript(visitor, address):
    code = block("js")
    assert "http://127.0.0.1:7860" in code
    code = code.replace("http://127.0.0.1:7860", address.rstrip("/")).replace("console.log", "return ")
    assert visitor.page.evaluate(f"async () => {{ {code} }}").endswith(".png")


def test_a_second_visitor_sees_nothing_of_the_first(chromium, address, visitor):
    label_two(visitor)
    other = Visitor(chromium, address)
    try:
        assert "Draw strokes" in other.said("label-status") and "Nothing learnt" in other.said("label-sure")
        assert other.canvas("label-painter", "strokes")[..., 3].max() == 0
        other.tab("Segment")
        expect(other.page.locator("#segment-status")).to_contain_text("built-in labels")
        assert other.page.locator("#resume").count() == 0 or not other.page.locator("#resume").is_visible()
        assert visitor.canvas("label-painter", "strokes")[..., 3].max() > 0
    finally:
        other.close()


def test_a_project_comes_back_from_its_file_and_from_the_browser(visitor, model, tmp_path):
    colors = {c["name"]: c["color"] for c in model["categories"]}
    label_two(visitor)
    strokes = close_to(visitor.canvas("label-painter", "strokes"), colors["skin"])
    visitor.page.get_by_text("Save and load").click()
    with visitor.page.expect_download() as download:
        visitor.page.locator("#project-save").click()
    expect(visitor.page.locator("#saved-file a").first).to_be_visible()  # once more, for whoever missed it
    path = tmp_path / "mine.linsem.zip"
    download.value.save_as(path)
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    assert visitor.canvas("label-painter", "strokes")[..., 3].max() == 0
    visitor.page.locator("#resume").click()
    expect(visitor.page.locator("#label-sure .ls-row").first).to_be_visible()
    visitor.until(lambda: np.array_equal(close_to(visitor.canvas("label-painter", "strokes"), colors["skin"]), strokes))
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    visitor.page.get_by_text("Save and load").click()
    visitor.page.locator("#projects input[type=file]").set_input_files(path)
    expect(visitor.page.locator("#label-status")).to_contain_text("Loaded")
    expect(visitor.page.locator("#label-sure .ls-row").first).to_be_visible()
    visitor.until(lambda: np.array_equal(close_to(visitor.canvas("label-painter", "strokes"), colors["skin"]), strokes))


def test_what_the_browser_kept_outlives_a_stroke_an_example_and_another_generator(visitor, model):
    colors = {c["name"]: c["color"] for c in model["categories"]}

    def mine():
        return close_to(visitor.canvas("label-painter", "strokes"), colors["skin"])

    def kept():
        return visitor.page.evaluate("Object.keys(localStorage).some(key => key.includes('linsem'))")

    label_two(visitor)
    strokes = mine()
    visitor.until(kept)
    visitor.page.wait_for_timeout(1000)
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    visitor.category("label-painter", "skin")
    visitor.stroke("label-painter", [(0.5, 0.6), (0.6, 0.6)])  # on a bench of its own, which the browser keeps too
    visitor.page.wait_for_timeout(3000)
    assert not np.array_equal(mine(), strokes)
    visitor.page.locator("#resume").click()
    visitor.until(lambda: np.array_equal(mine(), strokes))
    visitor.page.wait_for_timeout(2000)
    visitor.page.locator("#label-example").click()
    visitor.until(lambda: not np.array_equal(mine(), strokes))
    visitor.page.locator("#resume").click()
    visitor.until(lambda: np.array_equal(mine(), strokes))


def test_a_list_that_is_only_passed_takes_nothing_from_the_bench(visitor, tmp_path):
    label_two(visitor)
    strokes = visitor.canvas("label-painter", "strokes")
    box = visitor.page.locator("#model input")
    for keys in (("Tab",), ("Escape", "Tab"), ("Enter", "Tab")):  # passed, shut, and the same entry chosen
        box.focus()
        for key in keys:
            visitor.page.keyboard.press(key)
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"no zip")
    visitor.page.get_by_text("Save and load").click()
    visitor.page.locator("#projects input[type=file]").set_input_files(bad)
    expect(visitor.page.locator(".toast-body")).to_contain_text("not a linsem project file")
    visitor.page.wait_for_timeout(1500)
    assert np.array_equal(visitor.canvas("label-painter", "strokes"), strokes)
    expect(visitor.page.locator("#label-strip")).to_contain_text(re.compile(r"\d+ px"))
    expect(visitor.page.locator("#resume")).to_be_hidden()


def test_the_example_says_what_it_is_and_the_seeds_are_those_that_are_there(visitor):
    visitor.page.locator("#label-example").click()
    expect(visitor.page.locator("#label-status")).to_contain_text(re.compile(r"Example loaded: \d+ labelled images"))
    expect(visitor.page.locator("#label-sure .ls-row").first).to_be_visible()
    assert "Example loaded" in visitor.said("label-status")
    box = visitor.page.locator("#label-seeds").locator("textarea, input")
    expect(box).not_to_have_value("1-8")
    titles = visitor.page.locator("#label-strip .th span").all_inner_texts()
    assert [f"seed {seed}" for seed in parse_seeds(box.input_value())] == titles
    assert len(visitor.page.locator("#label-strip .th em:visible").all_inner_texts()) < len(titles)
    box.fill("40-41")
    box.press("Enter")
    expect(visitor.page.locator("#label-strip")).to_contain_text("seed 41")


def test_a_category_is_added_painted_with_and_changed(visitor):
    visitor.page.get_by_text("Categories: add, rename").click()
    page, name = visitor.page, visitor.page.locator("#category-name input")
    expect(page.locator("#label-undo")).to_be_disabled()
    name.fill("scarf")
    page.locator("#category-add").click()
    chosen = page.locator("#label-painter .lp-cat[data-on=true]")
    expect(chosen).to_contain_text("scarf")
    expect(name).to_have_value("")
    expect(page.locator("#label-undo")).to_be_enabled()
    page.locator("#category-which input").click()
    page.get_by_role("option", name="scarf").click()
    expect(page.locator("#category-rename input")).to_have_value("scarf")
    page.locator("#category-rename input").fill("shawl")
    page.locator("#category-save").click()
    expect(chosen).to_contain_text("shawl")
    page.locator("#category-add").click()
    expect(page.locator(".toast-body")).to_contain_text("Enter a name for the category.")
    page.locator("#label-undo").click()
    expect(chosen).to_contain_text("scarf")


def test_painter_and_thumbnails_are_in_the_first_view(visitor):
    page = visitor.page
    bottom = "id => document.querySelector(id).getBoundingClientRect().bottom"
    page.set_viewport_size({"width": 1280, "height": 800})
    visitor.until(lambda: page.evaluate(bottom, "#label-painter .lp-looks") <= 800)
    visitor.until(lambda: page.evaluate(bottom, "#label-strip") <= 800)
    page.set_viewport_size({"width": 390, "height": 844})
    visitor.until(lambda: page.locator("#label-painter [data-part=view]").bounding_box()["y"] < 400)
    page.set_viewport_size({"width": 1280, "height": 800})
    top = page.locator("#label-strip").bounding_box()["y"]
    label_two(visitor)
    page.evaluate("window.scrollTo(0, 0)")
    assert page.locator("#label-strip").bounding_box()["y"] == pytest.approx(top, abs=1)  # nothing has moved it


def test_views_that_there_are_none_of_are_not_offered_and_hue_means_category(visitor):
    def looks(painter):
        return [
            visitor.page.locator(f"#{painter} [data-do={what}]").is_visible() for what in ("prediction", "uncertainty")
        ]

    def gray():
        return visitor.page.evaluate("getComputedStyle(document.querySelector('#label-painter canvas')).filter")

    assert gray() == "none"
    label_two(visitor)
    assert looks("label-painter") == [True, True] and gray() == "grayscale(1)"
    visitor.page.locator("#label-painter [data-do=prediction]").click()
    assert gray() == "none"
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    assert looks("edit-painter") == [True, False]
    visitor.tab("Sample")
    visitor.page.get_by_role("tab", name="Paint", exact=True).click()
    visitor.page.locator("#sample-painter [data-part=view]").wait_for()
    assert looks("sample-painter") == [False, False]
    assert "a few strokes" not in visitor.said("sample-painter")


def test_the_categories_are_one_stop_of_the_tab_key(visitor):
    visitor.page.locator("#label-painter [data-part=size]").focus()
    focus = "document.activeElement.getAttribute('aria-label') || ''"
    visitor.page.keyboard.press("Tab")
    first = visitor.page.evaluate(focus)
    visitor.page.keyboard.press("ArrowDown")
    second = visitor.page.evaluate(focus)
    assert first == "background" and second == "skin"
    expect(visitor.page.locator("#label-painter .lp-cat[data-on=true]")).to_contain_text("skin")
    visitor.page.keyboard.press("Tab")
    assert "arrow keys move the brush" in visitor.page.evaluate(focus)


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_every_tab_is_whole_on_a_phone_and_in_the_dark(chromium, address, width, dark):
    visitor = Visitor(chromium, address, width, dark)
    name = "dark" if dark else "light"
    try:
        label_two(visitor)
        for tab, ready in (
            ("Label", "#label-sure .ls-row"), ("Segment", "#segment-grid img"), ("Edit", "#edit-strip img"),
            ("Sample", "#sample-run"), ("About", ".ls-table"),
        ):  # fmt: skip
            visitor.page.evaluate(
                "name => [...document.querySelectorAll('#tabs [role=tab]')]"
                ".find(tab => tab.textContent.trim() === name).click()",
                tab,
            )
            expect(visitor.page.locator(ready).first).to_be_visible()
            time.sleep(0.5)
            visitor.shot(f"{tab.lower()}-{name}")
            assert visitor.fits(), f"{tab} is wider than {width} px"
    finally:
        assert visitor.wrong == []
        visitor.close()


def test_on_a_phone_a_run_is_seen_as_it_goes_on(chromium, address):
    visitor = Visitor(chromium, address, width=390)
    try:
        visitor.tab("Edit")
        an_image_to_edit(visitor)
        few_steps(visitor)
        visitor.page.locator("#edit-examples .th button").first.click()
        expect(visitor.page.locator("#edit-status")).to_contain_text("painted already")
        visitor.page.wait_for_timeout(600)  # in which the painter is scrolled to
        visitor.page.locator("#edit-run").click()
        for part in ("#edit-stop", "#edit-status", "#edit-frames"):
            visitor.until(lambda part=part: -1 <= visitor.page.locator(part).bounding_box()["y"] < 700)
        expect(visitor.page.locator("#edit-status")).to_contain_text("Done")
    finally:
        visitor.close()


def test_the_first_screen_leads_to_an_edit_without_labelling(visitor):
    visitor.page.locator("#label-top a").click()
    expect(visitor.page.locator("#edit-examples .th button").first).to_be_visible()
    visitor.page.go_back()
    expect(visitor.page.locator("#label-strip")).to_be_visible()


def test_fill_in_label_follows_the_image_whatever_was_learnt(visitor):
    """What a first stroke or two have taught is wrong nearly everywhere, and fill is there to correct it."""
    label_two(visitor)
    painted = visitor.canvas("label-painter", "strokes")[..., 3] > 0
    visitor.category("label-painter", "clothes")
    visitor.page.locator("#label-painter [data-tool=fill]").click()
    image = visitor.canvas("label-painter", "image")[..., :3].astype(int)
    side = len(image)
    spots = ((0.5, 0.93), (0.3, 0.95), (0.04, 0.5), (0.96, 0.3))
    x, y = next(spot for spot in spots if not painted[int(spot[1] * side), int(spot[0] * side)])
    visitor.stroke("label-painter", [(x, y)])
    visitor.until(lambda: (visitor.canvas("label-painter", "strokes")[..., 3] > 0).sum() > painted.sum())
    now = (visitor.canvas("label-painter", "strokes")[..., 3] > 0) & ~painted
    off = np.abs(image[now] - image[int(y * side), int(x * side)]).max()
    assert now.sum() > 30 and off <= 24  # `ONE_COLOR`


def test_what_is_not_learnt_is_said_in_lines_on_a_phone(chromium, address):
    visitor = Visitor(chromium, address, width=390)
    try:
        label_two(visitor)
        for tab in ("Segment", "Edit", "Sample"):
            visitor.tab(tab)
            note = visitor.page.locator(f"#{tab.lower()}-missing")
            expect(note).to_be_visible()
            assert note.bounding_box()["width"] > 240
    finally:
        visitor.close()
