"""Transforms of other libraries, named in a recipe: built, tried, and run image by image."""
