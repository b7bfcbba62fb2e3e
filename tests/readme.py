"""Finds code blocks of the README by the name in the comment above them (<!-- test: name -->)."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def block(name: str) -> str:
    """The code of the block with this name."""
    text = README.read_text(encoding="utf-8")
    found = re.findall(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1, f"README: {len(found)} blocks named {name!r}"
    return found[0]


def blocks(language: str) -> list[str]:
    """All blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
