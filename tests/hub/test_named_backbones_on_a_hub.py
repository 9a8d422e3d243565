"""`model.variant` as a repository on a Hub: what is downloaded, and what is said if it can't be."""

import json
from types import SimpleNamespace

import pytest
import torch
from helpers.hub_on_loopback import Repository
from helpers.named_backbones import MEAN, save_named
from huggingface_hub.errors import GatedRepoError
from safetensors.torch import save

from modeling_ocrnet import data
from modeling_ocrnet.conversion import hub_files
from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.build import build_model, build_processor

HEADS = {"ocr_channels": 16, "key_channels": 8, "pyramid_channels": 12}
LABELS = data.label_set("street_scenes")


def recipe_of(variant, **fields):
    return R.Recipe(model=R.ModelRecipe(variant, config=HEADS, **fields))


def test_a_repository_of_transformers(hub, tmp_path):
    original, maps, _ = save_named("dinov3_vit", tmp_path)
    hub.repositories["me/a_vit"] = Repository(files={x.name: x.read_bytes() for x in tmp_path.iterdir()})
    recipe = recipe_of("me/a_vit")
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        (found,) = build_model(recipe, LABELS).eval().backbone(images).feature_maps
        torch.testing.assert_close(found, maps(original, images)[0], rtol=1e-4, atol=1e-5)
    assert list(build_processor(recipe).image_mean) == MEAN


def test_without_weights_the_config_is_enough(hub, tmp_path):
    save_named("convnext", tmp_path)
    config = {"config.json": (tmp_path / "config.json").read_bytes()}
    hub.repositories["me/a_config"] = Repository(files=config)
    assert build_model(recipe_of("me/a_config", backbone=None), LABELS).backbone.channels == [8, 16, 24, 32]


def test_a_repository_of_timm(hub):
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_convnext")
    described = {"architecture": "test_convnext", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    files = {"config.json": json.dumps(described).encode(), "model.safetensors": save(network.state_dict())}
    hub.repositories["me/a_convnext"] = hub.repositories["timm/test_convnext.r160_in1k"] = Repository(files=files)
    expected = network.stem[0].weight
    for variant, mean in (("me/a_convnext", [0.1, 0.2, 0.3]), ("timm/test_convnext.r160_in1k", [0.5] * 3)):
        recipe = recipe_of(variant)
        found = next(build_model(recipe, LABELS).backbone.parameters())
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert list(build_processor(recipe).image_mean) == mean


def test_what_is_not_there(hub):
    with pytest.raises(ValueError, match="me/nothing: no such repository on the Hub, or a private one.*hf auth login"):
        build_model(recipe_of("me/nothing"), LABELS)
    hub.repositories["me/empty"] = Repository()
    with pytest.raises(ValueError, match="me/empty: holds no config.json"):
        build_model(recipe_of("me/empty"), LABELS)


def test_a_gate_is_explained(monkeypatch):
    name = "facebook/dinov3-vits16-pretrain-lvd1689m"

    def refuse(*_):
        raise GatedRepoError("403", response=SimpleNamespace(headers={}, status_code=403, request=None))

    monkeypatch.setattr(hub_files, "hf_hub_download", refuse)
    with pytest.raises(ValueError, match=f"{name}: a gated repository: accept .*huggingface.co/{name} .*hf auth login"):
        build_model(recipe_of(name), LABELS)
