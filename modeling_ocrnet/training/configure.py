"""Write a recipe for a dataset and a machine, with the reason for each value: `ocrnet configure`."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass, fields, replace

from .. import data
from ..common.errors import UserError
from ..data.source import DataSource
from . import recipe_rules as rules
from .build import build_accelerator, build_data
from .choice import Choice, counted
from .commented_recipe import commented_yaml
from .data_facts import DataFacts, look_at_data
from .dry_run import RunCost
from .fitting_step import Fitting, fit, recipe_of
from .machine_facts import MachineFacts, look_at_machine
from .recipe import DataRecipe, EvaluationRecipe, Recipe
from .starting_point import StartingPoint, starting_point

logger = logging.getLogger("modeling_ocrnet.training")


@dataclass
class ConfiguredData(DataSource):
    """The data to write a recipe for."""

    split: str = "train"
    """Split to train on."""


@dataclass
class Wishes:
    """What a recipe is asked for.

    Raises:
        UserError: for numbers that can't be meant.
    """

    evaluation_split: str = "val"
    minutes: float | None = None
    memory: float | None = None
    init_from: str | None = None
    variant: str | None = None
    backbone: str | None = "auto"

    def __post_init__(self):
        for name, unit in (("minutes", "the time of the whole run"), ("memory", "gigabytes")):
            value = getattr(self, name)
            if value is not None and not 0 < value < 10**6:
                raise UserError(f"--{name} must be positive, got {value:g}: give {unit}")
        if self.init_from is not None and (self.variant is not None or self.backbone != "auto"):
            named = "variant" if self.variant is not None else "backbone"
            raise UserError(
                f"--model.init_from is given, and so is --model.{named}, which that model has: leave one of them out"
            )


@dataclass(frozen=True)
class Configured:
    """A recipe that was written: the choices by fields' names, and what they rest on."""

    choices: dict[str, Choice]
    data: DataFacts
    machine: MachineFacts
    cost: RunCost
    wishes: Wishes


def configure(source: ConfiguredData, wishes: Wishes) -> Configured:
    """Look at the data and the machine, measure a step, and choose.

    Raises:
        UserError, DataError: for what the data checks refuse, a model that can't be read, or too little memory.
    """
    of_data, train, val_images, labels = _checked(source, wishes)
    facts = look_at_data(train, val_images, labels)
    accelerator = build_accelerator(Recipe())
    machine = look_at_machine(accelerator.device, wishes.memory)
    start = starting_point(wishes, machine, facts)
    fitting = fit(
        _before_length(of_data, start, facts, machine),
        lambda edge: _sizes(edge, facts, machine),
        facts,
        machine,
        start.variant,
        wishes.minutes,
    )
    choices = in_order(_with_length(fitting, start, facts, machine, wishes))
    recipe_of(choices)  # refuses what contradicts itself
    return Configured(choices, facts, machine, fitting.cost, wishes)


def _checked(source: ConfiguredData, wishes: Wishes):
    """The data's choices, the training split, the number of images to score on, and the classes; all checked."""
    choices = {f"data.{x.name}": getattr(source, x.name) for x in fields(source)}
    defaults = DataRecipe(source.name, path=source.path)
    given = {k: Choice(v, "given") for k, v in choices.items() if v != getattr(defaults, k.removeprefix("data."))}
    found = {"data.name": Choice(source.name, "given"), **given}
    labels = data.label_set(source)
    source, split, held_out = _with_val(source, wishes.evaluation_split)
    found |= held_out
    recipe = Recipe(data=DataRecipe(**vars(source)), evaluation=EvaluationRecipe(split=split))
    train, val = build_data(recipe, build_accelerator(recipe), labels)
    return found, train, len(val), labels


def _with_val(source: ConfiguredData, split: str) -> tuple[ConfiguredData, str, dict[str, Choice]]:
    """The source with images to score on, and the choices that say where they come from. A folder that has no split for
    them holds a fifth out, more if it has few, and scores on the one that it trains on if it has one."""
    asked = {"evaluation.split": Choice(split, "given")} if split != "val" else {}
    try:
        data.load(source, split=split)
    except data.DataError:
        if source.name != "folder" or source.val_share is not None or (source.split, split) != ("train", "val"):
            raise
    else:
        return source, split, asked
    for share in (0.2, 0.35, 0.5):
        try:
            held_out = replace(source, val_share=share)
            for name in ("train", "val"):
                data.load(held_out, split=name)
        except data.DataError as error:
            problem = error
            continue
        why = "there is no split val: images are held out by their names. Frames of one video resemble each other: "
        return held_out, split, {"data.val_share": Choice(share, f"{why}then make the splits yourself")}
    if "leaves none" not in str(problem):
        raise problem
    only = "all the images there are: too few to hold some out"
    known = "scores are of the images that were trained on, and say nothing of others"
    try:
        data.load(source, split="train")  # a folder whose only split is called so
    except data.DataError:
        choices = {"data.split": Choice("all", only), "evaluation.split": Choice("all", known)}
        return replace(source, split="all"), "all", choices
    return source, "train", {"evaluation.split": Choice("train", f"{only}: {known}")}


def _before_length(
    of_data: dict[str, Choice], start: StartingPoint, facts: DataFacts, machine: MachineFacts
) -> dict[str, Choice]:
    """The choices that don't depend on how long a step takes, in the recipe's order."""
    weights, dropout = rules.class_weights(start.kind, facts), rules.dropout(facts)
    loss = {
        "losses": rules.losses(facts),
        "auxiliary_losses": Choice({"cross_entropy": 1.0}, "of the head that finds the regions, as published"),
        "class_weights": weights,
        "dropout": dropout,
        "auxiliary_dropout": dropout,
        **(rules.heads(start.kind, machine) if start.hrnet else {}),
    }
    found: dict[str, Choice | None] = {
        **of_data,
        **_sizes(rules.short_edge(facts, machine), facts, machine),
        "data.ratio_range": rules.ratio_range(start.kind, facts, machine),
        "data.flip_probability": rules.flip_probability(facts),
        "data.workers": rules.workers(machine),
        "sampler.name": rules.sampler(facts),
        **start.choices,
        "model.freeze": rules.freeze(start.kind, facts) if start.hrnet else None,
        **{f"model.config.{name}": choice for name, choice in loss.items()},
        "evaluation.resize": Choice(True, "to data.scale: as in training"),
        "global_batch": rules.global_batch(start.kind, facts, machine),
        "mixed_precision": rules.precision(machine),
    }
    return {name: choice for name, choice in found.items() if choice is not None}


def _sizes(edge: Choice, facts: DataFacts, machine: MachineFacts) -> dict[str, Choice]:
    """Scale, crop and window for a short edge."""
    long = round(edge.value * max(4, 2 * facts.aspect, 2 / facts.aspect))
    window = rules.window(facts, edge.value, machine)
    return {
        "data.scale": Choice([long, edge.value], f"a short edge of {edge.value} pixels: {edge.why}"),
        "data.crop_size": rules.crop_size(facts, edge.value, machine),
        **({} if window is None else {"evaluation.inference.window": window}),
    }


def _with_length(
    fitting: Fitting, start: StartingPoint, facts: DataFacts, machine: MachineFacts, wishes: Wishes
) -> dict[str, Choice]:
    """All choices: those that were measured, and those that follow from the length of a step."""
    cost, batch = fitting.cost, fitting.choices["global_batch"].value
    length = rules.max_steps(facts, batch, cost, wishes.minutes)
    steps = length.value
    optimizer = rules.optimizer(start.kind, start.published, facts, batch, steps)
    found: dict[str, Choice | None] = {
        **fitting.choices,
        "model.ema_decay": rules.ema_decay(steps),
        **{f"optimizer.{name}": choice for name, choice in optimizer.items()},
        "optimizer.lr_multipliers": rules.lr_multipliers(start.kind),
        "schedule.max_steps": length,
        "schedule.warmup_steps": rules.warmup_steps(steps),
        "schedule.min_lr": rules.min_lr(optimizer["name"].value),
        "evaluation.every": rules.evaluation_every(cost, steps),
        "evaluation.limit": rules.evaluation_limit(cost, wishes.minutes),
        **rules.kept(cost, steps),
    }
    return {name: choice for name, choice in found.items() if choice is not None}


def in_order(choices: dict[str, Choice]) -> dict[str, Choice]:
    """Choices in the recipe's order of groups, and in each group the fields before the groups inside it."""
    groups = [x.name for x in fields(Recipe)]

    def place(name: str) -> tuple:
        inner = name.split(".")[1:-1]
        return groups.index(name.split(".")[0]), len(inner), inner

    return {name: choices[name] for name in sorted(choices, key=place)}


def as_text(found: Configured, file: str) -> str:
    """The recipe's YAML, for a file of this name."""
    return commented_yaml(_head(found, file), found.choices)


def _head(found: Configured, file: str) -> list[str]:
    facts, machine, cost, minutes = found.data, found.machine, found.cost, found.wishes.minutes
    name = shlex.quote(file) if file.isprintable() else "RECIPE"  # a comment has one line
    train = f"ocrnet train --config {name}" + ("" if minutes is None else f" --minutes {minutes:g}")
    span = f"{facts.width} x {facts.height}" + (
        "" if facts.sizes == 1 else f" in the median, sides from {facts.smallest} to {facts.largest}"
    )
    memory = f"{machine.memory:.1f} GB {'given' if machine.given else 'free'}"
    return [
        "A recipe that ocrnet configure wrote. Each value has its reason beside it; change what you know better.",
        "",
        f"  {train} --check    # tries everything out",
        f"  {train}",
        "",
        f"Looked at: {counted(facts.images, 'image')} to train on; {counted(facts.read, 'mask')} of them, evenly "
        f"spaced ({span}): classes, objects, sizes. The machine: {machine.device}, {counted(machine.cores, 'core')}, "
        f"{memory}. Measured: a step, {cost.step:.2g} s and {cost.peak_memory:.1f} GB; one of "
        f"{counted(facts.val_images, 'image')} to score on, {cost.image:.2g} s.",
        "Not looked at: scores (nothing was trained to choose), what the images show, whether the masks are right "
        "(ocrnet data inspect shows them), and whether images to score on resemble those to train on.",
        *_warnings(found),
    ]


def _warnings(found: Configured) -> list[str]:
    facts = found.data
    absent = [name for name, share in zip(facts.names, facts.shares, strict=True) if not share]
    lines = []
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        lines.append(f"No pixel of {', '.join(absent[:5])}{more} was found: such classes aren't learnt.")
    if facts.images < 10:
        lines.append(f"{counted(facts.images, 'image')}: expect what is learnt to fit so few, and not others.")
    return ["", *lines] if lines else []
