"""Dataset preparation: inspection, download instructions, and files that have to be made first."""
