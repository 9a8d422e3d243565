"""Measurements on an accelerator within minutes, one file for each part; `benchmarks/gpu.py` runs them."""
