"""Command lines: a module a command, each with a `main`. The files of scripts/ call them."""
