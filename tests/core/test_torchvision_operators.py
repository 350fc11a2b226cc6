"""torchvision beside a PyTorch that it was not built for. The operators of these tests are made up."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from eyebright.core import torchvision_operators
from eyebright.core.torchvision_operators import ensure


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision is said to lie."""
    spec = ModuleSpec("torchvision", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    return tmp_path


def lacks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_operators, "_SCHEMAS", {name: "(Tensor x) -> Tensor"})


def test_defines_what_a_library_that_cannot_load_leaves_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "_C.so").write_bytes(b"built for another PyTorch")
    lacks("eyebright_broken", monkeypatch)
    assert ensure()
    assert not ensure()
    with pytest.raises(NotImplementedError, match="torchvision::eyebright_broken"):
        torch.ops.torchvision.eyebright_broken(torch.zeros(1))
    torch.library.register_fake("torchvision::eyebright_broken", lambda x: x)  # the step at which the import failed


def test_defines_what_a_missing_library_leaves_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacks("eyebright_missing", monkeypatch)
    assert ensure()


def test_leaves_a_library_that_loads_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "_C.so").write_bytes(b"")
    monkeypatch.setattr(torch.ops, "load_library", lambda _path: None)
    lacks("eyebright_loaded", monkeypatch)
    assert not ensure()
    assert not hasattr(torch.ops.torchvision, "eyebright_loaded")


def test_does_nothing_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    lacks("eyebright_absent", monkeypatch)
    assert not ensure()
    assert not hasattr(torch.ops.torchvision, "eyebright_absent")


def test_torchvision_can_be_imported() -> None:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    ensure()
    torchvision = importlib.import_module("torchvision")
    assert torchvision.models.resnet18 is not None
