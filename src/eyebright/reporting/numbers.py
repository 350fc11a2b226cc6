"""How the report writes numbers: shares in percent, counts in groups of three."""

from __future__ import annotations

from collections.abc import Callable

from eyebright.evaluation.score import Score

Show = Callable[[float], str]
THIN = "\u202f"  # narrow no-break space: a number and its unit stay on one line
_PROPER = {  # methods of activation maps, as their authors write them
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "eigen_cam": "Eigen-CAM",
    "score_cam": "Score-CAM",
    "ablation_cam": "Ablation-CAM",
    "guided_grad_cam": "Guided Grad-CAM",
}
_TO = f"{THIN}\u2013{THIN}"  # en dash


def percent(share: float) -> str:
    """0.9412 -> "94.1 %"."""
    return f"{100 * share:.1f}{THIN}%"


def number(value: float) -> str:
    """Three digits after the point, fewer for large numbers."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def count(whole: int) -> str:
    """10000 -> "10,000"."""
    return f"{whole:,}"


def duration(seconds: float) -> str:
    """1234 -> "20 min 34 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s" if seconds < 10 else f"{rest} s"


def range_of(score: Score) -> str:
    """The interval in percent, both ends around a dash: "93.6 - 94.6 %"."""
    return f"{100 * score.low:.1f}{_TO}{100 * score.high:.1f}{THIN}%"


def plain_range_of(score: Score) -> str:
    """The interval of a score that is no share: "0.181 - 0.190"."""
    return f"{number(score.low)}{_TO}{number(score.high)}"


def words(name: str) -> str:
    """A name of the code as people write it: "dead_units" -> "dead units", "grad_cam at body" -> "Grad-CAM at body"."""
    first, space, rest = name.partition(" ")
    return _PROPER.get(first, first.replace("_", " ")) + space + rest


def chance(p: float) -> str:
    """A probability that may be tiny: "0.032"; what is smaller than a thousandth is not spelled out."""
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def points(share: float) -> str:
    """A difference of two shares: "5.2 points"; of a difference that rounds to none the sign means nothing."""
    rounded = round(100 * share, 1) + 0.0  # -0.0 + 0.0 is 0.0
    return f"{rounded:.1f} points".replace("-", "\u2212")


def signed(share: float) -> str:
    """A change of a share in points, without the word: "+5.2", and a true minus sign."""
    rounded = round(100 * share, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", "\u2212") if rounded else "0.0"


def fall_range(fall: Score) -> str:
    """The interval of a fall, told as a change: "\u22123.1 to +0.2"."""
    return f"{signed(-fall.high)} to {signed(-fall.low)}"
