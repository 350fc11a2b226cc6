"""Group `training`: length, batches, regularisation of the loss, and the machine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from eyebright.core.settings.fields import (
    Fraction,
    NotNegative,
    NotNegativeFloat,
    OpenFraction,
    Positive,
    PositiveFloat,
    PositiveFraction,
    settings,
)

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Monitor = Literal["accuracy", "loss"]
Views = Literal["one", "mirror", "shift"]


def _from_the_start(value: Any) -> Any:
    """Names without shares learn from the start."""
    return dict.fromkeys(value, 0.0) if isinstance(value, list | tuple) else value


@settings
class TrainingSettings:
    """How long, how large, on what.

    Attributes
    ----------
    epochs : passes over the training images.
    batch_size : images a step of the optimiser sees at once (before accumulation), over all processes together.
    accumulate : batches whose gradients are averaged before one step.
    label_smoothing : probability taken from the true class and spread over all.
    class_weights : "balanced" weighs each class by 1 / its frequency.
    clip_norm : longest allowed gradient (L2 norm over all parameters).
    ema : decay of an exponential moving average of the weights, which is then what is judged and kept.
    patience : stop after this many epochs without a better validation score.
    monitor : what "better" means, on the validation images.
    precision : "auto" takes bf16 where the processor computes in it, else fp32.
    device : "auto", "cpu", "cuda", "cuda:1", "mps".
    threads : of the CPU, in each process; default: those this process may use.
    workers : threads that prepare batches ahead; default: chosen by the kind of data.
    deterministic : demand the same bits from the same seed on the same machine.
    progressive : pairs of a share of the training and a scale: until that share is done, training images are
        shrunk to that scale of their size (progressive resizing); then they have their own.
    freeze : stages of the body by name, and the share of the training after which their weights stay as they are.
    unfreeze : stages of the body by name, and the share of the training from which on they learn, or only names, which
        learn from the start; the others never do. "all" names the whole body. Empty trains the head alone; null
        (default) everything. A stage that does not learn keeps the statistics of its norms too.
    stage_decay : learning rate of a stage of the body, as a share of that of the stage behind it; the head has the
        whole (discriminative learning rates).
    cache_features : of a body that never learns, compute the features of each image once, where augmentation allows it
        (none, or flip alone); see `eyebright.training.feature_cache`.
    views : of each image that the final scores average over: "one", "mirror" (the image and its mirror image), or
        "shift" (these two, and both moved by one pixel along the diagonal, either way: six views).
    sync_batch_norm : of several processes, normalise over the images of all (GPUs only); else each over its own share
        of a batch, and the running statistics of the first one are kept.
    checkpoint_seconds : longest time between two checkpoints inside an epoch.
    """

    epochs: Positive = 10
    batch_size: Positive = 128
    accumulate: Positive = 1
    label_smoothing: OpenFraction = 0.0
    class_weights: Literal["balanced"] | None = None
    clip_norm: PositiveFloat | None = None
    ema: OpenFraction | None = None
    patience: Positive | None = None
    monitor: Monitor = "accuracy"
    precision: Precision = "auto"
    device: str = "auto"
    threads: Positive | None = None
    workers: NotNegative | None = None
    deterministic: bool = True
    progressive: tuple[tuple[Fraction, PositiveFraction], ...] = ()
    freeze: dict[str, Fraction] = Field(default_factory=dict)
    unfreeze: Annotated[dict[str, Fraction], BeforeValidator(_from_the_start)] | None = None
    stage_decay: PositiveFraction = 1.0
    cache_features: bool = True
    views: Views = "one"
    sync_batch_norm: bool = False
    checkpoint_seconds: NotNegativeFloat = 60.0
