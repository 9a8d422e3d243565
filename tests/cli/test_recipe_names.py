"""Recipes by their names: the same file and the same output folder, in a checkout and where a wheel was installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.training.recipe_file import find_recipe

ROOT = Path(__file__).parents[2]
NAME = "cityscapes/ocrnet_hr18_40k"
WAYS = [NAME, f"{NAME}.yaml", f"configuration/{NAME}.yaml", f"configuration/{NAME}"]


def parse(*argv: str):
    return parse_recipe(recipe_parser(), list(argv))[0]


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("joined", [False, True])
def test_a_name_means_the_file(name, joined, tmp_path, monkeypatch):
    expected = parse("--config", str(ROOT / "configuration" / f"{NAME}.yaml"))
    monkeypatch.chdir(tmp_path)
    found = parse("--seed", "0", *([f"--config={name}"] if joined else ["--config", name]))
    assert found == expected
    assert found.output == f"runs/{NAME}"


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / f"{NAME}.yaml"
    own.parent.mkdir()
    own.write_text("seed: 7\n")
    assert find_recipe(f"{NAME}.yaml") == Path(f"{NAME}.yaml")
    assert parse("--config", f"{NAME}.yaml").seed == 7


def test_a_name_that_means_nothing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        parse("--config", "cityscapes/ocrnet_hr19")
    assert stopped.value.code == 2
    assert "cityscapes/ocrnet_hr19" in capsys.readouterr().err


CODE = """
import sys
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
import modeling_ocrnet
for name in sys.argv[1:]:
    recipe, options = parse_recipe(recipe_parser(), ["--config", name])
    print(modeling_ocrnet.__file__, recipe.data.name, recipe.schedule.max_steps, recipe.output)
"""


@pytest.mark.slow
def test_an_installed_package_brings_its_recipes(tmp_path):
    """Laid out as the wheel is: the recipes inside the package, nothing of the checkout."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    nothing = shutil.ignore_patterns("__pycache__")
    for package in ("modeling_ocrnet", "street_scenes"):
        shutil.copytree(ROOT / package, site / package, ignore=nothing)
    shutil.copytree(ROOT / "configuration", site / "modeling_ocrnet" / "configuration", ignore=nothing)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", CODE, *WAYS]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = f"{site}/modeling_ocrnet/__init__.py cityscapes 40000 runs/{NAME}"
    assert done.stdout.splitlines() == [expected] * len(WAYS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("cityscapes/ocrnet_hr18_40", f"no such recipe; the nearest are {NAME}, "),
        (
            "configuration/cityscapes/ocrnet_hr18_40k.yml",
            "no such recipe; the nearest are cityscapes/ocrnet_hr18_40k, ",
        ),
        ("nothing/like/it", "File does not exist"),
        ("", "Path is not a file"),
    ],
)
def test_a_name_that_is_no_recipe_leads_to_those_that_are(given, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse("--config", given)
    assert stopped.value.code == 2
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error:"))
    assert said in line
