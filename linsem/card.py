"""The model card of a published extractor: what it is, what it was fitted to, how to use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from linsem.generators import GENERATORS

if TYPE_CHECKING:
    from linsem.extractor import Extractor

_KIND = {
    "LSE": "a linear semantic extractor: one matrix for each feature map of the generator",
    "NSE-1": "a nonlinear semantic extractor: a small per-pixel network for each feature map of the generator",
    "NSE-2": "a nonlinear semantic extractor: a decoder over all feature maps of the generator",
    "centroid": "a nearest-centroid semantic extractor over the feature maps of the generator",
}

_CARD = """---
{front}
---

# {title}

This is {kind} ({code}). It turns the features that the generator `{generator}` computes while it draws an image into a
segmentation of that image, after Xu & Zheng, *Linear Semantics in Generative Adversarial Networks* (CVPR 2021).

It only works with that generator{source}. The generator's own terms{terms} apply to what is made with it.

| index | category | colour |
| --- | --- | --- |
{rows}

Feature maps read: {layers}. Segmentations are {height} x {width} pixels by default.

```python
import linsem

G = linsem.load_generator({load})
extractor = linsem.load_extractor("hub://{repo}", G)
image, features = G.synthesize(G.map(linsem.seed_z(G, [7]), psi={psi}))
labels = extractor.predict(features)  # (1, {height}, {width}), the indices above
```

The file holds tensors and text only (safetensors); nothing in it is executed.
"""


def of_extractor(extractor: Extractor, repo: str, licence: str | None = None) -> str:
    """The text of README.md, including its front matter; `licence` is a licence id of the Hub."""
    spec = GENERATORS.get(extractor.generator_id)
    front: dict[str, object] = {
        "library_name": "linsem",
        "pipeline_tag": "image-segmentation",
        "tags": ["linsem", "gan", "semantic-segmentation", extractor.kind.lower()],
    }
    if licence:
        front["license"] = licence
    if spec is not None and spec.repo and spec.repo_type == "model":
        front["base_model"] = spec.repo
    return _CARD.format(
        # JSON is valid YAML, and quotes any name.
        front="\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()),
        title=repo.split("/")[-1],
        kind=_KIND.get(extractor.kind, "a semantic extractor"),
        code=extractor.kind,
        generator=_plain(extractor.generator_id),
        source=f" ({spec.source.rstrip('.')})" if spec else "",
        terms=f" ({spec.licence})" if spec else "",
        rows="\n".join(f"| {i} | {_plain(c.name)} | `{c.color}` |" for i, c in enumerate(extractor.categories)),
        layers=", ".join(map(str, extractor.layers)),
        height=extractor.size[0],
        width=extractor.size[1],
        load=json.dumps(extractor.generator_id, ensure_ascii=False),
        repo=repo,
        psi=spec.psi if spec else 0.7,
    )


def _plain(text: str) -> str:
    """Escape text for a Markdown table."""
    return "".join("\\" + c if c in "|`<>[]*_\\" else c for c in text)
