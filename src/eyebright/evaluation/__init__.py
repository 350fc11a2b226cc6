"""Floor 2: from a model to `Predictions`, and from `Predictions` to every judgement."""
