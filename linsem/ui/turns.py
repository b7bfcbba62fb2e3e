"""Which call of a visitor was begun last: what an earlier one finds after that is not shown."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from itertools import count

import gradio as gr

from linsem.forks import ForkLock
from linsem.session import Session


class Turns:
    """The last turn of each kind on each bench; beyond `most` benches, those not used for the longest go."""

    def __init__(self, most: int = 10_000) -> None:
        self.most = most
        self._last: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._count, self._lock = count(1), ForkLock()

    def __len__(self) -> int:
        return len(self._last)

    def take(self, bench: str, kind: str) -> int:
        """Begin a turn; those of its kind that were begun on this bench before are not the last any more."""
        with self._lock:
            turn = next(self._count)
            self._last.setdefault(bench, {})[kind] = turn
            self._last.move_to_end(bench)
            while len(self._last) > self.most:
                self._last.popitem(last=False)
            return turn

    def is_last(self, bench: str, kind: str, turn: int) -> bool:
        """Whether no other turn of its kind was begun on this bench since, and the bench is still there."""
        return self._last.get(bench, {}).get(kind, turn) == turn

    def last(self, bench: str, kind: str) -> int:
        """The turn of a kind that was begun last; 0 if none was."""
        return self._last.get(bench, {}).get(kind, 0)

    def leave(self, bench: str) -> None:
        """Another bench has taken the place of this one: whatever is under way on it will not be shown."""
        with self._lock:
            for kind in self._last.get(bench, {}):
                self._last[bench][kind] = next(self._count)


def latest(turns: Turns, kind: str, handler: Callable, outputs: int) -> Callable:
    """A handler of a session and more, with so many outputs, which are skipped unless its call was begun last."""

    @functools.wraps(handler)
    def call(session: Session, *given: object, **more: object) -> object:
        turn = turns.take(session.token, kind)
        found = handler(session, *given, **more)
        return found if turns.is_last(session.token, kind, turn) else (gr.skip(),) * outputs

    return call
