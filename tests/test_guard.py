"""The gate in front of the page: request bodies are limited, and every failure is reported in a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.components.json_component import JsonData

from linsem.ui import guard
from linsem.ui.guard import MAX_JSON, NO_SUCH_CALL, UNREAD, Gate, GuardedBlocks, completed

UPLOAD = 4 * MAX_JSON


@pytest.fixture(scope="module")
def loop():
    """The event loop for all coroutines here."""
    own = asyncio.new_event_loop()
    yield own
    own.close()


@pytest.fixture
def through(loop):
    """`through_gate` on the loop."""
    return lambda app, **more: loop.run_until_complete(asyncio.wait_for(through_gate(app, **more), 20))


async def through_gate(app, *, path="/gradio_api/call/x", pieces=(b"{}",), declared=None, root=""):
    """The answer to a body sent in pieces, (status, JSON or text), and the number of pieces that were read."""
    headers = [(b"content-type", b"application/json")]
    headers += [] if declared is None else [(b"Content-Length", str(declared).encode())]
    coming = [
        {"type": "http.request", "body": piece, "more_body": i < len(pieces) - 1} for i, piece in enumerate(pieces)
    ]
    asked, sent = [], []

    async def receive():
        asked.append(1)
        if not coming:
            await asyncio.sleep(3600)
        return coming.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": root + path, "root_path": root, "headers": headers}
    await Gate(app, UPLOAD)(scope, receive, send)
    status = sent[0]["status"]
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return status, text, len(asked)


async def echo(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


async def hides_errors(scope, receive, send):
    """Turn any failure to read the body into an answer, as FastAPI does."""
    try:
        await echo(scope, receive, send)
    except Exception:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"the framework's own words"})


def test_what_is_small_enough_goes_through_untouched(through):
    assert through(echo, pieces=(b"ab", b"c"))[:2] == (200, "3")
    assert through(echo, pieces=(bytes(MAX_JSON),), declared=MAX_JSON)[:2] == (200, str(MAX_JSON))
    assert through(echo, path="/gradio_api/upload", pieces=(bytes(MAX_JSON), b"x"))[:2] == (200, str(MAX_JSON + 1))


@pytest.mark.parametrize("app", [echo, hides_errors])
@pytest.mark.parametrize("declared", [None, MAX_JSON + 2])
def test_a_body_beyond_the_limit_is_refused_in_a_sentence(through, app, declared):
    status, text, _ = through(app, pieces=(bytes(MAX_JSON), b"xy", b"z"), declared=declared)
    assert status == 413 and "at most 8 MB" in json.loads(text)["detail"]


def test_an_upload_has_its_own_limit(through):
    status, text, _ = through(echo, path="/gradio_api/upload", pieces=(bytes(UPLOAD), b"x"))
    assert status == 413 and "at most 32 MB" in json.loads(text)["detail"]


@pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
def test_only_the_way_for_files_takes_more_than_json(through, root):
    """A call may be named `upload` too; its body is read whole, as JSON, before anyone asks whether there is such."""
    more = (bytes(MAX_JSON), b"x")
    for name in ("call", "run", "queue"):
        assert through(echo, path=f"/gradio_api/{name}/upload", pieces=more, root=root)[0] == 413
    for path in ("/upload", "/gradio_api/upload/x", "/x/gradio_api/upload"):
        assert through(echo, path=path, pieces=more, root=root)[0] == 413
    assert through(echo, path="/gradio_api/upload/", pieces=more, root=root)[0] == 200


def test_a_sender_that_stalls_is_answered_and_one_without_end_is_not_read_to_its_end(through, monkeypatch):
    monkeypatch.setattr(guard, "STALLED", 0.05)
    assert through(echo, pieces=(), declared=10**12)[0] == 413
    endless = [bytes(MAX_JSON)] * 100
    status, _, asked = through(echo, pieces=endless, declared=10**12)
    assert status == 413 and asked <= 1 + guard.DRAINED // MAX_JSON


def test_an_error_that_nobody_caught_is_a_sentence_and_not_its_text(through, caplog):
    async def fails(scope, receive, send):
        raise KeyError("/secret/path")

    status, text, _ = through(fails)
    assert (status, json.loads(text)["detail"]) == (400, NO_SUCH_CALL) and "secret" in caplog.text


def test_a_stream_that_breaks_ends(through):
    async def breaks(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1", "more_body": True})
        raise RuntimeError("/secret/path")

    assert through(breaks)[:2] == (200, "data: 1")


async def build():
    """Blocks with three events, built in a running loop, since Gradio would otherwise create one and leave it open."""
    with GuardedBlocks(analytics_enabled=False) as demo:
        number, file, out = gr.Number(), gr.File(), gr.JSON()
        button = gr.Button()
        button.click(lambda n, f: {"n": n}, [number, file], [out], api_name="public")
        button.click(lambda n: {"n": len(str(n))}, [number], [out], api_name="own", api_visibility="private")
        button.click(lambda n: {}[n], [number], [out], api_name="broken")
    return demo


@pytest.fixture
def blocks(loop):
    return loop.run_until_complete(build())


def called(loop, demo, name, inputs):
    """An event's answer to inputs, or the message of its `gr.Error`; and the session."""
    function = next(fn for fn in demo.fns.values() if fn.api_name == name)
    state = gr.state_holder.SessionState(demo)
    try:
        return loop.run_until_complete(demo.process_api(function, inputs, state))["data"], state
    except gr.Error as error:
        return error.message if not error.print_exception else "it is printed", state


def test_inputs_that_no_component_reads_get_a_sentence(loop, blocks):
    for whole in ([3, None], [3]):
        assert called(loop, blocks, "public", whole)[0] == [JsonData({"n": 3})]
    assert "/public: expected 2 values (n, f), got 3." in called(loop, blocks, "public", [3, None, 5])[0]
    for wrong in ("x", 5, {}, [[]], {"path": "/etc/passwd"}):
        told = called(loop, blocks, "public", [3, wrong])[0]
        assert told == "/public: f: expected an uploaded file, got something else."
    assert called(loop, blocks, "own", [])[0] == UNREAD
    assert called(loop, blocks, "broken", [3])[0] == guard.OURS


def test_what_came_in_is_not_kept_with_the_session(loop, blocks):
    answer, state = called(loop, blocks, "own", ["x" * 1000])
    assert answer == [JsonData({"n": 1000})] and "xxx" not in repr(state.config_values)
    state._update_value_in_config(next(iter(state.config_values)), "xxx")
    assert "xxx" in repr(state.config_values)  # the twin: this is where Gradio keeps it


def test_nor_is_what_goes_out(loop, blocks):
    """It would stay for an hour after the visitor has left."""
    answer, state = called(loop, blocks, "own", ["x" * 1000])
    outputs = next(f for f in blocks.fns.values() if f.api_name == "own").outputs
    assert answer == [JsonData({"n": 1000})]
    kept = [state.config_values[block._id]["props"] for block in outputs]  # where Gradio keeps it
    assert kept and all("value" not in props for props in kept)


def test_a_programs_call_leaves_no_session_and_a_visitors_stays(loop, blocks):
    """Each call of curl or JavaScript comes under a name of its own."""
    holder = gr.state_holder.StateHolder()
    blocks.state_session_capacity = 100
    holder.set_blocks(blocks)
    functions = {fn.api_name: fn for fn in blocks.fns.values()}
    for name, data in (("public", [3, None]), ("own", [3]), ("public", [])):
        state = holder[f"somebody who calls {name} with {data}"]
        with contextlib.suppress(gr.Error):
            loop.run_until_complete(blocks.process_api(functions[name], data, state=state))
    assert list(holder.session_data) == ["somebody who calls own with [3]"]
    working = holder["a visitor"]
    working.state_data[1] = "strokes"
    loop.run_until_complete(blocks.process_api(functions["public"], [3, None], state=working))
    assert "a visitor" in holder


def test_one_file_is_a_list_of_one():
    def fit(label_maps: list) -> None: ...

    endpoint = SimpleNamespace(inputs=[gr.File(file_count="multiple", render=False)], api_name="fit",
                               api_visibility="public", fn=fit)  # fmt: skip
    file = {"path": "a.png"}
    assert completed(endpoint, [file]) == completed(endpoint, [[file]]) == [[file]]
    endpoint.inputs = [gr.File(render=False)]
    assert completed(endpoint, [file]) == [file]


def test_last_parameters_may_be_left_out():
    def sample(seed: int, look: int | None = None) -> None: ...

    def edit(seed: int, steps: int = 3) -> None: ...

    for function, expected in ((sample, [7, None]), (edit, [7, 3])):
        blocks = [gr.Number(5, render=False), gr.Number(6, render=False)]
        endpoint = SimpleNamespace(inputs=blocks, api_name=function.__name__, api_visibility="public", fn=function)
        assert completed(endpoint, [7]) == expected and completed(endpoint, [7, 8]) == [7, 8]
        assert completed(endpoint, []) == [5, expected[1]]  # as by keyword: what the component holds
        endpoint.api_visibility = "private"
        assert completed(endpoint, [7]) == expected and completed(endpoint, []) == []
