"""The options of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from linsem.conditional import CANDIDATES, STEPS

READS = "a file that `fit` wrote, instead of the one that ships"
CONVERTED = "converted.safetensors"
Add = Callable[..., argparse.ArgumentParser]


def parser_of(commands: Sequence[Callable], description: str) -> argparse.ArgumentParser:
    """The parser of the commands, each called as its function is; that is `run` of what it reads."""
    root = argparse.ArgumentParser(
        "python -m linsem", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    added = root.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    runs = {run.__name__: run for run in commands}

    def add(name: str, out: str | None, out_help: str = "") -> argparse.ArgumentParser:
        run = runs[name]
        each = added.add_parser(name, help=run.__doc__, description=run.__doc__, formatter_class=Defaults)
        each.set_defaults(run=run)
        if out is not None:
            each.add_argument("--model", help="name, file or hub:// address; NAME~3: its label 3")
            each.add_argument("--device", help="auto, cpu, cuda ... (default: LINSEM_DEVICE, or auto)")
            each.add_argument("--precision", choices=["float32", "bfloat16"], help="of the synthesis of a StyleGAN2")
            each.add_argument("--psi", type=float, default=0.7, help="truncation: 1 is none, 0 the mean image")
            each.add_argument("--out", default=out, help=f"default: {out}{out_help}")
        return each

    _add_readings(add)
    _add_searches(add)
    _add_files(add)
    return root


def _add_readings(add: Add) -> None:
    add("generate", "images").add_argument("--seeds", default="0-7", help='like "0-7,12"')
    each = add("fit", "mine.extractor.safetensors")
    each.add_argument("--seeds", required=True)
    each.add_argument("--label-maps", nargs="+", required=True, help="one image a seed; 255 or transparent: unknown")
    each.add_argument("--categories", help="a JSON file [{name, color}]")
    each = add("segment", "labels")
    each.add_argument("--seeds", default="0-7")
    each.add_argument("--extractor", help=READS)


def _add_searches(add: Add) -> None:
    each = add("edit", "edited")
    each.add_argument("--seed", type=int, help="of the image to edit (default: 0)")
    each.add_argument("--latent", help="a latent file, instead of a seed; of several the best, or that of --seed")
    wish = each.add_mutually_exclusive_group(required=True)
    wish.add_argument("--target", help="a label map; 255 or transparent: no wish")
    wish.add_argument("--add", metavar="CATEGORY", help="what shall be there, instead of a target")
    wish.add_argument("--remove", metavar="CATEGORY", help="what shall be gone, instead of a target")
    each.add_argument("--region", help="white: may change")
    each.add_argument("--extractor", help=READS)
    each.add_argument("--steps", type=int, default=50, help="at most")
    each = add("sample", "samples", "; files of earlier runs stay there: the report names those of this one")
    each.add_argument("--layout", required=True, help="a label map; 255 or transparent: free")
    each.add_argument("--count", type=int, default=4, help="of results")
    each.add_argument("--candidates", type=int, default=CANDIDATES, help="seeds among which the starts are chosen")
    each.add_argument("--steps", type=int, default=STEPS, help="at most")
    each.add_argument("--seed", type=int, default=0, help="the first of the candidates")
    each.add_argument("--look", type=int, metavar="SEED", help="same layouts, with the colours of this seed")
    each.add_argument("--extractor", help=READS)
    each.set_defaults(psi=1.0)


def _add_files(add: Add) -> None:
    each = add("export", "dataset.zip")
    each.add_argument("--num", "--count", type=int, default=100, help="of images")
    each.add_argument("--first-seed", type=int, default=0, help="the others follow it")
    each.add_argument("--batch", type=int, default=8, help="images drawn at once")
    each.add_argument("--extractor", help=READS)
    each.add_argument("--accelerate", action="store_true", help="one shard a process of `accelerate launch`")
    each = add("convert", None)
    each.add_argument("checkpoint", metavar="IN")
    each.add_argument("out", metavar="OUT", nargs="?", help=f"default: {CONVERTED}")
    each.add_argument("--out", dest="named", metavar="OUT", help="the same, as an option")
    each.add_argument("--half", action="store_true", help="store float16")
    each = add("serve", None)
    each.add_argument("--host")
    each.add_argument("--port", type=int)


class CommandParser(argparse.ArgumentParser):
    """A parser of a command, of whose places the last may be left out, and also come after an option.

    Python's own takes it as left out once an option comes.
    """

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As Python's own; a single word that is left over fills the place that was left out."""
        namespace, rest = super().parse_known_args(args, namespace)
        free = [each.dest for each in self._get_positional_actions() if each.nargs == argparse.OPTIONAL]
        if free and len(rest) == 1 and not rest[0].startswith("-") and getattr(namespace, free[-1]) is None:
            setattr(namespace, free[-1], rest.pop())
        return namespace, rest


class Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """A help formatter that shows defaults only where they say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        named = action.default in (None, "", False, argparse.SUPPRESS) or "default" in (action.help or "")
        return action.help if named else super()._get_help_string(action)
