"""Which call of a visitor was begun last: what an earlier one finds after that is not shown."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count

from linsem.forks import ForkLock


class Turns:
    """The last turn by name, such as that of a bench; beyond `most` names, those not used for the longest go."""

    def __init__(self, most: int = 10_000) -> None:
        self.most = most
        self._last: OrderedDict[str, int] = OrderedDict()
        self._count, self._lock = count(1), ForkLock()

    def __len__(self) -> int:
        return len(self._last)

    def take(self, name: str) -> int:
        """Begin a turn; those that were begun under this name before are not the last any more."""
        with self._lock:
            self._last[name] = turn = next(self._count)
            self._last.move_to_end(name)
            while len(self._last) > self.most:
                self._last.popitem(last=False)
            return turn

    def is_last(self, name: str, turn: int) -> bool:
        """Whether no other turn was begun under this name since."""
        return self._last.get(name, turn) == turn
