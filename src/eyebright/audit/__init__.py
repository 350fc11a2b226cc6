"""Floor 4: what is wrong with a run, and which of two runs is better."""
