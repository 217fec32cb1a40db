"""What lambda-hat is taken against: β, L* and the losses belong together, and to this run."""

from __future__ import annotations

import json
import math

import numpy as np

from sltprob.diagnostics.base import BASELINE, Check, Run, below, ratio, statistic

__all__ = ["as_sampled", "attained", "least_draw", "minimum_loss"]

# What a wrong L* may do to lambda-hat, relative to it, where its own error is smaller.
_BASELINE_LIMIT = 0.02
# The same, where descents may not have come to their end.
_ATTAINED_LIMIT = 0.05
# Units in the last place by which log p may differ from what it is made of.
_ROUNDINGS = 64
# Share of the draws, those with the least loss, that tell how the loss comes down to L*.
_LOWEST = 0.05
# How much larger than lambda-hat the exponent of the lowest losses may be.
_EXPONENT = 2.5
# Decimal digits of the probability by which a baseline fails.
_DIGITS = 6
# How near to L*, in units of 1/β, scouts have been there; and what is no change of lambda-hat.
_AT_THE_BOTTOM, _NO_CHANGE = 0.1, 0.05
EMBRECHTS = (
    "Embrechts, Klüppelberg, Mikosch, Modelling Extremal Events (1997), chapter 3 (least values); "
    "Watanabe, Algebraic Geometry and Statistical Learning Theory (2009), chapter 6"
)


def as_sampled(run: Run) -> list[Check]:
    """Compare β, L* and the losses with those of the sampler.

    A run says twice what they were: in the attributes that are read, and in ``as_sampled``. And
    every draw has log p = log prior - βL, whatever was done to the file.
    """
    problems = 0.0
    known = _numbers(run.attributes.get("as_sampled", "{}"))
    for name in ("beta", "minimum_loss"):
        if math.isfinite(known.get(name, math.nan)):
            problems += run.number(name) != known[name]
    size, mean_loss = run.loss.size, known.get("mean_loss", math.nan)
    if known.get("draws") == size and size and not math.isnan(mean_loss):
        # Another order of the same numbers in memory gives another last digit.
        problems += not math.isclose(float(np.mean(run.stats["loss"])), mean_loss, rel_tol=1e-9)
    if "log_prior" in run.stats and "lp" in run.stats:
        scaled = run.number("beta") * run.stats["loss"]
        parts = run.stats["lp"], run.stats["log_prior"], scaled
        with np.errstate(all="ignore"):
            difference = np.abs(parts[0] - parts[1] + parts[2])
            largest = np.max(np.abs(parts), axis=0)
        single = run.attributes.get("dtype") == "float32"
        precision = np.finfo(np.float32 if single else np.float64).eps
        # A draw that is not finite has a check of its own.
        problems += float(np.nansum(difference > _ROUNDINGS * precision * largest + 1e-300) > 0)
    elif not known:
        return []
    return [
        below(
            "as_sampled",
            problems,
            1,
            "of β, L*, the losses and log p, how many are not those of the sampler",
            "The file was changed after the run, and lambda-hat with it: sample again, or give "
            "another L* to estimate(draws, minimum_loss=...).",
            BASELINE,
            evidence=True,
        )
    ]


def minimum_loss(run: Run) -> list[Check]:
    """Compare L* with the lowest loss that was drawn or descended to, and lambda-hat with zero.

    No loss lies below its least value. Where one does, L* was no minimum and lambda-hat is too
    low by at least the difference. On a data set of a built-in model L* is the loss at the truth,
    which the best fit undercuts, and lambda-hat can be negative.
    """
    source = run.attributes.get("minimum_loss_source")
    if not run.knows_minimum or not run.loss.size or source == "true parameter":
        return []
    # The loss of a minibatch lies below that of all rows as often as above.
    of_minibatches = source == "minibatches"
    lowest = 0.0 if of_minibatches else min(float(np.min(run.loss)), _attained(run))
    excess = -lowest - run.number("beta") * run.number("loss_rounding")
    # An error of L* adds to that of lambda-hat.
    error = run.number("beta") * float(run.attributes.get("minimum_loss_error", 0.0))  # type: ignore[arg-type]
    tolerance = max(_BASELINE_LIMIT * run.scale, run.mcse if math.isfinite(run.mcse) else 0.0)
    return [
        below(
            "minimum_loss",
            max(excess, error, -run.lambda_hat),
            tolerance,
            "β (L* - the lowest loss drawn or descended to), or the error of L*",
            "L* is not the least loss, and lambda-hat is wrong by at least this much: train "
            "further, search with sltprob.find_optimum(posterior, points=[draws]), or give "
            "minimum_loss=.",
            BASELINE,
            evidence=True,
        )
    ]


def attained(run: Run) -> list[Check]:
    """Ask whether draws, or descents of the loss from where scouts have been, come down to L*.

    Where none does, L* is too low, or it lies in a basin that nothing has come to. The infimum of a
    loss that has no least value is such an L* too. It does not apply to an L* at a known place.
    """
    least, source = _attained(run), run.attributes.get("minimum_loss_source")
    if source not in ("given", "exact") or math.isinf(least):
        return []
    tolerance = max(_ATTAINED_LIMIT * run.scale, run.mcse if math.isfinite(run.mcse) else 0.0)
    return [
        below(
            "attained",
            max(min(least, float(np.min(run.loss, initial=math.inf))), 0.0),
            tolerance,
            "β (the least loss that draws and descents reach - L*)",
            "Nothing comes down to L*: it is too low and lambda-hat too high, or the best basin "
            "was missed; start there, init='optimum', or search with sltprob.find_optimum.",
            BASELINE,
        )
    ]


def _attained(run: Run) -> float:
    """Give β (the least loss that descents of the loss have reached - L*), infinite if none was."""
    least = run.scouts.get("attained_loss", np.zeros(0))
    return float(least) if least.size == 1 and not np.isnan(least) else math.inf


def _numbers(text: object) -> dict[str, float]:
    """Read numbers by name; what is none of ours says nothing."""
    try:
        return {str(name): float(value) for name, value in json.loads(str(text)).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _is_of_no_weight(run: Run) -> bool:
    """Say whether scouts have found the basin of L*, and that it hardly changes lambda-hat."""
    loss = run.scouts.get("least_loss", np.asarray(math.nan))
    log_weight = run.scouts.get("least_log_weight", np.asarray(math.nan))
    if loss.size != 1 or log_weight.size != 1:
        return False
    change = abs(run.lambda_hat) / (1 + math.exp(min(-float(log_weight), 700.0)))
    return bool(abs(float(loss)) < _AT_THE_BOTTOM and change < _NO_CHANGE * run.scale)


def least_draw(run: Run) -> list[Check]:
    """Ask whether the lowest losses come down to L* as a volume does.

    The volume with β (L - L*) < t grows like a power of t, and the power is about lambda-hat. So of
    k draws below t the least is about t k^(-1/λ), and cannot be near t itself. The value is minus
    the logarithm, to base 10, of the probability of a least draw as high as this; 0 where scouts
    have been at L*, and the basin there is too narrow to count.
    """
    source = run.attributes.get("minimum_loss_source")
    if not run.knows_minimum or run.lambda_hat <= 0 or source == "true parameter":
        return []
    digits = math.nan
    if _is_of_no_weight(run):
        digits = 0.0
    elif run.loss.size and np.all(np.isfinite(run.loss)):
        count = _LOWEST * min(statistic("ess", run.loss, method="bulk"), run.loss.size)
        lowest = float(np.quantile(run.loss, _LOWEST))
        least = max(float(np.min(run.loss)), 0.0)
        exponent = _EXPONENT * max(run.lambda_hat, 1.0)
        power = ratio(least, lowest) ** exponent if lowest > 0 else 0.0
        # Of uniform variables to the power 1/λ the least of k exceeds q with (1 - q^λ)^(k-1).
        digits = -max(count - 1, 0.0) * math.log10(max(1 - power, 1e-300))
    return [
        below(
            "least_draw",
            digits,
            _DIGITS,
            "digits of the probability that no draw has a loss nearer to L*",
            "No draw comes near L*: it is too low and lambda-hat too high, or the best basin was "
            "missed; start there, init='optimum', or search with sltprob.find_optimum.",
            f"{BASELINE}; {EMBRECHTS}",
        )
    ]
