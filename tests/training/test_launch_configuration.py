"""configuration/accelerate: accelerate's own loader takes each file, and it fits the recipe that its comment names."""

import re
import shlex
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configuration/accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_file_and_recipe_agree(path):
    """The command in the comment names the file itself, a recipe that exists, and makes up its global batch."""
    config = load_config_from_file(str(path))
    comment = " ".join(x[1:].strip().removesuffix("\\") for x in path.read_text().splitlines() if x.startswith("#"))
    command = re.search(r"accelerate launch .*?--config \S+\.yaml(?: --[a-z_.]+ \S+)*", comment)[0]
    launcher, script = (shlex.split(x) for x in command.split("scripts/train.py"))
    assert launcher[launcher.index("--config_file") + 1] == str(path.relative_to(ROOT))
    script[1] = str(ROOT / script[1])
    recipe, _ = parse_recipe(recipe_parser(), script)
    steps = recipe.accumulation_steps(config.num_processes)
    assert steps * config.num_processes * recipe.micro_batch == recipe.global_batch
    # one process accumulates what several share
    assert (steps == 1) == (config.num_processes > 1 or recipe.micro_batch == recipe.global_batch)


def test_what_each_machine_is():
    configs = {path.stem: load_config_from_file(str(path)) for path in FILES}
    kinds = {
        name: (x.distributed_type.value, x.num_machines, x.num_processes, x.mixed_precision)
        for name, x in configs.items()
    }
    assert kinds == {
        "cpu_1": ("NO", 1, 1, "no"),
        "cpu_2": ("MULTI_GPU", 1, 2, "no"),
        "gpu_1": ("NO", 1, 1, "no"),
        "gpu_4": ("MULTI_GPU", 1, 4, "no"),
        "multi_node": ("MULTI_GPU", 2, 8, "no"),
        "fsdp": ("FSDP", 1, 4, "bf16"),
        "deepspeed_zero2": ("DEEPSPEED", 1, 4, "no"),
        "sdaa_1": ("NO", 1, 1, "fp16"),
        "sdaa_4": ("MULTI_SDAA", 1, 4, "fp16"),
    }
    assert configs["fsdp"].fsdp_config["fsdp_version"] == 2
    assert configs["fsdp"].fsdp_config["fsdp_auto_wrap_policy"] == "NO_WRAP"
    assert configs["deepspeed_zero2"].deepspeed_config["zero_stage"] == 2
