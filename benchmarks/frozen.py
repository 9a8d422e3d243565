"""What a training step takes with a frozen backbone, beside a full one: seconds and memory."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from modeling_ocrnet.common.tables import text_table
from modeling_ocrnet.training.dry_run import measure
from modeling_ocrnet.training.recipe import DataRecipe, ModelRecipe, Recipe
from street_scenes import write_street_scenes

from .paired import by_contender, run_rounds

FULL = "nothing"
PARTS: dict[str, int | str | None] = {FULL: None, "stem and two stages": 2, "the backbone": "backbone"}


def frozen_benchmark(
    variant: str = "hr18", crop_size: tuple[int, int] = (512, 512), batch: int = 2, steps: int = 6, rounds: int = 3
) -> None:
    """Measure a training step with nothing frozen, the first stages, and the backbone, in turn.

    Each measurement is a process of its own, which also gives its peak memory.

    Args:
        variant: Of the model.
        crop_size: Height and width of the crops.
        batch: Images of a step.
        steps: Steps of a measurement; the second half counts.
        rounds: Measurements of each kind.
    """
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames"
        write_street_scenes(frames, train=batch, val=1, size=crop_size)

        def cost(part: int | str | None) -> dict:
            recipe = Recipe(
                data=DataRecipe(
                    "street_scenes", str(frames), crop_size=crop_size, scale=(4096, min(crop_size)), workers=1
                ),
                model=ModelRecipe(variant, backbone=None, freeze=part),  # type: ignore[arg-type]
                global_batch=batch,
                micro_batch=batch,
                output=str(Path(folder) / "run"),
            )
            # a fresh process: memory that an earlier one has used would count
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                found = process.submit(measure, recipe, steps).result()
            return {"seconds": found.step, "memory_gb": found.peak_memory}

        records = run_rounds({name: partial(cost, part) for name, part in PARTS.items()}, rounds)
    times, memory = (by_contender(records, key) for key in ("seconds", "memory_gb"))
    rows = [("frozen", "seconds", "ratio", "ratios", "peak memory, GB")]
    for name, seconds in times.items():
        ratios = [x / y for x, y in zip(seconds, times[FULL], strict=True)]
        middle = [f"{statistics.median(x):.2f}" for x in (seconds, ratios, memory[name])]
        rows.append((name, middle[0], middle[1], " ".join(f"{x:.2f}" for x in ratios), middle[2]))
    print(text_table(rows, numbers=False))
