"""The rules of `ocrnet configure`, against examples that were worked out by hand or stand in other recipes."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from modeling_ocrnet.training import recipe_rules as rules
from modeling_ocrnet.training.data_facts import DataFacts
from modeling_ocrnet.training.dry_run import RunCost
from modeling_ocrnet.training.machine_facts import MachineFacts

CPU = MachineFacts("cpu", cores=2, memory=16.0)
DEVICE = MachineFacts("xpu", cores=12, memory=16.0)
# as CamVid is: 367 frames of 480 x 360, and a pole with 0.98% of the pixels
FRAMES = DataFacts(
    names=("road", "building", "pole"),
    images=367,
    val_images=101,
    read=256,
    sizes=1,
    width=480,
    height=360,
    smallest=360,
    largest=480,
    shares=(0.60, 0.3902, 0.0098),
    thickness=(150.0, 100.0, 5.0),
    weights=(0.8, 0.9, 4.7),
)
EVEN = replace(FRAMES, shares=(0.4, 0.3, 0.3), weights=(0.9, 1.0, 1.0))
COST = RunCost(step=2.0, image=0.5, images=100, checkpoint=0, peak_memory=2.0)


def sized(width: int, height: int, thickness: float = 50.0) -> DataFacts:
    return replace(FRAMES, width=width, height=height, thickness=(200.0, 100.0, thickness))


def test_every_rule_says_why():
    """A docstring each; what a rule returns is a value with a reason, or nothing."""
    tree = ast.parse(Path(rules.__file__).read_text(encoding="utf-8"))
    found = [x for x in tree.body if isinstance(x, ast.FunctionDef) and not x.name.startswith("_")]
    assert len(found) > 20
    assert [x.name for x in found if not ast.get_docstring(x)] == []
    imported = {x.module for x in tree.body if isinstance(x, ast.ImportFrom)}
    assert not {"torch", "..data", "step_cost"} & imported  # facts in, choices out


@pytest.mark.parametrize(
    ("memory", "images", "minutes", "expected"),
    [
        (16.0, 5000, None, "hr18"),
        (80.0, 5000, None, "hr48"),
        (80.0, 5000, 60, "hr18"),
        (80.0, 200, None, "hr18"),
    ],
)
def test_the_variant_grows_with_memory_images_and_time(memory, images, minutes, expected):
    data = replace(FRAMES, images=images)
    assert rules.variant(replace(DEVICE, memory=memory), data, minutes).value == expected
    assert rules.variant(replace(CPU, memory=memory), data, minutes).value == "hr18s"


@pytest.mark.parametrize(("speed", "expected"), [(0.0, "no"), (0.3, "no"), (1.4, "no"), (3.0, "bf16")])
def test_bf16_where_it_is_faster(speed, expected):
    assert rules.precision(replace(CPU, bf16=speed)).value == expected


@pytest.mark.parametrize(
    ("machine", "data", "edge"),
    [
        (CPU, sized(480, 360), 256),
        (DEVICE, sized(2048, 1024), 512),
        (DEVICE, sized(480, 360), 360),  # never enlarged
        (CPU, sized(64, 48), 48),
        (CPU, sized(480, 360, thickness=2.4), 300),  # two of 2.4 pixels: 360 * 2 / 2.4
        (CPU, sized(480, 360, thickness=1.0), 360),  # as thick as it is
        (DEVICE, sized(20_000, 20_000, thickness=30.0), 1333),  # a car on an aerial photograph
        (DEVICE, sized(20_000, 20_000, thickness=2.0), 2048),
    ],
)
def test_the_short_edge(machine, data, edge):
    assert rules.short_edge(data, machine).value == edge


@pytest.mark.parametrize(
    ("machine", "data", "edge", "crop"),
    [
        (CPU, sized(480, 360), 240, [256, 320]),  # camvid/ocrnet_hr18s_scratch has 240 x 320; 240 / 32 is 7.5
        (CPU, sized(1000, 1000), 256, [256, 256]),
        (DEVICE, sized(1000, 1000), 512, [512, 512]),
        (DEVICE, sized(2048, 1024), 1024, [512, 1024]),  # mmsegmentation's
        (CPU, sized(128, 96), 96, [96, 128]),
        (CPU, sized(30, 20), 20, [64, 64]),
        (CPU, sized(10_000, 500), 256, [192, 384]),  # a panorama: twice as wide as high
        (CPU, sized(500, 1000), 256, [384, 192]),
    ],
)
def test_the_crop(machine, data, edge, crop):
    choice = rules.crop_size(data, edge, machine)
    assert choice.value == crop
    assert all(x % 32 == 0 for x in crop)


def test_the_crop_says_how_much_of_an_image_it_holds():
    assert rules.crop_size(sized(1000, 1000), 1024, DEVICE).why.startswith("52% of the median image")  # 736 of 1024
    assert rules.crop_size(sized(128, 96), 96, CPU).why == ("100% of the median image, which is 128 x 96 at that scale")


@pytest.mark.parametrize(
    ("possible", "thickness", "expected"),
    [
        (400, 50.0, 256),
        (225, 50.0, 192),  # the root of 225 / 400 is 3 / 4
        (1, 50.0, 128),
        (1, 4.0, 180),  # two pixels of four: half of 360
        (1, 1.0, 256),
    ],
)
def test_images_shrink_if_time_is_short(possible, thickness, expected):
    assert rules.size_in_time(possible, 256, 5, sized(480, 360, thickness)).value == expected


def test_a_rare_class_changes_sampler_and_loss():
    sampler = rules.sampler(FRAMES)
    assert (sampler.value, sampler.why) == (
        "class_uniform",
        "the rarest class, pole, has 0.98% of the pixels: below 1%",
    )
    assert rules.losses(FRAMES).value == {"cross_entropy": 1.0, "dice": 0.5}
    assert rules.sampler(EVEN).value == "shuffle"
    assert rules.losses(EVEN).value == {"cross_entropy": 1.0}
    absent = rules.sampler(replace(EVEN, shares=(0.6, 0.4, 0.0)))  # a class that no mask holds can't be drawn
    assert (absent.value, "pole" in absent.why) == ("shuffle", False)


def test_what_a_crop_shows():
    """Of a 480x360 image at a short edge of 180, which is 240x180: half of the height, and a third of the width."""
    facts = sized(480, 360)
    assert facts.resized(180) == (180, 240)
    assert facts.seen(180, (90, 80)) == pytest.approx(1 / 6)
    assert facts.seen(180, (256, 256)) == 1.0


def test_class_weights_are_of_short_runs_from_scratch():
    assert rules.class_weights("scratch", FRAMES).value == [0.8, 0.9, 4.7]
    assert rules.class_weights("scratch", replace(FRAMES, weights=(0.8, 0.9, 250.0))).value == [0.8, 0.9, 10.0]
    assert rules.class_weights("imagenet", FRAMES) is None


@pytest.mark.parametrize(
    ("names", "pairs", "expected"),
    [
        (("left arm", "right arm"), False, 0.0),
        (("left_arm", "Right-leg"), False, 0.0),
        (("left arm", "right arm"), True, 0.5),
        (("copyright", "leftover"), False, 0.5),
        (("road", "car"), False, 0.5),
    ],
)
def test_a_mirror_where_classes_have_sides(names, pairs, expected):
    assert rules.flip_probability(replace(FRAMES, names=names, flip_pairs=pairs)).value == expected


def test_few_images():
    few = replace(FRAMES, images=30)
    assert rules.freeze("imagenet", few).value == 2
    assert rules.freeze("scratch", few) is rules.freeze("imagenet", FRAMES) is rules.dropout(FRAMES) is None
    assert rules.dropout(few).value == 0.1
    assert rules.ratio_range("imagenet", few, CPU).value == [0.4, 2.5]
    assert rules.ratio_range("imagenet", FRAMES, CPU).value == [0.5, 2.0]


def test_the_batch():
    ade = replace(FRAMES, names=tuple(f"class {i}" for i in range(150)))
    assert [rules.global_batch("imagenet", x, DEVICE).value for x in (FRAMES, ade)] == [8, 16]  # as mmsegmentation's
    assert [rules.global_batch(x, FRAMES, CPU).value for x in ("scratch", "imagenet")] == [6, 4]
    assert rules.batch_norm_momentum(4) is None
    assert rules.batch_norm_momentum(2).value == 0.05


def test_the_length():
    assert rules.possible_steps(10, 2.0) == 261  # 0.9 * (600 - 20) / 2
    assert rules.max_steps(FRAMES, 6, COST, 10).value == 261
    assert rules.max_steps(replace(FRAMES, images=800), 8, COST, None).value == 4000  # own/ocrnet_hr18s
    assert rules.max_steps(replace(FRAMES, images=30), 6, COST, None).value == 500
    assert rules.max_steps(replace(FRAMES, images=10**6), 8, COST, None).value == 40_000
    assert rules.max_steps(replace(FRAMES, images=1), 6, COST, None).why.startswith(
        "3000 epochs of 1 image, about 17 min"
    )


@pytest.mark.parametrize(
    ("start", "images", "batch", "steps", "expected"),
    [
        ("scratch", 367, 6, 500, {"name": "adamw", "lr": 6e-3, "weight_decay": 1e-4, "clip_norm": 1.0}),
        ("imagenet", 367, 4, 500, {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-4, "clip_norm": 1.0}),
        ("imagenet", 367, 16, 500, {"name": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "clip_norm": 1.0}),
        ("imagenet", 100, 4, 9000, {"name": "adamw", "lr": 5e-4, "weight_decay": 1e-2, "clip_norm": 1.0}),
        ("model", 367, 8, 20_000, {"name": "sgd", "lr": 0.01}),
        ("imagenet", 367, 16, 20_000, {"name": "sgd", "lr": 0.02}),
    ],
)
def test_the_rate_is_that_of_the_recipe_it_comes_from(start, images, batch, steps, expected):
    found = rules.optimizer(start, True, replace(FRAMES, images=images), batch, steps)
    assert {name: choice.value for name, choice in found.items()} == expected
    assert rules.optimizer(start, False, FRAMES, batch, steps)["lr"].value == 1e-4


def test_the_warmup_the_floor_and_the_average():
    assert [rules.warmup_steps(x).value for x in (5, 100, 4000, 20_000)] == [5, 10, 100, 500]
    assert [rules.min_lr(x).value for x in ("sgd", "adamw")] == [1e-4, 1e-5]
    assert [rules.ema_decay(x).value for x in (500, 40_000)] == [0.99, 0.999]
    assert rules.lr_multipliers("model").value == {"backbone": 0.1}
    assert rules.lr_multipliers("imagenet") is None


@pytest.mark.parametrize("steps", [1, 30, 500, 9000])
@pytest.mark.parametrize("images", [1, 100, 10_000])
def test_evaluations_take_at_most_their_share(steps, images):
    cost = replace(COST, images=images)
    every = rules.evaluation_every(cost, steps).value
    count = -(-steps // every)
    assert 1 <= count <= 10
    assert count == 1 or count * 2 * cost.image * images <= 0.1 * steps * cost.step


def test_an_evaluation_that_would_fill_the_time_is_cut():
    assert rules.evaluation_limit(COST, None) is rules.evaluation_limit(COST, 10) is None  # 100 s of 600
    assert rules.evaluation_limit(COST, 5).value == 60  # 60 s of 300, at one second an image
    assert rules.evaluation_limit(replace(COST, image=1000.0), 1).value == 1


def test_large_images_are_segmented_in_windows():
    assert rules.window(sized(2048, 1024), 1024, DEVICE) is None
    assert rules.window(sized(20_000, 20_000), 2048, DEVICE) is None  # 4 million pixels
    assert rules.window(sized(40_000, 20_000), 2048, DEVICE).value == [1024, 1024]
    assert rules.window(sized(20_000, 40_000), 2048, CPU).value == [512, 512]


def test_checkpoints_and_workers():
    kept = {name: choice.value for name, choice in rules.kept(COST, 500).items()}
    assert kept == {"checkpoint.every": 150, "logging.every": 10}
    assert rules.kept(replace(COST, step=600.0), 500)["checkpoint.every"].value == 1
    assert rules.kept(COST, 50)["checkpoint.every"].value == 50
    assert [rules.workers(x).value for x in (CPU, DEVICE, replace(DEVICE, cores=1))] == [1, 8, 1]
