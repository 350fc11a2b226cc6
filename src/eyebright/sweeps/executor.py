"""Where trials are run. One function is all that another place needs to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eyebright.sweeps.trial import Images, Job, Outcome, run_trial
from eyebright.training.callbacks import Callback

# Takes jobs as it has room for them and gives back each with its outcome, in any order. Asking for the next job
# claims it, so that an executor asks when it can run one, and not before.
Executor = Callable[[Iterator[Job]], Iterator[tuple[Job, Outcome]]]


def here(images: Images, watchers: Sequence[Callback] = ()) -> Executor:
    """One trial after the other, in this process.

    Parameters
    ----------
    images : gives the images of a choice of data.
    watchers : of every training.
    """

    def run(jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        for job in jobs:
            yield job, run_trial(job, images, watchers)

    return run
