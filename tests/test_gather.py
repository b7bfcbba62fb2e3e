"""Feature rows at single pixels equal the values that upsampling would give there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from linsem import gather as module
from linsem.gather import gather


@pytest.mark.parametrize("small", [0, 256, 100_000])
def test_a_row_is_what_upsampling_would_hold(small, monkeypatch):
    """Whether rows are fetched or multiplied out, which is only a matter of speed."""
    monkeypatch.setattr(module, "SMALL", small)
    random = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, c, h, w, generator=random) for c, h, w in ((3, 4, 4), (5, 16, 12), (2, 40, 30))]
    pixels = np.random.default_rng(0).choice(40 * 30, 200, replace=False)
    up = [F.interpolate(x, size=(40, 30), mode="bilinear", align_corners=True)[0].flatten(1) for x in maps]
    expected = torch.cat(up)[:, pixels].t()
    torch.testing.assert_close(gather(maps, [0, 1, 2], pixels, (40, 30)), expected, atol=1e-5, rtol=1e-5)
