"""`Classifier`: raw uint8 pixels in, logits out. Normalisation is part of the model."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import ModelSettings


class Prepared(nn.Module, abc.ABC):
    """A first stage of a body that is computed from training images before the training begins."""

    @abc.abstractmethod
    def prepare(self, images: Tensor) -> None:
        """See normalised images (B, C, H, W) float32."""


class Classifier(nn.Module):
    """A body that makes features, a head that makes logits, and the `InputSpec` of both.

    Parameters
    ----------
    body : maps normalised images (B, C, H, W) float to features (B, F).
    head : maps features (B, F) to logits (B, K).
    spec : what goes in and what comes out.
    settings : the choice that it was built from; with `spec` and the weights it rebuilds the model.

    Attributes
    ----------
    never_learning : names in `body` of the parameters that its author has frozen.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, head: nn.Module, spec: InputSpec, settings: ModelSettings) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.spec = spec
        self.settings = settings
        self.never_learning = frozenset(name for name, value in body.named_parameters() if not value.requires_grad)
        # In units of the 0..255 range of the pixels: one subtraction and one division normalise. Not part of the
        # weights: `spec` alone says them, and no checkpoint can say otherwise.
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(spec.std).view(1, -1, 1, 1), persistent=False)

    @property
    def wants_images(self) -> bool:
        """Whether the first stage is computed from training images, by `prepare`."""
        return isinstance(next(self.body.children(), None), Prepared)

    def prepare(self, images: Tensor) -> None:
        """Show some training images (B, C, H, W) uint8 to a first stage that is computed from them and not learnt."""
        first = next(self.body.children(), None)
        if isinstance(first, Prepared):
            first.prepare(self.normalise(images))

    @property
    def network(self) -> nn.Module:
        """The body without the modules that only wrap it: its children are the stages."""
        network = self.body
        while len(children := list(network.children())) == 1:
            (network,) = children
        return network

    def normalise(self, images: Tensor, *, any_size: bool = False) -> Tensor:
        """Images (B, C, H, W), uint8 or float in 0..255, to float32 of mean 0 and deviation 1.

        Raises
        ------
        ModelError : other channels than the spec's or, unless `any_size`, another size.
        """
        wanted = (self.spec.channels, self.spec.height, self.spec.width)
        compared = 1 if any_size else 3
        if images.ndim != 4 or tuple(images.shape[1:])[:compared] != wanted[:compared]:
            raise ModelError(
                f"the model takes images (B, {', '.join(map(str, wanted))}) but got {tuple(images.shape)}.",
                "Load the images through eyebright.load or eyebright.predict, which resize to the model's InputSpec.",
            )
        return (images.float() - self.mean) / self.std  # (B, C, H, W)

    def features(self, images: Tensor, *, any_size: bool = False) -> Tensor:
        """Images (B, C, H, W), uint8 or float in 0..255, to features (B, F).

        Features are given back as they are: of a frozen body they can be computed once and for all.
        """
        if images.ndim == 2:
            return images
        features: Tensor = self.body(self.normalise(images, any_size=any_size))
        return features

    def forward(self, images: Tensor, *, any_size: bool = False) -> Tensor:
        """Images (B, C, H, W), uint8 or float in 0..255, to logits (B, K) float32.

        With `any_size` they may be smaller or larger than the spec says, as far as the body can take it: progressive
        resizing trains with small images. Nothing but training should need it.
        """
        logits: Tensor = self.head(self.features(images, any_size=any_size))
        return logits.float()


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; then every layer gets its own mode back, frozen ones theirs."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
