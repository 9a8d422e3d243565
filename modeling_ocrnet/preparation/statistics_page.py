"""The statistics of a dataset as one HTML page, without scripts or other files."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from string import Template

import numpy as np
from PIL import Image

from ..data.labels import LabelSet
from ..inference.drawing import overlay, shares, side_by_side
from .statistics import DatasetStatistics, SplitStatistics
from .statistics_text import describe_split

EDGE = 240  # pixels of the longer edge; a picture has about 20 kB


PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --back: #fff; --text: #1d2127; --quiet: #68707c; --line: #e3e6ea; --card: #f6f7f9;
  --bar: #4a7fd4; --bad: #b3261e; --odd: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --back: #15181c; --text: #e4e7eb; --quiet: #97a0ac; --line: #2d333b;
  --card: #1e2329; --bar: #6b9bea; --bad: #ff8a80; --odd: #f0c060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 80rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.15rem; }
h3 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
p { margin: .25rem 0 0; }
.quiet, figcaption { color: var(--quiet); }
.cards, .sheet { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.cards { margin-top: 1.5rem; }
.card { padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: .6rem; background: var(--card); }
.card b { display: block; font-size: 1.5rem; font-weight: 600; }
.card.bad b { color: var(--bad); }
.card.odd b { color: var(--odd); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--quiet); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
td.bar { min-width: 9rem; text-align: left; }
td.bar i { display: block; height: .7rem; border-radius: .2rem; background: var(--bar); }
.swatch { display: inline-block; width: .9rem; height: .9rem; margin-right: .6rem; border: 1px solid var(--line);
  border-radius: .2rem; vertical-align: -.1rem; }
ul { max-height: 26rem; margin: 0; padding: .8rem 1.1rem .8rem 2rem; overflow: auto; border: 1px solid var(--line);
  border-radius: .6rem; background: var(--card); font: 13px/1.6 ui-monospace, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
pre { margin: 0; padding: .8rem 1.1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--card); white-space: pre-wrap; }
.sheet { grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: .3rem; }
figcaption { padding-top: .25rem; font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
figcaption b { display: block; color: var(--text); font-weight: 500; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="quiet">$root · $count classes</p>
<div class="cards">$cards</div>
$problems
<h2>Classes</h2>
<p class="quiet">Shares of the labelled pixels, and masks that contain a class, over the pairs without a problem.</p>
<div class="scroll">$classes</div>
$notes
$weights
<h2>Pairs</h2>
<p class="quiet">Evenly spaced samples of each split: the image, its classes as an overlay, and the largest classes.</p>
$sheet
</body>
</html>
""")


@dataclass
class Picture:
    """A picture as a data URI, with its name, its (width, height), and the names of its largest classes."""

    name: str
    uri: str
    size: tuple[int, int]
    classes: list[str]


def statistics_page(found: DatasetStatistics, pictures: int, weights: str | None = None) -> str:
    """Make the page. Names of files and classes are escaped, because they may hold any characters.

    Args:
        found: the statistics.
        pictures: number of pictures of each split.
        weights: the line of class weights, if they were requested.
    """
    heading = "<h2>Class weights</h2><p class='quiet'>For model.config in a recipe.</p>"
    return PAGE.substitute(
        title=escape(found.dataset),
        root=escape(found.root),
        count=len(found.labels.names),
        cards="".join(_cards(found)),
        problems=_listing("Errors", found.errors) + _listing("Warnings", found.warnings),
        classes=_classes(found),
        notes="".join(f'<p class="quiet">{escape(x)}</p>' for x in found.notes),
        weights="" if weights is None else f"{heading}<pre>{escape(weights)}</pre>",
        sheet="".join(_sheet(split, _contact_sheet(split, found.labels, pictures)) for split in found.splits),
    )


def _cards(found: DatasetStatistics):
    for split in found.splits:
        number = "–" if split.rows is None else f"{len(split.rows):,}"
        text = describe_split(split).partition(" pairs")[2].lstrip(", ") if split.rows is not None else "not found"
        yield f'<div class="card">{escape(split.name)}<b>{number}</b><span class="quiet">{escape(text)}</span></div>'
    for title, lines, kind in (("errors", found.errors, "bad"), ("warnings", found.warnings, "odd")):
        yield f'<div class="card{" " + kind if lines else ""}">{title}<b>{len(lines):,}</b></div>'


def _listing(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(x)}</li>' for x in lines)}</ul>"


def _classes(found: DatasetStatistics) -> str:
    splits = [split for split in found.splits if split.masks]
    labels, ids = found.labels, found.labels.ids
    total = sum(split.labelled for split in splits)
    shares = [sum(int(split.pixels[k]) for split in splits) / max(total, 1) for k in range(len(ids))]
    heads = "".join(f"<th>{escape(x.name)}, pixels</th><th>masks</th>" for x in splits)
    rows = [f"<tr><th>class</th><th>id</th><th>train id</th><th></th>{heads}</tr>"]
    for k, name in enumerate(labels.names):
        width = 100 * shares[k] / max(max(shares), 1e-12)
        color = "#{:02x}{:02x}{:02x}".format(*labels.palette[k])
        rows.append(
            f'<tr><td><span class="swatch" style="background:{color}"></span>{escape(name)}</td>'
            f'<td>{ids[k]}</td><td>{k}</td><td class="bar"><i style="width:{width:.2f}%"></i></td>'
            f"{_cells(splits, k)}</tr>"
        )
    rows.append(f"<tr><td>(not labelled, of all pixels)</td><td></td><td></td><td></td>{_cells(splits, len(ids))}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _cells(splits: list[SplitStatistics], index: int) -> str:
    return "".join(f"<td>{100 * x.share(index):.3f} %</td><td>{x.images[index]:,}</td>" for x in splits)


def _sheet(split: SplitStatistics, pictures: list[Picture]) -> str:
    if not pictures:
        return ""
    figures = (
        f'<figure><img src="{x.uri}" width="{x.size[0]}" height="{x.size[1]}" loading="lazy" alt="{escape(x.name)}">'
        f"<figcaption><b>{escape(x.name)}</b>{escape(', '.join(x.classes))}</figcaption></figure>"
        for x in pictures
    )
    return f'<h3>{escape(split.name)}</h3><div class="sheet">{"".join(figures)}</div>'


def _contact_sheet(split: SplitStatistics, labels: LabelSet, pictures: int) -> list[Picture]:
    """Evenly spaced samples of a split's pairs without a problem."""
    count = min(pictures, len(split.sound))
    return [_picture(split, split.sound[i * len(split.sound) // count], labels) for i in range(count)]


def _picture(split: SplitStatistics, row: int, labels: LabelSet) -> Picture:
    pair = split.rows[row]
    image = pair["image"]
    image.thumbnail((EDGE, EDGE))
    picture, classes = image, []
    if pair["label"] is not None:
        label = np.asarray(pair["label"].resize(image.size, Image.Resampling.NEAREST))
        picture = side_by_side(np.asarray(image), overlay(np.asarray(image), label, labels.palette), gap=2)
        classes = [labels.names[k] for k, _ in shares(label, len(labels.names))[:4]]
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(pair["name"], uri, picture.size, classes)
