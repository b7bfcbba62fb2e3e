"""The few-shot fit: its objective, pixels, coordinates and refusals."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from linsem import fewshot, softmax
from linsem.basis import fit_basis, ranks_of
from linsem.calibrate import temperature_of
from linsem.curvature import Diagonal, Full, diagonal, evened, full
from linsem.examples import pick_pixels
from linsem.extractor import load_extractor, save_extractor
from linsem.fewshot import Annotation, AnnotationError, FitStep, fit_few_shot, iter_few_shot
from linsem.fitting import NEVER
from linsem.gather import gather
from linsem.generator import Layer, freeze, seed_z
from linsem.looks import Looks
from linsem.metrics import paper_miou
from linsem.noise import has_noise
from linsem.palette import Category
from linsem.pixels import IGNORE
from linsem.softmax import Problem, _evenly, _missed, common_shares, cross_validate, logits_of, solve, solved
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.toys import CATEGORIES, ToyGenerator, scribbles


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator(24)


@pytest.fixture(scope="module")
def fitted(toy, dense):
    return fit_few_shot(toy, dense, CATEGORIES)


def miou(toy, extractor):
    ws = toy.map(seed_z(toy, range(100, 120)), psi=0.7)
    _, features = toy.synthesize(ws, image=False, last_layer=extractor.last_layer)
    return paper_miou(torch.from_numpy(extractor.predict(features)), torch.from_numpy(toy.truth(ws)), len(CATEGORIES))


# --- what is learnt --------------------------------------------------------------------------------------------------


def test_four_dense_images_are_enough_to_segment_others(toy, fitted):
    assert miou(toy, fitted) > 0.85
    untrained = replace(fitted, weights={k: torch.zeros_like(w) for k, w in fitted.weights.items()})
    assert miou(toy, untrained) < 0.3


def test_scribbles_are_the_same_code_and_an_unknown_pixel_takes_no_part(toy, dense, fitted):
    sparse = [replace(a, labels=scribbles(a.labels, 0.04, i)) for i, a in enumerate(dense)]
    assert np.mean([(a.labels != IGNORE).mean() for a in sparse]) < 0.06
    few = miou(toy, fit_few_shot(toy, sparse, CATEGORIES))
    assert few > 0.8 * miou(toy, fitted)
    as_background = [replace(a, labels=np.where(a.labels == IGNORE, 0, a.labels).astype(np.uint8)) for a in sparse]
    assert miou(toy, fit_few_shot(toy, as_background, CATEGORIES)) < few - 0.2


def test_a_small_category_does_not_vanish(toy, dense):
    """Five pixels of it in all, among two thousand of the others; `balance` decides how loud they are."""
    rare = [replace(a, labels=np.where(a.labels == 3, IGNORE, a.labels).astype(np.uint8)) for a in dense]
    rows, columns = np.nonzero(dense[0].labels == 3)
    chosen = np.random.default_rng(0).permutation(len(rows))[:5]
    rare[0].labels[rows[chosen], columns[chosen]] = 3
    ws = toy.map(seed_z(toy, range(100, 110)), psi=0.7)
    truth, features, recall = toy.truth(ws) == 3, toy.synthesize(ws)[1], {}
    for balance in (0.0, 0.5):
        found = fit_few_shot(toy, rare, CATEGORIES, balance=balance).predict(features) == 3
        assert (truth & found).sum() / found.sum() > 0.5
        recall[balance] = (truth & found).sum() / truth.sum()
    assert recall[0.5] > 0.5 and recall[0.5] > recall[0.0] > 0


def test_the_plain_function_is_the_last_step_of_the_streaming_one(toy, dense, fitted):
    steps = list(iter_few_shot(toy, dense, CATEGORIES))
    assert all(isinstance(s, FitStep) for s in steps) and len(steps) > 1
    assert steps[-1].loss < steps[0].loss
    last = steps[-1].extractor
    assert vars(last) | {"weights": 0} == vars(fitted) | {"weights": 0}
    assert all(torch.equal(last.weights[k], fitted.weights[k]) for k in fitted.weights)


def test_a_step_is_told_every_eight_iterations_and_at_the_end(toy, dense, fitted):
    """Also after a start, where the end is looked for every two; an early step is not changed by what comes later."""
    for options in ({}, {"start": fitted, "ridge": 0.001}):
        steps = [(step.index, step, step.extractor.weights["bias"].clone()) for step in iter_few_shot(
            toy, dense, CATEGORIES, iterations=21, **options)]  # fmt: skip
        numbers = [index for index, *_ in steps]
        assert numbers == sorted(set(numbers)) and len(numbers) > 1
        assert all(index % 8 == 0 for index in numbers[:-1]) or "start" not in options
        assert all(torch.equal(step.extractor.weights["bias"], bias) for _, step, bias in steps)
        assert not torch.equal(steps[0][2], steps[-1][2])


def test_a_warm_start_ends_where_a_cold_one_does_and_sooner(toy, dense, fitted):
    options = {"ridge": float(fitted.notes["ridge"]), "iterations": 200}
    *_, cold = iter_few_shot(toy, dense, CATEGORIES, **options)
    warm = list(iter_few_shot(toy, dense, CATEGORIES, start=cold.extractor, **options))
    assert len(warm) <= 2 and cold.index > 20
    assert warm[0].loss == pytest.approx(cold.loss, rel=5e-3)
    assert warm[-1].extractor.notes["ridge"] == cold.extractor.notes["ridge"]


def test_a_fit_to_many_pixels_begins_with_some_of_them_and_ends_at_the_same_loss(toy, dense, monkeypatch):
    whole = list(iter_few_shot(toy, dense, CATEGORIES))
    monkeypatch.setattr(fewshot, "COARSE", 200)
    coarse = list(iter_few_shot(toy, dense, CATEGORIES))
    assert [step.index for step in coarse] == sorted(step.index for step in coarse)
    assert coarse[-1].index <= coarse[-1].total
    assert coarse[-1].loss == pytest.approx(whole[-1].loss, rel=0.02)
    assert abs(coarse[0].loss - whole[0].loss) > 1e-5  # of other pixels
    short = list(iter_few_shot(toy, dense, CATEGORIES, iterations=1))
    monkeypatch.setattr(fewshot, "COARSE", 10**9)
    assert short[-1].loss == next(iter_few_shot(toy, dense, CATEGORIES, iterations=1)).loss  # too short for two parts


def test_of_wide_features_fewer_pixels_are_used(toy):
    assert fewshot._most(toy, (0,), 1) == fewshot.LEAST_PIXELS
    assert fewshot._most(toy, (0,), 8) == 8 * fewshot.PIXELS_AN_IMAGE
    assert fewshot._most(toy, (0,), 100) == fewshot.MAX_PIXELS
    wide = SimpleNamespace(layers=[SimpleNamespace(channels=5000)], synthesize=toy.synthesize)
    assert fewshot.LEAST_PIXELS < fewshot._most(wide, (0,), 100) <= fewshot.MAX_NUMBERS // 5000


def test_a_start_of_other_layers_is_a_cold_one(toy, dense):
    coarse = fit_few_shot(toy, dense, CATEGORIES, layers=(0, 1))
    one = fit_few_shot(toy, dense[:2], CATEGORIES, start=coarse)
    other = fit_few_shot(toy, dense[:2], CATEGORIES)
    assert all(torch.equal(one.weights[k], other.weights[k]) for k in other.weights)


def test_a_start_keeps_categories_by_name_and_learns_a_new_one(toy, dense):
    three = [replace(a, labels=np.where(a.labels == 3, IGNORE, a.labels).astype(np.uint8)) for a in dense]
    before = fit_few_shot(toy, three, CATEGORIES[:3])
    after = fit_few_shot(toy, dense, CATEGORIES, start=before)
    assert miou(toy, after) > 0.8


def test_the_same_call_gives_the_same_extractor(toy, dense):
    one, other = (fit_few_shot(toy, dense[:2], CATEGORIES, seed=3) for _ in range(2))
    assert all(torch.equal(one.weights[k], other.weights[k]) for k in one.weights)


def test_the_probabilities_are_calibrated_on_pixels_that_were_left_out(toy, dense):
    fitted = fit_few_shot(toy, dense, CATEGORIES, ridge=1e-5)  # surer of itself than it should be
    ws = toy.map(seed_z(toy, range(100, 116)), psi=0.7)
    truth, logits = torch.from_numpy(toy.truth(ws)).long(), fitted.logits(toy.synthesize(ws)[1])
    bare, calibrated = (float(F.cross_entropy(logits / t, truth)) for t in (1.0, fitted.temperature))
    assert calibrated < 0.8 * bare


def test_a_fit_is_only_ever_softened_by_what_each_pixel_stands_for(toy, dense, monkeypatch):
    """Of a few pixels that are picked evenly from large and small categories, as if all were there."""
    labels = np.concatenate([a.labels.ravel() for a in dense])
    common = np.bincount(labels, minlength=4) / labels.size
    for best, set_to in ((0.5, 1.0), (1.5, 1.5)):
        seen = []
        monkeypatch.setattr(
            "linsem.fitting.temperature_of", lambda *given, best=best, to=seen: to.append(given) or best
        )
        assert fit_few_shot(toy, dense, CATEGORIES, pixels=160).temperature == set_to
        [(_, y, weight)] = seen
        found = [torch.bincount(y, each, 4) / each.sum() for each in (weight, torch.ones_like(weight))]
        assert found[0].numpy() == pytest.approx(common, rel=0.01) and found[1].numpy() != pytest.approx(
            common, rel=0.2
        )


def test_wrong_pixels_are_less_sure(toy, dense):
    fitted = fit_few_shot(toy, dense, CATEGORIES, ridge=0.001)
    ws = toy.map(seed_z(toy, range(100, 116)), psi=0.7)
    features = toy.synthesize(ws)[1]
    right, unsure = fitted.predict(features) == toy.truth(ws), fitted.uncertainty(features)
    assert unsure[~right].mean() > unsure[right].mean() + 0.3


# --- how far the generator runs --------------------------------------------------------------------------------------


class Counted:
    """A generator that counts its passes and records how far they went."""

    def __init__(self, generator):
        self.generator, self.calls = generator, []

    def __getattr__(self, name):
        return getattr(self.generator, name)

    def synthesize(self, ws, *, image=True, last_layer=None):
        self.calls.append((len(ws), image, last_layer))
        return self.generator.synthesize(ws, image=image, last_layer=last_layer)


def test_each_image_is_one_pass_no_further_than_the_chosen_layers_and_without_its_image(toy, dense):
    counted = Counted(toy)
    extractor = fit_few_shot(counted, dense, CATEGORIES, layers=(2, 0))
    assert counted.calls == [(1, False, 2)] * 4
    assert extractor.layers == (0, 2) and extractor.last_layer == 2


def test_cached_features_cost_no_pass_and_the_cache_keeps_within_its_limit(toy, dense):
    counted = Counted(toy)
    cache = Looks(counted).features
    for _ in range(2):
        fit_few_shot(counted, dense, CATEGORIES, features_of=cache)
    assert len(counted.calls) == 4
    one = sum(x.numel() * 4 for x in cache(dense[0].ws))
    small = Looks(counted, bytes_limit=int(2.5 * one)).features
    for i in (0, 1, 0, 2, 0, 1):  # two fit: the one that was used longest ago goes
        small(dense[i].ws)
    assert len(counted.calls) == 4 + 4
    assert all(torch.equal(a, b) for a, b in zip(small(dense[1].ws), cache(dense[1].ws), strict=True))


def small_stylegan2(noise):
    torch.manual_seed(0)
    config = StyleGAN2Config(channels=(8, 8, 8), z_dim=8, w_dim=8, mapping_layers=2)
    generator = freeze(StyleGAN2(config, id="small"))
    for name, p in generator.named_parameters():
        if name.endswith("noise_strength"):
            p.data.fill_(noise)
    return generator


def test_fresh_noise_is_seen_where_the_generator_has_it():
    categories = (Category("left", "#ff0000"), Category("right", "#0000ff"))
    labels = np.repeat((np.arange(16) >= 8).astype(np.uint8)[None], 16, 0)
    pixels = {}
    for strength in (0.0, 0.3):
        generator = small_stylegan2(strength)
        assert has_noise(generator) == (strength > 0)
        annotation = Annotation(generator.map(torch.randn(1, 8))[0], labels)
        for noise in (0, 2):
            extractor = fit_few_shot(generator, [annotation], categories, noise=noise)
            pixels[strength, noise] = int(extractor.notes["pixels"])
    assert pixels == {(0.0, 0): 256, (0.0, 2): 256, (0.3, 0): 256, (0.3, 2): 768}


def test_twice_as_many_pixels_are_counted_without_the_draws_of_the_noise():
    """A fit from nothing counts each pixel once for each draw, one that goes on has none."""
    categories = (Category("left", "#ff0000"), Category("right", "#0000ff"))
    generator, rows = small_stylegan2(0.3), np.arange(16)
    some = np.where(rows[:, None] % 4 == 0, rows >= 8, IGNORE).astype(np.uint8)  # every fourth row
    more = np.where(rows[:, None] % 2 == 0, rows >= 8, IGNORE).astype(np.uint8)
    most = np.where(rows[:, None] % 4 > 0, rows >= 8, IGNORE).astype(np.uint8)
    latents = generator.map(torch.randn(2, 8))
    options = {"spread": False, "categories": categories, "noise": 3}

    def fitted(labels, start=None):
        return fit_few_shot(generator, [Annotation(ws, labels) for ws in latents], start=start, **options)

    first = fitted(some)
    assert (first.notes["pixels"], first.notes["times"]) == ("512", "4")
    known = replace(first, notes=first.notes | {"ridge": "0.07"})
    assert fitted(more, known).notes["ridge"] == "0.07"  # twice as many
    assert fitted(most, known).notes["ridge"] != "0.07"  # three times


def test_no_two_images_share_their_noise(monkeypatch):
    generator, drawn = small_stylegan2(0.3), []
    plain = fewshot.synthesize_noisy
    monkeypatch.setattr(
        fewshot, "synthesize_noisy", lambda g, ws, seeds, last: drawn.extend(seeds) or plain(g, ws, seeds, last)
    )
    labels = np.repeat((np.arange(16) >= 8).astype(np.uint8)[None], 16, 0)
    annotations = [Annotation(ws, labels) for ws in generator.map(torch.randn(3, 8))]
    fit_few_shot(generator, annotations, (Category("left", "#ff0000"), Category("right", "#0000ff")), noise=2, seed=5)
    assert drawn == [6, 7, 8, 9, 10, 11]


# --- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(24, 24), (12, 12), (20, 28)])
def test_gathering_equals_upsampling_and_looking(toy, dense, size):
    _, features = toy.synthesize(dense[0].ws[None], image=False)
    pixels = np.random.default_rng(0).permutation(size[0] * size[1])[:50]
    up = [F.interpolate(x, size=size, mode="bilinear", align_corners=True) for x in features]
    expected = torch.cat([x[0].flatten(1).t()[torch.from_numpy(pixels)] for x in up], dim=1)
    torch.testing.assert_close(gather(features, range(5), pixels, size), expected, atol=1e-5, rtol=1e-5)
    other = F.interpolate(features[0], size=size, mode="bilinear", align_corners=False)
    assert (other[0].flatten(1).t()[torch.from_numpy(pixels)] - expected[:, : other.shape[1]]).abs().max() > 1e-2


def problem_of(n=300, d=6, classes=3, noise=0.0, seed=0):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=source)
    logits = x @ torch.randn(d, classes, generator=source) * 2
    y = (logits + noise * torch.randn(n, classes, generator=source)).argmax(1)
    return Problem(x, y, torch.full((n,), 1 / n), classes)


def test_the_solution_is_the_minimum():
    problem = problem_of(noise=1.0)
    theta = solved(problem, 0.01, 300).requires_grad_()

    def loss(theta):
        logits = logits_of(theta, problem.x)
        return (F.cross_entropy(logits, problem.y, reduction="none") * problem.weight).sum() + 0.005 * (
            theta[:, :-1].square().sum()
        )

    (slope,) = torch.autograd.grad(loss(theta), theta)
    (at_zero,) = torch.autograd.grad(loss(zero := torch.zeros_like(theta).requires_grad_()), zero)
    assert slope.norm() < 1e-3 * at_zero.norm()
    source = torch.Generator().manual_seed(1)
    for _ in range(5):
        assert loss(theta + 0.05 * torch.randn(theta.shape, generator=source)) > loss(theta)


def test_the_solver_tells_of_a_falling_loss():
    problem = problem_of(noise=1.0)
    losses = [loss for _, loss in solve(problem.start(), problem, 0.01, 60, every=2)]
    assert len(losses) > 2 and losses == sorted(losses, reverse=True)


def losses_of(problem, even):
    return np.array([loss for _, loss in solve(problem.start(), problem, 1e-6, 8, every=2, tolerance=0, even=even)])


def test_rows_that_say_much_the_same_are_solved_as_fast():
    """All second moments make the way the same in any coordinates of the rows; the variances alone do not."""
    problem = problem_of(noise=1.0)
    mixed = replace(problem, x=problem.x @ (torch.ones(6, 6) + 0.2 * torch.eye(6)))
    plain, valley = (losses_of(each, full(each.x, each.weight, 1e-6)) for each in (problem, mixed))
    slow = losses_of(mixed, diagonal(mixed.x, mixed.weight, 1e-6))
    assert (valley - plain)[-1] < 0.01 < 0.3 < (slow - plain)[-1]


@pytest.mark.parametrize("rows", [1, 30, 5000])
@pytest.mark.parametrize("way", [diagonal, full])
def test_even_coordinates_lead_there_and_back(rows, way):
    source = torch.Generator().manual_seed(0)
    x, theta = torch.randn(rows, 6, generator=source), torch.randn(3, 7, generator=source)
    x[:, 1] = x[:, 0]  # and one coordinate says nothing new
    even = way(x, torch.full((rows,), 1 / rows), 1e-3)
    even.back(even.moved(theta), out := torch.empty_like(theta))
    assert torch.allclose(out, theta, atol=1e-4)
    gradient, moved = torch.randn(3, 7, generator=source), even.moved(theta)
    even.gradient(gradient, by_moved := torch.empty_like(theta))  # <gradient, theta> does not know of coordinates
    assert torch.allclose((by_moved * moved).sum(), (gradient * theta).sum(), rtol=1e-3)


def test_few_rows_are_solved_by_the_variances():
    x = torch.randn(100, 6)
    assert isinstance(evened(x[:23], torch.full((23,), 1 / 23), 0.01), Diagonal)
    whole, some = (evened(x, torch.full((100,), 0.01), 0.01, brief=brief) for brief in (False, True))
    assert isinstance(whole, Full) and isinstance(some, Full)
    expected = full(x[::3], torch.full((34,), 1 / 34), 0.01)  # at most eight rows for each of six coordinates
    assert torch.allclose(some.root, expected.root) and not torch.allclose(some.root, whole.root)


def test_cross_validation_wants_a_stronger_prior_where_labels_are_noisier():
    groups = torch.arange(300) % 5
    ridges = [10.0**e for e in range(-5, 1)]
    clean = cross_validate(problem_of(d=30), groups, ridges)
    noisy = cross_validate(problem_of(d=30, noise=20.0), groups, ridges)
    assert noisy.ridge > 10 * clean.ridge
    assert len(clean.rows) == 300 and torch.equal(clean.rows.sort().values, torch.arange(300))


def test_what_loses_a_rare_class_is_worse_than_what_errs_as_often_elsewhere():
    """Of 100 rows five are of the rare class: one way takes them all for the other, one errs on five of the other."""
    y = (torch.arange(100) >= 95).long()
    right = torch.stack([1.0 - y, y.float()], 1) * 6 - 3
    lost, other = right.clone(), right.clone()
    lost[95:], other[:5] = right[0], right[99]
    weight = torch.full((100,), 0.01)
    even = _evenly(weight, y, 3)
    assert _missed(lost, y, weight) == pytest.approx(_missed(other, y, weight))
    assert _missed(right, y, even) < _missed(other, y, even) < 0.6 * _missed(lost, y, even)


def test_what_is_merely_too_sure_is_not_worse():
    y = torch.arange(60) % 3
    logits = 2 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    logits[torch.arange(60), y] += 1
    weight = torch.full((60,), 1 / 60)
    assert _missed(5 * logits, y, weight) == pytest.approx(_missed(logits, y, weight), rel=1e-3)
    assert torch.nn.functional.cross_entropy(5 * logits, y) > 1.5 * torch.nn.functional.cross_entropy(logits, y)


def test_cross_validation_without_anything_to_leave_out_takes_the_middle():
    problem = problem_of(n=20)
    choice = cross_validate(problem, torch.zeros(20, dtype=torch.long), [0.1, 0.01, 0.001])
    assert choice.ridge == 0.01 and len(choice.rows) == 0


def test_shares_are_found_without_labels():
    """Rows of which 90 % are of one class, and a classifier that takes both for equally common."""
    source = torch.Generator().manual_seed(0)
    y = (torch.rand(4000, generator=source) < 0.1).float()
    x = torch.randn(4000, generator=source) + 2 * y - 1
    logits = torch.stack([-x, x], dim=1)  # exact for normals of means -1 and 1
    even = torch.tensor([0.5, 0.5])
    assert common_shares(logits, even, 30)[1] == pytest.approx(0.1, abs=0.02)
    assert logits.softmax(1).mean(0)[1] > 0.18


def test_sparse_labels_do_not_say_how_common_a_category_is(toy, dense):
    """Painted as many pixels of each: the fit asks the unlabelled pixels instead."""
    rng, even = np.random.default_rng(0), []
    for a in dense:
        labels = np.full_like(a.labels, IGNORE)
        for k in np.unique(a.labels):
            where = np.flatnonzero(a.labels == k)
            labels.ravel()[rng.choice(where, min(6, len(where)), replace=False)] = k
        even.append(replace(a, labels=labels))
    fitted = fit_few_shot(toy, even, CATEGORIES, spread=False)
    as_painted = fit_few_shot(toy, even, CATEGORIES, balance=1.0, spread=False)
    assert miou(toy, fitted) > miou(toy, as_painted) - 0.02
    shares = [float((e.predict(toy.synthesize(dense[0].ws[None])[1]) == 0).mean()) for e in (fitted, as_painted)]
    assert shares[0] > shares[1]


def test_the_temperature_undoes_a_scale():
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 3, generator=source) * 2
    labels = torch.distributions.Categorical(logits=logits)
    torch.manual_seed(0)
    drawn = labels.sample()
    assert temperature_of(logits, drawn) == pytest.approx(1, abs=0.08)
    assert temperature_of(logits * 5, drawn) == pytest.approx(5, rel=0.08)
    assert temperature_of(logits[:0], drawn[:0]) == 1


def test_the_power_of_a_basis_can_be_changed_afterwards():
    x = torch.randn(300, 6, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.logspace(1, -1, 6))
    one, other = (fit_basis(x, [4, 2], power=p) for p in (1.0, 0.5))
    torch.testing.assert_close(one.with_power(0.5).project(x), other.project(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.project(x) * one.factors(0.5), other.project(x), atol=1e-4, rtol=1e-4)
    assert (one.project(x) - other.project(x)).abs().max() > 0.1


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_basis_loses_nothing_and_can_be_undone(power):
    source = torch.Generator().manual_seed(0)
    x = torch.randn(400, 7, generator=source) @ torch.randn(7, 7, generator=source) + 3
    basis = fit_basis(x, [4, 3], power=power)
    theta = torch.randn(2, 8, generator=source)
    matrix, bias = basis.to_raw(theta)
    torch.testing.assert_close(x @ matrix.t() + bias, logits_of(theta, basis.project(x)), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(basis.from_raw(matrix, bias), theta, atol=1e-3, rtol=1e-3)
    spread = basis.project(x).std(0)
    assert (float(spread.max() / spread.min()) < 1.05) == (power == 0)


@pytest.mark.parametrize("scale", [1e-8, 1e-12, 1e8])
def test_a_basis_is_that_of_the_same_features_on_another_scale(scale):
    source = torch.Generator().manual_seed(0)
    x = torch.randn(400, 7, generator=source) @ torch.randn(7, 7, generator=source) + 3
    plain, scaled = (fit_basis(each, [4, 3]).project(each) for each in (x, x * scale))
    torch.testing.assert_close(plain.abs(), scaled.abs(), atol=1e-3, rtol=1e-3)  # a direction has no sign


def test_a_basis_of_lower_rank_keeps_the_directions_of_most_variance():
    source = torch.Generator().manual_seed(0)
    x = torch.randn(500, 6, generator=source) * torch.tensor([9.0, 5, 3, 0.2, 0.1, 1e-6])
    basis = fit_basis(x, [6], rank=3)
    assert basis.project(x).shape == (500, 3)
    kept = basis.backward[0].square().sum(0) / basis.backward[0].square().sum(0).max()
    assert kept[3:].max() < 0.01 < kept[:3].min()
    assert fit_basis(x, [6], rank=None).project(x).shape == (500, 5)  # a direction without variance is left out


def test_small_maps_keep_few_directions(toy, dense, monkeypatch):
    layers = tuple(Layer(32, size, size, 0) for size in (1, 4, 8, 32))
    assert ranks_of(layers, 64) == [1, 4, 16, 64] and ranks_of(layers, None) is None
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    assert fit_basis(x, [32, 32], rank=[4, 16]).project(x).shape == (500, 20)

    def directions():
        weight = fit_few_shot(toy, dense, CATEGORIES).weights["layer0.weight"]
        return int(torch.linalg.matrix_rank(weight, rtol=1e-4))

    assert directions() > 1
    monkeypatch.setattr("linsem.basis.POSITIONS", 64)  # of the smallest map, 8 x 8, one direction is left
    assert directions() == 1


def test_picked_pixels_are_shared_out_over_images_and_small_categories_are_kept_whole():
    labels = np.zeros((40, 40), dtype=np.uint8)
    labels[:2, :5], labels[10:30] = 1, 2
    labels[35:] = IGNORE
    picks = pick_pixels([labels, labels], 3, 300, 0)
    for chosen, stands in picks:
        found = labels.ravel()[chosen]
        assert len(chosen) <= 150 and len(np.unique(chosen)) == len(chosen) and (found == 1).sum() == 10
        assert (found != IGNORE).all()
        for k in range(3):
            assert stands[found == k].sum() == pytest.approx((labels == k).sum(), rel=1e-4)
    everything = pick_pixels([labels], 3, 10_000, 0)[0][0]
    assert np.array_equal(everything, np.flatnonzero(labels.ravel() != IGNORE))


# --- bad input -------------------------------------------------------------------------------------------------------


def changed(annotation, **at):
    labels = annotation.labels.copy()
    for value, where in at.items():
        labels[where] = int(value[1:])
    return replace(annotation, labels=labels)


def test_a_category_without_a_pixel_is_named_or_kept_without_being_predicted(toy, dense):
    more = (*CATEGORIES, Category("moon", "#ffffff"), Category("sun", "#ffff00"))
    with pytest.raises(AnnotationError, match="no pixel of 'moon', 'sun' on any of 4 images"):
        fit_few_shot(toy, dense, more)
    kept = fit_few_shot(toy, dense, more, missing="keep")
    assert kept.categories == more and float(kept.weights["bias"][4]) == NEVER
    assert miou(toy, kept) > 0.85
    assert set(np.unique(kept.predict(toy.synthesize(dense[0].ws[None])[1]))) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda a: [], "no image is labelled"),
        (lambda a: [a[0], replace(a[1], labels=a[1].labels[:8])], r"image 2: labels of size \(8, 24\)"),
        (lambda a: [a[0], replace(a[1], labels=a[1].labels.astype(float))], "image 2: .*float64"),
        (lambda a: [a[0], replace(a[1], ws=a[1].ws[:3])], "image 2: .*another generator"),
        (
            lambda a: [a[0], replace(a[1], generator_id="other")],
            "image 2: it belongs to the generator 'other', not 'toy",
        ),
        (lambda a: [replace(a[0], ws=a[0].ws * torch.nan), a[1]], "image 1: its ws hold numbers that are not finite"),
        (lambda a: [a[0], changed(a[1], v9=(0, 0))], "image 2: label 9 in 1 pixels.*3 'small'"),
        (lambda a: [changed(x, v255=slice(None)) for x in a], "all pixels of all 4 images are unknown"),
        (lambda a: [changed(a[0], v255=slice(None))], "all pixels of the image are unknown"),
        (lambda a: [changed(x, v2=slice(None)) for x in a], "only 'middle' is painted"),
    ],
)
def test_annotations_that_cannot_be_learnt_from_are_told_by_image_and_category(toy, dense, spoil, says):
    with pytest.raises(AnnotationError, match=says):
        fit_few_shot(toy, spoil(dense), CATEGORIES)


def test_features_that_are_not_finite_name_the_image(toy, dense):
    def features_of(ws):
        features = toy.synthesize(ws[None], image=False)[1]
        return [x * torch.nan for x in features] if torch.equal(ws, dense[2].ws) else features

    with pytest.raises(AnnotationError, match="image 3: its features hold numbers that are not finite"):
        fit_few_shot(toy, dense, CATEGORIES, features_of=features_of)


def test_pictures_that_are_not_finite_name_the_image(toy, dense, monkeypatch):
    """Strokes are spread along the picture; the network may give a broken one beside sound features."""
    strokes = [replace(a, labels=np.where(np.indices(a.labels.shape)[0] == 16, a.labels, IGNORE)) for a in dense]
    whole = toy.synthesize

    def broken(ws, **options):
        image, features = whole(ws, **options)
        spoilt = image is not None and torch.equal(ws[0], strokes[2].ws)
        return image * torch.nan if spoilt else image, features

    monkeypatch.setattr(toy, "synthesize", broken)
    with pytest.raises(AnnotationError, match="image 3: image: expected numbers"):
        fit_few_shot(toy, strokes, CATEGORIES, missing="keep")


def test_a_single_number_that_is_not_finite_names_the_category_whether_or_not_its_pixel_is_used(toy, dense):
    """Every position that a layer has, so that it does not hang on which pixels are picked."""
    layer = len(toy.layers) - 1
    height, width = toy.layers[layer].height, toy.layers[layer].width
    for at in np.random.default_rng(0).permutation(height * width)[:12]:
        row, column = divmod(int(at), width)

        def features_of(ws, row=row, column=column):
            features = [x.clone() for x in toy.synthesize(ws[None], image=False)[1]]
            if torch.equal(ws, dense[2].ws):
                features[layer][0, 0, row, column] = torch.nan
            return features

        assert (height, width) == dense[2].labels.shape
        name = CATEGORIES[dense[2].labels[row, column]].name
        with pytest.raises(AnnotationError, match=f"image 3: its features.*at a pixel of '{name}'"):
            fit_few_shot(toy, dense, CATEGORIES, features_of=features_of, pixels=8)


def test_annotations_of_this_generator_are_taken_by_name(toy, dense):
    named = [replace(each, generator_id=toy.id) for each in dense]
    assert torch.equal(
        fit_few_shot(toy, named, CATEGORIES).weights["bias"], fit_few_shot(toy, dense, CATEGORIES).weights["bias"]
    )


def test_the_caller_s_precision_changes_nothing(toy, dense):
    """Neither the ambient autocast, which is on again between steps, nor the default dtype."""
    plain = fit_few_shot(toy, dense, CATEGORIES)
    with torch.autocast("cpu", torch.bfloat16):
        under = list(iter_few_shot(toy, dense, CATEGORIES))
        assert torch.is_autocast_enabled("cpu")
        sure = plain.uncertainty(toy.synthesize(dense[0].ws[None])[1])
    torch.set_default_dtype(torch.float64)
    try:
        wide = fit_few_shot(toy, dense, CATEGORIES)
        assert seed_z(toy, [3]).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    for other in (under[-1].extractor, wide):
        assert all(torch.allclose(other.weights[name], w, atol=1e-5) for name, w in plain.weights.items())
    assert sure.dtype == np.float32


@pytest.mark.parametrize(
    "options",
    [
        {"layers": (5,)},
        {"layers": ()},
        {"layers": 3},
        {"layers": [0.0]},
        {"layers": "0"},
        {"missing": "what"},
        {"iterations": 0},
        {"iterations": 2.5},
        {"ridge": -1.0},
        {"ridge": np.nan},
        {"features_of": 3},
        {"rank": 1.5},
        {"pixels": 50.5},
        {"seed": -1},
        {"noise": -1},
    ],
)
def test_options_out_of_range_are_told(toy, dense, options):
    with pytest.raises(ValueError, match="expected"):
        fit_few_shot(toy, dense, CATEGORIES, **options)


def test_layers_of_any_integer_type_can_be_saved(toy, dense, tmp_path):
    fitted = fit_few_shot(toy, dense, CATEGORIES, layers=np.array([2, 0]), rank=np.int64(8))
    save_extractor(fitted, tmp_path / "e.safetensors")
    assert load_extractor(tmp_path / "e.safetensors").layers == (0, 2)


def test_no_prior_is_none_and_not_the_usual_one(toy, dense):
    assert fit_few_shot(toy, dense[:1], CATEGORIES, ridge=0.0, missing="keep").notes["ridge"] == "0.0"
    assert fit_few_shot(toy, dense[:1], CATEGORIES, missing="keep").notes["ridge"] == "0.01"


def test_latents_of_another_precision_are_taken(toy, dense):
    finer = [replace(each, ws=each.ws.double()) for each in dense]
    one, other = (fit_few_shot(toy, each, CATEGORIES).weights["bias"] for each in (dense, finer))
    assert torch.equal(one, other)


def test_more_categories_than_labels_can_name_are_refused(toy, dense):
    many = tuple(Category(f"part {i}", f"#{i:06x}") for i in range(255))
    with pytest.raises(AnnotationError, match="at most 254"):
        fit_few_shot(toy, dense, many, missing="keep")


def test_one_category_is_not_enough(toy, dense):
    with pytest.raises(AnnotationError, match="at least two categories"):
        fit_few_shot(toy, dense, CATEGORIES[:1])


@pytest.mark.parametrize("rows", [1, 2, 7, 12])
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_a_product_in_parts_is_the_product(rows, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    random = torch.Generator().manual_seed(0)
    error, x = torch.randn(4, rows, generator=random), torch.randn(rows, 5, generator=random)
    assert torch.allclose(softmax._product(error, x), error @ x, atol=1e-5)
