"""Banks on disk are found again if and only if nothing has changed that affects the labels."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem import bank as banking
from linsem import conditional
from linsem.bank import Banks, bank_key, cache_folder, check_bank, make_bank
from linsem.edit import WORTH, edit
from linsem.errors import InputError
from linsem.generator import seed_z
from linsem.jump import make_atlas
from linsem.palette import parse_categories
from linsem.pixels import to_rgb
from linsem.settings import Settings
from linsem.studio import Studio
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.toys import ToyGenerator

SEEDS = range(12)


@pytest.fixture
def passes(toy, monkeypatch):
    """The batch sizes of the toy's passes."""
    sizes, synthesize = [], toy.synthesize
    monkeypatch.setattr(toy, "synthesize", lambda ws, **options: sizes.append(len(ws)) or synthesize(ws, **options))
    return sizes


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_second_sampling_makes_no_pass_for_the_bank(toy, extractor, passes, tmp_path):
    layout = toy.truth(toy.map(seed_z(toy, [1007])))[0]
    counts, results = [], []
    for _ in range(2):
        passes.clear()
        options = {"candidates": 40, "steps": 2, "banks": Banks(tmp_path)}  # as another process would
        results.append(conditional.sample(toy, extractor, layout, 2, **options))
        counts.append(sum(passes))
    assert counts[0] - counts[1] == 40
    assert [each.seed for each in results[0]] == [each.seed for each in results[1]]
    assert torch.equal(results[0][0].image, results[1][0].image)


def test_stop_leaves_nothing_behind(toy, extractor, tmp_path):
    layout = toy.truth(toy.map(seed_z(toy, [1007])))[0]
    steps = conditional.iter_sample(toy, extractor, layout, 2, candidates=64, steps=3, banks=Banks(tmp_path))
    next(steps)
    steps.close()
    assert files(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"PK", b"not an archive", None])
def test_a_damaged_file_is_made_again(toy, extractor, passes, tmp_path, damage):
    whole = Banks(tmp_path).make(toy, extractor, SEEDS)
    path = tmp_path / files(tmp_path)[0]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if damage is None else damage)
    passes.clear()
    again = Banks(tmp_path).make(toy, extractor, SEEDS)
    assert sum(passes) == 1 + len(SEEDS)  # one for the key: what a class of one's own draws can change
    assert np.array_equal(again.labels, whole.labels)
    assert path.read_bytes()[:2] == b"PK" and len(files(tmp_path)) == 1


def test_a_file_of_other_seeds_under_this_name_is_not_believed(toy, extractor, tmp_path):
    whole = Banks(tmp_path).make(toy, extractor, SEEDS)
    path = tmp_path / files(tmp_path)[0]
    for wrong in ({"seeds": np.arange(1, 13)}, {"labels": whole.labels[:, ::2]}, {"labels": whole.labels.astype(int)}):
        np.savez_compressed(path, **{"seeds": np.arange(12), "labels": whole.labels, "psi": 1.0, **wrong})
        assert np.array_equal(Banks(tmp_path).make(toy, extractor, SEEDS).labels, whole.labels)


def test_each_thing_that_decides_the_labels_has_a_bank_of_its_own(toy, extractor):
    def key(generator=toy, extractor=extractor, seeds=SEEDS, psi=1.0):
        return bank_key(generator, extractor, seeds, psi)

    moved = {name: w + 1 for name, w in extractor.weights.items()}
    keys = [
        key(), key(seeds=range(13)), key(psi=0.7), key(extractor=replace(extractor, weights=moved)),
        key(extractor=replace(extractor, kind="centroid")), key(extractor=replace(extractor, least=(0.1,) * 4)),
        key(extractor=replace(extractor, layers=(3,))), key(ToyGenerator(32, seed=1)), key(ToyGenerator(32, id="x")),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key() == key(ToyGenerator(32)) == key(extractor=replace(extractor, temperature=2.0))


def test_each_label_of_a_conditional_network_has_a_bank_of_its_own(extractor):
    network = StyleGAN2(StyleGAN2Config(channels=(8, 8), c_dim=3), id="conditional")
    keys = [bank_key(each, extractor, SEEDS, 1.0) for each in (network, network.with_label(0), network.with_label(2))]
    assert len(set(keys)) == 3
    assert bank_key(network.with_label(2), extractor, SEEDS, 1.0) == keys[2]


def test_a_network_of_one_s_own_is_told_by_its_plain_attributes_too(toy, extractor):
    """It may draw by them, and its state does not hold them."""
    other = ToyGenerator(toy.size)
    assert bank_key(other, extractor, SEEDS, 1.0) == bank_key(toy, extractor, SEEDS, 1.0)
    other.strength = 0.5
    assert bank_key(other, extractor, SEEDS, 1.0) != bank_key(toy, extractor, SEEDS, 1.0)


def test_a_network_of_one_s_own_is_told_by_what_it_draws_too(toy, extractor, tmp_path):
    """Its code may have been changed since, or it draws by a list, and both are in no state."""

    class Flipped(ToyGenerator):
        def memberships(self, *args):
            return super().memberships(*args).flip(-1)

    before, other = Banks(tmp_path).make(toy, extractor, SEEDS), Flipped(toy.size)
    assert other.state_dict().keys() == toy.state_dict().keys() and other.id == toy.id
    now = Banks(tmp_path).make(other, extractor, SEEDS)
    assert np.array_equal(now.labels, make_bank(other, extractor, SEEDS).labels)
    assert (now.labels != before.labels).mean() > 0.1


def test_a_network_within_a_network_is_told_by_its_plain_attributes_too(toy, extractor):
    class Inner(torch.nn.Module):
        gain = 1.0

    other = ToyGenerator(toy.size)
    other.inner = Inner()
    before = bank_key(other, extractor, SEEDS, 1.0)
    other.inner.gain = 2.0
    assert bank_key(other, extractor, SEEDS, 1.0) != before


@pytest.mark.parametrize("kept", ["attribute", "buffer"])
def test_a_network_is_told_by_tensors_that_its_state_does_not_hold(toy, extractor, kept):
    keys = []
    for shift in (0.0, 0.0, 1.0):
        other, value = ToyGenerator(toy.size), torch.tensor(shift)
        if kept == "attribute":
            other.shift = value
        else:
            other.register_buffer("shift", value, persistent=False)
        assert "shift" not in other.state_dict()
        keys.append(bank_key(other, extractor, SEEDS, 1.0))
    assert keys[0] == keys[1] != keys[2]


def test_a_network_without_parameters_is_told_by_what_it_draws(extractor):
    class Plain:
        def __init__(self, seed):
            self._net = ToyGenerator(32, seed=seed)

        def __getattr__(self, name):
            return getattr(self.__dict__["_net"], name)

    class Dark(Plain):
        def synthesize(self, ws, **options):
            image, features = super().__getattr__("synthesize")(ws, **options)
            return None if image is None else image - 0.1, features

    keys = [bank_key(Plain(seed), extractor, SEEDS, 1.0) for seed in (0, 1, 0)]
    assert keys[0] != keys[1] and keys[0] == keys[2]
    assert bank_key(Dark(0), extractor, SEEDS, 1.0) != keys[0]  # the bank's colours are others


def test_weights_that_were_replaced_under_the_same_name_find_no_old_bank(extractor, tmp_path):
    first, second = (Banks(tmp_path).make(ToyGenerator(32, seed=seed), extractor, SEEDS) for seed in (0, 1))
    assert len(files(tmp_path)) == 2 and not np.array_equal(first.labels, second.labels)


def test_the_folder_is_bounded_and_what_is_used_stays(toy, extractor, tmp_path, monkeypatch):
    monkeypatch.setattr(banking, "KEPT_FILES", 3)
    banks, first = Banks(tmp_path), None
    for count in range(2, 8):
        banks.make(toy, extractor, range(count))
        first = first or files(tmp_path)[0]
        for name in files(tmp_path):
            age = os.stat(tmp_path / name).st_mtime - 60
            os.utime(tmp_path / name, (age, age))
        banks.make(toy, extractor, range(2))  # used
    assert len(files(tmp_path)) == 3 and first in files(tmp_path)
    monkeypatch.setattr(banking, "KEPT_BYTES", 1)
    banks.make(toy, extractor, range(9))
    assert len(files(tmp_path)) == 1  # the newest, whatever its size


def test_what_a_dead_process_left_is_swept_and_what_another_is_writing_is_not(toy, extractor, tmp_path):
    for name, age in (("dead", 7200), ("alive", 0)):
        path = tmp_path / f".bank-{name}.npz.0.part"
        path.touch()
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    Banks(tmp_path).make(toy, extractor, SEEDS)
    assert [name for name in files(tmp_path) if name.endswith(".part")] == [".bank-alive.npz.0.part"]


def test_where_nothing_can_be_written_banks_are_kept_in_memory(toy, extractor, passes, tmp_path):
    (tmp_path / "file").touch()
    banks = Banks(tmp_path / "file" / "folder")
    banks.make(toy, extractor, SEEDS)
    passes.clear()
    assert banks.make(toy, extractor, SEEDS).seeds == tuple(SEEDS) and passes == [1]  # that of the key
    for count in range(2, 20):
        banks.make(toy, extractor, range(count))
    assert len(banks._here) == banking.KEPT_HERE


def test_the_folder_is_the_given_one_or_the_user_s(monkeypatch, tmp_path):
    assert cache_folder(str(tmp_path)) == tmp_path
    monkeypatch.setenv("LINSEM_CACHE", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "b"
    monkeypatch.delenv("LINSEM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c" / "linsem"


def test_the_studio_keeps_the_banks_of_samplings_and_of_edits(monkeypatch, tmp_path):
    monkeypatch.setattr("linsem.edits.SAMPLES", 8)
    studio = Studio(Settings(cache=str(tmp_path)))
    model = "avatars-64"
    extractor = studio.shipped(model)
    layout = studio.read(model, extractor, list(studio.latents(model, [3], 0.7))).labels[0]
    for _ in range(2):
        frames = list(studio.sample(model, extractor, layout, 2, candidates=16, steps=0))
        assert len(files(tmp_path)) == 1
    assert len(frames) == 2  # the kept bank, and the starts
    ws, wish = studio.latents(model, [1], 0.7)[0], np.where(layout == 2, 3, 255).astype(np.uint8)
    list(studio.edit(model, extractor, ws, wish, None, WORTH))
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize(
    "seeds", [[], None, 5, b"12", {1, 2}, {1: 2}, iter([1]), (s for s in (1, 2)), np.arange(0), torch.tensor(3)]
)
def test_what_is_no_list_of_seeds_is_refused(toy, extractor, seeds, tmp_path):
    for make in (banking.make_bank, Banks(tmp_path).make):
        with pytest.raises(InputError, match="seeds: expected a list of at least one, got "):
            make(toy, extractor, seeds)
    with pytest.raises(InputError, match="seeds: expected a list of at least one, got "):
        seed_z(toy, seeds)


def test_seeds_of_any_kind_are_kept_as_whole_numbers(toy, extractor, tmp_path):
    plain = banking.make_bank(toy, extractor, range(3))
    for seeds in ([0, 1, 2], np.arange(3, dtype=np.uint8), torch.arange(3)):
        for bank in (banking.make_bank(toy, extractor, seeds), Banks(tmp_path).make(toy, extractor, seeds)):
            assert bank.seeds == (0, 1, 2) and {type(seed) for seed in bank.seeds} == {int}
            assert np.array_equal(bank.labels, plain.labels)
    assert len(files(tmp_path)) == 1


def test_the_steps_of_a_bank_share_their_labels(toy, extractor):
    """To copy all that came before at each step would take quadratic time."""
    steps = list(banking.iter_bank(toy, extractor, range(10), batch=4))
    assert [len(step.labels) for step in steps] == [len(step.seeds) for step in steps] == [4, 8, 10]
    for step in steps:
        assert np.shares_memory(step.labels, steps[-1].labels)
        assert np.array_equal(step.labels, banking.make_bank(toy, extractor, step.seeds).labels)


def test_a_bank_knows_the_colours_of_its_images_where_they_are_drawn_anyway(toy, extractor, tmp_path):
    bank = Banks(tmp_path).make(toy, extractor, SEEDS)
    with torch.no_grad():
        rgb = to_rgb(toy.synthesize(toy.map(seed_z(toy, SEEDS)))[0]).astype(float)
    means = rgb.reshape(len(SEEDS), 8, 4, 8, 4, 3).mean((2, 4))
    assert bank.colors.shape == means.shape and np.abs(bank.colors - means).max() <= 1
    assert np.array_equal(Banks(tmp_path).make(toy, extractor, SEEDS).colors, bank.colors)  # from the file
    path = tmp_path / files(tmp_path)[0]
    np.savez_compressed(path, seeds=np.array(SEEDS), labels=bank.labels, psi=1.0, colors=bank.colors[:, :4])
    assert np.array_equal(Banks(tmp_path).make(toy, extractor, SEEDS).colors, bank.colors)
    weights = {"layer0.weight": toy.matrices()[1], "bias": torch.zeros(len(extractor.categories))}
    early = replace(extractor, layers=(1,), weights=weights)
    first = Banks(tmp_path).make(toy, early, SEEDS)
    assert first.colors is None and Banks(tmp_path).make(toy, early, SEEDS).colors is None


def test_a_bank_knows_its_generator_and_is_refused_by_another(toy, extractor, tmp_path):
    other = ToyGenerator(32, seed=1, id="other")
    layout = toy.truth(toy.map(seed_z(toy, [1007])))[0]
    for _ in range(2):  # made, and read
        bank = Banks(tmp_path).make(other, other.known_extractor(), range(40))
        assert bank.generator_id == "other"
        assert make_atlas(other, bank).generator_id == "other"
        with pytest.raises(InputError, match="bank: expected one of the generator 'toy', got one of 'other'"):
            make_atlas(toy, bank)
        with pytest.raises(InputError, match="bank: expected one of the generator 'toy', got one of 'other'"):
            conditional.sample(toy, extractor, layout, 1, bank=bank, steps=1)
    assert conditional.sample(toy, extractor, layout, 1, bank=replace(bank, generator_id=None), steps=1)
    with pytest.raises(InputError, match="bank: expected a Bank, as make_bank gives it, got int"):
        conditional.sample(toy, extractor, layout, 1, bank=5, steps=1)


def test_a_bank_of_other_categories_is_refused(toy, extractor, tmp_path):
    """Its labels would be taken for others; what was fitted anew to the same categories may use it."""
    layout = toy.truth(toy.map(seed_z(toy, [1007])))[0]
    order = [1, 0, 2, 3]
    turned = replace(
        extractor,
        categories=tuple(extractor.categories[k] for k in order),
        weights={name: w[order] for name, w in extractor.weights.items()},
    )
    banks = Banks(tmp_path)
    bank = banks.make(toy, extractor, range(40))
    assert bank.categories == ("background", "large", "middle", "small") == make_atlas(toy, bank).categories
    with pytest.raises(InputError, match=r"bank: its labels are of \['background', 'la.*the extractor's of \['large'"):
        conditional.sample(toy, turned, layout, 1, bank=bank, steps=1)
    with pytest.raises(InputError, match="atlas: its labels are of"):
        edit(toy, turned, toy.map(seed_z(toy, [5]))[0], layout, steps=1, atlas=make_atlas(toy, bank))
    fitted = replace(extractor, weights={name: w * 1.1 for name, w in extractor.weights.items()})
    assert conditional.sample(toy, fitted, layout, 1, bank=bank, steps=1)
    assert conditional.sample(toy, turned, layout, 1, bank=replace(bank, categories=None), steps=1)
    renamed = replace(extractor, categories=parse_categories(list("abcd")))
    assert banks.make(toy, renamed, range(40)).categories == tuple("abcd") and len(files(tmp_path)) == 1


def test_a_seed_that_is_not_finite_is_named(extractor):
    """One such seed would bar every sampling, so a caller must know which to leave out."""

    class Broken(ToyGenerator):
        def map(self, z, psi=1.0):
            ws = super().map(z, psi)
            ws[(z[:, 0] - seed_z(self, [11])[0, 0]).abs() < 1e-9] = torch.nan
            return ws

    with pytest.raises(InputError, match="'toy': seed 11: its features hold numbers that are not finite"):
        banking.make_bank(Broken(32), extractor, range(4, 20))


def test_a_label_of_any_type_is_compared_as_the_bank_s_key_has_it(extractor):
    """A family of one's own may keep its label as a tensor, of which no single `!=` says whether it is another."""

    class OneHot(ToyGenerator):
        label = torch.tensor([0.0, 1.0])

    network = OneHot(32)
    bank = make_bank(network, extractor, SEEDS)
    check_bank(bank, network)
    network.label = torch.tensor([1.0, 0.0])
    with pytest.raises(InputError, match="expected one of the generator's label"):
        check_bank(bank, network)
