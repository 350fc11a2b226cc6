"""Which part of an image speaks for a class: eight class-activation maps of a layer, and two methods of the input.

A map of a layer weighs its activations A (B, C, h, w), by the gradients G of the class's logit with respect to them
or by what the logit does when channels are shown or removed alone:

- `grad_cam`: Selvaraju et al. 2017, arXiv:1610.02391. G averaged over the pixels.
- `grad_cam_plus_plus`: Chattopadhay et al. 2018, arXiv:1710.11063, equation 19, with the logit in place of its
  exponential, which changes no map: a factor for each image. It divides by a sum that can come near 0 where
  activations are negative; there the last digits decide.
- `hires_cam`: Draelos and Carin 2020, arXiv:2011.08891. G itself.
- `layer_cam`: Jiang et al. 2021, doi:10.1109/TIP.2021.3089943. The positive part of G.
- `eigen_cam`: Muhammad and Yeasin 2020, arXiv:2008.00299. The first principal component of A, whatever the class. We
  centre A, as pytorch-grad-cam does, and let the sign, which a component leaves open, be that of strong activations.
- `score_cam`: Wang et al. 2020, arXiv:1910.01279. The logit of the image seen through each channel alone, softmax over
  the channels. One forward pass a channel.
- `ablation_cam`: Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360. By how much the logit falls without
  each channel. We do not divide by the logit, which would turn the map of a negative one inside out. One forward pass
  a channel.
- `guided_grad_cam`: Selvaraju et al. 2017 again. Grad-CAM at the size of the image, times the gradient of the image
  that flows back through positive gradients only (guided backpropagation, Springenberg et al. 2014, arXiv:1412.6806),
  the largest over the colours. Such gradients draw the edges of the image almost whatever the weights (Adebayo et al.
  2018, arXiv:1810.03292): believe these maps only where the check with randomised weights passes. It is defined for
  networks of ReLUs alone.

The methods of the input work for any model. What they hide they replace by the mean colour of the data, which is 0
after normalisation; the black that both papers also allow would make dark objects invisible:

- `integrated_gradients`: Sundararajan, Taly and Yan 2017, arXiv:1703.01365. The gradient along the straight way from
  the mean colour to the image, times that way, summed over the colours.
- `occlusion`: Zeiler and Fergus 2014, arXiv:1311.2901. By how much the logit falls when a square is hidden.

Of every map the part that speaks for the class is kept, the part against it is 0. The first four and Score-CAM are
those of pytorch-grad-cam to rounding, Eigen-CAM but for the sign, and Ablation-CAM where activations and logits are
positive.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.core.errors import ModelError
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.occlusion import squares
from eyebright.insight.layers import Layer, changed_map
from eyebright.insight.subject import Subject, hooked, of_class

# From normalised images (B, C, H, W) and classes (B,) to maps (B, h, w), positive where the image speaks for the class.
InputMethod = Callable[[Subject, Tensor, Tensor], Tensor]
LayerMethod = Callable[[Subject, Layer, Tensor, Tensor], Tensor]

# As pytorch-grad-cam has them, so that maps are equal; the first counts where gradients are below a thousandth.
_PLUS_PLUS_FLOOR = 1e-6
_SCORE_FLOOR = 1e-8
# Of the largest value of a map: what differs by less is the same everywhere, and would be blown up to a picture.
_ROUNDING = 1e-5
_STEPS = 32  # of the integral; the error of the midpoints falls with their square


def attribute(
    subject: Subject, images: ImageSet, classes: NDArray[np.int64], method: InputMethod, batch_size: int
) -> NDArray[np.float32]:
    """Maps (N, H, W) float32 in 0..1 for `classes` (N,): 1 where the image speaks loudest for its class.

    A map without any part that speaks for the class is 0 throughout.

    Raises
    ------
    ModelError : activations or gradients are not finite.
    """
    height, width, _ = images.shape
    maps = np.empty((len(images), height, width), dtype=np.float32)
    for part, x in subject.batches(images, batch_size):
        raw = method(subject, x, torch.from_numpy(classes[part]).to(x.device))  # (B, h, w)
        if not bool(raw.isfinite().all()):
            raise ModelError(
                f"a map of the {subject.model.settings.name} model is not finite.",
                "Check that its weights and logits are finite, and compute in fp32.",
            )
        maps[part] = _scaled(raw, (height, width)).cpu().numpy()
    return maps


def of_layer(method: LayerMethod, layer: Layer) -> InputMethod:
    """A layer's method for one layer."""

    def explain(subject: Subject, x: Tensor, classes: Tensor) -> Tensor:
        return method(subject, layer, x, classes)

    return explain


def _scaled(raw: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) to the size of the images, from 0 to 1."""
    enlarged = F.interpolate(_above_least(raw.clamp(min=0))[:, None], size, mode="bilinear")[:, 0]  # (B, H, W)
    above = _above_least(enlarged)
    largest = above.amax(dim=(1, 2), keepdim=True)
    rounding = _ROUNDING * raw.abs().amax(dim=(1, 2), keepdim=True)
    return torch.where(largest > rounding, above / largest, 0)


def _above_least(maps: Tensor) -> Tensor:
    return maps - maps.amin(dim=(1, 2), keepdim=True)


# Maps of a layer from its activations and gradients, (B, C, h, w) each.


def _grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    return _weighted(activations, gradients.mean(dim=(2, 3)))


def _grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    total = activations.sum(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    share = gradients**2 / (2 * gradients**2 + total * gradients**3 + _PLUS_PLUS_FLOOR)
    return _weighted(activations, (gradients.clamp(min=0) * share).sum(dim=(2, 3)))


def _hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    return (gradients * activations).sum(dim=1)


def _layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.clamp(min=0) * activations).sum(dim=1)


def _weighted(activations: Tensor, weights: Tensor) -> Tensor:
    """(B, C, h, w) and (B, C) to (B, h, w)."""
    return (activations * weights[:, :, None, None]).sum(dim=1)


def _by_gradients(rule: Callable[[Tensor, Tensor], Tensor]) -> LayerMethod:
    def explain(subject: Subject, layer: Layer, x: Tensor, classes: Tensor) -> Tensor:
        return rule(*activations_and_gradients(subject, layer, x, classes))

    return explain


def activations_and_gradients(subject: Subject, layer: Layer, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer gives, and the gradient of each image's logit there: (B, C, h, w) float32 each.

    Raises
    ------
    ModelError : what follows the layer cannot be differentiated.
    """
    kept: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1].clone()  # which what follows may change in place

    with hooked(subject.model.get_submodule(layer.name), keep):
        score = subject.scores(x, classes).sum()  # no image has a part in the score of another
    if not score.requires_grad:
        raise ModelError(
            f"nothing differentiable leads from {layer.name} to the logits.",
            "Use the method score_cam, ablation_cam or occlusion, which need no gradients.",
        )
    (gradient,) = torch.autograd.grad(score, kept)
    return layer.layout.to_map(kept[0].detach()).float(), layer.layout.to_map(gradient).float()


def _activations(subject: Subject, layer: Layer, x: Tensor) -> Tensor:
    """(B, C, h, w) float32."""
    kept: list[Tensor] = []
    with hooked(subject.model.get_submodule(layer.name), lambda _module, _inputs, output: kept.append(output.clone())):
        subject.logits(x)
    return layer.layout.to_map(kept[0]).float()


def _eigen_cam(subject: Subject, layer: Layer, x: Tensor, classes: Tensor) -> Tensor:  # noqa: ARG001 - the same for all
    activations = _activations(subject, layer, x)
    pixels = activations.flatten(2).transpose(1, 2)  # (B, h * w, C)
    centred = pixels - pixels.mean(dim=1, keepdim=True)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    component = (centred @ axes[:, 0, :, None])[:, :, 0]  # (B, h * w)
    strength = pixels.norm(dim=2)  # (B, h * w)
    along = (component * (strength - strength.mean(dim=1, keepdim=True))).sum(dim=1, keepdim=True)
    return torch.where(along < 0, -component, component).view(len(x), *layer.layout.size)


def _score_cam(subject: Subject, layer: Layer, x: Tensor, classes: Tensor) -> Tensor:
    activations = _activations(subject, layer, x)
    logits = []
    for channel in activations.unbind(dim=1):
        mask = F.interpolate(channel[:, None], x.shape[2:], mode="bilinear", align_corners=True)  # (B, 1, H, W)
        above = mask - mask.amin(dim=(2, 3), keepdim=True)
        logits.append(subject.scores(x * (above / (above.amax(dim=(2, 3), keepdim=True) + _SCORE_FLOOR)), classes))
    return _weighted(activations, torch.stack(logits, dim=1).softmax(dim=1))


def _ablation_cam(subject: Subject, layer: Layer, x: Tensor, classes: Tensor) -> Tensor:
    activations = _activations(subject, layer, x)
    whole = subject.scores(x, classes)  # (B,)
    falls = []
    for number in range(activations.shape[1]):
        without = functools.partial(_without_channel, number=number)
        logits = changed_map(subject, x, layer, without)  # (B, K)
        falls.append(whole - of_class(logits, classes))
    return _weighted(activations, torch.stack(falls, dim=1))


def _guided_grad_cam(subject: Subject, layer: Layer, x: Tensor, classes: Tensor) -> Tensor:
    coarse = _grad_cam(*activations_and_gradients(subject, layer, x, classes)).clamp(min=0)  # (B, h, w)
    fine = guided_gradients(subject, x, classes).abs().amax(dim=1)  # (B, H, W)
    return F.interpolate(coarse[:, None], x.shape[2:], mode="bilinear")[:, 0] * fine


def guided_gradients(subject: Subject, x: Tensor, classes: Tensor) -> Tensor:
    """The gradient of each image's logit with respect to its pixels, of which every ReLU lets the positive part pass.

    Returns
    -------
    (B, C, H, W) float32

    Raises
    ------
    ModelError : the model has no ReLU layers; for other activations the rule is not defined.
    """
    relus = [module for module in subject.model.modules() if isinstance(module, nn.ReLU)]
    if not relus:
        raise ModelError(
            f"{subject.model.settings.name} has no ReLU layers, for which alone guided gradients are defined.",
            "Use grad_cam or integrated_gradients, which hold for any activation.",
        )
    pixels = x.detach().clone().requires_grad_()
    with contextlib.ExitStack() as hooks:
        for relu in relus:
            hooks.enter_context(hooked(relu, _pass_positive_gradients))
        (gradients,) = torch.autograd.grad(subject.scores(pixels, classes).sum(), pixels)
    return gradients.float()


def _pass_positive_gradients(_module: object, _inputs: object, output: Tensor) -> None:
    output.register_hook(lambda gradient: gradient.clamp(min=0))  # type: ignore[no-untyped-call]  # it is torch's


def _without_channel(activations: Tensor, *, number: int) -> Tensor:
    changed = activations.clone()
    changed[:, number] = 0
    return changed


def _integrated_gradients(subject: Subject, x: Tensor, classes: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for step in range(_STEPS):
        between = (x * ((step + 0.5) / _STEPS)).requires_grad_()
        (gradient,) = torch.autograd.grad(subject.scores(between, classes).sum(), between)
        total += gradient / _STEPS
    return (x * total).sum(dim=1)  # (B, H, W)


def _occlusion(subject: Subject, x: Tensor, classes: Tensor) -> Tensor:
    whole = subject.scores(x, classes)  # (B,)
    falls = x.new_zeros(len(x), *x.shape[2:])  # (B, H, W), summed over the squares that hide a pixel
    times = x.new_zeros(x.shape[2:])
    for rows, columns in itertools.product(squares(x.shape[2]), squares(x.shape[3])):
        hidden = x.clone()
        hidden[:, :, rows, columns] = 0
        falls[:, rows, columns] += (whole - subject.scores(hidden, classes))[:, None, None]
        times[rows, columns] += 1
    return falls / times


LAYER_METHODS: dict[str, LayerMethod] = {
    "grad_cam": _by_gradients(_grad_cam),
    "grad_cam_plus_plus": _by_gradients(_grad_cam_plus_plus),
    "hires_cam": _by_gradients(_hires_cam),
    "layer_cam": _by_gradients(_layer_cam),
    "eigen_cam": _eigen_cam,
    "score_cam": _score_cam,
    "ablation_cam": _ablation_cam,
    "guided_grad_cam": _guided_grad_cam,
}
INPUT_METHODS: dict[str, InputMethod] = {
    "integrated_gradients": _integrated_gradients,
    "occlusion": _occlusion,
}
METHODS = (*LAYER_METHODS, *INPUT_METHODS)
SLOW = frozenset({"score_cam", "ablation_cam"})  # a forward pass for each channel of the layer
