"""Evaluation: metrics, and the loop that computes them on a dataset."""
