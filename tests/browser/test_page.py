"""Checks of every tab in a real Chromium: legible texts, keyboard access, and a correct tab About."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor, label_two

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]
LEGIBLE = 4.5  # contrast for text that is not large, WCAG 2.1, 1.4.3
CONTRASTS = """selectors => {
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (top, a, under) => top.map((v, i) => a * v + (1 - a) * under[i]);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const { rgb, a } = parse(getComputedStyle(element).backgroundColor);
    return a === 1 ? rgb : over(rgb, a, behind(element.parentElement));
  };
  const faded = (element) => element ? Number(getComputedStyle(element).opacity) * faded(element.parentElement) : 1;
  const found = {};
  for (const selector of selectors) {
    for (const element of document.querySelectorAll(selector)) {
      if (!element.offsetWidth || !element.textContent.trim()) continue;
      const ground = behind(element), { rgb, a } = parse(getComputedStyle(element).color);
      const [high, low] = [light(over(rgb, a * faded(element), ground)), light(ground)].sort((x, y) => y - x);
      found[selector] = Math.min(found[selector] ?? 99, (high + 0.05) / (low + 0.05));
    }
  }
  return found;
}"""
TEXTS = {
    "Label": (".ls-hint", "#brand p", ".show-api", "#label-strip .th span", "#label-sure .ls-row em",
              "#tabs [role=tab]", "#model [data-testid=block-info]"),
    "Segment": ("button.primary", ".ls-hint", "#segment-grid .th span", "#segment-sides .th",
                "#segment-legend .ls-row em", ".ls-status"),
    "Edit": (".ls-hint", "#edit-frames .th", "#edit-strip .th span"),
    "Sample": (".ls-hint", "#sample-results .th"),
    "About": (".ls-says", ".ls-facts span", ".ls-facts b", ".ls-figure figcaption", ".ls-table small", ".ls-table td"),
}  # fmt: skip
READY = {"Segment": "#segment-grid .th button", "Edit": "#edit-strip .th button"}


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read_in_both_themes(chromium, address, dark):
    visitor = Visitor(chromium, address, dark=dark)
    try:
        label_two(visitor)
        for tab, selectors in TEXTS.items():
            visitor.tab(tab)
            if tab in READY:
                expect(visitor.page.locator(READY[tab]).first).to_be_visible()
            visitor.page.mouse.move(1, 1)  # away from what changes its colour under the pointer
            shown, low = {}, {}

            def all_legible(selectors=selectors, shown=shown, low=low):
                """What is being worked on is faded for as long as that takes."""
                shown.clear()
                shown |= visitor.page.evaluate(CONTRASTS, list(selectors))
                low.clear()
                low |= {name: round(value, 2) for name, value in shown.items() if value < LEGIBLE}
                return set(shown) == set(selectors) and not low

            try:
                visitor.until(all_legible, 20)
            except AssertionError:
                pytest.fail(f"{tab}: too pale: {low}, not seen: {set(selectors) - set(shown)}")
    finally:
        visitor.close()


def test_a_strip_is_one_stop_of_the_tab_key_and_arrows_go_on_from_the_current_one(visitor):
    strip = visitor.page.locator("#label-strip .th button")
    stops = "() => [...document.querySelectorAll('#label-strip .th button')].map((b) => b.tabIndex)"
    at = "() => [...document.querySelectorAll('#label-strip .th button')].indexOf(document.activeElement)"
    count = strip.count()
    assert visitor.page.evaluate(stops) == [0] + [-1] * (count - 1)
    strip.first.focus()
    visitor.page.keyboard.press("ArrowRight")
    assert visitor.page.evaluate(at) == 1
    assert visitor.page.evaluate(stops)[:2] == [-1, 0]
    visitor.page.keyboard.press("ArrowDown")
    below = visitor.page.evaluate(at)
    tops = [strip.nth(i).bounding_box() for i in (1, below)]
    assert tops[1]["y"] > tops[0]["y"] and abs(tops[1]["x"] - tops[0]["x"]) < 2
    visitor.page.keyboard.press("End")
    assert visitor.page.evaluate(at) == count - 1
    visitor.page.keyboard.press("ArrowRight")  # there is none after the last
    assert visitor.page.evaluate(at) == count - 1
    visitor.page.keyboard.press("Enter")
    expect(strip.last).to_have_attribute("aria-selected", "true")
    visitor.page.keyboard.press("Home")
    visitor.page.keyboard.press("Tab")
    assert visitor.page.evaluate(at) == -1
    assert visitor.page.evaluate(stops)[-1] == 0  # back at the current one


def test_about_shows_findings_first_and_fetches_a_picture_when_it_is_looked_at(visitor):
    asked = []
    visitor.page.on("response", lambda answer: "/evidence/" in answer.url and asked.append((answer.url, answer.status)))
    visitor.tab("About")
    expect(visitor.page.locator(".ls-facts li")).to_have_count(6)
    expect(visitor.page.locator(".ls-models").first).to_contain_text("personal and commercial use")
    visitor.until(lambda: len(asked) >= 2)
    assert {url.rpartition("/")[2] for url, _ in asked} == {"one-image.png", "layouts.png"}
    height = visitor.page.evaluate("document.documentElement.scrollHeight")
    assert height < 2600, f"{height} px"
    visitor.page.get_by_role("button", name="Editing an image by its labels").click()
    expect(visitor.page.locator(".ls-table:visible").filter(has_text="change elsewhere")).to_have_count(1)
    picture = visitor.page.locator("img[src$='edits.png']")
    picture.scroll_into_view_if_needed()
    visitor.until(lambda: picture.evaluate("image => image.naturalWidth") > 0)
    assert {status for _, status in asked} == {200}
    assert visitor.fits()


def test_the_header_stays_where_it_is_from_tab_to_tab(visitor):
    places = set()
    for tab in ("Label", "Segment", "Sample", "About"):
        visitor.tab(tab)
        visitor.page.wait_for_timeout(300)
        places.add(visitor.page.locator("#brand").bounding_box()["x"])
    assert len(places) == 1


def test_the_address_names_the_tab_and_back_goes_to_the_one_before(visitor, address):
    page, chosen = visitor.page, visitor.page.locator("#tabs [role=tablist] >> nth=0 >> [aria-selected=true]")
    for tab in ("Segment", "About"):
        visitor.tab(tab)
        expect(chosen).to_have_text(tab)
        visitor.until(lambda tab=tab: page.evaluate("location.hash") == f"#{tab.lower()}")
    for tab, hash in (("Segment", "#segment"), ("Label", "")):
        page.go_back()
        expect(chosen).to_have_text(tab)
        assert page.evaluate("location.hash") == hash
    page.go_forward()
    expect(chosen).to_have_text("Segment")
    page.reload()  # begins where one can continue
    expect(page.locator("#label-strip .th button").first).to_be_visible()
    for tab, there, text in (("segment", "#segment-status", "built-in labels"), ("edit", "#edit-status", "Seed 1.")):
        page.goto(f"{address}?from={tab}#{tab}")  # a link
        expect(page.locator(there)).to_contain_text(text)
    assert page.locator(".toast-body").count() == 0


def test_what_is_being_worked_on_shows_no_clock_and_stays_legible(visitor):
    visitor.page.evaluate("""() => {
      window.seen = { busy: 0, loud: 0, pale: 1 };
      const look = () => {
        for (const each of document.querySelectorAll("[data-testid=status-tracker]:not(.hide)")) {
          window.seen.busy += 1;
          window.seen.loud += [...each.children].filter((child) => child.getClientRects().length).length;
        }
        for (const each of document.querySelectorAll("#tabs .pending")) {
          window.seen.pale = Math.min(window.seen.pale, getComputedStyle(each).opacity);
        }
        requestAnimationFrame(look);
      };
      look();
    }""")
    visitor.page.locator("#label-more").click()
    visitor.until(lambda: visitor.page.evaluate("window.seen.busy") > 0)
    visitor.page.wait_for_timeout(1500)
    seen = visitor.page.evaluate("window.seen")
    assert seen["loud"] == 0 and seen["pale"] > 0.5, seen


def test_arrows_go_through_tabs_and_views(visitor):
    page = visitor.page
    views = page.locator("#label-view input[type=radio]")
    views.nth(0).focus()
    for key, at in (("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowUp", 2), ("ArrowDown", 0)):
        page.keyboard.press(key)
        expect(views.nth(at)).to_be_checked()
        expect(views.nth(at)).to_be_focused()
    page.get_by_role("tab", name="Label", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Segment", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tab", name="Segment", exact=True)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Label", exact=True)).to_have_attribute("aria-selected", "true")
