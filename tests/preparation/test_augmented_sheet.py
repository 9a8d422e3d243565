"""`inspect --augmented`: the sheet shows what training sees, and what is ignored of it."""

import cv2
import numpy as np
import pytest
import yaml
from accelerate.state import AcceleratorState
from datasets import config
from helpers.tiny import TINY_BACKBONE
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.data.augmentations import for_classes, read_augmentations
from modeling_ocrnet.data.map_style import TrainingDataset
from modeling_ocrnet.data.normalization import Normalization
from modeling_ocrnet.data.transforms import TrainingTransform
from modeling_ocrnet.preparation.export_dataset import export
from modeling_ocrnet.preparation.sample_sheet import Sample, sample_sheet
from modeling_ocrnet.training.augmented import write_augmented_sheet
from modeling_ocrnet.training.build import build, build_accelerator, build_batches
from modeling_ocrnet.training.recipe import DataRecipe, ModelRecipe, Recipe
from modeling_ocrnet.training.recipe_sampler import SamplerRecipe

LABELS = data.label_set("street_scenes")
ENTRIES = [{"name": "rotate", "degrees": 20, "probability": 0.5}, {"name": "noise"}, {"name": "cutout"}]


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    """Accelerate keeps one state a process, in which the device can't change."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def recipe(scenes, tmp_path):
    """The file of a recipe for small crops."""
    file = tmp_path / "mine.yaml"
    fields = {"name": "street_scenes", "root": str(scenes), "crop_size": [48, 64], "scale": [128, 64]}
    file.write_text(yaml.safe_dump({"data": {**fields, "augmentations": ENTRIES}, "seed": 7, "output": "elsewhere"}))
    return file


def found_at(page, picture):
    """(row, column) of a picture on a page, pixel by pixel."""
    difference = cv2.matchTemplate(page.astype(np.float32), picture.astype(np.float32), cv2.TM_SQDIFF)
    y, x = np.unravel_index(difference.argmin(), difference.shape)
    same = np.array_equal(page[y : y + len(picture), x : x + picture.shape[1]], picture)
    return (int(y), int(x)) if same else None


def test_the_sheet_shows_what_training_sees(prepare_data, recipe, scenes, tmp_path, capsys):
    options = ("--config", recipe, "--augmented", 5, "--output", tmp_path / "out", "--data.workers", 2)
    assert prepare_data("inspect", *options) == 0
    file = tmp_path / "out" / "street_scenes_augmented.png"
    assert capsys.readouterr().out.endswith(f"written: {file}\n")
    assert [x.name for x in (tmp_path / "out").iterdir()] == [file.name]
    page = np.asarray(Image.open(file))
    transform = TrainingTransform((48, 64), (128, 64), augmentations=for_classes(read_augmentations(ENTRIES), LABELS))
    stream = TrainingDataset(data.load("street_scenes", scenes, "train"), transform, seed=7)
    places, ignored = [], 0
    for p in range(5):
        sample = stream[p]
        image, label = transform.normalization.undo(sample["pixel_values"].numpy()), sample["labels"].numpy()
        places.append(found_at(page, image))
        y, x = places[-1]
        drawn = page[y : y + 48, x + 66 : x + 130]  # beside it: 64 pixels and a gap
        levels = drawn[label == 255]
        assert {tuple(v) for v in levels.tolist()} <= {(0, 0, 0), (255, 255, 255)}
        ignored += len(levels)
        expected = np.rint(0.4 * image + 0.6 * LABELS.palette[label])
        assert np.abs(drawn[label != 255] - expected[label != 255]).max(initial=0) <= 1
    assert ignored > 100
    assert len(set(places)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["shuffle", "class_uniform", "repeat_factor"])
def test_training_itself_has_these_samples(scenes, tmp_path, sampler):
    """With everything else of a run built too: its order, its normalisation, its batches."""
    source = DataRecipe("street_scenes", str(scenes), crop_size=(48, 64), scale=(128, 64), augmentations=ENTRIES)
    heads = {"ocr_channels": 16, "key_channels": 8}
    model = ModelRecipe("hr18s", backbone=None, config=heads, backbone_config=TINY_BACKBONE)
    recipe = Recipe(data=source, model=model, sampler=SamplerRecipe(sampler), global_batch=6, micro_batch=3, seed=2)
    page = np.asarray(Image.open(write_augmented_sheet(recipe, 6, str(tmp_path))))
    batches = build_batches(build(recipe, build_accelerator(recipe)), 0)
    for _ in range(2):
        for pixels in next(batches)["pixel_values"]:
            assert found_at(page, Normalization().undo(pixels.numpy())) is not None
    batches.close()


def test_another_seed_shows_other_samples(recipe, scenes, tmp_path):
    source = DataRecipe("street_scenes", str(scenes), crop_size=(48, 64), scale=(128, 64), augmentations=ENTRIES)
    pages = []
    for seed in (7, 7, 8):
        file = write_augmented_sheet(Recipe(data=source, seed=seed), 3, str(tmp_path))
        pages.append(np.asarray(Image.open(file))[150:].tobytes())  # below the text
    assert pages[0] == pages[1] != pages[2]


def test_a_recipe_s_data_can_be_inspected_as_ever(prepare_data, recipe, tmp_path, capsys):
    assert prepare_data("inspect", "--config", recipe, "--output", tmp_path / "out", "--pictures", 1) == 0
    assert [x.name for x in (tmp_path / "out").iterdir()] == ["street_scenes.html"]
    assert "street_scenes, 19 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--data.name", "camvid", "--augmented", "3"], "give the recipe too, --config RECIPE"),
        (
            ["--config", "{recipe}", "--augmented", "3", "--limit", "5"],
            "--limit is for the statistics, which --augmented",
        ),
        (["--config", "{recipe}", "--augmented", "many"], "augmented"),
        (["--config", "{recipe}", "--augmented"], "augmented"),
        (["--config", "nowhere.yaml", "--augmented", "3"], "nowhere.yaml"),
        (
            ["--config", "{recipe}", "--augmented", "3", "--data.augmentations", "[{{name: rotat}}]"],
            "did you mean rotate?",
        ),
        (["--config", "{recipe}", "--augmented", "3", "--augmentations", "[]"], "--augmentations"),
    ],
)
def test_mistakes_on_the_command_line(prepare_data, recipe, capsys, argv, said):
    assert prepare_data("inspect", *(x.format(recipe=recipe) for x in argv)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert said in lines[-1]


@pytest.mark.parametrize("count", [0, -1, 201])
def test_a_number_of_samples_is_from_1_to_200(prepare_data, recipe, tmp_path, count):
    message = prepare_data("inspect", "--config", recipe, "--augmented", count, "--output", tmp_path)
    assert f"--augmented must be a number of samples from 1 to 200, got {count}" in message


def test_a_class_that_the_data_do_not_have_is_named(prepare_data, recipe, tmp_path):
    options = ("--augmented", 2, "--output", tmp_path, "--data.augmentations", "[{name: paste, classes: [persn]}]")
    message = prepare_data("inspect", "--config", recipe, *options)
    assert "paste names the class 'persn', which the data don't have; did you mean person?" in message


@pytest.mark.parametrize("size", [(30, 400), (700, 1300), (64, 64), (1300, 300)])
@pytest.mark.parametrize("count", [1, 5])
def test_any_size_has_a_sheet(size, count):
    """Large crops are drawn smaller; captions are cut rather than drawn over others."""
    rng = np.random.default_rng(0)
    samples = [
        Sample(f"{i}: {'x' * 200}", rng.integers(0, 256, (*size, 3), np.uint8), np.full(size, 255, np.uint8))
        for i in range(count)
    ]
    samples[0].label[: size[0] // 2] = 3
    page = sample_sheet(samples, LABELS, ["title", "word " * 300])
    assert 700 <= page.width <= 2100
    assert page.height < 6000
    assert sample_sheet(samples[:1], LABELS, []).height < page.height


def test_more_than_255_classes():
    labels = data.LabelSet(
        tuple(data.labels.Label(f"c{i}", i, i, (i % 256, i // 256, 9)) for i in range(300)), ignore=65535
    )
    label = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) % 300
    label[:4] = 65535
    page = np.asarray(sample_sheet([Sample("0", np.zeros((48, 64, 3), np.uint8), label)], labels, []))
    drawn = np.rint(0.6 * labels.palette[label[4:]]).astype(np.uint8)
    assert found_at(page, drawn) is not None


@pytest.mark.slow
def test_a_stream_has_a_sheet(scenes, tmp_path, monkeypatch):
    """The samples in the order in which two workers bring them."""
    monkeypatch.setattr(config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.1, raising=False)
    folder = export("street_scenes", str(tmp_path / "parquet"), str(scenes))
    options = {"crop_size": (48, 64), "scale": (128, 64), "workers": 2, "streaming": True, "shuffle_buffer": 4}
    source = DataRecipe("hub", path=str(folder), mask_column="label", augmentations=ENTRIES, **options)
    heads = {"ocr_channels": 16, "key_channels": 8}
    model = ModelRecipe("hr18s", backbone=None, config=heads, backbone_config=TINY_BACKBONE)
    recipe = Recipe(data=source, model=model, global_batch=4, micro_batch=2)
    page = np.asarray(Image.open(write_augmented_sheet(recipe, 4, str(tmp_path))))
    batches = build_batches(build(recipe, build_accelerator(recipe)), 0)
    for _ in range(2):
        for pixels in next(batches)["pixel_values"]:
            assert found_at(page, Normalization().undo(pixels.numpy())) is not None
    batches.close()
