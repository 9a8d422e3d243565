"""Tecorigin's SDAA cards, as Accelerate knows them, on the stand-ins of tests/sdaa: one in Python whose tensors stay on
the CPU, and a compiled one whose tensors are on `sdaa:N`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.utils.backend_registration
from accelerate.state import AcceleratorState
from accelerate.utils import imports
from helpers import multiprocess
from helpers.process_state import replace_for_good
from helpers.signals import stop_after
from helpers.skipping import skip_if
from helpers.stand_in_device import build as build_device
from safetensors.torch import load_file

from modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.to_device import can_pin

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SDAA = ROOT / "tests" / "sdaa"


def test_two_cards_through_the_launcher(quick_recipe, tmp_path):
    """The project's own configuration; Accelerate finds the cards, and trains and saves with two processes."""
    recipe = quick_recipe(
        schedule=R.ScheduleRecipe(max_steps=2), evaluation=R.EvaluationRecipe(every=2, limit=2), micro_batch=1
    )
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0", "--num_processes", "2"]
    launch += ["--config_file", ROOT / "configuration/accelerate/sdaa_4.yaml", ROOT / "scripts/train.py"]
    environment = {k: v for k, v in os.environ.items() if k != "ACCELERATE_USE_CPU"} | {
        "PYTHONPATH": f"{SDAA / 'python_only'}:{SDAA}:{ROOT}",
        "ACCELERATE_TORCH_DEVICE": "cpu",
        "ACCELERATE_BYPASS_DEVICE_MAP": "true",
    }
    done = subprocess.run(
        [*launch, "--config", multiprocess.write(recipe, tmp_path), "--mixed_precision", "no"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    log = (tmp_path / "run" / "train.log").read_text()
    assert "device cpu (MULTI_SDAA), processes 2, precision no, accumulation 2" in log
    assert (tmp_path / "run" / "checkpoints" / "step-0000002").is_dir()
    OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "run" / "model")


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """Variables of a process that is to have the compiled stand-in."""
    hook = hasattr(torch.utils.backend_registration, "_DummyPrivateUse1Hook")
    skip_if(None if hook else f"torch {torch.__version__} can't register the stand-in from Python")
    library = build_device(tmp_path_factory.mktemp("sdaa"))
    if library is None:
        pytest.skip("there is no C++ compiler")
    return {"STAND_IN_SDAA_LIBRARY": str(library)}


def with_the_device(function, *arguments):
    """Called in a process of its own: what it registers can't be taken back."""
    replace_for_good(sys, "path", [str(SDAA / "compiled"), str(SDAA), *sys.path])
    imports.is_sdaa_available.cache_clear()
    import torch_sdaa  # noqa: F401

    function(*arguments)


def train_and_watch(recipes: dict, target: Path) -> None:
    """Each pair of recipes: one whole run, and one that is stopped after two steps and resumed."""
    seen = {}
    for precision, (whole, parts) in recipes.items():
        seen[precision] = {"losses": [], "inputs": [], "pins": can_pin(torch.device("sdaa"))}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "train_step", watched(loop.train_step, seen[precision]))
            loop.train(whole)
            AcceleratorState._reset_state(reset_partial_state=True)
            try:
                with stop_after(2):
                    loop.train(parts)
            except SystemExit as stopped:
                seen[precision]["exit"] = stopped.code
            AcceleratorState._reset_state(reset_partial_state=True)
            loop.train(parts, resume="last")
            AcceleratorState._reset_state(reset_partial_state=True)
    target.write_text(json.dumps(seen))


def watched(original, seen: dict):
    """`loop.train_step`, that notes where everything is."""
    known = []

    def watch(experiment, batches, step, **keywords):
        model, optimizer, scaler = experiment.bare_model, experiment.optimizer, experiment.accelerator.scaler
        if model not in known:
            known.append(model)
            model.backbone.register_forward_pre_hook(
                lambda module, given: seen["inputs"].append([module.training, str(given[0].device)])
            )
        before = model.backbone.conv1.weight.detach().clone()
        values = original(experiment, batches, step, **keywords)
        seen["losses"].append(values["loss"].item())
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        seen["trains the model"] = {id(p) for p in trained} == {id(p) for p in model.parameters()}
        seen["moved"] = not torch.equal(before, model.backbone.conv1.weight)
        seen["parameters"] = sorted({f"{p.device} {p.dtype}" for p in trained})
        seen["momenta"] = sorted({str(x.device) for s in optimizer.state.values() for x in s.values()})
        if scaler is not None:
            seen["scaler"] = [type(scaler) is torch.sdaa.amp.GradScaler, str(scaler._scale.device)]
        return values

    return watch


def test_a_card_in_all_precisions(quick_recipe, tmp_path, device):
    """Training, saving, resuming and evaluating, all on the card; resumed runs are the uninterrupted ones, but for
    rounding."""

    def recipe(precision: str, name: str) -> R.Recipe:
        return quick_recipe(
            mixed_precision=precision,
            schedule=R.ScheduleRecipe(max_steps=4),
            optimizer=R.OptimizerRecipe(lr=1e-3),
            evaluation=R.EvaluationRecipe(every=4, limit=1),
            checkpoint=R.CheckpointRecipe(every=4),
            micro_batch=4,
            output=str(tmp_path / precision / name),
        )

    recipes = {x: (recipe(x, "whole"), recipe(x, "parts")) for x in ("no", "bf16", "fp16")}
    target = tmp_path / "seen.json"
    arguments = (with_the_device, train_and_watch, recipes, target)
    with multiprocess.Ranks(tmp_path, *arguments, environment=device) as run:
        assert run.exit_codes(300) == [0], run.text()[-3000:]
    found = json.loads(target.read_text())
    for precision, seen in found.items():
        assert "device sdaa" in (tmp_path / precision / "whole" / "train.log").read_text()
        devices = {device for _, device in seen["inputs"]}
        assert len(devices) == 1
        assert devices < {"sdaa", "sdaa:0"}
        assert {training for training, _ in seen["inputs"]} == {True, False}  # evaluation too
        assert seen["trains the model"]
        assert seen["moved"]
        assert seen["parameters"] == ["sdaa:0 torch.float32"]
        assert seen["momenta"] == ["sdaa:0"]
        assert seen["pins"] is False
        assert seen["exit"] == 143
        whole, parts = (load_file(tmp_path / precision / x / "model/model.safetensors") for x in ("whole", "parts"))
        # tensors come back from a checkpoint with other strides, for which kernels round differently
        for key in whole:
            torch.testing.assert_close(parts[key], whole[key], rtol=0, atol=3e-5)
        assert seen["losses"][4:6] == seen["losses"][:2]
        assert seen["losses"][6:] == pytest.approx(seen["losses"][2:4], rel=2e-4)
    exact = found["no"]["losses"][:4]
    for precision in ("bf16", "fp16"):
        assert found[precision]["losses"][:4] != exact
        assert found[precision]["losses"][:4] == pytest.approx(exact, rel=0.05)
    assert [found[x].get("scaler") for x in ("no", "bf16")] == [None, None]
    assert found["fp16"]["scaler"] == [True, "sdaa:0"]


def test_two_cards_share_batch_norm(losses, device):
    """Where the device can synchronise batch norms, two processes train as one that has the whole batch."""
    environment = {"ACCELERATE_USE_CPU": "false", **device}
    two = losses(2, 2, False, with_the_device, multiprocess.write_losses, environment=environment)
    assert two["norm"] == "SyncBatchNorm"
    assert two["device"] == "sdaa:0"
    one = losses(1, 4, False)
    assert one["norm"] == "FastBatchNorm2d"
    # later, rounding has grown: batch norm makes an untrained network sensitive to it
    assert two["losses"][:5] == pytest.approx(one["losses"][:5], rel=1e-4)
    assert two["statistics"] == pytest.approx(one["statistics"], abs=1e-3)
