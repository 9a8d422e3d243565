"""Getting data ready: what is in a dataset, where it comes from, and what has to be made first."""
