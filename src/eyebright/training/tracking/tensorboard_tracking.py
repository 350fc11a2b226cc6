"""Event files for TensorBoard in the folder `tensorboard` of the run: `tensorboard --logdir runs`.

They are written anew whenever a process begins or ends with the run, from the history in its folder. So no epoch is
there twice, whatever was killed in between.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from eyebright.core.device import Plan
from eyebright.core.errors import MissingExtraError
from eyebright.training.callbacks import Callback
from eyebright.training.run import EpochRecord, Run
from eyebright.training.tracking.entry import Entry, entry_of
from eyebright.training.tracking.reading import Reading

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_logger = logging.getLogger("eyebright")

_FOLDER = "tensorboard"
_PICTURES = ("curves.png", "confusion_matrix.png")


class TensorBoardTracking(Callback):
    """Writes the scalars of each epoch when it is over. A disk that refuses ends the writing and not the training."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None

    def started(self, run: Run, plan: Plan) -> None:  # noqa: ARG002 (the contract of a callback)
        """Write the recipe, and the epochs of processes before this one.

        Raises
        ------
        MissingExtraError : TensorBoard is not installed.
        """
        require()
        with self._refused():
            self._run = run
            self._writer = _begun(run, entry_of(run))
            _logger.info("tracking: tensorboard --logdir %s", run.path / _FOLDER)

    def epoch_done(self, record: EpochRecord) -> None:  # noqa: ARG002
        """Write its scalars."""
        with self._refused():
            if self._writer is not None:
                _write(self._writer, entry_of(self._run).readings[-1])
                self._writer.flush()

    def stopped(self, run: Run) -> None:  # noqa: ARG002
        """Close the file."""
        with self._refused():
            if self._writer is not None:
                self._writer.close()

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever it is, it must not reach the training)
            self._writer = None
            _logger.warning("TensorBoard's files are no longer written: %r. The training goes on.", error)


def write_events(run: Run) -> Path:
    """Write what TensorBoard is to show of a run: scalars, recipe, final scores and, where they were drawn, figures.

    Returns
    -------
    The folder for `tensorboard --logdir`.

    Raises
    ------
    MissingExtraError : TensorBoard is not installed.
    """
    require()
    entry = entry_of(run)
    writer = _begun(run, entry)
    if entry.scores:
        _write(writer, entry.scores)
    for name in _PICTURES:
        if (run.path / name).is_file():
            with Image.open(run.path / name) as picture:
                pixels = np.asarray(picture.convert("RGB"))  # (H, W, 3)
            writer.add_image(Path(name).stem, pixels, len(entry.readings), entry.ended / 1000, dataformats="HWC")
    writer.close()
    return run.path / _FOLDER


def require() -> None:
    """Import TensorBoard.

    Raises
    ------
    MissingExtraError : it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a package that is imported for the first time: not ours to mend
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("tensorboard", "tracking") from error


def _begun(run: Run, entry: Entry) -> SummaryWriter:
    """A writer whose file holds everything up to now, instead of those that were there."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run.path / _FOLDER
    for old in folder.glob("events.*"):
        old.unlink()
    # A TensorBoard that is looking on forgets what it had read.
    writer = SummaryWriter(str(folder), purge_step=0)
    writer.add_text("recipe", "".join(f"    {line}\n" for line in run.recipe.to_yaml().splitlines()), 0)
    for reading in entry.readings:
        _write(writer, reading)
    writer.flush()
    return writer


def _write(writer: SummaryWriter, reading: Reading) -> None:
    for name, value in reading.values.items():
        writer.add_scalar(_grouped(name), value, reading.step, reading.time / 1000)


def _grouped(name: str) -> str:
    """`train_loss` as `loss/train`, so that training and validation share a chart's section."""
    split, _, quantity = name.partition("_")
    return f"{quantity}/{split}" if split in {"train", "validation"} else name
