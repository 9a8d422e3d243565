"""Any backbone by recipe: `model.variant` names it, and its weights, maps and normalisation follow."""

import json

import pytest
import torch
from helpers.multiprocess import Ranks
from helpers.named_backbones import MEAN, NAMED, STD, VIT, save_named
from safetensors.torch import load_file, save_file
from transformers import SwinModel, ViTConfig

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, data
from modeling_ocrnet.conversion import backbone_maps
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_model, build_processor
from modeling_ocrnet.training.unused_parameters import freeze_unused_parameters

LABELS = data.label_set("street_scenes")
HEADS = {"ocr_channels": 16, "key_channels": 8, "pyramid_channels": 12}


def recipe_of(variant, **fields):
    config = {**HEADS, **fields.pop("config", {})}
    return R.Recipe(model=R.ModelRecipe(str(variant), config=config, **fields))


def built(variant, **fields):
    return build_model(recipe_of(variant, **fields), LABELS).eval()


@pytest.mark.parametrize("name", NAMED)
def test_its_maps_are_those_of_the_published_model(name, tmp_path):
    original, maps, stride = save_named(name, tmp_path)
    model = built(tmp_path)
    patch = stride or 32
    images = torch.randn(2, 3, 3 * patch, 2 * patch)
    with torch.no_grad():
        expected = maps(original, images)
        found = model.backbone(images).feature_maps
    assert len(found) == (1 if stride else 4)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert model.config.pyramid_stride == stride
    assert model.config.auxiliary_channels == 256
    assert model.config.ocr_in_indices == model.config.auxiliary_in_indices == [0, 1, 2, 3]


@pytest.mark.parametrize("name", NAMED)
def test_it_trains_on_images_of_any_size(name, tmp_path):
    """Every parameter that requires a gradient gets one."""
    save_named(name, tmp_path)
    model = built(tmp_path).train()
    output = model(torch.randn(2, 3, 65, 101), labels=torch.randint(0, 19, (2, 65, 101)))
    output.loss.backward()
    assert {n for n, p in model.named_parameters() if p.requires_grad != (p.grad is not None)} == set()
    with torch.no_grad():
        size = model.eval()(torch.randn(1, 3, 65, 101)).logits.shape[-2:]
    stride = model.config.pyramid_stride or 16
    if name not in ("convnext", "dinov3_convnext"):  # whose patches leave out the last columns
        assert tuple(size) == tuple(-(-4 * x // stride) for x in (65, 101))


def test_images_are_normalised_as_for_the_weights(tmp_path, caplog):
    """ImageNet's mean otherwise, and a line says so."""
    save_named("convnext", tmp_path)
    processor = build_processor(recipe_of(tmp_path))
    assert (list(processor.image_mean), list(processor.image_std)) == (MEAN, STD)
    imagenet = build_processor(R.Recipe())
    with caplog.at_level("INFO"):
        random = build_processor(recipe_of(tmp_path, backbone=None))
        (tmp_path / "preprocessor_config.json").unlink()
        unknown = build_processor(recipe_of(tmp_path))
    assert list(random.image_mean) == list(unknown.image_mean) == list(imagenet.image_mean) != MEAN
    said = [x.getMessage() for x in caplog.records if "normalised by ImageNet's mean" in x.getMessage()]
    assert [x.rpartition("because ")[2] for x in said] == ["its weights are random", "its weights say nothing of it"]


def test_an_order_of_channels_is_the_weights_own(tmp_path):
    save_named("resnet", tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_flip_channel_order": True}))
    assert build_processor(recipe_of(tmp_path)).do_flip_channel_order


def test_measuring_leaves_nothing_behind(monkeypatch):
    """BEiT keeps the index of its relative positions for all models of a process: it must have values."""
    monkeypatch.setattr(backbone_maps, "MEASURED", 272)
    monkeypatch.setattr(backbone_maps, "ODD_SIZE", (170, 300))
    fields = {key: x for key, x in VIT.items() if key != "mlp_ratio"}
    fields |= {"patch_size": 16, "use_relative_position_bias": True, "layer_norm_eps": 1e-7}
    model = built("beit", backbone=None, backbone_config=fields)
    (bias, *_) = (x for x in model.modules() if hasattr(x, "generate_relative_position_index"))
    for window in ((17, 17), (11, 19)):
        index = bias.generate_relative_position_index(window)
        assert index.device.type == "cpu"
        assert len(index[1:, 1:].unique()) == (2 * window[0] - 1) * (2 * window[1] - 1)


def test_norms_that_only_the_backbone_has_are_said(tmp_path, caplog):
    save_named("swin", tmp_path)
    with caplog.at_level("INFO"):
        built(tmp_path)
    (said,) = [x.getMessage() for x in caplog.records if "start as they are initialised" in x.getMessage()]
    assert "hidden_states_norms.stage1.weight" in said
    assert "attention" not in said


def test_weights_of_another_place(tmp_path):
    """A file, or another folder of the same architecture; the recipe's variant gives the architecture alone."""
    original, maps, _ = save_named("dinov3_vit", tmp_path / "a")
    save_named("dinov3_vit", tmp_path / "b")
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        (expected,) = maps(original, images)
        for weights in (tmp_path / "a", tmp_path / "a" / "model.safetensors"):
            (found,) = built(tmp_path / "b", backbone=str(weights)).backbone(images).feature_maps
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        (other,) = built(tmp_path / "b").backbone(images).feature_maps
    assert not torch.allclose(other, expected, atol=1e-2)


def test_a_model_type_is_an_architecture(tmp_path):
    """Its fields are the config's own."""
    fields = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
    model = built("swin", backbone=None, backbone_config=fields)
    assert model.backbone.channels == [8, 16, 32, 64]
    model = built("swin", backbone=None, backbone_config={**fields, "out_indices": [3, 4]}, config={"dropout": 0.5})
    assert (model.backbone.channels, model.config.ocr_in_indices) == ([32, 64], [0, 1])
    assert model.config.dropout == 0.5
    fields = {key: VIT[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    model = built("dinov2", backbone=None, backbone_config=fields, config={"ocr_in_indices": [0]})
    assert (model.config.ocr_in_indices, model.config.pyramid_stride) == ([0], 14)
    assert model(torch.zeros(1, 3, 28, 42)).logits.shape[-2:] == (8, 12)


def test_a_plain_backbones_map_may_be_read_as_it_is():
    fields = {key: VIT[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    one = {"pyramid_stride": None}
    model = built("dinov3_vit", backbone=None, backbone_config=fields, config=one)
    assert not hasattr(model, "feature_pyramid")
    assert model.config.ocr_in_indices == [0]
    assert model(torch.zeros(1, 3, 32, 48)).logits.shape[-2:] == (2, 3)


def test_what_no_map_depends_on_is_not_trained(tmp_path, caplog):
    """By name, as read off the architectures; and only that."""
    expected = {
        "swin": {"backbone.swin.layernorm.weight", "backbone.swin.layernorm.bias"},
        "dinov2": {"backbone.embeddings.mask_token"},
        "dinov3_vit": {"backbone.embeddings.mask_token"},
        "beit": {"backbone.beit.embeddings.mask_token"},
        "resnet": set(),
    }
    for name, frozen in expected.items():
        save_named(name, tmp_path / name)
        with caplog.at_level("INFO"):
            model = built(tmp_path / name)
        found = {n for n, p in model.named_parameters() if not p.requires_grad}
        assert found == frozen, name
        said = [x.getMessage() for x in caplog.records if "aren't trained" in x.getMessage()]
        assert len(said) == bool(frozen)
        assert all(x in said[0] for x in frozen)
        caplog.clear()
        assert freeze_unused_parameters(model) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "DENSE.weight is missing, and 0 more"),
        ("bias", "DENSE.bias is missing, and 0 more"),
        ("shape", "DENSE.weight has another shape, and 0 more"),
        ("nan", "DENSE.weight holds nan"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message, tmp_path):
    """transformers alone would start from random numbers, and log it."""
    save_named("swin", tmp_path)
    state, layer = load_file(tmp_path / "model.safetensors"), "encoder.layers.1.blocks.0.intermediate.dense"
    named = r"swin.encoder.layers.1.blocks.0.(mlp.fc1|intermediate.dense)"  # by the version of transformers
    if change == "missing":
        del state[f"{layer}.weight"]
    elif change == "bias":
        del state[f"{layer}.bias"]
    elif change == "shape":
        state[f"{layer}.weight"] = state[f"{layer}.weight"][1:].clone()
    else:
        state[f"{layer}.weight"][0] = torch.nan
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message.replace("DENSE", named)) as raised:
        built(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"variant": "swin"}, "swin is an architecture without weights: give --model.backbone null"),
        ({"variant": "swni", "backbone": None}, "'swni' is unknown .did you mean swin"),
        ({"variant": "EMPTY"}, "holds no config.json"),
        ({"variant": "OCRNET"}, "is a whole OCRNet: to start from a trained OCRNet give --model.init_from"),
        ({"variant": "hr18s", "backbone": "OCRNET"}, "is a whole OCRNet: .* --model.init_from"),
        ({"variant": "BACKBONE", "backbone": "OCRNET"}, "is a whole OCRNet: .* --model.init_from"),
        ({"variant": "BACKBONE", "backbone": "OTHER"}, "model type is 'resnet', that of model.variant 'convnext'"),
        ({"variant": "BACKBONE", "backbone": "nowhere.safetensors"}, "nowhere.safetensors: no such file or folder"),
        ({"variant": "BACKBONE", "backbone": "convnext"}, "names no weights: give a repository"),
        ({"variant": "BACKBONE", "backbone_config": {"depth": 3}}, "has depth, which ConvNextConfig doesn't have"),
        (
            {"variant": "BACKBONE", "config": {"ocr_in_indices": [7]}},
            "ocr_in_indices is .7., but .* has 4 feature maps",
        ),
        ({"variant": "BACKBONE", "config": {"ocr_in_indices": [1, 2]}}, "ocr_in_indices .1, 2. .*must be of one size"),
        ({"variant": "BACKBONE", "config": {"pyramid_stride": 16}}, "stride is 16, but the last map of .* stride 32"),
        ({"variant": "BACKBONE", "config": {"custom_backbone": "Net"}}, "custom_backbone, which is for programs"),
        (
            {"variant": "BACKBONE", "backbone_config": {"out_indices": [9]}},
            "out_indices must be valid indices",
        ),
        ({"variant": "BACKBONE", "backbone_config": {"hidden_act": "rleu"}}, "can't be a backbone here: 'rleu'"),
        ({"variant": "BACKBONE", "backbone_config": {"patch_size": 0}}, "can't be a backbone here"),
        ({"variant": "./nothing"}, "'./nothing' is unknown"),
        ({"variant": "owner/two--dashes"}, "'owner/two--dashes' is unknown"),
        ({"variant": "VIT"}, "no backbone of its model type 'vit' .it has beit, .* --model.variant timm/NAME"),
        ({"variant": "facebook/dinov2-small"}, "the Hub can't be reached and the file isn't in the local cache"),
        ({"variant": "hiera", "backbone": None}, "hiera can't segment images of any size, such as 65x101"),
        ({"variant": "swin", "backbone": None, "backbone_config": {"num_heads": [5, 5, 5, 5]}}, "can't be a backbone"),
    ],
)
def test_what_is_refused(model, message, tmp_path):
    """In one line."""
    (tmp_path / "EMPTY").mkdir()
    OCRNetConfig().save_pretrained(tmp_path / "OCRNET")
    save_named("convnext", tmp_path / "BACKBONE")
    save_named("resnet", tmp_path / "OTHER")
    ViTConfig().save_pretrained(tmp_path / "VIT")
    named = {key: str(tmp_path / x) if str(x).isupper() else x for key, x in model.items() if isinstance(x, str)}
    with pytest.raises(ValueError, match=message) as raised:
        built(**{**model, **named})
    assert "\n" not in str(raised.value)


def test_a_run_trains_over_it(tiny_recipe, tmp_path):
    """With its weights, over a pyramid; what it writes is loaded again, and so is a resumed run."""
    save_named("dinov3_vit", tmp_path / "vit")
    recipe = tiny_recipe(model=R.ModelRecipe(str(tmp_path / "vit"), config=HEADS))
    folder = loop.train(recipe)
    model = OCRNetForSemanticSegmentation.from_pretrained(folder)
    assert model.config.pyramid_stride == 16
    written = json.loads((folder / "preprocessor_config.json").read_text())
    assert (written["image_mean"], written["image_std"]) == (MEAN, STD)


@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_train_over_it(tiny_recipe, tmp_path):
    """Torch's DDP refuses parameters without a gradient: Swin has a norm after its last map."""
    save_named("swin", tmp_path / "swin")
    recipe = tiny_recipe(model=R.ModelRecipe(str(tmp_path / "swin"), config=HEADS))
    with Ranks(tmp_path, loop.train, recipe, world=2) as run:
        assert run.exit_codes() == [0, 0], run.text()
    trained = OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "run" / "model").backbone.swin
    start = SwinModel.from_pretrained(tmp_path / "swin")
    torch.testing.assert_close(trained.layernorm.weight, start.layernorm.weight, rtol=0, atol=0)
    assert not torch.equal(trained.embeddings.norm.weight, start.embeddings.norm.weight)
