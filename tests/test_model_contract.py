"""What transformers asks of every model, beside what tests/test_model.py has."""

import pytest
import torch
from helpers.skipping import skip_if
from helpers.tiny import WIDTHS, tiny_backbone, tiny_config
from transformers import AutoBackbone

from modeling_ocrnet import HRNetConfig, OCRNetConfig, OCRNetForSemanticSegmentation
from modeling_ocrnet.common.compat import compile_problem

BRANCHES = ["branch1", "branch2", "branch3", "branch4"]


@pytest.fixture
def model():
    model = OCRNetForSemanticSegmentation(tiny_config(num_labels=5)).eval()
    for module in model.modules():  # statistics as after training: with zeros and ones much would look equal
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture
def pixel_values():
    return torch.randn(3, 3, 64, 96)


def flat(values) -> list[torch.Tensor]:
    return [y for x in values for y in (flat(x) if isinstance(x, (tuple, list)) else [x])]


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("options", [{}, {"output_hidden_states": True}, {"output_regions": True}])
def test_the_tuple_is_the_dict_in_order(model, pixel_values, labels, options):
    inputs = {"pixel_values": pixel_values, "labels": torch.randint(0, 5, (3, 64, 96)) if labels else None, **options}
    with torch.no_grad():
        output, plain = model(**inputs), model(**inputs, return_dict=False)
    named, unnamed = flat(output.values()), flat(plain)
    assert len(named) == len(unnamed)
    assert all(torch.equal(a, b) for a, b in zip(named, unnamed, strict=True))


@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_saving_keeps_every_number(model, pixel_values, tmp_path, shard):
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors.index.json").is_file() == (shard == "20KB")
    loaded, info = OCRNetForSemanticSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert {key: list(found) for key, found in info.items() if found} == {}
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    with torch.no_grad():
        assert torch.equal(loaded(pixel_values).logits, model(pixel_values).logits)


def test_missing_weights_are_initialised_as_new_ones_are(model, tmp_path):
    """Loading makes the model on the meta device: what the file lacks gets `_init_weights`, the rest the file's."""
    model.save_pretrained(tmp_path)
    loaded = OCRNetForSemanticSegmentation.from_pretrained(tmp_path, num_labels=150, ignore_mismatched_sizes=True)
    for head in (loaded.auxiliary_head, loaded.ocr_head):
        weight = head.classifier.weight
        assert weight.shape[0] == 150
        assert weight.std().item() == pytest.approx(0.01, rel=0.15)
        assert (head.classifier.bias == 0).all()
    kept = [name for name in model.state_dict() if ".classifier." not in name]
    assert all(torch.equal(loaded.state_dict()[name], model.state_dict()[name]) for name in kept)


def test_initialisation_through_the_meta_device(pixel_values):
    """With no weights at all nothing stays uninitialised: constants and spreads are those of the constructor."""
    ours = OCRNetForSemanticSegmentation.from_pretrained(None, config=tiny_config(num_labels=5), state_dict={})
    theirs = OCRNetForSemanticSegmentation(tiny_config(num_labels=5))
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert a.device.type == "cpu", name
        if a.dtype.is_floating_point and b.numel() >= 256 and b.std() > 0:
            assert a.std().item() == pytest.approx(b.std().item(), rel=0.35), name
        elif not a.dtype.is_floating_point or b.std(correction=0) == 0:
            assert torch.equal(a, b), name
    assert ours.eval()(pixel_values).logits.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_precision_is_kept_in_files(model, tmp_path, dtype):
    model.to(dtype).save_pretrained(tmp_path)
    assert OCRNetConfig.from_pretrained(tmp_path).dtype == dtype
    for asked, expected in (("auto", dtype), (torch.float32, torch.float32), (dtype, dtype)):
        loaded = OCRNetForSemanticSegmentation.from_pretrained(tmp_path, dtype=asked)
        assert {x.dtype for x in loaded.state_dict().values() if x.is_floating_point()} == {expected}
        weight = loaded.ocr_head.classifier.weight
        assert torch.equal(weight.to(dtype), model.ocr_head.classifier.weight)


def test_images_of_a_batch_dont_see_each_other(model, pixel_values):
    """The regions are means over pixels: of one image, not of the batch."""
    with torch.no_grad():
        together = model(pixel_values, output_regions=True)
        for i in range(3):
            alone = model(pixel_values[i : i + 1], output_regions=True)
            for name in ("logits", "auxiliary_logits", "region_representations", "region_attention"):
                torch.testing.assert_close(alone[name][0], together[name][i], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_compiled_it_computes_the_same(model, pixel_values):
    skip_if(compile_problem())
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(pixel_values).logits, model(pixel_values).logits, rtol=1e-4, atol=1e-5)
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"out_features": ["branch1", "branch3"]}, [0, 2]),
        ({"out_indices": [1, 3]}, [1, 3]),
        ({"out_indices": [-1]}, [3]),
        ({"out_features": ["branch2"], "out_indices": [1]}, [1]),
    ],
)
def test_the_backbone_puts_out_what_is_asked(pixel_values, asked, expected):
    saved = tiny_backbone(**asked).to_dict()
    settings = HRNetConfig(**{key: value for key, value in saved.items() if key != "model_type"})
    backbone = AutoBackbone.from_config(settings).eval()
    names = [BRANCHES[i] for i in expected]
    assert backbone.stage_names == BRANCHES
    assert list(backbone.out_features) == names
    assert [i % 4 for i in backbone.out_indices] == expected
    assert backbone.channels == [WIDTHS[i] for i in expected]
    with torch.no_grad():
        output = backbone(pixel_values)
        plain = backbone(pixel_values, return_dict=False)
    strided = [(3, width, 16 // 2**i, 24 // 2**i) for i, width in enumerate(WIDTHS)]
    assert [tuple(x.shape) for x in output.feature_maps] == [strided[i] for i in expected]
    assert all(torch.equal(a, b) for a, b in zip(plain[0], output.feature_maps, strict=True))


def test_one_branch_is_the_same_whatever_else_is_asked(pixel_values):
    everything = AutoBackbone.from_config(tiny_backbone()).eval()
    last = AutoBackbone.from_config(tiny_backbone(out_features=["branch4"])).eval()
    last.load_state_dict(everything.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(last(pixel_values).feature_maps[0], everything(pixel_values).feature_maps[3])


@pytest.mark.parametrize("asked", [{"out_features": ["branch5"]}, {"out_indices": [4]}])
def test_branches_that_arent_there_are_refused(asked):
    with pytest.raises(ValueError, match="out_(features|indices)"):
        tiny_backbone(**asked)
