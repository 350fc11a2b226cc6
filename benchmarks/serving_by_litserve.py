"""The same network behind LitServe, for `benchmarks/serving.py` to compare with.

    python benchmarks/serving_by_litserve.py BUNDLE PORT

It decodes and answers as we do. Per core one inference worker and one API server, batches of up to 32 gathered for up
to 2 ms, and the faster of its queues.
"""

import sys
from typing import Any

import litserve
import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from eyebright.core.processor import available_threads
from eyebright.data.decode import load_image
from eyebright.exporting.bundle import open_bundle


class Classify(litserve.LitAPI):  # type: ignore[misc]  # it has no types
    """The peer; LitServe calls these in this order, in a process of its own."""

    def setup(self, _device: str) -> None:
        """Once."""
        self.bundle = open_bundle(sys.argv[1], threads=1)

    def decode_request(self, request: Request) -> NDArray[np.uint8]:
        """(h, w, C). LitServe reads the annotation, and gives the form of the request."""
        form: Any = request
        return load_image(form["image"].file.read(), self.bundle.spec)

    def batch(self, inputs: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """(N, h, w, C)."""
        return np.stack(inputs)

    def predict(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, K)."""
        return self.bundle.probabilities(x)

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """N times (K,)."""
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, Any]:
        """The five most probable classes."""
        top = np.argsort(-output)[:5].tolist()
        return {"top": [{"label": self.bundle.classes[k], "probability": float(output[k])} for k in top]}


if __name__ == "__main__":
    cores = available_threads()
    server = litserve.LitServer(
        Classify(max_batch_size=32, batch_timeout=0.002), accelerator="cpu", workers_per_device=cores, fast_queue=True
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=cores, generate_client_file=False, log_level="error"
    )
