"""Publishes an extractor and its model card on the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from linsem import card
from linsem.extractor import Extractor, save_extractor


def push_extractor(
    extractor: Extractor,
    repo_id: str,
    *,
    licence: str | None = None,
    private: bool = False,
    message: str = "Upload a semantic extractor",
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Publish an extractor and its model card in one commit; the repository "owner/name" is created if need be.

    The file is safetensors; `licence` is a licence id of the Hub ("mit", "cc-by-nc-4.0"). Requires a login
    (`hf auth login` or HF_TOKEN) or a `token`. Returns "hub://owner/name@commit", which `load_extractor` accepts.
    Raises `linsem.hub.HubError` with a sentence that says what to do.
    """
    from linsem import hub  # imported here, since nothing else needs the Hub client

    repo = hub.own_repo(repo_id)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / hub.EXTRACTOR_FILE
        save_extractor(extractor, path)
        files = {hub.EXTRACTOR_FILE: path, "README.md": card.of_extractor(extractor, repo, licence).encode()}
        return hub.publish(repo, files, private=private, message=message, endpoint=endpoint, token=token)
