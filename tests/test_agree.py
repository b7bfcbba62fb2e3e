"""Labels and losses of pixels: the hand-written forms equal torch's own, including gradients and ties."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from linsem.agree import labels_of, margin_of, weighted_entropy
from linsem.readout import _read


def logits_of(order=torch.contiguous_format):
    random = torch.Generator().manual_seed(0)
    return (4 * torch.randn(3, 5, 7, 6, generator=random)).to(memory_format=order)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_labels_are_the_argmax_in_any_order_of_memory(order):
    logits = logits_of(order)
    assert torch.equal(labels_of(logits), logits.argmax(1).to(torch.uint8))
    assert not torch.equal(labels_of(logits), logits.argmin(1).to(torch.uint8))


def test_of_equals_the_first_class_is_taken_up_to_254_of_them():
    logits = torch.zeros(1, 254, 2, 2)
    logits[0, 200:, 0, 0] = 1
    logits[0, 253, 1, 1] = 2
    assert labels_of(logits).tolist() == [[[200, 0], [0, 253]]]


def test_the_margin_is_that_of_the_two_best_and_none_between_equals():
    share = logits_of().softmax(1)
    best = share.topk(2, dim=1).values
    assert torch.allclose(margin_of(share), best[:, 0] - best[:, 1])
    share[:, 1] = share[:, 3] = 2.0
    assert margin_of(share).abs().max() == 0


def test_the_entropy_and_its_gradient_are_those_of_cross_entropy():
    target = torch.randint(0, 5, (3, 7, 6), generator=torch.Generator().manual_seed(1))
    weight = torch.rand(3, 7, 6, generator=torch.Generator().manual_seed(2))
    weight[1, :3] = 0
    ours, theirs = (logits_of().requires_grad_() for _ in range(2))
    found = weighted_entropy(ours, target, weight)
    plain = (F.cross_entropy(theirs, target, reduction="none") * weight).sum(dim=(1, 2))
    assert torch.allclose(found, plain, rtol=1e-5)
    scale = torch.tensor([1.0, -2.0, 0.5])
    (found * scale).sum().backward()
    (plain * scale).sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)
    assert ours.grad[1, :, :3].abs().max() == 0 < ours.grad[1, :, 3:].abs().max()


@pytest.mark.parametrize("bound", [0.3, 1.0])
def test_a_bounded_entropy_is_the_generalised_one_and_so_is_its_gradient(bound):
    target = torch.randint(0, 5, (3, 7, 6), generator=torch.Generator().manual_seed(1))
    weight = torch.rand(3, 7, 6, generator=torch.Generator().manual_seed(2))
    ours, theirs = ((4 * logits_of()).requires_grad_() for _ in range(2))
    found = weighted_entropy(ours, target, weight, bound)
    share = theirs.softmax(1).gather(1, target[:, None])[:, 0]
    plain = ((1 - share**bound) / bound * weight).sum(dim=(1, 2))
    assert torch.allclose(found, plain, rtol=1e-5)
    found.sum().backward()
    plain.sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


@pytest.mark.parametrize("bound", [1e-4, 1e-6, 1e-8, 1e-20])
def test_a_bound_near_nothing_costs_what_none_does(bound):
    target, weight = torch.randint(0, 5, (3, 7, 6), generator=torch.Generator().manual_seed(1)), torch.ones(3, 7, 6)
    bounded, plain = (weighted_entropy(logits_of(), target, weight, each) for each in (bound, 0.0))
    assert torch.allclose(bounded, plain, rtol=1e-3)


def test_what_cannot_be_met_hardly_pulls_if_its_cost_is_bounded():
    logits = torch.tensor([30.0, -30.0]).view(1, 2, 1, 1).requires_grad_()
    pulls = []
    for bound in (0.0, 0.7):
        logits.grad = None
        weighted_entropy(logits, torch.ones(1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1), bound).sum().backward()
        pulls.append(float(logits.grad.abs().max()))
    assert pulls[0] == pytest.approx(1) and pulls[1] < 1e-6
    small = weighted_entropy(logits.detach(), torch.ones(1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1), 0.001)
    assert float(small) == pytest.approx(60, rel=0.05)  # the limit is the cross-entropy


def test_one_target_serves_all_samples_and_a_class_that_is_ruled_out_where_nothing_is_asked_does_no_harm():
    logits = logits_of()
    target, weight = torch.zeros(1, 7, 6, dtype=torch.int64), torch.ones(1, 7, 6)
    assert weighted_entropy(logits, target, weight).shape == (3,)
    weight[0, 2] = 0
    before = weighted_entropy(logits, target, weight)
    logits[:, 0, 2] = -torch.inf
    logits.requires_grad_()
    found = weighted_entropy(logits, target, weight)
    found.sum().backward()
    assert torch.equal(found, before) and torch.isfinite(logits.grad).all()


def test_what_is_not_a_number_is_taken_for_a_class():
    logits = logits_of()
    logits[0, 2, 3, 4] = torch.nan
    assert labels_of(logits)[0, 3, 4] == 4
    assert labels_of(logits).max() < 5


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("learnt", [False, True])
def test_maps_of_one_size_are_read_as_the_sum_of_convolutions_gradients_included(order, learnt):
    random = torch.Generator().manual_seed(0)
    weights = [torch.randn(5, c, generator=random).requires_grad_(learnt) for c in (12, 3)]
    maps = [torch.randn(2, c, 6, 9, generator=random).to(memory_format=order) for c in (12, 3)]
    ours, theirs = ([x.clone().requires_grad_() for x in maps] for _ in range(2))
    found = _read(weights, ours)
    plain = sum(F.conv2d(x, w.detach()[:, :, None, None]) for w, x in zip(weights, theirs, strict=True))
    assert torch.allclose(found, plain, atol=1e-5)
    gradient = torch.randn(found.shape, generator=random)
    found.backward(gradient)
    plain.backward(gradient)
    for x, y in zip(ours, theirs, strict=True):
        assert torch.allclose(x.grad, y.grad, atol=1e-5)
    assert ("Pointwise" in found.grad_fn.name()) == (order == torch.channels_last and not learnt)
    if learnt:
        rows = gradient.permute(1, 0, 2, 3).flatten(1)
        for w, x in zip(weights, maps, strict=True):
            assert torch.allclose(w.grad, rows @ x.permute(0, 2, 3, 1).flatten(0, 2), atol=1e-4)


def test_an_empty_batch_is_read_as_one_and_autocast_does_not_stop_it():
    weights = [torch.randn(5, c, generator=torch.Generator().manual_seed(0)) for c in (12, 3)]
    maps = [torch.randn(0, c, 6, 9).to(memory_format=torch.channels_last) for c in (12, 3)]
    assert _read(weights, maps).shape == (0, 5, 6, 9)
    maps = [torch.randn(2, c, 6, 9).to(memory_format=torch.channels_last).requires_grad_() for c in (12, 3)]
    with torch.autocast("cpu", torch.bfloat16):
        _read(weights, maps).sum().backward()
    assert torch.isfinite(maps[0].grad).all()
