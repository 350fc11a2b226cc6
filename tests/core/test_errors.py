from __future__ import annotations

import copy
import pickle

import pytest

from eyebright.core import errors
from eyebright.core.errors import DataError, EyebrightError, MissingExtraError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EyebrightError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_arrives_in_another_process_as_it_was(kind: type[EyebrightError]) -> None:
    error = kind("cause", "remedy")
    for arrived in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(arrived) is kind
        assert (arrived.cause, arrived.remedy, str(arrived)) == (error.cause, error.remedy, str(error))


def test_causes_and_remedies_are_read_one_below_the_other() -> None:
    assert str(DataError("It is gone.", "Fetch it.")) == "It is gone.\nFetch it."
    assert str(DataError("It is gone.")) == "It is gone."
    assert "pip install 'eyebright[report]'" in str(MissingExtraError("jinja2", "report"))
