"""What helps rare classes: short CamVid runs with each remedy alone, beside the plain cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .short_runs import Run, class_table, score_table, train_all

# each alone, from the CamVid recipe without its class weights
PLAIN = ("--model.config.class_weights", "null")
AUXILIARY = ("--model.config.auxiliary_losses", '{"cross_entropy": 1.0}')
REMEDIES: dict[str, tuple[str, ...]] = {
    "plain": PLAIN,
    "class weights": (),  # those of the recipe
    "class-uniform": (*PLAIN, "--sampler.name", "class_uniform"),
    "Dice": (*PLAIN, "--model.config.losses", '{"cross_entropy": 1.0, "dice": 0.5}', *AUXILIARY),
    "RMI": (*PLAIN, "--model.config.losses", '{"rmi": 1.0}', *AUXILIARY),
}


def rare_classes_benchmark(
    root: str, output: str = "runs/rare_classes", steps: int = 150, seeds: int = 3, minutes: float = 60.0
) -> None:
    """Train short CamVid runs with class weights, class-uniform sampling, Dice and RMI; go on where it stopped.

    Args:
        root: CamVid's folder.
        output: The folder of runs and rows.
        steps: Steps of a run.
        seeds: Number of seeds.
        minutes: No run is started after so much time.
    """
    rows = train_all(_runs(Path(root).resolve(), steps, range(seeds)), Path(output).resolve(), minutes)
    rows = [row for row in rows if row["of"] == f"{steps} steps"]
    print(score_table(rows))
    print(f"\nIoU of each class, the median over the seeds:\n{class_table(rows)}")
    print(f"\nof the weights' average:\n{class_table(rows, 'ema_iou')}")


def _runs(camvid: Path, steps: int, seeds: range) -> Iterator[Run]:
    recipe = ["--config", "camvid/ocrnet_hr18s_scratch", "--data.root", str(camvid)]
    lengths = ["--schedule.max_steps", str(steps), "--evaluation.every", str(steps)]
    for seed in seeds:
        for name, options in REMEDIES.items():
            yield Run(name, seed, [*recipe, *lengths, *options], of=f"{steps} steps")
