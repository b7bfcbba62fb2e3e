"""Insert the tables of `assets/evidence/` into the README, each after its marker `<!-- table: NAME -->`.

    python -m linsem.lab.readme_tables [--check]

The tables are those written by the evidence commands with `--out`; a marker without a table is left unchanged. The main
findings (`linsem.headlines`) come after `<!-- headlines -->`.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

from linsem.headlines import headlines
from linsem.zoo import assets

WIDTH = 120
_FINDINGS = re.compile(r"(<!-- headlines -->\n).*?(<!-- end of headlines -->\n)", re.DOTALL)
_MARK = re.compile(r"(<!-- table: ([\w-]+) -->\n)(?:.*?<!-- end of \2 -->\n)?", re.DOTALL)


def filled(text: str, folder: Path) -> str:
    """The text with each marked table replaced by the one in `folder`/NAME.md, under its title."""

    def table(match: re.Match) -> str:
        path = folder / f"{match[2]}.md"
        if not path.exists():
            return match[1]
        title, _, body = path.read_text(encoding="utf-8").partition("\n")
        return f"{match[1]}\n{title.lstrip('# ')}:\n\n{body.strip()}\n\n<!-- end of {match[2]} -->\n"

    return _FINDINGS.sub(lambda match: f"{match[1]}\n{_findings()}\n\n{match[2]}", _MARK.sub(table, text))


def _findings() -> str:
    """The headlines as a list."""
    rows = (f"**{number}** {says}".replace("\N{NO-BREAK SPACE}", " ") for number, says in headlines())
    return "\n".join(textwrap.fill(row, WIDTH, initial_indent="- ", subsequent_indent="  ") for row in rows)


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the README; with `--check`, only return 1 if it would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--readme", type=Path, default=Path(__file__).parents[2] / "README.md")
    args = parser.parse_args(arguments)
    text = args.readme.read_text(encoding="utf-8")
    wanted = filled(text, assets() / "evidence")
    if not args.check:
        args.readme.write_text(wanted, encoding="utf-8")
    return int(args.check and text != wanted)


if __name__ == "__main__":
    sys.exit(main())
