"""Reports of training runs: a curve and pictures."""
