"""`Forecast`: says how long a training will take, as soon as it can know, and in the end how long it took."""

from __future__ import annotations

import dataclasses
import time

from rich.console import Console

from eyebright.core.device import Plan
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.training import distributed, feature_cache
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.measure.duration import Costs, Duration, in_words, remaining
from eyebright.training.measure.pace import Pace
from eyebright.training.measure.phases import Phase, phase_at, phases, training_flops
from eyebright.training.measure.recipe import in_float32, prediction_speed, untrained
from eyebright.training.measure.timing import Effort
from eyebright.training.run import EpochRecord, Run

# So much of the training is listened to, unless its second epoch begins earlier.
_LISTENING = Effort(seconds=5, fewest=3)
# What measuring one way of predicting may take, to which its warm-up adds about as much.
_ASKING = Effort(seconds=0.2, fewest=1)


class Forecast(Callback):
    """Prints the predicted time of a training and of judging it; in the end the real one.

    The pace is that of the first steps themselves. What validation and judging cost is measured before the training,
    on an untrained model, in about a second. No number that is trained depends on it.

    Parameters
    ----------
    splits : the images.
    console : where to; that of the progress bar, if there is one.

    Attributes
    ----------
    predicted : from the making of this object to the end of judging, once it is known.
    """

    def __init__(self, splits: Splits, console: Console) -> None:
        self.splits = splits
        self.console = console
        self.predicted: Duration | None = None
        self._begun = time.perf_counter()
        self._pace = Pace()
        self._known: _Known | None = None

    def started(self, run: Run, plan: Plan) -> None:
        """Measure what predictions cost."""
        if len(run.history) == run.recipe.training.epochs:
            return  # only the judging is left
        model, images = untrained(run.recipe, self.splits.train), self.splits.train
        validation = prediction_speed(run.recipe, model, images, plan, "one", _ASKING)
        judging = prediction_speed(run.recipe, model, images, in_float32(plan), run.recipe.training.views, _ASKING)
        processes = distributed.current().size  # each is asked about its share
        self._known = _Known(
            recipe=run.recipe,
            resumed=run.last_checkpoint.is_file(),
            flops={phase: training_flops(model, phase) for phase in phases(run.recipe.training)},
            validated_image=0.0 if feature_cache.applies(run.recipe) else 1 / validation.median / processes,
            judged_image=1 / judging.median / processes,
        )

    def batch_done(self, moment: Moment) -> None:
        """Listen until the pace is known; then predict."""
        if self._known is None or self.predicted is not None:
            return
        self._pace.note(moment)
        if self._pace.ends or self._pace.enough(_LISTENING):
            self._predict(self._known, self._rest(self._known, moment))

    def epoch_done(self, record: EpochRecord) -> None:
        """After a training that was too short for a pace, predict the judging."""
        known, epochs = self._known, int(record["epoch"])
        if known is not None and self.predicted is None and epochs == known.recipe.training.epochs:
            costs = Costs(image=lambda _: 0.0, epoch_end=0.0, judged_image=known.judged_image)
            self._predict(known, remaining(known.recipe, self.splits, costs, done=epochs, ended=epochs))

    def judged(self) -> None:
        """Print the real time. To be called when the run is judged."""
        real = f"training and judging took {in_words(time.perf_counter() - self._begun)}"
        predicted = f"; {in_words(self.predicted.total)} were predicted" if self.predicted else ""
        self.console.print(real + predicted, soft_wrap=True)

    def _rest(self, known: _Known, moment: Moment) -> Duration:
        """What follows after `moment`."""
        settings = known.recipe.training
        trained = moment.epoch - 1 + (moment.batch - 1) / moment.batches  # before the last step
        heard = phase_at(settings, trained / settings.epochs)
        flops_per_second = known.flops[heard] * self._pace.images_per_second().median
        costs = Costs(
            image=lambda phase: known.flops[phase] / flops_per_second,  # as fast in all phases
            epoch_end=self._pace.end_seconds(len(self.splits.validation) * known.validated_image),
            judged_image=known.judged_image,
        )
        done = moment.epoch - 1 + moment.batch / moment.batches
        return remaining(known.recipe, self.splits, costs, done=done, ended=moment.epoch - 1)

    def _predict(self, known: _Known, rest: Duration) -> None:
        """Add what is over, and say it."""
        self.predicted = dataclasses.replace(rest, so_far=time.perf_counter() - self._begun)
        what = "predicted time of the rest" if known.resumed else "predicted time"
        sooner = " at most; patience may end it earlier" if known.recipe.training.patience else ""
        self.console.print(f"{what}: {self.predicted}{sooner}", soft_wrap=True)


@dataclasses.dataclass(frozen=True)
class _Known:
    """What is known before the first step.

    Attributes
    ----------
    recipe : of the training.
    resumed : whether it was begun earlier.
    flops : of training on one image in each phase.
    validated_image, judged_image : seconds for the answer about one image.
    """

    recipe: Recipe
    resumed: bool
    flops: dict[Phase, int]
    validated_image: float
    judged_image: float
