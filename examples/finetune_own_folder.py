"""Train on a folder of one's own images and masks, by the Python interface: what `ocrnet train` does with a recipe.

    python examples/finetune_own_folder.py                                    # on a small folder that it draws
    python examples/finetune_own_folder.py mine --backbone auto --steps 4000 --size 512 --batch 8

The folder holds images/, masks/ of the same names, and classes.json, which says what the masks hold. A fifth of the
images is held out and evaluated. `--backbone auto` begins with ImageNet weights from the Hub; the default begins with
random weights, which needs no network.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from modeling_ocrnet.training import recipe as R
from modeling_ocrnet.training.loop import train

CLASSES = {"background": (90, 110, 70), "disc": (200, 60, 50), "square": (60, 90, 200)}


def draw_folder(root: Path, count: int = 20, size: int = 96) -> Path:
    """Discs and squares on a background, with masks that hold 0, 1 and 2. Does nothing if the folder is there."""
    if root.exists():
        return root
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        image, mask = Image.new("RGB", (size, size), CLASSES["background"]), Image.new("L", (size, size))
        for index, shape in ((1, "ellipse"), (2, "rectangle")):
            left, top = rng.integers(0, size * 2 // 3, 2).tolist()
            box = (left, top, left + size // 3, top + size // 3)
            getattr(ImageDraw.Draw(image), shape)(box, fill=list(CLASSES.values())[index])
            getattr(ImageDraw.Draw(mask), shape)(box, fill=index)
        noisy = np.asarray(image) + rng.normal(0, 15, (size, size, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{number:03d}.png")
        mask.save(root / "masks" / f"{number:03d}.png")
    classes = [{"name": name, "id": i, "color": color} for i, (name, color) in enumerate(CLASSES.items())]
    (root / "classes.json").write_text(json.dumps({"classes": classes}), encoding="utf-8")
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--backbone")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", type=int, default=96, help="of the crops, and of the images' short edge")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--output", default="runs/own_folder")
    options = parser.parse_args()

    folder = options.folder or draw_folder(Path("data/shapes"))
    recipe = R.Recipe(
        data=R.DataRecipe(
            name="folder",
            root=str(folder),
            val_share=0.2,
            crop_size=(options.size, options.size),
            scale=(4 * options.size, options.size),
            workers=0,
        ),
        model=R.ModelRecipe(
            "hr18s",
            backbone=options.backbone,
            # from random weights, branches and object context learn more in few steps if what they add starts at 0
            backbone_config={"zero_init_residual": options.backbone is None},
            config={"ocr_channels": 64, "key_channels": 32, "zero_init_context": options.backbone is None},
        ),
        optimizer=R.OptimizerRecipe("adamw", lr=2e-3, weight_decay=1e-4, clip_norm=1.0),
        schedule=R.ScheduleRecipe(max_steps=options.steps, min_lr=1e-5),
        evaluation=R.EvaluationRecipe(every=options.steps, resize=True),
        checkpoint=R.CheckpointRecipe(every=options.steps),
        logging=R.LoggingRecipe(every=max(1, options.steps // 10), pictures=2),
        global_batch=options.batch,
        micro_batch=options.batch,
        output=options.output,
    )
    print(train(recipe))  # the folder for `from_pretrained`, and for examples/predict.py


if __name__ == "__main__":
    main()
