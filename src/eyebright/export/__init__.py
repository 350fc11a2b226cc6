"""Shipping a model: bundles that carry their preprocessing and the proof that they answer as the model does.

`eyebright.export` is this package and, for the public `eb.export(run, "model.onnx", ...)`, what one calls: whether
something in it has been imported already or not, the name means both.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return importlib.import_module(f"{self.__name__}.write").export(*arguments, **options)


export = sys.modules[__name__]  # where the public name is looked up
export.__class__ = _CallablePackage
