"""Sharing a checkpoint: what a model folder holds, its card, and the way to the Hub."""
