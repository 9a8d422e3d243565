"""Getting a dataset ready: what scripts/prepare_data.py does."""
