"""`Progress`: how reading and downloading tell how far they are, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

# Called as progress(what, done, total): "download mnist/train-images-idx3-ubyte.gz", 65536, 9912422. The units of
# `done` and `total` are those of `what` (bytes, images, files); a total of 0 is unknown.
Progress = Callable[[str, int, int], None]
