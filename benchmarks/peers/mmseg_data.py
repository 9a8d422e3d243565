"""Times mmsegmentation's training pipeline on a Cityscapes folder (with labelTrainIds), in its own Python:

    python benchmarks/peers/mmseg_data.py FOLDER

For each line on standard input, which is a number of samples, it reads that many and prints the seconds as JSON.
"""

import json
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import cv2  # noqa: E402
import mmseg  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmseg.registry import DATASETS  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    register_all_modules()
    configs = os.path.join(os.path.dirname(mmseg.__file__), ".mim", "configs")
    config = Config.fromfile(os.path.join(configs, "_base_", "datasets", "cityscapes.py")).train_dataloader.dataset
    config.data_root = sys.argv[1]
    dataset = DATASETS.build(config)
    np.random.seed(0)
    position = 0
    print(json.dumps({"version": mmseg.__version__, "frames": len(dataset)}), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            dataset[position % len(dataset)]
            position += 1
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main()
