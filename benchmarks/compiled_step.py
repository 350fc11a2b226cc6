"""Whether torch.compile pays on this machine: a training step of a recipe's network, eager and compiled in turn.

    python benchmarks/compiled_step.py [--recipe cifar10/speed94] [--images 1024] [--steps 6]

Random images of 32x32 pixels, forward, backward and a plain SGD step, as the engine computes here (precision, layout,
threads, allocator). Printed are the first step, which holds the compilation, the median of `--steps` after two more,
the loss after the last, and of one further step the processor time of convolutions and of everything else.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

import eyebright as eb
from eyebright.core import torchvision_operators
from eyebright.core.device import choose
from eyebright.models.registry import build

_CONVOLUTIONS = {"aten::convolution_backward", "aten::mkldnn_convolution", "aten::cudnn_convolution"}


def main() -> None:
    """Eager, compiled, eager again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cifar10/speed94")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()
    torchvision_operators.ensure()  # the compiler imports torchvision where it is installed
    print(f"{choose()}; torch {torch.__version__}", flush=True)
    for compiled in (False, True, False):
        measure(eb.recipe(arguments.recipe), arguments.images, arguments.steps, compiled=compiled)


def measure(recipe: eb.Recipe, images: int, steps: int, *, compiled: bool) -> None:
    """Print one way."""
    plan = choose()
    spec = eb.InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("0123456789"))
    model = build(recipe.model, spec, seed=0)
    plan.place(model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8, generator=random)
    labels = torch.randint(0, 10, (images,), generator=random).to(plan.device)
    pixels = pixels.to(plan.device).contiguous(memory_format=plan.memory_format)
    network: nn.Module = torch.compile(model) if compiled else model  # type: ignore[assignment]  # it returns a module
    seconds = []

    def step() -> float:
        with plan.autocast():
            loss = F.cross_entropy(network(pixels), labels, label_smoothing=recipe.training.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    with plan.applied():
        for _ in range(3 + steps):
            begin = time.perf_counter()
            loss = step()
            seconds.append(time.perf_counter() - begin)
        with torch.profiler.profile() as profile:
            step()
    spent = {event.key: event.self_cpu_time_total / 1e6 for event in profile.key_averages()}
    convolutions = sum(taken for name, taken in spent.items() if name in _CONVOLUTIONS)
    way, later = "compiled" if compiled else "eager", statistics.median(seconds[3:])
    print(
        f"{way:<9} first step {seconds[0]:5.1f} s, then {later:.2f} s; "
        f"loss {loss:.3f}; convolutions {convolutions:.2f} s, the rest {sum(spent.values()) - convolutions:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
