"""Formats of other tools: the logs of the SDAA model zoo and of mmengine."""
