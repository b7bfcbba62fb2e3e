"""Extractors: LSE equals upsample, concatenate, 1x1; files store it exactly; damaged ones are refused."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from linsem import pixels, readout
from linsem.errors import InputError
from linsem.extractor import Extractor, ExtractorError, check_fits, load_extractor, save_extractor, uncertainty_of
from linsem.headers import MAX_HEADER
from linsem.palette import Category
from linsem.readout import FORWARD, KINDS, initial_weights, weight_shapes
from tests.test_checkpoints_limits import within
from tests.toys import ToyGenerator

CATEGORIES = (Category("sky", "#0000ff"), Category("tree", "#00ff00"), Category("road", "#ff0000"))
CHANNELS, SIZES = (6, 5, 5, 4), ((4, 4), (8, 8), (8, 8), (16, 16))


def features_of(seed, count=2):
    source = torch.Generator().manual_seed(seed)
    return [torch.randn(count, c, *size, generator=source) for c, size in zip(CHANNELS, SIZES, strict=True)]


def weights_of(kind, seed=1, channels=CHANNELS):
    source = torch.Generator().manual_seed(seed)
    shapes = weight_shapes(kind, channels, len(CATEGORIES))
    return {name: torch.randn(shape, generator=source) for name, shape in shapes.items()}


def extractor_of(kind, layers=(0, 1, 2, 3)):
    channels = [CHANNELS[i] for i in layers]
    weights = weights_of(kind, channels=channels)
    return Extractor(kind, CATEGORIES, layers, "toy", (16, 16), weights, 1.7, {"ridge": "3"})


def upsample_concatenate_1x1(weights, features, size):
    """Eq. 2 of the paper, literally."""
    up = [F.interpolate(x, size=size, mode="bilinear", align_corners=True) for x in features]
    matrix = torch.cat([weights[f"layer{i}.weight"] for i in range(len(features))], dim=1)
    return F.conv2d(torch.cat(up, dim=1), matrix[:, :, None, None], weights["bias"])


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (24, 20)])
def test_an_lse_equals_upsample_concatenate_1x1(size):
    weights, features = weights_of("LSE"), features_of(0)
    expected = upsample_concatenate_1x1(weights, features, size)
    got = FORWARD["LSE"](weights, features, size)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_the_identity_is_one_of_linear_upsampling_with_the_same_corners():
    weights, features = weights_of("LSE"), features_of(0)
    up = [F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False) for x in features]
    matrix = torch.cat([weights[f"layer{i}.weight"] for i in range(4)], dim=1)
    other = F.conv2d(torch.cat(up, dim=1), matrix[:, :, None, None], weights["bias"])
    assert (FORWARD["LSE"](weights, features, (32, 32)) - other).abs().max() > 0.1


def test_an_lse_upsamples_one_map_of_classes_a_size_and_never_the_features(monkeypatch):
    shapes, plain = [], readout._together
    monkeypatch.setattr(
        readout, "_together", lambda maps, size: shapes.extend(tuple(x.shape) for x in maps) or plain(maps, size)
    )
    FORWARD["LSE"](weights_of("LSE"), features_of(0), (32, 32))
    assert shapes == [(2, 3, 4, 4), (2, 3, 8, 8), (2, 3, 16, 16)]  # four layers, of three sizes


@pytest.mark.parametrize("size", [(70, 70), (40, 130), (16, 16)])
def test_maps_that_are_upsampled_together_are_the_sum_of_each_alone(size):
    """Small maps by matrices, large ones one by one; the same values either way, and the same gradient."""
    random = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, 3, n, n, generator=random).requires_grad_() for n in (4, 16, 65)]
    wished = torch.randn(2, 3, *size, generator=random)
    one, other = readout._fuse(maps, size), sum(pixels.resize_logits(x, size) for x in maps)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for a, b in zip(*(torch.autograd.grad((y * wished).sum(), maps) for y in (one, other)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_what_was_first_asked_for_without_gradients_serves_with_them():
    readout._upsampling.cache_clear()
    with torch.inference_mode():
        FORWARD["LSE"](weights_of("LSE"), features_of(0), (32, 32))
    features = [x.requires_grad_() for x in features_of(0)]
    FORWARD["LSE"](weights_of("LSE"), features, (32, 32)).sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in features)


@pytest.mark.parametrize("trained", [False, True])
def test_the_order_in_memory_changes_neither_logits_nor_gradients(trained):
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        weights = {name: w.clone().requires_grad_(trained) for name, w in weights_of("LSE").items()}
        features = [x.contiguous(memory_format=order).requires_grad_() for x in features_of(0)]
        logits = FORWARD["LSE"](weights, features, (32, 32))
        logits.square().sum().backward()
        found.append([logits, *(x.grad for x in features), *(w.grad for w in weights.values() if trained)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)


def test_a_nonlinear_kind_does_not_commute_with_upsampling():
    weights, features = weights_of("NSE-1"), features_of(0)
    up = [F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=True) for x in features]
    first, after = FORWARD["NSE-1"](weights, features, (32, 32)), FORWARD["NSE-1"](weights, up, (32, 32))
    assert (first - after).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_logits_and_labels_of_the_asked_size(kind):
    extractor, features = extractor_of(kind), features_of(0)
    assert extractor.logits(features).shape == (2, 3, 16, 16)
    labels = extractor.predict(features, (20, 28))
    assert labels.shape == (2, 20, 28) and labels.dtype == np.uint8 and set(np.unique(labels)) <= {0, 1, 2}
    unsure = extractor.uncertainty(features)
    assert unsure.shape == (2, 16, 16) and unsure.min() >= 0 and unsure.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_chosen_layers_are_read_and_nothing_beyond_the_last(kind):
    extractor, features = extractor_of(kind, (1, 2)), features_of(0)
    assert extractor.last_layer == 2
    expected = extractor.logits(features)
    changed = [features[0] + 1, features[1], features[2], features[3] + 1]
    assert torch.equal(extractor.logits(changed), expected)
    assert torch.equal(extractor.logits(features[:3]), expected)
    assert not torch.equal(extractor.logits([features[0], features[1] + 1, *features[2:]]), expected)
    with pytest.raises(ExtractorError, match="expected at least 3 layers, got 2"):
        extractor.logits(features[:2])


def test_the_logits_of_a_pixel_s_own_scale_do_not_change_a_centroid_s_label():
    """A cone at the origin: a classifier without bias reads directions (paper §3.1)."""
    extractor, features = extractor_of("centroid"), features_of(0)
    weights = dict(extractor.weights) | {"bias": torch.zeros(3)}
    extractor = replace(extractor, weights=weights)
    assert np.array_equal(extractor.predict([3 * x for x in features]), extractor.predict(features))
    shifted = replace(extractor, weights=weights | {"bias": torch.tensor([5.0, 0.0, 0.0])})
    assert not np.array_equal(shifted.predict([3 * x for x in features]), shifted.predict(features))


def test_gradients_reach_the_features_through_every_kind():
    for kind in KINDS:
        features = [x.requires_grad_() for x in features_of(0)]
        extractor_of(kind).logits(features).square().sum().backward()
        assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in features)


def test_uncertainty_is_one_at_a_tie_and_falls_with_the_margin_and_with_the_temperature():
    logits = torch.tensor([[0.0, 0.0, -9.0], [1.0, 0.0, -9.0], [9.0, 0.0, -9.0]]).t()[None, :, None]  # (1, 3, 1, 3)
    sure = uncertainty_of(logits)[0, 0]
    assert sure[0] == pytest.approx(1) and sure[0] > sure[1] > sure[2] and sure[2] < 0.01
    assert uncertainty_of(logits, 4.0)[0, 0, 1] > sure[1]


def test_the_temperature_never_changes_a_label():
    extractor, features = extractor_of("LSE"), features_of(0)
    assert np.array_equal(replace(extractor, temperature=9.0).predict(features), extractor.predict(features))
    probabilities = extractor.probabilities(features)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 16, 16))
    assert not torch.allclose(replace(extractor, temperature=9.0).probabilities(features), probabilities)


@pytest.mark.parametrize("kind", ["NSE-1", "NSE-2"])
def test_fresh_nonlinear_weights_follow_from_the_seed(kind):
    one, same, other = (initial_weights(kind, CHANNELS, 3, seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_keeps_everything(kind, tmp_path):
    extractor = extractor_of(kind, (0, 2, 3))
    save_extractor(extractor, tmp_path / "one.safetensors")
    back = load_extractor(tmp_path / "one.safetensors")
    assert vars(back) | {"weights": 0} == vars(extractor) | {"weights": 0}
    assert back.weights.keys() == extractor.weights.keys()
    assert all(torch.equal(back.weights[name], w) for name, w in extractor.weights.items())
    assert torch.equal(back.logits(features_of(3)), extractor.logits(features_of(3)))


def write(tmp_path, weights=None, **changes):
    """Write a valid file with changes (None: the key is omitted)."""
    from safetensors import safe_open

    save_extractor(extractor_of("LSE"), tmp_path / "good.safetensors")
    with safe_open(str(tmp_path / "good.safetensors"), "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    metadata = {k: v for k, v in (metadata | changes).items() if v is not None}
    tensors = {k: v for k, v in (tensors | (weights or {})).items() if v is not None}
    save_file(tensors, tmp_path / "bad.safetensors", metadata)
    return tmp_path / "bad.safetensors"


def test_the_unchanged_copy_is_read(tmp_path):
    assert load_extractor(write(tmp_path)).layers == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "other"}, "not an extractor"),
        ({"version": "99"}, "version '99'"),
        ({"kind": "SVM"}, "expected one of LSE"),
        ({"categories": "[1"}, "damaged"),
        ({"categories": '[{"name": "sky"}, {"name": "sky"}]'}, "damaged"),
        ({"categories": '[{"name": "sky"}, {"name": "tree"}]'}, "expected shape"),
        ({"layers": "[3, 1]"}, "rising order"),
        ({"layers": "[0, 1, 2]"}, "expected shape None"),
        ({"layers": "[0, 1, 2, 3, 4]"}, "weight is missing"),
        ({"layers": "[" * 5000}, "damaged"),
        ({"size": "[0, 16]"}, "out of range"),
        ({"size": "[1e99, 16]"}, "out of range"),
        ({"temperature": "nan"}, "out of range"),
        ({"temperature": None}, "damaged"),
        ({"notes": "[]"}, "damaged"),
        ({"layers": "[1e999]"}, "damaged"),
        ({"size": "[Infinity, 16]"}, "damaged"),
        ({"least": "[1" + "0" * 400 + "]"}, "damaged"),
    ],
)
def test_damaged_descriptions_are_refused_in_words(tmp_path, changes, says):
    with pytest.raises(ExtractorError, match=r"bad\.safetensors") as error:
        load_extractor(write(tmp_path, **changes))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"layer1.weight": torch.zeros(3)}, "wrong shape"),
        ({"layer1.weight": torch.zeros(2, 5)}, "expected shape"),
        ({"layer1.weight": torch.full((3, 5), torch.nan)}, "not finite"),
        ({"more": torch.zeros(2)}, "'more'"),
        ({"bias": None}, "'bias'"),
        ({"bias": torch.zeros(3, dtype=torch.int64)}, "expected floats"),
        ({"bias": torch.zeros(3, dtype=torch.float8_e4m3fn)}, "expected floats"),
    ],
)
def test_damaged_weights_are_refused_in_words(tmp_path, weights, says):
    with pytest.raises(ExtractorError, match=r"bad\.safetensors") as error:
        load_extractor(write(tmp_path, weights=weights))
    assert says in str(error.value)


def padded(path, length):
    """The file with blanks at the end of its header, which is so long then."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(struct.pack("<Q", length) + data[8:end].ljust(length) + data[end:])
    return path


def test_a_header_beyond_any_need_is_not_parsed(tmp_path):
    nested = "[" + "[]," * 400_000 + "0]"
    with within(16 << 20), pytest.raises(ExtractorError, match=r"bad\.safetensors: its header: expected at most"):
        load_extractor(write(tmp_path, layers=nested))
    assert load_extractor(padded(write(tmp_path), MAX_HEADER)).layers == (0, 1, 2, 3)
    with pytest.raises(ExtractorError, match=f"expected at most {MAX_HEADER} bytes, got {MAX_HEADER + 1}"):
        load_extractor(padded(write(tmp_path), MAX_HEADER + 1))


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    most = replace(extractor_of("LSE"), notes={"log": "x" * (MAX_HEADER - 4096)})
    save_extractor(most, tmp_path / "one.safetensors")
    assert load_extractor(tmp_path / "one.safetensors").notes == most.notes
    with pytest.raises(ExtractorError, match="the header of the file: expected at most"):
        save_extractor(replace(most, notes={"log": "x" * MAX_HEADER}), tmp_path / "two.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]


LONG = "x" * (MAX_HEADER // 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": LONG}, {"version": LONG}, {"kind": LONG}, {"generator": LONG}, {"temperature": LONG},
        {"layers": f"[1, {'1, ' * 99_999}1]"}, {"layers": f'["{LONG}"]'}, {"layers": f"[{'9' * 4000}]"},
        {"least": f"[{'1, ' * 99_999}1]"}, {"size": f'["{LONG}", 16]'}, {"categories": f'["{LONG}"]'},
        {"weights": {LONG: torch.zeros(1)}}, {"weights": {LONG: torch.zeros(1, dtype=torch.int64)}},
        {"weights": {"bias": torch.zeros([1] * 99_999)}},
    ],
)  # fmt: skip
def test_no_message_is_as_long_as_what_it_is_about(tmp_path, changes):
    with pytest.raises(InputError) as error:
        load_extractor(write(tmp_path, **changes), ToyGenerator(id="toy"))
    assert len(str(error.value)) < 5000  # a layer's number has up to 4300 digits


def test_nor_is_what_another_library_says(tmp_path):
    head = json.dumps({"a": {"dtype": LONG, "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "bad.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(4))
    with pytest.raises(ExtractorError, match=r"unknown variant `x+\.\.\.") as error:
        load_extractor(tmp_path / "bad.safetensors")
    assert len(str(error.value)) < 500


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ExtractorError, match="not a safetensors file"):
        load_extractor(tmp_path / "x.safetensors")
    for name in (tmp_path / "nothing", "x" * 300, "nothing\0"):
        with pytest.raises(ExtractorError, match="neither a file"):
            load_extractor(name)


def test_labels_of_another_size_than_the_image_are_refused_before_they_are_made():
    """A file of a kilobyte may ask for 8192 x 8192: it is the generator that says how large an image is."""
    toy = ToyGenerator()
    extractor = toy.known_extractor()
    check_fits(extractor, toy)
    with pytest.raises(ExtractorError, match="labels of 8192 x 8192, 'toy"):
        check_fits(replace(extractor, size=(8192, 8192)), toy)
