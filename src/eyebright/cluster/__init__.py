"""Trainings, sweeps and predictions on many machines, through Ray."""
