"""Shipping a model: bundles that carry their preprocessing and the proof that they answer as the model does."""
