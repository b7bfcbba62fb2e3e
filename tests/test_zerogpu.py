"""Jobs on the accelerator, with the real package `spaces` and stand-ins for its scheduler and its GPU.

The functions above the tests run in the server's process (`Space`) and in the workers that `spaces` forks from it.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from linsem.errors import InputError
from linsem.forks import ForkLock
from linsem.generator import seed_z
from linsem.looks import Looks
from linsem.palette import write_label_map
from linsem.settings import Settings
from linsem.studio import Studio
from linsem.ui import gpu
from linsem.ui.errors import OURS
from linsem.ui.gpu import ABORTED, PART, Accelerator, job_seconds, on_gpu
from tests.served import free_port
from tests.standin_zerogpu import Space, running_space
from tests.toys import CATEGORIES, Sometimes, ToyGenerator, scribbles

STREAMS = ("edit", "remove", "add", "sample", "label")
JOBS = ("draw", "render", "fit", "read", "fit_and_read", "overview", "suggest", *STREAMS)
PATIENT = {"timeout": 120}
STEP = 0.04  # minimum seconds per step, so that a stream can be stopped between two


# --- in the server's process -----------------------------------------------------------------------------------------


class Noted(Studio):
    """A studio whose streams record each step in the file named by STEPS, in any process."""

    def edit(self, *args, **options):
        return noted(super().edit(*args, **options))

    def remove(self, *args, **options):
        return noted(super().remove(*args, **options))

    def add(self, *args, **options):
        return noted(super().add(*args, **options))

    def sample(self, *args, **options):
        return noted(super().sample(*args, **options))

    def label(self, *args, **options):
        return noted(super().label(*args, **options))


class NotedToy(Sometimes):
    """Records its passes in the file named by PASSES."""

    def synthesize(self, ws, **options):
        note("PASSES", len(ws))
        return super().synthesize(ws, **options)


def noted(steps):
    for step in steps:
        note("STEPS")
        time.sleep(STEP)
        yield step


def note(what, count=1):
    with open(os.environ[what], "ab") as file:
        file.write(b"." * count)


def notes(what):
    path = Path(os.environ[what])
    return path.stat().st_size if path.exists() else 0


@functools.cache
def studio():
    made = Noted(Settings())
    made._looks.get("toy", lambda: Looks(NotedToy().to(made.device), 64 << 20))
    return made


@functools.cache
def accelerator():
    return Accelerator(studio())


def prepare():
    accelerator()
    raw(), worded()
    return str(studio().device), str(studio().generator("toy").device)


def run(job, *args):
    result = getattr(accelerator(), job)(*args)
    return list(result) if isinstance(result, Iterator) else result


def stopped(job, *args):
    """Take two frames and close the stream; returns the steps recorded before, right after and some time after."""
    stream, start = getattr(accelerator(), job)(*args), notes("STEPS")
    next(stream), next(stream)
    before = notes("STEPS")
    stream.close()
    after = notes("STEPS")
    time.sleep(10 * STEP)
    return [count - start for count in (before, after, notes("STEPS"))]


def steps_of(job, *args):
    """The steps recorded in a whole run."""
    start = notes("STEPS")
    run(job, *args)
    return notes("STEPS") - start


def passes_of(job, *args):
    """The images that the network drew for a job."""
    start = notes("PASSES")
    run(job, *args)
    return notes("PASSES") - start


def kept():
    """The contents of the server's caches: images of the toy and their bytes, networks, extractors, and a global."""
    looks, networks = studio()._looks_of("toy"), sorted(studio()._looks._values)
    return len(looks.kept), looks.kept.bytes, networks, sorted(studio()._shipped._values), list(GLOBAL)


GLOBAL = []


def touch(action, value=None):
    """Do what no job of the app may do, or suffer what may happen to one."""
    if action == "global":
        GLOBAL.append(value)
        return len(GLOBAL)
    if action == "change":
        value.append("changed")
        return value
    if action == "refuse":
        raise InputError("no such colour")
    if action == "break":
        raise RuntimeError("cannot open /srv/secret")
    if action == "die":
        os._exit(1)
    if action == "tensor":
        return torch.zeros(3)
    if action == "same":
        return value
    if action == "array":
        return torch.zeros(3).numpy()
    if action == "lambda":
        return lambda: None
    if action == "locks":
        return LOCK.acquire(timeout=0.3), FORK_LOCK._lock.acquire(timeout=0.3)
    return os.getpid()


LOCK, FORK_LOCK = threading.Lock(), ForkLock()


@functools.cache
def worded():
    """Decorated like the app's own function."""
    return on_gpu(touch, lambda *args: 10)


@functools.cache
def raw():
    """Decorated only by `spaces.GPU`."""

    def bare(*args):
        return touch(*args)

    return gpu.spaces.GPU(duration=lambda *args: 10)(bare)


def touched(decorate, *args):
    return decorate()(*args)


def given_a_module(decorate):
    return decorate()("pid", studio().generator("toy"))


def given_weights(decorate):
    return decorate()("same", dict(ToyGenerator().known_extractor().weights))


def changed_by_a_worker():
    mine = ["mine"]
    return mine, worded()("change", mine)


def locked_while_forking(decorate):
    """The answer of a worker that was forked while another thread of the server held both locks."""
    holding, done = threading.Event(), threading.Event()

    def hold():
        with LOCK, FORK_LOCK, studio()._looks._lock, studio()._looks_of("toy").kept._lock:
            holding.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(30)
    try:
        return decorate()
    finally:
        done.set()
        thread.join()


def locks_in_a_worker():
    return worded()("locks")


def drawn_in_a_worker():
    return accelerator().draw("toy", [5], 0.5)[0]


def aborted():
    """A job of the app whose worker dies."""
    made = Accelerator(Dying(Settings()))
    return made.draw("toy", [1], 0.7)


class Dying(Studio):
    def fetch(self, model):
        pass

    def draw(self, *args):
        os._exit(1)


def open_page():
    """The page as app.py serves it."""
    from linsem.ui import page, services

    services.Studio = Noted
    gr.Blocks.block_thread = lambda blocks: None
    settings = Settings.from_env()
    page.launch(page.build(settings), settings)


# --- here ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local():
    """A studio in this process with a generator and its extractor, and the generator's name."""
    studio = Studio(Settings(device="cpu"))
    return studio, next(row["id"] for row in studio.models() if row["available"] and studio.shipped(row["id"]))


@pytest.fixture(scope="module")
def space(tmp_path_factory, local):
    folder, port = tmp_path_factory.mktemp("space"), free_port()
    env = {"STEPS": str(folder / "steps"), "PASSES": str(folder / "passes"), "LINSEM_PORT": str(port)}
    with running_space(folder, **env, LINSEM_MODEL=local[1]) as space:
        assert space.main(prepare) == ("cuda", "cuda:0")  # the server believes in its GPU
        space.port = port
        yield space


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The same jobs in this process, without a scheduler; with its own banks, since cached ones take less time."""
    studio = Studio(Settings(device="cpu", cache=str(tmp_path_factory.mktemp("banks"))))
    studio._looks.get("toy", lambda: Looks(Sometimes(), 64 << 20))
    return Accelerator(studio)


@pytest.fixture(scope="module")
def cases(here):
    toy = Sometimes()
    found = toy.truth(toy.map(seed_z(toy, range(60)), 0.7))
    area = (found == 3).sum((1, 2))  # the first three images show all categories, the last lacks one
    seeds = [*np.flatnonzero(area > 20)[:3].tolist(), int(np.flatnonzero(area == 0)[0])]
    ws, _ = here.draw("toy", seeds, 0.7)
    ws, bare = ws[:3], ws[3]
    labels = toy.truth(torch.from_numpy(ws))
    extractor, strokes = toy.known_extractor(), [scribbles(each) for each in labels]
    return {
        "draw": ("toy", seeds[:3], 0.7),
        "render": ("toy", list(ws)),
        "fit": ("toy", list(ws), strokes, CATEGORIES),
        "read": ("toy", extractor, list(ws)),
        "fit_and_read": ("toy", list(ws), strokes, CATEGORIES, extractor, ws[0]),
        "overview": ("toy", extractor, list(ws), [1]),
        "suggest": ("toy", list(range(10, 40)), 3, 0.7, list(ws)),
        "edit": ("toy", extractor, ws[0], labels[1], np.ones((32, 32), bool), 30),
        "remove": ("toy", extractor, ws[0], 3, None, 30),
        "add": ("toy", extractor, bare, 3, None, 30),
        "sample": ("toy", extractor, labels[0], 2, 12, 30, 0, 1.0),
        "label": ("toy", extractor, range(PART), 0.7),
    }


def same(one, other):
    """Whether two results are the same, apart from the clock."""
    assert type(one) is type(other)
    if is_dataclass(one):
        return all(same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(key == "seconds" or same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.allclose(one, other, atol=1e-3)
    if isinstance(one, np.ndarray) and one.dtype == np.uint8:
        return one.shape == other.shape and (one != other).sum() <= 0.01 * one.size
    return np.allclose(one, other, atol=1e-3) if isinstance(one, np.ndarray | float) else one == other


@pytest.mark.parametrize("job", JOBS)
def test_a_worker_gives_what_this_process_gives_and_asks_for_the_seconds_of_its_arguments(space, here, cases, job):
    args = cases[job]
    got, count = space(run, job, *args), len(space.scheduler.asked)
    expected = getattr(here, job)(*args)
    assert same(got, list(expected) if isinstance(expected, Iterator) else expected)
    assert space.scheduler.asked[-1] == job_seconds(job, *args)
    assert not any(space.scheduler.released[-1:]) and count >= 1
    other = replace(got, temperature=2.0) if job == "fit" else got[::-1] if job in STREAMS else None
    assert other is None or not same(got, other)  # the comparison sees a difference


def test_every_job_is_among_these():
    assert set(JOBS) == set(gpu.SECONDS)


def test_more_work_asks_for_more_seconds(cases):
    lists = (
        ("draw", 1),
        ("render", 1),
        ("fit", 1),
        ("read", 2),
        ("overview", 2),
        ("suggest", 1),
        ("suggest", 4),
        ("label", 2),
    )
    for job, at in lists:
        args = list(cases[job])
        args[at] = list(args[at]) * 8
        assert job_seconds(job, *args) > job_seconds(job, *cases[job])
    for job, at in (("edit", 5), ("remove", 5), ("add", 5), ("sample", 5), ("sample", 3), ("sample", 4)):
        args = list(cases[job])
        args[at] *= 10
        assert job_seconds(job, *args) > job_seconds(job, *cases[job])


def test_a_large_data_set_is_many_jobs_of_bounded_seconds(space, here, cases):
    model, extractor, _, psi = cases["label"]
    before = len(space.scheduler.asked)
    batches = space(run, "label", model, extractor, range(2 * PART + 8), psi)
    assert [item.seed for batch in batches for item in batch] == list(range(2 * PART + 8))
    asked = space.scheduler.asked[before:]
    assert len(asked) == 3 and max(asked) == job_seconds("label", model, extractor, range(PART), psi)
    assert job_seconds("label", model, extractor, range(100 * PART), psi) == 120  # as one job it would be cut off


# --- stop ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", STREAMS)
def test_a_stream_that_is_closed_stops_within_a_step(space, cases, job):
    args = list(cases[job])
    if job == "edit":
        args[5] = 40
    if job == "sample":
        args[4], args[5] = 120, 20
    if job == "label":
        args[2] = range(30 * 8)
    before, at_once, later = space(stopped, job, *args)
    assert before <= at_once <= before + 1
    assert later == at_once
    assert not space.scheduler.released[-1]
    assert space(steps_of, job, *args) > later + 3  # there was more to do


# --- what passes -----------------------------------------------------------------------------------------------------


def test_an_extractor_passes_as_numpy_and_a_tensor_does_not(space, cases):
    extractor = cases["read"][1]
    assert same(space(touched, raw, "same", extractor), extractor)
    assert all(type(w) is np.ndarray for w in extractor.__getstate__()["weights"].values())
    with pytest.raises(Exception, match="pickle a tensor"):
        space(given_weights, raw)
    with pytest.raises(gr.Error, match="PicklingError"):
        space(touched, raw, "tensor")
    assert np.array_equal(space(touched, raw, "array"), np.zeros(3))


@pytest.mark.parametrize("decorate", [raw, worded])
def test_a_live_module_cannot_be_given_to_a_worker(space, decorate):
    with pytest.raises(Exception, match="pickle a tensor"):
        space(given_a_module, decorate)
    assert isinstance(space(touched, decorate, "pid", "toy"), int)  # its name can


def test_what_cannot_be_pickled_does_not_come_back(space):
    with pytest.raises(gr.Error, match="PicklingError"):
        space(touched, worded, "lambda")


# --- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_in_a_worker_arrives_as_a_sentence(space, cases):
    with pytest.raises(gr.Error, match=r"^'No such colour\.'$"):
        space(touched, worded, "refuse")
    with pytest.raises(gr.Error) as broken:
        space(touched, worded, "break")
    assert broken.value.message == OURS
    model, extractor, ws, target, region, _ = cases["edit"]
    with pytest.raises(gr.Error, match=r"nothing is painted|Nothing is painted"):
        space(run, "edit", model, extractor, ws, np.full_like(target, 255), region, 3)
    with pytest.raises(gr.Error, match="The region is empty"):
        space(run, "remove", model, extractor, ws, 3, np.zeros((32, 32), bool))


def test_a_refusal_does_not_cost_the_worker_and_its_features(space, cases):
    space(run, "draw", *cases["draw"])
    pids, (model, ws, strokes, categories) = len(space.scheduler.pids), cases["fit"]
    one = [np.where(each == strokes[0].min(), each, 255).astype(np.uint8) for each in strokes]
    with pytest.raises(gr.Error, match="paint at least one other category too"):
        space(run, "fit", model, ws, one, categories)
    assert not space.scheduler.released[-1] and len(space.scheduler.pids) == pids
    assert space(passes_of, "fit", *cases["fit"]) == 0 and len(space.scheduler.pids) == pids
    with pytest.raises(gr.Error):
        space(touched, worded, "break")  # what is not of the input still ends it
    assert space.scheduler.released[-1]


def test_without_our_words_only_the_class_of_an_error_arrives(space):
    with pytest.raises(gr.Error) as bare:
        space(touched, raw, "refuse")
    assert bare.value.message == "InputError" and bare.value.title == gpu.WORKER


def test_a_worker_that_dies_is_said_in_a_sentence_and_the_next_job_gets_another(space, cases):
    with pytest.raises(gr.Error) as died:
        space(aborted)
    assert died.value.message == ABORTED
    with pytest.raises(gr.Error, match="GPU task aborted"):
        space(touched, raw, "die")
    assert space(run, "draw", *cases["draw"])[1].shape == (3, 32, 32, 3)


def test_a_refusal_of_the_scheduler_arrives_as_it_is(space, cases):
    scheduler = space.scheduler
    for refusal, sentence in (
        ((503, {}, {}), "No GPU was available"),
        ((429, {}, {"left": 3, "wait": "PT30M"}), "reached its GPU limit"),
    ):
        scheduler.refusal = refusal
        try:
            with pytest.raises(gr.Error, match=sentence):
                space(run, "draw", *cases["draw"])
        finally:
            scheduler.refusal = None
    assert len(space(run, "draw", *cases["draw"])) == 2


# --- apart -----------------------------------------------------------------------------------------------------------


def test_nothing_that_a_worker_does_changes_the_server(space, here, cases):
    before = space(kept)
    for job in ("read", "fit", "edit"):
        space(run, job, *cases[job])
    assert space(touched, worded, "global", 1) == 1
    assert space(changed_by_a_worker) == (["mine"], ["mine", "changed"])
    assert space(kept) == before and before[0] == 0
    looks = here._studio._looks_of("toy")
    looks.kept.clear()
    looks.images.clear()
    model, extractor, ws = cases["read"]
    here.read(model, replace(extractor, temperature=extractor.temperature + 2), ws)  # not seen before
    assert len(looks.kept) == 3  # where there is no worker, the same job leaves its images


def test_a_worker_that_drew_images_still_has_them(space, cases):
    scheduler = space.scheduler
    space(run, "draw", *cases["draw"])
    before = len(scheduler.pids)
    assert space(passes_of, "fit_and_read", *cases["fit_and_read"]) == 0
    assert space(passes_of, "read", *cases["read"]) == 0
    assert len(scheduler.pids) == before  # one worker for all
    scheduler.idle = False
    try:
        model, extractor, ws = cases["read"]
        other = replace(extractor, temperature=extractor.temperature + 1)  # whose readings the server has not seen
        assert space(passes_of, "read", model, other, ws) == 3
    finally:
        scheduler.idle = True
    assert len(scheduler.pids) == before + 1


def test_a_worker_forked_while_another_thread_holds_the_locks_does_its_job(space):
    space.scheduler.idle = False  # so that there is a fork
    try:
        assert space(locked_while_forking, locks_in_a_worker) == (False, True)  # an ordinary lock is never open again
        assert space(locked_while_forking, drawn_in_a_worker).shape == (1, 5, 24)
    finally:
        space.scheduler.idle = True


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_the_page_draws_reads_and_stops(space: Space, local, tmp_path):
    space.main(open_page)
    client = Client(f"http://127.0.0.1:{space.port}/", verbose=False, download_files=tmp_path, httpx_kwargs=PATIENT)
    studio, model = local
    reading = studio.read(model, studio.shipped(model), list(studio.latents(model, [7], 0.7)))
    before = len(space.scheduler.released)
    _, _, report = client.predict(model, "7", 0.7, None, api_name="/segment")
    share = np.mean(reading.labels == 0)
    assert report["images"][0]["shares"][report["categories"][0]] == pytest.approx(share, abs=0.01)
    assert len(space.scheduler.released) == before + 2 and not any(space.scheduler.released[before:])

    target = np.full(reading.labels.shape[1:], 255, np.uint8)
    target[: len(target) // 2] = (reading.labels[0, : len(target) // 2] + 1) % len(report["categories"])
    path = tmp_path / "target.png"
    path.write_bytes(write_label_map(target, studio.shipped(model).categories))
    wish = (model, 7, None, 0.7, handle_file(path), None, None, 60)
    start = space(notes, "STEPS")
    client.predict(*wish, api_name="/edit")
    whole = space(notes, "STEPS") - start
    start, released = space(notes, "STEPS"), len(space.scheduler.released)
    job = client.submit(*wish, api_name="/edit")
    while not job.outputs():
        assert not job.done()
        time.sleep(0.01)
    job.cancel()
    while len(space.scheduler.released) < released + 2:  # the image to begin with, and the edit
        time.sleep(0.01)
    seen = space(notes, "STEPS") - start
    time.sleep(10 * STEP)
    assert space(notes, "STEPS") - start == seen < whole

    other = next(row["id"] for row in studio.models() if row["available"] and row["id"] != model)
    shipped, asked = studio.shipped(other), len(space.scheduler.asked)
    path.write_bytes(write_label_map(np.zeros(shipped.size, np.uint8), shipped.categories))
    with pytest.raises(AppError, match="LINSEM_DEVICE"):  # said by the worker, which has no real GPU to load it on;
        client.predict(other, handle_file(path), 1, 2, 0, 0, None, api_name="/sample")
    assert len(space.scheduler.asked) == asked + 1  # the server, which has none at all, did not try to
