"""Files of latents from elsewhere: seeds are numbers, one for each latent, and a header has an end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from linsem.headers import MAX_HEADER
from linsem.latents import FORMAT, VERSION, LatentsError, load_latent, load_latents, save_latents
from tests.test_checkpoints_limits import within

WS = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)


def write(tmp_path, **changes):
    """A valid file with changes of what it says."""
    metadata = {"format": FORMAT, "version": VERSION, "generator": "mine", "seeds": "[7, 9, 11]"} | changes
    save_file({"ws": WS}, str(tmp_path / "x.safetensors"), metadata)
    return tmp_path / "x.safetensors"


@pytest.mark.parametrize(
    "seeds",
    [
        "[7, 9]", "[7, 9, 11, 13]", "[7, 9, 11.0]", "[true, 9, 11]", '["7", 9, 11]', "[[7], 9, 11]", "7", "{}", "[7",
        "[" * 5000, "",
    ],
)  # fmt: skip
def test_seeds_are_whole_numbers_one_for_each_latent(tmp_path, seeds):
    with pytest.raises(LatentsError, match="expected no seeds or 3 whole numbers, got ") as error:
        load_latents(write(tmp_path, seeds=seeds), "mine")
    assert len(str(error.value)) < 500
    for good in ("[7, 9, 11]", "[]"):
        assert np.array_equal(load_latents(write(tmp_path, seeds=good), "mine"), WS)
    assert np.array_equal(load_latent(write(tmp_path), "mine", 11), WS[2])


def test_as_many_seeds_are_written_as_are_read(tmp_path):
    save_latents(tmp_path / "x.safetensors", WS, "mine", [2**32 - 1, 0, 1])
    assert np.array_equal(load_latent(tmp_path / "x.safetensors", "mine", 0), WS[1])
    with pytest.raises(LatentsError, match="expected no seeds or 3, got 2"):
        save_latents(tmp_path / "y.safetensors", WS, "mine", [1, 2])
    with pytest.raises(LatentsError, match="the header of the file: expected at most"):
        save_latents(tmp_path / "y.safetensors", WS, "x" * MAX_HEADER)
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_header_beyond_any_need_is_not_parsed(tmp_path):
    nested = "[" + "[]," * 400_000 + "0]"
    with within(16 << 20), pytest.raises(LatentsError, match=r"the header of the file: expected at most \d+ bytes"):
        load_latents(write(tmp_path, seeds=nested), "mine")
    almost = write(tmp_path, note="x" * (MAX_HEADER - 1024))
    assert np.array_equal(load_latents(almost, "mine"), WS)


def test_no_message_is_as_long_as_what_it_is_about(tmp_path):
    with pytest.raises(LatentsError, match=r"made with 'x+\.\.\., but") as error:
        load_latents(write(tmp_path, generator="x" * 500_000), "mine")
    assert len(str(error.value)) < 500
    many = np.zeros((50_000, 1, 1), np.float32)
    save_latents(tmp_path / "many.safetensors", many, "mine", range(50_000))
    with pytest.raises(LatentsError, match=r"in it \(0, 1, 2, .*\.\.\.\), got 50000") as error:
        load_latent(tmp_path / "many.safetensors", "mine", 50_000)
    assert len(str(error.value)) < 500 < len(json.dumps(list(range(50_000))))
