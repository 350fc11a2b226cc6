"""What a process takes of a cluster, and how many of them it has room for."""

from __future__ import annotations

import dataclasses
from typing import Any, final

from eyebright.core.errors import ClusterError
from eyebright.core.recipe import Recipe

Machine = dict[str, float]  # what there is on a machine, by Ray's names


@final
@dataclasses.dataclass(frozen=True)
class Share:
    """What one process takes of a machine.

    Attributes
    ----------
    cpus : cores; Ray tells the process by OMP_NUM_THREADS.
    gpus : 0 or 1.
    """

    cpus: int
    gpus: int

    @property
    def options(self) -> dict[str, float]:
        """As a task of Ray takes it."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}

    def room_on(self, machine: Machine) -> int:
        """How many such processes a machine holds."""
        rooms = [machine.get("CPU", 0) // self.cpus]
        if self.gpus:
            rooms.append(machine.get("GPU", 0) // self.gpus)
        return int(min(rooms))

    def room(self) -> int:
        """How many the cluster holds.

        Raises
        ------
        ClusterError : not even one.
        """
        rooms = sum(self.room_on(machine) for machine in machines())
        if rooms < 1:
            raise ClusterError(
                f"no machine of the cluster has {self.cpus} CPUs{' and a GPU' if self.gpus else ''} for one process.",
                "Use fewer training.threads, or training.device=cpu, or start a larger machine.",
            )
        return rooms


def machines() -> list[Machine]:
    """What each machine of the cluster has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share_of_trial(recipe: Recipe) -> Share:
    """What a trial takes: many trials at a time, each on one core (or GPU), end sooner than few on many."""
    return Share(recipe.training.threads or 1, _gpus(recipe))


def usual_workers(recipe: Recipe) -> int:
    """How many processes train one recipe where nobody says: one for each GPU, else for each machine."""
    known = machines()
    if _gpus(recipe):
        return int(sum(machine.get("GPU", 0) for machine in known))
    return max(1, sum(machine.get("CPU", 0) >= 1 for machine in known))


def share_of_worker(recipe: Recipe, workers: int, *, together: bool) -> Share:
    """What each process of one training takes: as many cores as there are for it.

    Parameters
    ----------
    recipe : of the training.
    workers : how many processes.
    together : whether all must be on one machine.

    Raises
    ------
    ClusterError : the cluster has no room for so many.
    """
    known, gpus = machines(), _gpus(recipe)
    most = int(max((machine.get("CPU", 0) for machine in known), default=0))
    wanted = recipe.training.threads
    for share in (Share(cpus, gpus) for cpus in ([wanted] if wanted else range(most, 0, -1))):
        rooms = [share.room_on(machine) for machine in known]
        if (max(rooms, default=0) if together else sum(rooms)) >= workers:
            return share
    place = "no machine of the cluster" if together else "the cluster"
    shared = " On several machines they need the run's folder (--out) on storage that all share." if together else ""
    raise ClusterError(
        f"{place} has room for {workers} processes of {wanted or 1} CPUs{' and a GPU' if gpus else ''}: it has "
        f"{_listed(known)}.",
        f"Ask for fewer --workers, or start more machines first.{shared}",
    )


def _gpus(recipe: Recipe) -> int:
    return int(recipe.training.device in {"auto", "cuda"} and any(machine.get("GPU", 0) for machine in machines()))


def _listed(known: list[Machine]) -> str:
    def words(machine: Any) -> str:
        gpus = f" and {machine['GPU']:g} GPUs" if machine.get("GPU") else ""
        return f"{machine.get('CPU', 0):g} CPUs{gpus}"

    return f"{len(known)} machines: {', '.join(map(words, known))}"
