"""transformers.Trainer trains, evaluates and resumes OCRNet; compared with loops written out by hand."""

import copy

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.tiny import tiny_config
from transformers import Trainer, TrainingArguments

from modeling_ocrnet import OCRNetForSemanticSegmentation


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def model():
    return OCRNetForSemanticSegmentation(tiny_config(num_labels=5))


@pytest.fixture
def samples():
    labels = torch.randint(0, 5, (8, 32, 64))
    labels[::3, :9] = 255
    return [{"pixel_values": torch.randn(3, 32, 64), "labels": x} for x in labels]


def arguments(folder, **fields) -> TrainingArguments:
    defaults = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 3,
        "train_sampling_strategy": "sequential",
        "optim": "sgd",
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return TrainingArguments(**{**defaults, **fields})


def collate(rows) -> dict[str, torch.Tensor]:
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def test_accumulated_gradients_and_the_reported_loss(model, samples, tmp_path):
    """Two steps of two micro-batches: the loss is the micro-batches' mean, and so is the gradient."""
    by_hand = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    losses = []
    for step in range(2):
        parts = [by_hand(**collate(samples[4 * step + 2 * i :][:2])).loss / 2 for i in range(2)]
        sum(parts).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(sum(parts).item())

    trainer = Trainer(model, arguments(tmp_path, gradient_accumulation_steps=2, max_steps=2), train_dataset=samples)
    trainer.train()
    reported = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert reported == pytest.approx(losses, abs=2e-4)  # Trainer rounds what it logs
    for (name, ours), theirs in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=name)


def test_evaluation_gathers_logits_and_labels_alone(model, samples, tmp_path):
    seen = {}

    def keep(prediction):
        seen.update(logits=prediction.predictions, labels=prediction.label_ids)
        return {"accuracy": 0.5}

    trainer = Trainer(model, arguments(tmp_path), eval_dataset=samples[:6], compute_metrics=keep)
    scores = trainer.evaluate()
    model.eval()
    with torch.no_grad():
        outputs = [model(**collate(samples[i : i + 3])) for i in (0, 3)]
    assert scores["eval_loss"] == pytest.approx(np.mean([x.loss.item() for x in outputs]), rel=1e-5)
    assert scores["eval_accuracy"] == 0.5
    np.testing.assert_allclose(seen["logits"], torch.cat([x.logits for x in outputs]), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(seen["labels"], collate(samples[:6])["labels"])


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(model, samples, tmp_path):
    options = {"max_steps": 4, "optim": "adamw_torch", "learning_rate": 1e-3, "lr_scheduler_type": "linear"}
    straight, interrupted = copy.deepcopy(model), copy.deepcopy(model)
    saving = {"save_strategy": "steps", "save_steps": 2}
    Trainer(straight, arguments(tmp_path / "straight", **options, **saving), train_dataset=samples).train()

    resumed = Trainer(interrupted, arguments(tmp_path / "resumed", **options), train_dataset=samples)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-2"))
    assert resumed.state.global_step == 4
    for (name, ours), theirs in zip(interrupted.state_dict().items(), straight.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
