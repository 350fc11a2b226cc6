"""A bundle in Gradio: python examples/gradio_app.py BUNDLE"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

import eyebright as eb

bundle = eb.open_bundle(sys.argv[1])


def answer(path: str) -> tuple[dict[str, float], Any]:
    """Probabilities by class, and the map of what speaks for the first."""
    try:
        image = bundle.fit(bundle.decode(Path(path)))[np.newaxis]  # (1, h, w, C)
    except eb.EyebrightError as error:
        raise gr.Error(error.cause) from error
    probabilities = bundle.probabilities(image)[0].tolist()  # (K,)
    heat = bundle.explain(image[0])[np.newaxis]  # (1, h, w)
    return dict(zip(bundle.classes, probabilities, strict=True)), eb.overlay(image, heat)[0]


outputs = [gr.Label(num_top_classes=3, label="Answer"), gr.Image(label="What speaks for it")]
page = gr.Interface(answer, gr.Image(type="filepath", label="Image"), outputs, title=bundle.name)
if __name__ == "__main__":
    page.launch()
