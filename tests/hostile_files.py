"""Hostile files (decompression bombs, damaged files, foreign formats), each with the readers that must refuse it.

`hostile_files(good)` starts from files made by the server (a label map, an extractor, latents), so that each has only
one fault.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

MAPS, REGIONS, TENSORS, PROJECTS = "maps", "regions", "tensors", "projects"
EVERY = frozenset({MAPS, REGIONS, TENSORS, PROJECTS})
NO_PICTURE = EVERY - {TENSORS}  # a safetensors file where a picture or a project is expected


@dataclass(frozen=True)
class HostileFile:
    """A file's name and content, and the readers that must refuse it; others may accept it."""

    kind: str
    name: str
    data: bytes
    refused_by: frozenset[str]


@dataclass(frozen=True)
class Good:
    """Files that the server accepts: a label map, an extractor and latents of its generator, a project."""

    label_map: bytes
    extractor: bytes
    latents: bytes
    project: bytes


def hostile_files(good: Good, seed: int) -> list[HostileFile]:
    """One file of each kind, with details that depend on the seed."""
    rng = random.Random(seed)
    found = [*_junk(rng), *_pictures(good, rng), *_tensors(good, rng), *_zips(good, rng)]
    return [*found, *_misnamed(good, rng)]


# --- files of no kind that is read -----------------------------------------------------------------------------------


def _junk(rng: random.Random) -> list[HostileFile]:
    noise = rng.randbytes(rng.randint(1, 4096))
    bodies = {
        "empty": b"", "noise": noise, "zeros": bytes(rng.randint(1, 100_000)), "text": b"not an image\n" * 9,
        "svg": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        "html": b"<script>alert(1)</script>",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage",
        "pdf": b"%PDF-1.7\n1 0 obj <</Type /Catalog>> endobj", "pickle": pickle.dumps({"ws": [1, 2, 3]}),
        "elf": b"\x7fELF" + noise, "gzip": b"\x1f\x8b\x08\x00" + noise,
        "billion laughs": b"<!DOCTYPE l [" + b"&l;" * 999,
        "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + noise,
        "webp head": b"RIFF\xff\xff\xff\xffWEBPVP8 " + noise, "gif head": b"GIF89a\xff\xff\xff\xff\xf7\x00\x00" + noise,
        "bmp head": b"BM" + struct.pack("<IHHIIiiHHI", 1 << 31, 0, 0, 54, 40, 1 << 30, -(1 << 30), 1, 32, 0) + noise,
        "tiff head": b"II*\x00" + struct.pack("<IH", 8, 65535) + noise, "jpeg head": b"\xff\xd8\xff\xe0" + noise,
    }  # fmt: skip
    names = ("file.png", "file.safetensors", "file.zip", "file")
    return [HostileFile(kind, rng.choice(names), data, EVERY) for kind, data in bodies.items()]


# --- pictures --------------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, colour: int = 0, pixels: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG with arbitrary claims in its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(pixels, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + body + chunk(b"IEND", b"")


def _encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **more: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def _pictures(good: Good, rng: random.Random) -> list[HostileFile]:
    both, maps = frozenset({MAPS, REGIONS, TENSORS, PROJECTS}), frozenset({MAPS, TENSORS, PROJECTS})
    soft = frozenset({TENSORS, PROJECTS})
    whole, cut = good.label_map, rng.randint(40, max(41, len(good.label_map) * 3 // 4))
    side = rng.choice((12_000, 30_000, 60_000))
    flipped = bytearray(whole)
    flipped[rng.randrange(60, len(flipped) - 20)] ^= 1 << rng.randrange(8)
    draws = np.random.default_rng(rng.randrange(2**32))
    foreign = draws.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    indices = Image.fromarray(np.full((64, 64), rng.randint(60, 254), np.uint8))
    scanlines = bytes((side // 8 + 1) * 200)
    bodies: list[tuple[str, bytes, frozenset[str]]] = [
        ("cut off", whole[:cut], both),
        ("a bit flipped", bytes(flipped), soft),
        ("bomb of one bit", png(side, side, 1, 0, scanlines), both),
        ("bomb of noughts", png(9_000, 9_000, 8, 0, bytes(9_001 * 9_000)), both),
        ("bomb in its header", png(2**31 - 1, 2**31 - 1, 16, 6), both),
        ("no width", png(0, 64), both),
        ("no pixels", png(64, 64), both),
        ("depth 3", png(64, 64, 3, 0, bytes(65 * 64)), both),
        ("bomb in its text", _with_text_bomb(whole), soft),
        ("text that is no JSON", _with_text(whole, b"{" * 5_000), soft),
        ("text without end", _with_text(whole, b"[" * 200_000), soft),
        ("strange profile", png(64, 64, 8, 0, bytes(65 * 64), chunk(b"iCCP", b"x\0\0" + b"\xff" * 99)), soft),
        ("foreign colours", _encoded(foreign), maps),
        ("foreign indices", _encoded(indices), maps),
        ("a photograph", _encoded(draws.integers(0, 256, (256, 256, 3), dtype=np.uint8), "JPEG"), maps),
        ("sixteen bits", _encoded(Image.fromarray(np.full((64, 64), 40_000, np.uint16))), maps),
        ("floats", _encoded(Image.fromarray(np.full((64, 64), 1e30, np.float32)), "TIFF"), soft),
        ("sixteen megapixels", _encoded(np.zeros((4_000, 4_000), np.uint8)), soft),
        ("very long", _encoded(np.full((1, 20_000), 255, np.uint8)), soft),
        ("one pixel", _encoded(np.zeros((1, 1), np.uint8)), soft),
    ]
    return [HostileFile(kind, "map.png", data, refused) for kind, data, refused in bodies]


def _with_text(whole: bytes, text: bytes) -> bytes:
    """The label map with another list of categories inserted before its own."""
    return whole[:33] + chunk(b"iTXt", b"linsem:categories\0\0\0\0\0" + text) + whole[33:]


def _with_text_bomb(whole: bytes) -> bytes:
    packed = zlib.compress(bytes(50_000_000), 9)
    return whole[:33] + chunk(b"zTXt", b"linsem:categories\0\0" + packed) + whole[33:]


# --- tensors ---------------------------------------------------------------------------------------------------------


def _split(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(header: object, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _changed(data: bytes, change: Callable[[dict], None], body: bytes | None = None) -> bytes:
    header, own = _split(data)
    change(header)
    return _joined(header, own if body is None else body)


def _tensors(good: Good, rng: random.Random) -> list[HostileFile]:
    found = []
    for what, whole in (("extractor", good.extractor), ("latents", good.latents)):
        header, body = _split(whole)
        first = next(key for key in header if key != "__metadata__")

        def shape(value: list[int], first: str = first) -> Callable[[dict], None]:
            return lambda head: head[first].update(shape=value)

        def said(key: str, value: object) -> Callable[[dict], None]:
            return lambda head: head["__metadata__"].update({key: value})

        bad = np.frombuffer(body, np.float32).copy()
        bad[rng.randrange(len(bad))] = rng.choice((np.nan, np.inf, -np.inf))
        bodies = {
            "cut off": whole[: rng.randint(9, len(whole) - 1)],
            "longer": whole + b"\0" * rng.randint(1, 64),
            "header of 2**63": struct.pack("<Q", 2**63) + whole[8:],
            "header of 2**64 - 1": b"\xff" * 8 + whole[8:],
            "header that is no JSON": _joined(b"{" * 200, body),
            "header without end": _joined(b'{"a":' * 50_000, body),
            "gigantic shape": _changed(whole, shape([2**31, 2**31])),
            "negative shape": _changed(whole, shape([-1, 4])),
            "no shape": _changed(whole, shape([])),
            "offsets outside": _changed(whole, lambda head, k=first: head[k].update(data_offsets=[0, 2**62])),
            "offsets crossed": _changed(whole, lambda head, k=first: head[k].update(data_offsets=[64, 0])),
            "unknown dtype": _changed(whole, lambda head, k=first: head[k].update(dtype="O")),
            "narrow dtype": _changed(whole, lambda head, k=first: head[k].update(dtype="I8")),
            "not finite": _joined(header, bad.tobytes()),
            "no metadata": _changed(whole, lambda head: head.pop("__metadata__")),
            "other format": _changed(whole, said("format", "something")),
            "other version": _changed(whole, said("version", "2")),
            "other generator": _changed(whole, said("generator", "somebody-elses\ud83d\ude00<img src=x>")),
            "header of 2 MB": _changed(whole, said("more", "x" * 2_000_000)),
            "name taken away": _changed(whole, lambda head, k=first: head.update({"x": head.pop(k)})),
        }
        if what == "extractor":
            bodies |= {
                "categories twice": _changed(whole, said("categories", '[{"name": "a"}, {"name": "a"}]')),
                "categories deep": _changed(whole, said("categories", "[" * 5_000)),
                "layers of 10**9": _changed(whole, said("layers", "[1000000000]")),
                "layers backwards": _changed(whole, said("layers", "[5, 4, 3]")),
                "size of 10**6": _changed(whole, said("size", "[1000000, 1000000]")),
                "temperature NaN": _changed(whole, said("temperature", "nan")),
                "kind unknown": _changed(whole, said("kind", "../../etc/passwd")),
            }
        if what == "latents":
            bodies |= {
                "seeds nested": _changed(whole, said("seeds", f"[{'[], ' * rng.randint(1, 200_000)}0]")),
                "a seed too many": _changed(whole, said("seeds", "[1, 2, 3]")),
            }
        refused = EVERY
        found += [HostileFile(f"{what}: {kind}", "x.safetensors", data, refused) for kind, data in bodies.items()]
    found.append(HostileFile("latents as something else", "x.safetensors", good.latents, NO_PICTURE))
    found.append(HostileFile("extractor as something else", "x.safetensors", good.extractor, NO_PICTURE))
    return found


# --- zips ------------------------------------------------------------------------------------------------------------


def zipped(entries: dict[str, bytes], compress: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _zips(good: Good, rng: random.Random) -> list[HostileFile]:
    with zipfile.ZipFile(io.BytesIO(good.project)) as archive:
        own = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(own["project.json"])

    def project(change: dict[str, object], **parts: bytes) -> bytes:
        return zipped({**own, "project.json": json.dumps({**head, **change}).encode(), **parts}, zipfile.ZIP_STORED)

    label = next(name for name in own if name.startswith("labels/"))
    slip = rng.choice(
        ("../../slipped.png", "/etc/slipped", "..\\slipped.png", "labels/../../slipped.png", "C:\\slipped")
    )
    bodies = {
        "bomb": zipped({**own, label: bytes(40_000_000)}),
        "bomb in bombs": zipped({"a.zip": zipped({"b.zip": zipped({"c": bytes(10_000_000)})})}),
        "many entries": zipped({f"labels/{i:04d}.png": b"" for i in range(3_000)}),
        "slip": zipped({**own, slip: b"slipped"}),
        "cut off": good.project[: rng.randint(1, len(good.project) - 1)],
        "no project": zipped({"hello.txt": b"hello"}),
        "map is a bomb": zipped({**own, label: png(40_000, 40_000, 8, 3)}, zipfile.ZIP_STORED),
        "map of two headers": zipped({**own, label: png(1, 1, 8, 3)[:33] + own[label][8:]}, zipfile.ZIP_STORED),
        "map is missing": zipped({name: data for name, data in own.items() if name != label}, zipfile.ZIP_STORED),
        "stranger in it": zipped({**own, "evil.py": b"import os"}, zipfile.ZIP_STORED),
        "deep JSON": zipped({**own, "project.json": b"[" * 100_000}, zipfile.ZIP_STORED),
        "psi NaN": zipped({**own, "project.json": json.dumps({**head, "psi": float("nan")}).encode()}, 0),
        "generator unknown": project({"generator": "../../etc/passwd"}),
        "categories gone": project({"categories": []}),
        "seed below 0": project({"images": [{**row, "seed": -1} for row in head["images"]]}),
        "more images than maps": project({"images": head["images"] * 5}),
        "images of no maps": project(
            {"images": [{"seed": 1, "psi": 0.7, "ws": False, "blank": [4000, 4000]}] * 256}
        ),
        "extractor is none": project({}, **{"extractor.safetensors": b"\xff" * 64}),
    }  # fmt: skip
    return [HostileFile(f"zip: {kind}", "p.linsem.zip", data, EVERY) for kind, data in bodies.items()]


# --- names -----------------------------------------------------------------------------------------------------------

NAMES = (
    "../../../../etc/passwd", "..\\..\\boot.ini", "a\0b.png", "x" * 300 + ".png", "<img src=x onerror=alert(1)>.png",
    "\u202egnp.exe", "\U0001f4a3.png", ".", "..", "...", " ", ".env", "CON", "$(reboot).png", "a/b/c.png", "%2e%2e%2f",
    '"; DROP TABLE.png', "line\nbreak.png", "ü\u0308.png",
)  # fmt: skip


def _misnamed(good: Good, rng: random.Random) -> list[HostileFile]:
    """Valid files under hostile names; the label map stays valid under any name."""
    name = rng.choice(NAMES)
    return [HostileFile(f"named {name[:20]!r}", name, good.label_map, frozenset({TENSORS, PROJECTS}))]
