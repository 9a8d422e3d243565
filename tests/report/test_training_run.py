"""What a run leaves to look at."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from modeling_ocrnet import data
from modeling_ocrnet.report import training_run as report


def test_pictures_of_one_name_stay_apart(tmp_path, monkeypatch):
    grey = [10, 20, 30]
    rows = [{"image": Image.new("RGB", (8, 6), (x, x, x)), "label": None, "name": "001"} for x in grey]
    monkeypatch.setattr(report, "segment", lambda *_: [np.zeros((6, 8), np.uint8)])
    model = SimpleNamespace(eval=lambda: None)
    report.draw_pictures(model, None, rows, data.label_set("cityscapes"), 3, tmp_path / "pictures")
    written = [np.asarray(Image.open(x))[0, 0, 0] for x in (tmp_path / "pictures").iterdir()]
    assert sorted(written) == grey
