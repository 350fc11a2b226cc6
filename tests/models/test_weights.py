from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from eyebright.core.errors import CheckpointError, StorageError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import (
    CustomSettings,
    LadderCNNSettings,
    MLPSettings,
    ModelSettings,
    SimpleCNNSettings,
)
from eyebright.models import registry, weights
from eyebright.models.classifier import Classifier

SPEC = InputSpec(16, 16, 3, (0.1, 0.2, 1 / 3), (0.25, 0.25, 0.3), ("Katze", "чайка", "犬"), "pad", "lanczos")
MLP = MLPSettings(hidden=(6,))


def random_images(count: int = 4) -> Tensor:
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    path.write_bytes(safetensors.torch.save(tensors, metadata))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.offset_keys()}, stored.metadata()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    weights.save(registry.build(MLP, SPEC), path, {"epoch": "7"})
    return path


@pytest.mark.parametrize("settings", registry.example_settings(), ids=registry.names())
def test_every_model_comes_back_with_bit_identical_logits(settings: ModelSettings, tmp_path: Path) -> None:
    model = registry.build(settings, SPEC, seed=3)
    images = random_images()
    with torch.no_grad():
        model(images)  # running statistics of batch normalisation must come back too
        # nn.Module.to takes memory_format, which torch's type stubs do not know.
        model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        expected = model(images)
        weights.save(model, tmp_path / "model.safetensors")
        loaded = weights.load(tmp_path / "model.safetensors", expected=settings)
        # torch picks its kernels by layout, and other kernels give other last bits.
        loaded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert torch.equal(loaded(images), expected)
    assert not loaded.training
    assert (loaded.settings, loaded.spec) == (settings, SPEC)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_header_can_be_read_alone(saved: Path) -> None:
    header = weights.read_header(saved)
    assert (header.settings, header.spec, header.extra) == (MLP, SPEC, {"epoch": "7"})


def test_saving_leaves_the_model_as_it_is(saved: Path) -> None:
    model = registry.build(MLP, SPEC).train()
    before = {name: (value.data_ptr(), value._version) for name, value in model.state_dict().items()}
    weights.save(model, saved)
    assert {name: (value.data_ptr(), value._version) for name, value in model.state_dict().items()} == before
    assert model.training


def test_the_same_model_gives_the_same_bytes_in_any_layout(tmp_path: Path) -> None:
    model = registry.build(SimpleCNNSettings(), SPEC)
    extra = {name: name.upper() for name in "abcdefgh"}
    weights.save(model, tmp_path / "first", extra)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs do not know it
    weights.save(model, tmp_path / "second", dict(reversed(extra.items())))
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_tied_and_strided_weights_come_back(tmp_path: Path) -> None:
    model = registry.build(MLPSettings(hidden=(4, 4)), SPEC)
    first = model.get_submodule("body.stage2.linear")
    second = nn.Linear(4, 4, bias=False)
    assert isinstance(first, nn.Linear)
    second.weight = first.weight
    tied = Classifier(nn.Sequential(*model.body.children(), second), model.head, SPEC, model.settings)
    model.head.weight = nn.Parameter(torch.randn(4, 3).T)  # not contiguous
    weights.save(tied, tmp_path / "tied")
    tensors, _ = read(tmp_path / "tied")
    expected = {name: value.clone() for name, value in tied.state_dict().items()}
    for parameter in tied.parameters():
        nn.init.zeros_(parameter)
    weights.load_into(tied, tensors, tmp_path / "tied")
    assert all(torch.equal(value, expected[name]) for name, value in tied.state_dict().items())
    assert second.weight is first.weight


def test_a_full_disk_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="the disk is full"):
        weights.save(registry.build(MLP, SPEC, seed=1), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no file .*gone.safetensors"):
        weights.load(tmp_path / "gone.safetensors")


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        weights.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"epoch,loss\n1,0.5\n", b"\x80\x04\x95 a pickle", bytes(500)])
def test_another_kind_of_file_is_refused(saved: Path, content: bytes) -> None:
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best.safetensors is not a whole safetensors file(.|\n)*Copy it again"):
        weights.load(saved)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved: Path, kept: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        weights.load(saved)


def test_one_flipped_bit_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-100] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best.safetensors is damaged"):
        weights.load(saved)


def test_a_safetensors_file_of_others_is_refused(saved: Path) -> None:
    write(saved, {"weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="Eyebright did not write it as a model"):
        weights.load(saved)


@pytest.mark.parametrize(
    ("field", "value"),
    [("settings", {"name": "from_the_future"}), ("settings", None), ("input_spec", {"height": 3}), ("digest", None)],
)
def test_a_header_that_this_version_does_not_know_is_refused(saved: Path, field: str, value: object) -> None:
    tensors, metadata = read(saved)
    header = json.loads(metadata["eyebright"])
    if value is None:
        del header[field]
    else:
        header[field] = value
    write(saved, tensors, {"eyebright": json.dumps(header)})
    with pytest.raises(CheckpointError, match=r"header of .* cannot be understood(.|\n)*version of Eyebright"):
        weights.load(saved)


def test_a_header_that_is_not_json_is_refused(saved: Path) -> None:
    write(saved, read(saved)[0], {"eyebright": "{"})
    with pytest.raises(CheckpointError, match="cannot be understood: JSONDecodeError"):
        weights.read_header(saved)


def test_a_checkpoint_of_another_model_is_refused(saved: Path) -> None:
    assert weights.load(saved, expected=MLP).settings == MLP
    with pytest.raises(CheckpointError, match=r"holds another model: MLPSettings.*and not LadderCNNSettings"):
        weights.load(saved, expected=LadderCNNSettings())


def test_a_custom_model_runs_only_what_the_caller_names(tmp_path: Path) -> None:
    settings = CustomSettings(target="eyebright.models.custom:example_body", features=32)
    weights.save(registry.build(settings, SPEC), tmp_path / "theirs")
    tensors, metadata = read(tmp_path / "theirs")
    evil = metadata["eyebright"].replace("eyebright.models.custom:example_body", "antigravity:fly")
    write(tmp_path / "theirs", tensors, {"eyebright": evil})
    with pytest.raises(CheckpointError, match="to load it means to run antigravity:fly"):
        weights.load(tmp_path / "theirs")


def test_options_of_a_custom_model_may_be_tuples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyebright.models.custom.flat_body", lambda _spec, **_options: nn.Flatten(), raising=False)
    settings = CustomSettings(target="eyebright.models.custom:flat_body", features=768, options={"sizes": (1, 2)})
    weights.save(registry.build(settings, SPEC), tmp_path / "ours")
    assert weights.load(tmp_path / "ours", expected=settings).head.in_features == 768
    with pytest.raises(CheckpointError, match="holds another model"):
        weights.load(tmp_path / "ours", expected=dataclasses.replace(settings, options={"sizes": (1, 3)}))


def refusal(tensors: dict[str, Tensor]) -> str:
    """What `load_into` says; checks that it left the model alone."""
    model = registry.build(MLP, SPEC)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        weights.load_into(model, tensors, Path("runs/7/best.safetensors"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert "same model, image size and classes" in caught.value.remedy
    return caught.value.cause


def test_tensors_that_do_not_fit_are_refused_by_name() -> None:
    tensors = {name: torch.ones_like(value) for name, value in registry.build(MLP, SPEC).state_dict().items()}
    where = "runs/7/best.safetensors belongs to another model than this mlp: "
    missing = {name: value for name, value in tensors.items() if name != "head.bias"}
    assert refusal(missing) == f"{where}it has no tensor 'head.bias'."
    assert refusal(tensors | {"head.weight": torch.ones(10, 6)}) == (
        f"{where}tensor 'head.weight' is (10, 6) and not (3, 6)."
    )
    assert refusal(tensors | {"head.bias": torch.ones(3, dtype=torch.float64)}) == (
        f"{where}tensor 'head.bias' is torch.float64 and not torch.float32."
    )
    assert (
        refusal(tensors | {"body.stem.weight": torch.ones(2)}) == f"{where}the model has no tensor 'body.stem.weight'."
    )


def test_tensors_that_fit_are_copied_in_place() -> None:
    model = registry.build(MLP, SPEC)
    pointers = {name: value.data_ptr() for name, value in model.state_dict().items()}
    tensors = {name: torch.full_like(value, 0.5) for name, value in model.state_dict().items()}
    weights.load_into(model, tensors, Path("best.safetensors"))
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == pointers
    assert all(bool((value == 0.5).all()) for value in model.state_dict().values())
