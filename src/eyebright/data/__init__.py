"""Floor 1: from files and archives to `ImageSet`, and from `ImageSet` to batches.

Only `augment`, `batches` and `sheet` import torch; reading, decoding and splitting do without.
"""
