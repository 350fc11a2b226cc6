from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import CustomSettings
from eyebright.models import registry

SPEC = InputSpec(6, 6, 1, (0.5,), (0.25,), ("cat", "dog", "frog"))


@pytest.fixture(autouse=True)
def their_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of a user, as if it had been imported."""

    def flat(spec: InputSpec, *, norm: bool = False) -> nn.Module:
        pixels = spec.channels * spec.height * spec.width
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(pixels) if norm else nn.Identity())

    def forgetful(spec: InputSpec) -> None:
        flat(spec)

    def too_large(spec: InputSpec) -> nn.Module:
        return nn.Conv2d(3, 4, 3)

    module: Any = types.ModuleType("their_networks")
    module.flat, module.forgetful, module.too_large, module.constant = flat, forgetful, too_large, 3
    monkeypatch.setitem(sys.modules, "their_networks", module)


def build(function: str, features: int = 36, **options: Any) -> nn.Module:
    settings = CustomSettings(target=f"their_networks:{function}", features=features, options=options)
    return registry.build(settings, SPEC)


def test_a_body_gets_a_linear_head() -> None:
    model = build("flat")
    assert model(torch.zeros(2, 1, 6, 6, dtype=torch.uint8)).shape == (2, 3)
    assert sum(parameter.numel() for parameter in model.parameters()) == 36 * 3 + 3


def test_options_are_passed_on_and_the_trial_leaves_no_trace() -> None:
    model = build("flat", norm=True)
    norm = model.get_submodule("body.1")
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.training
    assert norm.running_mean is not None
    assert not bool(norm.running_mean.any())
    assert int(norm.num_batches_tracked or 0) == 0


def test_a_target_is_imported_from_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "network_on_disk.py").write_text("from torch import nn\ndef body(spec):\n    return nn.Flatten()\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = CustomSettings(target="network_on_disk:body", features=36)
    try:
        assert isinstance(registry.build(settings, SPEC).body, nn.Flatten)
    finally:
        sys.modules.pop("network_on_disk")


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("their_networks", r"'their_networks' names no function"),
        ("their_networks:", r"names no function"),
        (":flat", r"names no function"),
        ("no_such_package:flat", r"cannot import 'no_such_package'(.|\n)*PYTHONPATH"),
        ("their_networks:flatt", r"has no function 'flatt'"),
        ("their_networks:constant", r"has no function 'constant'"),
        ("their_networks:forgetful", r"returned NoneType and not a torch.nn.Module"),
        ("their_networks:too_large", r"failed on images \(2, 1, 6, 6\): RuntimeError"),
    ],
)
def test_a_wrong_target_is_refused(target: str, cause: str) -> None:
    with pytest.raises(ModelError, match=cause):
        registry.build(CustomSettings(target=target, features=36), SPEC)


def test_a_module_that_fails_while_it_is_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_network.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"cannot import 'broken_network'.*ZeroDivisionError"):
        registry.build(CustomSettings(target="broken_network:body", features=36), SPEC)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ModelError, match=r"flat failed with TypeError(.|\n)*{'nrom': True}"):
        build("flat", nrom=True)


def test_options_that_a_checkpoint_could_not_hold_are_refused() -> None:
    with pytest.raises(ModelError, match=r"cannot be saved(.|\n)*numbers, texts"):
        build("flat", norm=torch.nn.ReLU())


def test_a_wrong_number_of_features_is_refused() -> None:
    with pytest.raises(ModelError, match=r"gave \(2, 36\) for 2 images; wanted are features \(2, 35\)"):
        build("flat", features=35)
