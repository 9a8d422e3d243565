"""Train with `transformers.Trainer`, on street scenes that are drawn first, and score the validation split.

    python examples/trainer.py --steps 200 --output runs/trainer

Any `datasets.Dataset` of images and masks will do in the place of the street scenes.
"""

import argparse

import torch
from transformers import Trainer, TrainingArguments

from modeling_ocrnet import OCRNetConfig, OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.evaluation.mean_iou import MeanIoU
from modeling_ocrnet.training.fast_layers import convert_for_training
from street_scenes import write_street_scenes


def label_maps(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Class indices at the labels' size: what Trainer keeps of the logits, which have a fourth of it."""
    return torch.nn.functional.interpolate(logits, size=labels.shape[-2:], mode="bilinear").argmax(1)


def scores(prediction) -> dict[str, float]:
    """What Trainer logs of an evaluation."""
    classes = len(data.label_set("street_scenes").names)
    result = MeanIoU().compute(predictions=prediction.predictions, references=prediction.label_ids, num_labels=classes)
    return {"mean_iou": float(result["mean_iou"])}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data/street_scenes_small")
    parser.add_argument("--scenes", type=int, default=60, help="for training; a fourth as many for validation")
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--output", default="runs/trainer")
    return parser.parse_args()


def main() -> None:
    options = parse()
    size = (options.height, 2 * options.height)
    write_street_scenes(options.data, train=options.scenes, val=options.scenes // 4, size=size)
    splits = {split: data.load("street_scenes", root=options.data, split=split) for split in ("train", "val")}
    labels = data.label_set("street_scenes")

    torch.manual_seed(0)
    config = OCRNetConfig.from_variant(
        "hr18s",
        backbone_fields={"zero_init_residual": True},
        id2label=dict(enumerate(labels.names)),
        palette=labels.palette[: len(labels.names)].tolist(),
        label_ids=list(labels.ids),
        ocr_channels=64,
        key_channels=32,
        zero_init_context=True,
    )
    model, processor = OCRNetForSemanticSegmentation(config), OCRNetImageProcessor()
    # The classes of layers change, and nothing else: the same parameters, state dict and results but for rounding, in
    # less time on a CPU. Leave it out, and all works as well.
    model = convert_for_training(model)

    def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
        return processor([row["image"] for row in rows], [row["label"] for row in rows], return_tensors="pt")

    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=options.output,
            max_steps=options.steps,
            per_device_train_batch_size=options.batch,
            learning_rate=4e-3,
            max_grad_norm=1.0,
            logging_steps=max(1, options.steps // 10),
            save_strategy="no",
            report_to="none",
            remove_unused_columns=False,  # the collator reads `image` and `label`
        ),
        data_collator=collate,
        train_dataset=splits["train"],
        eval_dataset=splits["val"],
        preprocess_logits_for_metrics=label_maps,
        compute_metrics=scores,
    )
    trainer.train()
    print(trainer.evaluate())
    trainer.save_model()
    processor.save_pretrained(options.output)


if __name__ == "__main__":
    main()
