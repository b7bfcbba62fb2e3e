"""An unknown network, one small class that differs in every respect from the others: everything works on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import linsem
from linsem import presence
from linsem.asked import ask_for
from linsem.extractor import ExtractorError
from linsem.pixels import resize_labels
from linsem.steer import SteerError

NAMES = ("background", "sun", "sea")


class Sunset:
    """Draws a sun over a sea, on layers whose sizes are not powers of two; z itself is the style, and is not repeated.

    It shares no code with the package, and has no base class, module or parameters.
    """

    id = "sunset"
    z_dim = w_dim = 7
    num_ws = 1
    categories = tuple(map(linsem.Category, NAMES, ("#334455", "#eecc33", "#2277aa")))
    device = torch.device("cpu")

    def __init__(self, size=(37, 37)):
        self.size = size
        channels, cuts = (11, 3, 8), (5.2, 2.4, 1.3)
        sizes = [(round(size[0] / cut), round(size[1] / cut)) for cut in cuts]
        self.layers = tuple(linsem.Layer(c, *hw, last_w=0) for c, hw in zip(channels, sizes, strict=True))
        random = torch.Generator().manual_seed(5)
        self.mixes = [torch.randn(c, 4, generator=random) for c in channels]
        self.colors = torch.tensor([[-0.6, 0.9, -0.7], [-0.2, 0.6, 0.1], [0.4, -0.5, 0.6]])  # (colour, part)

    def map(self, z, psi=1.0):
        return psi * z[:, None]

    def parts(self, ws, size):
        """The shares of sky, sun and sea in each pixel, (N, 3, h, w), summing to one."""
        x, y, r, horizon = torch.tanh(ws[:, 0, :4, None, None] * 0.7).unbind(1)
        rows, columns = torch.linspace(-1, 1, size[0])[:, None], torch.linspace(-1, 1, size[1])
        distance = ((columns - 0.5 * x).square() + (rows + 0.2 - 0.3 * y).square() + 1e-6).sqrt()
        sea = torch.sigmoid(12 * (rows - 0.5 - 0.25 * horizon)).expand(-1, *size)
        sun = torch.sigmoid(12 * (0.45 + 0.15 * r - distance)) * (1 - sea)
        return torch.stack([1 - sun - sea, sun, sea], 1)

    def synthesize(self, ws, *, image=True, last_layer=None):
        last = len(self.layers) - 1 if last_layer is None else last_layer
        features = []
        for mix, layer in zip(self.mixes[: last + 1], self.layers[: last + 1], strict=True):
            parts = self.parts(ws, (layer.height, layer.width))
            tint = ws[:, 0, 4, None, None, None].expand(-1, 1, *parts.shape[2:])
            features.append(torch.einsum("cf,nfhw->nchw", mix, torch.cat([parts, tint], 1)))
        rgb = torch.einsum("ck,nkhw->nchw", self.colors, self.parts(ws, self.size)) if image else None
        return rgb, features


class Lying(Sunset):
    """Declares other channel counts than its features have."""

    def __init__(self):
        super().__init__()
        self.layers = tuple(linsem.Layer(c.channels + 1, c.height, c.width, 0) for c in self.layers)


def truth(net, ws):
    return net.parts(ws, net.size).argmax(1).to(torch.uint8).numpy()


def ws_of(net, *seeds):
    return net.map(linsem.seed_z(net, seeds))


def annotations(net, seeds=(0, 1, 2), every=5):
    """Annotations with one pixel in `every` labelled, the rest unknown."""
    ws = ws_of(net, *seeds)
    labels = truth(net, ws).copy()
    unknown = np.random.default_rng(0).random(labels.shape) > 1 / every
    labels[unknown] = linsem.IGNORE
    return [linsem.Annotation(w, one) for w, one in zip(ws, labels, strict=True)]


@pytest.fixture(scope="module", params=[(37, 37), (23, 46)], ids=["odd", "wide"])
def net(request):
    return Sunset(request.param)


@pytest.fixture(scope="module")
def extractor(net):
    return linsem.fit_few_shot(net, annotations(net), net.categories)


def test_the_class_is_a_generator_and_the_same_without_a_method_is_not(net):
    assert isinstance(net, linsem.Generator)
    less = type("Less", (), {name: getattr(Sunset, name) for name in ("id", "z_dim", "map")})
    assert not isinstance(less(), linsem.Generator)


def test_fit_and_segment(net, extractor):
    ws = ws_of(net, *range(50, 70))
    want = truth(net, ws)
    found = extractor.predict(net.synthesize(ws, image=False)[1])
    assert found.shape == want.shape
    assert (found == want).mean() > 0.95
    assert max((want == k).mean() for k in range(3)) < 0.7  # one category everywhere would not do
    shown, told = annotations(net), reversed(annotations(net))
    wrong = [linsem.Annotation(a.ws, b.labels) for a, b in zip(shown, told, strict=True)]
    mixed_up = linsem.fit_few_shot(net, wrong, net.categories).predict(net.synthesize(ws, image=False)[1])
    assert (mixed_up == want).mean() < (found == want).mean()


def test_a_file_keeps_it_and_another_generator_is_refused(net, extractor, tmp_path):
    path = tmp_path / "sunset.safetensors"
    linsem.save_extractor(extractor, path)
    again = linsem.load_extractor(path, net)
    features = net.synthesize(ws_of(net, 9), image=False)[1]
    assert torch.equal(again.logits(features), extractor.logits(features))
    other = Sunset(net.size)
    other.id = "sunrise"
    with pytest.raises(ExtractorError, match=r"sunset.*sunrise"):
        linsem.load_extractor(path, other)


def test_edit(net, extractor):
    ws = ws_of(net, 3)[0]
    wish = truth(net, net.map(linsem.seed_z(net, [3])) + torch.tensor([0.0, 0, 0, -1.5, 0, 0, 0]))[0]
    before = truth(net, ws[None])[0]
    region = before != wish  # the sea rises
    result = linsem.edit(net, extractor, ws, np.where(region, wish, linsem.IGNORE).astype(np.uint8), region)
    assert result.report["agreement_before"] < 0.2
    assert result.report["agreement_after"] > 0.7
    assert (truth(net, result.ws[None])[0] == wish)[region].mean() > 0.7  # not by the extractor's word alone
    assert (truth(net, result.ws[None])[0] == before)[~region].mean() > 0.8


def test_sample(net, extractor):
    layout = truth(net, ws_of(net, 777))[0]
    results = linsem.sample(net, extractor, layout, 2, candidates=24, steps=25)
    starts = linsem.sample(net, extractor, layout, 2, candidates=24, steps=0)
    assert len(results) == 2 and results[0].image.shape == (3, *net.size)
    assert results[0].score >= results[1].score > 0.8
    assert np.mean([r.score for r in results]) > np.mean([r.score for r in starts])
    assert (truth(net, results[0].ws[None])[0] == layout).mean() > 0.85


def test_a_look_needs_no_style_for_each_layer(net, extractor):
    """A network of one latent takes a look too, at no cost of its layout (its colours hardly depend on z)."""
    layout = truth(net, ws_of(net, 777))[0]
    results = linsem.sample(net, extractor, layout, 2, candidates=24, steps=25, look=5)
    assert results[0].score >= results[1].score > 0.8 and net.num_ws == 1


def test_only_what_is_needed_is_run():
    """`last_layer` and `image=False` reach the class: an extractor of the first layer runs nothing else."""
    asked = []

    class Counting(Sunset):
        def synthesize(self, ws, *, image=True, last_layer=None):
            asked.append((image, last_layer))
            return super().synthesize(ws, image=image, last_layer=last_layer)

    net = Counting()
    coarse = linsem.fit_few_shot(net, annotations(net), net.categories, layers=(0,))
    layout = truth(net, ws_of(net, 7))[0]
    asked.clear()
    linsem.sample(net, coarse, layout, 1, candidates=4, steps=0)
    assert (False, 0) in asked


def test_a_label_map_of_another_size_is_refused(net, extractor):
    rows, columns = net.size
    small = np.zeros((rows - 1, columns), np.uint8)
    with pytest.raises(ValueError, match=rf"{rows - 1}.*{rows}"):
        linsem.fit_few_shot(net, [linsem.Annotation(ws_of(net, 0)[0], small)], net.categories)
    with pytest.raises(SteerError, match=rf"{rows}.*{rows - 1}"):
        linsem.edit(net, extractor, ws_of(net, 0)[0], small)


def test_a_latent_of_another_generator_is_refused(net, extractor):
    ws = torch.zeros(2, net.w_dim)
    with pytest.raises(ValueError, match=r"\(2, 7\).*\(1, 7\)"):
        linsem.fit_few_shot(net, [linsem.Annotation(ws, np.zeros(net.size, np.uint8))], net.categories)
    with pytest.raises(ValueError, match=r"\(1, 7\)|7"):
        linsem.edit(net, extractor, ws, np.zeros(net.size, np.uint8))


def test_layers_that_are_not_what_the_class_says_are_refused():
    net = Lying()
    with pytest.raises(ValueError, match="layer"):
        linsem.fit_few_shot(net, annotations(net), net.categories)


class Wide(Sunset):
    z_dim = w_dim = 8


class Split(Wide):
    """The same network, which reads its style as four of two numbers, each of its own."""

    num_ws, w_dim = 4, 2

    def map(self, z, psi=1.0):
        return super().map(z, psi).view(len(z), self.num_ws, self.w_dim)

    def synthesize(self, ws, **options):
        return super().synthesize(ws.reshape(len(ws), 1, -1), **options)


def test_styles_that_differ_between_layers_are_moved_as_one_that_does_not():
    """A search that moves all layers alike, as those of a StyleGAN, would leave out most of what these can draw."""
    made = []
    for generator in (Wide(), Split()):
        ws = generator.map(linsem.seed_z(generator, range(6)))
        labels = generator.parts(ws.reshape(6, 1, -1), generator.size).argmax(1).to(torch.uint8).numpy()
        annotations = [linsem.Annotation(*each) for each in zip(ws, labels, strict=True)]
        extractor = linsem.fit_few_shot(generator, annotations, generator.categories)
        atlas = linsem.make_atlas(generator, linsem.make_bank(generator, extractor, range(60)))
        asked = ask_for(generator, extractor, ws[0], "sun")
        shown = presence._labels_of(asked, atlas.w[5])
        assert (resize_labels(shown, atlas.labels.shape[1:]) == atlas.labels[5]).mean() > 0.95
        wish = np.roll(labels[0], 6, axis=1)
        edited = linsem.edit(generator, extractor, ws[0], wish, steps=12, atlas=atlas)
        drawn = linsem.sample(generator, extractor, labels[1], 2, candidates=60, steps=6)
        made.append([each.ws.flatten() for each in (edited, *drawn)])
    for one, other in zip(*made, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


class Double(Sunset):
    """Its `map` gives double precision, in which its `synthesize` fails, as it has weights in single precision."""

    def map(self, z, psi=1.0):
        return super().map(z.double(), psi)


def test_a_style_of_another_precision_reaches_the_network_as_float32_through_every_door(tmp_path):
    generator = Double()
    given = set()

    def noted(ws, **options):
        given.add(ws.dtype)
        return Sunset.synthesize(generator, ws, **options)

    generator.synthesize = noted
    ws = generator.map(linsem.seed_z(generator, range(4)))
    labels = generator.parts(ws.float(), generator.size).argmax(1).to(torch.uint8).numpy()
    annotations = [linsem.Annotation(*each) for each in zip(ws, labels, strict=True)]
    extractor = linsem.fit_few_shot(generator, annotations, generator.categories)
    linsem.edit(generator, extractor, ws[0], labels[1], steps=2)
    linsem.sample(generator, extractor, labels[1], 1, candidates=8, steps=1)
    linsem.suggest_next(generator, extractor, range(6), 2)
    list(linsem.iter_export(generator, extractor, count=2, out_path=tmp_path / "set.zip"))
    linsem.fit_supervised(generator, lambda image: labels[: len(image)] * 0 + 1, images=4, batch=4, recipes=["LSE"])
    assert given == {torch.float32}
