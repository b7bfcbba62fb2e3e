"""How torch's threads wait for each other; imported before torch, whose OpenMP reads this once, when it is loaded.

By default a thread that has done its part of an operation keeps its core busy until the others are done too. Where
something else wants that core, such as a browser beside the server, the part that all wait for comes last: with one
other busy process on two cores, strokes took ten times as long. A waiting thread that sleeps is woken in microseconds.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
