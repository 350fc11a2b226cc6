"""One module a data set, and the registry that finds them by name."""
