"""Weights from elsewhere: one module a family of foreign checkpoints."""
