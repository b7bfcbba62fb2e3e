"""What the server keeps of what the accelerator has shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem.looks import Looks
from linsem.settings import Settings
from linsem.studio import Studio
from linsem.ui.gpu import Accelerator
from linsem.ui.seen import Seen
from tests.toys import CATEGORIES, ToyGenerator, scribbles


class Counted(Studio):
    """A studio that counts the jobs that reach it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.jobs: list[str] = []
        self._looks.get("toy", lambda: Looks(ToyGenerator(), 64 << 20))
        for job in ("draw", "render", "read", "fit", "overview"):
            setattr(self, job, self._counted(job, getattr(self, job)))

    def _counted(self, name, job):
        def run(*args, **options):
            self.jobs.append(name)
            return job(*args, **options)

        return run

    def fetch(self, model):
        pass


@pytest.fixture
def studio():
    return Counted(Settings(device="cpu"))


@pytest.fixture
def gpu(studio):
    return Accelerator(studio)


def test_an_image_that_was_drawn_is_shown_without_a_job(studio, gpu):
    ws, rgb = gpu.draw("toy", [1, 2, 3], 0.7)
    assert (gpu.render("toy", [ws[2], ws[0]]) == rgb[[2, 0]]).all() and studio.jobs == ["draw"]
    gpu.render("toy", [ws[0], ws[1] + 1])  # of which one is new
    assert studio.jobs == ["draw", "render"]


def test_what_was_read_is_read_again_without_a_job_by_the_same_extractor_alone(studio, gpu):
    ws, _ = gpu.draw("toy", [1, 2], 0.7)
    extractor = ToyGenerator().known_extractor()
    first, again = (gpu.read("toy", extractor, list(ws)) for _ in range(2))
    for name in ("rgb", "labels", "uncertainty"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert studio.jobs.count("read") == 1
    gpu.read("toy", replace(extractor, weights={k: w + 0.0 for k, w in extractor.weights.items()}), [ws[1]])
    assert studio.jobs.count("read") == 1  # a copy
    moved = replace(extractor, weights={k: w + 0.1 for k, w in extractor.weights.items()})
    for other in (moved, replace(extractor, temperature=2.0), replace(extractor, least=(0.0, 0.0, 0.0, 0.5))):
        before = studio.jobs.count("read")
        gpu.read("toy", other, [ws[1]])
        assert studio.jobs.count("read") == before + 1


def test_another_look_at_an_overview_costs_no_job_and_another_image_to_label_does(studio, gpu):
    ws, _ = gpu.draw("toy", [1, 2, 3], 0.7)
    labels = ToyGenerator().known_extractor()
    first = gpu.overview("toy", labels, list(ws), [0])
    again = gpu.overview("toy", labels, list(ws), [0])
    assert first[1] == again[1] is not None and (first[0].labels == again[0].labels).all()
    assert studio.jobs.count("overview") == 1
    assert gpu.overview("toy", labels, list(ws), [0, 1, 2])[1] is None  # None is an answer, and is kept
    gpu.overview("toy", labels, list(ws), [2, 1, 0])
    assert studio.jobs.count("overview") == 2
    before = len(studio.jobs)
    gpu.read("toy", labels, [ws[1]])  # its images were read with the others
    assert len(studio.jobs) == before


def test_what_a_fit_showed_is_shown_again_without_a_job(studio, gpu):
    ws, _ = gpu.draw("toy", [1, 2], 0.7)
    strokes = [scribbles(each) for each in ToyGenerator().truth(torch.from_numpy(ws))]
    extractor, reading = gpu.fit_and_read("toy", list(ws), strokes, CATEGORIES, None, ws[0])
    before = len(studio.jobs)
    assert (gpu.read("toy", extractor, [ws[0]]).labels == reading.labels).all() and len(studio.jobs) == before


def test_nothing_is_kept_where_nothing_may_be():
    seen, ws = Seen(0), np.zeros((1, 5, 24), np.float32)
    seen.keep_images("toy", ws, np.zeros((1, 4, 4, 3), np.uint8))
    assert seen.images("toy", ws) is None and seen.images("toy", []) is None


def test_images_of_other_generators_and_latents_are_told_apart():
    seen, ws = Seen(1 << 20), np.zeros((1, 5, 24), np.float32)
    seen.keep_images("toy", ws, np.zeros((1, 4, 4, 3), np.uint8))
    assert seen.images("toy", ws) is not None
    assert seen.images("other", ws) is None and seen.images("toy", ws.reshape(1, 24, 5)) is None
