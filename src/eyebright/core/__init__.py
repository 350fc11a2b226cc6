"""Floor 0: the nouns that every other floor shares. Nothing here imports torch unless it must."""
