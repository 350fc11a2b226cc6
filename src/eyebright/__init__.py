"""Eyebright trains image classifiers, shows why they are wrong, and ships them.

The public names, in the order in which one walks through them:

    recipe = eb.recipe("cifar10/regularized_cnn", epochs=10)   every choice of an experiment
    splits = eb.load(recipe.data)                              .train .validation .test
    run = eb.fit(recipe, splits)                               a folder with the model and its history
    test = eb.predict(run.model, splits.test)                  logits, labels, index
    scores = eb.evaluate(test)                                 every number with its interval
    wrong = eb.mistakes(test).most_confident(16)               what it gets wrong, the surest first
    maps = eb.activation_maps(run.model, splits.test[wrong.index])     what spoke for it
    eb.report(run, eb.findings(run, splits)).write("report.html")      one offline page
    bundle = eb.export(run, "model.onnx", check=splits.test)           ships it, proven equal

They are resolved on first use: importing this package loads neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyebright.audit.case import Remark as Remark
    from eyebright.audit.comparison import Comparison as Comparison
    from eyebright.audit.comparison import compare as compare
    from eyebright.audit.comparison import compare_runs as compare_runs
    from eyebright.audit.data_doctor import DataFindings as DataFindings
    from eyebright.audit.data_doctor import examine_data as examine_data
    from eyebright.audit.doubtful_labels import DoubtfulLabels as DoubtfulLabels
    from eyebright.audit.doubtful_labels import doubtful_labels as doubtful_labels
    from eyebright.audit.training_doctor import diagnose as diagnose
    from eyebright.audit.training_doctor import examine as examine
    from eyebright.core.errors import EyebrightError as EyebrightError
    from eyebright.core.input_spec import InputSpec as InputSpec
    from eyebright.core.recipe import Recipe as Recipe
    from eyebright.core.recipe import recipe as recipe
    from eyebright.core.recipe import recipes as recipes
    from eyebright.core.settings.augment import AugmentSettings as AugmentSettings
    from eyebright.core.settings.data import DataSettings as DataSettings
    from eyebright.data.image_set import ImageSet as ImageSet
    from eyebright.data.image_set import Splits as Splits
    from eyebright.data.label_patch import LabelPatch as LabelPatch
    from eyebright.data.load import load as load
    from eyebright.data.near_copies import Copies as Copies
    from eyebright.data.near_copies import find_copies as find_copies
    from eyebright.data.sheet import sheet as sheet
    from eyebright.evaluation.classify import classify as classify
    from eyebright.evaluation.metrics import evaluate as evaluate
    from eyebright.evaluation.predict import predict as predict
    from eyebright.evaluation.predictions import Predictions as Predictions
    from eyebright.evaluation.score import Score as Score
    from eyebright.evaluation.scores import Scores as Scores
    from eyebright.exporting.bundle import Bundle as Bundle
    from eyebright.exporting.bundle import open_bundle as open_bundle
    from eyebright.exporting.certificate import Certificate as Certificate
    from eyebright.exporting.write import export as export
    from eyebright.insight.activation_maps import ActivationMaps as ActivationMaps
    from eyebright.insight.activation_maps import activation_maps as activation_maps
    from eyebright.insight.embedding import embed as embed
    from eyebright.insight.findings import findings as findings
    from eyebright.insight.inside import activity as activity
    from eyebright.insight.inside import feature_maps as feature_maps
    from eyebright.insight.inside import first_filters as first_filters
    from eyebright.insight.mistakes import mistakes as mistakes
    from eyebright.insight.neighbours import features as features
    from eyebright.insight.neighbours import look_alikes as look_alikes
    from eyebright.insight.neighbours import nearest as nearest
    from eyebright.insight.overlay import overlay as overlay
    from eyebright.insight.reliance import Reliance as Reliance
    from eyebright.insight.reliance import reliance as reliance
    from eyebright.models.classifier import Classifier as Classifier
    from eyebright.models.summary import summary as summary
    from eyebright.reporting.data_report import data_report as data_report
    from eyebright.reporting.report import report as report
    from eyebright.reporting.side_by_side import side_by_side as side_by_side
    from eyebright.reporting.sweep_report import sweep_report as sweep_report
    from eyebright.sweeps.standing import Sweep as Sweep
    from eyebright.sweeps.sweep import resume_sweep as resume_sweep
    from eyebright.sweeps.sweep import sweep as sweep
    from eyebright.tables.reproduce import reproduce as reproduce
    from eyebright.tables.reproduction import Reproduction as Reproduction
    from eyebright.training.callbacks import Callback as Callback
    from eyebright.training.completion import fit_once as fit_once
    from eyebright.training.cross_fit import cross_fit as cross_fit
    from eyebright.training.distributed import joined as joined
    from eyebright.training.fit import build as build
    from eyebright.training.fit import fit as fit
    from eyebright.training.fit import judge as judge
    from eyebright.training.fit import resume as resume
    from eyebright.training.measure.machine import measure_machine as measure_machine
    from eyebright.training.measure.recipe import measure_recipe as measure_recipe
    from eyebright.training.progress import ProgressBar as ProgressBar
    from eyebright.training.run import Run as Run
    from eyebright.training.run import runs as runs
    from eyebright.training.tracking.trackers import publish as publish
    from eyebright.transfers.result import Transfer as Transfer
    from eyebright.transfers.transfer import transfer as transfer

# Public name -> module that defines it.
_HOMES = {
    "recipe": "core.recipe",
    "recipes": "core.recipe",
    "load": "data.load",
    "find_copies": "data.near_copies",
    "build": "training.fit",
    "summary": "models.summary",
    "fit": "training.fit",
    "resume": "training.fit",
    "fit_once": "training.completion",
    "cross_fit": "training.cross_fit",
    "judge": "training.fit",
    "joined": "training.distributed",
    "publish": "training.tracking.trackers",
    "predict": "evaluation.predict",
    "classify": "evaluation.classify",
    "evaluate": "evaluation.metrics",
    "measure_machine": "training.measure.machine",
    "measure_recipe": "training.measure.recipe",
    "compare": "audit.comparison",
    "compare_runs": "audit.comparison",
    "doubtful_labels": "audit.doubtful_labels",
    "examine_data": "audit.data_doctor",
    "diagnose": "audit.training_doctor",
    "examine": "audit.training_doctor",
    "activation_maps": "insight.activation_maps",
    "overlay": "insight.overlay",
    "reliance": "insight.reliance",
    "mistakes": "insight.mistakes",
    "look_alikes": "insight.neighbours",
    "features": "insight.neighbours",
    "nearest": "insight.neighbours",
    "embed": "insight.embedding",
    "first_filters": "insight.inside",
    "feature_maps": "insight.inside",
    "activity": "insight.inside",
    "findings": "insight.findings",
    "reproduce": "tables.reproduce",
    "transfer": "transfers.transfer",
    "report": "reporting.report",
    "side_by_side": "reporting.side_by_side",
    "data_report": "reporting.data_report",
    "export": "exporting.write",
    "open_bundle": "exporting.bundle",
    "sweep": "sweeps.sweep",
    "resume_sweep": "sweeps.sweep",
    "sweep_report": "reporting.sweep_report",
    "runs": "training.run",
    "sheet": "data.sheet",
    "Recipe": "core.recipe",
    "InputSpec": "core.input_spec",
    "ImageSet": "data.image_set",
    "Splits": "data.image_set",
    "Classifier": "models.classifier",
    "DataSettings": "core.settings.data",
    "AugmentSettings": "core.settings.augment",
    "Callback": "training.callbacks",
    "ProgressBar": "training.progress",
    "Run": "training.run",
    "Predictions": "evaluation.predictions",
    "Score": "evaluation.score",
    "Scores": "evaluation.scores",
    "ActivationMaps": "insight.activation_maps",
    "Reliance": "insight.reliance",
    "Sweep": "sweeps.standing",
    "Copies": "data.near_copies",
    "DataFindings": "audit.data_doctor",
    "DoubtfulLabels": "audit.doubtful_labels",
    "Comparison": "audit.comparison",
    "Remark": "audit.case",
    "Reproduction": "tables.reproduction",
    "Transfer": "transfers.result",
    "Bundle": "exporting.bundle",
    "Certificate": "exporting.certificate",
    "LabelPatch": "data.label_patch",
    "EyebrightError": "core.errors",
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 (names of a dictionary, which the linter cannot see)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eyebright' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"eyebright.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
