"""Recipes that do more than say what to train."""

import pytest
from helpers.corrupt_files import RECIPES
from yaml import safe_dump

from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.training.recipe import Recipe, as_dict
from modeling_ocrnet.training.recipe_file import read_recipe


@pytest.mark.parametrize(
    "given",
    [("--config", "{}"), ("--config={}",), ("--model", "{}"), ("--evaluation.inference={}",)],
    ids=["apart", "joined", "part", "inner_part"],
)
@pytest.mark.parametrize("defect", RECIPES, ids=lambda x: x.name)
def test_a_recipe_is_refused(defect, given, place, script):
    path = defect.write(place.input / "bad.yaml", place.canary)
    place.begin()
    said = script("train", *(x.format(path) for x in given), "--data.root", place.input, code=(2,))
    assert "error: " in said
    assert defect.name == "class_path" or f"{path}: not a recipe" in said


def test_what_is_built_from_a_free_field_is_nothing(place):
    """`model.config` takes any value: a class named there stays a dict of words."""
    named = f"{{class_path: subprocess.Popen, init_args: {{args: [touch, {place.canary}]}}}}"
    text = f"model: {{config: {{dropout: {named}}}}}"
    (place.input / "bad.yaml").write_text(text)
    place.begin()
    recipe, _ = parse_recipe(recipe_parser(), ["--config", str(place.input / "bad.yaml")])
    assert recipe.model.config["dropout"]["class_path"] == "subprocess.Popen"


def test_our_own_recipes_are_read_as_they_were_written(place):
    (place.input / "recipe.yaml").write_text(safe_dump(as_dict(Recipe()), sort_keys=False))
    place.begin()
    assert read_recipe(place.input / "recipe.yaml") == as_dict(Recipe())
