"""Floor 1: the classifier contract, one family of networks a module, and the registry."""
