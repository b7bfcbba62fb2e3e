"""How torch's threads wait for each other; imported before torch, whose OpenMP (GNU's) reads this once, when loaded.

By default a thread that has done its part of an operation keeps its core busy for milliseconds until the others are
done. Where other programs want the cores, that holds up the very part that all wait for (`busy_edit` of
`linsem.lab.bench`). Threads that sleep at once are no way out, since an operation after a stroke takes less time than
waking them. So they wait for about as long as that takes, and then sleep.
"""

import os

TURNS = "5000"  # of the waiting loop, some tens of nanoseconds each

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", TURNS)
