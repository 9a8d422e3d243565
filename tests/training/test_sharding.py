"""FSDP and DeepSpeed, as configuration/accelerate says: FSDP over gloo, DeepSpeed as far as it goes uninstalled."""

import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import DistributedType
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin, imports
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from helpers import multiprocess
from helpers.process_state import replace_for_good
from helpers.signals import signal_process_1
from helpers.skipping import skip_if
from safetensors.torch import load_file

from modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.sharding import set_up_sharding

ROOT = Path(__file__).parents[2]
SDAA = ROOT / "tests" / "sdaa"


def planned(name: str, plan, *options: str):
    """What accelerate's launcher makes of a configuration: `plan` of its arguments."""
    file = str(ROOT / "configuration" / "accelerate" / f"{name}.yaml")
    args, defaults, _ = _validate_launch_command(
        launch_command_parser().parse_args(["--config_file", file, *options, "train.py"])
    )
    args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    return plan(args)


def on_the_stand_in() -> None:
    """Accelerate shards on devices other than the CPU: one whose tensors are on the CPU all the same."""
    replace_for_good(sys, "path", [str(SDAA / "python_only"), str(SDAA), *sys.path])
    imports.is_sdaa_available.cache_clear()
    import torch_sdaa  # noqa: F401


def until_the_second_step() -> None:
    on_the_stand_in()
    signal_process_1(signal.SIGTERM, during=1)


@pytest.mark.slow
@pytest.mark.distributed
def test_fsdp_trains_as_one_process(quick_recipe, tmp_path):
    """Two processes share out the parameters, train, save, and resume; losses are those of plain training."""
    skip_if("torch 2.6's FSDP needs an accelerator" if torch.__version__ < "2.7" else None)
    environment = planned("fsdp", prepare_multi_gpu_env, "--num_processes", "2")
    environment = {k: v for k, v in environment.items() if k.startswith(("ACCELERATE_", "FSDP_"))}
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    environment |= {"ACCELERATE_USE_CPU": "false", "ACCELERATE_TORCH_DEVICE": "cpu"}
    environment |= {"ACCELERATE_BYPASS_DEVICE_MAP": "true"}
    losses = {}
    for name, world, variables in (("fsdp", 2, environment), ("plain", 1, {})):
        recipe = quick_recipe(
            schedule=R.ScheduleRecipe(max_steps=3),
            evaluation=R.EvaluationRecipe(every=3, limit=2),
            output=str(tmp_path / name / "run"),
        )
        common = {"world": world, "environment": variables}
        if name == "fsdp":
            with multiprocess.train(tmp_path / name, recipe, before=until_the_second_step, **common) as run:
                assert run.exit_codes() == [143, 143], run.text()[-3000:]
        before = on_the_stand_in if name == "fsdp" else None
        with multiprocess.train(tmp_path / name, recipe, "--resume", "auto", before=before, **common) as run:
            assert run.exit_codes() == [0] * world, run.text()[-3000:]
        records = [json.loads(x) for x in (tmp_path / name / "run/metrics.jsonl").read_text().splitlines()]
        losses[name] = [r["loss"] for r in records if "loss" in r]
    assert "device cpu (FSDP), processes 2" in (tmp_path / "fsdp/run/train.log").read_text()
    assert losses["fsdp"] == pytest.approx(losses["plain"], abs=1e-4)
    assert list((tmp_path / "fsdp/run/checkpoints/step-0000003").glob("pytorch_model_fsdp_0"))
    ours, plain = (load_file(tmp_path / x / "run/model/model.safetensors") for x in ("fsdp", "plain"))
    trained = dict(OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "fsdp/run/model").named_parameters())
    assert ours.keys() == plain.keys()
    for key in trained:
        torch.testing.assert_close(ours[key], plain[key], rtol=0, atol=1e-4)


def test_the_plan_for_deepspeed(tiny_recipe, monkeypatch):
    """ZeRO 2 on four processes, and what only the recipe knows."""
    _, environment = planned("deepspeed_zero2", prepare_deepspeed_cmd_env)
    assert environment["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "2"
    for key, value in environment.items():
        if key.startswith("ACCELERATE_DEEPSPEED"):
            monkeypatch.setenv(key, value)
    try:
        plugin = DeepSpeedPlugin()
    except ImportError as error:
        pytest.skip(f"accelerate's plugin needs DeepSpeed: {error}")
    accelerator = SimpleNamespace(distributed_type=DistributedType.DEEPSPEED, deepspeed_plugin=plugin, num_processes=2)
    set_up_sharding(accelerator, tiny_recipe(global_batch=16, optimizer=R.OptimizerRecipe(clip_norm=0.5)))
    found = plugin.deepspeed_config
    assert found["zero_optimization"]["stage"] == 2
    keys = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    assert [found[x] for x in keys] == [2, 4, 0.5]
