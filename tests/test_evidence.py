"""The lab's evidence on a toy: the published reference protocol, the tables' keys, and the scoring functions."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem.edit import EditResult
from linsem.errors import InputError
from linsem.extractor import load_extractor
from linsem.fewshot import Annotation
from linsem.generator import freeze, seed_z
from linsem.lab import (
    evidence,
    evidence_edit,
    evidence_fewshot,
    evidence_presence,
    evidence_sample,
    evidence_setting,
    evidence_uncertainty,
    readme_tables,
    reference_fewshot,
    tables,
)
from linsem.lab.evidence_layers import choices
from linsem.lab.evidence_setting import Score, Setting, annotate, judge, random_seeds
from linsem.lab.scribble import correct, scribble
from linsem.lab.tables import kept, markdown
from linsem.pixels import IGNORE
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from linsem.teacher import load_teacher
from linsem.zoo import assets, load_generator
from tests.toys import CATEGORIES, Sometimes, ToyGenerator


class Teacher:
    """A teacher that sees only the image and returns the category of the nearest colour."""

    categories = CATEGORIES

    def __init__(self, generator):
        self.colors = generator.colors

    def __call__(self, image):
        return (image[:, None] - self.colors[None, :, :, None, None]).square().sum(2).argmin(1).to(torch.uint8)


@pytest.fixture
def setting(monkeypatch):
    generator = ToyGenerator(24)
    setting = Setting("toy", generator, Teacher(generator), True)
    for name in ("setting_of",):
        monkeypatch.setattr(evidence_setting, name, lambda model, *, quick: setting)
    monkeypatch.setattr(evidence_setting, "QUICK_IMAGES", 12)
    monkeypatch.setattr(evidence_setting, "QUICK_FULL_IMAGES", 48)
    monkeypatch.setattr(reference_fewshot, "PASSES", 16)
    monkeypatch.setattr(reference_fewshot.fit_reference, "__kwdefaults__", {
        "seed": 0, "epochs": 2, "always_regenerate": True, "lr": 1e-3})  # fmt: skip
    monkeypatch.setattr(evidence_fewshot, "SHOTS", (1, 2))
    monkeypatch.setattr(evidence_fewshot, "POOL", 6)
    monkeypatch.setattr(evidence_uncertainty, "SHOTS", (4, 8))
    monkeypatch.setattr(evidence_uncertainty, "POOL", 12)
    return setting


KEYS = {
    "extractors": {"lse", "nse1", "nse2", "centroid"},
    "few-shot": {"full", "ours", "reference", "reference_fast", "suggested", "linear", "spread", "spread_reference"},
    "scribbles": {"dense", "scribbles", "pixels", "page", "alone", "corrected", "corrected_page"},
    "uncertainty": {"auroc", "suggested", "random", "calibration_error", "auroc_border", "auroc_at_borders"},
    "layers": None,
}


@pytest.mark.parametrize("table", list(KEYS))
def test_every_table_prints_its_keys_and_writes_its_files(setting, table, tmp_path, capsys):
    more = ["--save", str(tmp_path / "lse.safetensors")] if table == "extractors" else []
    evidence.main([table, "toy", "--quick", "--json", "--out", str(tmp_path), *more])
    printed = capsys.readouterr().out.strip().splitlines()
    values = json.loads(printed[-1])
    assert KEYS[table] is None or values.keys() == KEYS[table]
    assert any(line.startswith("| ---") for line in printed)
    assert {f"{table}-toy.{kind}" for kind in ("csv", "md", "json")} <= {path.name for path in tmp_path.iterdir()}
    if table == "few-shot":
        assert values["ours"].keys() == values["reference"].keys() == values["suggested"].keys() == {"1", "2"}
        assert values["linear"].keys() == {"full", "full_at_psi", "ours", "reference", "reference_fast", "suggested"}
        assert (tmp_path / "few-shot-toy.png").stat().st_size > 1000
        once = (tmp_path / "few-shot-toy.md").read_text().splitlines()
        evidence.main([table, "toy", "--quick", "--json", "--out", str(tmp_path), "--only", "ours"])  # the rest is kept
        assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == values
        again = (tmp_path / "few-shot-toy.md").read_text().splitlines()
        assert [line.rsplit("|", 2)[0] for line in again] == [line.rsplit("|", 2)[0] for line in once]  # but seconds
        with pytest.raises(SystemExit, match="--only needs --out with this table"):
            evidence.main([table, "toy", "--out", str(tmp_path / "none"), "--only", "ours"])
        file = tmp_path / "few-shot-toy.json"
        file.write_text(json.dumps(values | {"reference_fast": {}}))  # of which the table had no rows
        evidence.main([table, "toy", "--quick", "--out", str(tmp_path), "--only", "suggested"])
        assert "ten times its rate" not in (tmp_path / "few-shot-toy.md").read_text()
        _, rows = kept(tmp_path, "few-shot-toy", once[0].removeprefix("# "))
        most = {(row["fit"], row["images"]): row["at most"] for row in rows if row["images"]}
        assert all(most["ours", shots] == most["reference", shots] <= 1 for shots in (1, 2))  # of the same images
    if table == "extractors":
        assert load_extractor(tmp_path / "lse.safetensors", setting.generator).notes["supervision"] == "teacher"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["few-shot", "--count", "0"], "--count: expected at least 1"),
        (["sample", "--count", "-1"], "--count: expected at least 1"),
        (
            ["layers", "--count", "3"],
            "--count: expected at least 1, for few-shot, edit, presence, sample, got 3 for layers",
        ),
        (["edit", "--only", "ours", "our"], "--only: expected some of ours, ours_others, .*, got our"),
        (["scribbles", "--only", "ours"], "--only: expected some of nothing, got ours"),
    ],
)
def test_what_would_run_for_hours_for_nothing_is_refused_at_once(arguments, says, monkeypatch, capsys):
    for module in evidence.TABLES.values():
        monkeypatch.setattr(f"{module}.run", lambda *a, **k: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as refused:
        evidence.main(arguments)
    assert refused.value.code == 2 and re.search(says, capsys.readouterr().err)


def test_the_methods_that_can_be_chosen_are_those_there_are(setting):
    generator, teacher = load_generator("avatars-64"), load_teacher("avatars-64")
    assert tuple(evidence_sample.methods(generator, teacher, steps=1, inits=1, bank=1)) == evidence_sample.WAYS
    assert tuple(evidence_edit.methods(generator, teacher, 1)) == evidence_edit.WAYS
    extractor = load_extractor("avatars-64", generator)
    assert tuple(evidence_presence.methods(generator, extractor, extractor, 1)) == evidence_presence.WAYS


def test_the_judge_counts_each_image_once_and_knows_the_teacher_from_noise(setting):
    scores = judge(setting, {"known": setting.generator.known_extractor()})
    blind = replace(setting.generator.known_extractor(), weights={"layer0.weight": torch.zeros(4, 10),
                                                                  "bias": torch.tensor([0.0, 1, 0, 0])})  # fmt: skip
    assert scores["known"].miou > 0.7 > judge(setting, {"blind": blind})["blind"].miou
    assert np.isnan(scores["known"].by_class[0]) and len(scores["known"].by_class) == 4
    assert scores["known"].predicted == pytest.approx(scores["known"].by_class, nan_ok=True)


def test_the_judge_tells_what_is_predicted_from_the_largest_logits(setting):
    """A category that is never large enough is predicted nowhere."""
    known = setting.generator.known_extractor()
    plain, fussy = (judge(setting, {"it": replace(known, least=least)})["it"] for least in ((), (0, 0, 0, 1.0)))
    assert fussy.by_class == pytest.approx(plain.by_class, nan_ok=True) and fussy.miou == plain.miou
    assert fussy.dataset_miou == plain.dataset_miou
    assert fussy.predicted[3] == 0 < plain.predicted[3] and fussy.predicted_miou < plain.predicted_miou


def test_the_images_of_a_repeat_follow_from_its_seed_and_do_not_repeat():
    assert random_seeds(816, 16) == random_seeds(816, 20)[:16]
    assert len(set(random_seeds(816, 200))) == 200
    assert not set(random_seeds(816, 16)) & set(random_seeds(1116, 16))


# --- the reference protocol ------------------------------------------------------------------------------------------


def small_stylegan2(noise):
    torch.manual_seed(0)
    generator = freeze(StyleGAN2(StyleGAN2Config(channels=(8, 8), z_dim=8, w_dim=8, mapping_layers=2), id="small"))
    for name, p in generator.named_parameters():
        if name.endswith("noise_strength"):
            p.data.fill_(noise)
    return generator


@pytest.mark.parametrize(("noise", "always", "passes"), [(0.0, True, 3 * 2), (0.0, False, 2), (0.3, False, 3 * 2)])
def test_the_reference_draws_features_anew_at_each_epoch_s_end(monkeypatch, noise, always, passes):
    generator = small_stylegan2(noise)
    drawn = []
    plain = reference_fewshot.synthesize_noisy
    monkeypatch.setattr(reference_fewshot, "synthesize_noisy", lambda *a, **k: drawn.append(a[2]) or plain(*a, **k))
    labels = np.repeat((np.arange(8) >= 4).astype(np.uint8)[None], 8, 0)
    annotations = [Annotation(w, labels) for w in generator.map(torch.randn(2, 8))]
    reference_fewshot.fit_reference(generator, annotations, CATEGORIES[:2], epochs=2, always_regenerate=always)
    assert len(drawn) == passes and len({tuple(d) for d in drawn}) == passes


def test_the_reference_steps_once_in_n_passes_and_has_no_bias(monkeypatch):
    toy, moves = ToyGenerator(16), []
    plain = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *a: moves.append(self.param_groups[0]["lr"]) or plain(self, *a)
    )
    monkeypatch.setattr(reference_fewshot, "PASSES", 8)
    monkeypatch.setattr(reference_fewshot, "DECAY_AT", 1)
    ws = toy.map(seed_z(toy, range(4)), psi=0.7)
    annotations = [Annotation(w, labels) for w, labels in zip(ws, toy.truth(ws), strict=True)]
    steps = list(reference_fewshot.iter_reference(toy, annotations, CATEGORIES, epochs=3))
    assert moves == [1e-3] * 2 + [1e-4] * 4
    assert torch.equal(steps[-1].extractor.weights["bias"], torch.zeros(4))
    assert steps[-1].loss < steps[0].loss


def test_the_constants_of_the_reference_are_the_paper_s():
    protocol = (reference_fewshot.EPOCHS, reference_fewshot.PASSES, reference_fewshot.LR, reference_fewshot.DECAY_AT)
    assert protocol == (50, 128, 1e-3, 20)
    assert reference_fewshot.SEEDS == (19961116, 1997816, 1116, 816, 19980903)
    for fit in (reference_fewshot.fit_reference, reference_fewshot.iter_reference):
        assert fit.__kwdefaults__ == {"seed": 19961116, "epochs": 50, "always_regenerate": True, "lr": 1e-3}


def corners(maps):
    return maps[..., [0, -1], :][..., [0, -1]]


def test_the_reference_upsamples_each_layer_from_corner_to_corner():
    toy = ToyGenerator(16)
    heads = reference_fewshot._initial(toy, 4, 0)
    _, features = toy.synthesize(toy.map(seed_z(toy, [0, 1])))
    logits = reference_fewshot._forward(heads, features, (31, 16))
    each = [torch.einsum("kc,nchw->nkhw", head, x) for head, x in zip(heads, features, strict=True)]
    torch.testing.assert_close(corners(logits), sum(corners(x) for x in each))
    read = reference_fewshot._extractor(toy, CATEGORIES, heads).logits(features, (31, 16))
    torch.testing.assert_close(read, logits.detach())


# --- parts -----------------------------------------------------------------------------------------------------------


def test_strokes_are_true_cover_about_what_is_asked_and_touch_every_category():
    toy = ToyGenerator(64)
    labels = toy.truth(toy.map(seed_z(toy, [3]), psi=0.7))[0]
    sparse = scribble(labels, 0.01, 0)
    known = sparse != IGNORE
    assert (sparse[known] == labels[known]).all()
    assert known.mean() == pytest.approx(0.01, rel=0.3)
    assert set(np.unique(sparse[known])) == set(np.unique(labels))
    assert np.array_equal(sparse, scribble(labels, 0.01, 0)) and not np.array_equal(sparse, scribble(labels, 0.01, 1))


def test_corrections_are_true_and_where_it_is_wrong():
    toy = ToyGenerator(64)
    labels = toy.truth(toy.map(seed_z(toy, [3]), psi=0.7))[0]
    sparse, found = scribble(labels, 0.01, 0), labels.copy()
    found[:, :32] = (labels[:, :32] + 1) % len(CATEGORIES)
    border = np.zeros_like(labels, bool)
    border[::2, 32:] = True
    found[border] = (labels[border] + 1) % len(CATEGORIES)  # as wrong, but in lines that nobody hits
    both = correct(sparse, labels, found, 0.01, 1)
    added = (both != IGNORE) & (sparse == IGNORE)
    assert (both[sparse != IGNORE] == sparse[sparse != IGNORE]).all() and (both[added] == labels[added]).all()
    assert added.mean() == pytest.approx(0.01, rel=0.3) and not added[:, 32:].any()
    anywhere = correct(sparse, labels, labels, 0.01, 1)  # nothing is wrong: strokes all the same
    assert ((anywhere != IGNORE) & (sparse == IGNORE)).mean() == pytest.approx(0.01, rel=0.3)


def test_auroc_counts_pairs():
    rng = np.random.default_rng(0)
    score, wrong = rng.integers(0, 6, 80) / 5, rng.random(80) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in score[wrong] for b in score[~wrong]]
    assert evidence_uncertainty.auroc(score, wrong) == pytest.approx(np.mean(pairs))
    assert evidence_uncertainty.auroc(wrong.astype(float), wrong) == 1
    assert np.isnan(evidence_uncertainty.auroc(score, np.zeros(80, bool)))


def test_steps_from_a_border_are_counted_to_both_sides():
    labels = torch.zeros(1, 30, 40, dtype=torch.long)
    labels[:, :, 20:] = 1
    away = evidence_uncertainty.from_border(labels)
    wanted = torch.cat([torch.arange(19, -1, -1), torch.arange(20)]).clamp_max(evidence_uncertainty.NEAR)
    assert (away == wanted).all()
    assert (evidence_uncertainty.from_border(labels * 0) == evidence_uncertainty.NEAR).all()


def judged_by_hand(setting, extractor):
    """Of every pixel of the judged images: the probability of its label, the uncertainty, and whether it is wrong."""
    seeds = range(evidence_setting.JUDGED_SEED, evidence_setting.JUDGED_SEED + setting.images)
    image, features = setting.generator.synthesize(evidence_setting.latents(setting, seeds))
    sure, label = extractor.probabilities(features).max(1)
    wrong = label != setting.teacher(image)
    return sure.numpy().ravel(), extractor.uncertainty(features).ravel(), wrong.numpy().ravel()


def test_the_uncertainty_finds_the_pixels_that_the_teacher_calls_wrong(setting):
    known = setting.generator.known_extractor()
    found, border, at_borders, *_ = evidence_uncertainty._measure(setting, known)
    _, unsure, wrong = judged_by_hand(setting, known)
    assert 0 < wrong.mean() < 0.5
    assert found == pytest.approx(evidence_uncertainty.auroc(unsure, wrong), abs=1e-3)
    assert found > border > at_borders > 0.7  # most wrong pixels lie at borders, but not any pixel there is wrong


def test_the_calibration_error_is_the_sum_over_the_bins_of_their_shares_of_the_pixels(setting):
    blurred = replace(setting.generator.known_extractor(), temperature=4.0)
    *_, error, right, counts = evidence_uncertainty._measure(setting, blurred)
    sure, _, wrong = judged_by_hand(setting, blurred)
    bins = [(sure >= i / 10) & (sure < (i + 1) / 10) for i in range(10)]
    assert counts == pytest.approx([b.sum() for b in bins], abs=1) and (counts > 100).sum() > 2
    assert right == pytest.approx([(b & ~wrong).sum() for b in bins], abs=1)
    gaps = [b.mean() * abs((~wrong[b]).mean() - sure[b].mean()) for b in bins if b.any()]
    assert error == pytest.approx(sum(gaps), abs=1e-3) and error > 0.05


def test_the_choices_of_layers_name_existing_ones():
    toy = ToyGenerator(16)
    named = choices(toy)
    assert named["only layer 2, 8 px"] == (2,) and named["up to 8 px"] == (0, 1, 2)
    assert named["from 8 px"] == (1, 2, 3, 4) and named["the last of each size"] == (0, 2, 4)


def test_only_another_model_is_told_in_the_names_of_files():
    assert tables.stem("edit", "avatars-128") == "edit"
    assert tables.stem("edit", "avatars-64") == "edit-avatars-64"
    assert tables.stem("edit", "../up/my net.pkl") == "edit-up-my-net.pkl"


def test_a_table_in_markdown():
    assert markdown([{"a": 1, "b": 0.123456}]) == "| a | b |\n| --- | --- |\n| 1 | 0.1235 |"


def test_labels_come_from_the_teacher_at_the_setting_s_psi(setting):
    (one,) = annotate(setting, [5])
    ws = setting.generator.map(seed_z(setting.generator, [5]), psi=0.5)
    assert torch.equal(one.ws, ws[0])
    assert np.array_equal(one.labels, setting.teacher(setting.generator.synthesize(ws)[0])[0].numpy())


def test_tables_go_into_the_readme_and_a_second_time_changes_nothing(tmp_path):
    tables.write(tables.Table("one", "First", {}, [{"a": 1}]), tmp_path)
    text = "before\n<!-- table: one -->\n\nbetween\n<!-- table: two -->\nafter\n"
    once = readme_tables.filled(text, tmp_path)
    assert "First:\n\n| a |" in once and "between\n<!-- table: two -->\nafter\n" in once
    assert readme_tables.filled(once, tmp_path) == once
    tables.write(tables.Table("one", "Second", {}, [{"a": 2}]), tmp_path)
    again = readme_tables.filled(once, tmp_path)
    assert "Second" in again and "First" not in again and again.count("between") == 1


# --- editing and sampling --------------------------------------------------------------------------------------------


def test_a_tally_shares_what_was_made_once_over_all_layouts_and_counts_some_apart():
    tally = evidence_sample._Tally()
    for i, seconds in enumerate((9.0, 1.0, 2.0)):
        tally.ious.append(torch.full((4, 2), 0.2 * (i + 1)))
        tally.spread.append(float(i))
        tally.seconds.append(seconds)
        tally.features.append(torch.full((4, 3), 50.0 if i == 2 else 1.0))  # the last is far from all real ones
    real = torch.arange(10.0)[:, None].expand(-1, 3)
    every = {"layouts": 3, "miou": 0.4, "seconds": 1.0, "diversity": 1.0, "realism": pytest.approx(2 / 3, abs=1e-3)}
    assert tally.row(real) == every
    assert tally.row(real, 2) == {"layouts": 2, "miou": 0.3, "seconds": "", "diversity": 0.5, "realism": 1.0}


def test_diversity_is_the_mean_difference_of_pairs_in_0_to_255():
    black, white, brighter = (torch.full((3, 4, 4), value) for value in (-1.0, 1.0, 3.0))
    assert evidence_sample.diversity(torch.stack([black, white])) == 255
    assert evidence_sample.diversity(torch.stack([white, black, brighter])) == pytest.approx(255 * 2 / 3)


@pytest.fixture
def edits(monkeypatch, tmp_path):
    """The table of edits, with methods that return their input, each brightened by a fixed amount."""
    toy = ToyGenerator()
    ran = []

    def method(name, more):
        return lambda case: ran.append(name) or case.before + more

    monkeypatch.setattr(evidence_edit, "load_generator", lambda model: toy)
    monkeypatch.setattr(evidence_edit, "load_teacher", lambda model: FeatureTeacher(toy))
    monkeypatch.setattr(
        evidence_edit, "cases", lambda generator, teacher, count: [case_of(toy, i) for i in range(count)]
    )
    names = {"ours": 0.0, "reference": 0.2, "teacher": 0.1}
    monkeypatch.setattr(evidence_edit, "methods", lambda *a: {name: method(name, more) for name, more in names.items()})
    return ran, tmp_path


class FeatureTeacher(Teacher):
    """The same with features: the mean colour."""

    def features(self, image):
        return image.mean(dim=(2, 3))


def case_of(toy, seed):
    z = seed_z(toy, [seed])
    ws = toy.map(z)
    target = np.full(toy.size, IGNORE, np.uint8)
    target[:4, :4] = 1
    before = toy.synthesize(ws)[0].clamp(-0.5, 0.5)
    return evidence_edit.Case(seed, "wish", target, target != IGNORE, z, ws, before)


def test_the_slow_way_goes_over_a_quarter_of_the_edits_and_ours_is_told_for_these(edits):
    ran, _ = edits
    table = evidence_edit.run("toy", count=60).values
    assert {name: row["edits"] for name, row in table.items()} == {
        "ours": 60, "reference": 60, "teacher": 15, "ours_as_teacher": 15}  # fmt: skip
    assert ran.count("teacher") == 15
    assert table["ours"]["outside_mae"] == 0 < table["teacher"]["outside_mae"] < table["reference"]["outside_mae"]


def test_methods_that_are_left_out_keep_their_rows_if_these_are_of_as_many_edits(edits):
    ran, folder = edits
    whole = evidence_edit.run("toy", count=16, out=folder)
    tables.write(evidence.named(whole, "toy"), folder)
    ran.clear()
    assert evidence_edit.run("toy", count=16, out=folder, only=["ours"]).values == whole.values
    assert set(ran) == {"ours"}
    for other in (
        {"model": "toy", "count": 17},
        {"model": "another", "count": 16},
        {"model": "toy", "count": 16, "steps": 9},
    ):
        with pytest.raises(SystemExit, match="needs --out with this table"):
            evidence_edit.run(out=folder, only=["ours"], **other)


def test_what_is_taken_out_or_brought_in_is_judged_by_the_teacher(monkeypatch):
    toy = Sometimes()
    teacher, extractor = FeatureTeacher(toy), toy.known_extractor()
    monkeypatch.setattr(evidence_presence, "CATEGORIES", ("small",))
    showing, lacking = evidence_presence.cases(toy, teacher, (extractor,), 2)
    for cases, there in ((showing, True), (lacking, False)):
        assert [case.category for case in cases] == ["small"] * 2
        for case in cases:
            k = [c.name for c in CATEGORIES].index(case.category)
            found = int((teacher(case.before)[0].numpy() == k).sum())
            assert case.area == found and (found > 0) == there
            assert torch.equal(case.before, toy.synthesize(case.ws[None])[0])

    def verdict(case, image, wished=None, **report):
        result = EditResult(image, np.zeros(0), case.ws, {"outside_change": 1.0, "seconds": 2.0, **report})
        return evidence_presence.judged(teacher, case, result, wished)

    case = showing[0]
    fooled = verdict(case, case.before, gone=1.0)
    assert (fooled.by_labels, fooled.by_teacher, fooled.done) == (1.0, 0.0, False)
    covered = toy.colors[0][None, :, None, None].expand_as(case.before)
    gone, lavish = verdict(case, covered, gone=1.0), verdict(case, covered, gone=1.0, outside_change=9.0)
    assert gone.by_teacher == lavish.by_teacher == 1.0 and gone.done and not lavish.done
    row = evidence_presence._summary([fooled, gone, lavish])
    assert row["by the teacher"] == pytest.approx(2 / 3, abs=1e-3) and row["done, small"] == row["done"] == 0.333
    case, wished = lacking[0], np.zeros(toy.size, bool)
    wished[:4] = True
    brought = torch.where(torch.from_numpy(wished), toy.colors[3][None, :, None, None], case.before)
    assert verdict(case, brought, wished, there=1.0).done and not verdict(case, case.before, wished, there=1.0).done
    blind = replace(extractor, weights={**extractor.weights, "bias": torch.tensor([0.0, 0, 0, -99])})
    with pytest.raises(ValueError, match="presence: only"):
        evidence_presence.cases(toy, teacher, (blind,), 2)
    monkeypatch.setattr(evidence_presence, "CATEGORIES", ("hat",))
    with pytest.raises(InputError, match="presence: expected a teacher that finds hat, got background"):
        evidence_presence.cases(toy, teacher, (extractor,), 2)


def test_a_fit_can_reach_only_the_share_of_the_categories_that_its_images_show():
    full = Score(0.5, 0.5, (), (float("nan"), 0.8, 0.6, 0.6))
    ours = Score(0.5, 0.5, (), (float("nan"), 0.8, 0.3, 0.0))
    seen = {"ours": np.array([0, 1, 2]), "not run": np.array([0, 1])}
    shares = evidence_fewshot._shares({"full": full, "ours": ours}, seen)
    assert shares["ours"] == pytest.approx((0.7, 11 / 14))
    assert shares["not run"][0] == pytest.approx(0.4)


def test_the_spread_of_a_fit_is_the_largest_deviation_from_the_mean(setting):
    found = dict(zip(reference_fewshot.SEEDS[:3], (0.2, 0.3, 0.7), strict=True))
    fits = {f"ours {n} {seed}": m for n in (1, 2) for seed, m in found.items()}
    scores = {name: Score(m, m, (), (m,)) for name, m in {"full": 0.8, "full, psi": 0.8, **fits}.items()}
    shares, seconds = dict.fromkeys(fits, (1.0, 0.5)), dict.fromkeys(fits, 1.0)
    table = evidence_fewshot._table(setting, scores, shares, seconds, "Toys", ({}, []))
    assert table.values["ours"] == {"1": 0.4, "2": 0.4} and table.values["spread"] == {"1": 0.3, "2": 0.3}
    assert [row["spread"] for row in table.rows] == [0.3, 0.3, "", ""]
    assert table.plots["few-shot"].spread["ours"] == [(0.2, 0.7)] * 2


def test_a_kept_row_follows_the_lse_that_is_trained_now():
    row = {"fit": "reference", "of it, seen": 0.6, "linear alone": 0.4, "of one at this psi": 0.5, "seconds": 1}
    same, other = (evidence_fewshot._kept(row, 0.7, strict) for strict in (None, 0.5))
    assert list(same) == ["fit", "at most", "of it, seen", "linear alone", "of one at this psi", "seconds"]
    assert same["at most"] == 0.7 and same["of one at this psi"] == 0.5 and other["of one at this psi"] == 0.8


def test_a_quick_table_does_not_replace_the_full_one(capsys):
    with pytest.raises(SystemExit):
        evidence.main(["layers", "--quick", "--out", str(assets() / "evidence" / ".." / "evidence")])
    assert "--quick: it would replace the full table" in capsys.readouterr().err
