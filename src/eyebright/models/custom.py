"""`custom`: a body of the user's own, named in the recipe as `package.module:function`."""

from __future__ import annotations

import importlib
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from eyebright.core import torchvision_operators
from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import CustomSettings
from eyebright.models.classifier import Classifier, evaluating


def build(settings: CustomSettings, spec: InputSpec) -> Classifier:
    """Import the target, call it, try the body on two black images, and put a linear head on it.

    Raises
    ------
    ModelError : the target cannot be imported or called, or its body does not give (B, features).
    """
    _refuse_unsaveable(settings)
    function = _resolve(settings.target)
    try:
        body = function(spec, **settings.options)
    except Exception as error:
        raise ModelError(
            f"{settings.target} failed with {type(error).__name__}: {error}",
            f"It is called as function(spec, **options) with options {settings.options}; mend it or the options.",
        ) from error
    if not isinstance(body, nn.Module):
        raise ModelError(
            f"{settings.target} returned {type(body).__name__} and not a torch.nn.Module.",
            "Return the body: a module from normalised images (B, C, H, W) to features (B, F).",
        )
    _try(body, settings, spec)
    return Classifier(body, nn.Linear(settings.features, len(spec.classes)), spec, settings)


def example_body(spec: InputSpec, *, width: int = 32) -> nn.Module:
    """The smallest body worth the name, to start your own from: two convolutions and the mean over all pixels."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            stage1=nn.Sequential(nn.Conv2d(spec.channels, width, 3, stride=2, padding=1), nn.ReLU()),
            stage2=nn.Sequential(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU()),
            pool=nn.AdaptiveAvgPool2d(1),  # (B, width, 1, 1)
            flatten=nn.Flatten(),  # (B, width)
        )
    )


def _refuse_unsaveable(settings: CustomSettings) -> None:
    # Asked before the training, not when the first checkpoint is written.
    try:
        json.dumps(settings.options)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"the options of {settings.target} cannot be saved: {error}.",
            "Pass numbers, texts, lists and dictionaries only, and make objects inside the function.",
        ) from error


def _resolve(target: str) -> Callable[..., Any]:
    module_name, colon, function_name = target.partition(":")
    if not (module_name and colon and function_name):
        raise ModelError(f"{target!r} names no function.", "Write model.target as package.module:function.")
    torchvision_operators.ensure()  # many bodies build on torchvision or timm
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module runs any code when it is imported
        raise ModelError(
            f"cannot import {module_name!r} of model.target={target}: {type(error).__name__}: {error}",
            "Install the package, or add the folder that holds it to PYTHONPATH.",
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ModelError(
            f"{module_name!r} has no function {function_name!r} (model.target={target}).",
            f"Define it in {getattr(module, '__file__', None) or module_name}, or mend the name.",
        )
    return function  # type: ignore[no-any-return]  # callable() does not tell mypy the result


def _try(body: nn.Module, settings: CustomSettings, spec: InputSpec) -> None:
    images = torch.zeros(2, spec.channels, spec.height, spec.width)
    try:
        with evaluating(body), torch.no_grad():  # batch normalisation must not learn from black images
            features = body(images)
    except Exception as error:
        raise ModelError(
            f"the body of {settings.target} failed on images {tuple(images.shape)}: {type(error).__name__}: {error}",
            "It must take normalised images (B, C, H, W) float32 of the sizes in `spec`.",
        ) from error
    found = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
    if found != (2, settings.features):
        raise ModelError(
            f"the body of {settings.target} gave {found} for 2 images; wanted are features (2, {settings.features}).",
            "Set model.features to the body's number of features, and flatten or pool what it returns to (B, F).",
        )
