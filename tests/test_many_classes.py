"""More than 255 classes: label maps, files, stores, scores and predictions take 16 bits, and nothing wraps."""

import json

import numpy as np
import pytest
import torch
from helpers.tiny import TINY_BACKBONE, tiny_config
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.data.numpy_rows import NumpyRows
from modeling_ocrnet.data.transforms import TrainingTransform
from modeling_ocrnet.evaluation.boundary import BoundaryScores
from modeling_ocrnet.evaluation.evaluate_checkpoint import EvaluationArguments, evaluate_checkpoint
from modeling_ocrnet.evaluation.mean_iou import MeanIoU
from modeling_ocrnet.export.parity import compare
from modeling_ocrnet.inference.drawing import class_palette, overlay, shares
from modeling_ocrnet.inference.files import collect_inputs, predict_files
from modeling_ocrnet.inference.segmentation import InferenceOptions, segment
from modeling_ocrnet.preparation.export_dataset import export
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R

COUNT = 300
SIZE = (40, 60)
NONE = 65535


@pytest.mark.parametrize(("classes", "ignored"), [(2, 255), (255, 255), (256, 65535), (65535, 65535), (65536, -100)])
def test_what_does_not_count_is_no_class(classes, ignored):
    assert OCRNetConfig(num_labels=classes).loss_ignore_index == ignored


def test_the_loss_counts_class_255():
    torch.manual_seed(0)
    model = OCRNetForSemanticSegmentation(tiny_config(num_labels=COUNT))
    pixels, labels = torch.randn(2, 3, 32, 32), torch.full((2, 32, 32), 255)
    labels[:, :4] = NONE
    output = model(pixels, labels=labels)
    logits = torch.nn.functional.interpolate(output.logits, size=(32, 32), mode="bilinear")
    expected = torch.nn.functional.cross_entropy(logits, labels, ignore_index=NONE, reduction="sum") / labels.numel()
    torch.testing.assert_close(output.ocr_loss, expected)
    assert expected > 1


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    references = rng.integers(0, COUNT, (2, *SIZE)).astype(np.uint16)
    references[:, :3] = NONE
    predictions = np.where(rng.random(references.shape) < 0.5, references, rng.integers(0, COUNT, references.shape))
    predictions[references == NONE] = 299
    return predictions.astype(np.uint16), references


def test_the_metric_agrees_with_scikit_learn(maps):
    predictions, references = maps
    metric = MeanIoU()
    metric.add(prediction=predictions[0].astype(np.uint8) % 7, reference=predictions[1].astype(np.uint8) % 7)
    before = metric.confusion.copy()
    metric.add_batch(predictions=list(predictions), references=list(references))
    counted = metric.confusion[: COUNT + 1, : COUNT + 1]
    expected = confusion_matrix(references.ravel(), predictions.ravel(), labels=range(COUNT + 1))
    expected[:256, :256] += before
    np.testing.assert_array_equal(counted, expected)

    scores = MeanIoU().compute(predictions=predictions, references=references, num_labels=COUNT, ignore_index=NONE)
    known = references != NONE
    expected = jaccard_score(references[known], predictions[known], labels=range(COUNT), average=None)
    np.testing.assert_allclose(scores["per_category_iou"], expected)
    assert scores["mean_iou"] == pytest.approx(expected.mean())


def test_the_metric_s_matrix_grows_as_ids_come():
    metric, whole = MeanIoU(), MeanIoU()
    whole.reserve(3000)
    for top in (3, 255, 300, 511, 512, 2999):
        ids = np.arange(top + 1, dtype=np.uint16)
        reference = np.where(ids % 5, ids, NONE)
        for each in (metric, whole):
            each.add(prediction=ids, reference=reference)
    np.testing.assert_array_equal(metric.confusion, whole.confusion)
    with pytest.raises(ValueError, match="ids up to 60000: at most 8192 classes can be scored"):
        metric.add(prediction=np.array([60000]), reference=np.array([0]))


def test_nothing_counted_is_no_score():
    nothing = np.full((2, 2), 255, np.uint8)
    with pytest.raises(ValueError, match="all pixels of the references are ignored"):
        MeanIoU().compute(predictions=[np.zeros((2, 2), np.uint8)], references=[nothing], num_labels=2)


def test_boundaries(maps):
    """The class numbers don't matter: 300 classes score as 60 do, whose numbers fit into a byte."""
    prediction, reference = (x[0] for x in maps)
    wide, narrow = BoundaryScores(COUNT, ignore_index=NONE), BoundaryScores(60)
    for step in range(5):
        few = np.where((reference >= 60 * step) & (reference < 60 * (step + 1)), reference - 60 * step, 255)
        ours = np.where((prediction >= 60 * step) & (prediction < 60 * (step + 1)), prediction - 60 * step, 254)
        narrow.add(ours.astype(np.uint8), few.astype(np.uint8))
    wide.add(prediction, reference)
    assert wide.counts[3].sum() == narrow.counts[3].sum() > 100


def test_pictures_have_a_colour_for_each_class():
    palette = class_palette(None, COUNT)
    assert len(np.unique(palette[:COUNT], axis=0)) == COUNT
    label_map = np.array([[0, 255, 299, NONE]], np.uint16)
    image = np.full((1, 4, 3), 10, np.uint8)
    blended = overlay(image, label_map, palette, opacity=1)
    np.testing.assert_array_equal(blended[0], [*palette[[0, 255, 299]], [10, 10, 10]])
    assert [index for index, _ in shares(label_map, COUNT)] == [0, 255, 299]


def drawn(i):
    """A mask of all classes, a little of it not labelled."""
    ids = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 8 + 100 * i) % COUNT
    ids[0, :3] = NONE
    return ids.astype(np.uint16)


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val"):
        for folder in ("images", "masks"):
            (tmp_path / "own" / split / folder).mkdir(parents=True)
        for i in range(2):
            colours = np.random.default_rng(i + 10 * (split == "val")).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            Image.fromarray(colours).save(tmp_path / "own" / split / "images" / f"{i}.png")
            Image.fromarray(drawn(i)).save(tmp_path / "own" / split / "masks" / f"{i}.png")
    classes = {"classes": [f"c{i}" for i in range(COUNT)], "flip_pairs": [["c254", "c299"]]}
    (tmp_path / "own" / "classes.json").write_text(json.dumps(classes))
    return tmp_path / "own"


@pytest.mark.parametrize("store", [None, "raw", "parquet"])
def test_masks_of_own_data_and_of_its_exports(root, store, tmp_path):
    source = data.DataSource("folder", str(root))
    if store is not None:
        folder = export(source, str(tmp_path / store), store=store)
        source = data.DataSource("folder", str(folder))
        if store == "parquet":
            source = data.DataSource("hub", path=str(folder), mask_column="label")
    rows = data.load(source, split="train")
    assert data.check(rows).pixels[-1] == 6
    for i in range(2):
        np.testing.assert_array_equal(np.asarray(rows[i]["label"]), drawn(i))
        label = NumpyRows(rows)[i][1]
        assert label.dtype == np.uint16
        np.testing.assert_array_equal(label, drawn(i))


def test_augmentation_keeps_and_swaps_wide_labels(root):
    rows, labels = (f("folder", root) for f in (data.load, data.label_set))
    transform = TrainingTransform(
        crop_size=(48, 64), scale=SIZE[::-1], ratio_range=(1, 1), flip_probability=1, flip_pairs=labels.flip_pairs
    )
    image, label, _ = NumpyRows(rows)[0]
    _, flipped = transform(image, label, np.random.default_rng(0))
    swap = np.arange(NONE + 1)
    swap[254], swap[299] = 299, 254
    expected = np.full((48, 64), NONE)
    expected[: SIZE[0], : SIZE[1]] = swap[drawn(0)[:, ::-1]]
    np.testing.assert_array_equal(flipped, expected)


@pytest.mark.slow
def test_from_training_to_predictions(root, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "use_all_cores", lambda _: None)
    own = {"name": "folder", "root": str(root)}
    recipe = R.Recipe(
        data=R.DataRecipe(**own, crop_size=(32, 32), scale=SIZE[::-1], workers=0),
        model=R.ModelRecipe(
            "hr18s", backbone=None, backbone_config=TINY_BACKBONE, config={"ocr_channels": 16, "key_channels": 8}
        ),
        schedule=R.ScheduleRecipe(max_steps=1),
        logging=R.LoggingRecipe(pictures=1),
        global_batch=2,
        mixed_precision="no",
        output=str(tmp_path / "run"),
    )
    folder = loop.train(recipe)
    model = OCRNetForSemanticSegmentation.from_pretrained(folder).eval()
    processor = OCRNetImageProcessor.from_pretrained(folder)
    assert model.config.loss_ignore_index == processor.ignore_index == NONE
    with torch.no_grad():  # whatever was learnt: class 290 it is
        model.ocr_head.classifier.bias[290] += 1000
    model.save_pretrained(folder)
    record = evaluate_checkpoint(
        str(folder), EvaluationArguments(**own, save_predictions=str(tmp_path / "ids"), workers=0), InferenceOptions()
    )
    assert record["classes"]["c290"]["accuracy"] == 1.0
    (job,) = collect_inputs([str(root / "val" / "images" / "0.png")], tmp_path / "out")
    assert predict_files(model, processor, [job], InferenceOptions()) == []
    for file in (tmp_path / "ids" / "0.png", job.result("ids")):
        assert np.unique(np.asarray(Image.open(file))).tolist() == [290]
    (label_map,) = segment(model, processor, [Image.new("RGB", SIZE)])
    assert label_map.dtype == np.uint16
    assert np.unique(label_map).tolist() == [290]
    rows = data.load("folder", root, "val")
    agreement = compare(model, model, processor, [rows[0]])
    assert agreement.before == agreement.after > 0
