"""Measurements beside other implementations."""
