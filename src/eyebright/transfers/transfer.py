"""`transfer`: what a model carries over to other data, with few labels and with many.

Four ways, from the cheapest to the dearest: ask the model as it is, where it shares classes with the data; a linear
probe on its features; fine-tuning from its weights; and, to compare, the same training from random weights. Each budget
is a number of labelled training images; choosing (the penalty of the probe, the epoch that is kept) may look at no more
validation images than that, for labels cost the same wherever they are used (Oliver et al. 2018, "Realistic Evaluation
of Deep Semi-Supervised Learning Algorithms", arXiv:1804.09170, section 4.6).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from eyebright.audit.comparison import Comparison, compare
from eyebright.core.errors import DataError, ModelError
from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.core.settings.model import ModelSettings, PretrainedSettings
from eyebright.core.settings.optimizer import AdamWSettings
from eyebright.core.settings.schedule import OneCycleSettings
from eyebright.core.settings.training import TrainingSettings
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.load import load
from eyebright.data.progress import Progress
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.predict import predict
from eyebright.evaluation.predictions import Predictions
from eyebright.insight.neighbours import features
from eyebright.insight.parts import Missing
from eyebright.models.classifier import Classifier
from eyebright.training.callbacks import Callback
from eyebright.training.completion import completed
from eyebright.training.run import Run
from eyebright.transfers.class_map import ClassMap
from eyebright.transfers.images import fitted, labelled
from eyebright.transfers.probe import Probe
from eyebright.transfers.result import FINE_TUNED, FROM_SCRATCH, Transfer, Way

BUDGETS = (50, 250, 1000)
EPOCHS = 30
# Smaller batches for fewer images: an epoch of one step would be no training.
_STEPS_AN_EPOCH, _SMALLEST_BATCH = 16, 8
_RATE, _WEIGHT_DECAY = 2e-3, 0.02  # of AdamW, which suit the convolutional networks here from random weights
# A new head knows nothing and would spoil the body: it learns alone at first (Kumar et al. 2022, "Fine-Tuning can
# Distort Pretrained Features", arXiv:2202.10054), and then the faster the nearer a stage is to it (Howard and Ruder
# 2018, "Universal Language Model Fine-tuning", arXiv:1801.06146).
_HEAD_ALONE, _STAGE_DECAY = 0.2, 0.8


def transfer(  # noqa: PLR0913 - what is carried where, with how much, and who watches
    run: Run,
    data: Splits | DataSettings | str,
    *,
    classes: Mapping[str, str] | None = None,
    budgets: Sequence[int] = BUDGETS,
    epochs: int = EPOCHS,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] | None = None,
    progress: Progress | None = None,
) -> Transfer:
    """Find out what the model of a run is worth on other data.

    The trainings are runs in a folder, beside `transfer.md` and `transfer.json`: called again after an interruption or
    a crash, it goes on where it stopped.

    Parameters
    ----------
    run : with a model.
    data : the images. Of another size or channels than the model's they are brought to these.
    classes : class of the model to class of the data, where the names differ.
    budgets : numbers of labelled training images; one beyond what is there means all.
    epochs : of each training.
    out : folder of the trainings and the results; default: `runs/transfer/RUN-to-DATA`.
    callbacks : watchers of the trainings; default: a progress bar.
    progress : told what is being done.

    Raises
    ------
    DataError : there are no validation or test images, a named class is not there, or a budget is too small for the
        number of classes.
    RunError : the folder holds another transfer, or one of other images.
    """
    model = run.model
    splits, settings = _images(data, model, progress)
    study = _Study(
        run=run,
        model=model,
        splits=splits,
        settings=settings,
        epochs=epochs,
        folder=Path(out) if out is not None else _folder(run, splits),
        callbacks=callbacks,
        progress=progress or (lambda *_: None),
    )
    counts = sorted({min(budget, len(splits.train)) for budget in budgets})
    found = study.transfer(ClassMap.of(model.spec.classes, splits.train.classes, classes or {}), counts)
    found.write()
    return found


@dataclasses.dataclass(frozen=True)
class _Study:
    """One model and other data."""

    run: Run
    model: Classifier
    splits: Splits
    settings: DataSettings
    epochs: int
    folder: Path
    callbacks: Sequence[Callback] | None
    progress: Progress

    def transfer(self, classes: ClassMap, budgets: Sequence[int]) -> Transfer:
        """All ways."""
        ways, missing = self._as_is(classes)
        chosen = {budget: self._labelled(budget) for budget in budgets}  # all, before anything is trained
        probed = self._probed(chosen)
        for number, (budget, splits) in enumerate(chosen.items()):
            trained: dict[str, Predictions] = {}
            for way in (FROM_SCRATCH, FINE_TUNED):
                self.progress(f"{way}, {budget} labels", number, len(chosen))
                try:
                    trained[way] = self._trained(way, budget, splits)
                except ModelError as error:  # such as a custom model, whose weights only its own code can load
                    missing.append(Missing.of(f"{way}, {budget} labels", error))
            scratch = trained.get(FROM_SCRATCH)
            ways += [
                _way(way, budget, said, scratch) for way, said in ({"linear probe": probed[budget]} | trained).items()
            ]
        return Transfer(
            run=str(self.run.path),
            recipe=self.run.recipe.name,
            data=self.splits.test.store.source,
            classes=classes.pairs,
            images=len(self.splits.test),
            guessing=float(np.bincount(self.splits.test.labels).max() / len(self.splits.test)),
            epochs=self.epochs,
            ways=tuple(ways),
            missing=tuple(missing),
            folder=self.folder,
        )

    def _as_is(self, classes: ClassMap) -> tuple[list[Way], list[Missing]]:
        """The model's own answers on the images of the classes that it shares with the data."""
        test = self.splits.test
        if not classes.shared:
            remedy = f"Name pairs that mean the same: --map {classes.model[0]}={classes.data[0]}"
            return [], [Missing("the model as it is", "it shares no class with the data.", remedy)]
        known = test.take(np.isin(test.labels, classes.shared))
        own = dataclasses.replace(known.store, classes=classes.model)  # their labels are not asked for
        said = predict(self.model, dataclasses.replace(known, store=own), progress=self.progress)
        found = [
            _way(name, 0, classes.translated(said, known.labels, only_shared=only_shared))
            for name, only_shared in (("as it is", False), ("as it is, among shared classes", True))
        ]
        return found, []

    def _labelled(self, budget: int) -> Splits:
        seed = self.run.recipe.seed
        train, validation = self.splits.train, self.splits.validation
        return Splits(labelled(train, budget, seed), labelled(validation, budget, seed), self.splits.test)

    def _probed(self, chosen: Mapping[int, Splits]) -> dict[int, Predictions]:
        """A linear probe for each budget; every image goes through the model once."""
        largest = chosen[max(chosen)]
        train, validation, test = (features(self.model, part, progress=self.progress) for part in largest)
        found = {}
        for budget, splits in chosen.items():
            rows = np.isin(largest.train.index, splits.train.index)
            held_out = np.isin(largest.validation.index, splits.validation.index)
            probe = Probe(train[rows], splits.train.labels, validation[held_out], splits.validation.labels)
            found[budget] = _said(probe.logits(test), self.splits.test)
        return found

    def _trained(self, way: str, budget: int, splits: Splits) -> Predictions:
        """The test predictions of a training, which is a run like any other."""
        recipe = self._recipe(way, budget)
        run = completed(
            recipe, self.folder / f"{way.replace(' ', '-')}-{budget}", lambda: splits, callbacks=self.callbacks
        )
        run.check_data(splits)  # one that was there may be of images that have changed since
        return cast("Predictions", run.predictions("test"))  # it was judged

    def _recipe(self, way: str, budget: int) -> Recipe:
        trained, tuned = self.run.recipe.training, way == FINE_TUNED
        return Recipe(
            name=f"transfer/{way}",
            description=f"{self.run.recipe.name}, {way} with {budget} labels.",
            data=self.settings,
            model=PretrainedSettings(weights=str(self.run.path.absolute()))
            if tuned
            else _random(self.run.recipe.model),
            augment=self.run.recipe.augment,
            optimizer=AdamWSettings(lr=_RATE, weight_decay=_WEIGHT_DECAY),
            schedule=OneCycleSettings(),
            training=TrainingSettings(
                epochs=self.epochs,
                batch_size=min(trained.batch_size, max(_SMALLEST_BATCH, budget // _STEPS_AN_EPOCH)),
                unfreeze={"all": _HEAD_ALONE} if tuned else None,
                stage_decay=_STAGE_DECAY if tuned else 1.0,
                precision=trained.precision,
                device=trained.device,
                threads=trained.threads,
            ),
            seed=self.run.recipe.seed,
        )


def _images(
    data: Splits | DataSettings | str, model: Classifier, progress: Progress | None
) -> tuple[Splits, DataSettings]:
    """The images as the model takes them, and the settings that load them again."""
    spec = model.spec
    if isinstance(data, Splits):
        store = data.train.store
        settings = DataSettings(source=str(store.root or store.source))
        splits = data
    else:
        settings = DataSettings(source=data) if isinstance(data, str) else data
        splits = load(_sized(settings, model), progress=progress)
    for part in (splits.validation, splits.test):
        if not len(part):
            raise DataError(
                f"{part.store.source} has no {part.split} images.",
                f"Hold some out: {settings.holding_out(part.split)}; choosing and judging need images not learnt from.",
            )
    settings = dataclasses.replace(_sized(settings, model), classes=splits.train.classes)
    return fitted(splits, spec), settings


def _sized(settings: DataSettings, model: Classifier) -> DataSettings:
    spec = model.spec
    if spec.height != spec.width:  # the settings know squares only; `fitted` knows all
        return settings
    return dataclasses.replace(
        settings,
        size=spec.height,
        channels=spec.channels,  # type: ignore[arg-type]  # 1 or 3
        resize=spec.resize,
        interpolation=spec.interpolation,
    )


def _random(settings: ModelSettings) -> ModelSettings:
    """The same network with random weights."""
    if not isinstance(settings, PretrainedSettings):
        return settings
    return dataclasses.replace(settings, weights="random", sha256=None, mean=None, std=None, licence=None)


def _folder(run: Run, splits: Splits) -> Path:
    source = Path(splits.train.store.source).stem or "data"
    return Path("runs") / "transfer" / f"{run.path.absolute().name}-to-{source}"


def _said(logits: np.ndarray, images: ImageSet) -> Predictions:
    return Predictions(logits, images.labels, images.index, images.classes, images.split, images.store.source)


def _way(name: str, labels: int, said: Predictions, scratch: Predictions | None = None) -> Way:
    compared: Comparison | None = None if scratch is None or said is scratch else compare(scratch, said)
    return Way(
        name=name,
        labels=labels,
        scores=evaluate(said),
        gain=compared.difference if compared else None,
        p=compared.p if compared else None,
    )
