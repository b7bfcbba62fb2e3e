"""A network that violates the protocol: each entry point names the violation before anything is made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import linsem
from linsem.errors import InputError
from linsem.examples import AnnotationError
from linsem.extractor import ExtractorError
from linsem.generator import check_generator
from linsem.steer import SteerError
from tests.test_plugin import Sunset, annotations, truth, ws_of

IMAGE = r"'sunset': expected an image of \(\d+, 3, 37, 37\), got "


def changed(change):
    """A `Sunset` whose answers are changed."""

    class Changed(Sunset):
        def synthesize(self, ws, **asked):
            return change(*super().synthesize(ws, **asked))

    return Changed()


SMALL = changed(lambda rgb, maps: (None if rgb is None else F.interpolate(rgb, (20, 20)), maps))
GRAY = changed(lambda rgb, maps: (None if rgb is None else rgb[:, :1], maps))
BLIND = changed(lambda rgb, maps: (None, maps))
FEWER = changed(lambda rgb, maps: (rgb, maps[:-1]))
MORE = changed(lambda rgb, maps: (rgb, [*maps, maps[-1]]))
OTHER = changed(lambda rgb, maps: (rgb, [F.interpolate(x, (9, 9)) for x in maps]))
FLAT = changed(lambda rgb, maps: (rgb, [x.flatten(2) for x in maps]))
NAN = changed(lambda rgb, maps: (rgb, [x * float("nan") for x in maps]))
HALF = changed(lambda rgb, maps: (rgb if rgb is None else rgb.half(), [x.half() for x in maps]))
DOUBLE = changed(lambda rgb, maps: (rgb if rgb is None else rgb.double(), [x.double() for x in maps]))


BYTES = changed(lambda rgb, maps: (None if rgb is None else (rgb + 1) * 127.5, maps))


@pytest.mark.parametrize(
    ("name", "method"),
    [("synthesize", lambda self, ws: None), ("synthesize", lambda self, ws, image=True: None), ("map", lambda z: z)],
)
def test_a_method_that_takes_something_else_is_named(name, method):
    net = type("Other", (Sunset,), {name: method})()
    with pytest.raises(InputError, match=f"'sunset': `{name}` differs from that of `linsem.Generator`: "):
        linsem.fit_few_shot(net, annotations(Sunset()), net.categories)


@pytest.fixture(scope="module")
def extractor():
    net = Sunset()
    return linsem.fit_few_shot(net, annotations(net), net.categories)


def teacher(rgb):
    colors = Sunset().colors
    return (rgb.float()[:, :, None] - colors[None, :, :, None, None]).square().sum(1).argmin(1)


def doors(net, extractor, folder, of=None):
    """All entry points that read images or features, by name; the labels are those of the network `of`."""
    from linsem.export import iter_export

    of = net if of is None else of
    ws = ws_of(of, 0, 1)
    wish = truth(of, ws)
    fit = {"categories": of.categories}
    return {
        "dense fit": lambda: linsem.fit_few_shot(net, annotations(of, every=1), **fit),
        "sparse fit": lambda: linsem.fit_few_shot(net, annotations(of), spread=True, **fit),
        "supervised": lambda: linsem.fit_supervised(net, teacher, recipes=["LSE"], images=4, batch=2, **fit),
        "suggest": lambda: linsem.suggest_next(net, None, range(6), 2),
        "edit": lambda: linsem.edit(net, extractor, ws[0], wish[1], steps=2),
        "sample": lambda: linsem.sample(net, extractor, wish[1], 1, candidates=8, steps=2),
        "export": lambda: list(
            iter_export(net, extractor, count=2, first_seed=0, psi=1.0, out_path=folder / "faces.zip")
        ),
    }


@pytest.mark.parametrize("net", [SMALL, GRAY, BLIND], ids=["small", "gray", "blind"])
@pytest.mark.parametrize("door", ["sparse fit", "supervised", "edit", "sample", "export"])
def test_an_image_of_another_shape_is_refused(net, door, extractor, tmp_path):
    with pytest.raises(ValueError, match=IMAGE):
        doors(net, extractor, tmp_path)[door]()
    assert not list(tmp_path.iterdir())
    doors(Sunset(), extractor, tmp_path)[door]()


@pytest.mark.parametrize("door", ["sparse fit", "supervised", "edit", "sample", "export"])
def test_an_image_of_numbers_in_0_to_255_is_refused(door, extractor, tmp_path):
    with pytest.raises(ValueError, match=r"'sunset': expected images in \[-1, 1\], got values of \d"):
        doors(BYTES, extractor, tmp_path)[door]()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (FEWER, "expected 3 feature maps, as `layers` says, got 2"),
        (MORE, "feature maps, as `layers` says, got 4"),
        (OTHER, r"layer 0: expected maps of \(11, 7, 7\), got \(11, 9, 9\)"),
        (FLAT, r"layer 0: expected maps of \(11, 7, 7\), got \(11, 49\)"),
    ],
    ids=["fewer", "more", "other", "flat"],
)
@pytest.mark.parametrize("door", ["dense fit", "supervised", "suggest", "edit", "sample", "export"])
def test_maps_that_are_not_what_the_layers_say_are_refused(net, said, door, extractor, tmp_path):
    if net is FEWER and door == "suggest":  # it looks at the layers from 8 to 32 pixels alone
        said = "feature maps, as `layers` says, got"
    with pytest.raises(ValueError, match=said):
        doors(net, extractor, tmp_path)[door]()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("door", ["dense fit", "supervised", "suggest", "edit", "export"])
def test_numbers_that_are_not_finite_are_refused(door, extractor, tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        doors(NAN, extractor, tmp_path)[door]()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("net", [HALF, DOUBLE], ids=["half", "double"])
def test_any_precision_is_read(net, extractor, tmp_path):
    exact = Sunset()
    ws = ws_of(exact, 5, 6)
    labels = extractor.predict(net.synthesize(ws)[1])
    assert (labels == extractor.predict(exact.synthesize(ws)[1])).mean() > 0.99
    for door in doors(net, extractor, tmp_path).values():
        door()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_latent_that_nothing_can_move_is_an_error_and_not_a_result(mode, extractor):
    class Still(Sunset):
        @mode()
        def synthesize(self, ws, **asked):
            return super().synthesize(ws, **asked)

    net = Still()
    ws = ws_of(net, 0, 1)
    wish = truth(net, ws)[1]
    moved = linsem.edit(Sunset(), extractor, ws[0], wish, steps=2).report
    assert moved["agreement_after"] > moved["agreement_before"]
    with pytest.raises(SteerError, match="'sunset': its features have no gradient in ws"):
        linsem.edit(net, extractor, ws[0], wish, steps=2)
    with pytest.raises(SteerError, match="no gradient"):
        linsem.sample(net, extractor, wish, 1, candidates=8, steps=2)


def test_maps_that_an_extractor_does_not_read_are_an_error_of_its_own(extractor):
    maps = Sunset().synthesize(ws_of(Sunset(), 0))[1]
    for wrong in (maps[0].flatten(2), maps[0][:, 1:], maps[0][0]):
        with pytest.raises(ExtractorError, match=r"layer 0: expected maps \(N, 11, h, w\), got"):
            extractor.predict([wrong, *maps[1:]])
    assert extractor.predict(maps).shape == (1, 37, 37)


def test_a_label_of_any_kind_has_a_bank(extractor, tmp_path):
    from linsem.bank import cached_bank

    net = Sunset()
    net.label = torch.tensor([1])
    first = cached_bank(tmp_path, net, extractor, range(8))
    again = cached_bank(tmp_path, net, extractor, range(8))
    assert np.array_equal(first.labels, again.labels) and len(list(tmp_path.iterdir())) == 1


ONE = changed(lambda rgb, maps: (None if rgb is None else rgb[:1], [x[:1] for x in maps]))
NUMPY = changed(lambda rgb, maps: (rgb, [x.detach().numpy() for x in maps]))
NOTHING = changed(lambda rgb, maps: (rgb, None))
STACK = changed(lambda rgb, maps: (rgb, maps[-1]))
ALONE = changed(lambda rgb, maps: maps[-1] if rgb is None else rgb)
THREE = changed(lambda rgb, maps: (rgb, maps, {}))


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (ONE, r"'sunset': layer 0: expected maps of \d images, got 1"),
        (NUMPY, "'sunset': layer 0: expected a tensor, got ndarray"),
        (NOTHING, "'sunset': expected a list of feature maps, got NoneType"),
        (STACK, r"'sunset': expected a list of feature maps, got \("),
        (ALONE, r"'sunset': expected an image and its feature maps from `synthesize`, got \("),
        (THREE, "'sunset': expected an image and its feature maps from `synthesize`, got tuple of 3"),
    ],
    ids=["one", "numpy", "nothing", "stack", "alone", "three"],
)
def test_what_is_no_pair_of_an_image_and_maps_of_each_sample_is_refused(net, said, extractor, tmp_path):
    with pytest.raises(InputError, match=said):
        linsem.make_bank(net, extractor, range(5))
    for door in ("sample", "export", "edit"):
        if net is not ONE or door != "edit":  # which draws one image
            with pytest.raises(InputError, match=said):
                doors(net, extractor, tmp_path)[door]()
    assert not list(tmp_path.iterdir())


def test_a_map_that_gives_fewer_latents_than_seeds_is_refused(extractor):
    class Fewer(Sunset):
        def map(self, z, psi=1.0):
            return super().map(z, psi)[:1]

    with pytest.raises(InputError, match="'sunset': expected ws of 5 images from `map`, got "):
        linsem.make_bank(Fewer(), extractor, range(5))


def test_a_map_that_gives_one_w_without_its_axis_is_refused(extractor):
    class Flat(Sunset):
        def map(self, z, psi=1.0):
            return super().map(z, psi)[:, 0]

    said = r"'sunset': expected ws \(N, num_ws, w_dim\) = \(5, 1, 7\) from `map`, got \(5, 7\)"
    with pytest.raises(InputError, match=said):
        linsem.make_bank(Flat(), extractor, range(5))


@pytest.mark.parametrize(("name", "value"), [("num_ws", 2), ("w_dim", 9)])
@pytest.mark.parametrize("door", ["suggest", "sample", "export"])
def test_a_map_that_gives_other_latents_than_declared_is_refused(name, value, door, extractor, tmp_path):
    net = Sunset()
    setattr(net, name, value)
    with pytest.raises(InputError, match=r"expected ws \(N, num_ws, w_dim\) = .* from `map`, got \(\d+, 1, 7\)"):
        doors(net, extractor, tmp_path, of=Sunset())[door]()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("door", ["sparse fit", "supervised", "edit", "export"])
def test_an_image_of_whole_numbers_is_refused(door, extractor, tmp_path):
    bytes_ = changed(lambda rgb, maps: (None if rgb is None else (127.5 * (rgb + 1)).byte(), maps))
    with pytest.raises(ValueError, match=r"'sunset': expected an image of real numbers in \[-1, 1\], got torch.uint8"):
        doors(bytes_, extractor, tmp_path)[door]()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("size", 37, r"its size as \(H, W\), got 37"),
        ("size", (37, 37, 3), r"its size as \(H, W\), got"),
        ("z_dim", "7", "z_dim: expected a whole number of at least 1, got '7'"),
        ("num_ws", 0, "num_ws: expected a whole number of at least 1, got 0"),
        ("layers", ((11, 7, 7, 0),), r"expected a `linsem.Layer` for each feature map in `layers`, got \(11"),
        ("layers", (), "in `layers`, got none"),
        ("layers", None, "in `layers`, got None"),
        ("layers", (linsem.Layer(11, 7, 7, last_w=1),), r"last_w of layer 0: expected a whole number in 0\.\.0, got 1"),
        ("layers", (linsem.Layer(11, 7, 7, last_w=None),), "last_w of layer 0: expected a whole number"),
        ("size", (37, "37"), "width: expected a whole number of at least 1, got '37'"),
    ],
)
def test_what_the_class_says_of_itself_is_checked_before_anything_is_made(name, value, said, extractor):
    net = Sunset()
    net.size = tuple(np.array(net.size))
    check_generator(net)
    setattr(net, name, value)
    with pytest.raises(InputError, match=f"'sunset': .*{said}"):
        check_generator(net)
    with pytest.raises(InputError, match=said):
        linsem.make_bank(net, extractor, range(5))


def test_an_edit_leaves_no_gradients_in_a_network_that_is_not_frozen(extractor):
    class Warm(Sunset, torch.nn.Module):
        def __init__(self):
            torch.nn.Module.__init__(self)
            Sunset.__init__(self)
            self.gain = torch.nn.Parameter(torch.ones(()))

        def synthesize(self, ws, **asked):
            rgb, maps = super().synthesize(ws, **asked)
            return rgb, [self.gain * x for x in maps]

    net = Warm()
    ws = ws_of(net, 0, 1)
    found = linsem.edit(net, extractor, ws[0], truth(Sunset(), ws)[1], steps=3)
    assert found.report["agreement_after"] > found.report["agreement_before"] and net.gain.grad is None


def test_a_device_may_be_named(extractor):
    class Named(Sunset):
        device = "cpu"

    ws = ws_of(Named(), 0, 1)
    one, other = (linsem.edit(net(), extractor, ws[0], truth(net(), ws)[1], steps=20) for net in (Named, Sunset))
    assert torch.equal(one.ws, other.ws) and one.report["steps"] > 0


def lacking(*names):
    """A `Sunset` without some of what the protocol names."""

    class Half:
        def __getattr__(self, name):
            if name in names:
                raise AttributeError(name)
            return getattr(whole, name)

    whole = Sunset()
    return Half()


@pytest.mark.parametrize("door", ["dense fit", "sparse fit", "supervised", "suggest", "edit", "sample", "export"])
def test_a_network_without_all_of_the_protocol_is_told_what_it_lacks(door, extractor, tmp_path):
    usual = doors(lacking(), extractor, tmp_path)
    usual[door]()
    for path in tmp_path.iterdir():
        path.unlink()
    for net, said in (
        (lacking("num_ws", "synthesize"), "but Half lacks num_ws, synthesize$"),
        (None, "expected one .*load_generator.*, got None$"),
        ("avatars-128", "got 'avatars-128'$"),
        (Sunset, "got <class "),
    ):
        with pytest.raises(InputError, match=f"^generator: .*{said}"):
            doors(net, extractor, tmp_path, Sunset())[door]()
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [None, "avatars-128", 3], ids=repr)
def test_what_is_no_extractor_no_annotation_and_no_category_is_refused(given, tmp_path):
    net = Sunset()
    for door in ("edit", "sample", "export"):
        with pytest.raises(ExtractorError, match=r"^extractor: expected one .*, got "):
            doors(net, given, tmp_path)[door]()
    good = annotations(net)
    for wrong, said in ((given, "^annotations: expected a list"), ([*good, given], "^image 4: expected an Annotation")):
        with pytest.raises(AnnotationError, match=said):
            linsem.fit_few_shot(net, wrong, net.categories)
    with pytest.raises(AnnotationError, match=r"^categories: expected a list of at least two, got "):
        linsem.fit_few_shot(net, good, given)
    with pytest.raises(ExtractorError, match=r"^features: expected a list of maps"):
        linsem.fit_few_shot(net, good, net.categories).predict(given)


def test_an_id_that_is_no_text_is_refused_before_the_work():
    """A file that is saved at its end holds the id."""
    net = Sunset()
    net.id = 5
    with pytest.raises(InputError, match=r"^generator: expected a text as its id, got 5$"):
        linsem.suggest_next(net, None, range(4), 2)
