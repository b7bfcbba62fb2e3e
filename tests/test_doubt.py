"""Other images may withdraw a guess, but only for categories that they recognise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem import doubt, fitting
from linsem.doubt import FOLDS, doubted
from linsem.fewshot import Annotation, AnnotationError, fit_few_shot
from linsem.generator import seed_z
from linsem.metrics import paper_miou
from linsem.pixels import IGNORE
from linsem.rows import Gathered
from linsem.softmax import Problem, solved
from tests.toys import CATEGORIES, ToyGenerator, scribbles


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator(24)


@pytest.fixture(scope="module")
def flooded(toy):
    """Four images with strokes and correct guesses, except on the first, where a small part spread over the largest."""
    made = []
    ws = toy.map(seed_z(toy, range(4)), psi=0.7)
    for i, (w, truth) in enumerate(zip(ws, toy.truth(ws), strict=True)):
        strokes = scribbles(truth, 0.05, i)
        made.append(Annotation(w, truth.copy(), strokes == IGNORE))
    first = made[0]
    counts = np.bincount(first.labels.ravel(), minlength=len(CATEGORIES))
    wrong = first.guessed & (first.labels == counts.argmax())
    first.labels[wrong] = np.where(counts > 0, counts, counts.max() + 1).argmin()
    return made, wrong


def miou(toy, extractor):
    ws = toy.map(seed_z(toy, range(100, 120)), psi=0.7)
    found = torch.from_numpy(extractor.predict(toy.synthesize(ws, image=False)[1]))
    return paper_miou(found, torch.from_numpy(toy.truth(ws)), len(CATEGORIES))


def test_a_flood_on_one_image_is_taken_back_by_the_others(toy, flooded, monkeypatch):
    annotations, wrong = flooded
    clean = annotations[1:]
    assert wrong.mean() > 0.2
    doubting = fit_few_shot(toy, annotations, CATEGORIES, missing="keep")
    assert miou(toy, doubting) > 0.95 * miou(toy, fit_few_shot(toy, clean, CATEGORIES, missing="keep"))
    monkeypatch.setattr(fitting, "doubted", lambda problem, image, guessed, *_: (torch.zeros_like(guessed), None))
    assert miou(toy, fit_few_shot(toy, annotations, CATEGORIES, missing="keep")) < miou(toy, doubting) - 0.05


def test_a_flood_that_is_taken_back_does_not_make_the_category_larger(toy, flooded):
    annotations, wrong = flooded
    small = int(annotations[0].labels[wrong][0])
    usual, own, believed = (
        fit_few_shot(toy, each, CATEGORIES, missing="keep").least[small]
        for each in (annotations[1:], annotations, [replace(a, guessed=None) for a in annotations])
    )
    assert own < 1.5 * usual < believed


def test_what_a_person_gave_is_never_taken_back(toy, flooded):
    """The same labels, said to be a person's, are believed."""
    annotations, wrong = flooded
    given = [replace(each, guessed=None) for each in annotations]
    all_of_them = int(fit_few_shot(toy, given, CATEGORIES, missing="keep").notes["pixels"])
    kept = int(fit_few_shot(toy, annotations, CATEGORIES, missing="keep").notes["pixels"])
    assert all_of_them == sum((each.labels != IGNORE).sum() for each in given)
    assert all_of_them - kept > 0.9 * wrong.sum()
    alone = fit_few_shot(toy, annotations[:1], CATEGORIES, missing="keep")
    assert int(alone.notes["pixels"]) == (annotations[0].labels != IGNORE).sum()  # of one image nobody knows better


def problem_of(images=3, seed=0):
    """Rows whose first two coordinates separate three classes; a tenth of them is labelled by hand."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (600,), generator=generator)
    centres = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 3.0]])
    x = torch.cat([centres[y] + 0.3 * torch.randn(600, 2, generator=generator), torch.zeros(600, 1)], 1)
    return Problem(x, y, torch.full((600,), 1 / 600), 3), torch.arange(600) % images, torch.arange(600) % 10 > 0


def test_only_wrong_guesses_are_doubted():
    problem, image, guessed = problem_of()
    wrong = torch.zeros(600, dtype=torch.bool)
    wrong[6:160:3] = guessed[6:160:3]  # of the first image
    mistaken = replace(problem, y=torch.where(wrong, (problem.y + 1) % 3, problem.y))
    assert torch.equal(doubted(mistaken, image, guessed, 0.001)[0], wrong)
    assert not doubted(mistaken, image, torch.zeros_like(guessed), 0.001)[0].any()
    assert not doubted(mistaken, torch.zeros_like(image), guessed, 0.001)[0].any()


def test_who_does_not_recognise_a_category_where_it_was_painted_has_no_say_in_it():
    problem, image, guessed = problem_of()
    only_here = replace(problem, y=torch.where((image != 0) & (problem.y == 2), 0, problem.y))
    assert not doubted(only_here, image, guessed, 0.001)[0][(image == 0) & (problem.y == 2)].any()
    unpainted = torch.where(problem.y == 2, True, guessed)  # where nobody painted it, nobody can have seen it
    assert not doubted(problem, image, unpainted, 0.001)[0][problem.y == 2].any()
    wrong = replace(problem, y=torch.where((image == 0) & (problem.y == 0), 2, problem.y))
    assert not doubted(wrong, image, torch.where(wrong.y == 2, True, guessed), 0.001)[0][wrong.y == 2].any()
    assert doubted(wrong, image, guessed, 0.001)[0][wrong.y == 2].any()


@pytest.mark.parametrize("row", [1, 301, 599])
def test_an_image_with_a_single_label_has_its_say_and_breaks_nothing(row, monkeypatch):
    """However thinly the rows are taken: without it, nobody would be left to judge the other image."""
    problem, _, guessed = problem_of(1)
    image = (torch.arange(600) == row).long()
    guessed = guessed & (image == 0)
    monkeypatch.setattr(doubt, "ROWS", 7)
    _, last = doubted(problem, image, guessed, 0.001)
    assert last.theta and all(bool(torch.isfinite(theta).all()) for theta in last.theta)
    monkeypatch.setattr(doubt, "_first_of_each", lambda image: torch.zeros_like(image, dtype=torch.bool))
    monkeypatch.setattr(doubt, "evened", lambda *_: None)
    monkeypatch.setattr(doubt, "solved", lambda problem, *_, **__: problem.start() * problem.weight.sum())
    found, lost = doubted(problem, image, guessed, 0.001)
    assert not found.any()
    assert lost is None  # what is not finite is not remembered, for the next fit would begin there


def test_strokes_on_one_image_and_a_point_on_another_are_fitted(toy):
    ws = toy.map(seed_z(toy, range(2)), psi=0.7)
    truth = toy.truth(ws)
    point = np.full_like(truth[1], IGNORE)
    point[12, 12] = truth[1][12, 12]
    strokes = Annotation(ws[0], truth[0], scribbles(truth[0], 0.05, 0) == IGNORE)
    fitted = fit_few_shot(toy, [strokes, Annotation(ws[1], point)], CATEGORIES, missing="keep", pixels=300)
    assert all(bool(torch.isfinite(w).all()) for w in fitted.weights.values())


@pytest.mark.parametrize("images", [(1,), (0, FOLDS), (3, 3 + 2 * FOLDS)])
def test_who_is_alone_or_in_the_same_part_by_number_is_no_error(images):
    problem, image, guessed = problem_of(len(images))
    wrong = torch.zeros(600, dtype=torch.bool)
    wrong[6:160:3] = guessed[6:160:3] & (image[6:160:3] == 0)
    mistaken = replace(problem, y=torch.where(wrong, (problem.y + 1) % 3, problem.y))
    found, _ = doubted(mistaken, torch.tensor(images)[image], guessed, 0.001)
    assert torch.equal(found, wrong if len(images) > 1 else torch.zeros_like(wrong))


def counted(monkeypatch):
    """A list that the most iterations of each of the doubt's solutions are added to."""
    iterations = []

    def counting(problem, ridge, most, start=None, *, even):
        iterations.append(most)
        return solved(problem, ridge, most, start, even=even)

    monkeypatch.setattr(doubt, "solved", counting)
    return iterations


def test_who_goes_on_from_the_last_solution_doubts_the_same_sooner(monkeypatch):
    """Also when another stroke was painted since; other parts are solved anew."""
    iterations = counted(monkeypatch)
    problem, image, guessed = problem_of()
    first, last = doubted(problem, image, guessed, 0.001)
    wrong = torch.zeros(600, dtype=torch.bool)
    wrong[6:160:3] = guessed[6:160:3]
    mistaken = replace(problem, y=torch.where(wrong, (problem.y + 1) % 3, problem.y))
    assert not first.any()
    again, last = doubted(mistaken, image, guessed, 0.001, last)
    assert torch.equal(again, wrong)
    assert torch.equal(doubted(mistaken, image, guessed & (image == 0), 0.001, last)[0], wrong)
    assert iterations == [doubt.ITERATIONS, doubt.AGAIN, doubt.ITERATIONS]


def test_one_of_the_solutions_goes_on_in_turn_and_the_others_stay(monkeypatch):
    """Also after a stroke on the first image, which is judged by what the others said before."""
    iterations = counted(monkeypatch)
    problem, image, guessed = problem_of()
    _, before = doubted(problem, image, guessed, 0.001)
    stroke = replace(problem, y=torch.where((image == 0) & (problem.y == 2), 1, problem.y))
    for turn, each in ((0, stroke), (1, stroke), (2, stroke), (0, problem)):
        found, after = doubted(each, image, guessed, 0.001, before)
        assert after.turn == turn and after.even is before.even
        changed = [not torch.equal(a, b) for a, b in zip(after.theta, before.theta, strict=True)]
        assert changed == [part == turn for part in range(3)]
        assert found.any() == (each is stroke)
        before = after
    assert iterations == [doubt.ITERATIONS] + [doubt.AGAIN] * 4


def test_several_problems_of_the_same_rows_are_solved_as_each_is_alone():
    problem, image, _ = problem_of(FOLDS)
    weights = torch.stack([(image != part).float() for part in range(3)])
    weights = weights / weights.sum(1, keepdim=True)
    together = solved(replace(problem, weight=weights), 0.01, 60)
    for part, theta in zip(weights, together.split(3), strict=True):
        alone = solved(replace(problem, weight=part), 0.01, 60)
        assert torch.allclose(theta, alone, atol=0.02 * float(alone.abs().max()))
    assert not torch.allclose(*together.split(3)[:2], atol=1e-4)


def test_guesses_of_another_size_or_type_are_refused(toy, flooded):
    first = flooded[0][0]
    for odd in (first.guessed[1:], first.guessed.astype(np.uint8)):
        with pytest.raises(AnnotationError, match=r"image 1: guessed of size .* expected bool"):
            fit_few_shot(toy, [replace(first, guessed=odd)], CATEGORIES, missing="keep")


def _strokes(toy, offset, count=4):
    """Strokes on some images, spread too far, as a visitor paints them who begins elsewhere than others."""
    ws = toy.map(seed_z(toy, range(count)), psi=0.7)
    made = []
    for i, (w, truth) in enumerate(zip(ws, toy.truth(ws), strict=True)):
        guessed = scribbles(truth, 0.05, offset + i) == IGNORE
        wrong = guessed & (np.random.default_rng(offset + i).random(truth.shape) < 0.2)
        made.append(Annotation(w, np.where(wrong, (truth + 1) % len(CATEGORIES), truth).astype(np.uint8), guessed))
    return made


def test_what_goes_on_is_of_the_images_that_were_labelled(toy):
    """The list of images is the same, but others of them have labels: the solutions are outside other images."""
    strokes = _strokes(toy, 0, 3)
    blank = [replace(a, labels=np.full_like(a.labels, IGNORE), guessed=None) for a in strokes]
    options = {"missing": "keep", "pixels": 900}

    def fit(which, memory, start=None):
        some = [strokes[i] if i in which else blank[i] for i in range(3)]
        return fit_few_shot(toy, some, CATEGORIES, rows_of=memory, start=start, **options)

    memory, alone = Gathered(), Gathered()
    first = fit((0, 1), memory)
    between = fit((1,), memory, first)
    last, expected = fit((1, 2), memory, between), fit((1, 2), alone, between)
    assert all(torch.equal(last.weights[name], w) for name, w in expected.weights.items())


def test_one_visitor_s_strokes_do_not_change_what_another_gets(toy, monkeypatch):
    """The same images in one memory; who goes on from a fit of their own has a shorter way."""
    iterations = counted(monkeypatch)
    options = {"missing": "keep", "pixels": 900}

    def fit(strokes, memory, start=None):
        return fit_few_shot(toy, strokes, CATEGORIES, rows_of=memory, start=start, **options)

    mine, theirs, shared = _strokes(toy, 0), _strokes(toy, 50), Gathered()
    alone = fit(mine, Gathered())
    other = fit(theirs, shared)
    beside = fit(mine, shared)
    assert all(torch.equal(alone.weights[name], w) for name, w in beside.weights.items())
    assert not all(torch.equal(alone.weights[name], w) for name, w in other.weights.items())
    assert iterations == [doubt.ITERATIONS] * 3
    again = fit(mine, shared, beside)
    assert iterations[-1] == doubt.AGAIN
    fit(theirs, shared, other)
    once_more = fit(mine, shared, beside)
    assert all(torch.equal(again.weights[name], w) for name, w in once_more.weights.items())
