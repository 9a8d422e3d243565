"""The rules of the house that a machine can check."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.tiny import tiny_config

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "modeling_ocrnet"
SOURCES = sorted(
    p
    for folder in ("modeling_ocrnet", "street_scenes", "benchmarks", "examples", "scripts")
    for p in (ROOT / folder).rglob("*.py")
)
# a file at the package's root is written beside every checkpoint, a folder stays
TRAVELLERS = sorted(p for p in PACKAGE.glob("*.py") if p.name != "__init__.py")
# imports run one way: a folder may use itself, what stands below it, and the model files
ORDER = [
    {"cli"},
    {"training"},
    {"export", "report"},
    {"evaluation", "preparation"},
    {"inference"},
    {"conversion", "hub", "interop"},
    {"data"},
    {"common"},
]


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import in a file, also those inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.level, name) for name in names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_device_by_name(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"torch\.cuda|\.cuda\(|[\"']cuda|sdaa[\"':]", text)


@pytest.mark.parametrize("path", TRAVELLERS, ids=lambda p: p.name)
def test_files_that_travel_import_nothing_else(path):
    """Flat siblings, torch, transformers and huggingface_hub; pictures are numpy's and PIL's, and torchvision's only
    where it is sure to be there."""
    for level, module in imports(path):
        top = module.split(".")[0]
        if level:
            assert level == 1, module
            assert (PACKAGE / f"{module}.py").is_file(), module
        else:
            standard = top in sys.stdlib_module_names
            of_pictures = path.name in ("image_processing_ocrnet.py", "pixels_ocrnet.py")
            of_pictures = of_pictures and top in ("numpy", "PIL", "torchvision")
            assert standard or of_pictures or top in ("torch", "transformers", "huggingface_hub"), module


@pytest.mark.parametrize("path", TRAVELLERS, ids=lambda p: p.name)
def test_files_that_travel_use_public_names(path):
    """So that a checkpoint of today loads with libraries of tomorrow. What is private is guarded by `try`."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    tree, private = ast.parse(text), lambda name: name.startswith("_") and not name.endswith("__")
    guarded = {x for block in ast.walk(tree) if isinstance(block, ast.Try) for x in ast.walk(block)}
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
            names = [*(getattr(node, "module", None) or "").split("."), *(x.name for x in node.names)]
            if "models" in names and node not in guarded:  # of transformers: each is free to change
                found.add(" ".join(names))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self":
            names = [node.attr]
        found |= {x for x in names if private(x) and node not in guarded}
    assert found <= {"_init_weights"}  # which every model of transformers has


def test_exactly_these_files_travel(tmp_path):
    OCRNetForSemanticSegmentation(tiny_config()).save_pretrained(tmp_path)
    OCRNetImageProcessor().save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.glob("*.py")} == {p.name for p in TRAVELLERS}


def test_street_scenes_stand_by_themselves():
    for path in (ROOT / "street_scenes").rglob("*.py"):
        assert not [module for _, module in imports(path) if module.startswith("modeling_ocrnet")], path


@pytest.mark.parametrize("folder", sorted(set().union(*ORDER)))
def test_imports_run_one_way(folder):
    (place,) = (i for i, layer in enumerate(ORDER) if folder in layer)
    allowed = {folder}.union(*ORDER[place + 1 :])
    for path in (PACKAGE / folder).rglob("*.py"):
        depth = len(path.relative_to(PACKAGE).parts)
        for level, module in imports(path):
            if level == depth:  # `..x`, as seen from the package's root
                top = module.split(".")[0]
                assert top in allowed or (PACKAGE / f"{top}.py").is_file(), f"{path}: {module}"
            assert level > 0 or not module.startswith("modeling_ocrnet"), f"{path}: {module}"


def test_every_folder_has_its_place():
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert folders == set().union(*ORDER)


def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package(tmp_path):
    """Built from tracked files alone: a careless .gitignore would swallow modeling_ocrnet/data."""
    source = tmp_path / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {x for x in wheel.namelist() if ".dist-info/" not in x}
    code = {str(p.relative_to(ROOT)) for folder in (PACKAGE, ROOT / "street_scenes") for p in folder.rglob("*.py")}
    recipes = {f"modeling_ocrnet/{p.relative_to(ROOT)}" for p in (ROOT / "configuration").rglob("*.yaml")}
    typed = {"modeling_ocrnet/py.typed", "street_scenes/py.typed"}
    assert packed == code | recipes | typed


def test_no_tracked_file_names_this_machine():
    names = r"/home/\w|/root/|/work/|shared/parity|shared/facts"
    found = subprocess.run(
        ["git", "grep", "-nE", names, "--", ":!tests/test_conventions.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout == ""


PLAIN = ["modeling_hrnet.py", "modeling_ocrnet.py", *sorted(p.name for p in PACKAGE.glob("loss_*.py"))]
HARDWARE = {
    "device",
    "dtype",
    "itemsize",
    "is_contiguous",
    "is_cpu",
    "is_floating_point",
    "memory_format",
    "is_compiling",
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_model_compares_no_devices_dtypes_or_memory_formats(name):
    """A fast way for some hardware is a replacement beside the model, not a branch inside it."""
    for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
        tests = [node.test] if isinstance(node, (ast.If, ast.IfExp)) else []
        tests += [node] if isinstance(node, (ast.Compare, ast.BoolOp)) else []
        for test in tests:
            asked = {x.attr for x in ast.walk(test) if isinstance(x, ast.Attribute)} & HARDWARE
            assert not asked, f"{name}:{test.lineno} asks for {asked}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    """A file past 300 lines, or a function past 50 (without its docstring), is two ideas."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            assert not body or node.end_lineno - body[0].lineno < 50, node.name


TESTS = ROOT / "tests"
# without an older release's files and the stand-ins of a package
OF_TESTS = sorted(p for p in TESTS.rglob("*.py") if p.relative_to(TESTS).parts[0] not in ("fixtures", "sdaa"))


@pytest.mark.parametrize("path", OF_TESTS, ids=lambda p: str(p.relative_to(TESTS)))
def test_tests_share_nothing_but_helpers(path):
    """What several tests use is in tests/helpers or a fixture: no module of tests imports another one."""
    others = {p.stem for p in OF_TESTS if p.parent.name != "helpers"} | {"tests"}
    for level, module in imports(path):
        assert not level, f"{module}: a relative import"
        assert module.split(".")[0] not in others, module


def replacements(tree: ast.Module) -> list[str]:
    """Where attributes of what was imported are set or deleted: `module.name = x`, `os.environ["X"] = "1"`, setattr."""
    imports = [x for x in ast.walk(tree) if isinstance(x, (ast.Import, ast.ImportFrom))]
    imported = {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}
    found = []
    for node in ast.walk(tree):
        place = node if isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)) else None
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
            place = ast.Attribute(node.args[0])
        names_an_attribute = False
        while isinstance(place, (ast.Attribute, ast.Subscript)):
            names_an_attribute |= isinstance(place, ast.Attribute)
            place = place.value
        if names_an_attribute and isinstance(place, ast.Name) and place.id in imported:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


# kill_and_resume.py is a command, with a process of its own
IN_TESTS = [p for p in OF_TESTS if p.parent != TESTS or p.name.startswith(("test_", "conftest"))]


@pytest.mark.parametrize("path", IN_TESTS, ids=lambda p: str(p.relative_to(TESTS)))
def test_tests_undo_what_they_replace(path):
    """Modules are patched by monkeypatch, or in a process that ends with the test (helpers.process_state)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name == "conftest.py":  # what stands outside functions happens before all tests
        tree.body = [x for x in tree.body if isinstance(x, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom))]
    assert replacements(tree) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import a.b\na.b.c = 1", 1),
        ("from a import b as c\nc.d, e = 1, 2", 1),
        ("from a import b\ndel b.c", 1),
        ("import os\nos.environ['A'] += '1'", 1),
        ("def f():\n    from a import b\n    setattr(b, 'c', 1)", 1),
        ("import a\nb = a.c()\nb.d = a.e['f']", 0),
        ("from a import b\nb = [1]\nb[0] = 2\nself.b = 3", 0),
    ],
)
def test_replacements_are_found(source, count):
    assert len(replacements(ast.parse(source))) == count
