"""The zoo: every row is valid, every kind of name loads, and errors for unavailable generators say what to do."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import standin_hub
import torch
from huggingface_hub import constants

from linsem import hub, offers, zoo
from linsem.checkpoints import write_safetensors
from linsem.errors import InputError
from linsem.generators import PAPER
from linsem.settings import Settings
from linsem.start import preload
from linsem.studio import Studio
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from linsem.ui.examples import example_edits, example_masks, example_project
from linsem.zoo import GENERATORS, ModelError, available_models, load_generator, spec_of

CONFIG = StyleGAN2Config(channels=(8, 8, 8), z_dim=6, w_dim=6, mapping_layers=1)
PAPER_CATEGORIES = {  # without the background
    "stylegan2-ffhq": 14, "stylegan2-bedroom": 16, "stylegan2-church": 11, "stylegan-celebahq": 14,
    "stylegan-bedroom": 19, "stylegan-church": 10, "pggan-celebahq": 14, "pggan-bedroom": 13, "pggan-church": 6,
}  # fmt: skip


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    for name in ("LINSEM_MODELS", "LINSEM_ASSETS", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))


def network(seed=0):
    torch.manual_seed(seed)
    return StyleGAN2(CONFIG)


def write(path, seed=0, **metadata):
    write_safetensors(path, "stylegan2", CONFIG, network(seed).state_dict(), metadata)
    return path


def draw(generator):
    ws = generator.map(torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(5)))
    with torch.no_grad():
        return generator.synthesize(ws)[0]


# The rows


def test_the_rows_are_in_the_order_that_the_interface_shows():
    assert list(GENERATORS)[:12] == ["avatars-128", "avatars-64", "digiface-64", *PAPER_CATEGORIES]
    assert tuple(PAPER_CATEGORIES) == PAPER


def test_every_row_is_sound_and_says_what_it_needs_to():
    for id, spec in GENERATORS.items():
        assert id == spec.id and spec.family in ("stylegan2", "stylegan", "pggan", "dcgan")
        assert spec.licence and spec.source and spec.resolution in (32, 64, 128, 256, 512, 1024)
        assert len({c.color for c in spec.categories}) == len({c.name for c in spec.categories}) >= 2
        assert sum(map(bool, (spec.asset, spec.package, spec.repo, spec.path))) == spec.has_file
        assert spec.has_file or "load_generator(" in spec.help
        assert spec.commit is None or (len(spec.commit) == 40 and set(spec.commit) <= set("0123456789abcdef"))
        assert spec.sha256 is None or (len(spec.sha256) == 64 and set(spec.sha256) <= set("0123456789abcdef"))
        if spec.repo:
            url = f"hub://{'spaces/' if spec.repo_type == 'space' else ''}{spec.repo}/{spec.file}"
            assert hub.parse_url(f"{url}@{spec.commit or 'main'}") == replace(zoo.hub_file(spec), sha256=None)
    with pytest.raises(FrozenInstanceError):
        spec.id = "another"


def test_the_paper_s_networks_have_the_paper_s_categories():
    for id, count in PAPER_CATEGORIES.items():
        names = [category.name for category in GENERATORS[id].categories]
        assert names[0] == "background" and len(names) == 1 + count
    church = [c.name for c in GENERATORS["pggan-church"].categories]
    assert church == ["background", "building", "sky", "tree", "road", "grass", "signboard"]


def test_what_nvidia_s_terms_cover_says_non_commercial():
    for spec in GENERATORS.values():
        if spec.repo:
            assert "non-commercial" in spec.licence


# Loading


def test_a_file_a_name_for_a_file_and_an_asset_are_the_same_network(tmp_path, monkeypatch):
    expected = draw(network())
    categories = json.dumps([{"name": "sky"}, {"name": "sea"}])
    path = write(tmp_path / "own.safetensors", categories=categories, licence="CC0")
    by_path = load_generator(path)
    assert draw(by_path).equal(expected) and by_path.id == "own.safetensors"
    assert [c.name for c in by_path.categories] == ["sky", "sea"]
    assert not any(p.requires_grad for p in by_path.parameters())

    monkeypatch.setenv("LINSEM_MODELS", f"stylegan2-church = {path}, {path}")
    by_name = load_generator("stylegan2-church")
    assert draw(by_name).equal(expected) and by_name.id == "stylegan2-church"
    assert by_name.categories == GENERATORS["stylegan2-church"].categories
    assert draw(load_generator("own.safetensors")).equal(expected)
    assert [m["id"] for m in available_models()] == ["stylegan2-church", "own.safetensors"]
    assert available_models()[1]["licence"] == "CC0" and available_models()[1]["resolution"] == 16

    monkeypatch.setenv("LINSEM_ASSETS", str(tmp_path))
    write(tmp_path / "avatars-64.safetensors")
    assert draw(load_generator("avatars-64")).equal(expected)
    assert not draw(network(seed=1)).equal(expected)


def test_a_file_may_name_itself_but_not_like_a_row_of_the_zoo(tmp_path):
    assert load_generator(write(tmp_path / "a.safetensors", id="boats")).id == "boats"
    for other in ("avatars-64", "hub://evil/net/x.safetensors", str(tmp_path / "a.safetensors"), "mine~3", "x" * 65,
                  "README.md", "\u00e9"):  # fmt: skip
        assert load_generator(write(tmp_path / "b.safetensors", id=other)).id == "b.safetensors"


def test_a_label_that_a_file_does_not_have_is_not_available(tmp_path, monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", f"{write(tmp_path / 'a.safetensors', id='boats')}~3")
    row = available_models()[0]
    assert not row["available"] and "was trained without labels" in row["help"]


def test_a_model_to_begin_with_that_is_not_offered_is_told_and_another_one_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", str(write(tmp_path / "a.safetensors", id="boats")))
    told = []
    assert preload(Studio(Settings(device="cpu", model="boats")), told.append) == "boats" and not told
    assert preload(Studio(Settings(device="cpu", model="boat")), told.append) == "boats"
    assert "LINSEM_MODEL: 'boat' is not available here" in told[0]


def test_where_no_generator_can_be_had_the_message_says_why(monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", "avatrs-128")
    with pytest.raises(InputError, match="no generator is available here; avatrs-128: 'avatrs-128' is no generator"):
        Studio(Settings(device="cpu")).default_model()


def test_a_folder_of_weights_that_is_not_there_is_told(monkeypatch, tmp_path):
    """Else the first generator of the Hub would take their place."""
    monkeypatch.setenv("LINSEM_ASSETS", str(tmp_path / "none"))
    with pytest.raises(InputError, match="LINSEM_ASSETS: expected a folder that exists"):
        Studio(Settings(device="cpu")).default_model()


def test_a_model_to_begin_with_that_is_not_here_is_told_too(monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", "pggan-bedroom,avatars-64")
    told = []
    assert preload(Studio(Settings(device="cpu", model="pggan-bedroom")), told.append) == "avatars-64"
    assert "'pggan-bedroom' is not available here" in told[0]


def test_a_file_that_names_no_categories_gets_something_to_start_from(tmp_path):
    generator = load_generator(write(tmp_path / "a.safetensors"))
    assert [c.name for c in generator.categories] == ["background", "object"]


def test_a_hub_address_is_downloaded_once_and_then_described(tmp_path, monkeypatch):
    server = standin_hub.StandInHub()
    data = write(tmp_path / "net.safetensors", licence="MIT").read_bytes()
    commit = server.add("owner/nets", {"net.safetensors": data})
    url = f"hub://owner/nets/net.safetensors@{commit}"
    monkeypatch.setenv("LINSEM_MODELS", url)
    with server.serving() as endpoint:
        monkeypatch.setattr(hub, "download", functools.partial(hub.download, endpoint=endpoint))
        before = available_models()[0]
        told = []
        generator = load_generator(url, progress=lambda done, total: told.append(done))
    assert draw(generator).equal(draw(network())) and generator.id == url
    assert told[-1] == len(data)
    assert draw(load_generator(url)).equal(draw(network()))  # the server is gone: from the cache
    after = available_models()[0]
    assert (before["family"], after["family"]) == ("", "stylegan2")
    studio = Studio(Settings(device="cpu"))
    assert studio.shipped(url) is None and preload(studio) == url  # nothing is looked for at the Hub
    assert before["id"] == after["id"] == url and after["resolution"] == 16 and after["licence"] == "MIT"


def test_what_the_server_fetched_its_workers_do_not_ask_for_again(tmp_path, monkeypatch):
    server = standin_hub.StandInHub()
    server.add("owner/nets", {"net.safetensors": write(tmp_path / "net.safetensors").read_bytes()})
    url = "hub://owner/nets/net.safetensors"
    monkeypatch.setenv("LINSEM_MODELS", url)
    studio, hashed = Studio(Settings(device="cpu")), []
    with server.serving() as endpoint:
        monkeypatch.setattr(hub, "download", functools.partial(hub.download, endpoint=endpoint))
        studio.fetch(url)
        asked = len(server.asked)
        monkeypatch.setattr(hub.transfer, "sha256_of", lambda path: hashed.append(path) or "")
        assert draw(studio.generator(url)).equal(draw(network())) and studio.generator(url).id == url
        assert asked and len(server.asked) == asked and not hashed
    gone = Studio(Settings(device="cpu"))
    gone._fetched[url] = tmp_path / "cleaned up"
    with pytest.raises(ModelError):  # it is looked for as at first
        gone.generator(url)
    assert hashed


def test_what_was_damaged_in_the_cache_is_fetched_again(tmp_path, monkeypatch):
    server = standin_hub.StandInHub()
    commit = server.add("owner/nets", {"net.safetensors": write(tmp_path / "net.safetensors").read_bytes()})
    url = f"hub://owner/nets/net.safetensors@{commit}"
    with server.serving() as endpoint:
        monkeypatch.setattr(hub, "download", functools.partial(hub.download, endpoint=endpoint))
        load_generator(url)
        hub.cached(hub.parse_url(url)).resolve().write_bytes(b"damaged")
        with pytest.raises(ModelError, match="is not the file that was expected"):
            load_generator(url)
        assert draw(load_generator(url)).equal(draw(network()))


def test_a_row_with_another_sha256_is_refused(tmp_path, monkeypatch):
    server = standin_hub.StandInHub()
    data = write(tmp_path / "net.safetensors").read_bytes()
    commit = server.add("owner/nets", {"net.safetensors": data})
    where = {"repo": "owner/nets", "file": "net.safetensors", "commit": commit}
    good = replace(GENERATORS["stylegan2-church"], **where, sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(GENERATORS, "stylegan2-church", replace(good, sha256="0" * 64))
    with server.serving() as endpoint:
        monkeypatch.setattr(hub, "download", functools.partial(hub.download, endpoint=endpoint))
        with pytest.raises(ModelError, match="is not the file that was expected"):
            load_generator("stylegan2-church")
        monkeypatch.setitem(GENERATORS, "stylegan2-church", good)
        assert draw(load_generator("stylegan2-church")).equal(draw(network()))


# What is offered


def test_without_a_setting_the_shipped_and_the_paper_s_are_listed():
    models = available_models()
    assert [m["id"] for m in models] == ["avatars-128", "avatars-64", "digiface-64", *PAPER]
    assert all(
        list(m) == ["id", "family", "resolution", "categories", "source", "licence", "available", "help"]
        for m in models
    )
    assert json.loads(json.dumps(models)) == models
    gone = {m["id"] for m in models if not m["available"]}
    assert {"stylegan-church", "pggan-bedroom"} <= gone and "stylegan2-ffhq" not in gone


def test_the_setting_picks_and_orders(monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", " pggan-church , avatars-64,, ")
    assert [m["id"] for m in available_models()] == ["pggan-church", "avatars-64"]
    monkeypatch.setenv("LINSEM_MODELS", "avatars-64,all")
    assert len(available_models()) == len(GENERATORS)
    assert available_models()[0]["id"] == "avatars-64"


def test_two_files_of_one_name_are_both_offered(tmp_path, monkeypatch):
    """As training runs write them: the same name in each run's folder."""
    paths = []
    for seed, folder in enumerate(("a", "b", "c/b")):
        (tmp_path / folder).mkdir(parents=True)
        paths.append(write(tmp_path / folder / "network-100.pkl", seed))
    monkeypatch.setenv("LINSEM_MODELS", ",".join(map(str, (*paths, paths[0]))))
    ids = [row["id"] for row in available_models()]
    assert ids == ["network-100.pkl", "network-100.pkl (b)", f"network-100.pkl ({tmp_path}/c/b)"]
    for seed, id in enumerate(ids):
        assert draw(load_generator(id)).equal(draw(network(seed))) and load_generator(id).id == id


def test_two_damaged_or_missing_files_of_one_name_are_both_told_of(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    path = write(tmp_path / "net.pkl", id="boats")
    second = write(tmp_path / "a.pkl", 1, id="boats")
    (tmp_path / "a" / "net.pkl").write_bytes(b"damaged")
    monkeypatch.setenv("LINSEM_MODELS", f"{tmp_path}/a/net.pkl,{tmp_path}/b/net.pkl,{path},{second}")
    rows = available_models()
    assert [row["id"] for row in rows] == ["net.pkl", "net.pkl (b)", "boats", f"boats ({tmp_path.name})"]
    assert [row["available"] for row in rows] == [False, False, True, True]


def test_labels_of_two_files_of_one_name_are_labels_of_both(tmp_path, monkeypatch):
    labelled = StyleGAN2Config(channels=(8, 8), z_dim=6, w_dim=6, mapping_layers=1, c_dim=4)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        torch.manual_seed(ord(folder))
        write_safetensors(tmp_path / folder / "net.pkl", "stylegan2", labelled, StyleGAN2(labelled).state_dict())
    monkeypatch.setenv("LINSEM_MODELS", f"{tmp_path}/a/net.pkl~1,{tmp_path}/b/net.pkl~2,{tmp_path}/a/net.pkl~3")
    assert [row["id"] for row in available_models()] == ["net.pkl~1", "net.pkl (b)~2", "net.pkl~3"]
    same, other = load_generator(f"{tmp_path}/b/net.pkl~2"), load_generator(f"{tmp_path}/a/net.pkl~2")
    assert draw(load_generator("net.pkl (b)~2")).equal(draw(same)) and not draw(same).equal(draw(other))
    studio = Studio(Settings(device="cpu"))
    assert draw(studio.generator("net.pkl (b)~2")).equal(draw(same))
    assert studio.check_model("net.pkl (b)~02") == studio.check_model("net.pkl (b)~2") == "net.pkl (b)~2"


def test_a_second_file_for_a_row_says_why_it_is_not_offered(tmp_path, monkeypatch):
    one, two = write(tmp_path / "one.pkl"), write(tmp_path / "two.pkl", 1)
    monkeypatch.setenv("LINSEM_MODELS", f"stylegan2-church={one},stylegan2-church={two},all")
    rows = {row["id"]: row for row in available_models()}
    assert rows["stylegan2-church"]["resolution"] == 16 and len(rows) == len(GENERATORS) + 1
    assert "stylegan2-church has a file already" in rows[f"stylegan2-church={two}"]["help"]
    assert draw(load_generator("stylegan2-church")).equal(draw(network()))


def test_a_row_with_a_file_of_one_s_own_says_what_the_file_holds(tmp_path, monkeypatch):
    path = write(tmp_path / "own.safetensors")
    monkeypatch.setenv("LINSEM_MODELS", f"stylegan2-church={path},ada-cifar10={path}~3,pggan-church={path},avatars-64")
    church, cifar, pggan, avatars = available_models()
    assert church["resolution"] == 16 and church["licence"] == GENERATORS["stylegan2-church"].licence
    assert not cifar["available"] and "was trained without labels" in cifar["help"]
    assert pggan["id"] == "pggan-church" and not pggan["available"] and avatars["available"]
    assert pggan["help"] == "pggan-church: expected a network of the family pggan, got stylegan2"
    assert spec_of("stylegan2-church").c_dim == 0


def test_an_address_that_the_hub_s_cache_cannot_have_takes_nothing_else_away(monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", "hub://o/r/c:x.pkl,hub://o/r/a/../x.pkl,avatars-64")
    assert [row["available"] for row in available_models()] == [False, False, True]
    monkeypatch.setattr(hub, "parse_url", lambda url: hub.HubFile("o/r", "c:x.pkl"))
    assert [row["available"] for row in available_models()] == [False, False, True]


def test_available_is_true_only_of_what_can_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("LINSEM_ASSETS", str(tmp_path))
    assert not zoo.is_available(GENERATORS["avatars-64"])
    write(tmp_path / "avatars-64.safetensors")
    assert zoo.is_available(GENERATORS["avatars-64"])
    assert zoo.is_available(GENERATORS["stylegan2-ffhq"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not zoo.is_available(GENERATORS["stylegan2-ffhq"])


# What cannot be had


@pytest.mark.parametrize(
    ("source", "expected"),
    [("avatars", "a name of the zoo"), ("", "a name of the zoo"), ("/no/such/file", "file that exists"),
     ("stylegan-church", "no longer published"), ("hub://nonsense", "expected hub://owner/repo/file"),
     ("x" * 5000, "expected a name"), ("a\0b", "expected a name"), ("avatars-64=/no/file", "found no file")],
)  # fmt: skip
def test_each_source_that_is_none_has_its_sentence(source, expected):
    with pytest.raises(ModelError, match=expected) as caught:
        load_generator(source)
    assert len(str(caught.value)) < 600


def test_a_missing_asset_or_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("LINSEM_ASSETS", str(tmp_path))
    with pytest.raises(ModelError, match="LINSEM_ASSETS"):
        load_generator("avatars-64")
    monkeypatch.setattr(zoo, "find_digiface", lambda: None)
    with pytest.raises(ModelError, match="pip install"):
        load_generator("digiface-64")
    fake = tmp_path / "weights.tar"
    fake.write_bytes(b"something else")
    monkeypatch.setattr(zoo, "find_digiface", lambda: fake)
    with pytest.raises(ModelError, match=r"sha256.*pip install"):
        load_generator("digiface-64")


def test_offline_and_not_in_the_cache(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE forbids the network"):
        load_generator("stylegan2-ffhq")


def test_damaged_files_are_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "net.pkl"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"net\.pkl cannot be loaded"):
        load_generator(path)
    monkeypatch.setenv("LINSEM_MODELS", f"{path},avatars-64")  # one bad entry does not take the others away
    assert next((m["id"], m["source"][:24]) for m in available_models()) == ("net.pkl", "net.pkl cannot be loaded")
    assert [m["id"] for m in available_models()] == ["net.pkl", "avatars-64"]
    assert not available_models()[0]["available"]
    with pytest.raises(ModelError, match=r"net\.pkl cannot be loaded"):
        load_generator("net.pkl")
    with pytest.raises(ModelError, match="metadata is damaged"):
        load_generator(write(tmp_path / "bad.safetensors", categories='[{"name": ""}]'))
    state = network().state_dict()
    state["mapping.w_avg"] = torch.full((6,), float("nan"))
    write_safetensors(tmp_path / "nan.safetensors", "stylegan2", CONFIG, state)
    with pytest.raises(ModelError, match="finite"):
        load_generator(tmp_path / "nan.safetensors")


def test_a_row_does_not_take_another_family(tmp_path, monkeypatch):
    path = write(tmp_path / "own.safetensors")
    monkeypatch.setenv("LINSEM_MODELS", f"pggan-church={path}")
    with pytest.raises(ModelError, match="expected a network of the family pggan, got stylegan2"):
        load_generator("pggan-church")


def test_the_shipped_generators_are_what_their_rows_say():
    shipped = [spec for spec in GENERATORS.values() if spec.asset]
    assert shipped and all(Path(zoo.assets() / spec.asset).is_file() for spec in shipped)
    for spec in shipped:
        generator = load_generator(spec.id)
        assert generator.size == (spec.resolution, spec.resolution)
        assert generator.categories == spec.categories


def test_a_file_that_is_offered_is_not_another_of_that_name_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "offered").mkdir()
    path = write(tmp_path / "offered" / "a.safetensors", seed=1)
    write(tmp_path / "a.safetensors", seed=2)
    monkeypatch.chdir(tmp_path)
    assert draw(load_generator("a.safetensors")).equal(draw(network(2)))
    monkeypatch.setenv("LINSEM_MODELS", str(path))
    assert zoo.spec_of("a.safetensors").path == str(path)
    assert draw(load_generator("a.safetensors")).equal(draw(network(1)))


def test_a_path_is_that_file_and_a_name_of_the_zoo_reads_no_other(tmp_path, monkeypatch):
    (tmp_path / "offered").mkdir()
    path = write(tmp_path / "offered" / "a.safetensors", seed=1)
    write(tmp_path / "a.safetensors", seed=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINSEM_MODELS", f"{path},avatars-64")
    assert draw(load_generator(Path("a.safetensors"))).equal(draw(network(2)))
    assert draw(load_generator("./a.safetensors")).equal(draw(network(2)))
    assert draw(load_generator("a.safetensors")).equal(draw(network(1)))
    read, reads = offers.read_checkpoint, []
    monkeypatch.setattr(offers, "read_checkpoint", lambda file: reads.append(Path(file).name) or read(file))
    (path.parent / "b.safetensors").write_bytes(path.read_bytes())
    monkeypatch.setenv("LINSEM_MODELS", f"{path.parent / 'b.safetensors'},avatars-64")
    load_generator("avatars-64")
    assert reads == ["avatars-64.safetensors"]
    load_generator("b.safetensors")
    assert "b.safetensors" in reads


def test_what_ships_with_weights_is_not_offered_with_others(monkeypatch):
    """Neither the extractor nor the examples say anything of them."""
    assert Studio().shipped("avatars-64") is not None and example_masks(
        "avatars-128", GENERATORS["avatars-128"].categories
    )
    monkeypatch.setenv(
        "LINSEM_MODELS",
        f"avatars-64={zoo.assets() / 'avatars-64.safetensors'},avatars-128={zoo.assets() / 'avatars-128.safetensors'}",
    )
    assert Studio().shipped("avatars-64") is None and example_project("avatars-128") is None
    assert example_masks("avatars-128", GENERATORS["avatars-128"].categories) == []
    assert example_edits("avatars-128", GENERATORS["avatars-128"].categories) == []


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.float64, torch.bool])
def test_a_precision_that_no_network_is_run_in_is_refused(dtype):
    with pytest.raises(ModelError, match=r"dtype: expected torch.float32 or torch.bfloat16, got "):
        load_generator("avatars-64", dtype=dtype)
