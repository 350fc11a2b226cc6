"""Features as points on a page: which classes a model keeps apart, and between which its mistakes lie.

PCA is a projection: distances on the page are distances in two directions of the features, and the share of the
variance says how much of the whole they are. t-SNE (van der Maaten and Hinton 2008) and UMAP (McInnes, Healy and
Melville 2018, arXiv:1802.03426) keep neighbours together; the sizes of their clusters and the gaps between them mean
nothing (Wattenberg, Viegas and Johnson, "How to Use t-SNE Effectively", Distill 2016).
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.core.errors import DataError, EyebrightError, MissingExtraError, nearest
from eyebright.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Effective neighbours of a point: t-SNE's perplexity and UMAP's n_neighbors, both libraries' defaults.
_PERPLEXITY, _NEIGHBOURS = 30, 15
_TSNE_FEATURES = 50  # t-SNE begins from this many principal components, as its authors do: less noise, less time
_EXACT_FEATURES = 2000  # of which PCA computes the whole covariance, in seconds; of more, it draws random projections
_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_SIDE, _DPI = 7.0, 150  # inches, dots per inch
_TOLD_APART = 20  # classes that have a colour each; of more, only the names stand in the picture
_INK = "#1b1e22"  # as in the charts of the report


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """Features in two dimensions.

    Attributes
    ----------
    points : (N, 2) float32, in the order of the features.
    method : how they were made.
    explained : share of the variance along each axis, where the method is "pca".
    """

    points: NDArray[np.float32]
    method: str
    explained: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return f"Embedding({len(self)} points by {self._how()})"

    def picture(self, predictions: Predictions) -> Image.Image:
        """Draw the points, coloured by their given class and with a cross at each mistake.

        Parameters
        ----------
        predictions : of the same images in the same order.

        Raises
        ------
        DataError : there are other images in `predictions`.
        MissingExtraError : Matplotlib is not installed.
        """
        if len(predictions) != len(self):
            raise DataError(
                f"there are {len(self)} points and predictions of {len(predictions)} images.",
                "Predict on the images that the features are of.",
            )
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingExtraError("matplotlib", "report") from error
        figure = Figure(figsize=(_SIDE, _SIDE), layout="constrained")
        axes = figure.add_subplot()
        wrong = f"crosses: the {int((~predictions.correct).sum()):,} mistakes"
        axes.set_title(
            f"{predictions.source} {predictions.split}: {len(self):,} images by {self._how()}; {wrong}",
            loc="left",
            fontsize=9,
            color=_INK,
            parse_math=False,
        )
        axes.set_axis_off()
        _scatter(axes, self.points, predictions)
        content = io.BytesIO()
        with warnings.catch_warnings():
            # A class name in a script that the font lacks is drawn as boxes.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(content, format="png", dpi=_DPI)
        return Image.open(content).convert("RGB")

    def _how(self) -> str:
        if self.explained is None:
            return _NAMES[self.method]
        return f"{_NAMES[self.method]} with {sum(self.explained):.0%} of the variance"


def embed(features: NDArray[np.float32], method: str = "pca", seed: int = 0) -> Embedding:
    """Lay features out in two dimensions. Equal features, of a body that gives all images the same, coincide.

    Parameters
    ----------
    features : (N, F), as `eyebright.features` gives them.
    method : "pca", in a moment; "tsne", for 10,000 images in a minute or two; "umap", if it is installed.
    seed : of the random parts. UMAP has them; PCA, and t-SNE that begins from it, only with more than 2000 features.
        With other versions of their libraries, t-SNE and UMAP may give other points.

    Raises
    ------
    EyebrightError : there is no such method.
    DataError : the features are not (N, F), or not finite; or they are too few for UMAP, which needs 16.
    MissingExtraError : the method's library is not installed.
    """
    if method not in METHODS:
        raise EyebrightError(f"there is no embedding {method!r}.", nearest(method, METHODS))
    if features.ndim != 2 or 0 in features.shape or not np.isfinite(features).all():
        raise DataError(
            f"features {features.shape} are not rows (N, F) of finite numbers.",
            "Make them with eyebright.features, of a model that has not diverged.",
        )
    if (features == features[0]).all():  # nothing to lay out; the libraries would divide by the spread
        return Embedding(np.zeros((len(features), 2), np.float32), method, (0.0, 0.0) if method == "pca" else None)
    return METHODS[method](features, seed)


def _pca(features: NDArray[np.float32], seed: int) -> Embedding:
    points, shares = _principal(features, 2, seed)
    return Embedding(points, "pca", (float(shares[0]), float(shares[1])))


def _tsne(features: NDArray[np.float32], seed: int) -> Embedding:
    from sklearn.manifold import TSNE

    reduced, _ = _principal(features, max(2, min(_TSNE_FEATURES, features.shape[1])), seed)
    # A point cannot have more neighbours than there are; a third of them is what the method can resolve.
    perplexity = min(_PERPLEXITY, max(1.0, (len(features) - 1) / 3))
    made = TSNE(perplexity=perplexity, init=reduced[:, :2] / reduced[:, 0].std() * 1e-4, random_state=seed)
    return Embedding(made.fit_transform(reduced).astype(np.float32), "tsne")


def _umap(features: NDArray[np.float32], seed: int) -> Embedding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # that it could do more with TensorFlow
            import umap
    except ImportError as error:
        raise MissingExtraError("umap-learn", "insight") from error
    if len(features) <= _NEIGHBOURS:
        raise DataError(
            f"UMAP cannot find {_NEIGHBOURS} neighbours among {len(features)} images.", "Give more, or use PCA."
        )
    # One thread: with more, the seed does not decide the result.
    made = umap.UMAP(n_neighbors=_NEIGHBOURS, random_state=seed, n_jobs=1)
    return Embedding(made.fit_transform(features).astype(np.float32), "umap")


# Name of each method -> from features (N, F) that are not all equal, and a seed, to the points.
METHODS: Mapping[str, Callable[[NDArray[np.float32], int], Embedding]] = {"pca": _pca, "tsne": _tsne, "umap": _umap}


def _principal(features: NDArray[np.float32], count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Principal components (N, count) float32, and the share of the variance of each (count,).

    The direction of an axis is chosen so that its largest loading is positive. Components that the features do not
    have, for want of images or of features, are 0.
    """
    from sklearn.decomposition import PCA

    known = min(count, *features.shape)
    solver = "covariance_eigh" if features.shape[1] <= _EXACT_FEATURES else "auto"
    made = PCA(known, svd_solver=solver, random_state=seed)
    points = made.fit_transform(features.astype(np.float64))  # (N, known)
    largest = np.abs(made.components_).argmax(axis=1)  # (known,)
    points *= np.sign(made.components_[np.arange(known), largest])
    missing = count - known
    return (
        np.pad(points, ((0, 0), (0, missing))).astype(np.float32),
        np.pad(made.explained_variance_ratio_, (0, missing)),
    )


def _scatter(axes: Axes, points: NDArray[np.float32], predictions: Predictions) -> None:
    """Dots for the right answers, crosses above them for the mistakes, and what the colours mean."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    classes = predictions.classes
    palette = colormaps["tab10" if len(classes) <= 10 else "tab20" if len(classes) <= _TOLD_APART else "gist_rainbow"]
    if len(classes) > _TOLD_APART:
        palette = palette.resampled(len(classes))
    x, y, right = *points.T, predictions.correct
    colours = palette(predictions.labels)  # (N, 4)
    axes.scatter(x[right], y[right], s=6, c=colours[right], alpha=0.5, linewidths=0)
    axes.scatter(x[~right], y[~right], s=16, c=colours[~right], marker="X", edgecolors=_INK, linewidths=0.4)
    if len(classes) <= _TOLD_APART:
        dots = [Line2D([], [], marker="o", linestyle="", color=palette(label)) for label in range(len(classes))]
        legend = axes.legend(dots, classes, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=5, frameon=False)
        for text in legend.get_texts():
            text.set(parse_math=False, color=_INK)
        return
    for label in np.unique(predictions.labels):
        middle = np.median(points[predictions.labels == label], axis=0)
        axes.annotate(classes[label], middle, ha="center", va="center", fontsize=6, color=_INK, parse_math=False)
