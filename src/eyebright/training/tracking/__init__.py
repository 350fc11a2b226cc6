"""Copies of a run for the tools that teams use. The folder of the run stays the truth; a tracker only copies it."""
