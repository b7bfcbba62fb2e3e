"""The paper's experiments on this library's generators, one table per command.

    python -m linsem.lab.evidence extractors [MODEL] [--quick] [--json] [--out assets/evidence]

Tables: extractors, few-shot, scribbles, uncertainty, layers, edit, presence, sample. `--quick` takes minutes rather
than hours, `--json` makes the last line one JSON object, and with `--out` the table is written as CSV and Markdown,
plots as PNG. The files of models other than avatars-128 have the model's name in theirs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from linsem.errors import InputError
from linsem.heap import keep_freed
from linsem.lab.tables import USUAL, Table, markdown, stem, write
from linsem.zoo import assets

TABLES = {
    "extractors": "linsem.lab.evidence_extractors",
    "few-shot": "linsem.lab.evidence_fewshot",
    "scribbles": "linsem.lab.evidence_scribbles",
    "uncertainty": "linsem.lab.evidence_uncertainty",
    "layers": "linsem.lab.evidence_layers",
    "edit": "linsem.lab.evidence_edit",
    "presence": "linsem.lab.evidence_presence",
    "sample": "linsem.lab.evidence_sample",
}
COMPARED = ("few-shot", "edit", "presence", "sample")  # methods: some of them may be run, on so many cases


def named(table: Table, model: str) -> Table:
    """The table and its plots, renamed to include the model (`stem`)."""
    plots = {stem(name, model): plot for name, plot in table.plots.items()}
    return replace(table, name=stem(table.name, model), plots=plots)


def main(arguments: list[str] | None = None) -> int:
    """Run one table from the command line; returns 2 with a message for a bad argument."""
    parser = argparse.ArgumentParser(
        prog="python -m linsem.lab.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("model", nargs="?", default=USUAL)
    parser.add_argument("--quick", action="store_true", help="200 images rather than 2,000, and fewer repeats")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--out", type=Path, help="a folder for the table and the plots")
    parser.add_argument("--save", type=Path, help="extractors: write the LSE here")
    parser.add_argument("--state", type=Path, help="extractors: keep the training state here, and go on from it")
    parser.add_argument("--accelerate", action="store_true", help="extractors: share batches under `accelerate launch`")
    parser.add_argument(
        "--count",
        type=int,
        help="few-shot: how many repeats (5; quick: 2); edit, sample: how many edits or layouts "
        "(100; quick: 14, 6); presence: how many of each category (15; quick: 3)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        help="methods to run, of a table that compares some; the rest is kept from the table in --out",
    )
    args = parser.parse_args(arguments)
    keep_freed()  # as in the app
    module = importlib.import_module(TABLES[args.table])
    if args.count is not None and (args.table not in COMPARED or args.count < 1):
        parser.error(f"--count: expected at least 1, for {', '.join(COMPARED)}, got {args.count} for {args.table}")
    if args.quick and args.out is not None and args.out.resolve() == (assets() / "evidence").resolve():
        parser.error(f"--quick: it would replace the full table in {args.out}; give another folder as --out")
    ways = module.WAYS if args.table in COMPARED else ()
    unknown = sorted(set(args.only or ()) - set(ways))
    if unknown:
        parser.error(f"--only: expected some of {', '.join(ways) or 'nothing'}, got {unknown[0]}")
    more = {"save": args.save, "state": args.state, "accelerate": args.accelerate}
    more = more if args.table == "extractors" else {"count": args.count, "only": args.only} if ways else {}
    try:
        result = module.run(args.model, quick=args.quick, out=args.out, **more)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{result.title}\n\n{markdown(result.rows)}", flush=True)
    if args.out is not None:
        write(named(result, args.model), args.out)
    if args.json:
        print(json.dumps(result.values), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
