"""Emotions: five of the seven classes of FER-2013, from a zip or folder that the user has placed."""

from __future__ import annotations

from pathlib import Path

from eyebright.core.errors import DataError, nearest
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet
from eyebright.data.progress import Progress
from eyebright.data.sources.base import Source
from eyebright.data.sources.folder import Defaults, read_folder

# Without disgust (547 images only) and neutral, which is no emotion.
_CLASSES = ("angry", "fear", "happy", "sad", "surprise")
_SIZE = 64  # pixels; the originals have 48, and four halvings of 64 leave whole numbers


class EmotionsSource(Source):
    """Faces of FER-2013 (Goodfellow et al. 2013, "Challenges in representation learning", arXiv:1307.0414).

    Pixels are grey 48x48, resized to 64x64. The splits are the official ones: training, public test
    (here: validation) and private test.
    """

    name = "emotions"
    title = "Emotions (FER-2013)"
    description = "29,142 faces, 48x48 grey brought to 64x64, 5 classes, official validation and test; placed by hand"

    def read(self, settings: DataSettings, root: Path, progress: Progress | None) -> dict[str, ImageSet]:
        """The official splits, from `root/emotions/` or `root/emotions.zip`; see `Source.read`."""
        for name in settings.classes or ():
            if name not in _CLASSES:
                raise DataError(f"Emotions has no class {name!r}.", nearest(name, _CLASSES))
        for path in (root / "emotions", root / "emotions.zip"):
            if path.exists():
                return read_folder(path, settings, Defaults(self.name, _CLASSES, _SIZE, channels=1), progress)
        raise DataError(
            f"Emotions (FER-2013) is not in {root}, and it cannot be downloaded by a program.",
            "Fetch FER-2013 as images (from Kaggle, for instance) and place it as "
            f"{root / 'emotions.zip'} or as the folder {root / 'emotions'}, with the images in "
            "train/CLASS/, validation/CLASS/ and test/CLASS/. Classes: " + ", ".join(_CLASSES) + ".",
        )
