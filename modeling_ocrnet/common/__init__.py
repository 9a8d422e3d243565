"""What every folder of the package uses: errors, file writing, optional packages, private parts of libraries, and
per-process settings."""
