"""Each image is asked about by a model that has not seen it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from eyebright.core.errors import DataError, RunError
from eyebright.core.recipe import recipe
from eyebright.data.copies import digests
from eyebright.data.image_set import Splits
from eyebright.training.cross_fit import cross_fit
from eyebright.training.run import Run

CHOSEN = recipe("digits/mlp", epochs=2, batch_size=16)


def test_folds_part_the_images_and_keep_copies_together(shades: Splits, tmp_path: Path) -> None:
    store = shades.train.store
    pixels = np.asarray(store.pixels[np.arange(130)]).copy()
    pixels[100:] = pixels[:30]  # every one of the last thirty is a copy
    images = dataclasses.replace(shades.train, store=dataclasses.replace(store, pixels=pixels))
    said = cross_fit(CHOSEN, images, tmp_path, folds=3, callbacks=())
    assert len(said) == 130
    assert (said.split, said.source) == ("train", "shades")
    asked, hashes = [], digests(images)
    for number in (1, 2, 3):
        run = Run.open(tmp_path / f"fold-{number}")
        test = run.predictions("test")
        assert test is not None
        asked += test.index.tolist()
        seen = np.setdiff1d(images.index, test.index)
        assert run.data["train"]["n"] == len(seen)
        assert run.data["validation"]["n"] == 0
        assert not set(hashes[seen].tolist()) & set(hashes[test.index].tolist())
        counts = np.bincount(images.labels[test.index], minlength=3)
        assert counts.max() - counts.min() <= 6
        assert np.array_equal(said.logits[test.index], test.logits)
    assert sorted(asked) == list(range(130))


def test_what_is_done_is_not_done_again_and_other_images_are_refused(shades: Splits, tmp_path: Path) -> None:
    first = cross_fit(CHOSEN, shades.train, tmp_path, folds=2, callbacks=())
    written = (tmp_path / "fold-1" / "run.json").stat().st_mtime_ns
    again = cross_fit(CHOSEN, shades.train, tmp_path, folds=2, callbacks=())
    assert np.array_equal(first.logits, again.logits)
    assert (tmp_path / "fold-1" / "run.json").stat().st_mtime_ns == written
    labels = shades.train.store.labels.copy()
    labels[:10] = 0
    others = dataclasses.replace(shades.train, store=dataclasses.replace(shades.train.store, labels=labels))
    with pytest.raises(RunError, match="fold-1"):
        cross_fit(CHOSEN, others, tmp_path, folds=2, callbacks=())
    (tmp_path / "fold-2" / "predictions" / "test.safetensors").unlink()
    with pytest.raises(RunError, match="eyebright evaluate"):
        cross_fit(CHOSEN, shades.train, tmp_path, folds=2, callbacks=())


def test_groups_of_the_callers_own_stay_together(shades: Splits, tmp_path: Path) -> None:
    groups = np.arange(130) // 2  # pairs of images that are not alike
    cross_fit(CHOSEN, shades.train, tmp_path, folds=2, groups=groups, callbacks=())
    test = Run.open(tmp_path / "fold-1").predictions("test")
    assert test is not None
    fold = np.isin(shades.train.index, test.index)
    assert np.array_equal(fold[::2], fold[1::2])
    with pytest.raises(DataError, match=r"groups of shape \(129,\) are not those of"):
        cross_fit(CHOSEN, shades.train, tmp_path, folds=2, groups=groups[:129], callbacks=())


@pytest.mark.parametrize("folds", [1, 44])
def test_folds_that_cannot_be_made(shades: Splits, tmp_path: Path, folds: int) -> None:
    with pytest.raises(DataError, match=f"into {folds} folds: class .* has 4[34] different images"):
        cross_fit(CHOSEN, shades.train, tmp_path, folds=folds, callbacks=())
