"""Adapters of peft over OCRNet: trained, saved, loaded, merged, fused. docs/peft.md says what is to be done."""

import ast
import re
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.adapters import lora, train, trained_adapter
from helpers.tiny import freeze_statistics, tiny_config, undecided
from PIL import Image
from torch import nn
from transformers import AutoModelForSemanticSegmentation, Trainer, TrainingArguments

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor, Predictor
from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training.fast_layers import convert_for_training
from modeling_ocrnet.training.freezing import keep_batch_norms_in_eval

peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base model, whose norms' statistics are those of a batch of noise."""
    folder = tmp_path_factory.mktemp("peft") / "base"
    torch.manual_seed(0)
    model = OCRNetForSemanticSegmentation(tiny_config(num_labels=5))
    freeze_statistics(model)
    undecided(model, torch.randn(3, 32, 64)).save_pretrained(folder)
    OCRNetImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture
def load(folder):
    return lambda **fields: OCRNetForSemanticSegmentation.from_pretrained(folder, **fields)


@pytest.fixture
def batch():
    """Images whose statistics aren't those of the base model."""
    return {"pixel_values": 2 * torch.randn(2, 3, 32, 64) + 1, "labels": torch.randint(0, 5, (2, 32, 64))}


@torch.no_grad()
def logits(model, batch):
    return model.eval()(batch["pixel_values"]).logits


def buffers(model) -> dict[str, torch.Tensor]:
    """Copies of the statistics, by the names that they have without an adapter."""
    return {name.removeprefix("base_model.model."): x.clone() for name, x in model.named_buffers()}


def norms(model) -> dict[str, nn.Module]:
    return {name: x for name, x in model.named_modules() if isinstance(x, nn.BatchNorm2d)}


def test_a_loaded_adapter_is_the_trained_one(load, batch, tmp_path):
    before = buffers(load())
    adapted = trained_adapter(load(), batch)
    for name, x in buffers(adapted).items():
        assert torch.equal(x, before[name]), name
    adapted.save_pretrained(tmp_path)

    expected = logits(adapted, batch)
    assert (expected - logits(load(), batch)).abs().max() > 0.05
    assert torch.equal(logits(peft.PeftModel.from_pretrained(load(), tmp_path), batch), expected)
    assert torch.equal(logits(AutoModelForSemanticSegmentation.from_pretrained(tmp_path), batch), expected)
    by_transformers = load()
    by_transformers.load_adapter(str(tmp_path))
    assert torch.equal(logits(by_transformers, batch), expected)


def test_norms_that_learn_make_it_another_one(load, batch, tmp_path):
    """The mistake that the page warns of. It also shows that the test above can fail."""
    adapted = lora(load())
    train(adapted, batch)
    adapted.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(load(), tmp_path)
    assert (logits(loaded, batch) - logits(adapted, batch)).abs().max() > 0.05


def test_norms_may_learn_if_the_adapter_holds_them(load, batch, tmp_path):
    adapted = lora(load(), modules_to_save=["classifier", *norms(load())])
    train(adapted, batch)
    adapted.save_pretrained(tmp_path)
    loaded, expected = peft.PeftModel.from_pretrained(load(), tmp_path), logits(adapted, batch)
    assert torch.equal(logits(loaded, batch), expected)
    merged = loaded.merge_and_unload()
    assert not torch.equal(merged.backbone.bn1.running_mean, load().backbone.bn1.running_mean)
    torch.testing.assert_close(logits(merged.fuse(), batch), expected, rtol=1e-4, atol=1e-4)


def test_new_classes(load, batch, tmp_path):
    classes = {"id2label": {0: "road", 1: "pothole", 2: "sky"}, "ignore_mismatched_sizes": True}
    batch["labels"] %= 3
    adapted = trained_adapter(load(**classes), batch)
    adapted.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(load(**classes), tmp_path)
    assert logits(loaded, batch).shape[1] == 3
    assert torch.equal(logits(loaded, batch), logits(adapted, batch))


def test_merged_and_fused_it_is_the_same_within_rounding(load, batch, tmp_path):
    adapted = trained_adapter(load(), batch).double()
    batch["pixel_values"] = batch["pixel_values"].double()
    expected = logits(adapted, batch)
    merged = adapted.merge_and_unload()
    assert type(merged) is OCRNetForSemanticSegmentation
    assert merged.state_dict().keys() == load().state_dict().keys()
    torch.testing.assert_close(logits(merged, batch), expected, rtol=1e-9, atol=1e-9)
    fused = merged.fuse()
    assert norms(fused) == {}
    torch.testing.assert_close(logits(fused, batch), expected, rtol=1e-9, atol=1e-9)

    merged.save_pretrained(tmp_path)
    again = OCRNetForSemanticSegmentation.from_pretrained(tmp_path, dtype=torch.float64)
    assert torch.equal(logits(again, batch), logits(merged, batch))


def test_what_the_page_counts():
    """Weights that are trained over HR18, by the layers that are adapted."""
    page = (Path(__file__).parents[1] / "docs" / "peft.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \|.*\| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 3
    for targets, counted in rows:
        with torch.device("meta"):
            adapted = OCRNetForSemanticSegmentation(OCRNetConfig.from_variant("hr18", num_labels=19))
            whole = sum(x.numel() for x in adapted.parameters())
            adapted = lora(adapted, r=8, target_modules=ast.literal_eval(targets))
        assert adapted.get_nb_trainable_parameters()[0] / 1e6 == pytest.approx(float(counted), abs=0.005)
        assert f"({whole / 1e6:.1f} million weights)" in page


# wherever the adapter is, and of whatever kind
OTHERS = {
    "the page's": {},
    "in the backbone alone": {"target_modules": r"backbone\..*\.conv\d", "modules_to_save": None},
    "in the heads alone": {"target_modules": ["conv"], "modules_to_save": None},
}


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS)
def test_fuse_asks_for_the_merge(fields, load):
    adapted, line = lora(load(), **fields), r"^\S+ has an adapter.* merge the adapter first: model.merge_and_unload\(\)"
    for model in (adapted, adapted.get_base_model()):
        with pytest.raises(RuntimeError, match=line):
            model.fuse()
    adapted.merge_adapter()  # the weights alone: the layers are peft's still
    with pytest.raises(RuntimeError, match=line):
        adapted.fuse()
    assert adapted.merge_and_unload().fuse().is_fused


def test_fuse_asks_for_the_merge_of_other_adapters(load):
    config = peft.LoHaConfig(r=2, target_modules=["conv"])
    with pytest.raises(RuntimeError, match="merge the adapter first"):
        peft.get_peft_model(load(), config).fuse()


def test_checkpointing_and_fast_layers_change_nothing(load, batch):
    """Losses after updates, so gradients too."""
    plain = train(lora(keep_batch_norms_in_eval(load())), batch)
    assert plain[-1] < plain[0] - 0.01
    checkpointing = lora(keep_batch_norms_in_eval(load()))
    checkpointing.gradient_checkpointing_enable()
    assert train(checkpointing, batch) == plain
    enabled_before = keep_batch_norms_in_eval(load())
    enabled_before.gradient_checkpointing_enable()
    assert train(lora(enabled_before), batch) == plain
    fast = lora(keep_batch_norms_in_eval(convert_for_training(load())))
    assert train(fast, batch) == pytest.approx(plain, rel=1e-5)


def test_trainer(load, batch, tmp_path):
    rows = [{key: x[i] for key, x in batch.items()} for i in (0, 1, 0, 1)]
    adapted, before = lora(keep_batch_norms_in_eval(load())), buffers(load())
    arguments = TrainingArguments(
        str(tmp_path),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        gradient_checkpointing=True,
        max_steps=2,
        save_steps=2,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(adapted, arguments, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    loss = trainer.evaluate()["eval_loss"]
    AcceleratorState._reset_state(reset_partial_state=True)

    loaded = peft.PeftModel.from_pretrained(load(), tmp_path / "checkpoint-2").eval()
    assert torch.equal(logits(loaded, batch), logits(adapted, batch))
    with torch.no_grad():
        assert loaded(**batch).loss.item() == pytest.approx(loss, rel=1e-5)
    for name, x in buffers(adapted).items():
        assert torch.equal(x, before[name]), name


def test_transformers_own_methods(load, batch, tmp_path, monkeypatch):
    """`add_adapter`, without its question for the version of peft: newer ones than the newest were asked for."""
    monkeypatch.setattr("transformers.integrations.peft.check_peft_version", lambda **_: None)
    adapted = keep_batch_norms_in_eval(load())
    adapted.add_adapter(peft.LoraConfig(r=4, lora_alpha=8, target_modules=["conv"], modules_to_save=["classifier"]))
    train(adapted, batch)
    adapted.save_pretrained(tmp_path)
    loaded = load()
    loaded.load_adapter(str(tmp_path))
    assert torch.equal(logits(loaded, batch), logits(adapted, batch))
    with pytest.raises(RuntimeError, match="merge the adapter first"):
        loaded.fuse()
    merged = peft.PeftModel.from_pretrained(load(), tmp_path).merge_and_unload()
    torch.testing.assert_close(logits(merged, batch), logits(adapted, batch), rtol=1e-4, atol=1e-4)


def test_the_predictor_takes_a_merged_model(load, folder, batch, tmp_path):
    adapted = trained_adapter(load(), batch)
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(UserError, match="adapter: holds an adapter, not a whole model: merge it .*merge_and_unload"):
        Predictor(tmp_path / "adapter")

    processor, image = OCRNetImageProcessor.from_pretrained(folder), Image.effect_noise((64, 32), 100).convert("RGB")
    inputs = processor(image, return_tensors="pt")
    with torch.no_grad():  # no class wins everywhere
        adapted.ocr_head.classifier.bias.sub_(logits(adapted, inputs).mean((0, 2, 3)))
        outputs = adapted(**inputs)
    for part in (adapted.merge_and_unload(), processor):
        part.save_pretrained(tmp_path / "merged")
    (expected,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(32, 64)])
    label_map = torch.from_numpy(Predictor(tmp_path / "merged", precision="fp32")(image))
    assert len(expected.unique()) > 1
    assert (label_map == expected).float().mean() > 0.999
