"""Segment one image and write a picture of the result.

    python examples/predict.py runs/street_scenes/model street.png --output prediction.png

The first argument is a checkpoint: the folder that training or `save_pretrained` wrote, an exported folder, or a Hub
repository. Without an image, a street scene is drawn.
"""

import argparse

import numpy as np
from PIL import Image, ImageOps

from modeling_ocrnet import Predictor
from modeling_ocrnet.inference.drawing import class_palette, overlay, with_legend
from modeling_ocrnet.inference.loading import class_names
from street_scenes import draw_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("image", nargs="?")
    parser.add_argument("--output", default="prediction.png")
    options = parser.parse_args()

    if options.image is None:
        image = Image.fromarray(draw_scene(np.random.default_rng(0), size=(256, 512)).image)
    else:
        image = ImageOps.exif_transpose(Image.open(options.image)).convert("RGB")

    predictor = Predictor(options.model)
    label_map = predictor(image)  # (height, width) uint8: a class index for each pixel
    config = predictor.model.config

    palette = class_palette(config.palette, config.num_labels)
    picture = overlay(np.asarray(image), label_map, palette)
    with_legend(picture, label_map, class_names(config), palette).save(options.output)
    print(f"{options.output}: {', '.join(config.id2label[i] for i in np.unique(label_map))}")


if __name__ == "__main__":
    main()
