"""Training: `recipe` describes an experiment, `train` runs it."""
