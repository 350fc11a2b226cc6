"""Measuring: what the machine can do, what share of it a recipe reaches, and how long a training will take."""
