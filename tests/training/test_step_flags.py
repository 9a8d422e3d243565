"""Losses that aren't finite and wishes to stop: read at once, or a step later, as for a device that mustn't wait."""

import copy
import json
import re
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import DistributedType
from helpers import multiprocess
from helpers.process_state import replace_for_good
from helpers.signals import signal_process_1
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from modeling_ocrnet.common.compat import skip_step_if
from modeling_ocrnet.training import build, loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.checkpoint import find_checkpoints
from modeling_ocrnet.training.failure import NonFiniteLoss
from modeling_ocrnet.training.optimization import EMA, build_optimizer
from modeling_ocrnet.training.step_flags import StepFlags

OPTIMIZERS = ("sgd", "adamw")


def an_optimizer(name: str, layout=torch.contiguous_format) -> torch.optim.Optimizer:
    """As a recipe has it, of a few weights."""
    weights = torch.nn.ModuleDict({"backbone": torch.nn.Linear(3, 2), "head": torch.nn.Conv2d(2, 30, 3)})
    weights.to(memory_format=layout)
    for parameter in weights.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    recipe = R.Recipe(optimizer=R.OptimizerRecipe(name=name, lr=0.1, momentum=0.9, weight_decay=0.01))
    return build_optimizer(weights, recipe)


def weights_of(optimizer) -> list[torch.Tensor]:
    return [x for group in optimizer.param_groups for x in group["params"]]


def five_steps(name: str, fused: bool = True, flagged=(), left_out=()):
    """Weights and moments after five steps along gradients that differ; those of flagged steps aren't finite."""
    optimizer = an_optimizer(name)
    weights = weights_of(optimizer)
    for group in optimizer.param_groups:
        assert group["fused"]  # a CPU has the kernels
        group["fused"] = fused
    for step in (x for x in range(5) if x not in left_out):
        for weight in weights:
            weight.grad = torch.full_like(weight, torch.nan) if step in flagged else torch.sin(weight.detach() + step)
        if fused:
            skip_step_if(torch.tensor(float(step in flagged)), optimizer)
        optimizer.step()
    return [x.detach() for x in weights], optimizer.state_dict()["state"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fused_kernel_computes_what_the_loop_does(name):
    """Within rounding."""
    torch.testing.assert_close(five_steps(name), five_steps(name, fused=False), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("step", [0, 2, 4])
def test_a_skipped_step_leaves_no_trace(name, step):
    """To the bit, in weights and moments (which the first step makes): as if the optimizer hadn't been called."""
    skipped, reference = (five_steps(name, **{x: (step,)}) for x in ("flagged", "left_out"))
    torch.testing.assert_close(skipped, reference, rtol=0, atol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_scaler_skips_a_step_whose_gradients_are_finite(name):
    """fp16's scaler decides by the gradients alone: a flagged step has one that isn't finite."""
    optimizer = an_optimizer(name)
    weights = weights_of(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    moved = []
    for flag in (1.0, 0.0, 1.0, 0.0):
        before = [x.detach().clone() for x in weights]
        optimizer.zero_grad()
        scaler.scale(sum(x.square().sum() for x in weights)).backward()
        skip_step_if(torch.tensor(flag), optimizer, scaler)
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        scaler.step(optimizer)
        scaler.update()
        moved.append(not all(map(torch.equal, before, weights)))
    assert moved == [False, True, False, True]
    assert all(x.isfinite().all() for x in weights)


def spoilt(batches, at: int):
    """Micro-batches, of which number `at` has a pixel that isn't a number in its second image."""
    for i, batch in enumerate(batches):
        if i == at:
            batch["pixel_values"][1, 0, 3, 5] = float("nan")
        yield batch


def snapshot(experiment) -> dict:
    weights = {key: x.detach().clone() for key, x in experiment.bare_model.named_parameters()}
    return {"weights": weights, "moments": copy.deepcopy(experiment.optimizer.state_dict()["state"])}


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_weights_are_as_before_a_step_that_is_not_finite(quick_recipe, deferred, name, clip_norm):
    """Two micro-batches a step, of which the second step's first one is spoilt. It's named then, or one step later."""
    options = R.OptimizerRecipe(name=name, lr=1e-3, clip_norm=clip_norm)
    recipe = quick_recipe(optimizer=options, schedule=R.ScheduleRecipe(max_steps=6))
    experiment = loop.build(recipe, loop.build_accelerator(recipe))
    assert experiment.flags.deferred is False  # on a CPU
    experiment.flags = StepFlags(experiment.accelerator, experiment.optimizer.optimizer, deferred=deferred)
    names = [x["names"] for x in loop.build_batches(experiment, 0)]
    batches = spoilt(loop.build_batches(experiment, 0), at=2)
    loop.train_step(experiment, batches, 0)
    before = snapshot(experiment)
    if deferred:
        loop.train_step(experiment, batches, 1)
        torch.testing.assert_close(snapshot(experiment), before, rtol=0, atol=0)
    said = f"the loss of step 2 is nan .*; samples: {', '.join(names[2])}. The last checkpoint is intact"
    with pytest.raises(NonFiniteLoss, match=said):
        loop.train_step(experiment, batches, 2 if deferred else 1)
    torch.testing.assert_close(snapshot(experiment), before, rtol=0, atol=0)


def defer(monkeypatch=None) -> None:
    """Let this process read flags one step later, as for a device."""
    deferred = partial(StepFlags, deferred=True)
    if monkeypatch is None:
        replace_for_good(build, "StepFlags", deferred)
    else:
        monkeypatch.setattr(build, "StepFlags", deferred)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [1, 2, 3, 4])
def test_nothing_is_kept_after_a_step_that_is_not_finite(quick_recipe, monkeypatch, bad):
    """Whether a checkpoint (every 2 steps), an evaluation (every 3) or the end comes next."""
    recipe = quick_recipe(
        schedule=R.ScheduleRecipe(max_steps=4),
        evaluation=R.EvaluationRecipe(every=3, limit=1),
        logging=R.LoggingRecipe(every=100, pictures=0),
    )
    recipe.model.ema_decay = 0.9
    build_batches = loop.build_batches
    monkeypatch.setattr(loop, "build_batches", lambda *x: spoilt(build_batches(*x), at=2 * bad - 1))
    defer(monkeypatch)
    with pytest.raises(NonFiniteLoss, match=f"the loss of step {bad} is nan"):
        loop.train(recipe)
    output = Path(recipe.output)
    assert [x.name for x in find_checkpoints(output)] == (["step-0000002"] if bad > 2 else [])
    records = [json.loads(x) for x in (output / "metrics.jsonl").read_text().splitlines()] if bad == 4 else []
    assert {x["step"] for x in records} == ({3} if bad == 4 else set())
    assert (output / "best").exists() == (bad == 4)
    for file in output.rglob("*.safetensors"):
        assert all(x.isfinite().all() for x in load_file(file).values())


@pytest.mark.slow
def test_reading_later_changes_nothing_else(quick_recipe, monkeypatch, tmp_path):
    """The same weights and average, to the bit."""
    results = {}
    for name in ("at once", "later"):
        recipe = quick_recipe(schedule=R.ScheduleRecipe(max_steps=4), output=str(tmp_path / name))
        recipe.model.ema_decay = 0.9
        if name == "later":
            defer(monkeypatch)
        model = loop.train(recipe)
        results[name] = [load_file(model.parent / x / "model.safetensors") for x in ("model", "model_ema")]
    torch.testing.assert_close(results["later"], results["at once"], rtol=0, atol=0)


def spoil_process_1(recipe, deferred: bool, target: Path) -> None:
    """Three steps, of which process 1 has a second one that isn't finite; what each process has and says."""
    accelerator = loop.build_accelerator(recipe)
    experiment = loop.build(recipe, accelerator)
    experiment.flags = StepFlags(accelerator, experiment.optimizer.optimizer, deferred=deferred)
    rank = accelerator.process_index
    batches = spoilt(loop.build_batches(experiment, 0), at=1 if rank == 1 else -1)
    found, step = {"unchanged": []}, 0
    try:
        for step in range(3):
            before = snapshot(experiment)["weights"]
            loop.train_step(experiment, batches, step)
            after = snapshot(experiment)["weights"]
            found["unchanged"].append(all(torch.equal(before[key], after[key]) for key in before))
    except NonFiniteLoss as error:
        found |= {"said": str(error), "at": step}
    found["finite"] = all(x.isfinite().all().item() for x in experiment.bare_model.parameters())
    target.with_name(f"{rank}.json").write_text(json.dumps(found))


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("deferred", [False, True])
def test_all_processes_stop_where_one_has_a_loss_that_is_not_finite(quick_recipe, tmp_path, deferred):
    recipe = quick_recipe(schedule=R.ScheduleRecipe(max_steps=3))
    with multiprocess.Ranks(tmp_path, spoil_process_1, recipe, deferred, tmp_path / "x", world=2) as run:
        assert run.exit_codes() == [0, 0], run.text()
    ours, theirs = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert ours == theirs
    assert re.match(r"the loss of step 2 is nan \(OCR nan, auxiliary nan\); samples: \w+, \w+\. The last", ours["said"])
    assert ours["at"] == (2 if deferred else 1)
    assert ours["unchanged"] == ([False, True] if deferred else [False])
    assert ours["finite"]


def defer_and_signal_process_1(during: int) -> None:
    defer()
    signal_process_1(signal.SIGTERM, during)


@pytest.mark.slow
@pytest.mark.distributed
def test_all_processes_stop_at_most_two_steps_after_a_signal(quick_recipe, tmp_path):
    """After the same one, with one checkpoint, from which they go on."""
    recipe = quick_recipe(checkpoint=R.CheckpointRecipe(every=1000))
    before = partial(defer_and_signal_process_1, 2)  # in step 3
    with multiprocess.train(tmp_path / "a", recipe, before=before, world=2) as run:
        assert run.exit_codes() == [143, 143], run.text()
    (path,) = find_checkpoints(Path(recipe.output))
    assert 3 <= int(path.name.removeprefix("step-")) <= 5
    assert f"stopped by another process after step {int(path.name[5:])}: go on with" in run.last_line()


def test_sharded_optimizers_are_read_at_once():
    """DeepSpeed before its backward pass, in which it changes the weights."""
    for kind, before in ((DistributedType.FSDP, False), (DistributedType.DEEPSPEED, True)):
        accelerator = SimpleNamespace(distributed_type=kind, num_processes=2, device=torch.device("cpu"))
        flags = StepFlags(accelerator, torch.optim.SGD([torch.zeros(1)], lr=0.1, fused=True))
        assert (flags.deferred, flags.before_backward) == (False, before)


def test_an_optimizer_keeps_its_kernel(quick_recipe):
    """Also with the state of a checkpoint that was written without, or on a device that had none."""
    recipe = quick_recipe()
    model = build.build_model(recipe, build.data.label_set("street_scenes"))
    optimizer = build.build_optimizer(model, recipe)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["fused"] = None
    optimizer.load_state_dict(state)
    assert {group["fused"] for group in optimizer.param_groups} == {True}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_have_their_parameters_strides(name):
    """Fused kernels would take one element's moment for another's: here, as a checkpoint of contiguous tensors."""
    moved = []
    for fused in (True, False):
        optimizer = an_optimizer(name, torch.channels_last)
        for group in optimizer.param_groups:
            group["fused"] = fused
        for step in range(3):
            for weight in weights_of(optimizer):
                ascending = torch.arange(float(weight.numel())).view(weight.shape)
                weight.grad = torch.empty_like(weight).copy_(torch.sin(ascending + step))
            if step == 1:
                state = optimizer.state_dict()
                for entry in state["state"].values():
                    entry |= {key: x.contiguous() for key, x in entry.items() if x is not None}
                optimizer.load_state_dict(state)
                for group in optimizer.param_groups:
                    group["fused"] = fused
            optimizer.step()
        moved.append([x.detach() for x in weights_of(optimizer)])
    torch.testing.assert_close(*moved, rtol=1e-6, atol=1e-6)


def test_the_average_agrees_with_torchs():
    """`AveragedModel` with torch's own function, in weights, statistics and counters: at the decay of 2/11, which is
    reached at once."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ours = EMA(model, 2 / 11)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(2 / 11))
    for _ in range(3):
        model(torch.randn(5, 3))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
        ours.update_parameters(model)
        theirs.update_parameters(model)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    statistics = {key for key in ours.state_dict() if "running" in key}  # which torch's copies, unless told otherwise
    for key, value in theirs.state_dict().items():
        if key not in statistics:
            torch.testing.assert_close(ours.state_dict()[key], value, rtol=0, atol=0)
    assert len(statistics) == 2
