"""Damaged and hostile weights, configs and training checkpoints, through everything that loads them."""

import contextlib
import json
import random
import shutil

import pytest
import torch
from accelerate import Accelerator
from helpers.corrupt_files import CONFIGS, DEEP, PICKLES, SAFETENSORS, Defect, half, pickled, png, safetensors, touch
from helpers.tiny import tiny_backbone
from safetensors.torch import load_file, save_file

from modeling_ocrnet import HRNetBackbone
from modeling_ocrnet.common.atomic_files import write_manifest
from modeling_ocrnet.conversion.imagenet_hrnet import load_imagenet_backbone
from modeling_ocrnet.conversion.loading import read_checkpoint
from modeling_ocrnet.inference.loading import load_model
from modeling_ocrnet.training.checkpoint import CheckpointError, choose_checkpoint, load_checkpoint, save_checkpoint
from modeling_ocrnet.training.recipe import Recipe
from modeling_ocrnet.training.state import TrainState


def name(defect: Defect) -> str:
    return defect.name


@pytest.mark.parametrize("entry", ["read", "convert", "backbone"])
@pytest.mark.parametrize(
    ("defect", "suffix"),
    [*((x, ".pth") for x in PICKLES), *((x, ".safetensors") for x in SAFETENSORS)],
    ids=[*(f"pickle_{x.name}" for x in PICKLES), *(f"safetensors_{x.name}" for x in SAFETENSORS)],
)
def test_weights_are_refused_by_name(entry, defect, suffix, place, script):
    path = defect.write(place.input / f"bad{suffix}", place.canary)
    place.begin()
    if entry == "convert":
        said = script("convert_checkpoint", path, "converted", code=(1,))
    else:
        with pytest.raises(ValueError, match="bad") as refused:
            read_checkpoint(path) if entry == "read" else load_imagenet_backbone(
                HRNetBackbone(tiny_backbone()), str(path)
            )
        said = str(refused.value)
    assert f"{path}: " in said
    assert "\n" not in said
    assert not (place.output / "converted").exists()


@pytest.fixture
def model(checkpoint, place):
    """A copy of a sound checkpoint, and an image for it."""
    shutil.copytree(checkpoint, place.input / "model")
    (place.input / "image.png").write_bytes(png())
    return place.input / "model"


def load(model, script):
    with pytest.raises(ValueError, match="model: ") as refused:
        load_model(str(model))
    return str(refused.value)


def predict(model, script):
    return script("predict", model, model.parent / "image.png", "--output", "results", code=(1,))


def export(model, script):
    return script("convert_checkpoint", model, "model.pth", "--to", "mmseg", code=(1,))


def loaders(defects: list[Defect]):
    """Each defect through each entry."""
    pairs = [(x, y) for x in (load, predict, export) for y in defects]
    return pytest.mark.parametrize(("entry", "defect"), pairs, ids=lambda x: getattr(x, "__name__", None) or x.name)


@loaders(CONFIGS)
def test_a_config_is_refused(entry, defect, model, place, script):
    content = defect.content(place.canary)
    fields = json.loads((model / "config.json").read_text())
    with contextlib.suppress(ValueError, TypeError, RecursionError):  # it may not be some fields, but all of the file
        content = json.dumps({**fields, **json.loads(content)}).encode()
    (model / "config.json").write_bytes(content)
    place.begin()
    said = entry(model, script)
    assert str(model) in said
    assert "\n" not in said.strip()


@loaders(SAFETENSORS)
def test_a_model_of_lying_weights_is_refused(entry, defect, model, place, script):
    defect.write(model / "model.safetensors", place.canary)
    place.begin()
    said = entry(model, script)
    assert str(model) in said
    assert "\n" not in said.strip()


@pytest.mark.parametrize("defect", PICKLES, ids=name)
def test_a_model_of_pickled_weights_is_refused(defect, model, place, script):
    """A folder without safetensors makes transformers read its pickle."""
    (model / "model.safetensors").unlink()
    defect.write(model / "pytorch_model.bin", place.canary)
    place.begin()
    assert str(model) in load(model, script)


def test_a_missing_weight_is_refused_not_drawn_at_random(model, place, script):
    state = load_file(model / "model.safetensors")
    state.pop("ocr_head.classifier.weight")
    save_file(state, model / "model.safetensors", {"format": "pt"})
    place.begin()
    assert "1 weights are missing, e.g. ocr_head.classifier.weight" in predict(model, script)


@pytest.fixture
def saved(place):
    """A checkpoint of a run: `resume(path)` goes on from it."""
    recipe = Recipe(output=str(place.input))

    def prepared():
        accelerator = Accelerator(cpu=True)
        network = torch.nn.Linear(3, 2)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        return accelerator, network, *accelerator.prepare(network, optimizer)

    accelerator, _, network, optimizer = prepared()
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    path = save_checkpoint(accelerator, recipe, place.input, TrainState(step=7))

    def resume():
        accelerator, network, *_ = prepared()
        before = {key: value.clone() for key, value in network.state_dict().items()}
        state = load_checkpoint(accelerator, recipe, choose_checkpoint("last", place.input)[0])
        return state, before, network

    return path, resume


def test_a_sound_checkpoint_resumes(saved, place):
    path, resume = saved
    expected = random.getstate(), torch.get_rng_state()
    place.begin()
    random.random(), torch.rand(1)
    state, before, network = resume()
    assert state == TrainState(step=7)
    assert not torch.equal(before["weight"], network.weight)
    torch.testing.assert_close(network.state_dict(), load_file(path / "model.safetensors"), rtol=0, atol=0)
    assert (random.getstate(), torch.get_rng_state().tolist()) == (expected[0], expected[1].tolist())


def _optimizer_of(shape) -> bytes:
    state = {k: {"momentum_buffer": torch.zeros(1).as_strided(shape, (0, 0))} for k in (0, 1)}
    group = {
        **torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9).state_dict()["param_groups"][0],
        "params": [0, 1],
    }
    return pickled({"state": state, "param_groups": [group]})


STATES = [
    Defect("no_json", "a crash while it was written", lambda _: b'{"step": '),
    Defect("empty", "a full disk", lambda _: b""),
    Defect("list", "JSON, but a list", lambda _: b"[7]"),
    Defect("deep", "more brackets than a parser's stack", lambda _: DEEP),
    Defect("no_step", "a field is gone", lambda _: b'{"best": null}'),
    Defect("text", "a word for a number", lambda _: b'{"step": "7", "best": null}'),
    Defect("backwards", "a step before the first", lambda _: b'{"step": -1, "best": null}'),
    Defect("beyond", "a step after the last", lambda _: b'{"step": 1000000000000, "best": null}'),
    Defect("best", "the best score is a word", lambda _: b'{"step": 7, "best": {"mean_iou": "good"}}'),
]
RECIPES = [
    Defect(
        "object_tag",
        "a tag that calls os.system",
        lambda c: f'a: !!python/object/apply:os.system ["touch {c}"]'.encode(),
    ),
    Defect("list", "a list", lambda _: b"- 1"),
    Defect("alias", "an alias, as bombs are made of", lambda _: b"a: &a [1]\nb: *a\n"),
    Defect("other", "another experiment", lambda _: b"seed: 99\n"),
]
GENERATORS = [
    *PICKLES,
    Defect(
        "beside",
        "a call beside the right fields",
        lambda c: pickled({"torch_manual_seed": torch.get_rng_state(), "random_state": touch(c)}),
    ),
    Defect(
        "refused",
        "a state of the wrong length",
        lambda _: pickled({"torch_manual_seed": torch.zeros(3, dtype=torch.uint8)}),
    ),
]
OPTIMIZERS = [
    *PICKLES,
    Defect("other_network", "moments of other weights", lambda _: _optimizer_of((5, 5))),
    Defect("strides", "moments that claim 10**18 numbers", lambda _: _optimizer_of((10**9, 10**9))),
]
FILES = {
    "state.json": STATES,
    "recipe.yaml": RECIPES,
    "model.safetensors": SAFETENSORS,
    "optimizer.bin": OPTIMIZERS,
    "random_states_0.pkl": GENERATORS,
}


@pytest.mark.parametrize(
    ("file", "defect"),
    [(file, defect) for file, defects in FILES.items() for defect in defects],
    ids=lambda x: x if isinstance(x, str) else x.name,
)
@pytest.mark.parametrize("checksums", ["kept", "forged"])
def test_a_damaged_checkpoint_isnt_resumed_from(file, defect, checksums, saved, place):
    """By its checksums, or, where whoever changed it wrote new ones, by what it holds."""
    path, resume = saved
    assert (path / file).is_file()
    defect.write(path / file, place.canary)
    if checksums == "forged":
        write_manifest(path)
    place.begin()
    with pytest.raises((CheckpointError, ValueError)) as refused:
        resume()
    assert str(path) in str(refused.value)
    assert isinstance(refused.value, CheckpointError) or (file, checksums) == ("recipe.yaml", "forged")
    assert ("different checksum" in str(refused.value) or " bytes, its" in str(refused.value)) == (checksums == "kept")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("checksums", ["kept", "forged"])
def test_a_file_that_is_gone_is_said(file, checksums, saved, place):
    path, resume = saved
    (path / file).unlink()
    if checksums == "forged":
        write_manifest(path)
    place.begin()
    with pytest.raises((CheckpointError, OSError)) as refused:
        resume()
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("defect", PICKLES, ids=name)
def test_a_pickle_for_the_weights_isnt_run(defect, saved, place):
    """Where model.safetensors is gone, Accelerate reads pytorch_model.bin."""
    path, resume = saved
    (path / "model.safetensors").unlink()
    defect.write(path / "pytorch_model.bin", place.canary)
    write_manifest(path)
    place.begin()
    with pytest.raises(CheckpointError, match="can't be resumed from"):
        resume()


def test_the_lies_are_lies(place):
    """The same writers without a lie give files that are read."""
    place.begin()
    entry = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    (place.output / "x.safetensors").write_bytes(safetensors(entry, bytes(16)))
    (place.output / "x.pth").write_bytes(pickled({"a": torch.zeros(2, 2)}))
    for suffix in ("safetensors", "pth"):
        torch.testing.assert_close(read_checkpoint(place.output / f"x.{suffix}").state["a"], torch.zeros(2, 2))
    assert len(half(b"1234")) == 2
