"""Choosing settings: grids and searches over recipes."""
