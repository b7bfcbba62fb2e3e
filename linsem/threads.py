"""How torch's threads wait for each other; imported before torch, whose OpenMP (GNU's) reads this once, when loaded.

By default a thread that has done its part of an operation keeps its core busy for milliseconds until the others are
done. Where other programs want the cores, that holds up the very part that all wait for: beside two busy processes on
two cores, an edit took 27 times as long as alone, and takes two to three times as long like this. Threads that sleep at
once are no way out, since an operation after a stroke takes less time than waking them. So they wait for about as long
as that takes, and then sleep, which costs up to a tenth on a machine that has nothing else to do.
"""

import os
from collections.abc import MutableMapping

TURNS = "5000"  # of the waiting loop, some tens of nanoseconds each


def wait_briefly(environment: MutableMapping[str, str]) -> None:
    """Set it, unless the environment says already how threads wait."""
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", TURNS)


wait_briefly(os.environ)
