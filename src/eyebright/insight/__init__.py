"""Looks at what a model does: its mistakes, what it looks at, what it has learnt."""
