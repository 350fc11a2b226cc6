from __future__ import annotations

import re

import pytest

from eyebright.cluster import resources
from eyebright.cluster.resources import Machine, Share, share_of_trial, share_of_worker, usual_workers
from eyebright.core.errors import ClusterError
from eyebright.core.recipe import Recipe, recipe

SMALL: list[Machine] = [{"CPU": 4.0}, {"CPU": 8.0}, {"CPU": 0.0}]
WITH_GPUS: list[Machine] = [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0}]


@pytest.fixture
def digits() -> Recipe:
    return recipe("digits/mlp")


def use(machines: list[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "machines", lambda: machines)


def test_a_trial_takes_a_core_or_the_threads_of_its_recipe_or_a_gpu(
    digits: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(SMALL, monkeypatch)
    assert share_of_trial(digits) == Share(1, 0)
    assert share_of_trial(digits).room() == 12
    assert share_of_trial(digits.replace(threads=3)).room() == 1 + 2
    use(WITH_GPUS, monkeypatch)
    assert share_of_trial(digits) == Share(1, 1)
    assert share_of_trial(digits).room() == 4
    assert share_of_trial(digits.replace(device="cpu")).room() == 24
    assert Share(2, 1).options == {"num_cpus": 2, "num_gpus": 1}


def test_what_fits_nowhere_is_refused(digits: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    use(SMALL, monkeypatch)
    with pytest.raises(ClusterError, match=r"(?s)no machine of the cluster has 9 CPUs.*fewer training\.threads"):
        share_of_trial(digits.replace(threads=9)).room()


@pytest.mark.parametrize(
    ("workers", "together", "cores"), [(1, False, 8), (2, False, 4), (3, False, 4), (4, False, 2), (3, True, 2)]
)
def test_processes_of_a_training_divide_the_cores(
    digits: Recipe, monkeypatch: pytest.MonkeyPatch, workers: int, together: bool, cores: int
) -> None:
    use(SMALL, monkeypatch)
    assert share_of_worker(digits, workers, together=together) == Share(cores, 0)


def test_too_many_processes_are_refused(digits: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    use(SMALL, monkeypatch)
    listed = re.escape("it has 3 machines: 4 CPUs, 8 CPUs, 0 CPUs.")
    with pytest.raises(ClusterError, match=f"the cluster has room for 13 processes of 1 CPUs: {listed}"):
        share_of_worker(digits, 13, together=False)
    with pytest.raises(ClusterError, match=r"(?s)no machine.*room for 9 processes.*--out"):
        share_of_worker(digits, 9, together=True)
    use(WITH_GPUS, monkeypatch)
    with pytest.raises(ClusterError, match=r"1 CPUs and a GPU: it has 2 machines: 16 CPUs and 4 GPUs, 8 CPUs"):
        share_of_worker(digits, 5, together=False)
    assert share_of_worker(digits, 4, together=False) == Share(4, 1)


def test_a_process_for_each_gpu_else_for_each_machine(digits: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    use(SMALL, monkeypatch)
    assert usual_workers(digits) == 2
    use(WITH_GPUS, monkeypatch)
    assert usual_workers(digits) == 4
    assert usual_workers(digits.replace(device="cpu")) == 2
