"""Evaluation: metrics, and the loop that fills them."""
