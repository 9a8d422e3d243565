"""The faster layers against the plain ones: they may differ by rounding alone. That they do run is asserted."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from helpers.tiny import TINY_BACKBONE, WIDTHS, tiny_config
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import Trainer, TrainingArguments

from modeling_ocrnet import HRNetConfig, OCRNetConfig, OCRNetForSemanticSegmentation
from modeling_ocrnet.gradient_checkpointing import enable_gradient_checkpointing
from modeling_ocrnet.heads_ocrnet import ConvNormAct
from modeling_ocrnet.loss_ocrnet import LOSSES, SegmentationLoss
from modeling_ocrnet.training.fast_layers import FAST_LAYERS, convert_for_training
from modeling_ocrnet.training.fast_layers.heads import fuse_maps, project
from modeling_ocrnet.training.fast_layers.loss import FastSegmentationLoss

CLASSES = 5


@pytest.fixture
def model():
    """As narrow as HRNet-W18 where that matters: its finest maps are packed."""
    backbone = HRNetConfig(**{**TINY_BACKBONE, "branch_channels": [18, 36, 24, 32]})
    model = OCRNetForSemanticSegmentation(tiny_config(num_labels=CLASSES, backbone_config=backbone)).train()
    for norm in (x for x in model.modules() if isinstance(x, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
    return model.to(memory_format=torch.channels_last)


@pytest.fixture
def batch():
    labels = torch.randint(0, CLASSES, (2, 256, 320))
    labels[:, :10] = 255
    pixel_values = torch.randn(2, 3, 256, 320).contiguous(memory_format=torch.channels_last)
    return {"pixel_values": pixel_values, "labels": labels}


def graph(result: torch.Tensor) -> str:
    """Names of all operations behind a result."""
    todo, seen = [result.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [x for x, _ in node.next_functions]
    return " ".join(sorted({type(x).__name__ for x in seen}))


def calls(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Filled by each forward pass: which convolutions of the heads were called, with maps of which size."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and "head" in name:
            module.register_forward_hook(lambda _, x, y, name=name: found.update({name: tuple(x[0].shape[-2:])}))
    return found


def computed(model: nn.Module, batch: dict, autocast: bool = False) -> dict[str, torch.Tensor]:
    """Loss, logits, gradients and running statistics, after a step."""
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = model(**batch)
    output.loss.backward()
    gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
    statistics = torch.cat([x.flatten() for name, x in model.named_buffers() if "running" in name])
    logits = {key: output[key].detach() for key in ("logits", "auxiliary_logits")}
    return {"loss": output.loss.detach(), **logits, "gradients": gradients, "statistics": statistics}


def exact(model: nn.Module, batch: dict) -> dict[str, torch.Tensor]:
    return computed(copy.deepcopy(model).double(), {**batch, "pixel_values": batch["pixel_values"].double()})


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    return ((found.double() - truth).norm() / truth.norm()).item()


@pytest.mark.parametrize("autocast", [False, True])
def test_a_training_step_is_as_near_to_the_exact_one_as_the_plain_layers(model, batch, autocast):
    truth, plain = exact(model, batch), computed(copy.deepcopy(model), batch, autocast)
    fast = convert_for_training(copy.deepcopy(model))
    called = calls(fast)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        operations = graph(copy.deepcopy(fast)(**batch).loss)
    assert "_PackedBatchNormBackward" in operations
    assert "_CrossEntropyInStripsBackward" in operations
    called.clear()
    found = computed(fast, batch, autocast)
    assert called["ocr_head.attention.out.conv"] == (CLASSES, 1)  # on regions, not on pixels
    assert "ocr_head.fusion.conv" not in called  # its weight is read in two parts
    for projection in ("auxiliary_head.projection.conv", "ocr_head.projection.conv"):
        assert (projection in called) != autocast  # mixed first in half precision alone
    for key, expected in truth.items():
        allowed = error(plain[key], expected)
        assert error(found[key], expected) <= 1.5 * allowed + 1e-6, key
        assert error(found[key], plain[key].double()) <= 3 * allowed + 1e-6, key
    assert [x.num_batches_tracked.item() for x in fast.modules() if isinstance(x, nn.BatchNorm2d)][0] == 1


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_in_float64_all_agree(align_corners, bias):
    """Every layer but the packed norm and the resized projection, which aren't for float64."""
    config = tiny_config(
        num_labels=CLASSES, align_corners=align_corners, attention_conv_bias=bias, input_conv_bias=bias,
        loss_normalizer="valid", class_weights=[0.5, 1, 2, 0.1, 3],
    )  # fmt: skip
    model = OCRNetForSemanticSegmentation(config).double().train()
    batch = {"pixel_values": torch.randn(2, 3, 64, 96).double(), "labels": torch.randint(0, CLASSES, (2, 64, 96))}
    expected = computed(copy.deepcopy(model), batch)
    found = computed(convert_for_training(model), batch)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-9, msg=key)


def test_only_classes_change(model):
    """Parameters stay the same objects, under the same keys; what isn't a plain layer is left alone."""
    before = dict(model.state_dict(keep_vars=True))
    modules = dict(model.named_modules())
    assert convert_for_training(model) is model
    assert all(x is before[name] for name, x in model.state_dict(keep_vars=True).items())
    assert model.state_dict().keys() == before.keys()
    assert all(x is modules[name] for name, x in model.named_modules())
    assert {type(x) for x in model.modules()} >= set(FAST_LAYERS.values())
    assert not {type(x) for x in model.modules()} & set(FAST_LAYERS)
    kinds = [type(x) for x in model.modules()]
    assert [type(x) for x in convert_for_training(model).modules()] == kinds


def test_copies_pickles_and_averages_compute_the_same(model, batch):
    fast = convert_for_training(model)
    copies = [copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)), AveragedModel(fast).module]
    expected = fast(**batch).loss
    for other in copies:
        assert [type(x) for x in other.modules()] == [type(x) for x in fast.modules()]
        assert torch.equal(other(**batch).loss, expected)


def test_what_is_saved_is_the_plain_model(model, tmp_path):
    plain, fast = copy.deepcopy(model), convert_for_training(model)
    for name, saved in (("plain", plain), ("fast", fast)):
        saved.save_pretrained(tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "plain") for p in (tmp_path / "plain").rglob("*"))
    assert sorted(p.relative_to(tmp_path / "fast") for p in (tmp_path / "fast").rglob("*")) == files
    assert all((tmp_path / "fast" / p).read_bytes() == (tmp_path / "plain" / p).read_bytes() for p in files)
    loaded = OCRNetForSemanticSegmentation.from_pretrained(tmp_path / "fast")
    assert not {type(x) for x in loaded.modules()} & set(FAST_LAYERS.values())


def test_synchronised_norms_before_and_after(model):
    count = sum(isinstance(x, nn.BatchNorm2d) for x in model.modules())
    convert = nn.SyncBatchNorm.convert_sync_batchnorm
    for converted in (
        convert(convert_for_training(copy.deepcopy(model))),
        convert_for_training(convert(copy.deepcopy(model))),
    ):
        assert sum(type(x) is nn.SyncBatchNorm for x in converted.modules()) == count
        assert converted.state_dict().keys() == model.state_dict().keys()


def test_checkpointing_changes_nothing(model, batch):
    fast = convert_for_training(model)
    recomputed = copy.deepcopy(fast)
    enable_gradient_checkpointing(recomputed)
    expected, found = computed(fast, batch), computed(recomputed, batch)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-4, atol=1e-6, msg=key)
    assert torch.equal(found["statistics"], expected["statistics"])


def test_a_copy_that_is_checkpointed_leaves_its_own_norms_alone(model, batch):
    """The statistics that a second forward pass must not move are the copy's, not the original's."""
    enable_gradient_checkpointing(model)
    plain = copy.deepcopy(model)
    plain.load_state_dict(model.state_dict())
    getattr(plain, "activation_checkpointing_disable", plain.gradient_checkpointing_disable)()
    found, expected = computed(copy.deepcopy(model), batch), computed(plain, batch)
    assert torch.equal(found["statistics"], expected["statistics"])


def test_evaluation_and_fusion_start_from_the_same_network(model, batch):
    plain, fast = copy.deepcopy(model).double().eval(), convert_for_training(copy.deepcopy(model).double()).eval()
    pixels = batch["pixel_values"].double()
    with torch.no_grad():
        expected = plain(pixels).logits
        torch.testing.assert_close(fast(pixels).logits, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(fast.fuse()(pixels).logits, expected, rtol=1e-9, atol=1e-9)


class Adapted(nn.Conv2d):
    """As adapters do it: something learned is added to a frozen layer's result."""

    def forward(self, x):
        return super().forward(x) + x.sum(1, keepdim=True)


def test_adapters_are_called():
    """In every place where a fast layer could read the convolution's weight instead."""
    model = OCRNetForSemanticSegmentation(tiny_config(num_labels=CLASSES)).train()
    for layer in [x for x in model.modules() if isinstance(x, ConvNormAct)]:
        conv = layer.conv
        layer.conv = Adapted(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
    model = model.double()
    fast = convert_for_training(copy.deepcopy(model))
    pixels = torch.randn(2, 3, 64, 96).double()
    torch.testing.assert_close(fast(pixels).logits, model(pixels).logits, rtol=1e-9, atol=1e-9)
    fast, pixels = fast.float(), pixels.float()
    called = calls(fast)
    with torch.autocast("cpu", torch.bfloat16):
        fast(pixels)
    assert {name for name in called if name.endswith(".conv")} == {
        name for name, x in fast.named_modules() if isinstance(x, Adapted)
    }


def test_the_fusion_reads_two_maps_as_if_they_were_concatenated():
    layer = ConvNormAct(tiny_config(), 12, 8, bias=True).double()
    maps = [torch.randn(2, 6, 5, 7).double() for _ in range(2)]
    expected = copy.deepcopy(layer)(torch.cat(maps, 1))
    torch.testing.assert_close(fuse_maps(layer, *maps), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_only_training_in_half_precision_mixes_before_the_resize(training, autocast):
    """Elsewhere the layer is the plain one, bit for bit; there it is no further from the exact result."""
    layer = ConvNormAct(tiny_config(), sum(WIDTHS), 16, 3).train(training)
    maps = [torch.randn(2, n, 32 // 2**i, 48 // 2**i) for i, n in enumerate(WIDTHS)]
    resized = torch.cat([F.interpolate(x, size=(32, 48), mode="bilinear", align_corners=False) for x in maps], 1)
    truth = copy.deepcopy(layer).double()(resized.double())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected, result = layer(resized), project(layer, maps, align_corners=False)
    assert torch.equal(result, expected) != (training and autocast)
    found, allowed = ((x.double() - truth).abs().mean() for x in (result, expected))
    assert found <= 1.5 * allowed


@pytest.mark.parametrize("normalizer", ["all", "valid"])
@pytest.mark.parametrize("class_weights", [None, [0.5, 1.0, 2.0, 0.1, 3.0]])
@pytest.mark.parametrize("align_corners", [False, True])
def test_strips_agree_with_torch(monkeypatch, normalizer, class_weights, align_corners):
    """Loss and gradient of logits that are brought to the labels' size, whatever the strips."""
    labels = torch.randint(0, 5, (2, 45, 64))
    labels[torch.rand(labels.shape) < 0.2] = 255
    logits = (10 * torch.randn(2, 5, 12, 16, dtype=torch.float64)).requires_grad_()
    resized = F.interpolate(logits, size=(45, 64), mode="bilinear", align_corners=align_corners)
    weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
    expected = F.cross_entropy(
        resized, labels, weight, ignore_index=255, reduction="sum" if normalizer == "all" else "mean"
    )
    if normalizer == "all":
        expected = expected / labels.numel()
    config = OCRNetConfig(
        num_labels=5, loss_normalizer=normalizer, class_weights=class_weights, align_corners=align_corners
    )
    for strip in (1, 5 * 64 * 7, 2**30):
        monkeypatch.setattr("modeling_ocrnet.training.fast_layers.loss.STRIP", strip)
        value = FastSegmentationLoss()(logits, labels, config)
        assert "Strips" in graph(value)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
        gradients = [torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (value, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)


OTHERS = [x for x in LOSSES if x != "cross_entropy"]


@pytest.mark.parametrize(
    "fields",
    [
        {"ohem_threshold": 0.7},
        {"ohem_min_kept": 10},
        {"label_smoothing": 0.1},
        *({"losses": {x: 1.0}} for x in OTHERS),
        *({"losses": {"cross_entropy": 1.0, x: 0.5}} for x in OTHERS),
    ],
)
def test_other_losses_are_the_plain_ones(fields):
    logits, labels = torch.randn(2, 5, 12, 16, requires_grad=True), torch.randint(0, 5, (2, 45, 64))
    config = OCRNetConfig(num_labels=5, **fields)
    value = FastSegmentationLoss()(logits, labels, config)
    assert "Strips" not in graph(value)
    assert torch.equal(value, SegmentationLoss()(logits, labels, config))


@pytest.mark.parametrize("losses", [{"cross_entropy": 0.5}, {"dice": 0.0, "cross_entropy": 2}])
def test_strips_know_the_weight_of_their_head(losses):
    """Each head's losses are given with the call; a weight of 0 leaves a loss out."""
    logits, labels = torch.randn(2, 5, 12, 16, requires_grad=True), torch.randint(0, 5, (2, 45, 64))
    config = OCRNetConfig(num_labels=5, losses={"dice": 1.0})
    value = FastSegmentationLoss()(logits, labels, config, losses)
    assert "Strips" in graph(value)
    torch.testing.assert_close(value, SegmentationLoss()(logits, labels, config, losses))


@pytest.mark.parametrize("losses", [{"cross_entropy": -1.0}, {"cross_entropy": 0}, {"dise": 1.0}, {}])
def test_weights_that_cannot_be_are_refused_as_by_the_plain_one(losses):
    logits, labels = torch.randn(2, 5, 12, 16), torch.randint(0, 5, (2, 45, 64))
    with pytest.raises(ValueError, match="^losses"):
        FastSegmentationLoss()(logits, labels, OCRNetConfig(num_labels=5), losses)


@pytest.mark.parametrize("change", ["class weights", "one class", "a label that is no class"])
def test_losses_that_cannot_be_are_refused_as_by_the_plain_one(change):
    """Strips would take the first of too many class weights without a word."""
    logits, labels = torch.randn(1, 1 if change == "one class" else 7, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long)
    config = OCRNetConfig(num_labels=19, class_weights=[1.0] * 19 if change == "class weights" else None)
    labels[0, 0, 0] = 7 if "label" in change else 0
    messages = {
        "class weights": "has 19 entries for logits of 7 classes",
        "one class": "train two classes",
    }
    with pytest.raises((ValueError, IndexError, RuntimeError), match=messages.get(change, "out of bounds")):
        FastSegmentationLoss()(logits, labels, config)


def test_trainer_trains_a_converted_model(tmp_path):
    model = OCRNetForSemanticSegmentation(tiny_config(num_labels=CLASSES))
    samples = [
        {"pixel_values": torch.randn(3, 32, 64), "labels": torch.randint(0, CLASSES, (32, 64))} for _ in range(4)
    ]
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=2, optim="sgd", learning_rate=0.1, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    plain, fast = copy.deepcopy(model), convert_for_training(model)
    for each in (plain, fast):
        Trainer(each, arguments, train_dataset=samples).train()
    AcceleratorState._reset_state(reset_partial_state=True)
    assert type(fast.criterion) is FastSegmentationLoss
    for (name, found), expected in zip(fast.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)
