"""The trials of a sweep on a cluster, each a task of Ray; the study stays with the process that began the sweep.

Ray runs a task again whose process or machine was lost. The trial then goes on at its last checkpoint where its folder
is still to be seen: on storage that all machines share, or on the same machine. Elsewhere it begins anew. One that was
finished is only looked up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from eyebright.cluster.command import named
from eyebright.cluster.conversation import Conversation, Voice
from eyebright.cluster.failures import in_our_words
from eyebright.cluster.folder import SharedFolder, marked, packed, unpack, wait_until_free
from eyebright.cluster.resources import share_of_trial
from eyebright.core.device import Plan
from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import Splits
from eyebright.data.load import load
from eyebright.sweeps.executor import Executor
from eyebright.sweeps.trial import Images, Job, Outcome, Reporter, StudyReporter, reporting, run_trial
from eyebright.training.run import Run

# Processes or machines that a trial may lose before it counts as failed: one that needs more memory than there is
# would lose them all.
_LOSSES = 5
# Seconds that trials have for their checkpoints when the sweep is stopped.
_FAREWELL = 20.0

_logger = logging.getLogger("eyebright")


def executor(images: Images | None = None, *, workers: int | None = None) -> Executor:
    """Where a sweep runs its trials: on the cluster that this process is connected to.

    Parameters
    ----------
    images : gives, on whatever machine, the images of a choice of data; default: `eyebright.load`.
    workers : trials at a time; default: as many as the cluster has room for, as machines come and go.
    """

    def run(jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        with contextlib.closing(_Trials(images or _loaded)) as trials:
            room = 1
            while True:
                while len(trials.running) < room and (job := next(jobs, None)) is not None:
                    share = share_of_trial(Recipe.from_dict(job.recipe))
                    trials.begin(job, share.options)
                    room = workers or share.room()
                if not trials.running:
                    return
                yield trials.wait()

    return run


@final
class _Trials:
    """Those under way.

    Attributes
    ----------
    running : by the reference of the task.
    """

    def __init__(self, images: Images) -> None:
        self.running: dict[Any, Job] = {}
        self._images = images
        self._conversation = Conversation(self._hear)
        self._open = contextlib.ExitStack()
        self._folder: SharedFolder | None = None
        self._reporters: dict[int, tuple[StudyReporter, contextlib.ExitStack]] = {}
        self._begun: Counter[int] = Counter()

    def begin(self, job: Job, options: dict[str, float]) -> None:
        """Give a trial to the cluster."""
        import ray

        if self._folder is None:
            self._folder = self._open.enter_context(marked(Path(job.folder).parent))
        number = job.place.number
        telling = contextlib.ExitStack()
        self._reporters[number] = telling.enter_context(reporting(job.place)), telling
        task = ray.remote(_trial).options(**options, max_retries=_LOSSES, name=f"trial {number}")
        self.running[task.remote(job, self._folder, self._conversation.voice, self._images, sys.argv)] = job

    def wait(self) -> tuple[Job, Outcome]:
        """The next trial that is over."""
        import ray

        reference = self._conversation.until_one_of(self.running)
        job = self.running.pop(reference)
        lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)
        with in_our_words():
            try:
                outcome, content = ray.get(reference)
            except lost as error:
                failure = f"{type(error).__name__}: its process was lost {_LOSSES + 1} times"
                outcome, content = Outcome("failed", failure=failure), None
        if content is not None:
            unpack(content, Path(job.folder))
        self._reporters.pop(job.place.number)[1].close()
        return job, outcome

    def close(self) -> None:
        """Stop those that are still under way, each after its step."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError, ConnectionError):  # what ended the sweep may be the cluster
            for reference in self.running:
                ray.cancel(reference)
            ends = time.monotonic() + _FAREWELL
            while self.running and (over := self._conversation.until_one_of(self.running, ends=ends)) is not None:
                del self.running[over]
        for _, telling in self._reporters.values():
            telling.close()
        self._open.close()

    def _hear(self, what: str, number: int, *said: Any) -> bool:
        if what == "begun":
            self._note(number, *said)
            return False
        reporter, _ = self._reporters[number]
        return reporter.tell(*said)

    def _note(self, number: int, resumed: bool) -> None:
        """Say what becomes of a trial whose process was lost."""
        self._begun[number] += 1
        if self._begun[number] > 1:
            how = "goes on at its last checkpoint" if resumed else "begins anew"
            _logger.warning("trial %d lost its process and %s.", number, how)


@final
class _RemoteReporter(Reporter):
    """Tells the process that has the study."""

    def __init__(self, voice: Voice, number: int) -> None:
        super().__init__()
        self.voice = voice
        self.number = number

    def started(self, run: Run, plan: Plan) -> None:
        self.voice.ask("begun", self.number, run.last_checkpoint.is_file())
        super().started(run, plan)

    def tell(self, epoch: int, accuracy: float) -> bool:
        ends: bool = self.voice.ask("epoch", self.number, epoch, accuracy)
        return ends


def _trial(
    job: Job, folder: SharedFolder, voice: Voice, images: Images, command: Sequence[str]
) -> tuple[Outcome, bytes | None]:
    """The task. Returns the run too, where the folder is not seen."""
    where = folder.here(Path(job.folder).name)
    wait_until_free(where)
    here = dataclasses.replace(job, folder=str(where))
    with named(command):
        outcome = run_trial(here, images, reporter=_RemoteReporter(voice, job.place.number))
    if folder.seen or not where.is_dir():
        return outcome, None
    content = packed(where)
    shutil.rmtree(where)
    with contextlib.suppress(OSError):  # another trial of this machine is in it
        folder.own.rmdir()
    return outcome, content


@functools.lru_cache(maxsize=2)
def _loaded(settings: DataSettings) -> Splits:
    """Ray uses a process for several trials; they share their images."""
    return load(settings)
