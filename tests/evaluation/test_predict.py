from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from eyebright.core.device import choose
from eyebright.core.errors import DataError, ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.data.image_set import ImageSet, ImageStore, Pixels
from eyebright.evaluation.predict import predict
from eyebright.models.classifier import Classifier

CLASSES = ("cat", "dog", "owl")
GENERATOR = np.random.default_rng(0)
PIXELS: NDArray[np.uint8] = GENERATOR.integers(256, size=(20, 8, 6, 3), dtype=np.uint8)
LABELS: NDArray[np.int64] = GENERATOR.integers(3, size=20)


class Lazy:
    """Pixels that are decoded on demand."""

    shape = PIXELS.shape

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        return PIXELS[rows].copy()


def image_set(pixels: Pixels = PIXELS, classes: tuple[str, ...] = CLASSES) -> ImageSet:
    store = ImageStore(pixels, LABELS, [f"{row}.png" for row in range(20)], classes, "made up")
    return ImageSet(store, np.array([7, 3, 19, 0, 5, 11, 2]), "test")


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
    spec = InputSpec(8, 6, 3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), CLASSES)
    return Classifier(body, nn.Linear(4 * 6 * 4, 3), spec, MLPSettings())


def directly(model: Classifier, images: ImageSet) -> NDArray[np.float32]:
    with torch.no_grad():
        logits: NDArray[np.float32] = model.eval()(torch.from_numpy(images.images).permute(0, 3, 1, 2)).numpy()
    return logits


@pytest.mark.parametrize("pixels", [PIXELS, Lazy()])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 500])
def test_is_the_model_on_every_image_in_order(model: Classifier, pixels: Pixels, batch_size: int) -> None:
    images = image_set(pixels)
    found = predict(model.train(), images, batch_size=batch_size)
    assert np.allclose(found.logits, directly(model, image_set()), atol=1e-5)
    assert found.logits.dtype == np.float32
    assert found.index.tolist() == images.index.tolist()
    assert found.labels.tolist() == LABELS[images.index].tolist()
    assert (found.classes, found.split, found.source) == (CLASSES, "test", "made up")


def test_gives_the_model_back_as_it_was(model: Classifier) -> None:
    model.train()
    model.body.get_submodule("1").eval()  # frozen by the caller
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layouts = [parameter.stride() for parameter in model.parameters()]
    threads = torch.get_num_threads()
    predict(model, image_set(), plan=choose(precision="fp32", threads=1))
    assert [module.training for module in model.modules()] == modes
    assert [parameter.stride() for parameter in model.parameters()] == layouts
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert torch.get_num_threads() == threads
    # It still trains: nothing in it was made in inference mode.
    model(torch.from_numpy(image_set().images).permute(0, 3, 1, 2)).sum().backward()


def test_gives_the_model_back_when_it_fails(model: Classifier) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    model.train()
    with pytest.raises(KeyboardInterrupt):
        predict(model, image_set(), progress=interrupt)
    assert all(module.training for module in model.modules())
    assert not torch.is_inference_mode_enabled()


def test_tells_how_far_it_is(model: Classifier) -> None:
    told: list[tuple[str, int, int]] = []
    predict(model, image_set(), batch_size=5, progress=lambda *step: told.append(step))
    assert told == [("predict test", 5, 7), ("predict test", 7, 7)]


def test_computes_in_the_precision_of_the_plan(model: Classifier) -> None:
    exact = predict(model, image_set())
    rough = predict(model, image_set(), plan=choose(device="cpu", precision="bf16"))
    assert rough.logits.dtype == np.float32
    assert not np.array_equal(rough.logits, exact.logits)
    assert np.allclose(rough.logits, exact.logits, atol=0.1)


def test_refuses_no_images(model: Classifier) -> None:
    with pytest.raises(DataError, match="the test split of made up is empty"):
        predict(model, image_set().take([]))


def test_refuses_other_classes(model: Classifier) -> None:
    with pytest.raises(ModelError, match="knows the classes cat, dog, owl, but made up has cat, owl, dog"):
        predict(model, image_set(classes=("cat", "owl", "dog")))


def test_refuses_another_size(model: Classifier) -> None:
    with pytest.raises(ModelError, match="takes images"):
        predict(model, image_set(PIXELS.transpose(0, 2, 1, 3).copy()))
