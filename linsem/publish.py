"""Publishing an extractor: the public door to `linsem.hub`, which is loaded only when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linsem.extractor import Extractor


def push_extractor(
    extractor: Extractor,
    repo_id: str,
    *,
    licence: str | None = None,
    private: bool = False,
    message: str = "Upload a semantic extractor",
    token: str | None = None,
) -> str:
    """Publish an extractor on the Hugging Face Hub as `repo_id` ("owner/name"), with a model card.

    The file is safetensors; `licence` is a licence id of the Hub ("mit", "cc-by-nc-4.0"). One has to be logged in
    (`hf auth login`, or HF_TOKEN), or to give a `token`. Returns "hub://owner/name@commit", which `load_extractor`
    takes. Raises `linsem.hub.HubError` with a sentence that says what to do.
    """
    from linsem import hub

    return hub.push_extractor(extractor, repo_id, licence=licence, private=private, message=message, token=token)
