"""The Hub client against a stand-in for the Hub's HTTP interface: all operations and all failures."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import standin_hub
import torch
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RevisionResolutionError, XetDownloadError
from huggingface_hub.utils import httpx

from linsem import hub, transfer
from linsem.categories import parse_categories
from linsem.extractor import Extractor, load_extractor, save_extractor
from linsem.hub import HubError, HubFile
from linsem.publish import push_extractor
from linsem.readout import initial_weights

WEIGHTS = bytes(range(256)) * 4000  # a megabyte, so an LFS file
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
SMALL = b"a small file\n"


@pytest.fixture(autouse=True)
def no_login(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks the plain protocols
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.01)


@pytest.fixture
def server():
    return standin_hub.StandInHub()


@pytest.fixture
def endpoint(server):
    with server.serving() as url:
        yield url


@pytest.fixture
def pinned(server):
    commit = server.add("owner/nets", {"sub/net.pkl": WEIGHTS, "small.txt": SMALL})
    return HubFile("owner/nets", "sub/net.pkl", commit, sha256=SHA256)


def fetch(file, endpoint, **more):
    return hub.download(file, endpoint=endpoint, **more)


def test_what_arrives_is_the_file_and_the_progress_reaches_its_size(pinned, endpoint):
    told = []
    assert hub.cached(pinned) is None
    path = fetch(pinned, endpoint, progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == WEIGHTS
    assert hub.cached(pinned) == path
    assert told == sorted(told) and told[0] == (0, len(WEIGHTS)) and told[-1] == (len(WEIGHTS), len(WEIGHTS))


def test_it_lies_in_the_cache_as_the_client_itself_would_have_put_it(pinned, endpoint, tmp_path):
    from huggingface_hub import hf_hub_download

    asked = {"revision": pinned.revision, "endpoint": endpoint}
    theirs = Path(hf_hub_download(pinned.repo, pinned.file, cache_dir=tmp_path / "theirs", **asked))
    ours = fetch(pinned, endpoint, cache_dir=tmp_path / "ours")
    assert ours.relative_to(tmp_path / "ours") == theirs.relative_to(tmp_path / "theirs")
    assert os.readlink(ours) == os.readlink(theirs)


def test_a_pinned_commit_in_the_cache_needs_no_network(pinned, server, endpoint):
    path = fetch(pinned, endpoint)
    asked = len(server.asked)
    assert asked > 0
    assert fetch(pinned, endpoint) == path
    assert len(server.asked) == asked
    assert fetch(pinned, "http://127.0.0.1:9") == path


def test_a_branch_follows_the_repository(server, endpoint):
    file = HubFile("owner/nets", "net.pkl")
    server.add("owner/nets", {"net.pkl": WEIGHTS})
    assert fetch(file, endpoint).read_bytes() == WEIGHTS
    server.add("owner/nets", {"net.pkl": WEIGHTS[::-1]})
    assert fetch(file, endpoint).read_bytes() == WEIGHTS[::-1]
    server.status = 503
    assert fetch(file, endpoint).read_bytes() == WEIGHTS[::-1]
    assert fetch(file, "http://127.0.0.1:9").read_bytes() == WEIGHTS[::-1]


def test_a_space_and_a_small_file_are_files_too(server, endpoint):
    server.add("spaces/owner/app", {"models/small.pth": SMALL})
    assert fetch(HubFile("owner/app", "models/small.pth", repo_type="space"), endpoint).read_bytes() == SMALL
    with pytest.raises(HubError, match="does not exist or is private"):
        fetch(HubFile("owner/app", "models/small.pth"), endpoint)


def test_the_token_does_not_reach_the_other_host(pinned, server, endpoint):
    fetch(pinned, endpoint, token=standin_hub.TOKEN)
    assert any("Authorization" in headers for _, path, headers in server.asked if "/resolve/" in path)
    assert server.gets() and not any("Authorization" in headers for headers in server.gets())


# Interrupted


def test_a_broken_connection_is_taken_up_where_it_broke(pinned, server, endpoint):
    server.cut = [300_000, 200_000]
    assert fetch(pinned, endpoint).read_bytes() == WEIGHTS
    assert [headers.get("Range") for headers in server.gets()] == [None, "bytes=300000-", "bytes=500000-"]
    assert server.sent < len(WEIGHTS) + 1000


def test_another_attempt_goes_on_where_the_first_one_stopped(pinned, server, endpoint):
    server.cut = [300_000] + [0] * transfer.RETRIES
    with pytest.raises(HubError, match="broke off at 0 of 1 MB: check the network and try again"):
        fetch(pinned, endpoint)
    assert hub.cached(pinned) is None
    server.cut, server.sent = [], 0
    assert fetch(pinned, endpoint).read_bytes() == WEIGHTS
    assert server.gets()[-1]["Range"] == "bytes=300000-" and server.sent < len(WEIGHTS) - 290_000


def test_a_server_that_knows_no_ranges_is_asked_for_the_whole(pinned, server, endpoint):
    server.cut, server.no_ranges = [300_000], True
    assert fetch(pinned, endpoint).read_bytes() == WEIGHTS
    assert server.sent >= len(WEIGHTS) + 300_000


def test_a_part_that_is_longer_than_the_file_is_thrown_away(pinned, endpoint):
    blobs = Path(constants.HF_HUB_CACHE) / "models--owner--nets" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{SHA256}.linsem-part").write_bytes(WEIGHTS + b"more")
    assert fetch(pinned, endpoint).read_bytes() == WEIGHTS


# Wrong content


def test_what_was_tampered_with_never_enters_the_cache(pinned, server, endpoint):
    server.tamper = True
    with pytest.raises(HubError, match=r"is not the file that was expected.*it was deleted"):
        fetch(pinned, endpoint)
    assert hub.cached(pinned) is None
    blobs = Path(constants.HF_HUB_CACHE) / "models--owner--nets" / "blobs"
    assert not [path for path in blobs.iterdir() if path.stat().st_size]
    server.tamper = False
    assert fetch(pinned, endpoint).read_bytes() == WEIGHTS


def test_a_wrong_hash_on_the_hub_is_seen_before_anything_is_downloaded(pinned, server, endpoint):
    wrong = HubFile(pinned.repo, pinned.file, pinned.revision, sha256="0" * 64)
    with pytest.raises(HubError, match="nothing was downloaded"):
        fetch(wrong, endpoint)
    assert server.gets() == []


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_damage_in_the_cache_is_found_and_mended(pinned, endpoint, sha256):
    file = HubFile(pinned.repo, pinned.file, pinned.revision, sha256=sha256)
    path = fetch(file, endpoint)
    path.resolve().write_bytes(WEIGHTS[:-1] + b"?")
    with pytest.raises(HubError, match="is not the file that was expected"):
        fetch(file, endpoint)
    assert fetch(file, endpoint).read_bytes() == WEIGHTS


def test_damage_to_a_small_file_is_found_by_the_hash_of_git(server, endpoint):
    commit = server.add("owner/nets", {"small.txt": SMALL})
    file = HubFile("owner/nets", "small.txt", commit)
    path = fetch(file, endpoint)
    assert path.read_bytes() == SMALL
    path.resolve().write_bytes(b"another one.\n")
    with pytest.raises(HubError, match="is not the file that was expected"):
        fetch(file, endpoint)


# Refusals: one sentence each, which says what to do


def sentence(file, endpoint, **more):
    with pytest.raises(HubError) as caught:
        fetch(file, endpoint, **more)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


def test_the_ways_to_be_refused(pinned, server, endpoint):
    server.add("owner/gated", {"net.pkl": WEIGHTS}, gated=True)
    server.add("owner/private", {"net.pkl": WEIGHTS}, private=True)
    gated, private = HubFile("owner/gated", "net.pkl"), HubFile("owner/private", "net.pkl")
    assert "accept its terms at https://huggingface.co/owner/gated" in sentence(gated, endpoint)
    assert "log in with `hf auth login` or set HF_TOKEN" in sentence(private, endpoint)
    assert "check the name" in sentence(HubFile("owner/nowhere", "net.pkl"), endpoint)
    assert "has no file 'other.pkl'" in sentence(HubFile("owner/nets", "other.pkl"), endpoint)
    assert "has no revision 'v9'" in sentence(HubFile("owner/nets", "sub/net.pkl", "v9"), endpoint)
    for file in (gated, private):
        assert fetch(file, endpoint, token=standin_hub.TOKEN).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, "log in"), (403, "with a token that has the right to"), (404, "404"), (429, "try again in a few minutes"),
     (500, "try again in a few minutes"), (503, "try again in a few minutes"), (418, "see https://huggingface.co/")],
)  # fmt: skip
def test_every_status_has_its_sentence(pinned, server, endpoint, status, expected):
    server.status = status
    assert expected in sentence(pinned, endpoint)


def test_without_a_network_one_is_told_so_soon(pinned):
    assert "check the network and try again" in sentence(pinned, "http://127.0.0.1:9")


def test_a_server_that_is_no_hub(server, pinned, endpoint):
    server.status = 200
    assert "check HF_ENDPOINT" in sentence(pinned, endpoint)


def test_a_full_disk_is_seen_before_and_during_the_transfer(pinned, endpoint, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(transfer.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
        text = sentence(pinned, endpoint)
        assert "the disk is full: 1 MB are needed" in text and "set HF_HOME" in text

    def full(path, mode="r", *more, **options):
        if str(path).endswith("linsem-part") and mode == "wb":
            raise OSError(28, "No space left on device")
        return opened(path, mode, *more, **options)

    opened = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        assert "the disk is full" in sentence(pinned, endpoint)
    assert fetch(pinned, endpoint).read_bytes() == WEIGHTS


def test_a_cache_that_cannot_be_made(pinned, endpoint, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert "owner/nets/sub/net.pkl" in sentence(pinned, endpoint, cache_dir=tmp_path / "file")


def child_env(**more):
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**keep, "HF_HUB_CACHE": constants.HF_HUB_CACHE, "PYTHONPATH": str(Path(hub.__file__).parents[1]), **more}


def test_offline_serves_what_is_in_the_cache_and_says_so_of_the_rest(pinned, server, endpoint):
    path = fetch(pinned, endpoint)
    asked = len(server.asked)
    code = f"""
from linsem import hub
from linsem.hub import HubFile
print(hub.is_offline(), hub.download({pinned!r}))
try:
    hub.download(HubFile("owner/nets", "small.txt"))
except hub.HubError as error:
    print(error)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], env=child_env(HF_HUB_OFFLINE="1", HF_ENDPOINT=endpoint),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = answer.stdout.splitlines()
    assert first == f"True {path}"
    assert "HF_HUB_OFFLINE forbids the network: unset it" in second
    assert len(server.asked) == asked


# A cache that others share


def test_an_intact_blob_outlives_a_wrong_sha256_of_ours(pinned, endpoint):
    path = fetch(HubFile(pinned.repo, pinned.file, pinned.revision), endpoint)
    wrong = HubFile(pinned.repo, pinned.file, pinned.revision, sha256="0" * 64)
    with pytest.raises(HubError, match=r"is not the file that was expected.*it was left in the cache"):
        fetch(wrong, endpoint)
    assert path.read_bytes() == WEIGHTS and hub.cached(pinned) == path
    path.resolve().write_bytes(b"damaged")
    with pytest.raises(HubError, match=r"is not the file that was expected.*it was deleted"):
        fetch(wrong, endpoint)
    assert hub.cached(pinned) is None


def test_a_small_blob_outlives_it_too(server, endpoint):
    commit = server.add("owner/nets", {"small.txt": SMALL})
    path = fetch(HubFile("owner/nets", "small.txt", commit), endpoint)
    with pytest.raises(HubError, match="it was left in the cache"):
        fetch(HubFile("owner/nets", "small.txt", commit, sha256="0" * 64), endpoint)
    assert path.read_bytes() == SMALL


def test_a_cache_that_cannot_be_written_serves_what_it_has(pinned, server, endpoint, monkeypatch):
    branch = HubFile(pinned.repo, pinned.file)
    path = fetch(branch, endpoint)

    def refuse(*args, **options):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(hub, "WeakFileLock", refuse)
    assert fetch(branch, endpoint) == path
    server.add("owner/nets", {"sub/net.pkl": WEIGHTS[::-1]})
    assert "cannot be written" in sentence(branch, endpoint)


@pytest.mark.parametrize("late", [429, 503])
def test_a_refusal_after_the_transfer_does_not_matter(pinned, server, endpoint, monkeypatch, late):
    def refused(*args, **options):
        answer = httpx.Response(late, request=httpx.Request("HEAD", endpoint))
        raise LocalEntryNotFoundError("the network") from HfHubHTTPError("too many", response=answer)

    monkeypatch.setattr(hub, "hf_hub_download", refused)
    for file in (pinned, HubFile(pinned.repo, pinned.file)):
        assert fetch(file, endpoint).read_bytes() == WEIGHTS
    hub.cached(pinned)
    next(path for path in Path(constants.HF_HUB_CACHE).rglob("blobs/*") if len(path.name) == 64).write_bytes(b"?")
    with pytest.raises(HubError, match="it was deleted"):
        fetch(pinned, endpoint)


def test_the_answer_behind_an_error_of_the_client_is_told(pinned, endpoint):
    answer = httpx.Response(429, request=httpx.Request("HEAD", endpoint))
    error = LocalEntryNotFoundError("the network")
    error.__cause__ = HfHubHTTPError("too many", response=answer)
    with pytest.raises(HubError, match="answered 429 for owner/nets: try again in a few minutes"):
        with hub._sentences(pinned):
            raise error


@pytest.mark.parametrize("error", [XetDownloadError("broke"), RevisionResolutionError("none"), RuntimeError("odd")])
def test_whatever_the_client_raises_is_one_sentence(pinned, endpoint, monkeypatch, error):
    def raising(*args, **options):
        raise error

    monkeypatch.setattr(hub, "get_hf_file_metadata", raising)
    assert sentence(pinned, endpoint).startswith("owner/nets/sub/net.pkl: ")


def test_a_name_that_the_client_refuses_is_one_sentence():
    for name in ("c:x.pkl", "C:/x.pkl"):
        with pytest.raises(HubError, match="expected hub://owner/repo/file"):
            hub.parse_url(f"hub://owner/nets/{name}")
        with pytest.raises(HubError, match="Invalid filename"):
            hub.cached(HubFile("owner/nets", name))
    assert hub.parse_url("hub://owner/nets/ab:x.pkl").file == "ab:x.pkl"


# Addresses


def test_an_address_is_taken_apart():
    assert hub.parse_url("hub://a/b/c/d.pkl@v1") == HubFile("a/b", "c/d.pkl", "v1")
    assert hub.parse_url("hub://spaces/a/b/d.pkl") == HubFile("a/b", "d.pkl", repo_type="space")
    assert hub.parse_url("hub://a/b", "x.bin") == HubFile("a/b", "x.bin")


@pytest.mark.parametrize(
    "url",
    ["hub://", "hub://a", "hub://a/b", "a/b/c.pkl", "hub://a/b/../../c", "hub://a/b//c", "hub://a/b/c@", "hub://a/b/c@../x",
     "hub://a/b/c\\d", "hub://a b/c/d", "hub://-a/b/c", "hub://a/b/c?x", "hub://a/b/\n"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url):
    if url == "hub://a/b/c@":  # nothing after the @ is the main branch
        assert hub.parse_url(url).revision == "main"
        return
    with pytest.raises(HubError):
        hub.parse_url(url)


# Extractors

# The client's own upload of an LFS file uses a deprecated argument of its transport.
lfs = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def extractor():
    categories = parse_categories(["background", "hair | beard", "<b>hat</b>"])
    return Extractor("LSE", categories, (0, 1), "avatars-64", (64, 64), random_weights(3))


def random_weights(seed):
    source = torch.Generator().manual_seed(seed)
    blank = initial_weights("LSE", (4, 8), 3)
    return {name: torch.randn(weight.shape, generator=source) for name, weight in blank.items()}


def same(one, other):
    return one.weights.keys() == other.weights.keys() and all(
        one.weights[name].equal(other.weights[name]) for name in one.weights
    )


@lfs
def test_a_published_extractor_comes_back_as_it_was(extractor, server, endpoint):
    url = push_extractor(extractor, "me/hair", licence="mit", endpoint=endpoint, token=standin_hub.TOKEN)
    commit = server.repos["me/hair"].refs["main"]
    assert url == f"hub://me/hair@{commit}"
    for address in (url, "hub://me/hair", f"hub://me/hair/{hub.EXTRACTOR_FILE}"):
        back = load_extractor(hub.fetch_extractor(address, endpoint=endpoint))
        assert same(back, extractor)
        assert (back.kind, back.categories, back.layers, back.generator_id, back.size) == (
            extractor.kind, extractor.categories, extractor.layers, extractor.generator_id, extractor.size,
        )  # fmt: skip
    assert sorted(server.repos["me/hair"].commits[commit]) == ["README.md", hub.EXTRACTOR_FILE]


@lfs
def test_publishing_again_is_a_second_commit(extractor, server, endpoint):
    push = {"endpoint": endpoint, "token": standin_hub.TOKEN}
    first = push_extractor(extractor, "me/hair", **push)
    other = Extractor(**{**vars(extractor), "weights": random_weights(4)})
    second = push_extractor(other, "me/hair", **push)
    assert first != second
    assert same(load_extractor(hub.fetch_extractor(first, endpoint=endpoint)), extractor)
    assert same(load_extractor(hub.fetch_extractor(second, endpoint=endpoint)), other)
    assert not same(extractor, other)


@lfs
def test_the_card_says_what_it_is_and_takes_names_literally(extractor, server, endpoint):
    push_extractor(extractor, "me/hair", licence="mit", endpoint=endpoint, token=standin_hub.TOKEN)
    text = server.repos["me/hair"].commits[server.repos["me/hair"].refs["main"]]["README.md"].decode()
    from huggingface_hub import ModelCard

    data = ModelCard(text).data
    assert data.license == "mit" and data.library_name == "linsem" and data.pipeline_tag == "image-segmentation"
    assert 'linsem.load_extractor("hub://me/hair", G)' in text and "`avatars-64`" in text
    assert "hair \\| beard" in text and "<b>" not in text


def test_publishing_without_the_right_to(extractor, endpoint):
    for token in (None, "hf_wrong"):
        with pytest.raises(HubError, match=r"refuses to let you write|log in"):
            push_extractor(extractor, "me/hair", endpoint=endpoint, token=token)
    with pytest.raises(HubError, match="refuses to let you write to locked/hair"):
        push_extractor(extractor, "locked/hair", endpoint=endpoint, token=standin_hub.TOKEN)
    with pytest.raises(HubError, match="check the network"):
        push_extractor(extractor, "me/hair", endpoint="http://127.0.0.1:9", token=standin_hub.TOKEN)


def test_only_safetensors_is_fetched_as_an_extractor(server, endpoint, extractor, tmp_path):
    server.add("owner/bad", {"extractor.pkl": SMALL, "extractor.safetensors": WEIGHTS})
    with pytest.raises(HubError, match="extractors are safetensors files"):
        hub.fetch_extractor("hub://owner/bad/extractor.pkl", endpoint=endpoint)
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_extractor(hub.fetch_extractor("hub://owner/bad", endpoint=endpoint))
    save_extractor(extractor, tmp_path / "good.safetensors")
    server.add("owner/bad", {"extractor.safetensors": (tmp_path / "good.safetensors").read_bytes()})
    assert same(load_extractor(hub.fetch_extractor("hub://owner/bad", endpoint=endpoint)), extractor)


@pytest.mark.parametrize(
    "name", ["me/x@v2", "datasets/me/x", "spaces/me/x", "me/x/sub/f", "me", "hub://me/x", "me/..", ""]
)
def test_publishing_takes_the_name_of_a_model_and_nothing_else(extractor, server, endpoint, name):
    with pytest.raises(HubError, match=r"owner/name|owner/repo/file|not the name"):
        push_extractor(extractor, name, endpoint=endpoint, token=standin_hub.TOKEN)
    assert not server.repos
