"""The moving average of the weights: its numbers, what it leaves alone, how it is kept, and where it is refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import DistributedType
from helpers.signals import stop_after
from helpers.tiny import TINY_BACKBONE
from safetensors.torch import load_file

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.evaluation.mean_iou import MeanIoU
from modeling_ocrnet.inference.segmentation import segment
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_accelerator
from modeling_ocrnet.training.checkpoint import CheckpointError
from modeling_ocrnet.training.optimization import warmed_up_decay
from modeling_ocrnet.training.sharding import set_up_sharding


@pytest.fixture
def averaging(tiny_recipe, tmp_path):
    """A recipe with an average, of which the run's folder is named; an evaluation every two steps."""

    def make(name: str = "run", decay: float | None = 0.9) -> R.Recipe:
        heads = {"ocr_channels": 16, "key_channels": 8, "dropout": 0.5}
        return tiny_recipe(
            model=R.ModelRecipe("hr18s", None, heads, TINY_BACKBONE, ema_decay=decay),
            logging=R.LoggingRecipe(every=1, pictures=0),
            evaluation=R.EvaluationRecipe(every=2, limit=2),
            output=str(tmp_path / name),
        )

    return make


def same(a: Path, b: Path) -> bool:
    ours, theirs = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("decay", [0.2, 0.999])
def test_it_is_the_recurrence_of_its_formula(averaging, decay):
    """w' <- d w' + (1 - d) w in float64, d = min(decay, (1 + n) / (10 + n)), of weights and batch norm statistics."""
    experiment = loop.build(averaging(decay=decay), build_accelerator(averaging()))
    batches = loop.build_batches(experiment, 0)
    expected = None
    for step in range(4):
        loop.train_step(experiment, batches, step)
        now = {key: value.numpy().astype(np.float64) for key, value in experiment.bare_model.state_dict().items()}
        d = min(decay, (1 + step) / (10 + step)) if step else 0.0  # the weights before the first step don't count
        expected = now if expected is None else {key: d * expected[key] + (1 - d) * now[key] for key in now}
    ours = experiment.ema.module.state_dict()
    counters = {key for key in ours if key.endswith("num_batches_tracked")}
    for key in ours.keys() - counters:
        np.testing.assert_allclose(ours[key].numpy(), expected[key], rtol=1e-5, atol=1e-7, err_msg=key)
        assert key.endswith("running_mean") or not np.array_equal(ours[key], now[key]) or not now[key].any()
    assert {int(ours[key]) for key in counters} == {8}  # two micro-batches a step


def test_the_decay_warms_up():
    assert [warmed_up_decay(n, 0.999) for n in (0, 8, 90, 10**5)] == [0.1, 0.5, 0.91, 0.999]
    # what is left of the first weights after 500 steps; a constant decay would leave 0.607
    assert np.prod([warmed_up_decay(n, 0.999) for n in range(1, 500)]) < 1e-12


@pytest.mark.slow
def test_what_a_run_with_an_average_leaves(averaging, scenes):
    """The trained weights are those of a run without; both scores; both models; the better of them in best/."""
    plain, folder = loop.train(averaging("plain", decay=None)), loop.train(averaging())
    output = folder.parent
    assert same(plain, folder)
    assert not (plain.parent / "model_ema").exists()
    assert not same(folder, output / "model_ema")

    records = [json.loads(x) for x in (output / "metrics.jsonl").read_text().splitlines()]
    raw = {r["step"]: r["mean_iou"] for r in records if "mean_iou" in r}
    averaged = {r["step"]: r["ema_mean_iou"] for r in records if "ema_mean_iou" in r}
    assert raw.keys() == averaged.keys() == {2, 4}
    best = json.loads((output / "best/metrics.json").read_text())
    assert best["mean_iou"] == max(*raw.values(), *averaged.values())
    assert best["mean_iou"] == (raw if best["weights"] == "raw" else averaged)[best["step"]]

    metrics = json.loads((output / "model_ema/metrics.json").read_text())
    assert (metrics["step"], metrics["weights"], metrics["mean_iou"]) == (4, "ema", averaged[4])
    model = OCRNetForSemanticSegmentation.from_pretrained(output / "model_ema").eval()
    processor = OCRNetImageProcessor.from_pretrained(output / "model_ema")
    expected = MeanIoU()
    for row in data.load("street_scenes", scenes, "val").select(range(2)):
        expected.add(prediction=segment(model, processor, [row["image"]])[0], reference=np.asarray(row["label"]))
    assert expected.compute(num_labels=19)["mean_iou"] == pytest.approx(averaged[4])


@pytest.mark.slow
def test_it_resumes_exactly(averaging):
    whole = loop.train(averaging("whole")).parent
    recipe = averaging("parts")
    with stop_after(3), pytest.raises(SystemExit):
        loop.train(recipe)
    parts = loop.train(recipe, resume="last").parent
    for name in ("model", "model_ema", "best"):
        assert same(whole / name, parts / name)
        ours, theirs = (json.loads((x / name / "metrics.json").read_text()) for x in (whole, parts))
        assert (ours.pop("took", {}).get("steps"), theirs.pop("took", {}).get("steps")) in ((4, 4), (None, None))
        assert ours == theirs
    with pytest.raises(CheckpointError, match=r"model.ema_decay: 0.9 in the checkpoint, now None"):
        loop.train(averaging("parts", decay=None), resume="last")


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_a_decay_outside_0_to_1_is_refused(averaging, decay):
    with pytest.raises(ValueError, match="model.ema_decay must be above 0 and below 1, got"):
        averaging(decay=decay)


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_sharded_weights_are_not_averaged(averaging, kind):
    with pytest.raises(ValueError, match=f"model.ema_decay averages whole weights, but {kind.value} shards them"):
        set_up_sharding(SimpleNamespace(distributed_type=kind), averaging())
