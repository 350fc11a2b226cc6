"""Transforms of torchvision, version 2 of its interface; the only module of the data floor that imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from eyebright.core import torchvision_operators
from eyebright.core.errors import MissingExtraError
from eyebright.data.transforms.library import Draws, Library, Transform

# What its transforms draw with; Dirichlet's distribution has no public name.
_RANDOM = frozenset(
    {
        torch.bernoulli,
        torch.multinomial,
        torch.normal,
        torch.rand,
        torch.rand_like,
        torch.randint,
        torch.randint_like,
        torch.randn,
        torch.randn_like,
        torch.randperm,
        torch._sample_dirichlet,
        Tensor.bernoulli_,
        Tensor.exponential_,
        Tensor.normal_,
        Tensor.random_,
        Tensor.uniform_,
    }
)


@final
class Torchvision(Library):
    """torchvision.transforms.v2: tensors (C, H, W)."""

    namespace = "torchvision.transforms.v2"
    endings = frozenset(
        {"ConvertImageDtype", "Normalize", "PILToTensor", "ToDtype", "ToImage", "ToPureTensor", "ToTensor"}
    )

    def classes(self) -> Mapping[str, type]:
        torchvision_operators.ensure()
        try:
            from torchvision.transforms import v2
        except ImportError as error:
            raise MissingExtraError("torchvision", "pretrained") from error
        return {
            name: each for name, each in vars(v2).items() if isinstance(each, type) and issubclass(each, v2.Transform)
        }

    def apply(self, transform: Transform, image: NDArray[Any], draws: Draws) -> Any:
        tensor = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)  # (C, H, W)
        with _DrawingFrom(draws.torch):
            made = transform(tensor)
        return made.permute(1, 2, 0).numpy() if isinstance(made, Tensor) and made.ndim == 3 else made


class _DrawingFrom(TorchFunctionMode):
    """Lets this thread's random functions draw from one generator.

    torch's own is one for all threads: seeding it here would also change what the training draws at the same time.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in _RANDOM:
            given.setdefault("generator", self.generator)
        return func(*args, **given)
