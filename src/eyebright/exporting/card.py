"""The model card: what whoever uses a model must know, as Markdown.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019 (arXiv:1810.03993), as far as a run can fill it in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from eyebright.core.recipe import Recipe
from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import Scores
from eyebright.exporting.certificate import Certificate
from eyebright.exporting.manifest import Manifest
from eyebright.training.run import Run

# How each format is loaded where Eyebright is not.
_LOADING = {
    "onnx": 'session = onnxruntime.InferenceSession("{file}")\n'
    'logits, probabilities = session.run(["logits", "probabilities"], {{"images": images}})',
    "pt2": 'network = torch.export.load("{file}").module()\nlogits, probabilities, embedding, *_ = network(images)',
    "openvino": 'network = openvino.Core().compile_model("{file}", "CPU")\nlogits = network(images)["logits"]',
    "executorch": 'program = executorch.runtime.Runtime.get().load_program("{file}")\n'
    'logits, probabilities, embedding, *_ = program.load_method("forward").execute([images])',
}
_COLUMNS = ("precision", "recall", "F1")


def write_card(run: Run, manifest: Manifest, certificate: Certificate, licence: str) -> str:
    """The card of an exported run.

    Parameters
    ----------
    run : whose scores, data and recipe it tells.
    manifest, certificate : of the export.
    licence : of the model, as its owner puts it; empty where nobody has said.
    """
    scores = run.scores
    sections = [
        _summary(run, manifest, licence),
        _use(manifest),
        _data(run),
        _scores(scores),
        _certificate(certificate),
        _limits(manifest),
        f"## Recipe\n\n```yaml\n{_without_places(run.recipe).to_yaml()}```",
        "## Environment\n\n" + _table(("", ""), [row for row in run.environment.items() if row[0] != "command"]),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(run: Run, manifest: Manifest, licence: str) -> str:
    spec = manifest.spec
    weights = f" The training began with weights under this licence: {spec.licence}." if spec.licence else ""
    rows = {
        "version": manifest.version,
        "exported": manifest.created,
        "network": run.recipe.model.name,
        "file": f"`{manifest.file}`, {manifest.format}, {manifest.precision}",
        "classes": ", ".join(spec.classes),
        "licence": (licence or "not stated: ask the owner before you use it") + weights,
    }
    return f"# {manifest.name}\n\n{run.recipe.description}\n\n{_table(('', ''), rows.items())}"


def _use(manifest: Manifest) -> str:
    spec = manifest.spec
    colours = "RGB" if spec.channels == 3 else "grey"
    sizes = (
        "of any size: they are resized as in training, bit for bit as Pillow does it"
        if manifest.format in {"onnx", "openvino"}
        else f"of {spec.height}x{spec.width} pixels: resize them as in training ({spec.resize}, {spec.interpolation})"
    )
    loading = _LOADING[manifest.format].format(file=manifest.file)
    return (
        f"## Use\n\n`images` are uint8, (N, H, W, {spec.channels}), {colours}, {sizes}. Normalisation is inside.\n"
        f"`probabilities` are softmax(logits / {manifest.temperature:g}), calibrated on validation images.\n\n"
        f"```python\n{loading}\n```"
    )


def _data(run: Run) -> str:
    parts = {split: part for split, part in run.data.items() if isinstance(part, dict)}
    rows = [(split, f"{part['n']:,}", f"`{part['fingerprint']}`") for split, part in parts.items()]
    source = _without_places(run.recipe).data.source
    return f"## Data\n\nSource: {source}.\n\n" + _table(("split", "images", "fingerprint"), rows)


def _without_places(recipe: Recipe) -> Recipe:
    """The recipe without the folders of the machine: a card is for everybody."""
    data = recipe.data
    patches = tuple(Path(patch).name for patch in data.label_patches)
    data = dataclasses.replace(data, source=Path(data.source).name, root=None, label_patches=patches)
    return dataclasses.replace(recipe, data=data)


def _scores(scores: dict[str, Scores]) -> str:
    if not scores:
        return "## Scores\n\nThe run was not judged: `eyebright evaluate RUN` does it."
    last = list(scores.values())[-1]
    overall = [(name, _text(score)) for name, score in last.overall.items()]
    classes = [(row.name, *map(_text, (row.precision, row.recall, row.f1)), str(row.support)) for row in last.per_class]
    views = "" if last.views == "one" else f" Averaged over the views {last.views!r} of each image; an export sees one."
    return (
        f"## Scores\n\nOn {last.n:,} images of {last.source} {last.split}, with 95 % intervals.{views}\n\n"
        f"{_table(('', ''), overall)}\n\n{_table(('class', *_COLUMNS, 'images'), classes)}"
    )


def _certificate(certificate: Certificate) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in certificate.versions.items())
    return (
        "## Certificate\n\nThe same images through PyTorch in fp32 and through this file.\n\n"
        f"```text\n{certificate!r}\n```\n\n{versions}"
    )


def _limits(manifest: Manifest) -> str:
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in manifest.limits)


def limits_of(run: Run) -> tuple[str, ...]:
    """What is true of every such model, and of this one."""
    limits = [
        "It knows only the classes named above, and gives one of them to every image, whatever it shows.",
        "The scores hold for images like those of the data set; of other cameras, places or times they say nothing.",
        "Temperature and sets of plausible classes hold for images drawn as the validation images were.",
    ]
    views = run.recipe.training.views
    if views != "one":
        limits.append(
            f"The scores of the run average the views {views!r} of each image. This file sees one view: "
            "its accuracy is that of the certificate."
        )
    return tuple(limits)


def _text(score: Score | None) -> str:
    return "-" if score is None else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _table(header: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines: list[Iterable[str]] = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
