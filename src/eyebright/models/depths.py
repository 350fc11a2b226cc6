"""How deep below the logits each parameter lies, counted in stages."""

from __future__ import annotations

from eyebright.models import timm_bodies
from eyebright.models.classifier import Classifier


def depths(model: Classifier) -> dict[str, int]:
    """For each parameter by name: 0 in the head, 1 in the last stage of the body, and so on.

    The stages are those that a network of timm names itself, else the children of the body that hold parameters.
    Parameters beside all stages, such as embeddings of positions, count as the first stage.
    """
    network = model.network
    stages = timm_bodies.depths(network)
    if stages is None:
        parts = [(name, part) for name, part in network.named_children() if any(True for _ in part.parameters())]
        stages = {
            f"{name}.{path}": number for number, (name, part) in enumerate(parts) for path, _ in part.named_parameters()
        }
    last = max(stages.values(), default=0)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        name: last + 1 - stages.get(names[id(parameter)], 0) if id(parameter) in names else 0
        for name, parameter in model.named_parameters()
    }
