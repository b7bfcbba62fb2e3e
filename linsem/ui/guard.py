"""Protection of the page's functions: limits on request bodies, and an explanation for every refusal.

Gradio answers unreadable input with an uninformative error, and a call of an unknown endpoint with a bare 500. Here
both become sentences. Gradio also reads JSON bodies of any size, and keeps the values of an event's inputs in the
visitor's session, and those of its outputs. Here the size of a body is limited and neither is kept.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import gradio as gr
from gradio.route_utils import API_PREFIX

from linsem.errors import InputError
from linsem.ui.errors import OURS

log = logging.getLogger("linsem")
UPLOADS = f"{API_PREFIX}/upload"
MAX_JSON = 8 << 20  # bytes of a body, uploads aside: the painter's largest label map has 6 million characters
DRAINED = 64 << 20  # bytes of an oversized body to read and discard: a client that is still sending reads no answer
STALLED = 2.0  # seconds without data after which to stop reading such a body
UNREAD = "This input could not be read: reload the page and try again."
KINDS = {"file": "an uploaded file", "number": "a number", "textbox": "text", "json": "JSON"}
NO_SUCH_CALL = "There is no such call here, or its body is not what it takes: the page's footer lists the API."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class GuardedBlocks(gr.Blocks):
    """Blocks that explain which input they refuse."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False) -> list:
        """As in Gradio, but unreadable input raises a `gr.Error` that says what the endpoint expects of which one."""
        inputs, read, at = completed(block_fn, inputs), [], None
        try:
            if not is_public(block_fn) or len(inputs) != len(block_fn.inputs):
                return await super().preprocess_data(block_fn, inputs, state, explicit_call)
            for at, value in enumerate(inputs):
                alone = copy.copy(block_fn)
                alone.inputs = [block_fn.inputs[at]]
                read += await super().preprocess_data(alone, [value], state, explicit_call)
            return read
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception:
            raise gr.Error(unread(block_fn, inputs, at), print_exception=False) from None
        finally:
            forget(block_fn, state)

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: Any = None, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """As in Gradio, but unexpected errors are logged and raised as a `gr.Error` with a general message.

        The session of an API call is removed afterwards: each call has its own, and many of them would displace those
        of visitors.
        """
        ends = True
        try:
            answer = await super().process_api(block_fn, inputs, state, *args, **kwargs)
            ends = not answer.get("is_generating")
            return answer
        except gr.Error:
            raise
        except Exception as error:
            log.error("around a request", exc_info=error)
            raise gr.Error(OURS, print_exception=False) from None
        finally:
            forget(block_fn, state)
            if ends and is_public(block_fn):
                leave(getattr(self, "state_holder", None), state)


def completed(block_fn: Any, inputs: list[Any]) -> list[Any]:
    """The inputs of an endpoint, with missing trailing ones replaced by their defaults.

    These are the function's, and where it has none what the component holds, as for calls by keyword. This keeps older
    calls working after a parameter has been added. A single file becomes a list where one is expected.
    """
    if not block_fn.api_name or block_fn.fn is None:
        return inputs
    if is_public(block_fn) and len(inputs) > len(block_fn.inputs):
        raise gr.Error(unread(block_fn, inputs), print_exception=False)
    several = [isinstance(block, gr.File) and block.file_count == "multiple" for block in block_fn.inputs]
    inputs = [[v] if many and isinstance(v, dict) else v for v, many in zip(inputs, several, strict=False)]
    defaults = [each.default for each in inspect.signature(block_fn.fn).parameters.values()]
    missing = defaults[len(inputs) : len(block_fn.inputs)]
    if is_public(block_fn):
        held = [getattr(block, "value", None) for block in block_fn.inputs[len(inputs) :]]
        missing = [h if d is inspect.Parameter.empty else d for d, h in zip(missing, held, strict=True)]
    return inputs if inspect.Parameter.empty in missing else [*inputs, *missing]


def is_public(block_fn: Any) -> bool:
    """Whether an event is a public API endpoint."""
    return bool(block_fn.api_name) and block_fn.api_visibility == "public"


def leave(holder: Any, state: Any) -> None:
    """Remove a session that holds no visitor's data."""
    if holder is None or state is None or state.state_data:
        return
    with holder.lock:
        gone = next((name for name, each in reversed(holder.session_data.items()) if each is state), None)
        if gone is not None:
            del holder.session_data[gone]
            holder.time_last_used.pop(gone, None)


def unread(block_fn: Any, inputs: list[Any], at: int | None = None) -> str:
    """The message for inputs that do not fit an event; for an endpoint, it names the parameter `at`, or all of them."""
    if not is_public(block_fn):
        return UNREAD
    names, expected, got = named(block_fn), len(block_fn.inputs), len(inputs)
    if at is None or expected != got:
        return f"/{block_fn.api_name}: expected {expected} values ({', '.join(names) or 'nothing'}), got {got}."
    block = block_fn.inputs[at]
    kind = KINDS.get(block.get_block_name(), "another value")
    kind = "uploaded files" if getattr(block, "file_count", "single") == "multiple" else kind
    return f"/{block_fn.api_name}: {names[at]}: expected {kind}, got something else."


def named(block_fn: Any) -> list[str]:
    """The names of an endpoint's parameters: those of its function."""
    names = [] if block_fn.fn is None else list(inspect.signature(block_fn.fn).parameters)
    others = [block.get_block_name() for block in block_fn.inputs[len(names) :]]
    return [*names, *others][: len(block_fn.inputs)]


def forget(block_fn: Any, state: Any) -> None:
    """Drop the copies of an event's inputs and outputs that Gradio keeps for links to a page's state, unused here.

    They would stay as long as the session does, after the visitor has left: label maps, and whole projects.
    """
    values = getattr(state, "config_values", {})
    for block in (*block_fn.inputs, *block_fn.outputs):
        if block._id in values:
            values[block._id].get("props", {}).pop("value", None)


class Gate:
    """ASGI middleware that limits request bodies and answers uncaught errors with a message."""

    def __init__(self, app: Callable, upload_bytes: int) -> None:
        self.app, self.upload_bytes = app, upload_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.upload_bytes if _route(scope) == UPLOADS else MAX_JSON
        body, started = _Body(receive, limit, _declared(scope)), False

        async def sending(message: Message) -> None:
            nonlocal started
            if body.over and not started:
                return  # discard the answer to a truncated body
            started = True
            await send(message)

        try:
            if not body.over:
                await self.app(scope, body.receive, sending)
        except Exception as error:
            if started:  # a stream: it can only be ended
                log.info("in the stream %s: %s", scope["path"], error)
                await send({"type": "http.response.body", "body": b""})
            elif not body.over:
                log.error("in the request %s", scope["path"], exc_info=error)
                await _answer(send, 400, NO_SUCH_CALL)
        if body.over and not started:
            await body.drain()
            await _answer(send, 413, f"The request is too large: expected at most {body.limit >> 20} MB.")


class _Body:
    """The body of a request, with its bytes counted."""

    def __init__(self, receive: Receive, limit: int, declared: int) -> None:
        self._receive, self.limit, self.seen, self.over, self.ended = receive, limit, 0, declared > limit, False

    async def receive(self) -> Message:
        """The next message; raises `InputError` once the body exceeds its limit."""
        message = await self._next()
        if self.over:
            raise InputError("the body went on after its limit")
        return message

    async def drain(self) -> None:
        """Read and discard the rest, up to `DRAINED` bytes."""
        while not self.ended and self.seen < DRAINED:
            try:
                await asyncio.wait_for(self._next(), STALLED)
            except (TimeoutError, asyncio.TimeoutError):  # two classes in Python 3.10
                return

    async def _next(self) -> Message:
        message = await self._receive()
        self.seen += len(message.get("body", b""))
        self.over = self.over or self.seen > self.limit
        self.ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message


def _route(scope: Message) -> str:
    """The path below where the app is mounted; a call may have any name, also that of the way for files."""
    return scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")


def _declared(scope: Message) -> int:
    lengths = [value for name, value in scope["headers"] if name.lower() == b"content-length" and value.isdigit()]
    return int(lengths[0][:18]) if lengths else 0


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence, "error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
