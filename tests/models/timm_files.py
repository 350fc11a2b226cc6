"""Files of weights as timm publishes them, made here: nothing can be downloaded in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from eyebright.core import torchvision_operators


def save_timm(body: str, path: Path, *, seed: int = 0, classes: int = 1000, **options: Any) -> dict[str, Tensor]:
    """Write weights of the network `body`, with its classifier, and return them."""
    torchvision_operators.ensure()
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = timm.create_model(body, num_classes=classes, **options)
        _see_images(network)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return tensors


@torch.no_grad()
def _see_images(network: nn.Module) -> None:
    """Give the norms statistics of images, as a training would: features vary, and nobody has them by chance."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the average of all batches, here of one
    if norms:
        network.train()(torch.rand(4, 3, 96, 96))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
