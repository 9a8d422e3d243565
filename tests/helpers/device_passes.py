"""What a device computes, as numbers to compare."""

import copy

import torch

CLASSES = 19


def relative_error(found, truth) -> float:
    """||found - truth|| / ||truth|| of a tensor, or of a list of them together."""
    found, truth = (x if isinstance(x, list) else [x] for x in (found, truth))
    found, truth = (torch.cat([x.detach().cpu().double().flatten() for x in y]) for y in (found, truth))
    return ((found - truth).norm() / truth.norm()).item()


def training_pass(model, batch, device, dtype=torch.float32, autocast=None, channels_last=False) -> dict:
    """Outputs, gradients and running statistics of one forward and backward pass of a copy of the model."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    model = copy.deepcopy(model).to(device, dtype, memory_format=form).train()
    pixels = batch["pixel_values"].to(device, dtype, memory_format=form)
    with torch.autocast(device.type, autocast, enabled=autocast is not None):
        output = model(pixels, labels=batch["labels"].to(device))
    output.loss.backward()
    return {
        "logits": output.logits,
        "auxiliary_logits": output.auxiliary_logits,
        "loss": output.loss,
        "gradients": [x.grad for x in model.parameters()],
        "statistics": [x for x in model.buffers() if x.is_floating_point()],
    }
