"""Tables, against text written by hand."""

from modeling_ocrnet.common.tables import markdown_table, text_table

ROWS = [["class", "IoU", "images"], ["road", "98.10", "7"], ["traffic sign", "-", "12"]]


def test_numbers_are_aligned_to_the_right():
    assert text_table(ROWS).splitlines() == [
        "class           IoU  images",
        "road          98.10       7",
        "traffic sign      -      12",
    ]


def test_words_are_aligned_to_the_left():
    assert text_table(ROWS, numbers=False).splitlines() == [
        "class         IoU    images",
        "road          98.10  7",
        "traffic sign  -      12",
    ]


def test_markdown():
    """Numbers to the right."""
    assert markdown_table(("class", "IoU"), [("road", 98.1)], numbers=[1]).splitlines() == [
        "| class | IoU |",
        "|---|---:|",
        "| road | 98.1 |",
    ]
