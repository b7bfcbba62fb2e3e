"""Rules of the repository: permitted imports, exported names, and the contents of tracked files."""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "linsem"
SCREEN = {"gradio", "gradio_client", "spaces"}
MACHINE_PATH = re.compile(rb"(?<![\w.~-])/(work|tmp|root|home|Users|opt)/\w")


def modules():
    """Every module of the package: dotted name -> file."""
    return {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path, *, top_level=False):
    """The dotted names that a file imports anywhere, or (`top_level`) when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


def heads(path):
    return {name.split(".")[0] for name in imported(path)}


def is_under(name, *packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def tracked():
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True
    )
    if listing.returncode == 0:
        files = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:  # a copy without its history
        files = [path for path in ROOT.rglob("*") if not any(part.startswith(".venv") for part in path.parts)]
    return [path for path in files if path.is_file()]


def test_only_the_screen_imports_gradio():
    wrong = {name for name, path in modules().items() if heads(path) & SCREEN and not is_under(name, "linsem.ui")}
    assert wrong == set()


def test_only_the_hub_module_imports_huggingface_hub():
    wrong = {name for name, path in modules().items() if "huggingface_hub" in heads(path) and name != "linsem.hub"}
    assert wrong == set()


def test_nothing_above_the_lab_imports_it_and_nothing_below_the_screen_imports_the_screen():
    for name, path in modules().items():
        for other in imported(path):
            assert is_under(name, "linsem.lab") or not is_under(other, "linsem.lab"), f"{name} imports {other}"
            allowed = is_under(name, "linsem.ui", "linsem.__main__", "linsem.cli")  # the command `serve` starts it
            assert allowed or not is_under(other, "linsem.ui"), f"{name} imports {other}"


def test_imports_have_no_circle():
    files = modules()
    graph = {
        name: {other for other in imported(path, top_level=True) & files.keys() if not is_under(name, other)}
        for name, path in files.items()
    }  # a module's own packages are left out: `from linsem.checkpoints import own` is about `own`
    done = set()
    while ready := {name for name, others in graph.items() if name not in done and others <= done}:
        done |= ready
    assert {name: graph[name] - done for name in graph.keys() - done} == {}


def test_the_core_is_imported_without_screen_hub_or_lab():
    core = [
        name for name in modules() if not is_under(name, "linsem.ui", "linsem.lab", "linsem.__main__", "linsem.hub")
    ]
    code = (
        f"import importlib, sys\nfor name in {core!r}: importlib.import_module(name)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'gradio', 'spaces', 'huggingface_hub'}))\n"
        "print([name for name in sys.modules if name.startswith(('linsem.lab', 'linsem.ui'))])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == ["[]", "[]"]


def test_nothing_executes_what_a_file_holds():
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            call = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            where = f"{name}:{node.lineno}"
            assert call not in ("eval", "exec", "pickle.load", "pickle.loads"), where
            assert call != "torch.load" or keywords.get("weights_only") == "True", where
            assert keywords.get("allow_pickle", "False") == "False", where


def constants_classes_functions(name):
    """The order that ruff keeps (RUF022)."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_the_public_names_are_sorted_and_true():
    import linsem

    assert linsem.__all__ == sorted(linsem.__all__, key=constants_classes_functions)
    assert len(set(linsem.__all__)) == len(linsem.__all__)
    for name in linsem.__all__:
        assert getattr(linsem, name) is not None
    modules_ = {name.split(".")[1] for name in sys.modules if name.startswith("linsem.")}
    public = {name for name in vars(linsem) if not name.startswith("_")} - modules_ - {"annotations"}
    assert public <= set(linsem.__all__)


def test_no_tracked_file_names_a_path_of_one_machine():
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in tracked()
        if (match := MACHINE_PATH.search(path.read_bytes()))
    ]
    assert found == []


@pytest.mark.parametrize("text", ["see /tmp" + "/run", "('/home" + "/me')", '"/work' + '/x"'])
def test_the_pattern_finds_such_paths(text):
    assert MACHINE_PATH.search(text.encode())
    assert not MACHINE_PATH.search(b"runs/tmp/x or https://host/work/x or ./tmp/x")


def test_every_asset_is_named_with_its_origin():
    named = re.findall(r"`([^`\s]+)`", (ROOT / "assets" / "README.md").read_text(encoding="utf-8"))
    patterns = [name for name in named if name.strip("*./")]
    files = [path for path in tracked() if path.is_relative_to(ROOT / "assets")]
    unnamed = [
        str(name)
        for name in (path.relative_to(ROOT / "assets").as_posix() for path in files)
        if name != "README.md" and not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]
    assert unnamed == []


def test_requirements_are_pinned_and_agree_with_the_space():
    lines = [
        line.split("#")[0].strip()
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
    ]
    lines = [line for line in lines if line and not line.startswith("-r ")]
    unpinned = [line for line in lines if "==" not in line.split(";")[0]]
    assert unpinned == ["torch>=2.8,<2.14"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    version = re.search(r"^sdk_version: (\S+)$", readme, re.MULTILINE).group(1)
    assert f"gradio=={version}" in lines
