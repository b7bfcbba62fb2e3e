"""Seeds as text: "0-7,12" stands for nine of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from linsem.errors import InputError

MAX_SEED = 2**32 - 1  # torch's CPU generator ignores the higher bits, so larger seeds repeat earlier draws
_PART = re.compile(r"(\d{1,400})(?:-(\d{1,400}))?\Z", re.ASCII)


def parse_seeds(text: str | int | float | Sequence[int] | None, limit: int = 64) -> tuple[int, ...]:
    """Parse text like "0-7, 12" to distinct seeds in the order given; raises InputError naming what is wrong."""
    text = str(int(text)) if isinstance(text, float) and text.is_integer() else str(text if text is not None else "")
    text = text[1:-1] if text[:1] + text[-1:] == "[]" else text  # a list of a program, which a form has made text
    if len(text) > 40 * limit + 40:  # that many numbers and blanks: splitting longer text is quadratic
        raise InputError(f"seeds: expected at most {limit} of them, got {len(text)} characters")
    parts = [part for part in re.split(r"[,;\s]+", re.sub(r"\s*-\s*", "-", text.strip())) if part]
    if not parts:
        raise InputError('seeds: expected numbers like "0-7, 12", got nothing')
    seeds: dict[int, None] = {}
    for part in parts:
        match = _PART.match(part)
        if match is None:
            raise InputError(f'seeds: expected numbers like "0-7, 12", got {part[:40]!r}')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last > MAX_SEED:
            raise InputError(_wrong_range(part, last))
        if last - first < limit:  # a longer range exceeds the limit anyway, and is not enumerated
            seeds.update(dict.fromkeys(range(first, last + 1)))
        if max(len(seeds), last - first + 1) > limit:
            what = f"{part[:40]!r} is" if last - first >= limit else f"{text.strip()[:40]!r} are"
            raise InputError(f"seeds: at most {limit} at a time; {what} too many")
    return tuple(seeds)


def _wrong_range(part: str, last: int) -> str:
    if last > MAX_SEED:
        return f"seeds: the largest is {MAX_SEED}, got {part[:40]!r}"
    return f"seeds: write ranges from low to high, for example 1-5, got {part[:40]!r}"


def next_seeds(last: int, count: int) -> range:
    """The `count` seeds after `last`, starting again from 0 if there are not enough."""
    return range(last + 1, last + 1 + count) if last + count <= MAX_SEED else range(count)


def format_seeds(seeds: Sequence[int]) -> str:
    """Seeds as text for `parse_seeds`, with runs as ranges."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
