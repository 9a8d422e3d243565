"""Recipes: the files in configuration/, the command line, and what is refused."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from transformers import DINOv3ConvNextConfig, DINOv3ViTConfig

from modeling_ocrnet import data
from modeling_ocrnet.cli.recipe_parser import parse_recipe, recipe_parser
from modeling_ocrnet.configuration_ocrnet import VARIANTS
from modeling_ocrnet.training.build import build_model
from modeling_ocrnet.training.recipe import Recipe, as_dict, differences

CONFIGURATION = Path(__file__).parents[2] / "configuration"
RECIPES = sorted(p for p in CONFIGURATION.rglob("*.yaml") if p.parent.name != "accelerate")


def parse(*argv: str) -> Recipe:
    return parse_recipe(recipe_parser(), list(argv))[0]


def test_there_are_recipes():
    names = {str(p.relative_to(CONFIGURATION).with_suffix("")) for p in RECIPES}
    schedules = {"cityscapes": (40, 80, 160), "ade20k": (80, 160), "pascal_voc": (20, 40)}
    published = {
        f"{x}/ocrnet_{v}_{k}k" for x, steps in schedules.items() for k in steps for v in ("hr18s", "hr18", "hr48")
    }
    authors = ("cityscapes", "ade20k", "lip", "pascal_context_59", "pascal_context_60", "coco_stuff_10k")
    published |= {f"{x}/ocrnet_hr48_authors" for x in authors}
    published |= {f"cityscapes/ocrnet_r101-d8_{x}" for x in ("40k", "8xb2_40k", "8xb2_80k")}
    assert names >= published | {"street_scenes/ocrnet_hr18s"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_recipe_is_short_and_valid(path):
    recipe = parse("--config", str(path))
    assert recipe.output == f"runs/{path.parent.name}/{path.stem}"
    assert recipe.data.name in (*data.DATASETS, *data.CUSTOM_DATASETS)
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    # it states what differs from the defaults, and nothing else
    defaults, stated = as_dict(Recipe()), yaml.safe_load(text)

    def repeats(stated: dict, defaults: dict, prefix: str = "") -> list[str]:
        found = []
        for key, value in stated.items():
            if isinstance(value, dict) and key not in ("config", "backbone_config", "lr_multipliers"):
                found += repeats(value, defaults[key], f"{prefix}{key}.")
            elif value == defaults[key] and prefix + key not in (
                "data.name",
                "model.variant",
                "model.backbone",
                "schedule.max_steps",
            ):
                found.append(prefix + key)
        return found

    assert repeats(stated, defaults) == []


def tiny_stand_in(stated: dict, folder: Path) -> list[str]:
    """For a recipe over a backbone on the Hub, which tests can't reach: one of its kind in a folder."""
    variant = stated.get("model", {}).get("variant") or ""
    if not variant.startswith("facebook/dinov3-"):
        return []
    kind = DINOv3ConvNextConfig if "-convnext-" in variant else DINOv3ViTConfig
    kind().save_pretrained(folder)
    return ["--model.variant", str(folder)]


PUBLISHED = [p for p in RECIPES if p.parent.name != "own"]  # the classes of own data come with it


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_recipe_describes_a_network_for_its_classes(path, tmp_path):
    """Built without memory; class weights, sizes and batches fit together."""
    local = tiny_stand_in(yaml.safe_load(path.read_text(encoding="utf-8")), tmp_path)
    recipe = parse("--config", str(path), "--model.backbone", "null", *local)
    labels = data.label_set(recipe.data.name)
    with torch.device("meta"):
        model = build_model(recipe, labels)
    assert model.ocr_head.classifier.out_channels == len(labels.names)
    assert model.config.label_ids == list(labels.ids)
    one_device = recipe.data.name in ("camvid", "street_scenes")  # small ones, for a CPU; the others ran on GPUs
    assert recipe.accumulation_steps(1 if one_device else 8 if "8xb2" in path.stem else 4) == 1
    assert {recipe.data.split, recipe.evaluation.split} <= set(data.published(recipe.data.name).splits)


@pytest.mark.parametrize("dataset", ["cityscapes", "ade20k"])
@pytest.mark.parametrize("name", ["vits16", "vitb16", "convnext-tiny", "convnext-small"])
def test_dinov3_recipes(name, dataset):
    """Gated weights of the Hub, said where they are named; layers' rates decay in transformers only."""
    steps = {"cityscapes": 40, "ade20k": 80}[dataset]
    path = CONFIGURATION / f"{dataset}/ocrnet_dinov3-{name}_{steps}k.yaml"
    recipe = parse("--config", str(path))
    assert recipe.model.variant == recipe.model.backbone == f"facebook/dinov3-{name}-pretrain-lvd1689m"
    options = recipe.optimizer
    assert (options.name, options.lr, options.weight_decay, options.decay_norms_and_biases) == (
        "adamw",
        1e-4,
        0.05,
        False,
    )
    assert (options.layer_decay is not None) == name.startswith("vit")
    assert (recipe.schedule.max_steps, recipe.schedule.warmup_steps) == (1000 * steps, 1500)
    expected = ((512, 1024), 8) if dataset == "cityscapes" else ((512, 512), 16)
    assert (recipe.data.crop_size, recipe.global_batch) == expected
    comment = " ".join(x.removeprefix("# ") for x in path.read_text(encoding="utf-8").splitlines() if x.startswith("#"))
    for said in ("Never run", "dinov3-license/", f"https://huggingface.co/{recipe.model.variant}", "hf auth login"):
        assert said in comment


@pytest.mark.parametrize("variant", ["hr18s", "hr18", "hr48"])
@pytest.mark.parametrize(
    ("dataset", "steps"), [("ade20k", 80), ("ade20k", 160), ("pascal_voc", 20), ("pascal_voc", 40)]
)
def test_ade20k_and_voc_recipes_are_mmsegmentations(variant, dataset, steps):
    """Facts of ocrnet_*_4xb4-*_{ade20k,voc12aug}-512x512: crops, scale, SGD, schedule, batch; evaluated resized."""
    recipe = parse("--config", str(CONFIGURATION / f"{dataset}/ocrnet_{variant}_{steps}k.yaml"))
    assert (recipe.data.crop_size, recipe.data.scale, recipe.global_batch) == ((512, 512), (2048, 512), 16)
    assert (recipe.schedule.max_steps, recipe.schedule.min_lr, recipe.optimizer.lr) == (steps * 1000, 1e-4, 0.01)
    assert recipe.evaluation.every == steps * 100 == recipe.checkpoint.every or steps == 20
    assert recipe.evaluation.resize
    assert recipe.data.split == ("aug" if dataset == "pascal_voc" else "train")


@pytest.mark.parametrize(
    ("dataset", "epochs", "images", "batch", "lr", "head", "decay"),
    [
        ("cityscapes", 484, 2975, 12, 0.01, 1, 5e-4),
        ("ade20k", 120, 20210, 16, 0.02, 1, 1e-4),
        ("lip", 150, 30462, 40, 0.007, 1, 5e-4),
        ("pascal_context_59", 200, 4998, 16, 0.001, 10, 1e-4),
        ("pascal_context_60", 200, 4998, 16, 0.001, 10, 1e-4),
        ("coco_stuff_10k", 110, 9000, 16, 0.001, 10, 1e-4),
    ],
)
def test_the_authors_recipes(dataset, epochs, images, batch, lr, head, decay):
    """Their epochs, as steps: epochs * images / batch."""
    recipe = parse("--config", str(CONFIGURATION / dataset / "ocrnet_hr48_authors.yaml"))
    assert recipe.global_batch == batch
    assert recipe.schedule.max_steps == pytest.approx(epochs * images / batch, rel=1e-4)
    options = recipe.optimizer
    assert (options.lr, options.head_lr_multiplier, options.weight_decay) == (lr, head, decay)
    assert recipe.model.config["align_corners"] is True


@pytest.mark.parametrize("variant", ["hr18s", "hr18", "hr48"])
@pytest.mark.parametrize("steps", [40, 80, 160])
def test_cityscapes_recipes_are_mmsegmentations(variant, steps):
    """Facts of ocrnet_*_4xb2-*_cityscapes-512x1024: crops, scale, SGD, schedule, batch, ImageNet weights."""
    recipe = parse("--config", str(CONFIGURATION / f"cityscapes/ocrnet_{variant}_{steps}k.yaml"))
    assert (recipe.model.variant, recipe.schedule.max_steps) == (variant, steps * 1000)
    assert (recipe.data.crop_size, recipe.data.scale, recipe.data.ratio_range) == (
        (512, 1024),
        (2048, 1024),
        (0.5, 2.0),
    )
    options = recipe.optimizer
    assert (options.lr, options.momentum, options.weight_decay, options.head_lr_multiplier) == (0.01, 0.9, 5e-4, 1.0)
    assert (recipe.schedule.power, recipe.schedule.min_lr, recipe.schedule.warmup_steps) == (0.9, 1e-4, 0)
    assert (recipe.global_batch, recipe.micro_batch) == (8, 2)
    weights = {"hr18s": "hrnet_w18_small_v2", "hr18": "hrnet_w18", "hr48": "hrnet_w48"}[variant]
    assert recipe.model.backbone == f"timm/{weights}.ms_in1k"


@pytest.mark.parametrize(
    ("name", "steps", "batch", "lr", "floor"),
    [("40k", 40, 8, 0.01, 1e-4), ("8xb2_40k", 40, 16, 0.02, 2e-4), ("8xb2_80k", 80, 16, 0.02, 2e-4)],
)
def test_r101_recipes_are_mmsegmentations(name, steps, batch, lr, floor):
    """Facts of ocrnet_r101-d8_{4,8}xb2-*_cityscapes-512x1024, and the size of its network."""
    recipe = parse("--config", str(CONFIGURATION / f"cityscapes/ocrnet_r101-d8_{name}.yaml"))
    assert (recipe.schedule.max_steps, recipe.schedule.min_lr, recipe.optimizer.lr) == (steps * 1000, floor, lr)
    assert (recipe.global_batch, recipe.micro_batch, recipe.data.crop_size) == (batch, 2, (512, 1024))
    recipe.model.backbone = None
    with torch.device("meta"):
        model = build_model(recipe, data.label_set("cityscapes"))
    assert sum(p.numel() for p in model.parameters()) == 55_516_294
    assert (model.config.dropout, model.config.auxiliary_dropout) == (0.1, 0.1)


def test_the_command_line_overrides_the_file_wherever_it_stands(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("schedule: {max_steps: 7}\nmodel: {config: {dropout: 0.1}}\n")
    for argv in (["--config", str(path), "--schedule.max_steps", "9"], ["--schedule.max_steps=9", f"--config={path}"]):
        recipe = parse(*argv, "--model.config.ocr_channels", "64")
        assert recipe.schedule.max_steps == 9
        assert recipe.model.config == {"dropout": 0.1, "ocr_channels": 64}
        assert recipe.output == "runs/mine"
    assert parse("--output", "elsewhere").output == "elsewhere"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--schedule.max_stpes", "3"], "max_stpes"),
        (["--optimizer.lr", "fast"], "optimizer.lr"),
        (["--global_batch", "0"], "global_batch must be positive, got 0"),
        (["--data.ratio_range", "[2, 1]"], "data.ratio_range must be two positive numbers in order"),
        (["--mixed_precision", "fp8"], "mixed_precision"),
        (["--evaluation.inference.stride", "[8, 8]"], "stride is given, but no window"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--data.path", "user/set"], "path is given, but dataset 'cityscapes' doesn't take it: it is for hub"),
        (["--data.name", "hub"], "dataset 'hub' needs a path: owner/name on the Hub, or a local folder"),
        (["--data.streaming=true"], "data.streaming is for data.name hub, not for 'cityscapes'"),
    ],
)
def test_mistakes_end_with_a_message(argv, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_unknown_keys_in_a_file_are_refused(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("schedule:\n  steps: 3\n")
    with pytest.raises(SystemExit):
        parse("--config", str(tmp_path / "bad.yaml"))
    assert "steps" in capsys.readouterr().err


def test_help_documents_every_field():
    text = re.sub(r"\s+", " ", recipe_parser().format_help())
    for name in _fields(as_dict(Recipe())):
        described = re.search(rf"--{re.escape(name)},? \S+(?: --\S+ \S+)? [A-Z](?:(?!--).){{6,}}?\. \(type: ", text)
        assert described, name


def test_help_names_every_dataset_and_variant():
    text = re.sub(r"\s+", " ", recipe_parser().format_help())
    described = {x: re.search(rf"--{x} (\S+ .*?) \(type: ", text).group(1) for x in ("data.name", "model.variant")}
    assert {
        x for x in (*data.DATASETS, *data.CUSTOM_DATASETS) if not re.search(rf"\b{x}\b", described["data.name"])
    } == set()
    assert {x for x in (*VARIANTS, "r101-d8") if not re.search(rf"\b{x}\b", described["model.variant"])} == set()


def _fields(values: dict, prefix: str = "") -> list[str]:
    names = []
    for key, value in values.items():
        names += _fields(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [prefix + key]
    return names


@pytest.mark.parametrize(("processes", "steps"), [(1, 4), (2, 2), (4, 1)])
def test_accumulation_follows_from_the_processes(processes, steps):
    assert Recipe(global_batch=8, micro_batch=2).accumulation_steps(processes) == steps


@pytest.mark.parametrize("processes", [3, 8])
def test_batches_that_do_not_fit_are_refused(processes):
    with pytest.raises(ValueError, match="a global batch of 8 can't be divided into micro-batches of 2 on"):
        Recipe(global_batch=8, micro_batch=2).accumulation_steps(processes)


def test_what_keeps_a_run_from_being_resumed():
    ours, theirs = as_dict(Recipe()), as_dict(Recipe())
    theirs["optimizer"]["lr"] = 0.02
    theirs["logging"]["every"] = 1
    theirs["data"]["workers"] = 0
    theirs["output_dir"] = "elsewhere"
    theirs["model"]["fast_layers"] = False  # rounding alone
    assert differences(ours, theirs) == ["optimizer.lr: 0.02 in the checkpoint, now 0.01"]


def test_a_renamed_field_of_the_config_is_still_read(tmp_path):
    """By its old name from a file and in a checkpoint's recipe; today's name is what is written."""
    (tmp_path / "old.yaml").write_text("model:\n  config:\n    loss_average: valid\n    dropout: 0.1\n")
    recipe = parse("--config", str(tmp_path / "old.yaml"))
    assert as_dict(recipe)["model"]["config"] == {"loss_normalizer": "valid", "dropout": 0.1}
    theirs = as_dict(recipe)
    theirs["model"]["config"] = {"loss_average": "valid", "dropout": 0.1}
    assert differences(as_dict(recipe), theirs) == []
    theirs["model"]["config"]["loss_average"] = "all"
    assert differences(as_dict(recipe), theirs) == [
        "model.config.loss_normalizer: 'all' in the checkpoint, now 'valid'"
    ]


def test_a_field_under_both_its_names_must_be_one(tmp_path, capsys):
    (tmp_path / "both.yaml").write_text("model: {config: {loss_average: valid, loss_normalizer: all}}\n")
    with pytest.raises(SystemExit):
        parse("--config", str(tmp_path / "both.yaml"))
    assert "loss_normalizer all, but its old name loss_average valid" in capsys.readouterr().err
