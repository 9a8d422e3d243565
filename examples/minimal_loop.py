"""A plain training loop around the model alone: its config and its class, torch and accelerate.

    python examples/minimal_loop.py --steps 40 --output runs/minimal
    accelerate launch examples/minimal_loop.py --mixed_precision bf16

The images are noise with a bright rectangle, which is class 1. Replace `Rectangles` by a dataset of your own that
returns the same two tensors.
"""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader, Dataset

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation


class Rectangles(Dataset):
    """Normalised images, (3, size, size), and labels, (size, size) int64; 255 would mean "not labelled"."""

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        labels = torch.zeros(self.size, self.size, dtype=torch.int64)
        top, left = torch.randint(0, self.size // 2, (2,), generator=generator).tolist()
        labels[top : top + self.size // 2, left : left + self.size // 2] = 1
        return {"pixel_values": torch.randn(3, self.size, self.size, generator=generator) + labels, "labels": labels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--mixed_precision", choices=["no", "fp16", "bf16"])
    parser.add_argument("--output", default="runs/minimal")
    options = parser.parse_args()

    accelerator = Accelerator(mixed_precision=options.mixed_precision)
    set_seed(0)
    config = OCRNetConfig.from_variant("hr18s", num_labels=2, ocr_channels=64, key_channels=32)
    model = OCRNetForSemanticSegmentation(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(Rectangles(options.images, options.size), options.batch, shuffle=True, drop_last=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    model.train()
    step = 0
    while step < options.steps:
        for batch in loader:
            loss = model(**batch).loss  # of the OCR head, plus 0.4 times that of the auxiliary head
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            accelerator.print(f"step {step}  loss {loss.item():.4f}")
            if step == options.steps:
                break

    accelerator.wait_for_everyone()
    model = accelerator.unwrap_model(model)
    model.save_pretrained(options.output, is_main_process=accelerator.is_main_process)  # for from_pretrained


if __name__ == "__main__":
    main()
