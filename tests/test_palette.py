"""Label maps: exact round trips in all common formats, and errors that name values of no category."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from linsem import palette
from linsem.errors import InputError
from linsem.palette import Category, LabelMapError, parse_categories, read_label_map, write_label_map
from linsem.pixels import IGNORE

CATEGORIES = parse_categories(["background", "hair", "skin <b>", "mütze"])
COLORS = np.array([palette.rgb_of(category.color) for category in CATEGORIES], dtype=np.uint8)


def some_labels(height=13, width=7, unlabelled=True):
    labels = np.random.default_rng(5).integers(0, len(CATEGORIES), (height, width)).astype(np.uint8)
    if unlabelled:
        labels[2:4, 1:5] = IGNORE
    return labels


def encoded(array, format_="PNG", **options):
    buffer = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def test_what_is_written_is_read_again():
    labels = some_labels()
    data = write_label_map(labels, CATEGORIES)
    read = read_label_map(data, CATEGORIES)
    assert np.array_equal(read.labels, labels)
    assert read.labels.dtype == np.uint8
    assert read.report["mode"] == "names"
    assert (read.report["width"], read.report["height"]) == (7, 13)
    assert read.report["unlabelled"] == 8
    assert sum(read.report["counts"].values()) == labels.size - 8
    json.dumps(read.report)


def test_the_file_is_indexed_with_the_palette_and_transparent_where_unlabelled():
    labels = some_labels()
    image = Image.open(io.BytesIO(write_label_map(labels, CATEGORIES)))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), labels)
    rgba = np.asarray(image.convert("RGBA"))
    assert np.array_equal(rgba[..., 3] == 0, labels == IGNORE)
    assert np.array_equal(rgba[labels != IGNORE][:, :3], COLORS[labels[labels != IGNORE]])
    assert json.loads(image.text[palette.TEXT_KEY])[3]["name"] == "mütze"


def test_names_decide_when_the_order_of_the_categories_has_changed():
    labels = some_labels()
    reordered = CATEGORIES[::-1]
    read = read_label_map(write_label_map(labels, CATEGORIES), reordered).labels
    assert np.array_equal(read, np.where(labels == IGNORE, IGNORE, 3 - labels.astype(int)))
    assert not np.array_equal(read, labels)


def test_a_category_of_the_file_that_is_not_there_is_named():
    others = parse_categories(["background", "wheel", "skin <b>", "mütze"])
    with pytest.raises(LabelMapError, match=r"'hair' \(\d+ pixels\).*wheel"):
        read_label_map(write_label_map(some_labels(), CATEGORIES), others)


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "WEBP"])
def test_colour_coded(format_):
    labels = some_labels(unlabelled=False)
    options = {"lossless": True} if format_ == "WEBP" else {}
    read = read_label_map(encoded(COLORS[labels], format_, **options), CATEGORIES)
    assert np.array_equal(read.labels, labels)
    assert read.report["mode"] == "colours"
    assert read.report["snapped"] == 0
    assert read.report["format"] == format_


def test_a_quantised_gif_is_read_by_its_colours_and_not_by_its_indices():
    labels = some_labels(unlabelled=False)
    image = Image.fromarray(COLORS[labels]).quantize(8)
    assert not np.array_equal(np.asarray(image), labels)  # its own order of indices
    read = read_label_map(encoded(image, "GIF"), CATEGORIES)
    assert np.array_equal(read.labels, labels)


def test_transparent_pixels_are_unlabelled():
    labels = some_labels()
    rgba = np.dstack([COLORS[np.where(labels == IGNORE, 0, labels)], np.where(labels == IGNORE, 0, 255)])
    assert np.array_equal(read_label_map(encoded(rgba.astype(np.uint8)), CATEGORIES).labels, labels)


def test_the_unlabelled_colour_is_unlabelled():
    labels = some_labels()
    assert np.array_equal(read_label_map(encoded(palette.colorize(labels, CATEGORIES)), CATEGORIES).labels, labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grayscale_indices(dtype):
    labels = some_labels()
    read = read_label_map(encoded(labels.astype(dtype)), CATEGORIES)
    assert np.array_equal(read.labels, labels)
    assert read.report["mode"] == "grayscale"


def test_grayscale_indices_saved_as_rgb():
    labels = some_labels()
    assert np.array_equal(read_label_map(encoded(np.dstack([labels] * 3)), CATEGORIES).labels, labels)


def test_indices_under_a_foreign_palette():
    labels = some_labels(unlabelled=False)
    image = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])  # as the VOC benchmark has it
    read = read_label_map(encoded(image), CATEGORIES)
    assert np.array_equal(read.labels, labels)
    assert read.report["mode"] == "indexed"


def test_gray_colours_of_categories_are_colours_also_in_a_gray_file():
    """What a PNG optimiser makes of a black and white picture means what the picture meant."""
    two = parse_categories([{"name": "off", "color": "#000000"}, {"name": "on", "color": "#ffffff"}])
    values = np.zeros((8, 8), np.uint8)
    values[:, 4:] = 255
    for image in (Image.fromarray(values), Image.fromarray(values).convert("RGB")):
        read = read_label_map(encoded(image), two)
        assert np.array_equal(read.labels, values // 255) and read.report["mode"] == "colours"
    assert np.array_equal(read_label_map(encoded(values), CATEGORIES).labels, values)  # 255: unlabelled


@pytest.mark.parametrize("quality", [75, 95])
def test_indices_in_a_lossy_file_are_refused(quality):
    labels = np.random.default_rng(0).integers(0, len(CATEGORIES), (8, 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    for format_, mode in (("JPEG", "L"), ("WEBP", "RGB")):
        buffer = io.BytesIO()
        Image.fromarray(labels).convert(mode).save(buffer, format_, quality=quality)
        with pytest.raises(LabelMapError, match=f"{format_} keeps numbers and colours only nearly: save it as PNG"):
            read_label_map(buffer.getvalue(), CATEGORIES)
    buffer = io.BytesIO()
    Image.fromarray(labels).convert("RGB").save(buffer, "WEBP", lossless=True)
    assert np.array_equal(read_label_map(buffer.getvalue(), CATEGORIES).labels, labels)


def test_a_bilevel_mask_is_categories_0_and_1():
    labels = (some_labels(unlabelled=False) % 2).astype(np.uint8)
    assert np.array_equal(
        read_label_map(encoded(Image.fromarray(labels * 255).convert("1")), CATEGORIES).labels, labels
    )


def test_colours_that_are_slightly_off_are_taken_and_reported():
    labels = some_labels(unlabelled=False)
    rgb = COLORS[labels].astype(int)
    rgb[0, 0] += np.where(rgb[0, 0] > 128, -palette.SNAP, palette.SNAP)
    read = read_label_map(encoded(rgb.astype(np.uint8)), CATEGORIES)
    assert np.array_equal(read.labels, labels)
    assert read.report["snapped"] == 1
    assert "near a category's" in read.report["notes"][0]


def test_a_colour_that_is_further_off_is_an_error_that_names_it():
    rgb = COLORS[some_labels(unlabelled=False)].copy()
    rgb[0, 0] = COLORS[0] + np.uint8(palette.SNAP + 1)
    rgb[1:3, 0] = (255, 0, 255)
    with pytest.raises(LabelMapError, match=r"3 pixels have a colour .*: #ff00ff \(2 pixels\), #\w{6} \(1 pixels\)"):
        read_label_map(encoded(rgb), CATEGORIES)


def test_an_unknown_index_is_an_error_that_names_it():
    labels = some_labels()
    labels[0, :3] = 9
    with pytest.raises(LabelMapError, match=r"3 pixels have an index .*: 9 \(3 pixels\); expected 0\.\.3 or 255"):
        read_label_map(encoded(labels), CATEGORIES)


def gray_maps(labels):
    """A map of indices in each of the ways that files have for gray."""
    under_gray = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    under_gray.putpalette([value for k in range(256) for value in (k, k, k)])
    return [
        encoded(labels), encoded(labels.astype(np.uint16)), encoded(labels.astype(np.int32), "TIFF"),
        encoded(np.repeat(labels[..., None], 3, -1)), encoded(under_gray),
    ]  # fmt: skip


def test_an_unknown_index_is_an_error_though_all_are_near_to_black():
    """All of 0..12 are nearly the colour of a black category, which the whole map would be, for one bad pixel."""
    voc = parse_categories(
        [{"name": n, "color": c} for n, c in (("off", "#000000"), ("a", "#800000"), ("b", "#008000"))]
    )
    labels = np.random.default_rng(0).integers(0, 3, (40, 40)).astype(np.uint8)
    for file in gray_maps(labels):
        assert np.array_equal(read_label_map(file, voc).labels, labels)
    labels[0, 0] = 3
    for file in gray_maps(labels):
        with pytest.raises(LabelMapError, match=r"3 \(1 pixels\)|#030303 \(1 pixels\)"):
            read_label_map(file, voc)
    with pytest.raises(LabelMapError, match=r"-1 \(1 pixels\)"):
        read_label_map(encoded(np.where(labels == 3, np.int32(-1), labels), "TIFF"), voc)
    with pytest.raises(LabelMapError, match="JPEG keeps numbers and colours only nearly"):
        read_label_map(encoded(labels, "JPEG"), voc)


def test_black_and_white_are_colours_though_a_file_keeps_them_only_nearly():
    two = parse_categories([{"name": "off", "color": "#000000"}, {"name": "on", "color": "#ffffff"}])
    values = np.kron(np.random.default_rng(0).integers(0, 2, (4, 4)), np.full((16, 16), 255)).astype(np.uint8)
    read = read_label_map(encoded(values, "JPEG", quality=95), two)
    assert np.array_equal(read.labels, values // 255) and read.report["mode"] == "colours"


def test_gray_of_16_bits_is_a_colour_if_it_is_one_of_8():
    two = parse_categories([{"name": "off", "color": "#000000"}, {"name": "on", "color": "#ffffff"}])
    deep = np.zeros((8, 8), np.uint16)
    deep[:, 4:] = 65535
    assert np.array_equal(read_label_map(encoded(deep), two).labels, deep // 65535)
    deep[0, 0] = 300
    with pytest.raises(LabelMapError, match=r"300 \(1 pixels\)"):  # and not white, being more than 255
        read_label_map(encoded(deep), two)


def test_a_photograph_is_an_error():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    with pytest.raises(LabelMapError, match="looks like a photo, not a label map: its colours match no category"):
        read_label_map(encoded(noise, "JPEG"), CATEGORIES)
    few = np.repeat(np.arange(9, dtype=np.uint8)[:, None, None] * 20 + (0, 77, 200), 5, 1)  # a map of other colours
    with pytest.raises(LabelMapError, match=r"45 pixels have a colour that belongs to no category: .* and 6 more"):
        read_label_map(encoded(few.astype(np.uint8)), CATEGORIES)


def test_resized_by_the_nearest_pixel_so_that_no_new_label_appears():
    labels = np.kron(np.array([[0, 3], [IGNORE, 1]], dtype=np.uint8), np.ones((9, 5), dtype=np.uint8))
    read = read_label_map(write_label_map(labels, CATEGORIES), CATEGORIES, size=(6, 4))
    expected = np.kron(np.array([[0, 3], [IGNORE, 1]]), np.ones((3, 2)))
    assert np.array_equal(read.labels, expected)
    assert read.report["resized"]
    assert read.report["unlabelled"] == 6


def test_what_is_lost_in_resizing_is_said():
    labels = np.zeros((64, 64), dtype=np.uint8)
    labels[0, 0] = 1
    report = read_label_map(write_label_map(labels, CATEGORIES), CATEGORIES, size=(8, 8)).report
    assert any("lost in resizing" in note and "hair" in note for note in report["notes"])


def test_one_category_is_fine_and_said():
    report = read_label_map(encoded(np.full((5, 5), 2, dtype=np.uint8)), CATEGORIES).report
    assert report["counts"] == {"skin <b>": 25}
    assert "only one category" in report["notes"][0]


def test_from_a_path(tmp_path):
    path = tmp_path / "mask.png"
    path.write_bytes(write_label_map(some_labels(), CATEGORIES))
    assert np.array_equal(read_label_map(path, CATEGORIES).labels, some_labels())
    assert np.array_equal(read_label_map(str(path), CATEGORIES).labels, some_labels())


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_that_claims(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "data",
    [
        b"", b"not a picture", b"\x89PNG\r\n\x1a\n", png_that_claims(16, 16), png_that_claims(10000, 2000),
        png_that_claims(10000, 10000), png_that_claims(60000, 60000), png_that_claims(0, 5),
        write_label_map(some_labels(), CATEGORIES)[:-40], b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>",
        b"GIF89a\x05\x00\x05\x00", b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"MM\x00*\x00\x00\x00\x08", b"BM" + b"\xff" * 60,
        "no/such/file.png", "/", "nul\0nul",
    ],
)  # fmt: skip
def test_a_bad_file_is_an_error_with_a_sentence(data):
    with pytest.raises(LabelMapError, match="label map: "):
        read_label_map(data, CATEGORIES)


def test_damaged_files_never_raise_anything_else():
    rng = np.random.default_rng(1)
    whole = [
        write_label_map(some_labels(), CATEGORIES),
        *(encoded(COLORS[some_labels(unlabelled=False)], f) for f in ("GIF", "TIFF", "WEBP", "BMP", "JPEG")),
    ]
    read = refused = 0
    for data in whole:
        for _ in range(60):
            damaged = np.frombuffer(data, dtype=np.uint8).copy()
            damaged[rng.integers(0, len(damaged), 3)] = rng.integers(0, 256, 3)
            try:
                read += read_label_map(damaged.tobytes(), CATEGORIES).labels.dtype == np.uint8
            except LabelMapError:
                refused += 1
    assert read and refused
    assert read + refused == 360


@pytest.mark.parametrize("text", ["{", "[]", '[{"name": 3}]', "[" * 5000, '[{"name": "other"}]'])
def test_a_text_chunk_that_does_not_fit_is_passed_over(text):
    labels = some_labels(unlabelled=False)
    image = Image.fromarray(COLORS[labels]).quantize(8)
    info = PngImagePlugin.PngInfo()
    info.add_itxt(palette.TEXT_KEY, text)
    read = read_label_map(encoded(image, pnginfo=info), CATEGORIES)
    assert np.array_equal(read.labels, labels)
    assert read.report["mode"] == "colours"


def test_categories_are_read_from_json_and_filled_in():
    parsed = parse_categories('[{"name": " sky "}, {"name": "sea", "color": "#3D5A80"}]')
    assert [category.name for category in parsed] == ["sky", "sea"]
    assert parsed[1].color == "#3d5a80"
    assert parsed[0].color not in ("#3d5a80", None)
    # words of Persian, and emoji, hold joiners
    joined = [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f469\u200d\U0001f9b0",
    ]
    assert [category.name for category in parse_categories(joined)] == joined
    assert parse_categories(parsed) == parsed
    assert parse_categories("  ", CATEGORIES) == CATEGORIES
    assert parse_categories(None, CATEGORIES) == CATEGORIES


def test_as_many_categories_as_there_may_be_have_colours_of_their_own():
    parsed = parse_categories([f"c{index}" for index in range(palette.MAX_CATEGORIES)])
    assert len({category.color for category in parsed}) == palette.MAX_CATEGORIES
    labels = np.arange(254, dtype=np.uint8).reshape(2, 127)
    assert np.array_equal(read_label_map(encoded(palette.colorize(labels, parsed)), parsed).labels, labels)


def test_default_colours_cannot_be_mistaken_for_each_other():
    rgb = np.array([palette.rgb_of(color) for color in palette.DEFAULT_COLORS]).astype(int)
    apart = np.abs(rgb[:, None] - rgb[None]).max(-1)
    assert len(rgb) >= 20
    assert apart[~np.eye(len(rgb), dtype=bool)].min() > 2 * palette.SNAP


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ('{"name": "a"}', "expected a list"),
        ("[]", "expected 1 to 254"),
        ([str(index) for index in range(255)], "expected 1 to 254, got 255"),
        (["a", "a "], "names must be unique"),
        (["a", ""], "1 to 64 characters"),
        (["a" * 65], "1 to 64 characters"),
        (["a\nb"], "control characters"),
        ([{"name": "a", "color": "red"}], '"#rrggbb"'),
        ([{"name": "a", "color": "#12345g"}], '"#rrggbb"'),
        ([{"name": "a", "color": "#123456"}, {"name": "b", "color": "#123456"}], "colours must be unique"),
        ([{"name": "a", "color": palette.UNLABELLED_COLOR}], "other than"),
        ([3], "as number 0"),
        (7, "expected a list"),
    ],
)
def test_bad_categories(data, says):
    with pytest.raises(ValueError, match=says):
        parse_categories(data)


def test_categories_that_a_caller_made_are_checked_too():
    rgb, labels = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)
    with pytest.raises(InputError, match="#rrggbb"):
        palette.overlay(rgb, labels, [Category("a", "red")])
    with pytest.raises(InputError, match="1 to 254"):
        write_label_map(labels, [Category(str(i), f"#{i:06x}") for i in range(300)])


def test_colorize_and_overlay():
    labels = np.array([[0, 1], [IGNORE, 3]], dtype=np.uint8)
    rgb = np.full((2, 2, 3), 100, dtype=np.uint8)
    assert np.array_equal(palette.colorize(labels, CATEGORIES)[0, 1], COLORS[1])
    over = palette.overlay(rgb, labels, CATEGORIES, opacity=1.0)
    assert np.array_equal(over[1, 1], COLORS[3])
    assert np.array_equal(over[1, 0], rgb[1, 0])  # unlabelled: no colour over the gray
    assert np.array_equal(palette.overlay(rgb, labels, CATEGORIES, opacity=0.0), rgb)
    half = palette.overlay(rgb, labels, CATEGORIES, opacity=0.5)
    assert np.abs(half[0, 0] - (COLORS[0] / 2 + 50)).max() <= 0.5


def test_a_hue_of_an_overlay_is_the_categorys_whatever_the_image_is():
    """A pink jumper and a green one of the same brightness look alike under one label, and unlabelled ones are gray."""
    rgb = np.array([[[255, 20, 147], [0, 109, 20]]], dtype=np.uint8)
    assert np.abs(np.diff(palette.gray(rgb)[0, :, 0].astype(int))) <= 2
    labels = np.ones((1, 2), dtype=np.uint8)
    over = palette.overlay(rgb, labels, CATEGORIES).astype(int)
    assert np.abs(over[0, 0] - over[0, 1]).max() <= 2
    none = palette.overlay(rgb, np.full((1, 2), IGNORE, np.uint8), CATEGORIES)
    assert np.array_equal(none, palette.gray(rgb)) and (np.ptp(none, axis=-1) == 0).all()


def test_labels_that_are_no_category_are_refused_on_the_way_out():
    with pytest.raises(ValueError, match=r"got 4 in 1 pixels"):
        write_label_map(np.array([[0, 4]]), CATEGORIES)
    with pytest.raises(ValueError, match="whole numbers"):
        palette.colorize(np.zeros((2, 2)), CATEGORIES)
    with pytest.raises(ValueError, match="expected labels"):
        palette.overlay(np.zeros((2, 2, 3), dtype=np.uint8), np.zeros((3, 2), dtype=np.uint8), CATEGORIES)


def test_heat_grows_brighter():
    rgb = palette.heat(np.linspace(0, 1, 50)[None])
    assert rgb.dtype == np.uint8
    assert (np.diff(rgb[0].astype(int) @ [299, 587, 114]) > 0).all()
    assert np.array_equal(palette.heat(np.array([[np.nan, 2.0]]))[0, 1], rgb[0, -1])


def test_a_category_is_a_value():
    assert Category("a", "#000001") == Category("a", "#000001")


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_indices_of_which_only_half_the_bits_are_read_are_refused(kind, channels):
    """A PNG of 16 bits a channel that is more than gray, whose low bytes Pillow drops; its colours are still read."""

    def png(values):
        deep = np.repeat(values[..., None].astype(">u2"), channels, axis=-1) if values.ndim == 2 else values
        if channels in (2, 4):
            deep[..., -1] = 65535
        rows = b"".join(b"\0" + row.tobytes() for row in deep)
        header = struct.pack(">IIBBBBB", deep.shape[1], len(deep), 16, kind, 0, 0, 0)
        parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        chunks = [struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in parts]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

    with pytest.raises(LabelMapError, match="16 bits a channel"):
        read_label_map(png(np.array([[0, 1], [2, 1]])), CATEGORIES)
    if channels > 2:
        color = np.array([257 * c for c in palette.rgb_of(CATEGORIES[1].color)] + [65535] * (channels - 3), ">u2")
        assert (read_label_map(png(np.tile(color, (2, 2, 1))), CATEGORIES).labels == 1).all()


def test_a_mask_whose_colours_were_shifted_is_told_why():
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (8, 8)), np.ones((16, 16), int)).astype(np.uint8)
    picture = Image.fromarray(palette.colorize(labels, CATEGORIES))
    for options, says in (
        ({"format_": "JPEG", "quality": 60}, "JPEG keeps colours only nearly, so save it as PNG; "),
        ({"format_": "PNG"}, "its edges look smoothed, so save it without smoothing; "),
    ):
        smoothed = picture.resize((200, 200), Image.Resampling.BICUBIC)
        with pytest.raises(LabelMapError, match=f"^label map: {says}[0-9]+ pixels have a colour that belongs to no"):
            read_label_map(encoded(smoothed, **options), CATEGORIES)
    one = palette.colorize(labels, CATEGORIES)
    one[:4, :4] = (1, 2, 3)
    with pytest.raises(LabelMapError, match=r"^label map: 16 pixels have a colour"):  # drawn, not smoothed
        read_label_map(encoded(one), CATEGORIES)
