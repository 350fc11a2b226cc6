"""Group `training`: length, batches, regularisation of the loss, and the machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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


@settings
class TrainingSettings:
    """How long, how large, on what.

    Attributes
    ----------
    epochs : passes over the training images.
    batch_size : images a step of the optimiser sees at once (before accumulation).
    accumulate : batches whose gradients are averaged before one step.
    label_smoothing : probability taken from the true class and spread over all.
    class_weights : "balanced" weighs each class by 1 / its frequency.
    clip_norm : longest allowed gradient (L2 norm over all parameters).
    ema : decay of an exponential moving average of the weights, which is then what is judged and kept.
    patience : stop after this many epochs without a better validation score.
    monitor : what "better" means, on the validation images.
    precision : "auto" takes bf16 where the processor computes in it, else fp32.
    device : "auto", "cpu", "cuda", "cuda:1", "mps".
    threads : of the CPU; default: those this process may use.
    workers : threads that prepare batches ahead; default: chosen by the kind of data.
    deterministic : demand the same bits from the same seed on the same machine.
    progressive : pairs of a share of the training and a scale: until that share is done, training images are
        shrunk to that scale of their size (progressive resizing); then they have their own.
    freeze : stages of the body by name, and the share of the training after which their weights stay as they are.
    views : of each image that the final scores average over: "one", "mirror" (the image and its mirror image), or
        "shift" (these two, and both moved by one pixel along the diagonal, either way: six views).
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
    views: Views = "one"
    checkpoint_seconds: NotNegativeFloat = 60.0
