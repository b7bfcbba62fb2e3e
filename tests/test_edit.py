"""Editing: the region follows the wish, the rest stays, and invalid wishes are refused with a sentence."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem import edit_maps
from linsem.conditional import LayoutError, sample
from linsem.extractor import ExtractorError
from linsem.fewshot import fit_few_shot
from linsem.generator import seed_z
from linsem.palette import Category
from linsem.pixels import IGNORE, to_rgb
from linsem.steer import steer
from linsem.wish import Wish
from tests.toys import CATEGORIES, ToyGenerator, labelled

editing = importlib.import_module("linsem.edit")  # `linsem.edit` itself is the function


def grown_disc(toy, ws):
    """A wish: the smallest disc, grown by two pixels."""
    labels = toy.truth(ws)[0]
    wished = editing.region_of(labels == 3, 2)
    return np.where(wished, 3, IGNORE).astype(np.uint8), labels


@pytest.mark.parametrize("seed", [2, 4])
def test_the_region_obeys_and_the_rest_holds(toy, extractor, seed):
    ws = toy.map(seed_z(toy, [seed]))
    target, labels = grown_disc(toy, ws)
    result = editing.edit(toy, extractor, ws[0], target, steps=60)
    report = result.report
    assert report["agreement_before"] < 0.8  # it was not so before
    assert report["agreement_after"] > report["agreement_before"] + 0.1
    assert np.array_equal(result.labels, toy.truth(result.ws[None])[0])
    region = editing.region_of(target != IGNORE, 1)
    assert editing.agreement(result.labels, target) == pytest.approx(report["agreement_after"], abs=1e-4)
    assert (result.labels[~region] == labels[~region]).mean() > 0.9


def test_without_the_hold_more_changes_outside(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    target, _ = grown_disc(toy, ws)
    change = {
        hold: editing.edit(
            toy, extractor, ws[0], target, steps=60, enough=2.0,
            weights=replace(editing.WEIGHTS, preserve=hold),
        ).report["outside_change"]
        for hold in (0.0, 8.0)
    }  # fmt: skip
    assert change[8.0] < change[0.0]


def test_it_yields_from_the_start_and_counts_steps(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    target, _ = grown_disc(toy, ws)
    results = list(editing.iter_edit(toy, extractor, ws[0], target, steps=5, enough=2.0))
    assert [r.report["steps"] for r in results] == list(range(6))
    assert torch.equal(results[0].ws, ws[0])
    assert not torch.equal(results[-1].ws, ws[0])


def test_without_a_step_it_is_not_said_that_there_was_no_way(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    target, _ = grown_disc(toy, ws)
    assert editing.NO_WAY not in editing.edit(toy, extractor, ws[0], target, steps=0, enough=2.0).report["note"]
    assert editing.NO_WAY in editing.edit(toy, extractor, ws[0], target, steps=2, lr=0.0, enough=2.0).report["note"]


def test_a_wish_that_holds_returns_at_once_and_says_so(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    results = list(editing.iter_edit(toy, extractor, ws[0], toy.truth(ws)[0]))
    assert len(results) == 1 and results[0].report["steps"] == 0
    assert "already" in results[0].report["note"]
    assert torch.equal(results[0].ws, ws[0])
    results[0].ws.zero_()  # the caller's is another
    assert ws.abs().max() > 0


@pytest.mark.filterwarnings("error")
def test_a_latent_that_cannot_be_written_to_is_edited_too(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    given = ws[0].numpy().copy()
    given.flags.writeable = False
    assert "already" in editing.edit(toy, extractor, given, toy.truth(ws)[0]).report["note"]


def test_of_a_whole_label_map_what_differs_is_the_wish_and_the_rest_is_held(toy, extractor):
    """However little of it differs; with the whole image for a region nothing is held, and the report says so."""
    ws = toy.map(seed_z(toy, [2]))
    target, labels = grown_disc(toy, ws)
    whole = np.where(target == IGNORE, labels, target)
    few = labels.copy()
    few[4:7, 4:7] = 3
    assert (few != labels).mean() < 1 - 0.985  # the share that is enough elsewhere
    assert editing.edit(toy, extractor, ws[0], few, steps=2).report["steps"] == 2
    region = editing.region_of(whole != labels, 1)
    held, loose = (editing.edit(toy, extractor, ws[0], whole, where, steps=60) for where in (None, region | True))
    assert held.report["agreement_before"] == round(float((labels == whole)[region].mean()), 4) < 0.9
    assert held.report["agreement_after"] > held.report["agreement_before"] + 0.1
    assert held.report["note"] == "" and editing.ALL_OPEN in loose.report["note"]
    origin = toy.synthesize(ws)[0]
    change = [editing.outside_change(each.image, origin, region) for each in (held, loose)]
    assert held.report["outside_change"] == pytest.approx(change[0], abs=1e-3)


def test_a_category_without_a_labelled_pixel_cannot_be_wished_for(toy):
    never = fit_few_shot(toy, labelled(toy), (*CATEGORIES, Category("moon", "#123456")), missing="keep")
    assert never.unknown == ("moon",)
    ws = toy.map(seed_z(toy, [5]))
    wish = np.where(np.eye(32, dtype=bool), len(CATEGORIES), IGNORE).astype(np.uint8)
    with pytest.raises(editing.EditError, match="no labelled pixel had it: 'moon'; label some first"):
        editing.edit(toy, never, ws[0], wish, steps=1)
    with pytest.raises(LayoutError, match="no labelled pixel had it: 'moon'; label some first"):
        sample(toy, never, wish, 1, candidates=4)
    wish[:4, 20:] = 1
    known = np.where(wish == 1, wish, IGNORE)
    one, other = (editing.edit(toy, never, ws[0].numpy(), each, steps=3) for each in (wish, known))
    assert torch.equal(one.ws, other.ws) and one.report["agreement_after"] == other.report["agreement_after"]
    assert "'moon'" in one.report["note"] and other.report["note"] == ""
    one, other = (sample(toy, never, each, 1, candidates=4, steps=2)[0] for each in (wish, known))
    assert torch.equal(one.ws, other.ws) and one.score == other.score


def test_an_edit_can_be_edited_further(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    target, _ = grown_disc(toy, ws)
    first = editing.edit(toy, extractor, ws[0], target, steps=20)
    again = next(iter(editing.iter_edit(toy, extractor, first.ws, target, steps=1)))
    assert again.report["agreement_before"] == pytest.approx(first.report["agreement_after"])


def test_color_wish_is_pursued_beside_labels(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    mask = np.zeros(toy.size, bool)
    mask[:6] = True
    color = np.full((*toy.size, 3), 200, np.uint8)
    free = np.full(toy.size, IGNORE, np.uint8)
    result = editing.edit(toy, extractor, ws[0], free, color=color, color_mask=mask, steps=60)
    before, _ = toy.synthesize(ws)
    wish = 200 / 127.5 - 1
    error = [float((image[0, :, :6] - wish).abs().mean()) for image in (before, result.image)]
    assert error[1] < error[0] - 0.01
    assert result.report["color_off"] == pytest.approx(127.5 * error[1], abs=0.05)
    assert "color_off" not in editing.edit(toy, extractor, ws[0], free * 0, steps=1).report  # none was asked for


def test_a_colour_to_which_no_way_is_found_is_told_as_labels_are(toy, extractor):
    ws, free = toy.map(seed_z(toy, [5])), np.full(toy.size, IGNORE, np.uint8)
    color = np.full((*toy.size, 3), 200, np.uint8)
    given = {"color": color, "color_mask": color[..., 0] > 0, "steps": 3}
    stuck, moved = (editing.edit(toy, extractor, ws[0], free, lr=lr, **given) for lr in (0.0, editing.LR))
    assert editing.NO_WAY in stuck.report["note"] and editing.NO_WAY not in moved.report["note"]


@pytest.mark.parametrize(("scale", "lr", "colored"), [(1, 0.0, False), (1, 0.0, True), (1e6, editing.LR, False)])
def test_a_run_that_leaves_the_image_as_it_was_says_so(toy, extractor, scale, lr, colored):
    """For want of moves, or where the latent lies so far out that none of them helps; on the last step alone."""
    ws = toy.map(seed_z(toy, [5]))
    target, _ = grown_disc(toy, ws)
    color = np.full((*toy.size, 3), 200, np.uint8)
    given = {"steps": 3, **({"color": color, "color_mask": color[..., 0] > 0} if colored else {})}
    *before, stuck = editing.iter_edit(toy, extractor, scale * ws[0], target, lr=lr, **given)
    assert torch.equal(stuck.ws, scale * ws[0]) and editing.NO_WAY in stuck.report["note"]
    assert len(before) == 3 and not any(editing.NO_WAY in each.report["note"] for each in before)
    moved = editing.edit(toy, extractor, ws[0], target, **given)
    assert not torch.equal(moved.ws, ws[0]) and editing.NO_WAY not in moved.report["note"]


def test_where_nothing_is_left_to_reach_no_way_is_missed(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    labels, shown = toy.truth(ws)[0], to_rgb(toy.synthesize(ws)[0])[0]
    for off, told in ((0, False), (2, True)):
        color = np.where(shown < 128, shown + off, shown - off).astype(np.uint8)
        given = {"color": color, "color_mask": labels == 1}
        still = editing.edit(toy, extractor, ws[0], labels, lr=0.0, steps=2, **given)
        assert still.report["steps"] == 2 and (editing.NO_WAY in still.report["note"]) == told
    still = editing.edit(toy, extractor, ws[0], labels, lr=0.0, steps=2, enough=2.0)
    assert still.report["steps"] == 2 and editing.NO_WAY not in still.report["note"]


def test_a_colour_beside_labels_that_are_met_opens_what_it_is_painted_on_alone(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    labels = extractor.predict(toy.synthesize(ws)[1])[0]
    mask = np.zeros((32, 32), bool)
    mask[4:8, 4:8] = True
    color = np.full((32, 32, 3), 200, np.uint8)
    plan = editing.plan_edit(toy, extractor, ws[0], labels, None, color=color, color_mask=mask)
    assert plan.region[4:8, 4:8].all() and plan.region.mean() < 0.2  # the rest of the image is held


def test_colours_outside_the_region_are_not_pursued(toy, extractor):
    """They would be held and recoloured at once, and those inside would hardly count."""
    ws = toy.map(seed_z(toy, [5]))
    region = np.zeros(toy.size, bool)
    region[:8] = True
    inside, color = region.copy(), np.full((*toy.size, 3), 200, np.uint8)
    inside[6:] = False
    outside = inside.copy()
    outside[20:] = True
    free = np.full(toy.size, IGNORE, np.uint8)
    given = {"color": color, "steps": 30}
    one, other = (
        editing.edit(toy, extractor, ws[0], free, region, color_mask=mask, **given) for mask in (inside, outside)
    )
    assert torch.equal(one.ws, other.ws) and not torch.equal(one.ws, ws[0])
    labels = np.where(region, toy.truth(ws)[0] ^ 1, IGNORE).astype(np.uint8)
    plan = editing.plan_edit(toy, extractor, ws[0], labels, region, color=color, color_mask=~region)
    assert not plan.colored and plan.labelled


@pytest.mark.parametrize("size", [(33, 20), (64, 64)])
def test_the_maps_of_an_edit_are_those_of_a_square_window(size):
    """They are made one axis after the other."""
    region = np.random.default_rng(0).random(size) > 0.98
    region[2:9, 3:7] = True
    grown = np.zeros(size, bool)
    for row, column in np.argwhere(region):
        grown[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = True
    assert np.array_equal(edit_maps.region_of(region, 3), grown)
    feather = max(1, round(edit_maps.FEATHER * size[0]))
    padded = np.pad(region.astype(float), feather, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * feather + 1,) * 2)
    expected = np.where(region, 0, 1 - windows.mean((2, 3)))
    assert np.allclose(edit_maps.outside_weight(region), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.full((32, 32), IGNORE, np.uint8)}, "nothing is painted"),
        ({"target": np.zeros((8, 8), np.uint8)}, "expected a label map"),
        ({"target": np.full((32, 32), 9, np.uint8)}, "target, labels: expected 0..3 or 255, got 9"),
        ({"target": np.full((32, 32), -1)}, "target, labels: expected 0..3 or 255, got -1"),
        ({"target": np.full((32, 32), np.nan)}, "target, labels: expected whole numbers"),
        ({"region": np.zeros((32, 32), bool)}, "region is empty"),
        ({"region": np.ones((3, 3), bool)}, "region: expected"),
        ({"color_mask": np.ones((32, 32), bool)}, "color and color_mask: expected"),
        ({"color_mask": np.ones((16, 16), bool), "color": np.zeros((32, 32, 3), np.uint8)}, "got .*16, 16"),
        ({"color_mask": np.ones((32, 32), bool), "color": np.zeros((16, 16, 3), np.uint8)}, "got .*16, 16"),
        ({"region": np.eye(32, dtype=bool)[::-1] & (np.arange(32) > 30)}, "no painted pixel"),
    ],
)
def test_bad_input(toy, extractor, change, message):
    target = np.full((32, 32), IGNORE, np.uint8)
    target[5:9, 5:9] = 1
    arguments = {"target": target, "region": None} | change
    with pytest.raises(editing.EditError, match=message):
        editing.edit(toy, extractor, toy.map(seed_z(toy, [1]))[0], **arguments)


def test_an_extractor_of_another_generator_is_refused(toy, extractor):
    with pytest.raises(ExtractorError, match="made for the generator"):
        editing.edit(
            ToyGenerator(32, id="other"), extractor, toy.map(seed_z(toy, [1]))[0], np.zeros((32, 32), np.uint8)
        )


def test_before_and_after_are_read_alike(toy, extractor):
    """What is a speck before is one after: without a move, nothing is said to have changed."""
    ws = toy.map(seed_z(toy, [5]))
    labels = toy.truth(ws)[0]
    wish = np.where(labels == 3, 3, IGNORE).astype(np.uint8)
    wish[0, 0] = 3
    strict = replace(extractor, least=(0.0, 0.0, 0.0, 0.9))  # all of the disc is a speck
    report = editing.edit(toy, strict, ws[0], wish, steps=0).report
    assert report["agreement_before"] == report["agreement_after"] == 0
    report = editing.edit(toy, extractor, ws[0], wish, steps=0, enough=1.0).report
    assert report["agreement_before"] == report["agreement_after"] > 0.9


def test_an_edit_looks_at_samples_first_unless_it_is_told_not_to(monkeypatch, toy, extractor):
    """A hat needs a jump; on a CPU large generators are not drawn that often."""
    ws, made = toy.map(seed_z(toy, [5])), []
    target, _ = grown_disc(toy, ws)
    plain = editing.make_bank
    monkeypatch.setattr(editing, "make_bank", lambda *a: made.append(len(a[2])) or plain(*a))
    editing.edit(toy, extractor, ws[0], target, steps=editing.WORTH)
    assert made == [editing.SAMPLES]
    editing.edit(toy, extractor, ws[0], target, steps=editing.WORTH - 1)
    editing.edit(toy, extractor, ws[0], target, steps=editing.WORTH, atlas=False)
    monkeypatch.setattr(editing, "QUICK", 31)
    editing.edit(toy, extractor, ws[0], target, steps=editing.WORTH)
    assert made == [editing.SAMPLES]


def test_no_result_obeys_less_than_the_image_did(monkeypatch, toy, extractor):
    """The loss weighs more than the wish: what it finds better may obey less, and is not given out."""
    ws = toy.map(seed_z(toy, [5]))
    target, labels = grown_disc(toy, ws)
    far = toy.map(seed_z(toy, [9]))
    *_, moved = steer(toy, extractor, far, Wish(target), steps=0, with_image=True)
    monkeypatch.setattr(editing, "_moves", lambda *a: iter([replace(moved, index=3, done=True)]))
    assert editing.agreement(moved.labels[0], target) < editing.agreement(labels, target)
    result = editing.edit(toy, extractor, ws[0], target)
    assert torch.equal(result.ws, ws[0]) and np.array_equal(result.labels, labels)
    assert result.report["agreement_after"] == result.report["agreement_before"]
    assert editing.NO_WAY in result.report["note"] and result.report["outside_change"] == 0


def test_latents_of_several_images_are_refused_by_their_own_shape(toy, extractor):
    ws = toy.map(seed_z(toy, [5, 6]))
    target, _ = grown_disc(toy, ws[:1])
    with pytest.raises(editing.EditError, match=r"expected \(5, 24\), of one image, got \(2, 5, 24\)"):
        editing.edit(toy, extractor, ws, target)


@pytest.mark.parametrize("kind", ["one category becomes another", "a patch", "a stroke over it"])
def test_a_small_change_in_a_label_map_is_a_wish(toy, extractor, kind):
    """The rest of the map, which holds already, does not outvote it."""
    ws = toy.map(seed_z(toy, [2]))
    labels = toy.truth(ws)[0]
    whole = np.ones(toy.size, bool)
    target = labels.copy()
    target[4:7, 4:7] = 3
    if kind == "one category becomes another":  # which the image shows on a few pixels
        where = np.argwhere(labels == 3)[:9]
        target = labels.copy()
        target[tuple(where.T)] = 0
    if kind == "a stroke over it":
        target[16:] = IGNORE
    assert 0 < ((target != labels) & (target != IGNORE)).sum() <= 9
    assert editing.agreement(labels, target) >= 0.98
    report = editing.edit(toy, extractor, ws[0], target, whole, steps=2, enough=0.98).report
    assert report["steps"] == 2 and "already" not in report["note"]


def test_what_holds_but_for_a_negligible_rest_returns_at_once(toy, extractor):
    ws = toy.map(seed_z(toy, [2]))
    target = toy.truth(ws)[0]
    whole = np.ones(toy.size, bool)
    assert editing.edit(toy, extractor, ws[0], target, whole, steps=2).report["steps"] == 0
    target[5, 5] = (target[5, 5] + 1) % 4
    for enough, steps in ((0.8, 0), (0.985, 2)):  # one pixel of the nine around it
        report = editing.edit(toy, extractor, ws[0], target, whole, steps=2, enough=enough).report
        assert report["steps"] == steps and ("already" in report["note"]) == (steps == 0)


def test_true_makes_an_atlas_for_any_edit(monkeypatch, toy, extractor):
    ws, made = toy.map(seed_z(toy, [5])), []
    target, _ = grown_disc(toy, ws)
    plain = editing.make_bank
    monkeypatch.setattr(editing, "make_bank", lambda *a: made.append(len(a[2])) or plain(*a))
    given = editing.make_atlas(toy, plain(toy, extractor, range(editing.SAMPLES)))
    one, other = (editing.edit(toy, extractor, ws[0], target, steps=2, atlas=each) for each in (True, given))
    assert made == [editing.SAMPLES] and torch.equal(one.ws, other.ws)


def test_an_atlas_of_something_else_is_refused(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    target, _ = grown_disc(toy, ws)
    other = ToyGenerator(32, seed=1, id="other")
    foreign = editing.make_atlas(other, editing.make_bank(other, other.known_extractor(), range(8)))
    with pytest.raises(editing.EditError, match="atlas: expected one of the generator 'toy', got one of 'other'"):
        editing.edit(toy, extractor, ws[0], target, steps=1, atlas=foreign)
    for wrong in (5, "yes", foreign.w):
        with pytest.raises(editing.EditError, match="atlas: expected one of make_atlas, True, False or None, got"):
            editing.edit(toy, extractor, ws[0], target, steps=1, atlas=wrong)
    unknown = replace(foreign, generator_id=None)
    editing.edit(toy, extractor, ws[0], target, steps=1, atlas=unknown)


def test_a_mask_of_colours_is_an_array(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    target, _ = grown_disc(toy, ws)
    color, mask = np.zeros((*toy.size, 3), np.uint8), np.eye(32, dtype=bool)
    for wrong, says in (
        ([[1], [1, 2]], "array of numbers"),
        (np.full(toy.size, np.nan), "finite"),
        (mask[:9], "uint8 and"),
    ):
        with pytest.raises(editing.EditError, match=f"color_mask: .*{says}"):
            editing.edit(toy, extractor, ws[0], target, color=color, color_mask=wrong, steps=1)
    with pytest.raises(editing.EditError, match="color: expected an array of numbers"):
        editing.edit(toy, extractor, ws[0], target, color=[[1], [1, 2]], color_mask=mask, steps=1)
    results = [
        editing.edit(toy, extractor, ws[0], target, color=color, color_mask=each, steps=1).ws
        for each in (mask, torch.from_numpy(mask), mask.tolist())
    ]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
