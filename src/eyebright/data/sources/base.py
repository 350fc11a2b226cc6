"""`Source`: the contract of a data set, and the registry that finds one by name."""

from __future__ import annotations

import abc
import importlib
from collections.abc import Mapping
from pathlib import Path

from eyebright.core.errors import DataError, nearest
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet
from eyebright.data.progress import Progress

# Name to "module:class", the module in this package. A class is imported when it is asked for, not before.
SOURCES: Mapping[str, str] = {
    "digits": "digits:DigitsSource",
    "cifar10": "cifar:Cifar10Source",
    "cifar100": "cifar:Cifar100Source",
    "mnist": "mnist:MnistSource",
    "fashion_mnist": "mnist:FashionMnistSource",
    "stl10": "stl10:Stl10Source",
    "emotions": "emotions:EmotionsSource",
}


class Source(abc.ABC):
    """A data set that can be read.

    Attributes
    ----------
    name : as in `DataSettings.source`.
    title : as its authors write it.
    description : one line: what it shows, how many images of which size.
    """

    name: str
    title: str
    description: str

    @abc.abstractmethod
    def read(self, settings: DataSettings, root: Path, progress: Progress | None) -> dict[str, ImageSet]:
        """Read all images, fetching them first where that is allowed and needed.

        Parameters
        ----------
        settings : size, channels, what to do with bad images, whether to download.
        root : the data root, which holds the known data sets.
        progress : told what is being done.

        Returns
        -------
        The parts that the source officially has, among "train", "validation" and "test"; or the one key
        "all" where it is not divided. Rows are unique within a store.

        Raises
        ------
        DataError : the files are missing, damaged or something else.
        """


def find(name: str) -> Source:
    """The known data set of this name.

    Raises
    ------
    DataError : there is none; the remedy tells the nearest valid name.
    """
    if name not in SOURCES:
        raise DataError(f"there is no data set named {name!r}.", nearest(name, SOURCES))
    module, _, attribute = SOURCES[name].partition(":")
    source: Source = getattr(importlib.import_module(f"eyebright.data.sources.{module}"), attribute)()
    return source
