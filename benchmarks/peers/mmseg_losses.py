"""Trains mmsegmentation's OCRNet with mmengine's runner, on batches and from weights in a folder:

    python benchmarks/peers/mmseg_losses.py FOLDER

FOLDER holds `peer.json` (what to train), `initial.pth` (weights) and `batches/*.npz` (pixel_values, labels). mmengine
writes its logs to FOLDER/peer.
"""

import glob
import json
import os
import sys
import warnings

warnings.filterwarnings("ignore")

import mmseg  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402


class Samples(torch.utils.data.Dataset):
    """The images of all batches, one after the other."""

    def __init__(self, folder: str):
        batches = [np.load(path) for path in sorted(glob.glob(os.path.join(folder, "batches", "*.npz")))]
        self.pixels = np.concatenate([x["pixel_values"] for x in batches])
        self.labels = np.concatenate([x["labels"] for x in batches])

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index: int) -> dict:
        labels = torch.from_numpy(self.labels[index].astype(np.int64))[None]
        size = tuple(labels.shape[-2:])
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo={"img_shape": size, "ori_shape": size})
        return {"inputs": torch.from_numpy(self.pixels[index]), "data_samples": sample}


def set_everywhere(node, key: str, old, new) -> None:
    """Replace a value in a config's dicts and lists, at any depth. If `old` is None, any value is replaced."""
    if isinstance(node, dict):
        if key in node and (old is None or node[key] == old):
            node[key] = new
        node = list(node.values())
    if isinstance(node, list | tuple):
        for value in node:
            set_everywhere(value, key, old, new)


def main() -> None:
    folder = sys.argv[1]
    with open(os.path.join(folder, "peer.json")) as file:
        wanted = json.load(file)
    register_all_modules()
    torch.set_num_threads(wanted["threads"])
    configs = os.path.join(os.path.dirname(mmseg.__file__), ".mim", "configs", "ocrnet")
    config = Config.fromfile(os.path.join(configs, f"ocrnet_{wanted['variant']}_4xb2-40k_cityscapes-512x1024.py"))
    set_everywhere(config.model, "type", "SyncBN", "BN")  # one process
    set_everywhere(config.model, "dropout_ratio", None, 0.0)  # the two frameworks would draw different masks
    config.model.pretrained = None
    # the batches are normalised and padded already
    config.model.data_preprocessor = {"type": "SegDataPreProcessor", "size": tuple(wanted["size"]), "seg_pad_val": 255}
    config.optim_wrapper.optimizer.lr = wanted["lr"]
    schedule = {"type": "PolyLR", "eta_min": 1e-4, "power": 0.9, "begin": 0, "end": wanted["steps"], "by_epoch": False}
    runner = Runner(
        model=config.model,
        work_dir=os.path.join(folder, "peer"),
        train_dataloader={
            "batch_size": wanted["batch"],
            "num_workers": 0,
            "dataset": Samples(folder),
            "sampler": {"type": "DefaultSampler", "shuffle": False},
        },
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": wanted["steps"], "val_interval": wanted["steps"] + 1},
        optim_wrapper=config.optim_wrapper,
        param_scheduler=[schedule],
        load_from=os.path.join(folder, "initial.pth"),
        default_hooks={"logger": {"type": "LoggerHook", "interval": 1}, "checkpoint": None},
        log_processor={"by_epoch": False, "window_size": 1},  # log the loss of each step
        default_scope="mmseg",
        experiment_name="losses",
    )
    runner.train()


if __name__ == "__main__":
    main()
