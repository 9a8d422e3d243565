"""Samplers in a recipe: trained with, resumed to the bit, and refused in one line if they can't be meant."""

import itertools
import json
import shutil
from dataclasses import replace

import datasets
import numpy as np
import pytest
from helpers import multiprocess
from helpers.signals import stop_after
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.data.map_style import TrainingDataset
from modeling_ocrnet.training import augmented, build_order, loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_accelerator
from modeling_ocrnet.training.checkpoint import CheckpointError
from modeling_ocrnet.training.recipe_sampler import SamplerRecipe


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def sampler(**fields) -> R.SamplerRecipe:
    return R.SamplerRecipe(**fields)


@pytest.fixture
def order_of(quick_recipe, scenes):
    """What a recipe with a sampler makes of the scenes' training split."""

    def make(sampler, **fields):
        recipe = quick_recipe(sampler=sampler, **fields)
        train = data.load("street_scenes", str(scenes), "train")
        return build_order.build_order(recipe, build_accelerator(recipe), data.label_set("street_scenes"), train)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", ["class_uniform", "repeat_factor"])
def test_a_resumed_run_is_the_uninterrupted_one(name, quick_recipe, tmp_path, monkeypatch):
    """Stopped in the middle of an epoch, with the masks' cache and without; and it isn't the run of another sampler."""
    seen: list[int] = []
    read = TrainingDataset.__getitem__
    monkeypatch.setattr(TrainingDataset, "__getitem__", lambda x, p: seen.append((p, read(x, p)["name"])) or read(x, p))
    options = sampler(name=name, **({"class_share": 0.9} if name == "class_uniform" else {"threshold": 1.0}))
    fields = {"sampler": options, "schedule": R.ScheduleRecipe(max_steps=8), "checkpoint": R.CheckpointRecipe(every=3)}
    loop.train(quick_recipe(**fields))
    whole, seen[:] = list(seen), []
    recipe = quick_recipe(**fields, output=str(tmp_path / "parts"))
    with stop_after(4), pytest.raises(SystemExit):
        loop.train(recipe)
    shutil.rmtree(tmp_path / "cache")
    loop.train(recipe, resume="last")
    assert seen == whole
    assert [x[0] for x in whole] == list(range(32))
    logs = [
        [json.loads(x)["loss"] for x in (tmp_path / f / "metrics.jsonl").read_text().splitlines() if "loss" in x]
        for f in ("run", "parts")
    ]
    assert logs[0] == logs[1]
    recipe.sampler = sampler()
    with pytest.raises(CheckpointError, match=f"sampler.name: '{name}' in the checkpoint, now 'shuffle'"):
        loop.train(recipe, resume="last")


@pytest.mark.slow
def test_a_run_cannot_go_on_with_masks_that_have_changed(quick_recipe, scenes, tmp_path):
    """Its order would be another; the default's order depends on no mask."""
    root = tmp_path / "scenes"
    shutil.copytree(scenes, root)
    source = R.DataRecipe("street_scenes", str(root), crop_size=(32, 64), scale=(128, 64), workers=0)
    recipe = quick_recipe(data=source, sampler=sampler(name="class_uniform"), schedule=R.ScheduleRecipe(max_steps=3))
    plain = quick_recipe(data=source, output=str(tmp_path / "plain"), schedule=R.ScheduleRecipe(max_steps=3))
    for x in (recipe, plain):
        with stop_after(2), pytest.raises(SystemExit):
            loop.train(x)
    file = next(root.glob("gtFine/train/*/*labelIds.png"))
    mask = np.array(Image.open(file))
    mask[:4, :4] = 26 if mask[0, 0] != 26 else 7
    Image.fromarray(mask).save(file)
    with pytest.raises(CheckpointError, match="was trained with other masks: where their classes lie has changed"):
        loop.train(recipe, resume="last")
    loop.train(plain, resume="last")


def test_samplers_make_their_orders(order_of):
    assert order_of(sampler()) is None
    uniform = order_of(sampler(name="class_uniform", class_share=0.4, max_repeats=3, classes=["pole", "car"]))
    assert (uniform.share, uniform.max_repeats, uniform.chosen, uniform.rows) == (0.4, 3, (5, 13), 10)
    repeated = order_of(sampler(name="repeat_factor", threshold=0.9, max_repeats=2))
    train = uniform.tiles.table[:, [0, 1]]
    share = {c: len(np.unique(train[train[:, 0] == c, 1])) / 10 for c in np.unique(train[:, 0])}
    expected = [
        max(min(2, max(1, (0.9 / share[c]) ** 0.5)) for c in np.unique(train[train[:, 1] == row, 0]))
        for row in range(10)
    ]
    assert repeated.factors.tolist() == pytest.approx(expected)
    assert max(expected) > 1
    assert None not in (uniform.digest, repeated.digest)


def test_the_tile_follows_from_the_crop(order_of, scenes):
    """Crops of 32x64 of pictures of 64x128 at their own size: tiles of 32, unless the recipe says another."""
    fine, own = (order_of(sampler(name="class_uniform", tile=x)) for x in (None, 32))
    assert np.array_equal(fine.tiles.table, own.tiles.table)
    assert len(order_of(sampler(name="class_uniform", tile=16)).tiles.table) > len(own.tiles.table)


def test_what_is_drawn_is_said(order_of, caplog):
    """10 images, 19 classes: 19 of 40 samples; and a class that the cap holds back."""
    with caplog.at_level("INFO"):
        order_of(sampler(name="class_uniform"))
        few = order_of(sampler(name="class_uniform", class_share=1.0, classes=["train"], max_repeats=1, tile=128))
        order_of(sampler(name="repeat_factor"))
    assert "class_uniform: 19 of 40 samples of an epoch are drawn for classes" in caplog.text
    assert few.drawn[16] == few.tiles.counts[16] < 10
    assert (
        f"{few.drawn[16]} of 10 samples of an epoch are drawn for classes; fewer than 10, by sampler.max_repeats, for "
        in caplog.text
    )
    assert "repeat_factor: 0 of 10 images are repeated, up to 1.0 times" in caplog.text
    assert "each class to repeat for is in at least 0.01 of the images: raise sampler.threshold" in caplog.text


def test_the_sheet_of_samples_shows_them_in_this_order(order_of, quick_recipe, scenes):
    options = sampler(name="class_uniform", class_share=1.0, classes=["train"])
    order = order_of(options)
    labels = data.label_set("street_scenes")
    samples = list(itertools.islice(augmented._samples(quick_recipe(sampler=options), labels), 8))
    names = data.load("street_scenes", str(scenes), "train")["name"][:]
    expected = [names[order.where(int(x))[0]] for x in order.items(0)[:8]]
    assert [x.caption for x in samples] == [f"{i}: {x}" for i, x in enumerate(expected)]
    assert all((x.label == 16).any() for x in samples)


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_draw_the_samples_of_one(quick_recipe, tmp_path):
    def make(name):
        return quick_recipe(
            sampler=sampler(name="class_uniform"),
            micro_batch=2,
            schedule=R.ScheduleRecipe(max_steps=6, min_lr=1e-5),
            optimizer=R.OptimizerRecipe(lr=1e-4),
            output=str(tmp_path / name),
        )

    found = multiprocess.losses_of_one_and_two(make, tmp_path)
    assert found[2]["losses"] == pytest.approx(found[1]["losses"], abs=1e-4)


def refused(capsys, *argv) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        parse_recipe(recipe_parser(), list(argv))
    _, _, message = capsys.readouterr().err.partition("\nerror: ")
    assert (stopped.value.code, message.count("\n")) == (2, 1)
    return message.strip()


UNIFORM = ("--sampler.name", "class_uniform")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sampler.class_share", "0.3"], "sampler.class_share is for sampler.name class_uniform, not for shuffle"),
        (["--sampler.max_repeats", "3"], "sampler.max_repeats is for sampler.name class_uniform or repeat_factor, not"),
        (["--sampler.classes", "car"], "sampler.classes is for sampler.name class_uniform or repeat_factor, not for"),
        (["--sampler.name", "repeat_factor", "--sampler.tile", "64"], "sampler.tile is for sampler.name class_uniform"),
        ([*UNIFORM, "--sampler.threshold", "0.1"], "sampler.threshold is for sampler.name repeat_factor, not for"),
        ([*UNIFORM, "--sampler.class_share", "0.001"], "sampler.class_share must be from 0.01 to 1, got 0.001"),
        ([*UNIFORM, "--sampler.class_share", "1.5"], "sampler.class_share must be at most 1, got 1.5"),
        ([*UNIFORM, "--sampler.max_repeats", "0"], "sampler.max_repeats must be positive, got 0"),
        ([*UNIFORM, "--sampler.tile", "8"], "sampler.tile must be 16 pixels or more, got 8"),
        ([*UNIFORM, "--sampler.classes", "[]"], "sampler.classes names no class: leave it out for all of them"),
        ([*UNIFORM, "--sampler.classes", "car,pole,car"], "sampler.classes names 'car' 2 times: name it once"),
        (["--sampler.name", "uniform"], "sampler.name"),
        (
            [*UNIFORM, "--data.name", "hub", "--data.path", "a/b", "--data.streaming=true"],
            "sampler.name is class_uniform, but a stream (data.streaming) comes in its own order: leave one of them",
        ),
    ],
)
def test_mistakes_end_with_a_message(argv, message, capsys):
    assert message in refused(capsys, *argv)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["polle"], "sampler.classes names the class 'polle', which the data don't have; did you mean pole?"),
        (
            ["xyz"],
            "sampler.classes names the class 'xyz', which the data don't have; there are road, sidewalk",
        ),
    ],
)
def test_classes_that_do_not_exist_are_named(names, message, quick_recipe):
    """Before anything is read."""
    recipe = quick_recipe(sampler=sampler(name="class_uniform", classes=names))
    recipe.data.root = "nowhere"
    with pytest.raises(ValueError, match="sampler") as caught:
        loop.build(recipe, build_accelerator(recipe))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_classes_that_no_mask_holds_are_refused(order_of, caplog, monkeypatch):
    """If these are all; one among others is only said."""
    find = build_order.find_class_tiles

    def without_trains(*args, **options):
        tiles = find(*args, **options)
        return replace(tiles, table=tiles.table[tiles.table[:, 0] != 16])

    monkeypatch.setattr(build_order, "find_class_tiles", without_trains)
    with pytest.raises(ValueError, match=r"no mask holds a class that the sampler draws for \(train\): name others"):
        order_of(sampler(name="class_uniform", classes=["train"]))
    assert order_of(sampler(name="class_uniform", classes=["train", "car"])).drawn == {16: 0, 13: 2}
    assert "no mask of train holds train: nothing is drawn for it" in caplog.text


def test_the_default_takes_no_field():
    """So that a recipe says nothing that isn't used; fields at their defaults are as good as left out."""
    SamplerRecipe().check(streaming=True)
    SamplerRecipe(classes=None, class_share=0.5).check(streaming=False)
