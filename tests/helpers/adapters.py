"""LoRA adapters of peft, which must be installed: call `pytest.importorskip("peft")` first."""

import torch

from modeling_ocrnet.training.freezing import keep_batch_norms_in_eval


def lora(model, **fields):
    """A PeftModel over the model, as docs/peft.md makes it; `fields` of LoraConfig win."""
    from peft import LoraConfig, get_peft_model

    targets = {"target_modules": ["conv1", "conv2", "conv3", "conv"], "modules_to_save": ["classifier"]}
    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 8, **targets, **fields}))


def trained_adapter(model, batch, steps=5, **fields):
    """The same after a few steps on a batch, `pixel_values` and `labels`, with the norms in eval mode."""
    adapted = lora(keep_batch_norms_in_eval(model), **fields)
    train(adapted, batch, steps)
    return adapted


def train(model, batch, steps=5) -> list[float]:
    """The losses of a few steps of SGD on what the model has to train."""
    optimizer = torch.optim.SGD([x for x in model.parameters() if x.requires_grad], lr=0.001)
    losses = []
    torch.manual_seed(0)  # dropout
    for _ in range(steps):
        model.train()  # before each step, as Trainer does
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses
