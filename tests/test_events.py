"""How the page's events are registered: what waits for what, and nothing more often than it has to be."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import gradio as gr
import pytest

from linsem.errors import InputError
from linsem.session import Session
from linsem.settings import Settings
from linsem.ui import page
from linsem.ui.events import Signal


def whole_page():
    async def build():  # in a running loop, since Gradio would otherwise create one and leave it open
        return page.build(Settings(device="cpu"))

    return asyncio.run(build())


def name_of(function):
    return getattr(function, "__qualname__", "").split(".<locals>.")[-1]


def test_a_stroke_is_learnt_from_without_waiting_until_it_is_kept():
    """Gradio calls the second listener to one event of a component when the first has ended: these are two events."""
    demo = whole_page()
    (painter,) = (block for block in demo.blocks.values() if block.elem_id == "label-painter")
    heard = {}
    for each in demo.config["dependencies"]:
        for target, event in each["targets"]:
            if target == painter._id:
                name = name_of(demo.fns[each["id"]].fn)
                heard.setdefault(event, []).append(name)
    assert heard == {"input": ["Labelling.keep"], "submit": ["Labelling.live"]}


def test_the_browser_is_told_of_progress_only_where_it_is_seen():
    """At each event it tells all outputs that it ever told: on a page of this size that would take most of its time."""
    config = whole_page().get_config_file()
    hidden = [row for row in config["dependencies"] if row["backend_fn"] and row["show_progress"] == "hidden"]
    assert len(hidden) > 50 and all(row["show_progress_on"] == [] for row in hidden)
    seen = [row for row in config["dependencies"] if row["backend_fn"] and row["show_progress"] != "hidden"]
    shown = {each for row in seen if row["api_visibility"] == "private" for each in row["show_progress_on"]}
    names = {row["props"].get("elem_id") for row in config["components"] if row["id"] in shown}
    assert names == {"label-painter", "label-status"}


def test_the_endpoints_are_last_on_the_page_and_share_what_describes_their_values():
    config = whole_page().get_config_file()
    public = [row for row in config["dependencies"] if row["api_visibility"] == "public"]
    used = [each for row in public for each in (*row["inputs"], *row["outputs"])]

    def within(node):
        return {node["id"]}.union(*(within(child) for child in node.get("children", [])))

    assert set(used) <= within(config["layout"]["children"][-1])
    assert len(public) == 9 and len(set(used)) < 0.6 * len(used)


def test_what_follows_several_events_is_registered_once():
    """Each event that a page has makes it open later, and 140 of this one's were copies of others."""
    demo = whole_page()
    names = Counter(name_of(each.fn) for each in demo.fns.values())
    assert names["present"] == names["Labelling.show"] == names["_Wiring._adopt"] == names["_Wiring._begin"] == 1
    assert names["Labelling.join"] == 1 and len(demo.fns) < 210


def test_what_changes_the_session_waits_for_what_changes_it_already():
    """Each returns a whole new session: two at once, as a stroke while new images come, and one of them is lost."""

    demo, groups = whole_page(), {}
    for each in demo.fns.values():
        if any(isinstance(out, gr.State) and isinstance(out.value, Session) for out in each.outputs):
            name = name_of(each.fn)
            groups.setdefault(name, set()).add((each.concurrency_id, each.concurrency_limit))
    begun = [name for name in groups if name not in ("_LabelWiring", "<lambda>")]
    assert {"Labelling.keep", "Labelling.join", "Labelling.clear", "_Wiring._adopt", "Reader.choose", "add"} <= set(
        begun
    )
    assert {name: groups[name] for name in begun if groups[name] != {("bench", 1)}} == {}


def test_what_shows_a_state_is_not_skipped_while_it_is_at_work_on_the_one_before():
    """Gradio drops an event, and what follows it, while an earlier one of the same kind is pending, unless told not to.

    The page would stay behind: after a second step back, say, or a switch to and fro.
    """

    demo, modes = whole_page(), {}
    for each in demo.config["dependencies"]:
        name = name_of(demo.fns[each["id"]].fn)
        modes.setdefault(name, set()).add(each["trigger_mode"])
    shows = (
        "Bench.overview", "Labelling.first_fit", "Labelling.show", "Labelling.refit", "present",
        "Segment.visit", "Segment.draw", "_Wiring.visit", "_Wiring.arrived", "taken", "_Wiring._look",
        "marked", "states", "Layouts.canvas", "Reader.look", "Reader.choose",
    )  # fmt: skip
    assert [(name, modes.get(name)) for name in shows if modes.get(name) != {"always_last"}] == []
    assert modes["_Wiring._begin"] == {"once"}  # the twin: a run that a button begins


def test_a_signal_is_given_when_an_event_has_succeeded_and_then_only():

    async def build():
        with gr.Blocks() as demo:
            signal, text = Signal(), gr.Textbox()
            for answer, shown in (("a", [text]), (("b", "c"), [text, gr.Textbox()])):
                signal.after(gr.Button().click, lambda answer=answer: answer, [], shown)
            signal.after(gr.Button().click, fails, [], [text])
            signal.change(lambda: None, None, None)
        return demo

    demo = asyncio.run(build())
    one, two, bad, after = demo.fns.values()
    assert one.fn()[:-1] == ("a",) and two.fn()[:-1] == ("b", "c")
    assert len({one.fn()[-1], one.fn()[-1], two.fn()[-1]}) == 3  # another value each time
    with pytest.raises(gr.Error):
        bad.fn()
    (state,) = {each.outputs[-1] for each in (one, two, bad)}
    assert after.targets == [(state._id, "change")]


def fails():
    raise InputError("no")


@pytest.mark.parametrize("target", [None, SimpleNamespace(elem_id="label-more")])
def test_a_run_begins_by_one_of_its_buttons(target):
    demo = whole_page()
    (begin,) = (each.fn for each in demo.fns.values() if name_of(each.fn) == "_Wiring._begin")
    event = SimpleNamespace(target=target)
    with pytest.raises(gr.Error, match="edit-run, edit-add, edit-remove"):
        next(begin(Session(), None, None, event, None, 5, False, False, "#ffffff", None, None))
