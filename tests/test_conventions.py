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


PLAIN = ["modeling_hrnet.py", "modeling_ocrnet.py", "loss_ocrnet.py"]
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
