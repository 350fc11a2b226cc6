"""Published tables: what others measured, the recipes that do the same, and both side by side."""
