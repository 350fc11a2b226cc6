"""Dividing images into train, validation and test: stratified, seeded, by index."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import resample

from eyebright.core.errors import DataError, nearest
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet, ImageStore, Splits

_SEEDS = 2**32  # scikit-learn takes seeds below this


def divide(parts: Mapping[str, ImageSet], settings: DataSettings) -> Splits:
    """The three splits out of what a source officially has.

    Official validation and test images stay as they are. A test split that is missing is taken out of the
    rest first (the share `settings.test`), then one for validation (`settings.validation` of what
    remains); a share of 0 gives an empty one. With `settings.train_on_validation` official validation images are
    trained on, and none are held out. `settings.limit` then thins out the training images. All of these
    keep the proportions of the classes, and depend on `settings.split_seed` and the labels only.

    Parameters
    ----------
    parts : among "train", "validation" and "test", or the single key "all"; see `Source.read`.
    settings : classes, shares, seed and limit.

    Raises
    ------
    DataError : the parts differ in their classes, a class is empty or too small to be divided, or there is only one; or
        images that are to be joined are not in one store.
    """
    parts = _with_same_classes(parts, settings)
    for part in parts.values():
        _refuse_empty_classes(part)
    rest = parts["all"] if "all" in parts else parts["train"]
    test, validation = parts.get("test"), parts.get("validation")
    if test is None:
        rest, test = _hold_out(rest, settings.test, "test", settings)
    if validation is None:
        share = 0.0 if settings.train_on_validation else settings.validation
        rest, validation = _hold_out(rest, share, "validation", settings)
    elif settings.train_on_validation:
        rest, validation = _joined(rest, validation), validation.take([])
    train = _limited(dataclasses.replace(rest, split="train"), settings)
    return Splits(train, validation, test)


def _with_same_classes(parts: Mapping[str, ImageSet], settings: DataSettings) -> dict[str, ImageSet]:
    """The parts with one tuple of classes: those of `settings` if it names some, else those of the first part."""
    if "all" not in parts and "train" not in parts:
        found = ", ".join(sorted(parts)) or "nothing"
        raise DataError(
            f"{settings.source} has no training images, only: {found}.", "Add a folder `train` with one folder a class."
        )
    first = parts["all"] if "all" in parts else parts["train"]
    for part in parts.values():
        _refuse_other_classes(first, part)
    classes = first.classes if settings.classes is None else settings.classes
    _refuse_unknown_classes(classes, first)
    if len(classes) < 2:
        raise DataError(
            f"{settings.source} has only the class {classes[0]!r}: there is nothing to tell apart."
            if classes
            else f"{settings.source} has no classes.",
            "Give images of two classes at least, one folder a class.",
        )
    stores = {id(part.store): part.store for part in parts.values() if part.classes != classes}
    relabelled = {key: _relabelled(store, classes) for key, store in stores.items()}
    return {
        split: _select(part, relabelled[id(part.store)]) if id(part.store) in relabelled else part
        for split, part in parts.items()
    }


def _relabelled(store: ImageStore, classes: tuple[str, ...]) -> ImageStore:
    """`store` with positions in `classes` as labels, -1 for images of other classes. Rows and pixels stay."""
    positions = {name: position for position, name in enumerate(classes)}
    new_label = np.array([positions.get(name, -1) for name in store.classes], dtype=np.int64)  # (K_old,)
    return dataclasses.replace(store, labels=new_label[store.labels], classes=classes)


def _select(part: ImageSet, store: ImageStore) -> ImageSet:
    """The images of `part` that have a class in the relabelled `store`."""
    return ImageSet(store, part.index[store.labels[part.index] >= 0], part.split)


def _hold_out(whole: ImageSet, share: float, split: str, settings: DataSettings) -> tuple[ImageSet, ImageSet]:
    """`whole` without a share of its images, and that share as `split`."""
    if share == 0:
        return whole, dataclasses.replace(whole.take([]), split=split)
    purpose = f"hold out {share:g} for {split}"
    advice = f"Add images of it, choose another share with data.{split}, or switch that split off with data.{split}=0."
    try:
        sides = train_test_split(
            np.arange(len(whole)),
            test_size=share,
            random_state=settings.split_seed % _SEEDS,
            stratify=whole.labels,
        )
    except ValueError as error:  # fewer than two images in a class, or fewer places than classes
        rarest = int(np.bincount(whole.labels, minlength=len(whole.classes)).argmin())
        raise _too_few(whole, rarest, purpose, advice) from error
    kept, held_out = (whole.take(np.sort(side)) for side in sides)
    for side in (kept, held_out):
        _refuse_lost_class(whole, side, purpose, advice)
    return kept, dataclasses.replace(held_out, split=split)


def _joined(train: ImageSet, validation: ImageSet) -> ImageSet:
    """Both, in the order of their rows."""
    if train.store is not validation.store:
        raise DataError(
            f"the validation images of {train.store.source} are stored apart from its training images.",
            "Train without them: data.train_on_validation=false.",
        )
    return dataclasses.replace(train, index=np.union1d(train.index, validation.index))


def _limited(train: ImageSet, settings: DataSettings) -> ImageSet:
    """At most `settings.limit` of the training images."""
    if settings.limit is None or settings.limit >= len(train):
        return train
    kept = resample(
        np.arange(len(train)),
        replace=False,
        n_samples=settings.limit,
        random_state=settings.split_seed % _SEEDS,
        stratify=train.labels,
    )
    limited = train.take(np.sort(kept))
    _refuse_lost_class(train, limited, f"keep {settings.limit} training images", "Choose a larger data.limit.")
    return limited


def _refuse_lost_class(whole: ImageSet, side: ImageSet, purpose: str, advice: str) -> None:
    counts = np.bincount(side.labels, minlength=len(whole.classes))
    if not counts.all():
        raise _too_few(whole, int(counts.argmin()), purpose, advice)


def _too_few(whole: ImageSet, label: int, purpose: str, advice: str) -> DataError:
    count = int((whole.labels == label).sum())
    images = "image" if count == 1 else "images"
    return DataError(
        f"cannot {purpose}: class {whole.classes[label]!r} of {whole.store.source} has only {count} {images} of "
        f"{len(whole)}, too few for every split to have one.",
        advice,
    )


def _refuse_other_classes(first: ImageSet, part: ImageSet) -> None:
    lacking = set(first.classes) - set(part.classes)
    added = set(part.classes) - set(first.classes)
    if lacking or added:
        differences = [f"only in {first.split}: {_listed(lacking)}"] if lacking else []
        differences += [f"only in {part.split}: {_listed(added)}"] if added else []
        raise DataError(
            f"the classes of {first.store.source} differ between {first.split} and {part.split}: "
            f"{'; '.join(differences)}.",
            "Give every split the same class names, or remove the class from all of them.",
        )


def _refuse_unknown_classes(classes: tuple[str, ...], first: ImageSet) -> None:
    for name in classes:
        if name not in first.classes:
            raise DataError(f"{first.store.source} has no class {name!r}.", nearest(name, first.classes))
    repeated = {name for name in classes if classes.count(name) > 1}
    if repeated:
        raise DataError(f"data.classes names more than once: {_listed(repeated)}.", "Name each class once.")


def _refuse_empty_classes(part: ImageSet) -> None:
    counts = np.bincount(part.labels, minlength=len(part.classes))
    empty = [name for name, count in zip(part.classes, counts, strict=True) if not count]
    if empty:
        raise DataError(
            f"{part.store.source} has no images in {part.split} of: {_listed(empty)}.",
            "Add images of these classes, or remove the classes (or leave them out with data.classes).",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
