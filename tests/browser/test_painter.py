"""The painter in a real Chromium: input by mouse, finger, pen and keys arrives exactly at the server."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from linsem.palette import Category
from linsem.ui.canvas import LabelPainter, PainterLabels, PainterState

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),  # the server, with all that Gradio imports, lives in this process
]

SIDE = 64
NONE = 255
SHOTS = Path(__file__).parents[1] / "screenshots"
HOSTILE = ("<img src=x onerror=window.pwned=1>", "${window.pwned=2}", "{{window.pwned}}", "`+alert(1)+`")
NAMES = ("background", "skin", "hair", "eyes", "mouth", "clothes", *HOSTILE)
COLORS = ("#3c5a85", "#efb08c", "#6a3f24", "#d9455f", "#8c6a9a", "#5a8200", "#f07028", "#7a2fc0", "#b4e28a", "#00a0ff")
CATEGORIES = tuple(Category(name, color) for name, color in zip(NAMES, COLORS, strict=True))


def scene(seed, side=SIDE):
    """A face-like picture, with its parts as prediction and uncertainty along their borders."""
    y, x = np.mgrid[:side, :side] / side
    rgb = np.stack([190 - 60 * y, 200 - 30 * x, 170 + 50 * y], -1) + np.random.default_rng(seed).normal(
        0, 3, (side, side, 1)
    )
    parts = np.zeros((side, side), np.uint8)
    for cx, cy, a, b, k, color in (
        (0.5, 1.05, 0.42, 0.3, 5, (80, 100, 150)), (0.5, 0.42, 0.34, 0.35, 2, (90, 62, 44)),
        (0.5, 0.5, 0.25, 0.31, 1, (232, 190, 160)), (0.4, 0.45, 0.05, 0.03, 3, (250, 250, 250)),
        (0.6, 0.45, 0.05, 0.03, 3, (250, 250, 250)), (0.5, 0.67, 0.1, 0.03, 4, (190, 80, 90)),
    ):  # fmt: skip
        inside = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
        parts[inside], rgb[inside] = k, color
    edge = np.zeros((side, side))
    edge[1:] += parts[1:] != parts[:-1]
    edge[:, 1:] += parts[:, 1:] != parts[:, :-1]
    for _ in range(2):
        edge = (edge + np.roll(edge, 1, 0) + np.roll(edge, -1, 0) + np.roll(edge, 1, 1) + np.roll(edge, -1, 1)) / 3
    return np.clip(rgb, 0, 255).astype(np.uint8), parts, np.clip(edge / edge.max(), 0, 1)


class Desk:
    """The server side of the demo: what it received, and how it answers."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.seen: list[PainterLabels] = []
        self.handed: list[PainterLabels] = []
        self.read: list[PainterLabels | None] = []
        self.stored: dict[str, np.ndarray] = {}
        self.prediction, self.side, self.guided, self.since = None, SIDE, True, None
        self.gate = threading.Event()  # answers wait for it
        self.gate.set()

    def state(self, key):
        rgb, parts, unsure = scene(len(key), self.side)
        parts = parts if self.prediction is None else self.prediction
        labels = self.stored.get(key, np.full(parts.shape, NONE, np.uint8))
        layers = (parts, unsure) if self.guided else (None, None)
        return PainterState(rgb, labels, *layers, CATEGORIES, key, since=self.since)

    def on_input(self, labels, key):
        self.seen.append(labels)
        self.gate.wait(60)
        return self.state(labels.key) if labels.key == key else gr.skip()  # with labels that are older than the page's

    def on_submit(self, labels):
        self.handed.append(labels)

    def on_now(self, labels):
        self.read.append(labels)
        return str(len(self.read))


def build(desk, handed=False, **wiring):
    with gr.Blocks() as demo:
        key = gr.Radio(["one", "other"], value="one", label="Which picture", elem_id="which")
        painter = LabelPainter(categories=CATEGORIES, label="Image to label", elem_id="painter")
        text = gr.Textbox(label="note", elem_id="note", interactive=True)
        now = gr.Button("read", elem_id="read")
        blank, hide, show = gr.Button("blank"), gr.Button("hide"), gr.Button("show")
        refresh = gr.Button("refresh", elem_id="refresh")
        painter.input(desk.on_input, [painter, key], painter, show_progress="hidden", **wiring)
        if handed:
            painter.submit(desk.on_submit, painter, None, show_progress="hidden")
        key.change(desk.state, key, painter, show_progress="hidden")
        refresh.click(desk.state, key, painter, show_progress="hidden")
        now.click(desk.on_now, painter, text)
        blank.click(lambda: None, None, painter)
        hide.click(lambda: gr.update(visible=False), None, painter)
        show.click(lambda: gr.update(visible=True), None, painter)
        demo.load(desk.state, key, painter, show_progress="hidden")
    return demo


def serve(desk, **wiring):
    demo = build(desk, **wiring)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, server_name="127.0.0.1")
    return demo, url


@pytest.fixture(scope="module")
def server():
    desk = Desk()
    demo, url = serve(desk, trigger_mode="multiple", concurrency_limit=None)
    yield desk, url
    demo.close()


@pytest.fixture(scope="module")
def window(chromium):
    """The window of all tests here that need no other."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    yield context
    context.close()


class Hand:
    """A page with the painter, controlled in image pixels."""

    def __init__(self, desk, url, context, query="?__theme=light"):
        self.desk, self.noise, self.posts, self.foreign, self.context = desk, [], [], [], context
        self.page = page = self.context.new_page()
        page.on("console", self.hear)
        page.on("pageerror", lambda e: self.noise.append(str(e)))
        page.on("request", lambda r: self.posts.append(r.post_data or "") if "queue/join" in r.url else None)
        page.on(
            "request", lambda r: self.foreign.append(r.url) if not r.url.startswith((url, "data:", "blob:")) else None
        )
        page.goto(url + query)
        page.wait_for_selector('.lp[data-empty="false"]', timeout=60_000)
        self.quiet()
        self.posts.clear()

    def hear(self, message):
        if (
            message.type in ("error", "warning") and "willReadFrequently" not in message.text
        ):  # `sheet` reads on purpose
            self.noise.append(message.text)

    def zoom(self, x, y, notches):
        """Turn the wheel over an image coordinate."""
        text = self.page.locator('[data-part="zoom-text"]')
        self.page.mouse.move(*self.at(x, y))
        self.page.keyboard.down("Control")
        for _ in range(notches):
            before = text.inner_text()
            self.page.mouse.wheel(0, -120)
            self.until(lambda before=before: text.inner_text() != before, "the picture to grow")
        self.page.keyboard.up("Control")

    def box(self):
        return self.page.locator('.lp [data-part="stage"]').bounding_box()

    def at(self, x, y):
        """The screen position of an image coordinate (x to the right, y down; pixel centres at .5)."""
        box = self.box()
        return box["x"] + x * box["width"] / self.desk.side, box["y"] + y * box["height"] / self.desk.side

    def stroke(self, *points, button="left", wait=True):
        before = len(self.desk.seen)
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=5)
        self.page.mouse.up(button=button)
        return self.arrived(before + 1) if wait else None

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def arrived(self, count):
        """The labels of the latest event, once there are `count` of them."""
        self.until(lambda: len(self.desk.seen) >= count, f"{count} events, got {len(self.desk.seen)}")
        return self.desk.seen[-1].labels

    def until(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited for {what}"
            self.page.wait_for_timeout(30)

    def quiet(self, milliseconds=300):
        self.page.wait_for_timeout(milliseconds)

    def size(self, value):
        self.page.locator('.lp [data-part="size"]').fill(str(value))

    def pressed(self, name):
        return self.page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true"

    def click(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def status(self):
        return " ".join(self.page.locator(".lp-status").inner_text().split())

    def value_now(self):
        """The value that a button with the painter as its input receives."""
        count = len(self.desk.read)
        self.click("read")
        self.until(lambda: len(self.desk.read) > count, "the painter to be read")
        return self.desk.read[-1]

    def sheet(self, name):
        """(H, W, 4) of one canvas."""
        script = """name => { const c = document.querySelector(`.lp canvas[data-part="${name}"]`);
            return [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }"""
        side = self.desk.side
        return np.array(self.page.evaluate(script, name), np.uint8).reshape(side, side, 4)


@pytest.fixture
def open_hand(server, chromium, window):
    hands = []
    server[0].reset()

    def opened(query="?__theme=light", **options):
        size = {"viewport": {"width": 1280, "height": 1000}}
        context = chromium.new_context(**{**size, **options}) if options else window
        hands.append(Hand(*server, context, query))
        return hands[-1]

    yield opened
    for hand in hands:
        hand.page.close()
        if hand.context is not window:
            hand.context.close()
    for hand in hands:
        assert hand.noise == [] and hand.foreign == []  # no error in the console, nothing fetched from elsewhere


@pytest.fixture
def hand(open_hand):
    return open_hand()


def disc(x, y, size, side=SIDE):
    """The pixels of a brush by definition: those with centres within size / 2 of the snapped point."""
    snap = (lambda v: np.floor(v) + 0.5) if size % 2 else (lambda v: np.floor(v + 0.5))
    rows, columns = np.mgrid[:side, :side] + 0.5
    return (columns - snap(x)) ** 2 + (rows - snap(y)) ** 2 <= size * size / 4


def connected(start, same):
    """The 4-connected area of a boolean map around (row, column)."""
    area = np.zeros_like(same)
    area[start] = True
    while True:
        grown = area.copy()
        grown[1:] |= area[:-1]
        grown[:-1] |= area[1:]
        grown[:, 1:] |= area[:, :-1]
        grown[:, :-1] |= area[:, 1:]
        grown &= same
        if (grown == area).all():
            return area
        area = grown


@pytest.mark.parametrize("size", [1, 2, 5, 8, 16])
def test_a_dab_is_an_exact_disc(hand, size):
    hand.size(size)
    hand.press("3")
    labels = hand.stroke((20.3, 33.7))
    assert np.array_equal(labels == 2, disc(20.3, 33.7, size))
    assert set(np.unique(labels)) == {2, NONE}


@pytest.mark.parametrize("ratio", [1, 2])
def test_zoomed_in_every_pixel_is_hit_exactly(open_hand, ratio):
    hand = open_hand(device_scale_factor=ratio)
    hand.size(1)
    random = np.random.default_rng(ratio)
    expected = np.zeros((SIDE, SIDE), bool)
    for zooms in (0, 2 * ratio, 2 * ratio):  # with two device pixels to one, Chromium turns a notch into half
        if zooms:
            hand.zoom(40, 24, zooms)
        for _ in range(4):
            x, y = random.integers(36, 44), random.integers(20, 28)
            if expected[y, x]:
                continue
            expected[y, x] = True
            inset = random.uniform(0.15, 0.85, 2)
            labels = hand.stroke((x + inset[0], y + inset[1]))
    assert np.array_equal(labels == 0, expected)
    assert int(hand.page.locator('[data-part="zoom-text"]').inner_text().split()[0]) > 400


def test_a_stroke_is_crisp_connected_and_one_small_post(hand):
    hand.size(5)
    labels = hand.stroke((6, 8), (50, 30), (12, 55))
    painted = labels != NONE
    assert set(np.unique(labels)) == {0, NONE}
    assert np.array_equal(connected(tuple(np.argwhere(painted)[0]), painted), painted)
    hand.quiet()
    assert len(hand.desk.seen) == 1 and len(hand.posts) == 1
    assert len(hand.posts[0]) < 4000
    assert hand.desk.seen[0].key == "one" and hand.desk.seen[0].stamp == 1


def test_keys_of_other_keyboards_do_the_same(hand):
    """Digits take Shift on a French keyboard, brackets AltGr (which counts as Ctrl and Alt) on a German one."""
    type_key = """([key, how]) => window.dispatchEvent(new KeyboardEvent("keydown",
        {key, bubbles: true, cancelable: true, ...how}))"""

    def size():
        return int(hand.page.locator(".lp [data-part=size]").first.input_value())

    hand.press("3")
    three = hand.stroke((20, 20))[20, 20]
    hand.page.evaluate(type_key, ["2", {"shiftKey": True}])
    assert hand.stroke((40, 20))[20, 40] == three - 1
    before = size()
    hand.page.evaluate(type_key, ["]", {"ctrlKey": True, "altKey": True}])
    wider = size()
    hand.page.evaluate(type_key, ["[", {"altKey": True}])
    assert wider > before == size()
    hand.page.evaluate(type_key, ["[", {"ctrlKey": True}])  # the browser's own
    hand.page.evaluate(type_key, ["3", {"altKey": True}])
    assert size() == before and hand.stroke((60, 20))[20, 60] == three - 1


def test_nothing_is_sent_until_the_user_paints(hand):
    hand.click("refresh")
    hand.press("2", "e", "f", "b", "p", "u", "]", "[", "+", "-", "l", "l", "Control+z", "Control+y")
    hand.page.locator(".lp-pick").nth(1).click()
    hand.quiet(600)
    assert hand.desk.seen == []
    hand.stroke((30, 30))
    assert len(hand.desk.seen) == 1


def test_maps_cross_the_wire_exactly_in_both_directions(open_hand, server):
    random = np.random.default_rng(3)
    labels = random.choice(np.array([*range(len(NAMES)), NONE], np.uint8), (SIDE, SIDE))
    labels[20:50] = np.repeat(labels[20:21], 30, 0)  # rows alike, as PNG filters like them
    server[0].stored["one"] = labels
    hand = open_hand()
    hand.size(1)
    hand.press("3")
    expected = labels.copy()
    expected[10, 12] = 2 if labels[10, 12] != 2 else 3
    hand.press(str(expected[10, 12] + 1))
    assert np.array_equal(hand.stroke((12.5, 10.5)), expected)
    table = np.array([rgb(color) for color in COLORS], np.uint8)
    assert np.array_equal(hand.sheet("prediction")[..., :3], table[scene(3)[1]])
    shown = hand.sheet("image")
    assert np.array_equal(shown[..., :3], scene(3)[0]) and (shown[..., 3] == 255).all()


def rgb(color):
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


def test_number_keys_and_buttons_choose_the_category(hand):
    for key, k in (("1", 0), ("4", 3), ("9", 8), ("0", 9)):
        hand.press(key)
        assert hand.pressed(NAMES[k])
        assert hand.page.locator('.lp-cat[data-on="true"]').count() == 1
    hand.click("eyes")
    assert (hand.stroke((30, 30)) == 3).any()
    hand.press("e", "3")  # a category after the eraser paints again
    assert hand.pressed("Brush") and (hand.stroke((50, 50)) == 2).any()


def test_keys_leave_an_editable_field_alone(hand):
    hand.press("2")
    note = hand.page.locator("#note textarea")
    note.click()
    note.press_sequentially("3e[pu ")
    assert note.input_value() == "3e[pu "
    assert hand.pressed("skin") and hand.pressed("Brush") and hand.pressed("Show the prediction")
    hand.stroke((30, 30))
    hand.press("3", "e")
    assert hand.pressed("hair") and hand.pressed("Eraser")


def test_size_keys_and_an_eraser_with_its_own_size(hand):
    hand.size(6)
    hand.press("]")
    assert "7 px" in hand.page.locator('[data-part="size-text"]').inner_text()
    hand.press("[", "[")
    labels = hand.stroke((30, 30))
    assert np.array_equal(labels == 0, disc(30, 30, 5))
    hand.press("e")
    hand.size(3)
    labels = hand.stroke((30, 30))
    assert np.array_equal(labels == 0, disc(30, 30, 5) & ~disc(30, 30, 3))
    hand.press("b")
    assert "5 px" in hand.page.locator('[data-part="size-text"]').inner_text()


def test_undo_and_redo_step_by_step(hand):
    maps = [hand.stroke((20, 20), (40, 20))]
    hand.press("3")
    maps.append(hand.stroke((20, 20), (20, 50)))
    hand.press("e")
    maps.append(hand.stroke((20, 30)))
    hand.press("Control+z")
    assert np.array_equal(hand.arrived(4), maps[1])
    hand.click("Undo")
    assert np.array_equal(hand.arrived(5), maps[0])
    hand.press("Control+Shift+z")
    assert np.array_equal(hand.arrived(6), maps[1])
    hand.press("Control+y")
    assert np.array_equal(hand.arrived(7), maps[2])
    hand.press("Control+z", "Control+z", "Control+z")
    assert (hand.arrived(10) == NONE).all()
    hand.press("Control+z")  # nothing left: nothing sent
    hand.quiet()
    assert len(hand.desk.seen) == 10
    stamps = [labels.stamp for labels in hand.desk.seen]
    assert sorted(stamps) == list(range(1, 11))


def test_undo_belongs_to_its_image(hand):
    one = hand.stroke((20, 20), (40, 20))
    hand.desk.stored["one"] = one
    hand.page.get_by_label("other", exact=True).check()
    hand.until(lambda: "Nothing painted" in hand.status(), "the other image")
    assert hand.page.get_by_role("button", name="Undo").is_disabled()
    other = hand.stroke((50, 50))
    assert hand.desk.seen[-1].key == "other" and (one != other).any()
    hand.desk.stored["other"] = other
    hand.page.get_by_label("one", exact=True).check()
    hand.until(lambda: str((one != NONE).sum()) in hand.status(), "the first image")
    hand.press("Control+z")
    assert (hand.arrived(3) == NONE).all() and hand.desk.seen[-1].key == "one"
    hand.press("Control+y")
    assert np.array_equal(hand.arrived(4), one)


def test_labels_that_the_server_changed_meanwhile_can_be_had_back(hand):
    mine = hand.stroke((20, 20))
    hand.page.get_by_label("other", exact=True).check()
    hand.until(lambda: "Nothing painted" in hand.status(), "the other image")
    theirs = np.full((SIDE, SIDE), NONE, np.uint8)
    theirs[:4] = 5
    hand.desk.stored["one"] = theirs
    hand.page.get_by_label("one", exact=True).check()
    hand.until(lambda: "clothes 256" in hand.status(), "the server's labels")
    assert np.array_equal(hand.value_now().labels, theirs)
    hand.press("Control+z")
    assert np.array_equal(hand.arrived(2), mine)


def test_what_was_painted_since_the_server_knew_goes_along_to_the_next_image(hand):
    known = hand.stroke((20, 20), (40, 20))
    late = hand.stroke((20, 40), (40, 40))
    hand.desk.since = PainterLabels("one", known, 1)  # and not the second stroke, nor the third
    hand.page.mouse.move(*hand.at(20, 50))
    hand.page.mouse.down()
    hand.page.mouse.move(*hand.at(30, 50), steps=5)
    hand.page.evaluate("document.querySelector('#which input:not(:checked)').click()")  # the pointer is busy
    hand.quiet(600)
    hand.page.mouse.move(*hand.at(40, 50), steps=5)
    hand.page.mouse.up()
    hand.until(lambda: hand.desk.seen[-1].key == "other", "the next image, with strokes")
    went = hand.desk.seen[-1].labels
    assert (went[50, 20:41] == 0).all() and np.array_equal(went[:45], np.where(late != known, late, NONE)[:45])
    hand.press("Control+z")
    hand.until(lambda: (hand.desk.seen[-1].labels == NONE).all(), "one step back")


def test_what_goes_along_is_not_lost_to_another_value_of_the_same_image(hand):
    """As where a tab is opened together with what shall be painted on in it: both send the image, one brings labels."""
    known = hand.stroke((20, 20), (40, 20))
    late = hand.stroke((20, 40), (40, 40))
    hand.desk.since = PainterLabels("one", known, 1)
    held = []
    hand.page.route("**/image.png*", lambda route: held.append(route))  # the picture of the next image is slow to come
    hand.page.evaluate("document.querySelector('#which input:not(:checked)').click()")
    hand.until(lambda: held, "the picture to be asked for")
    hand.desk.since = None
    hand.page.locator("#refresh").click()
    hand.quiet(600)  # the second value has come
    for each in held:
        each.continue_()
    hand.page.unroute("**/image.png*")
    hand.until(lambda: hand.desk.seen[-1].key == "other", "the next image, with strokes")
    assert np.array_equal(hand.desk.seen[-1].labels, np.where(late != known, late, NONE))


def test_a_locked_category_is_not_painted_over(hand):
    hand.size(8)
    hand.press("3")
    first = hand.stroke((30, 30), (40, 30))
    hand.press("l")
    assert hand.pressed("Lock hair")
    hand.press("2")
    second = hand.stroke((35, 20), (35, 44))
    assert np.array_equal(second == 2, first == 2) and (second == 1).any()
    hand.press("e")
    third = hand.stroke((35, 20), (35, 44))
    assert np.array_equal(third == 2, first == 2) and (third == 1).sum() < (second == 1).sum()
    hand.click("Clear all that is painted")
    assert np.array_equal(hand.arrived(4) != NONE, first == 2)
    hand.click("Lock hair")
    hand.press("2")
    assert ((hand.stroke((35, 20), (35, 44)) == 2).sum()) < (first == 2).sum()  # unlocked, it is


def test_clear_is_one_step(hand):
    labels = hand.stroke((10, 10), (50, 50))
    hand.click("Clear all that is painted")
    assert (hand.arrived(2) == NONE).all()
    hand.press("Control+z")
    assert np.array_equal(hand.arrived(3), labels)


def test_fill_follows_the_prediction_that_is_shown(hand):
    parts = scene(3)[1]
    hand.press("3", "f")
    labels = hand.stroke((32.5, 8.5))  # the hair above the face
    assert np.array_equal(labels == 2, connected((8, 32), parts == 2))
    assert (labels == 2).sum() < (parts != 0).sum()
    hand.press("5")
    labels = hand.stroke((32.5, 8.5))  # a painted area is refilled as a whole
    assert np.array_equal(labels == 4, connected((8, 32), parts == 2))


def test_fill_follows_the_colour_before_there_is_a_prediction(hand):
    hand.desk.guided = False
    hand.click("refresh")
    hand.until(lambda: not hand.page.locator('[data-do="prediction"]').is_enabled(), "an image without a prediction")
    image = hand.sheet("image")[..., :3].astype(int)
    hand.page.locator(".lp-pick").nth(2).click()
    hand.page.locator('[data-tool="fill"]').click()
    hand.page.evaluate("window.scrollTo(0, 0)")
    labels = hand.stroke((32.5, 8.5))
    alike = (np.abs(image - image[8, 32]) <= 24).all(-1)
    assert np.array_equal(labels == 2, connected((8, 32), alike)) and (labels == 2).sum() < labels.size / 2


def test_fill_stops_at_strokes_when_no_prediction_is_shown(hand):
    hand.size(3)
    hand.press("p")
    assert not hand.pressed("Show the prediction")
    ring = hand.stroke((10, 10), (40, 10), (40, 40), (10, 40), (10, 10))
    hand.press("2", "f")
    labels = hand.stroke((25, 25))
    assert np.array_equal(labels == 1, connected((25, 25), ring == NONE))
    assert (labels == NONE).any()


def test_an_answer_in_the_middle_of_a_stroke_loses_nothing(hand):
    hand.size(3)
    first = hand.stroke((10, 10), (50, 10))
    hand.zoom(40, 24, 1)
    hand.press("3")
    box = hand.box()
    hand.page.mouse.move(*hand.at(20, 20))
    hand.page.mouse.down()
    hand.page.mouse.move(*hand.at(30, 20), steps=5)
    hand.desk.prediction = np.full((SIDE, SIDE), 4, np.uint8)
    hand.page.evaluate("document.querySelector('#refresh').click()")
    hand.until(lambda: (hand.sheet("prediction")[..., 0] == rgb(COLORS[4])[0]).all(), "the new prediction")
    hand.page.mouse.move(*hand.at(40, 20), steps=5)
    hand.page.mouse.up()
    labels = hand.arrived(2)
    assert np.array_equal(labels == 0, first == 0)  # the stroke before is there, though the server sent empty labels
    assert (labels[20, 20:41] == 2).all()  # and all of this one
    assert hand.box() == box and hand.pressed("hair")
    hand.press("Control+z")
    assert np.array_equal(hand.arrived(3), first)
    assert np.array_equal(hand.value_now().labels, first)


def test_after_an_answer_the_painted_labels_are_what_a_button_gets(hand):
    labels = hand.stroke((10, 10), (50, 10))
    hand.click("refresh")
    hand.quiet(600)
    read = hand.value_now()
    assert np.array_equal(read.labels, labels) and (read.key, read.stamp) == ("one", 1)


def test_what_is_handed_in_does_not_wait_for_what_hears_of_it_first(window):
    """`submit` comes with every `input`, and is answered while that one is still at work."""
    desk = Desk()
    demo, url = serve(desk, handed=True)
    try:
        hand = Hand(desk, url, window)
        desk.gate.clear()
        hand.stroke((20, 20), (40, 20))
        hand.until(lambda: len(desk.handed) == 1, "the labels that were handed in")
        assert desk.handed[0].stamp == desk.seen[0].stamp == 1 and not desk.gate.is_set()
        desk.gate.set()
        hand.quiet()
        hand.page.close()
    finally:
        desk.gate.set()
        demo.close()


def test_fast_strokes_over_a_slow_server_lose_nothing(window):
    desk = Desk()
    demo, url = serve(desk, trigger_mode="always_last")
    try:
        hand = Hand(desk, url, window)
        desk.gate.clear()
        hand.size(1)
        hand.stroke((10.5, 4.5), (30.5, 4.5))
        for k in range(1, 9):
            hand.stroke((10.5, 4.5 + 6 * k), (30.5, 4.5 + 6 * k), wait=False)
        desk.gate.set()
        hand.until(lambda: (desk.seen[-1].labels == 0).sum() == 9 * 21, "the last stroke")
        assert len(desk.seen) == 2  # the others were passed over, as meant
        hand.quiet()
        assert (hand.value_now().labels == 0).sum() == 9 * 21
        hand.page.close()
    finally:
        demo.close()


def test_prediction_and_uncertainty_are_switched_by_key_and_button(hand):
    def opacity(name):
        return float(hand.page.locator(f'.lp canvas[data-part="{name}"]').evaluate("c => getComputedStyle(c).opacity"))

    assert opacity("prediction") > 0.2 and opacity("heat") == 0
    hand.press("p")
    assert opacity("prediction") == 0 and not hand.pressed("Show the prediction")
    hand.click("Show the uncertainty")
    assert opacity("heat") > 0.2 and hand.pressed("Show the uncertainty")
    hand.press("u", "p")
    assert opacity("heat") == 0 and opacity("prediction") > 0.2
    hand.page.locator('[data-part="opacity"]').fill("0")
    assert opacity("prediction") == 0 and opacity("strokes") == 0


def test_the_wheel_zooms_at_the_pointer_and_space_or_the_middle_button_moves(hand):
    where = hand.at(40, 24)
    hand.zoom(40, 24, 4)
    assert np.allclose(hand.at(40, 24), where, atol=4) and hand.box()["width"] > 1500
    where = hand.at(40, 24)
    hand.page.keyboard.down(" ")
    hand.stroke((40, 24), (38, 22), wait=False)
    hand.page.keyboard.up(" ")
    moved = hand.at(40, 24)
    assert moved[0] < where[0] - 20 and moved[1] < where[1] - 20
    hand.stroke((40, 24), (42, 26), wait=False, button="middle")
    assert np.allclose(hand.at(40, 24), where, atol=2)
    hand.quiet()
    assert hand.desk.seen == []  # no stroke was made by moving
    hand.click("Show the whole picture")
    view = hand.page.locator(".lp-view").bounding_box()
    assert hand.box() == view
    hand.press("+")
    assert hand.box()["width"] > view["width"]


def test_the_wheel_alone_scrolls_the_page_both_ways(hand):
    hand.page.set_viewport_size({"width": 1280, "height": 420})
    try:
        top = "window.scrollY"
        hand.page.mouse.move(*hand.at(30, 10))
        for turn in (200, -120):
            before = hand.page.evaluate(top)
            hand.page.mouse.wheel(0, turn)
            hand.until(lambda before=before: hand.page.evaluate(top) != before, "the page to scroll")
            assert (hand.page.evaluate(top) > before) == (turn > 0)
            hand.page.wait_for_timeout(300)
        assert hand.page.locator('[data-part="zoom-text"]').inner_text() == "100 %"
    finally:
        hand.page.set_viewport_size({"width": 1280, "height": 1000})


def test_space_over_the_picture_presses_no_button_in_focus(hand):
    hand.stroke((30, 30))
    hand.click("Clear all that is painted")
    hand.arrived(2)
    hand.click("Undo")
    hand.arrived(3)
    hand.page.mouse.move(*hand.at(30, 30))  # the focus is still on Redo's neighbour
    hand.page.keyboard.press(" ")
    hand.quiet()
    assert len(hand.desk.seen) == 3


def test_the_keyboard_alone_can_paint(hand):
    hand.page.locator(".lp-view").focus()
    hand.size(5)
    hand.page.locator(".lp-view").focus()
    hand.press("2", "ArrowRight", "ArrowDown", "Shift+ArrowDown", "Enter")
    labels = hand.arrived(1)
    assert np.array_equal(labels == 1, disc(35, 36, 5))


def test_small_images_are_shown_large(open_hand, server):
    server[0].side = 128
    hand = open_hand()
    assert hand.box()["width"] >= 550
    for part, how in (("image", "auto"), ("strokes", "pixelated")):  # labels have pixels, an image is to be looked at
        canvas = hand.page.locator(f'canvas[data-part="{part}"]')
        assert canvas.evaluate("c => getComputedStyle(c).imageRendering") == how
    labels = hand.stroke((100.5, 90.5))
    assert labels.shape == (128, 128) and labels[90, 100] == 0


def test_category_names_never_become_markup(hand):
    hand.stroke((30, 30))
    for key in ("7", "8", "9", "0"):
        hand.press(key)
        hand.stroke((int(key) * 6 + 3, 50))
    texts = hand.page.locator(".lp-pick span").all_inner_texts()
    assert tuple(texts) == NAMES
    for name in HOSTILE:
        assert name in hand.status()
        assert hand.page.get_by_role("button", name=name, exact=True).count() == 1
    assert hand.page.evaluate("window.pwned") is None
    assert hand.page.locator(".lp img").count() == 0


def test_names_sizes_and_focus_of_the_controls(open_hand):
    for width, least in ((1280, 30), (390, 36)):  # pixels, for a mouse and for a finger
        hand = open_hand(viewport={"width": width, "height": 900})
        script = """() => [...document.querySelectorAll(".lp button, .lp input, .lp summary, .lp-view")].map(e => {
            const b = e.getBoundingClientRect(), name = e.getAttribute("aria-label") || e.textContent.trim();
            return {name, w: b.width, h: b.height, shown: e.checkVisibility(), tag: e.tagName}; })"""
        controls = [c for c in hand.page.evaluate(script) if c["shown"]]
        assert len(controls) > 30
        for control in controls:
            assert control["name"], control
            if control["tag"] != "SUMMARY":
                assert min(control["w"], control["h"]) >= least, control
        hand.page.keyboard.press("Tab")
        hand.page.locator('[data-tool="brush"]').focus()
        hand.page.keyboard.press("Tab")
        style = "e => [getComputedStyle(e).outlineStyle, getComputedStyle(e).outlineWidth]"
        assert hand.page.locator('[data-tool="eraser"]').evaluate(style) == ["solid", "2px"]


def finger(hand, kind, *points):
    session = hand.touch = getattr(hand, "touch", None) or hand.context.new_cdp_session(hand.page)
    places = [dict(zip(("x", "y", "id"), (*hand.at(*p), k), strict=True)) for k, p in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def test_a_finger_paints_and_the_page_stays(open_hand):
    hand = open_hand(**PHONE)
    hand.page.locator(".lp-view").scroll_into_view_if_needed()
    assert hand.page.evaluate("document.documentElement.scrollWidth") <= 390
    before = hand.page.evaluate("scrollY")
    hand.page.locator(".lp-pick").nth(2).tap()
    hand.page.wait_for_timeout(600)  # a touch that follows a tap at once may be taken for its second half
    finger(hand, "touchStart", (20, 20))
    for k in range(1, 6):
        finger(hand, "touchMove", (20 + 4 * k, 20 + 3 * k))
    finger(hand, "touchEnd")
    labels = hand.arrived(1)
    assert labels[20, 20] == 2 and labels[35, 40] == 2 and hand.page.evaluate("scrollY") == before
    hand.page.locator('[data-tool="fill"]').tap()
    finger(hand, "touchStart", (4, 4))
    finger(hand, "touchEnd")
    assert hand.arrived(2)[4, 4] == 2


def pinch(hand, start, places):
    """Spread two fingers from `start`, which is at `places` on the screen, by 40 px each."""
    finger(hand, "touchStart", start[0])
    finger(hand, "touchStart", *start)
    session = hand.touch
    for k in range(1, 9):  # on the screen, since the picture moves under the fingers
        points = [{"x": x + (10 * i - 5) * k, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    hand.quiet()


def test_two_fingers_zoom_and_move_and_paint_nothing(open_hand):
    hand = open_hand(**PHONE)
    hand.page.locator(".lp-view").scroll_into_view_if_needed()
    hand.page.wait_for_timeout(600)  # until the page is at rest
    wide = hand.box()["width"]
    start = [(24, 32), (40, 32)]
    places = [hand.at(*point) for point in start]
    hand.page.evaluate("window.felt = 0; addEventListener('pointerdown', () => { window.felt++; }, true)")
    for _ in range(3):  # the browser now and then drops a touch while the page still moves; what it delivers must zoom
        pinch(hand, start, places)
        if hand.page.evaluate("window.felt"):
            break
    assert 1.6 < hand.box()["width"] / wide < 2.4
    assert np.allclose(hand.at(24, 32), (places[0][0] - 40, places[0][1]), atol=3)  # the pixel stays under its finger
    assert hand.desk.seen == [] and "Nothing painted" in hand.status()


def test_a_pen_paints_and_the_palm_beside_it_does_not(hand):
    script = """([kind, pointerType, clientX, clientY, pointerId, buttons, button]) => {
        const init = {pointerType, pointerId, clientX, clientY, buttons, button, bubbles: true, cancelable: true};
        document.querySelector(".lp-view").dispatchEvent(new PointerEvent(kind, init)); }"""

    def event(kind, type_, point, id_, buttons=1, button=0):
        hand.page.evaluate(script, [kind, type_, *hand.at(*point), id_, buttons, button])

    hand.size(5)
    event("pointerdown", "pen", (20, 20), 11)
    event("pointerdown", "touch", (50, 50), 12)  # the palm
    event("pointermove", "pen", (30, 20), 11)
    event("pointermove", "touch", (52, 52), 12)
    event("pointerup", "touch", (52, 52), 12, 0)
    event("pointerup", "pen", (30, 20), 11, 0)
    labels = hand.arrived(1)
    assert (labels[20, 20:31] == 0).all() and (labels[45:] == NONE).all()
    event("pointerdown", "pen", (25, 20), 13, 32, 5)  # the pen's other end
    event("pointerup", "pen", (25, 20), 13, 0, 5)
    assert hand.arrived(2)[20, 25] == NONE


def test_hidden_and_shown_again_it_is_as_it_was(hand):
    labels = hand.stroke((10, 10), (50, 10))
    hand.click("hide")
    hand.page.wait_for_selector(".lp", state="hidden")
    hand.click("show")
    hand.page.wait_for_selector('.lp[data-empty="false"]')
    hand.quiet()
    assert np.array_equal(hand.value_now().labels, labels)
    hand.press("Control+z")
    assert (hand.arrived(2) == NONE).all()


def test_without_an_image_it_says_so(hand):
    hand.click("blank")
    hand.page.wait_for_selector('.lp[data-empty="true"]')
    assert "The image appears here" in hand.page.locator(".lp-view").inner_text()
    assert hand.value_now() is None
    hand.click("refresh")
    hand.page.wait_for_selector('.lp[data-empty="false"]')
    assert (hand.stroke((30, 30)) == 0).any()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_screenshots(open_hand, server, width, theme):
    server[0].side = 128
    hand = open_hand(query=f"?__theme={theme}", viewport={"width": width, "height": 1000}, device_scale_factor=2)
    hand.press("3")
    hand.stroke((30, 34), (44, 14), (84, 22))
    hand.press("2")
    hand.stroke((50, 70), (76, 78))
    hand.press("1", "l")
    hand.stroke((10, 12), (12, 60))
    hand.quiet(500)
    SHOTS.mkdir(exist_ok=True)
    view = hand.page.locator(".lp")
    view.screenshot(path=SHOTS / f"painter-{width}-{theme}.png")
    hand.press("u")
    hand.zoom(60, 60, 1)
    hand.quiet()
    view.screenshot(path=SHOTS / f"painter-{width}-{theme}-uncertainty.png")
    box = view.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width  # nothing sticks out
