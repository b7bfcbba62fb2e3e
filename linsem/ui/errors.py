"""Error messages for visitors: a sentence, never a traceback."""

from __future__ import annotations

import functools
import inspect
import logging
import re
from collections.abc import Callable

import gradio as gr

from linsem.errors import InputError
from linsem.ui import show

log = logging.getLogger("linsem")
OURS = "Something went wrong on our side; nothing of yours was lost. Please try again."

_NAMED = re.compile(r"\S*[\d_./-]\S*(\s|$)")  # a sentence that begins with a name that is no plain word, as ids are
NO_MEMORY = ("out of memory", "can't allocate memory")  # torch's words, on a GPU and on a CPU
GONE = (
    "This server no longer holds your work: you were away for long, or it was started anew. "
    "Reload the page: it offers to continue where you left off"
)


class Refusal(gr.Error):
    """An `InputError` as a Gradio error: the input cannot be used."""


def said(error: Exception) -> gr.Error:
    """The `gr.Error` for an exception: an `InputError` keeps its message, others get a general one and are logged.

    A message becomes a sentence, but an id, or a name with an underscore, stays as it is at its beginning:
    a capital would make it another one.
    """
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, InputError):
        text = str(error).strip() or "that input cannot be used"
        text = text if _NAMED.match(text) else text[:1].upper() + text[1:]
        return Refusal(text if text.endswith((".", "!", "?")) else text + ".", print_exception=False)
    log.error("in a request", exc_info=error)
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY):
        return gr.Error("There is not enough memory for this just now: ask for fewer images.", print_exception=False)
    return gr.Error(OURS, print_exception=False)


def refused(error: gr.Error) -> str:
    """What went wrong, as a status line: the message itself goes away after a while."""
    return show.status(error.message, "bad")


def in_words(function: Callable) -> Callable:
    """Wrap a handler (a function or a generator) so that its exceptions become `gr.Error`."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stream(*args: object, **kwargs: object) -> object:
            try:
                yield from function(*args, **kwargs)
            except Exception as error:
                raise said(error) from None

        return stream

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise said(error) from None

    return call
