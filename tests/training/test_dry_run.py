"""A dry run."""

import logging
import re
from pathlib import Path

import pytest

from modeling_ocrnet.training.dry_run import dry_run


@pytest.mark.slow
def test_a_dry_run_leaves_nothing(tiny_recipe):
    recipe = tiny_recipe()
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("modeling_ocrnet.training").addHandler(handler)
    dry_run(recipe)
    logging.getLogger("modeling_ocrnet.training").removeHandler(handler)
    assert not Path(recipe.output).exists()
    assert re.search(r"4 steps of [\d.]+ s and 1 evaluations of 2 images.*peak memory [\d.]+ GB", said[-1])
