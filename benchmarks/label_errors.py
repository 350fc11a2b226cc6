"""Planted wrong labels on CIFAR-10: how many `doubtful_labels` finds, and how many of those that it names are wrong.

    EYEBRIGHT_DATA=... python benchmarks/label_errors.py [--recipe cifar10/small_cnn] [--share 0.05] [--folds 4]

A share of the training and validation images gets another label, drawn at random; the recipe is cross-fitted on them.
Beside ours stand, on the same predictions, what people do without it, to look at the mistakes that the models are
surest of; and, where it is installed, the package cleanlab with each of its filters.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time

import numpy as np
from numpy.typing import NDArray

import eyebright as eb
from eyebright.audit.data_doctor import learned_from
from eyebright.core.randomness import stream
from eyebright.evaluation.intervals import proportion


def main() -> None:
    """Plant, cross-fit, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cifar10/small_cnn")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    recipe = eb.recipe(arguments.recipe, seed=arguments.seed)
    images, wrong = planted(learned_from(eb.load(recipe.data)), arguments.share, arguments.seed)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        said = eb.cross_fit(recipe, images, folder, folds=arguments.folds, callbacks=())
    true = np.where(np.isin(said.index, wrong), False, said.correct).sum() / (len(said) - len(wrong))
    print(f"{len(wrong):,} of {len(images):,} labels are wrong; {arguments.folds} trainings of {recipe.name} in")
    print(f"{(time.perf_counter() - begin) / 60:.1f} minutes, right on {true:.1%} of the images with unchanged labels")
    found = eb.doubtful_labels(said)
    show("ours", found.index, wrong)
    surest = eb.mistakes(said).most_confident(len(found)).index
    show("as many of the surest mistakes", surest, wrong)
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return
    for rule in ("confident_learning", "prune_by_class", "prune_by_noise_rate", "both"):
        theirs = find_label_issues(
            said.labels, said.probabilities, filter_by=rule, return_indices_ranked_by="self_confidence"
        )
        show(f"cleanlab, {rule}", said.index[theirs], wrong)


def planted(images: eb.ImageSet, share: float, seed: int) -> tuple[eb.ImageSet, NDArray[np.int64]]:
    """The images with wrong labels among them, and the rows of these."""
    draw = stream("planted labels", seed)
    wrong = draw.choice(images.index, round(share * len(images)), replace=False)
    labels = images.store.labels.copy()
    labels[wrong] = (labels[wrong] + draw.integers(1, len(images.classes), len(wrong))) % len(images.classes)
    return dataclasses.replace(images, store=dataclasses.replace(images.store, labels=labels)), wrong


def show(name: str, named: NDArray[np.int64], wrong: NDArray[np.int64]) -> None:
    """A line: how many are named, how many of these are wrong, and how many of the wrong ones are named."""
    hits = int(np.isin(named, wrong).sum())
    right, found = proportion(hits, len(named)), proportion(hits, len(wrong))
    print(
        f"{name:32} {len(named):6,} named; {right.value:.1%} [{right.low:.1%}, {right.high:.1%}] of them are wrong; "
        f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}] of the wrong ones are named"
    )


if __name__ == "__main__":
    main()
