"""One pass trains all kinds, a stopped run resumes exactly, and each image is made and labelled once."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from linsem.errors import InputError
from linsem.extractor import KINDS, load_extractor, save_extractor
from linsem.generator import seed_z
from linsem.metrics import paper_miou
from linsem.palette import Category
from linsem.parallel import Processes
from linsem.seeds import MAX_SEED
from linsem.supervised import FIRST_SEED, HELD_OUT, Recipe, fit_supervised, iter_supervised
from linsem.training import Training
from tests.toys import CATEGORIES, ToyGenerator

RATES = {"LSE": 0.02, "NSE-1": 0.1, "NSE-2": 0.005, "centroid": 0.0}  # few images, long steps
RECIPES = {kind: Recipe(kind, lr=rate) for kind, rate in RATES.items()}
ENOUGH = {"LSE": 0.7, "NSE-1": 0.6, "NSE-2": 0.4, "centroid": 0.3}


class Teacher:
    """A teacher that sees only the image, returns the category of the nearest colour, and counts images."""

    categories = CATEGORIES

    def __init__(self, generator):
        self.colors, self.images = generator.colors, 0

    def __call__(self, image):
        self.images += len(image)
        distance = (image[:, None] - self.colors[None, :, :, None, None]).square().sum(2)
        return distance.argmin(1).to(torch.uint8)


@pytest.fixture(scope="module")
def toy():
    generator = ToyGenerator(24)
    return generator, Teacher(generator)


def miou(generator, teacher, extractor, count=24):
    image, features = generator.synthesize(generator.map(seed_z(generator, range(500, 500 + count)), psi=0.7))
    return paper_miou(torch.from_numpy(extractor.predict(features)), teacher(image), len(CATEGORIES))


@pytest.fixture(scope="module")
def trained(toy):
    generator, teacher = toy
    before = teacher.images
    steps = list(iter_supervised(generator, teacher, images=160, batch=4, psi=0.7, report=10, recipes=RECIPES))
    return steps, teacher.images - before


def test_all_kinds_learn_in_the_same_pass(toy, trained):
    steps, labelled = trained
    assert labelled == 160 + 8  # each image once for all four, and the held-out ones that set the temperature
    for name, extractor in steps[-1].extractors.items():
        assert miou(*toy, extractor) > ENOUGH[name], name


def test_the_first_step_knows_less(toy, trained):
    first = next(iter_supervised(*toy, images=160, batch=4, psi=0.7, report=1, recipes=RECIPES))
    for name in ("LSE", "NSE-1", "NSE-2"):
        assert miou(*toy, first.extractors[name]) < miou(*toy, trained[0][-1].extractors[name]) - 0.05


def test_recipes_may_be_listed_and_each_has_a_name(toy):
    options = {"images": 8, "batch": 4, "report": 1}
    step = next(iter_supervised(*toy, recipes=["LSE", Recipe("NSE-1", lr=0.1)], **options))
    assert list(step.extractors) == ["LSE", "NSE-1"]
    for wrong, says in (
        (["LSE", Recipe("LSE")], "each kind once"),
        ({"a": "LSE", 2: "NSE-1"}, "expected names, got 2"),
    ):
        with pytest.raises(InputError, match=says):
            next(iter_supervised(*toy, recipes=wrong, **options))


def test_steps_tell_of_progress(trained):
    steps, _ = trained
    assert [(s.index, s.total, s.images) for s in steps] == [(10 * i, 40, 40 * i) for i in (1, 2, 3, 4)]
    for kind in ("LSE", "NSE-1", "NSE-2"):
        assert steps[-1].losses[kind] < 0.6 * steps[0].losses[kind]
    assert all(e.temperature != 1 for name, e in steps[-1].extractors.items() if name != "centroid")
    assert all(e.temperature == 1 for e in steps[0].extractors.values())


@pytest.mark.parametrize("stop", [1, 2])
def test_a_stopped_run_goes_on_exactly(toy, tmp_path, stop):
    options = dict(images=12, batch=2, report=2, recipes={k: Recipe(k, (1, 3)) for k in KINDS})
    whole = fit_supervised(*toy, **options)
    for _, _step in zip(range(stop), iter_supervised(*toy, state=tmp_path / "s.pt", **options), strict=False):
        pass
    rest = list(iter_supervised(*toy, state=tmp_path / "s.pt", **options))
    assert rest[0].index == 2 * stop + 2
    again = list(iter_supervised(*toy, state=tmp_path / "s.pt", **options))  # it is finished: nothing is trained
    assert [s.index for s in again] == [6]
    assert again[-1].losses == rest[-1].losses and again[-1].losses["LSE"] > 0
    for name, extractor in whole.items():
        for key, w in extractor.weights.items():
            assert torch.equal(rest[-1].extractors[name].weights[key], w), (name, key)
            assert torch.equal(again[-1].extractors[name].weights[key], w), (name, key)


def test_the_state_of_another_run_is_refused(toy, tmp_path):
    next(iter_supervised(*toy, images=8, batch=4, recipes=["LSE"], report=1, state=tmp_path / "s.pt"))
    with pytest.raises(ValueError, match="state of another run"):
        next(iter_supervised(*toy, images=8, batch=4, recipes=["NSE-1"], report=1, state=tmp_path / "s.pt"))
    names = tuple(Category(f"other {i}", f"#00000{i}") for i in range(4))
    with pytest.raises(ValueError, match="state of another run"):
        next(
            iter_supervised(
                *toy, images=8, batch=4, recipes=["LSE"], report=1, state=tmp_path / "s.pt", categories=names
            )
        )


def test_the_state_under_another_teacher_or_other_weights_is_refused(toy, tmp_path):
    """What is trained must not change hands in the middle without a word; the same ones go on."""
    generator, teacher = toy
    options = {"images": 8, "batch": 4, "recipes": ["LSE"], "report": 1, "state": tmp_path / "s.pt"}
    next(iter_supervised(generator, teacher, **options))
    others = [(generator, lambda image: 3 - teacher(image)), (ToyGenerator(24, seed=5), teacher)]
    for each in others:
        with pytest.raises(ValueError, match="state of another run"):
            next(iter_supervised(*each, categories=generator.categories, **options))
    assert next(iter_supervised(generator, teacher, **options)).index == 2


class Two:
    """The view of one of two processes, where the other one's sums equal its own."""

    count = 2

    def __init__(self, rank):
        self.first = rank == 0

    def total(self, tensors):
        return {name: 2 * x for name, x in tensors.items()}


def test_sums_of_two_processes_go_on_once(toy, tmp_path):
    """Each adds up its own images; what both have is saved, and only one of them goes on from it."""

    def training():
        return Training(*toy, toy[0].categories, {"means": Recipe("centroid")}, 4, 0.5, 0)

    def sums(run):
        return run.areas, *run.weights["means"].values()

    path, first = tmp_path / "s.pt", training()
    first.measure([1])
    first.step(0, [1, 2], Two(0))
    probe = first.probe([1])
    first.save(path, "run", 1, probe, Two(1))
    assert not path.exists()
    first.save(path, "run", 1, probe, Two(0))
    resumed = [training(), training()]
    for rank, each in enumerate(resumed):
        assert each.load(path, "run", probe, Two(rank)) == 1
    for twice, once in zip(sums(resumed[0]), sums(first), strict=True):
        assert torch.equal(twice, 2 * once)
    assert all(x.abs().sum() > 0 for x in sums(first)[:2])
    assert all(x.abs().sum() == 0 for x in sums(resumed[1]))


@pytest.mark.parametrize("content", [b"", b"abc", b"not a state", 2000, 5000])
def test_a_state_that_is_none_or_cut_off_is_refused(toy, tmp_path, content):
    path, options = tmp_path / "s.pt", dict(images=8, batch=4, recipes=["LSE"], report=1)
    next(iter_supervised(*toy, **options, state=path))
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
    with pytest.raises(ValueError, match="not the state of a run"):
        next(iter_supervised(*toy, **options, state=path))


def test_a_layer_twice_and_a_negative_label_are_refused(toy):
    generator, teacher = toy
    with pytest.raises(ValueError, match="each once"):
        fit_supervised(
            generator, teacher, images=4, recipes={"LSE": Recipe("LSE", (1, 1))}, categories=generator.categories
        )
    with pytest.raises(ValueError, match="label -1"):
        fit_supervised(
            generator,
            lambda image: teacher(image).long() - 1,
            images=4,
            recipes=["LSE"],
            categories=generator.categories,
        )


def test_an_image_s_examples_do_not_depend_on_the_recipes(toy):
    alone = fit_supervised(*toy, images=8, batch=4, recipes=["LSE"])["LSE"]
    among = fit_supervised(*toy, images=8, batch=4, recipes=["centroid", "NSE-2", "LSE"])["LSE"]
    assert all(torch.equal(alone.weights[k], among.weights[k]) for k in alone.weights)
    other = fit_supervised(*toy, images=8, batch=4, recipes=["LSE"], first_seed=FIRST_SEED + 1)["LSE"]
    assert not torch.equal(alone.weights["bias"], other.weights["bias"])


def test_layers_are_chosen_by_recipe(toy):
    fitted = fit_supervised(*toy, images=4, batch=4, recipes={"coarse": Recipe("LSE", (1, 0)), "all": Recipe("LSE")})
    assert fitted["coarse"].layers == (0, 1) and fitted["all"].layers == (0, 1, 2, 3, 4)
    assert fitted["coarse"].last_layer == 1


def test_the_centroid_is_the_mean_direction_of_each_class(toy):
    """Rows of length one, and each nearer (by cosine) to its own pixels than to others' on average."""
    extractor = fit_supervised(*toy, images=32, batch=4, recipes=["centroid"])["centroid"]
    matrix = torch.cat([extractor.weights[f"layer{i}.weight"] for i in range(5)], dim=1)
    torch.testing.assert_close(matrix.norm(dim=1), torch.ones(len(CATEGORIES)))
    assert np.all(extractor.weights["bias"].numpy() == 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipes": ["SVM"]}, "expected one of LSE"),
        ({"recipes": {}}, "expected recipes"),
        ({"recipes": {"x": Recipe("LSE", (7,))}}, r"expected some of 0\.\.4"),
        ({"images": 0}, "images"),
        ({"categories": CATEGORIES[:1]}, "at least two"),
        ({"categories": CATEGORIES[:2]}, "label 3, but there are 2 categories"),
        ({"categories": (*CATEGORIES[:3], CATEGORIES[0])}, "each name once"),
        ({"recipes": {"x": Recipe("LSE", (0.5,))}}, "recipe 'x': layers"),
        ({"state": "nowhere/at/all.pt"}, "no folder 'nowhere/at'"),
        ({"recipes": {"x": "SVM"}}, "recipe 'x': kind: expected one of LSE"),
        (
            {"recipes": {"x": Recipe("LSE", lr=float("nan"))}},
            "recipe 'x': lr: expected a number of at least 0, got nan",
        ),
        ({"recipes": {"x": Recipe("LSE", lr=-1.0)}}, "recipe 'x': lr: expected"),
        ({"images": 24.5}, "images: expected a whole number of at least 1, got 24.5"),
        ({"batch": 8.0}, "batch: expected a whole number"),
        ({"report": 0}, "report: expected a whole number"),
        ({"recipes": None}, "recipes: expected recipes by name, or a list of kinds, got None"),
        ({"recipes": "LSE"}, "recipes: expected recipes by name, or a list of kinds, got 'LSE'"),
        ({"categories": 5}, "categories: expected a list of at least two, got 5"),
        ({"state": 5}, "state: expected a path, got 5"),
        ({"psi": "x"}, "psi: expected a number, got 'x'"),
        ({"psi": float("nan")}, "psi: expected a number, got nan"),
        ({"first_seed": MAX_SEED - 40, "images": 40}, "first_seed: expected a whole number in 0..4294967248"),
    ],
)
def test_bad_input_is_told(toy, options, says):
    with pytest.raises(ValueError, match=says):
        fit_supervised(*toy, **({"images": 8} | options))


@pytest.mark.parametrize(
    "change",
    [lambda y: y[:, ::2, ::2], lambda y: y[:1], lambda y: y[:, None], lambda y: y.float(), lambda y: y > 0],
)
def test_a_teacher_s_labels_are_whole_numbers_of_the_image_s_size(toy, change):
    generator, teacher = toy
    with pytest.raises(InputError, match=r"teacher: expected labels .*whole numbers, got"):
        fit_supervised(
            generator, lambda image: change(teacher(image)), images=8, recipes=["LSE"], categories=CATEGORIES
        )


def test_a_teacher_may_answer_with_an_array(toy):
    generator, teacher = toy
    options = {"images": 8, "recipes": ["LSE"], "categories": CATEGORIES}
    plain = fit_supervised(generator, teacher, **options)["LSE"]
    array = fit_supervised(generator, lambda image: teacher(image).numpy(), **options)["LSE"]
    assert torch.equal(plain.weights["bias"], array.weights["bias"])


def test_what_was_trained_can_be_saved(toy, tmp_path):
    """Whatever form the categories and the layers were given in."""
    categories = [{"name": " sky ", "color": "#AABBCC"}, *(each.name for each in CATEGORIES[1:])]
    recipes = {"LSE": Recipe("LSE", np.array([0, 2]))}
    made = fit_supervised(*toy, images=4, recipes=recipes, categories=categories)["LSE"]
    save_extractor(made, tmp_path / "e.safetensors")
    again = load_extractor(tmp_path / "e.safetensors")
    assert again.layers == (0, 2) and again.categories == made.categories and again.categories[0].color == "#aabbcc"


@pytest.mark.parametrize("recipes", [["centroid"], ["LSE"]])
def test_features_that_are_no_numbers_name_their_seed(toy, recipes):
    """Also after the images that the scales are measured on."""
    generator, teacher = toy

    class Broken:
        def __getattr__(self, name):
            return getattr(generator, name)

        def synthesize(self, ws, **options):
            image, features = generator.synthesize(ws, **options)
            wrong = torch.isclose(ws, bad, atol=1e-4).flatten(1).all(1)
            return image, [torch.where(wrong[:, None, None, None], torch.nan, x) for x in features]

    bad = generator.map(seed_z(generator, [FIRST_SEED + 21]), psi=0.5)
    with pytest.raises(InputError, match=f"seed {FIRST_SEED + 21}: its features hold numbers that are not finite"):
        fit_supervised(Broken(), teacher, recipes=recipes, images=24, batch=4)
    assert fit_supervised(Broken(), teacher, recipes=recipes, images=20, batch=4).keys() == set(recipes)


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    second = SimpleNamespace(num_processes=2, process_index=1, device=torch.device("cuda", 1))
    monkeypatch.setitem(sys.modules, "accelerate", SimpleNamespace(Accelerator=lambda cpu: second))
    assert Processes(8, torch.device("cuda", 1)).rank == 1
    for shared in ("cuda", "cuda:0"):
        with pytest.raises(InputError, match=f"expected on cuda:1, got {shared}"):
            Processes(8, torch.device(shared))


def test_a_recipe_may_be_a_kind(toy):
    options = {"images": 8, "batch": 4}
    named = fit_supervised(*toy, recipes={"mine": "LSE"}, **options)["mine"]
    assert torch.equal(named.weights["bias"], fit_supervised(*toy, recipes=["LSE"], **options)["LSE"].weights["bias"])


@pytest.mark.parametrize("teacher", [None, lambda image: None, lambda image: [[1], [1, 2]], lambda image: "sky"])
def test_a_teacher_that_is_none_is_told(toy, teacher):
    with pytest.raises(InputError, match="teacher: expected"):
        fit_supervised(toy[0], teacher, images=8, recipes=["LSE"], categories=CATEGORIES)


def test_no_pass_is_larger_than_the_batch(toy, monkeypatch):
    """Also of the images that set the temperatures; the memory is chosen by the batch."""
    generator, teacher = toy
    sizes, synthesize = [], generator.synthesize
    monkeypatch.setattr(generator, "synthesize", lambda ws, **more: sizes.append(len(ws)) or synthesize(ws, **more))
    fit_supervised(generator, teacher, images=6, batch=2, recipes=["LSE"])
    assert max(sizes) == 2


def test_the_temperatures_are_set_on_images_that_were_not_trained_on(toy):
    generator, teacher = toy
    seen = []
    fit_supervised(
        generator, lambda image: seen.append(image) or teacher(image), images=12, batch=4, recipes=["LSE"],
        categories=CATEGORIES,
    )  # fmt: skip
    first, late = torch.cat(seen).flatten(1).split([12, HELD_OUT])
    assert torch.cdist(late, first).min() > 1 and len(late) == HELD_OUT


def test_the_weights_that_mix_layers_learn_ten_times_as_fast(toy):
    """By the first move of Adam, which is as long as the learning rate."""
    run = Training(*toy, CATEGORIES, {"n": Recipe("NSE-1")}, 4, 0.5, 0)
    run.measure([1])
    before = {name: w.detach().clone() for name, w in run.weights["n"].items()}
    run.step(0, [1, 2], Processes.alone(toy[0].device))
    moved = {name: float((w.detach() - before[name]).abs().max()) for name, w in run.weights["n"].items()}
    rest = [much for name, much in moved.items() if name != "mix"]
    assert moved["mix"] == pytest.approx(10 * max(rest), rel=0.02) and min(rest) > 0.5 * max(rest)


def test_a_run_that_goes_wrong_leaves_the_state_before(toy, tmp_path):
    """Else it could never go on from where it was still right."""
    generator, teacher = toy
    options = {"images": 12, "batch": 2, "recipes": ["LSE"], "report": 1, "state": tmp_path / "s.pt"}
    steps = iter_supervised(generator, teacher, **options)
    next(steps)
    kept = (tmp_path / "s.pt").read_bytes()
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr("linsem.training.F.cross_entropy", lambda logits, labels: logits.sum() * torch.inf)
        with pytest.raises(InputError, match="recipe 'LSE': its loss is no longer finite after 4 images"):
            next(steps)
    assert (tmp_path / "s.pt").read_bytes() == kept
    rest = list(iter_supervised(generator, teacher, **options))
    assert [step.index for step in rest] == [2, 3, 4, 5, 6] and all(np.isfinite(s.losses["LSE"]) for s in rest)


class Shifted(ToyGenerator):
    """The same network in other units: its features times `factor`, plus `offset`, and its first layer constant."""

    def __init__(self, factor, offset):
        super().__init__(24)
        self.factor, self.offset = factor, offset

    def synthesize(self, ws, **options):
        image, features = super().synthesize(ws, **options)
        features[0] = features[0] * 0
        return image, [x * self.factor + self.offset for x in features]


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 10.0), (1e-6, 0.0), (1e3, -200.0)])
def test_the_units_of_features_do_not_matter_to_a_linear_extractor(toy, factor, offset):
    """It has a bias, so it can say the same of features in any units; it has to learn it as fast."""
    learnt = []
    for generator in (Shifted(1.0, 0.0), Shifted(factor, offset)):
        options = {"images": 80, "batch": 4, "psi": 0.7, "recipes": {"LSE": RECIPES["LSE"]}}
        extractor = fit_supervised(generator, Teacher(generator), **options)["LSE"]
        learnt.append(miou(generator, Teacher(generator), extractor))
    assert learnt[0] > 0.6 and abs(learnt[1] - learnt[0]) < 0.01


def test_a_recipe_s_layers_are_the_same_in_any_writing(toy, tmp_path):
    """A run goes on from its state, however the caller wrote the layers."""
    generator, teacher = toy
    options = {"images": 8, "batch": 4, "report": 1, "state": tmp_path / "s.pt"}
    next(iter_supervised(generator, teacher, recipes={"a": Recipe("LSE", np.array([2, 0]))}, **options))
    *_, last = iter_supervised(generator, teacher, recipes={"a": Recipe("LSE", (0, 2))}, **options)
    assert last.extractors["a"].layers == (0, 2)


class Grading(ToyGenerator):
    """Turns gradients on by itself, as a network may that computes its features from some of its own."""

    def synthesize(self, ws, **options):
        with torch.enable_grad():
            image, features = super().synthesize(ws.clone().requires_grad_(True), **options)
        return image.detach() if image is not None else None, features


def test_a_network_that_turns_gradients_on_is_learnt_from_by_all_recipes():
    """Each would go back through it, and the second find that the first has been there."""
    plain, grading = (
        {k: v for k, v in fit_supervised(g, Teacher(g), images=8, batch=4, recipes=["LSE", "NSE-1"]).items()}
        for g in (ToyGenerator(24), Grading(24))
    )
    for name, extractor in plain.items():
        assert all(torch.equal(w, grading[name].weights[k]) for k, w in extractor.weights.items())
