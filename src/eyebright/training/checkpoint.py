"""Everything that the next step depends on, in one safetensors file that is swapped in atomically.

Resuming is exact because the rest is a pure function: batches, augmentation and dropout of (seed,
epoch, batch), the learning rate of the step.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from eyebright.core.errors import CheckpointError
from eyebright.core.files import write_bytes
from eyebright.models import weights
from eyebright.models.classifier import Classifier
from eyebright.training.ema import MovingAverage
from eyebright.training.run import EpochRecord

# The only key of the file's metadata: safetensors writes several in random order.
_KEY = "eyebright training state"


@dataclasses.dataclass
class Position:
    """Where a training stands; the only mutable record of it.

    Attributes
    ----------
    epoch : epochs finished.
    batch : batches done in the epoch under way.
    loss_sum : of the per-image losses of this epoch, nats.
    correct, seen : training images of this epoch.
    epoch_seconds : spent in this epoch, over all processes that worked on it.
    best_epoch, best_score : 0 and None before the first judgement.
    history : finished epochs.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    epoch_seconds: float = 0.0
    best_epoch: int = 0
    best_score: float | None = None
    history: list[EpochRecord] = dataclasses.field(default_factory=list)

    def begin_epoch(self) -> None:
        """Forget the running sums of the epoch that ended."""
        self.batch, self.loss_sum, self.correct, self.seen, self.epoch_seconds = 0, 0.0, 0, 0, 0.0


@dataclasses.dataclass(frozen=True)
class Trained:
    """All that a step of training changes.

    Attributes
    ----------
    model : the weights that are stepped.
    optimizer : its momenta.
    average : moving average of the weights, where the recipe asks for one.
    scaler : of fp16 gradients; does nothing in other precisions.
    position : how far it is.
    """

    model: Classifier
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None
    scaler: torch.amp.GradScaler
    position: Position

    @property
    def judged(self) -> Classifier:
        """The model that is validated and kept."""
        return self.average.model if self.average else self.model


def save(trained: Trained, path: Path) -> None:
    """Write the whole state."""
    tensors = {f"model.{name}": value for name, value in trained.model.state_dict().items()}
    if trained.average:
        tensors |= {f"average.{name}": value for name, value in trained.average.model.state_dict().items()}
    for number, state in trained.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items() if value is not None}
    copies = {name: weights.contiguous(value) for name, value in tensors.items()}
    about = {
        "position": dataclasses.asdict(trained.position),
        "scaler": trained.scaler.state_dict(),
        "optimizer": type(trained.optimizer).__name__,
        "digest": weights.digest_of(copies),
    }
    write_bytes(path, safetensors.torch.save(copies, {_KEY: json.dumps(about)}))


def restore(trained: Trained, path: Path) -> None:
    """Bring freshly built parts to the state in `path`, in place.

    Raises
    ------
    CheckpointError : missing, damaged, or of another model.
    """
    position, about, tensors = _read(path)
    if about["optimizer"] != type(trained.optimizer).__name__:
        raise CheckpointError(
            f"{path} was written by the optimiser {about['optimizer']}, but the recipe says "
            f"{type(trained.optimizer).__name__}.",
            "Restore the recipe.yaml that the run was begun with, or begin a new run.",
        )
    weights.load_into(trained.model, _below("model.", tensors), path)
    if trained.average:
        weights.load_into(trained.average.model, _below("average.", tensors), path)
    _restore_optimizer(trained.optimizer, _below("optimizer.", tensors))
    trained.scaler.load_state_dict(about["scaler"])
    for field in dataclasses.fields(Position):
        setattr(trained.position, field.name, getattr(position, field.name))


def restore_model(model: Classifier, path: Path) -> None:
    """Give a model the weights that the training in `path` has stepped last, which need not be its best ones.

    Raises
    ------
    CheckpointError : missing, damaged, or of another model.
    """
    _, _, tensors = _read(path)
    weights.load_into(model, _below("model.", tensors), path)


def _read(path: Path) -> tuple[Position, dict[str, Any], dict[str, Tensor]]:
    """Where the training stands, all that is said of it, and its tensors."""
    try:
        with safe_open(path, framework="pt") as stored:
            about = json.loads((stored.metadata() or {})[_KEY])
            tensors = {name: stored.get_tensor(name) for name in stored.offset_keys()}
        position = Position(**about["position"])
        if weights.digest_of(tensors) != about["digest"]:
            raise ValueError("its tensors are not those that were written")
        if not {"optimizer", "scaler"} <= about.keys():
            raise ValueError("it says nothing of the optimiser")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole training checkpoint: {error}", "Begin a new run; best.safetensors is separate."
        ) from error
    return position, about, tensors


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, value in tensors.items():
        number, _, field = name.partition(".")
        state.setdefault(int(number), {})[field] = _like(parameters[int(number)], value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """`value` in the memory layout of `parameter`: fused optimisers walk both as flat memory."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value).detach()
