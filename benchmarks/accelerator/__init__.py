"""Everything that a card can tell in minutes, one part a file; `benchmarks/gpu.py` runs them."""
