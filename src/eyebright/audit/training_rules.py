"""Rules on how a training went: from its history, its scores and its weights.

Each threshold has its reason beside it; "measured" means on digits, CIFAR-10 and Emotions with the networks of this
package, healthy ones and such with the fault planted. A rule that lacks its evidence says nothing.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator

from eyebright.audit import remedies
from eyebright.audit.case import Case, Remark, Severity, guess, interval, percent, skill
from eyebright.audit.remedies import Remedy
from eyebright.evaluation.intervals import difference, proportion

# Skill is the share of the way from guessing the most frequent class (0) to no mistake (1).
_LEARNT_NOTHING = 0.1  # a network that is trained at all passes it within an epoch on every task measured
_LEARNT_LITTLE = 0.5  # half of the way on its own training images: the network or the training is too small
_LEARNT_WELL = 0.9  # from here on, small steps cost nothing that could be seen

_GAP, _LARGE_GAP = 0.10, 0.20  # training minus held-out accuracy; measured 0.00 to 0.07 where a recipe regularises
_RISEN = 1.05  # times the lowest validation loss; less is the wavering from epoch to epoch
_TRAINING_ERROR = 0.10  # below it, there is more to gain from the gap than from the training error
_GAP_OF_ERROR = 0.25  # a gap below this share of the training error: most mistakes are not for want of generality

# In units of the loss of guessing, the entropy of the classes.
_PEAK = 1.5  # no epoch of a network that starts well is this bad; untrained networks begin at 1.0 to 1.1
_FALLEN, _BACK = 0.9, 0.98  # was better than guessing, and at the end is not
_JUMP = 0.1  # from one epoch to the next; measured 0.02 at most in healthy runs, 0.18 and 0.77 in broken ones
_STILL_FALLING = 0.05  # share of the training loss that the last quarter of the epochs took away

_WEAKEST = 0.01  # gradient of the weakest layer over that of the strongest; measured 0.03 at least in sound networks
# How far the weights moved, as a share of their initial length; measured 0.2 to 2.7 where the rate is sound.
_MOVED, _FAR = 0.05, 5.0

_DEAD, _MOSTLY_DEAD = 0.5, 0.8  # share of a layer; measured up to 0.4 in healthy networks without normalisation
_LISTED = 3  # layers that a remark names


def remarks(case: Case) -> Iterator[Remark]:
    """What the training shows: at most one remark on how it went, and one on dead units.

    The rules on how it went are a ladder, and the first that fits is said: the later faults follow from it. A network
    that learns nothing underfits as well.
    """
    dead = _dead_units(case)
    if "train" in case.scores:
        yield from _first(case, dead)
    if dead is not None:
        yield dead


def _first(case: Case, dead: Remark | None) -> Iterator[Remark]:
    """The first fault on the ladder."""
    too_high = _rate_too_high(case)
    if too_high is not None:
        yield too_high
    elif case.training_skill < _LEARNT_NOTHING:
        if dead is None or dead.severity != "serious":  # else that is the cause
            yield _stuck(case)
    else:
        for rule in (_wrong_labels, _rate_too_low, _overfitting, _underfitting):
            remark = rule(case)
            if remark is not None:
                yield remark
                return


def _rate_too_high(case: Case) -> Remark | None:
    """The loss was far above guessing, fell back to it, or jumped; or the weights went far and for nothing."""
    losses, guessing = case.losses, case.guess_loss
    if not losses:
        return None
    highest, lowest, last = max(losses), min(losses), losses[-1]
    jumps = [after - before for before, after in itertools.pairwise(losses)]
    jump = max(jumps, default=0.0)
    signs = []
    if highest >= _PEAK * math.log(len(case.train.classes)):  # untrained networks take all classes for equally likely
        signs.append(f"reached {highest:.2f} in epoch {1 + losses.index(highest)}")
    if last >= _BACK * guessing and lowest <= _FALLEN * guessing:
        signs.append(f"fell to {lowest:.2f} and ended at {last:.2f}")
    if jump >= _JUMP * guessing and not case.recipe.training.progressive:  # larger images are harder at first
        signs.append(f"jumped by {jump:.2f} in epoch {2 + jumps.index(jump)}")
    if signs:
        evidence = f"The training loss {', '.join(signs)}; guessing has {guessing:.2f}"
    elif case.farthest >= _FAR and case.training_skill < _LEARNT_WELL:
        evidence = (
            f"The weights of a layer moved by {case.farthest:.1f} times their length, and the training accuracy is "
            f"only {percent(case.training_accuracy)}"
        )
    else:
        return None
    evidence += f" (learning rate {_rate(case)})."
    severity: Severity = "serious" if case.training_skill < _LEARNT_WELL else "warning"
    return Remark.of("learning_rate_too_high", severity, evidence, remedies.slower(case.recipe))


def _stuck(case: Case) -> Remark:
    """Nothing was learnt: because no error gets through, because the steps are too small, or there is nothing to."""
    accuracy = (
        f"The training accuracy is {percent(case.training_accuracy)}, and guessing has {percent(guess(case.train))}"
    )
    heard = sorted((layer for layer in case.layers if layer.norm > 0), key=lambda layer: layer.norm)
    if heard and heard[0].norm <= _WEAKEST * heard[-1].norm:
        reach = f"{heard[0].layer} gets a gradient of {heard[0].norm:.1e}, {heard[-1].layer} of {heard[-1].norm:.1e}"
        return Remark.of("vanishing_gradients", "serious", f"{accuracy}; {reach}.", remedies.shortcut(case.recipe))
    too_low = _rate_too_low(case)
    if too_low is not None:
        return too_low
    known = "" if case.moved is None else "; gradients reach every layer, and the weights have moved"
    limit = 10 * len(case.train.classes)  # few enough to be known by heart, whatever they show
    change = (
        f"See whether {limit} images can be learnt by heart. If they can, the labels do not belong to the images "
        "(look at them with `eyebright data show`); if not, the network or its steps are at fault."
    )
    return Remark.of("no_learning", "serious", f"{accuracy}{known}.", Remedy(change, (f"data.limit={limit}",)))


def _wrong_labels(case: Case) -> Remark | None:
    """Training images are learnt, but what is learnt says nothing of others."""
    validation = case.scores.get("validation")
    accuracies = [record["validation_accuracy"] for record in case.history if "validation_accuracy" in record]
    if validation is None or not accuracies:
        return None
    # The best epoch was chosen by these images, so it flatters; the middle of the later half does not.
    usual = statistics.median(accuracies[len(accuracies) // 2 :])
    found = proportion(round(usual * validation.n), validation.n)
    guessing, training = guess(validation), case.training_accuracy
    if found.low > guessing or found.high >= (guessing + training) / 2:
        return None
    evidence = (
        f"The training accuracy reaches {percent(training)}, but the validation accuracy is {interval(found)} (median "
        f"of the later epochs), and guessing has {percent(guessing)}: the labels of one of them do not fit its images."
    )
    change = (
        "Look at training and validation images with their labels (`eyebright data show`), then divide them anew: if "
        "validation stays at guessing, all labels are in doubt."
    )
    remedy = Remedy(change, (f"data.split_seed={case.recipe.data.split_seed + 1}",))
    return Remark.of("wrong_labels", "serious", evidence, remedy)


def _rate_too_low(case: Case) -> Remark | None:
    """The weights are where they began, and could be better."""
    if case.moved is None or case.moved >= _MOVED or case.training_skill >= _LEARNT_WELL:
        return None
    evidence = (
        f"No layer has moved by more than {100 * case.moved:.2g} % of the length of its weights (learning rate "
        f"{_rate(case)}, {len(case.history)} epochs), and the training accuracy is {percent(case.training_accuracy)}."
    )
    severity: Severity = "serious" if case.training_skill < _LEARNT_NOTHING else "warning"
    return Remark.of("learning_rate_too_low", severity, evidence, remedies.faster(case.recipe, case.moved))


def _overfitting(case: Case) -> Remark | None:
    """Training images are answered far better than others, in the kept model or at the end."""
    held_out = case.held_out
    if held_out is None:
        return None
    pairs = [("of the kept model", case.train.accuracy, held_out.accuracy)]
    last = case.history[-1] if case.history else {}
    if "validation_accuracy" in last and held_out.split == "validation":
        end = (("train", case.train.n), ("validation", held_out.n))
        train, other = (proportion(round(last[f"{split}_accuracy"] * n), n) for split, n in end)
        pairs.append(("of the last epoch", train, other))
    where, train, other = max(pairs, key=lambda pair: pair[1].value - pair[2].value)
    gap, (low, high) = train.value - other.value, difference(train, other)
    if gap < _GAP or low <= 0:
        return None
    evidence = (
        f"The training accuracy {where} is {percent(train.value)}, that on {held_out.split} images "
        f"{percent(other.value)}: a gap of {100 * gap:.1f} points [{100 * low:.1f}, {100 * high:.1f}].{_turn(case)}"
    )
    return Remark.of(
        "overfitting", "serious" if gap >= _LARGE_GAP else "warning", evidence, remedies.brake(case.recipe)
    )


def _turn(case: Case) -> str:
    """Where the validation loss was lowest, if it has risen since by what can be seen."""
    losses = [record["validation_loss"] for record in case.history if "validation_loss" in record]
    if not losses or losses[-1] <= _RISEN * min(losses):
        return ""
    best = losses.index(min(losses))
    return f" The validation loss was lowest in epoch {1 + best} ({losses[best]:.2f}) and ended at {losses[-1]:.2f}."


def _underfitting(case: Case) -> Remark | None:
    """The training images themselves are answered badly, and others no worse."""
    held_out = case.held_out
    if held_out is None:
        return None
    train, other = case.train.accuracy.value, held_out.accuracy.value
    if 1 - train < _TRAINING_ERROR or train - other > _GAP_OF_ERROR * (1 - train):
        return None
    evidence = (
        f"Of the training images themselves {percent(1 - train)} are answered wrongly, and {held_out.split} images are "
        f"no harder ({percent(other)} right against {percent(train)})."
    )
    losses = case.losses
    tail = max(1, len(losses) // 4)
    fell = 1 - losses[-1] / losses[-1 - tail] if len(losses) > tail else 0.0
    if fell >= _STILL_FALLING:
        evidence += f" The training loss fell by {100 * fell:.0f} % in the last {tail} of {len(losses)} epochs."
    too_short = fell >= _STILL_FALLING or len(losses) == 1
    severity: Severity = "warning" if skill(train, case.train) < _LEARNT_LITTLE else "note"
    return Remark.of("underfitting", severity, evidence, remedies.push(case.recipe, longer=too_short))


def _dead_units(case: Case) -> Remark | None:
    """Units that are never active, by stage or layer."""
    counts = [(stage.dead, stage.channels, stage.stage) for stage in case.activity]
    counts = counts or [(layer.idle, layer.units, layer.layer) for layer in case.layers]
    worst = sorted((each for each in counts if each[0] >= _DEAD * each[1] > 0), key=lambda each: -each[0] / each[1])
    if not worst:
        return None
    listed = ", ".join(f"{name} {dead} of {units}" for dead, units, name in worst[:_LISTED])
    more = f" and {len(worst) - _LISTED} more layers" if len(worst) > _LISTED else ""
    share = worst[0][0] / worst[0][1]
    severity: Severity = "serious" if share == 1 else "warning" if share >= _MOSTLY_DEAD else "note"
    # What hardly moved was dead from the start; what moved was killed by a large step.
    from_the_start = case.moved is not None and case.moved < _MOVED
    remedy = remedies.shortcut(case.recipe) if from_the_start else remedies.slower(case.recipe)
    return Remark.of("dead_units", severity, f"Units that no image makes active: {listed}{more}.", remedy)


def _rate(case: Case) -> str:
    return f"{case.recipe.optimizer.lr:g}"
