"""Uploads to the Hub: checks of a model folder, the model card, and the upload."""
