"""Files of weights as timm publishes them, made here: nothing can be downloaded in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from eyebright.core import torchvision_operators


def save_timm(body: str, path: Path, *, seed: int = 0, classes: int = 1000, **options: Any) -> dict[str, Tensor]:
    """Write weights of the network `body`, with its classifier, and return them."""
    torchvision_operators.ensure()
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: torch.nn.Module = timm.create_model(body, num_classes=classes, **options)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.add_(0.125)  # statistics of norms that nobody has by chance
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return tensors
