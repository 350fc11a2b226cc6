"""Small networks of every kind, and images to show them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import CustomSettings, ResNetSettings
from eyebright.core.torchvision_operators import ensure
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.models import registry
from eyebright.models.classifier import Classifier

CLASSES = ("cat", "dog", "owl", "ship")


def make_spec(size: int = 32, channels: int = 3) -> InputSpec:
    return InputSpec(size, size, channels, (0.5,) * channels, (0.25,) * channels, CLASSES)


def classifier(body: nn.Module, spec: InputSpec | None = None, *, seed: int = 0) -> Classifier:
    """A body of random weights with a linear head on it, whose logits are of the size of a trained network's."""
    spec = spec or make_spec()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, parameter in body.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=1.4 / parameter[0].numel() ** 0.5)
            elif name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
        features = body.eval()(torch.randn(8, spec.channels, spec.height, spec.width))  # (8, F)
        head = nn.Linear(features.shape[1], len(spec.classes))
        nn.init.normal_(head.weight, std=3 / float(features.norm(dim=1).mean()))
        nn.init.zeros_(head.bias)
    settings = CustomSettings(target="networks:made", features=features.shape[1])
    return Classifier(body.train(), head, spec, settings)


def plain_cnn() -> Classifier:
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return classifier(body)


def our_resnet() -> Classifier:
    return registry.build(ResNetSettings(name="resnet20"), make_spec(), seed=1)


def resnet() -> Classifier:
    """With one ReLU an block that runs twice, in place."""
    models: Any = _torchvision("resnet")
    body = models.ResNet(models.BasicBlock, [1, 1, 1, 1])
    body.fc = nn.Identity()
    return classifier(body)


def densenet() -> Classifier:
    """With a functional ReLU that changes the output of its last layer in place."""
    body = _torchvision("densenet").DenseNet(growth_rate=8, block_config=(2, 2, 2), num_init_features=16)
    body.classifier = nn.Identity()
    return classifier(body)


def vit(**options: Any) -> Classifier:
    """16 tokens, by default after a class token, which alone is read."""
    ensure()
    made = importlib.import_module("timm.models.vision_transformer").VisionTransformer
    return classifier(made(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=0, **options))


def swin() -> Classifier:
    """(B, H, W, C) inside."""
    ensure()
    made = importlib.import_module("timm.models.swin_transformer").SwinTransformer
    sizes = {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 2), "window_size": 4, "patch_size": 2}
    return classifier(made(img_size=32, num_classes=0, **sizes))


def _torchvision(name: str) -> Any:
    ensure()
    return importlib.import_module(f"torchvision.models.{name}")


def make_images(count: int, size: int = 32, *, channels: int = 3, seed: int = 0) -> ImageSet:
    """Images of large random patches."""
    random = np.random.default_rng(seed)
    patches = random.integers(0, 256, (count, size // 4, size // 4, channels))
    pixels: NDArray[np.uint8] = patches.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    store = ImageStore(pixels, labels, [f"{row}.png" for row in range(count)], CLASSES, "patches")
    return ImageSet(store, np.arange(count), "test")


def normalised(model: Classifier, images: ImageSet) -> Tensor:
    return model.normalise(torch.from_numpy(images.images).permute(0, 3, 1, 2))


def gives(change: Any) -> nn.Module:
    """A layer that computes `change`."""

    class Given(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return change(x)

    return Given()
