"""`Shelf`: the models of a server, each in its current version, and how a new one takes the place of the old.

A request keeps the model that it began with. A new bundle is opened and warmed up beside the old one; then the next
requests find the new one, and the old one goes when its last request is answered.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

from eyebright.core.errors import EyebrightError, ServingError, nearest
from eyebright.exporting.bundle import Bundle, open_bundle
from eyebright.serving.metrics import Metrics
from eyebright.serving.problems import Problem
from eyebright.serving.served_model import ServedModel
from eyebright.serving.settings import ServerSettings

_log = logging.getLogger(__name__)

# Name, inode, size and time of change of each file of a bundle.
Signature = tuple[tuple[str, int, int, int], ...]


@dataclasses.dataclass(eq=False)
class _Place:
    """Where a bundle lies, and what is served from there."""

    path: Path
    served: ServedModel
    seen: Signature  # files at the last look: they are opened once they no longer change
    tried: Signature  # files that were opened last
    failed: bool = False  # whether these could not be used


class Shelf:
    """The models, in the order in which the server was given them.

    The event loop's thread alone changes them; any thread may look.

    Parameters
    ----------
    paths : of the bundles.
    lanes, lane_count : see `ServedModel`.
    """

    def __init__(
        self, paths: Sequence[Path], lanes: Executor, lane_count: int, settings: ServerSettings, metrics: Metrics
    ) -> None:
        self._paths = paths
        self._lanes, self._lane_count = lanes, lane_count
        self._settings = settings
        self._metrics = metrics
        self._places: list[_Place] = []
        self._changing = asyncio.Lock()

    def __iter__(self) -> Iterator[ServedModel]:
        return (place.served for place in self._places)

    async def open(self) -> None:
        """Open all bundles.

        Raises
        ------
        BundleError : one cannot be read.
        ServingError : two are the same version of the same model.
        """
        for path in self._paths:
            signature = _signature(path)
            served = await self._serve(await asyncio.to_thread(_opened, path))
            self._refuse_twin(served.bundle, path)
            self._places.append(_Place(path, served, signature, signature))

    def find(self, name: str | None, version: str | None) -> ServedModel:
        """The first model of this name and version; None fits all.

        Raises
        ------
        Problem : there is none.
        """
        for place in self._places:
            bundle = place.served.bundle
            if name in {None, bundle.name} and version in {None, bundle.version}:
                return place.served
        names = {each.bundle.name for each in self}
        if name is not None and name not in names:
            raise Problem("unknown-model", f"there is no model {name!r}.", nearest(name, names))
        versions = [each.bundle.version for each in self if name in {None, each.bundle.name}]
        raise Problem("unknown-model", f"there is no version {version!r} of it.", nearest(str(version), versions))

    async def reload(self) -> list[str]:
        """Open every bundle whose files have changed since it was last opened, and again those that could not be used.

        Returns
        -------
        Why some could not be used; their old version is served on.
        """
        async with self._changing:
            for place in self._places:
                if place.failed:
                    place.tried = ()
            return [why for place in self._places if (why := await self._renew(place, _signature(place.path)))]

    async def watch(self) -> None:
        """Look for changed bundles for ever; one is opened once its files no longer change between two looks."""
        while True:
            await asyncio.sleep(self._settings.watch_seconds)
            async with self._changing:
                for place in self._places:
                    before, place.seen = place.seen, _signature(place.path)
                    if place.seen == before:
                        await self._renew(place, place.seen)

    async def _renew(self, place: _Place, signature: Signature) -> str | None:
        if signature in {place.tried, ()}:  # nothing new, or nothing there: what is served stays
            return None
        place.tried = signature
        place.failed = True
        old = place.served
        try:
            bundle = await asyncio.to_thread(_opened, place.path)
            self._refuse_twin(bundle, place.path, except_for=place)
            place.served = await self._serve(bundle)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one goes on
            cause = error.cause if isinstance(error, EyebrightError) else repr(error)
            _log.warning("%s has changed and is not used: %s", place.path, cause)
            self._metrics.reloads.labels("failed").inc()
            return cause
        place.failed = False
        if (bundle.name, bundle.version) != (old.bundle.name, old.bundle.version):
            self._metrics.forget(old.bundle.name, old.bundle.version)
        _log.info("%s: now %s %s", place.path, bundle.name, bundle.version)
        self._metrics.reloads.labels("done").inc()
        return None

    async def _serve(self, bundle: Bundle) -> ServedModel:
        served = ServedModel(bundle, self._lanes, self._lane_count, self._settings, self._metrics)
        await asyncio.to_thread(served.warm_up)
        return served

    def _refuse_twin(self, bundle: Bundle, path: Path, except_for: _Place | None = None) -> None:
        for place in self._places:
            twin = place.served.bundle
            if place is not except_for and (twin.name, twin.version) == (bundle.name, bundle.version):
                raise ServingError(
                    f"{path} and {place.path} are both version {bundle.version} of {bundle.name}.",
                    "Serve one of them, or export one under another name.",
                )


def _opened(path: Path) -> Bundle:
    """A bundle of which all is read, so that nothing keeps the event loop waiting later."""
    bundle = open_bundle(path, threads=1)
    _ = bundle.known  # read when it is first asked for
    return bundle


def _signature(path: Path) -> Signature:
    """() where there is nothing."""
    try:
        if not path.is_dir():
            return (_file(path.name, path.stat()),)
        with os.scandir(path) as entries:
            return tuple(sorted(_file(entry.name, entry.stat()) for entry in entries if entry.is_file()))
    except OSError:
        return ()


def _file(name: str, status: os.stat_result) -> tuple[str, int, int, int]:
    return name, status.st_ino, status.st_size, status.st_mtime_ns
