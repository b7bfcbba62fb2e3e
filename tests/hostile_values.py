"""Wrong values for each kind of endpoint parameter: `BAD` must be refused, `ODD` may be accepted."""

from __future__ import annotations

from collections.abc import Sequence

NAN, INF = float("nan"), float("inf")
META = {"_type": "gradio.FileData"}


def nested(depth: int) -> list:
    """Lists nested to this depth."""
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


STRANGE = (
    "\0", "\u202e\u2066", "\U0001f4a9" * 9, "\ud800", "%s%n%x" * 50, "${7*7}{{7*7}}", "'; DROP TABLE models; --",
    "<script>alert(1)</script>", "../" * 12 + "etc/passwd", "/etc/passwd", "A" * 100_000, " " * 300_000 + "x",
    "-" * 50_000, "\n\r\t", "None", "NaN", "1e999", "__import__('os').system('true')",
)  # fmt: skip
ODDITIES = ([], {}, [[]], {"path": "/etc/passwd"}, nested(60), {"__type__": "update", "value": 1}, ["a"] * 5_000)
NUMBERS = (NAN, INF, -INF, 1e308, -1e308, -1, -0.5, 10**30, 10**400, 2**63, -(2**63), "x", "", "7", "NaN", None, True)

BAD: dict[str, Sequence[object]] = {
    "model": (*STRANGE, "nothing", "avatars", "hub://somebody/something/file.pkl", "hub://", "/proc/self/mem", 5, 0.1,
              True, *ODDITIES),
    "seeds": (*STRANGE, *ODDITIES, "", None, True, -1, 2.5, NAN, "x", "1-", "-5", "9-1", "1.5", "1e3", "0x10", "0-64",
              "0-99999999", "9" * 18, "9" * 4_000, "1," * 5_000 + "x", "\u0661", "1-2-3", "1;2;x", "0" * 40),
    "psi": (*NUMBERS, *ODDITIES, *STRANGE[:4], 2.001, "0.7"),
    "name": (*STRANGE, *ODDITIES, "", None, 5, True, NAN, "nothing", "Background", "0"),
    "whole": (*NUMBERS, *ODDITIES, *STRANGE[:4], 0.5, 1.0000001),
    "categories": (
        *STRANGE[:8], 5, NAN, True, [], {}, [None], [[]], [["a"]], [5], [{}], [{"name": ""}], [{"name": " "}],
        [{"name": 5}], [{"name": None}], [{"name": "a"}, {"name": "a"}], [{"name": "a" * 65}], [{"name": "a\0"}],
        [{"name": "\ud800"}], [{"name": "a\nb"}], [{"name": "a", "color": "red"}], [{"name": "a", "color": 7}],
        [{"name": "a", "color": "#12345g"}], [{"name": "a", "color": "#7a7a7a"}], {"name": "a"}, "[{", '{"name": "a"}',
        [{"name": str(i)} for i in range(255)], ["x"] * 9_000, nested(90), [{"name": nested(50)}], "[" * 90_000,
        [{"name": "a", "color": "#112233"}, {"name": "b", "color": "#112233"}],
        {"path": "/etc/passwd", "meta": META}, [{"name": "a", "x": {"path": "/etc/passwd", "meta": META}}],
    ),
}  # fmt: skip
BAD["whole?"] = tuple(value for value in BAD["whole"] if value is not None and value != "")
ODD: dict[str, Sequence[object]] = {
    "model": ("", None),
    "seeds": (7, 3.0, "1,,,2", " 1 ", "1\n2", "01", "5-5", "1;1;1", "00000000000000001"),
    "psi": (0, 2, -0.0, 1e-320, 1),
    "name": ("background", "skin"),
    "whole": (1, 2.0, 3, 0),
    "whole?": (None, "", 2.0, 0),
    "categories": ("", None, [{"name": "a"}, {"name": "b"}], ["x", "y"], [{"name": "<img src=x onerror=alert(1)>"}]),
}


def bad_paths(outside: str, folder: str, listener: str) -> list[object]:
    """File values that were never uploaded; `outside` is a valid file elsewhere, `listener` an HTTP server."""
    paths = (
        outside, f"{folder}/../{outside.rpartition('/')[2]}", f"{folder}/../../../../../../etc/passwd", "/etc/passwd",
        folder, f"{folder}/made", f"{folder}/nothing.png", "/proc/self/environ", "/dev/zero", "/dev/stdin", "app.py",
        "../app.py", "assets/README.md", "", ".", "\0", "x" * 5_000, "~/.bashrc", "file:///etc/passwd", f"file://{outside}",
        listener, listener.replace("127.0.0.1", "localhost"), listener.replace("127.0.0.1", "0x7f000001"),
        "http://[::1]/", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "data:image/png;base64,AAAA", "\\\\server\\share",
        "\ud800.png", "\u2025/\u2025/etc/passwd",
    )  # fmt: skip
    values: list[object] = [{"path": path} for path in paths]
    values += [{"path": path, "meta": META} for path in paths]
    values += [{"path": path, "meta": META, "url": listener, "orig_name": "../x", "size": -1} for path in paths[:4]]
    values += [
        5, True, "map.png", outside, [], {}, [[]], nested(50), NAN, {"path": None, "meta": META}, {"path": 5},
        {"path": ["a"], "meta": META}, {"url": listener, "meta": META}, {"meta": META}, {"path": {}, "meta": {}},
        {"path": outside, "meta": {"_type": "gradio.filedata"}}, {"path": outside, "is_stream": True, "meta": META},
    ]  # fmt: skip
    return values
