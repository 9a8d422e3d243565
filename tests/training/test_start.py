"""A run starts from a trained OCRNet: the same numbers for the classes that go on, and nothing by mistake."""

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
import torch
from helpers import reference
from helpers.hub_on_loopback import Repository, hub_of_this_process
from helpers.named_backbones import save_named
from helpers.signals import stop_after
from helpers.tiny import TINY_BACKBONE, tiny_config
from PIL import Image
from transformers import PreTrainedConfig

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor, Predictor, data
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.conversion.starting_model import read_starting_model
from modeling_ocrnet.data.labels import Label, LabelSet
from modeling_ocrnet.data.normalization import FIELDS, Normalization
from modeling_ocrnet.training import loop, start
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build, build_accelerator, build_config, build_model
from modeling_ocrnet.training.checkpoint import CheckpointError

THEIRS = ["sidewalk", "road", "sky"]
PIXELS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2], "do_flip_channel_order": True}


def label_set(*names) -> LabelSet:
    return LabelSet(tuple(Label(name, i, i, (i, i, i)) for i, name in enumerate(names)))


@pytest.fixture
def trained(tmp_path):
    """A model of three classes, saved with a normalisation of its own."""
    torch.manual_seed(1)
    config = tiny_config(id2label=dict(enumerate(THEIRS)), align_corners=True, dropout=0.3, class_weights=[1, 2, 3])
    model = OCRNetForSemanticSegmentation(config).eval()
    for norm in (x for x in model.modules() if isinstance(x, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 1.5)
    folder = tmp_path / "trained"
    model.save_pretrained(folder)
    OCRNetImageProcessor(**PIXELS, align_corners=True).save_pretrained(folder)
    return model, folder


def recipe_from(tiny_recipe, source, **fields) -> R.Recipe:
    return tiny_recipe(model=R.ModelRecipe(init_from=str(source), **fields))


def test_each_class_that_goes_on_has_its_old_scores(trained, tiny_recipe, caplog):
    """In the new model's eval pass, whatever the order and the other classes."""
    model, folder = trained
    labels = label_set("tree", "road", "pavement")
    recipe = recipe_from(tiny_recipe, folder, init_classes={"pavement": "sidewalk"})
    with caplog.at_level("INFO", "modeling_ocrnet.training"):
        ours = build_model(recipe, labels).eval()
    image = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(ours(image).auxiliary_logits[:, [1, 2]], model(image).auxiliary_logits[:, [1, 0]])
    new, old = (dict(x.named_parameters()) for x in (ours, model))
    for head in ("ocr_head", "auxiliary_head"):
        for name in ("weight", "bias"):
            key = f"{head}.classifier.{name}"
            assert torch.equal(new[key][[1, 2]], old[key][[1, 0]])
            assert not torch.equal(new[key][0], old[key][2]) or name == "bias"
    assert [key for key in new if "classifier" not in key and not torch.equal(new[key], old[key])] == []
    lines = [x.split() for x in caplog.text.splitlines()]
    for words in (["tree", "starts", "anew"], ["road", "continues", "road"], ["pavement", "continues", "sidewalk"]):
        assert words in lines
    assert "2 of 3 classes are continued" in caplog.text
    assert "not continued: sky" in caplog.text


def test_with_the_same_classes_the_logits_are_the_same(trained, tiny_recipe):
    model, folder = trained
    ours = build_model(recipe_from(tiny_recipe, folder), label_set("sky", "sidewalk", "road")).eval()
    image = torch.randn(1, 3, 33, 50)
    with torch.no_grad():
        torch.testing.assert_close(ours(image).logits, model(image).logits[:, [2, 0, 1]], rtol=0, atol=1e-5)
    assert ours.config.align_corners
    assert ours.config.dropout == 0.3
    assert ours.config.class_weights is None
    assert ours.config.palette == [[0] * 3, [1] * 3, [2] * 3]


def test_a_new_class_starts_from_the_seed(trained, tiny_recipe):
    def row():
        torch.manual_seed(7)
        return build_model(recipe_from(tiny_recipe, trained[1]), label_set("road", "bog")).ocr_head.classifier.weight[1]

    assert torch.equal(row(), row())
    assert 0.002 < row().std() < 0.05


@pytest.mark.parametrize("family", ["mmseg", "official"])
def test_a_foreign_file_is_read_as_the_converter_reads_it(family, tiny_recipe, tmp_path):
    """Against the original implementation's outputs. A file without names has LABEL_0, ..., which a table may name."""
    name, source = f"{family}_hrnet_ocr_tiny", tmp_path / "foreign.pth"
    torch.save(reference.foreign_state(name), source)
    recipe = recipe_from(tiny_recipe, source, init_classes={"road": "LABEL_3", "bog": "LABEL_0"})
    model = build_model(recipe, label_set("road", "sky", "bog")).eval()
    assert model.config.align_corners == (family == "official")
    expected = reference.load(name)
    with torch.no_grad():
        found = model(expected["65x101.pixel_values"]).auxiliary_logits[:, [0, 2]]
    torch.testing.assert_close(found, expected["65x101.aux_logits"][:, [3, 0]], rtol=1e-4, atol=1e-4)


def test_opensegs_pixels_are_blue_green_red(tiny_recipe, tmp_path):
    torch.save(reference.foreign_state("openseg_hrnet_ocr_tiny"), tmp_path / "foreign.pth")
    normalization = read_starting_model(str(tmp_path / "foreign.pth")).normalization
    assert normalization["do_flip_channel_order"]
    red = Normalization.of(normalization)(np.array([[[255, 0, 0]]], np.uint8))
    assert red[2].item() > 0 > red[0].item()


@pytest.mark.parametrize("given", ["config", "backbone_config"])
def test_a_value_that_contradicts_the_weights_is_an_error_that_names_both(given, trained, tiny_recipe):
    name, ours, theirs = {
        "config": ("align_corners", False, True),
        "backbone_config": ("stem_channels", 64, 8),
    }[given]
    labels, folder = label_set("road", "bog"), trained[1]
    with pytest.raises(ValueError, match=f"model.{given}.{name} is {ours!r}, but model.init_from .* has {theirs!r}"):
        build_model(recipe_from(tiny_recipe, folder, **{given: {name: ours}}), labels)
    build_model(recipe_from(tiny_recipe, folder, **{given: {name: theirs}}), labels)  # it says the same


def test_another_variant_is_an_error_that_names_both(trained, tiny_recipe, tmp_path):
    OCRNetForSemanticSegmentation(OCRNetConfig.from_variant("hr18s", ocr_channels=8, key_channels=8)).save_pretrained(
        tmp_path / "small"
    )
    labels = label_set("road", "bog")
    assert build_model(recipe_from(tiny_recipe, tmp_path / "small", variant="hr18s"), labels).config.ocr_channels == 8
    with pytest.raises(ValueError, match="model.variant is hr48, but model.init_from .*small is hr18s: leave one out"):
        build_model(recipe_from(tiny_recipe, tmp_path / "small", variant="hr48"), labels)
    with pytest.raises(ValueError, match="model.variant is hr18, but .* is an HRNet with branches 4/8/12/16"):
        build_model(recipe_from(tiny_recipe, trained[1], variant="hr18"), labels)


def test_the_variant_of_a_named_backbone_is_compared_too(tiny_recipe, tmp_path):
    """Of a repository, nothing is fetched."""
    save_named("resnet", tmp_path / "resnet")
    save_named("convnext", tmp_path / "convnext")
    heads = {"ocr_channels": 8, "key_channels": 8, "auxiliary_channels": 8}
    labels, begun = label_set("road", "bog"), tmp_path / "ocrnet"
    named = R.ModelRecipe(str(tmp_path / "resnet"), backbone=None, config=heads)
    build_model(tiny_recipe(model=named), labels).save_pretrained(begun)
    for same in (str(tmp_path / "resnet"), "resnet", "owner/name", str(tmp_path / "gone")):
        build_model(recipe_from(tiny_recipe, begun, variant=same), labels)
    build_model(recipe_from(tiny_recipe, begun, backbone_config={"out_indices": [1, 2, 3, 4]}), labels)
    with pytest.raises(ValueError, match=r"out_indices is \[4\], but model.init_from .* has \[1, 2, 3, 4\]"):
        build_model(recipe_from(tiny_recipe, begun, backbone_config={"out_indices": [4]}), labels)
    for other in (str(tmp_path / "convnext"), "convnext", "timm/convnext_tiny", "convnext_tiny.in12k", "hr18"):
        with pytest.raises(ValueError, match=f"model.variant is {other}, but model.init_from .*ocrnet is resnet"):
            build_model(recipe_from(tiny_recipe, begun, variant=other), labels)


def test_a_name_of_two_classes_is_refused_where_it_is_wanted(tmp_path):
    OCRNetForSemanticSegmentation(tiny_config(id2label={0: "road", 1: "sky", 2: "road"})).save_pretrained(tmp_path)
    begun = read_starting_model(str(tmp_path))
    assert start.continued_classes(label_set("sky", "bog"), begun, {}) == [1, None]
    for labels, table in ((label_set("road", "bog"), {}), (label_set("way", "bog"), {"way": "road"})):
        with pytest.raises(ValueError, match="has 2 classes called 'road'"):
            start.continued_classes(labels, begun, table)


def test_what_says_how_to_train_may_be_given(trained, tiny_recipe):
    given = {"dropout": 0.1, "losses": {"cross_entropy": 1.0, "lovasz": 0.5}, "class_weights": [1.0, 4.0]}
    recipe = recipe_from(tiny_recipe, trained[1], config=given, backbone_config={"batch_norm_momentum": 0.01})
    config = build_config(recipe, label_set("road", "bog"), read_starting_model(str(trained[1])))
    assert {name: getattr(config, name) for name in given} == given
    assert config.backbone_config.batch_norm_momentum == 0.01


def test_every_field_of_the_config_has_one_meaning():
    """A new field must be put into one of the groups."""
    named = {x.name for x in fields(OCRNetConfig)} - {x.name for x in fields(PreTrainedConfig)}
    groups = [start.ARCHITECTURE, start._TRAINING, start._LOSS, start._CLASSES, start._WRITTEN]
    assert sorted(x for group in groups for x in group) == sorted(named)
    assert set(start.ARCHITECTURE) == {
        "ocr_in_indices",
        "auxiliary_in_indices",
        "pyramid_stride",
        "pyramid_channels",
        "ocr_channels",
        "key_channels",
        "auxiliary_channels",
        "auxiliary_kernel_size",
        "input_conv_bias",
        "attention_conv_bias",
        "hidden_act",
        "align_corners",
        "pool_ceil_mode",
        "batch_norm_eps",
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"pavemnt": "sidewalk"}, "names 'pavemnt', but the data have no such class; e.g. pavement"),
        ({"pavement": "side walk"}, "names 'side walk', but .*trained has no such class; e.g. sidewalk"),
        ({"sidewalk": "pavement"}, "turn its pairs round"),
    ],
)
def test_a_wrong_table_is_explained(table, message, trained, tiny_recipe):
    with pytest.raises(ValueError, match=message):
        build_model(recipe_from(tiny_recipe, trained[1], init_classes=table), label_set("road", "pavement"))


def test_a_table_without_a_model_is_refused(tiny_recipe):
    with pytest.raises(ValueError, match="model.init_classes names classes of the model of model.init_from"):
        tiny_recipe(model=R.ModelRecipe(init_classes={"a": "b"}))


def test_near_names_are_pointed_out_but_not_taken(trained):
    begun = read_starting_model(str(trained[1]))
    labels = label_set("Side-Walk", "road")
    continued = start.continued_classes(labels, begun, {})
    assert continued == [None, 1]
    assert "starts anew (is it sidewalk? then give --model.init_classes)" in start.table_of_classes(
        labels, begun, continued
    )


def test_pixels_are_normalised_as_those_of_the_checkpoint(trained, tiny_recipe):
    """Training, evaluation and the saved processor, against the processor itself."""
    experiment = build(recipe_from(tiny_recipe, trained[1]), build_accelerator(tiny_recipe()))
    processor = OCRNetImageProcessor(**PIXELS)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    pixels = Normalization.of({name: getattr(experiment.processor, name) for name in FIELDS})(image)
    np.testing.assert_allclose(pixels, expected, atol=1e-5)
    for name, value in PIXELS.items():
        np.testing.assert_equal(getattr(experiment.processor, name), value)
    assert experiment.processor.align_corners


@pytest.mark.parametrize(
    "values",
    [
        {"do_rescale": False, "image_mean": [103.0, 116.0, 122.0], "image_std": [1.0, 1.0, 1.0]},
        {"do_normalize": False},
        {"image_mean": 0.5, "image_std": 0.5},
        {"image_mean": [0.5], "image_std": [0.5]},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0], "image_std": [1.0, 1.0, 1.0]},
    ],
)
def test_any_processors_normalisation_is_followed(values):
    """Against the processor itself."""
    processor = OCRNetImageProcessor(**values)
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    pixels = Normalization.of({name: getattr(processor, name) for name in FIELDS})(image)
    np.testing.assert_allclose(pixels, expected, atol=2e-4 if values.get("do_rescale") is False else 1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_mean": [0.5, 0.5]}, "image_mean is .0.5, 0.5., expected 3 numbers, or one for all"),
        ({"image_std": [0.0, 1.0, 1.0]}, "image_std is .*, expected 3 numbers, or one for all, above 0"),
        ({"rescale_factor": 0}, "rescale_factor is 0, expected a number, above 0"),
    ],
)
def test_a_normalisation_that_cannot_be_followed_is_refused(values, message, trained):
    file = trained[1] / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    with pytest.raises(UserError, match=f"{trained[1]}: its image processor's {message}"):
        read_starting_model(str(trained[1]))


def test_a_model_without_its_processor_is_named(trained, caplog):
    (trained[1] / "preprocessor_config.json").unlink()
    assert list(read_starting_model(str(trained[1])).normalization["image_mean"]) == [0.485, 0.456, 0.406]
    assert "holds no image processor: images are normalised with ImageNet's mean" in caplog.text


@pytest.mark.slow
def test_a_run_trains_resumes_and_needs_its_start_no_more(trained, tiny_recipe, tmp_path):
    model, folder = trained
    recipe = recipe_from(tiny_recipe, folder)
    whole = loop.train(recipe)
    parts = recipe_from(tiny_recipe, folder)
    parts.output = str(tmp_path / "parts")
    with stop_after(3), pytest.raises(SystemExit):
        loop.train(parts)
    shutil.rmtree(folder)
    resumed = loop.train(parts, resume="last")
    ours, theirs = (OCRNetForSemanticSegmentation.from_pretrained(x).state_dict() for x in (whole, resumed))
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    saved = OCRNetImageProcessor.from_pretrained(resumed)
    assert (list(saved.image_mean), saved.do_flip_channel_order) == (PIXELS["image_mean"], True)
    assert Predictor(str(resumed))(np.zeros((32, 64, 3), np.uint8)).shape == (32, 64)
    with pytest.raises(CheckpointError, match=r"has its own weights.*model.init_from elsewhere starts another run"):
        loop.train(recipe_from(tiny_recipe, "elsewhere"), resume="last")


@pytest.mark.slow
def test_a_resumed_run_is_evaluated_as_its_recipe_says_now(trained, tiny_recipe):
    """The normalisation is the checkpoint's; the size of the images may change."""
    recipe = recipe_from(tiny_recipe, trained[1])
    with stop_after(2), pytest.raises(SystemExit):
        loop.train(recipe)
    recipe.evaluation.resize = True
    saved = OCRNetImageProcessor.from_pretrained(loop.train(recipe, resume="last"))
    assert saved.do_resize
    assert dict(saved.size) == {"shortest_edge": 64, "longest_edge": 128}
    assert (list(saved.image_mean), saved.do_flip_channel_order) == (PIXELS["image_mean"], True)
    assert saved.align_corners


def test_an_adapter_in_the_home_folder_is_no_model(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (trained[1] / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="holds an adapter, not a whole model"):
        read_starting_model("~/trained")


def test_what_is_meant_for_another_option_is_led_there(trained, tiny_recipe, tmp_path):
    def of(source, message):
        with pytest.raises(ValueError, match=message):
            read_starting_model(str(source))

    folder = trained[1]
    trained[0].backbone.save_pretrained(tmp_path / "backbone")
    of(tmp_path / "backbone", "is a backbone without segmentation heads: give it as --model.backbone")
    of(folder / "model.safetensors", f"is one file of a model's folder: give the folder, {folder}")
    of(tmp_path / "none.pth", "no such file or folder")
    of("last", "is a value of --resume")
    of("", "model.init_from is empty: give a folder")
    run = tmp_path / "run"
    (run / "checkpoints/step-0000002").mkdir(parents=True)
    (run / "checkpoints/step-0000002/state.json").write_text("{}")
    shutil.copytree(folder, run / "model")
    of(run, f"did you mean {run / 'model'}")
    of(run / "checkpoints/step-0000002", f"give --resume .*give the model that it left, {run / 'model'}")
    (folder / "config.json").write_text(json.dumps({"model_type": "segformer"}))
    of(folder, "its model_type is 'segformer', expected an OCRNet")


def test_resume_leads_a_model_to_init_from(trained, tiny_recipe):
    folder = trained[1]
    with pytest.raises(CheckpointError, match=f"a model's weights, not a checkpoint.*--model.init_from {folder}"):
        loop.train(tiny_recipe(), resume=str(folder))
    (folder.parent / "run2/checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="give --output .*run2 --resume last"):
        loop.train(tiny_recipe(), resume=str(folder.parent / "run2"))


def test_a_backbone_that_is_a_whole_model_is_led_to_init_from(trained, tiny_recipe, tmp_path):
    torch.save(reference.foreign_state("mmseg_hrnet_ocr_tiny"), tmp_path / "foreign.pth")
    for source in (trained[1], tmp_path / "foreign.pth"):
        recipe = tiny_recipe(model=R.ModelRecipe("hr18s", str(source), backbone_config=TINY_BACKBONE))
        with pytest.raises(ValueError, match=f"--model.init_from {source}"):
            build_model(recipe, label_set("road", "bog"))


def test_init_from_replaces_the_backbone_that_a_recipe_names(trained, tiny_recipe):
    recipe = recipe_from(tiny_recipe, trained[1], backbone="nobody/there")
    assert recipe.model.backbone is None
    build_model(recipe, label_set("road", "bog"))
    assert tiny_recipe(model=R.ModelRecipe()).model.backbone == "timm/hrnet_w18.ms_in1k"


def test_a_repository_of_the_hub(trained, tiny_recipe, monkeypatch):
    model, folder = trained
    with hub_of_this_process(monkeypatch) as hub:
        hub.repositories["me/ocrnet"] = Repository(files={x.name: x.read_bytes() for x in folder.iterdir()})
        ours = build_model(recipe_from(tiny_recipe, "me/ocrnet"), label_set(*THEIRS))
    assert torch.equal(ours.ocr_head.classifier.weight, model.ocr_head.classifier.weight)


def test_weights_that_are_not_finite_are_refused(trained, tiny_recipe):
    model, folder = trained
    with torch.no_grad():
        model.ocr_head.classifier.bias[0] = float("nan")
    model.save_pretrained(folder)
    with pytest.raises(ValueError, match="ocr_head.classifier.bias holds nan"):
        build_model(recipe_from(tiny_recipe, folder), data.label_set("street_scenes"))
