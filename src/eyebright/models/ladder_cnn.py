"""`ladder_cnn`: blocks of convolution, convolution, max-pool in the manner of VGG, climbed rung by rung.

The shape is that of Simonyan and Zisserman (2015), "Very Deep Convolutional Networks", scaled down to small
images. Each switch of the settings adds one rung. The lowest one is plain on purpose: no normalisation, and
PyTorch's default initialisation, whose weights are sqrt(6) times smaller in deviation than He et al. (2015)
derive for ReLU, so that signals and gradients shrink from layer to layer.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import LadderCNNSettings
from eyebright.models.classifier import Classifier
from eyebright.models.mlp import hidden_stage
from eyebright.models.simple_cnn import pooled_size, pooled_stage


def build(settings: LadderCNNSettings, spec: InputSpec) -> Classifier:
    """One block for each of `settings.widths`, a hidden layer, a linear head.

    Raises
    ------
    ModelError : the input is smaller than the pools need, 2 ** blocks pixels.
    """
    height, width = pooled_size(spec, pools=len(settings.widths), name=settings.name)
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    channels = spec.channels
    for number, outputs in enumerate(settings.widths, start=1):
        stages[f"stage{number}"] = pooled_stage(
            channels, outputs, convolutions=2, batch_norm=settings.batch_norm, dropout=settings.dropout
        )  # (B, outputs, H / 2 ** number, W / 2 ** number)
        channels = outputs
    stages["flatten"] = nn.Flatten()
    stages["hidden"] = hidden_stage(
        channels * height * width, settings.hidden, batch_norm=settings.batch_norm, dropout=settings.dropout
    )  # (B, hidden)
    return Classifier(nn.Sequential(stages), nn.Linear(settings.hidden, len(spec.classes)), spec, settings)
