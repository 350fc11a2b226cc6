from __future__ import annotations

from typing import Any

import pytest

from eyebright.cluster.failures import in_our_words
from eyebright.core.errors import ClusterError, DataError, MissingExtraError


@pytest.fixture
def exceptions() -> Any:
    return pytest.importorskip("ray.exceptions")


def test_an_error_of_ours_comes_back_as_it_was(exceptions: Any) -> None:
    inner = exceptions.RayTaskError("answer", "Traceback ...", DataError("no image.", "Add one."))
    outer = exceptions.RayTaskError("conduct", "Traceback ...", inner.as_instanceof_cause())
    with pytest.raises(DataError) as raised, in_our_words():
        raise outer.as_instanceof_cause()
    assert type(raised.value) is DataError
    assert (raised.value.cause, raised.value.remedy) == ("no image.", "Add one.")


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (ValueError("too large\nand more"), "the cluster failed: ValueError: too large"),
        (KeyError(), "the cluster failed: KeyError"),
        (RuntimeError("A server said:\nTraceback (most recent call last):\n  File\nOSError: full"), "OSError: full"),
    ],
)
def test_other_failures_are_told_by_their_deepest_cause(exceptions: Any, cause: Exception, message: str) -> None:
    with pytest.raises(ClusterError, match=message), in_our_words():
        raise exceptions.RayTaskError("trial", "Traceback ...", cause)


def test_failures_of_ray_itself_and_of_the_network(exceptions: Any) -> None:
    for error in (exceptions.WorkerCrashedError(), ConnectionError("it is away")):
        with pytest.raises(ClusterError, match="ray status"), in_our_words():
            raise error


def test_what_ray_train_gathers_is_looked_into(exceptions: Any) -> None:
    train = pytest.importorskip("ray.train")
    gathered = train.WorkerGroupError("rank 0 failed", {0: MissingExtraError("timm", "pretrained")})
    with pytest.raises(MissingExtraError, match="timm"), in_our_words():
        raise exceptions.RayTaskError("conduct", "Traceback ...", gathered)
