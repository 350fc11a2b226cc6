"""What the tests of the data share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of decoded images for each test; the user's own stays untouched."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(path))
    return path
