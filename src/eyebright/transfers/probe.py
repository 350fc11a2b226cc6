"""The linear probe: how well a linear classifier does on features that stay as they are.

Alain and Bengio (2016), "Understanding intermediate layers using linear classifier probes", arXiv:1610.01644.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

# Inverse strengths of the L2 penalty on standardised features, strong to weak.
_STRENGTHS = tuple(10.0**power for power in range(-4, 3))
_STEPS = 2000  # of L-BFGS; weak penalties on few images may want more, and are judged where they stand


class Probe:
    """A logistic regression on standardised features, its penalty chosen on validation images by log loss.

    Parameters
    ----------
    train, validation : features (N, F) of images.
    train_labels, validation_labels : (N,) positions of classes; every class must have a training image.

    Attributes
    ----------
    strength : the chosen inverse strength of the penalty.
    """

    def __init__(
        self,
        train: NDArray[np.float32],
        train_labels: NDArray[np.int64],
        validation: NDArray[np.float32],
        validation_labels: NDArray[np.int64],
    ) -> None:
        classes = np.unique(train_labels)
        tried: list[tuple[float, float, Pipeline]] = []
        for strength in _STRENGTHS:
            regression = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=_STEPS))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                regression.fit(train.astype(np.float64), train_labels)
            answers = regression.predict_proba(validation.astype(np.float64))
            tried.append((float(log_loss(validation_labels, answers, labels=classes)), strength, regression))
        _, self.strength, self._regression = min(tried, key=lambda each: each[:2])

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-probabilities (N, K) float32 of the classes."""
        answers: NDArray[np.float64] = self._regression.predict_proba(features.astype(np.float64))
        return np.log(np.maximum(answers, np.finfo(np.float32).tiny)).astype(np.float32)  # -inf is no logit
