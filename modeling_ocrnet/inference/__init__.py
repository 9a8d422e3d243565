"""Inference: an image in, a label map out; and pictures of it."""
