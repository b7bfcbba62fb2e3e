"""The latent optimisation loop meets its guarantees, which the toy's start does not satisfy already."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from linsem import steer as loop
from linsem.generator import seed_z
from linsem.pixels import IGNORE
from linsem.wish import category_weight
from tests.toys import ToyGenerator


def start_and_target(toy, seeds=(1, 2), other=9):
    z = seed_z(toy, list(seeds))
    target = toy.truth(toy.map(seed_z(toy, [other])))[0]
    return z, toy.map(z), target


def run(toy, extractor, start, wish, **options):
    return list(loop.steer(toy, extractor, start, wish, **options))


def test_agreement_rises_in_every_space(toy, extractor):
    z, ws, target = start_and_target(toy)
    starts = {"z": z, "z_layers": z[:, None].repeat(1, toy.num_ws, 1), "ws": ws}
    for space, start in starts.items():
        steps = run(toy, extractor, start, loop.Wish(target), space=space, steps=40, lr=0.05)
        assert (steps[0].agreement < 0.9).all()  # it was not so before
        assert (steps[-1].agreement > steps[0].agreement + 0.05).all(), space


def test_all_spaces_start_from_the_same_image(toy, extractor):
    z, ws, target = start_and_target(toy)
    first = [
        next(iter(loop.steer(toy, extractor, start, loop.Wish(target), space=space, steps=1)))
        for space, start in (("z", z), ("z_layers", z[:, None].repeat(1, toy.num_ws, 1)), ("ws", ws))
    ]
    assert torch.allclose(first[0].ws, ws, atol=1e-6)
    for step in first[1:]:
        assert torch.allclose(step.ws, first[0].ws, atol=1e-6)


def test_a_step_never_makes_the_best_worse_though_the_last_iterate_does(toy, extractor):
    _, ws, target = start_and_target(toy)
    wild = {"steps": 25, "lr": 1.5}
    best = np.stack([s.loss for s in run(toy, extractor, ws, loop.Wish(target), **wild)])
    last = np.stack([s.loss for s in run(toy, extractor, ws, loop.Wish(target), keep_best=False, **wild)])
    assert (np.diff(best, axis=0) <= 1e-6).all()
    assert (np.diff(last, axis=0) > 0).any()


def test_a_sample_does_not_depend_on_its_batch(toy, extractor):
    _, ws, target = start_and_target(toy)
    both = run(toy, extractor, ws, loop.Wish(target), steps=8)[-1]
    alone = run(toy, extractor, ws[:1], loop.Wish(target), steps=8)[-1]
    assert both.loss[0] == pytest.approx(alone.loss[0], rel=1e-2)  # Adam magnifies the rounding of flat directions
    assert both.loss[1] != pytest.approx(alone.loss[0], rel=1e-1)


def test_samples_that_do_not_fit_into_one_pass_go_in_parts_and_come_out_the_same(toy, extractor, monkeypatch):
    _, ws, target = start_and_target(toy, seeds=(1, 2, 3))
    painted = np.stack([np.full(toy.size, k + 1, np.float32) for k in range(3)])
    wish = loop.Wish(target, weight=painted, keep=painted[0])
    weights = loop.Weights(preserve=0.5, close=1e-3, prior=1e-3)
    sizes, synthesize = [], toy.synthesize
    monkeypatch.setattr(toy, "synthesize", lambda ws, **options: sizes.append(len(ws)) or synthesize(ws, **options))
    found = {}
    for limit, most in ((1, 1), (2 * sum(c.channels * c.height * c.width for c in toy.layers), 2), (1 << 27, 3)):
        monkeypatch.setattr("linsem.generator.PASS_NUMBERS", limit)
        sizes.clear()
        found[most] = run(toy, extractor, ws, wish, steps=2, weights=weights, with_image=True)
        assert max(sizes) == most and sum(sizes) == 3 * 3
    for most in (1, 2):
        for step, whole in zip(found[most], found[3], strict=True):
            assert np.allclose(step.loss, whole.loss, rtol=1e-4)
            assert torch.allclose(step.image, whole.image, atol=1e-3)
    assert not np.allclose(found[3][-1].loss, found[3][0].loss, rtol=1e-3)  # something has moved


def test_preservation_holds_what_is_outside(toy, extractor):
    _, ws, target = start_and_target(toy, seeds=(3,))
    inside = np.zeros(toy.size, bool)
    inside[8:20, 8:20] = True
    wished = np.where(inside, target, IGNORE).astype(np.uint8)
    keep = (~inside).astype(np.float32)
    change = {}
    for preserve in (0.0, 5.0):
        steps = run(
            toy, extractor, ws, loop.Wish(wished, keep=keep), steps=40, lr=0.05,
            weights=loop.Weights(preserve=preserve),
        )  # fmt: skip
        before, _ = toy.synthesize(ws)
        after, _ = toy.synthesize(steps[-1].ws)
        change[preserve] = float((after - before).abs().mean(1)[0][torch.from_numpy(~inside)].mean())
    assert change[5.0] < 0.7 * change[0.0]


@torch.no_grad()
def terms(toy, extractor, latent, anchor, spread, wish, power):
    """The terms of the objective as `linsem.steer` writes it down, each (N,); `spread` maps latents to ws."""
    image, features = toy.synthesize(spread(latent))
    logits, origin = extractor.logits(features, toy.size), toy.synthesize(spread(anchor))[0]
    target, held, weight, keep, painted = (
        torch.from_numpy(each) for each in (wish.target, wish.held, wish.held_weight, wish.keep, wish.color_weight)
    )
    color = torch.from_numpy(wish.color).permute(2, 0, 1) / 127.5 - 1
    free = target == IGNORE

    def mean(values, weight):
        return (values * weight).sum((1, 2)) / weight.sum()

    def entropy(labels):
        wanted = labels.long().expand(len(logits), -1, -1)
        return F.cross_entropy(logits, wanted, reduction="none", ignore_index=IGNORE)

    return {
        "agree": mean(entropy(target), (~free).float()),
        "preserve": mean((image - origin).abs().pow(power).mean(1), keep),
        "color": mean((image - color).abs().pow(power).mean(1), painted),
        "hold": mean(entropy(held), weight * (free & (held != IGNORE))),
        "prior": latent.flatten(1).square().sum(1),
        "close": (latent - anchor).flatten(1).square().sum(1),
    }


@pytest.mark.parametrize("space", ["z", "z_layers", "ws"])
def test_the_loss_is_the_sum_of_the_terms_as_written(toy, extractor, space):
    """Truncated, held to another image than the start, with held labels also where others are wished for."""
    rng, psi = np.random.default_rng(0), 0.6
    z = seed_z(toy, [1, 2, 3])
    layered = torch.stack([z, *(seed_z(toy, [k, k + 1, k + 2]) for k in range(20, 19 + toy.num_ws))], dim=1)
    latent = {"z": z, "z_layers": layered, "ws": toy.map(z)}[space]
    spread = {
        "z": lambda z: toy.map(z, psi),
        "z_layers": lambda z: torch.stack([toy.map(z[:, k], psi)[:, k] for k in range(toy.num_ws)], dim=1),
        "ws": lambda ws: ws,
    }[space]
    target, held = (toy.truth(toy.map(seed_z(toy, [seed])))[0] for seed in (9, 8))
    target[:, 12:], held[20:] = IGNORE, IGNORE
    keep, painted, much = rng.random((3, *toy.size)).astype(np.float32)
    wish = loop.Wish(target, None, keep, rng.integers(0, 256, (*toy.size, 3), np.uint8), painted, held, much)
    for anchor in (latent[2:], latent.roll(1, 0)):
        found = terms(toy, extractor, latent[:2], anchor[:2], spread, wish, power=3.0)
        share = {name: 0.3 + 0.2 * k for k, name in enumerate(found)}
        singly = [dict.fromkeys(found, 0.0) | {name: 0.7} for name in found]
        for given in (*singly, share):
            weights = loop.Weights(power=3.0, **given)
            options = {"space": space, "psi": psi, "weights": weights, "anchor": anchor[:2], "steps": 1}
            wanted = sum(given[name] * each for name, each in found.items())
            first = next(iter(loop.steer(toy, extractor, latent[:2], wish, **options)))
            assert first.loss == pytest.approx(wanted.numpy(), rel=1e-4), given


def test_a_pixel_weighs_the_more_the_rarer_its_category_is():
    labels = np.array([0] * 16 + [1] * 4 + [IGNORE] * 5, np.uint8).reshape(5, 5)  # shares of what is known: 0.8, 0.2
    for power, wanted in ((0.5, 2.0), (1.0, 4.0), (0.0, 1.0)):
        weight = category_weight(labels, power)
        assert weight[labels == 0] == pytest.approx(0.8**-power)
        assert weight[labels == 1] == pytest.approx(wanted * weight[0, 0])
        assert not weight[labels == IGNORE].any()


def test_closeness_and_the_prior_hold_the_latent(toy, extractor):
    _, ws, target = start_and_target(toy, seeds=(3,))
    moved = {}
    for close in (0.0, 1.0):
        last = run(toy, extractor, ws, loop.Wish(target), steps=30, lr=0.05, weights=loop.Weights(close=close))[-1]
        moved[close] = float((last.ws - ws).norm())
    assert moved[1.0] < 0.5 * moved[0.0]


def test_a_color_wish_is_followed(toy, extractor):
    _, ws, _ = start_and_target(toy, seeds=(4,))
    free = np.full(toy.size, IGNORE, np.uint8)
    with torch.no_grad():
        other, _ = toy.synthesize(torch.cat([ws[:, :3], toy.map(seed_z(toy, [8]))[:, 3:]], dim=1))
    color = ((other[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).to(torch.uint8).numpy()
    wish = loop.Wish(free, color=color, color_weight=np.ones(toy.size, np.float32))
    steps = run(toy, extractor, ws, wish, steps=60, lr=0.05, weights=loop.Weights(agree=0.0, color=1.0))
    assert steps[-1].loss[0] < 0.6 * steps[0].loss[0]


def test_only_the_needed_layers_are_run(toy, extractor):
    asked = []

    class Spy(ToyGenerator):
        def synthesize(self, ws, *, image=True, last_layer=None):
            asked.append((image, last_layer))
            return super().synthesize(ws, image=image, last_layer=last_layer)

    spy = Spy(32)
    _, ws, target = start_and_target(spy)
    run(spy, extractor, ws, loop.Wish(target), steps=2)
    assert asked == [(False, extractor.last_layer)] * 3
    asked.clear()
    run(spy, extractor, ws, loop.Wish(target), steps=2, weights=loop.Weights(preserve=1.0))
    assert asked == [(True, None)] * 3


def test_what_agrees_but_for_rounding_agrees(toy, extractor, monkeypatch):
    """A sum of weights that are one together comes to a little less for some maps; that is no reason to go on."""
    ws = toy.map(seed_z(toy, range(24)))
    maps = extractor.predict(toy.synthesize(ws)[1])

    def moved():
        wishes = [loop.Wish(m, weight=category_weight(m)) for m in maps]
        pairs = zip(ws, wishes, strict=True)
        return sum(len(list(loop.steer(toy, extractor, w[None], wish, steps=1))) - 1 for w, wish in pairs)

    assert moved() == 0
    monkeypatch.setattr(loop, "ROUNDING", 0.0)
    assert moved() > 0


def test_it_stops_early_and_when_closed(toy, extractor):
    _, ws, target = start_and_target(toy)
    own = toy.truth(ws)
    assert len(run(toy, extractor, ws, loop.Wish(own), steps=30, enough=0.95)) == 1
    assert len(run(toy, extractor, ws, loop.Wish(target), steps=30, lr=0.0, patience=4)) == 5
    assert len(run(toy, extractor, ws, loop.Wish(target), steps=30, lr=0.0, patience=4, keep_best=False)) == 5
    assert len(run(toy, extractor, ws, loop.Wish(target), steps=30)) == 31
    steps = loop.steer(toy, extractor, ws, loop.Wish(target), steps=30)
    next(steps)
    steps.close()
    assert list(steps) == []


@pytest.mark.parametrize("wrong", [{"agree": float("nan")}, {"close": -1.0}, {"power": 0.5}, {"bound": 2.0}], ids=str)
def test_weights_that_make_no_loss_are_refused_by_name(toy, extractor, wrong):
    _, ws, target = start_and_target(toy)
    with pytest.raises(loop.SteerError, match=f"weights: {next(iter(wrong))}"):
        run(toy, extractor, ws, loop.Wish(target), steps=1, weights=loop.Weights(**wrong))


def test_numbers_that_are_not_finite_end_it_with_the_best_state(toy, extractor):
    calls = []

    class Breaks(ToyGenerator):
        def synthesize(self, ws, *, image=True, last_layer=None):
            rgb, features = super().synthesize(ws, image=image, last_layer=last_layer)
            calls.append(1)
            return rgb, [x * float("nan") if len(calls) > 3 else x for x in features]

    breaking = Breaks(32)
    _, ws, target = start_and_target(breaking)
    steps = run(breaking, extractor, ws, loop.Wish(target), steps=30)
    assert len(steps) == 4 and steps[-1].done
    assert torch.isfinite(steps[-1].ws).all() and np.isfinite(steps[-1].loss).all()
    with pytest.raises(loop.SteerError, match="not finite at the start"):
        run(breaking, extractor, ws, loop.Wish(target), steps=30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "w"}, "space: expected one of"),
        ({"steps": -1}, "steps: expected"),
        ({"start": torch.zeros(1, 3, 3)}, "another generator"),
        ({"start": torch.zeros(0, 5, 24)}, "at least one latent"),
        ({"anchor": torch.zeros(3, 5, 24)}, "anchor: expected 1 or 1 latents, got 3"),
        ({"wish": loop.Wish(np.full((32, 32), -1))}, "target: expected labels"),
        ({"wish": loop.Wish(np.zeros((32, 32)))}, "target: expected labels"),
        ({"start": torch.full((1, 5, 24), torch.nan)}, "not finite"),
        ({"wish": loop.Wish(np.zeros((5, 5), np.uint8))}, "target: expected"),
        ({"wish": loop.Wish(np.full((32, 32), 5, np.uint8))}, "target: label 5, but there are"),
        ({"wish": loop.Wish(np.zeros((32, 32), np.uint8), weight=-np.ones((32, 32)))}, "at least 0"),
    ],
)
def test_bad_input(toy, extractor, change, message):
    arguments = {"start": toy.map(seed_z(toy, [1])), "wish": loop.Wish(np.zeros((32, 32), np.uint8))} | change
    start, wish = arguments.pop("start"), arguments.pop("wish")
    with pytest.raises(loop.SteerError, match=message):
        run(toy, extractor, start, wish, **arguments)
