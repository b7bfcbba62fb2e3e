"""The only module that uses the Hugging Face Hub: verified downloads, and uploads in one commit.

A file is downloaded into the Hub client's own cache, so other programs share it and the client's offline mode works.
The transfer is done by `linsem.transfer`, for three things that the client does not do: an interrupted download resumes
where it stopped, even in another process; a file without the expected sha256 never enters the cache; and every failure
is one sentence that says what to do.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)  # fmt: skip
from huggingface_hub import errors as hf
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import (
    WeakFileLock,
    build_hf_headers,
    get_session,
    hf_raise_for_status,
    httpx,
    validate_repo_id,
)  # fmt: skip

from linsem import transfer
from linsem.hub_file import HASH, HubError, HubFile, check, verified, wrong
from linsem.transfer import Progress

URL = "hub://"
EXTRACTOR_FILE = "extractor.safetensors"
MAX_BYTES = 2 * 2**30  # as in `linsem.checkpoints`; no generator of these families comes near
TIMEOUT = 15.0  # seconds without a response
_KINDS = {"spaces": "space", "datasets": "dataset"}
_FILE = re.compile(r"(?![A-Za-z]:)[^\x00-\x1f\\@?#]+\Z")  # not C:x, a path on a Windows drive
_REVISION = re.compile(r"(?!.*\.\.)[\w.\-]+(/[\w.\-]+)*\Z")
_OWN = re.compile(r"[\w.-]+/[\w.-]+\Z", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_FAILURES = (OSError, ValueError, RuntimeError, httpx.HTTPError, hf.XetDownloadError, hf.RevisionResolutionError)


def parse_url(url: str, file: str | None = None) -> HubFile:
    """Parse "hub://[spaces/]owner/repo/file[@revision]", where `file` is the default file; raises HubError."""
    path, _, revision = url.removeprefix(URL).partition("@")
    parts = path.split("/")
    repo_type = _KINDS.get(parts[0], "model")
    parts = parts[1:] if parts[0] in _KINDS else parts
    name = "/".join(parts[2:]) or file
    usable = name is not None and _FILE.match(name) and not {"", ".", ".."} & set(name.split("/"))
    if not url.startswith(URL) or len(parts) < 2 or not usable or not _REVISION.match(revision or "main"):
        raise HubError(f"expected {URL}owner/repo/file or {URL}owner/repo/file@revision, got {url[:200]!r}")
    try:
        validate_repo_id("/".join(parts[:2]))
    except hf.HFValidationError as error:
        raise HubError(f"{'/'.join(parts[:2])!r} is not the name of a repository on the Hub") from error
    return HubFile("/".join(parts[:2]), name, revision or "main", repo_type)


def own_repo(repo_id: str) -> str:
    """Check the name of a model repository to publish in, which must be just "owner/name"; raises HubError."""
    if not _OWN.match(repo_id):
        raise HubError(f"expected the name of a model repository, owner/name, got {repo_id[:200]!r}")
    return parse_url(f"{URL}{repo_id}", EXTRACTOR_FILE).repo


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the network."""
    return bool(constants.HF_HUB_OFFLINE)


def cached(file: HubFile, *, cache_dir: str | Path | None = None) -> Path | None:
    """The file in the Hub's cache, or None, without using the network; raises HubError for impossible names."""
    with _sentences(file):
        found = try_to_load_from_cache(
            file.repo, file.file, cache_dir=cache_dir, revision=file.revision, repo_type=file.repo_type
        )
    return Path(found) if isinstance(found, str) else None


def download(
    file: HubFile,
    *,
    progress: Progress | None = None,
    cache_dir: str | Path | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Path:
    """The verified file in the Hub's cache, downloaded first if need be.

    A commit that is in the cache needs no network; for a branch the Hub is asked for updates, and the cached file is
    used if it does not respond. `progress(done, total)` counts bytes. Raises HubError.
    """
    here = cached(file, cache_dir=cache_dir)
    if here is not None and (is_offline() or _COMMIT.match(file.revision)):
        return verified(file, here)
    if is_offline():
        raise HubError(
            f"{file} is not in the Hub's cache and HF_HUB_OFFLINE forbids the network: unset it, or download the file "
            "once where there is a network"
        )
    with _sentences(file):
        try:
            where = _Remote.ask(file, endpoint, token)
        except (httpx.TransportError, hf.HfHubHTTPError) as error:
            if here is None or _status(error) in (401, 403, 404):
                raise
            return verified(file, here)  # no response: the cached file will do
        blob = _fetch(file, where, Path(cache_dir or constants.HF_HUB_CACHE), progress)
        try:  # the client finds the blob in its cache, so this only adds its links
            path = hf_hub_download(
                file.repo, file.file, revision=file.revision, repo_type=file.repo_type, cache_dir=blob.parents[2],
                endpoint=endpoint, token=token,
            )  # fmt: skip
        except _FAILURES:  # it queries the Hub again and writes links; the file itself is here
            path = blob
    return verified(file, Path(path))


def fetch_extractor(url: str, *, cache_dir: str | Path | None = None, endpoint: str | None = None) -> Path:
    """Download "hub://owner/repo[/file][@revision]", by default `extractor.safetensors`, and return its local path."""
    file = parse_url(url, EXTRACTOR_FILE)
    if not file.file.endswith(".safetensors"):
        raise HubError(f"{file}: extractors are safetensors files, this is something else")
    return download(file, cache_dir=cache_dir, endpoint=endpoint)


def publish(
    repo_id: str,
    files: Mapping[str, bytes | Path],
    *,
    private: bool = False,
    message: str = "Upload",
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Upload files (contents or local paths) to a model repository, created if need be, in one commit.

    Returns "hub://owner/repo@commit". Raises HubError.
    """
    file = HubFile(own_repo(repo_id), next(iter(files)))
    if is_offline():
        raise HubError(f"{repo_id} cannot be published while HF_HUB_OFFLINE forbids the network: unset it")
    api = HfApi(endpoint=endpoint, token=token, library_name="linsem")
    with _sentences(file, writing=True):
        api.create_repo(file.repo, private=private, exist_ok=True)
        parts = [CommitOperationAdd(name, content) for name, content in files.items()]
        commit = api.create_commit(file.repo, parts, commit_message=message)
    return f"{URL}{file.repo}@{commit.oid}"


@dataclass(frozen=True)
class _Remote:
    """What the Hub states about a file: its URL, size and hash (the ETag)."""

    url: str
    etag: str
    size: int
    headers: dict[str, str]

    @classmethod
    def ask(cls, file: HubFile, endpoint: str | None, token: str | None) -> _Remote:
        url = hf_hub_url(file.repo, file.file, repo_type=file.repo_type, revision=file.revision, endpoint=endpoint)
        said = get_hf_file_metadata(url, token=token, timeout=TIMEOUT, endpoint=endpoint, library_name="linsem")
        if said.commit_hash is None or said.size is None or not HASH.match(said.etag or ""):
            raise HubError(f"{file}: what answered does not speak like the Hub; check HF_ENDPOINT and any proxy")
        if said.size > MAX_BYTES:
            raise HubError(f"{file} has {said.size >> 20} MB, expected at most {MAX_BYTES >> 20} MB: wrong file?")
        if file.sha256 and len(said.etag) == 64 and said.etag != file.sha256:
            raise HubError(wrong(file, file.sha256, said.etag) + "; nothing was downloaded")
        headers = build_hf_headers(token=token, library_name="linsem") | {"Accept-Encoding": "identity"}
        return cls(url, said.etag, said.size, headers)


def _fetch(file: HubFile, where: _Remote, cache: Path, progress: Progress | None) -> Path:
    """The blob in the cache; if missing, a transfer is started or resumed, and moved there once verified."""
    folder = cache / repo_folder_name(repo_id=file.repo, repo_type=file.repo_type) / "blobs"
    blob, part = folder / where.etag, folder / f"{where.etag}.linsem-part"
    if blob.exists():  # before any write, since the cache may be read-only
        return blob
    folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(folder / f"{where.etag}.linsem-lock"):
        if blob.exists():
            return blob
        try:
            transfer.receive(part, where.size, lambda start: _stream(where, start), progress)
        except transfer.TransferError as error:
            raise HubError(f"{file}: {error}") from error
        check(file, part, where.etag)
        os.replace(part, blob)
    return blob


@contextmanager
def _stream(where: _Remote, start: int) -> Iterator[transfer.Stream]:
    """The file's bytes from `start` on; any failure of the connection is raised as ConnectionError."""
    headers = where.headers | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with get_session().stream("GET", where.url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as answer:
            if answer.status_code == 416:
                raise transfer.NothingThere
            if answer.is_error:
                answer.read()
            hf_raise_for_status(answer)
            yield transfer.Stream(answer.iter_raw(), start if answer.status_code == 206 else 0)
    except httpx.TransportError as error:
        raise ConnectionError(str(error)) from error


@contextmanager
def _sentences(file: HubFile, *, writing: bool = False) -> Iterator[None]:
    """Turn whatever the client raises into a HubError with one sentence."""
    try:
        yield
    except HubError:
        raise
    except _FAILURES as error:
        raise HubError(_sentence(file, error, writing)) from error


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error, which the client may hide behind a cache error; None if there is none."""
    for each in (error, error.__cause__):
        status = getattr(getattr(each, "response", None), "status_code", None)
        if status is not None:
            return status
    return None


def _sentence(file: HubFile, error: Exception, writing: bool) -> str:
    status = _status(error)
    page = f"{constants.ENDPOINT}/{'' if file.repo_type == 'model' else file.repo_type + 's/'}{file.repo}"
    login = "log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, hf.GatedRepoError):
        return f"{file.repo} is gated: accept its terms at {page}, then {login}"
    if isinstance(error, hf.DisabledRepoError):
        return f"{file.repo} was disabled on the Hub: use another model, or a local file"
    if isinstance(error, hf.RepositoryNotFoundError):
        return f"{file.repo} does not exist or is private: check the name, and if it is private {login}"
    if isinstance(error, hf.RevisionNotFoundError):
        return f"{file.repo} has no revision {file.revision!r}: check what follows the @, or leave it out"
    if isinstance(error, hf.EntryNotFoundError) and status == 404:
        return f"{file.repo} has no file {file.file!r}: look for its name at {page}"
    if status in (401, 403):
        right = "write to" if writing else "read"
        return f"the Hub refuses to let you {right} {file.repo}: {login}, with a token that has the right to"
    if status is not None:
        later = "try again in a few minutes" if status == 429 or status >= 500 else f"see {page}"
        return f"the Hub answered {status} for {file.repo}: {later}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {file} does not fit into the Hub's cache; make room, or set HF_HOME to another disk"
    if isinstance(error, PermissionError):
        return f"{error.filename or 'the cache folder'} cannot be written: allow it, or set HF_HOME to another folder"
    if isinstance(error, (httpx.TransportError, hf.LocalEntryNotFoundError, ConnectionError)):
        what = "cannot be published" if writing else "is not in the Hub's cache"
        return f"no connection to {constants.ENDPOINT}, and {file} {what}: check the network and try again"
    return f"{file}: {' '.join(str(error).split())[:300]}"
