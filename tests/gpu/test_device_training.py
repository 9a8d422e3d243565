"""The training loop on the device: resumed to the bit, one rank of several, losses that aren't finite."""

import copy
import json
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.tiny import TINY_BACKBONE
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel

from modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.failure import NonFiniteLoss
from modeling_ocrnet.training.loop import train

pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.fixture
def recipe(fields, scenes, tmp_path):
    """Four steps of four small street scenes."""
    heads = {"ocr_channels": 16, "key_channels": 8, "dropout": 0.5}

    def make(name: str, **changes) -> R.Recipe:
        defaults = {
            "data": R.DataRecipe("street_scenes", str(scenes), crop_size=(32, 64), scale=(128, 64), workers=0),
            "model": R.ModelRecipe("hr18s", None, heads, backbone_config=TINY_BACKBONE if fields else {}),
            "schedule": R.ScheduleRecipe(max_steps=4),
            "evaluation": R.EvaluationRecipe(every=100, limit=1),
            "checkpoint": R.CheckpointRecipe(every=2, keep_last=4),
            "logging": R.LoggingRecipe(every=1, pictures=0),
            "global_batch": 4,
            "micro_batch": 2,
            "mixed_precision": "no",
            "output": str(tmp_path / name),
        }
        return R.Recipe(**{**defaults, **changes})

    return make


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def losses(folder: str) -> list[float]:
    lines = [json.loads(x) for x in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [x["loss"] for x in lines if "loss" in x]


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(device, recipe, precision, deterministic, record_property):
    """Four steps, against the last two of them begun from the checkpoint after the second."""
    whole = weights(train(recipe("whole", mixed_precision=precision)))
    checkpoint = Path(recipe("whole").output) / "checkpoints" / "step-0000002"
    resumed = weights(train(recipe("resumed", mixed_precision=precision), resume=str(checkpoint)))
    unequal = [name for name in whole if not torch.equal(whole[name], resumed[name])]
    record_property("unequal", len(unequal))
    assert not unequal


def test_a_repeated_run_is_the_same_to_the_bit(device, recipe, deterministic):
    """Without this, a resumed run couldn't be."""
    first, second = (weights(train(recipe(name))) for name in ("first", "second"))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.05), ("fp16", 0.1)])
def test_half_precisions_learn_as_float32_does(device, recipe, precision, bound, bounded):
    """The losses of four steps. fp16, which the loop refuses on a CPU, may leave out a step to fit its scale."""
    if device.type == "cpu" and precision == "fp16":
        pytest.skip("the loop refuses fp16 on a CPU")
    model = recipe("any").model
    model.config["dropout"] = 0.0
    train(recipe("fp32", model=model))
    AcceleratorState._reset_state(reset_partial_state=True)
    train(recipe(precision, model=model, mixed_precision=precision))
    pairs = zip(losses(recipe(precision).output), losses(recipe("fp32").output), strict=True)
    bounded("losses", max(abs(a / b - 1) for a, b in pairs), bound)


def test_one_rank_is_as_good_as_none(device, network, batch, tmp_path, deterministic):
    """Three steps by DistributedDataParallel in a world of one, over the device's own backend."""
    backend = torch.distributed.get_default_backend_for_device(device)
    torch.distributed.init_process_group(backend, init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        models = [copy.deepcopy(network).to(device).train() for _ in range(2)]
        for model, called in zip(models, (models[0], DistributedDataParallel(models[1])), strict=True):
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
            for _ in range(3):
                called(**{key: x.to(device) for key, x in batch.items()}).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        plain, distributed = (x.state_dict() for x in models)
        assert [name for name in plain if not torch.equal(plain[name], distributed[name])] == []
    finally:
        torch.distributed.destroy_process_group()


def test_a_loss_that_is_not_finite_leaves_the_weights_alone(device, recipe, monkeypatch):
    """From the third step on all images are NaN: the weights are then still those that the step began with."""
    forward, seen, before = OCRNetForSemanticSegmentation.forward, [], {}

    def poisoned(self, pixel_values, labels=None, **kwargs):
        if labels is not None:
            seen.append(self)
        if len(seen) > 4:  # two micro-batches a step
            before.update(before or {name: x.detach().clone() for name, x in self.named_parameters()})
            pixel_values = pixel_values * float("nan")
        return forward(self, pixel_values, labels=labels, **kwargs)

    monkeypatch.setattr(OCRNetForSemanticSegmentation, "forward", poisoned)
    with pytest.raises(NonFiniteLoss, match="step 3"):
        train(recipe("poisoned"))
    assert seen[0].device.type == device.type
    assert [name for name, x in seen[0].named_parameters() if not torch.equal(x, before[name])] == []
    assert all(x.isfinite().all() for x in before.values())
