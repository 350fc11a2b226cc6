"""What may watch a training: progress bars, trackers, pruners."""

from __future__ import annotations

import dataclasses

from eyebright.core.device import Plan
from eyebright.training.run import EpochRecord, Run


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where a training stands after a batch.

    Attributes
    ----------
    epoch : the one under way, from 1.
    epochs : planned.
    batch : batches done in this epoch.
    batches : batches of an epoch.
    loss, accuracy : running means over the training images of this epoch.
    images : training images seen since this process began.
    seconds : since this process began training, validation included.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    images: int
    seconds: float


class Pruned(Exception):  # noqa: N818 (it is no error)
    """Raised by a watcher: the training is not worth its time any more. Its run says so, and could be resumed."""


class Callback:
    """Does nothing; a watcher overrides what it wants to know."""

    def started(self, run: Run, plan: Plan) -> None:
        """Before the first batch of this process."""

    def batch_done(self, moment: Moment) -> None:
        """After every batch; on an accelerator every 20, since each report waits for its work."""

    def epoch_done(self, record: EpochRecord) -> None:
        """After validation and the checkpoint."""

    def stopped(self, run: Run) -> None:
        """When training ends: finished, interrupted or failed."""
