"""Where lambda-hat of the tanh network turns, for widths from 5 to 128, and whether suddenly.

For each width to 64 one descent of sequential Monte Carlo with steps of half a decade around the
turn, for 128 chains of the same moves that start collapsed (w a hundredth of a prior draw) or at
prior draws ("hot"): lambda-hat, the root mean square of w and Var[beta L], of which the part that
comes from w would be large where two phases lie side by side, and how w is distributed. Then the
highest lambda-hat and its place, with errors, and how they grow with the width. Twenty minutes on
one core; ``python benchmarks/turn.py 5,10,16 FOLDER`` takes one, and draws turn.svg there. 256
units, which take half an hour, are left out unless they are named.
"""

import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from sltprob.collapsed import Stage, started_sampling, tempered_sampling
from sltprob.exact import Exact
from sltprob.finding.turn import Turn, draw_turns, find_turn, fit_line
from sltprob.models.tanh_zero import TanhZero

# Width, and log10 of beta around the turn.
WIDTHS = {5: (3.5, 9.0), 10: (5.5, 11.5), 16: (7.0, 13.5), 32: (11.5, 17.0), 64: (17.0, 21.5)}
WIDTHS |= {128: (28.0, 30.5), 256: (40.0, 42.0)}
# Beyond the turn, where the part of Var[beta L] by w has its top: by chains only.
FARTHER = {64: (22.0, 22.5), 128: (31.0, 31.5)}
# How often chains move and adapt before they count. Collapsed starts of 256 units need longer: with
# 40 times they are still 1 % low where they turn, and before it they are left out.
SETTLING, LONGER = 40, 160
TURNING = 10**40.9
BINS = np.linspace(0.15, 0.65, 11)


def line(width: int, stage: Stage, name: str = "") -> str:
    value = stage.answer
    text = f"{f'10^{math.log10(value.beta):g}':<9}{f'{value.lambda_hat:.3f}±{value.mcse:.3f}':<14}"
    text += f"{value.lambda_hat / limit(width):<8.3f}{stage.spread:<9.3g}"
    text += f"{f'{stage.heat_capacity:.2f}±{stage.heat_capacity_mcse:.2f}':<13}"
    of_w = f"{stage.heat_capacity_of_w:.3f}±{stage.heat_capacity_of_w_mcse:.3f}"
    return text + f"{of_w:<14}{name}"


def histogram(stage: Stage) -> str:
    counts, _ = np.histogram(stage.spreads, BINS)
    low, middle, high = np.quantile(stage.spreads, (0.05, 0.5, 0.95))
    shares = " ".join(f"{100 * count / stage.spreads.size:.0f}" for count in counts)
    return f"rms w 5, 50, 95 %: {low:.3f} {middle:.3f} {high:.3f}; % in bins 0.15, 0.20 … {shares}"


def descend(width: int) -> list[Stage]:
    stages = tempered_sampling(
        ladder(width), TanhZero(width=width).problem(), tolerance=0.006 if width < 50 else 0.01
    )
    for stage in stages:
        print(line(width, stage), flush=True)
    split = max(stages, key=lambda stage: stage.heat_capacity_of_w)
    place = math.log10(split.answer.beta)
    print(f"where w contributes most, at 10^{place:g}, {histogram(split)}", flush=True)
    return list(stages)


def start(width: int, betas: list[float]) -> list[Exact]:
    """Give the mean of the starts, with an error that holds their difference."""
    problem = TanhZero(width=width).problem()
    answers = []
    for beta in betas:
        found = []
        for name, (size, settling) in starts(width, beta).items():
            stage = started_sampling(
                beta,
                problem,
                lambda generator, n, size=size: size * problem.draw_prior(generator, n),
                tolerance=0.015,
                population=8,
                settling=settling,
            )
            print(line(width, stage, f"{name} start"), flush=True)
            print(f"    {histogram(stage)}", flush=True)
            found.append(stage.answer)
        first, second = found[0], found[-1]
        error = math.hypot(first.mcse, second.mcse, first.lambda_hat - second.lambda_hat) / 2
        mean = (first.lambda_hat + second.lambda_hat) / 2
        both = replace(first, lambda_hat=mean, mcse=error)
        answers.append(both if len(found) > 1 else first)
    return answers


def starts(width: int, beta: float) -> dict[str, tuple[float, int]]:
    """Give the size of w over that of a prior draw, and how often chains move first."""
    hot, large = {"hot": (1.0, SETTLING)}, width > 128
    if large and beta < TURNING:
        return hot
    return {"collapsed": (0.01, LONGER if large else SETTLING)} | hot


def ladder(width: int) -> list[float]:
    low, high = WIDTHS[width]
    return [10.0**exponent for exponent in np.arange(low, high + 0.1, 0.5)]


def limit(width: int) -> float:
    return float(TanhZero(width=width).truth().learning_coefficient)


def curve_of(width: int) -> list[Exact]:
    print(f"\nh = {width}: λ = {limit(width):.4f}")
    print(f"{'β':<9}{'λ̂':<14} {'λ̂/λ':<8} {'rms w':<9}{'Var βL':<13}{'of it by w':<14}", flush=True)
    if width > 100:
        answers = start(width, ladder(width))
    else:
        answers = [stage.answer for stage in descend(width)]
    if width in FARTHER:
        print("farther on:", flush=True)
        start(width, [10.0**exponent for exponent in FARTHER[width]])
    return answers


def turn_of(width: int, answers: list[Exact]) -> Turn:
    turn = find_turn(answers)
    print(
        f"turn: log10 β = {turn.log10_beta:.2f}±{turn.log10_beta_mcse:.2f}, "
        f"λ̂ = {turn.lambda_hat:.3f}±{turn.lambda_hat_mcse:.3f}, "
        f"{turn.lambda_hat / limit(width):.3f} λ",
        flush=True,
    )
    return turn


def scaling(turns: dict[int, Turn]) -> None:
    """Fit what is printed, so that widths may be run one by one."""
    roots = [math.sqrt(width) for width in turns]
    found = [
        Turn(
            log10_beta=round(turn.log10_beta, 2),
            log10_beta_mcse=round(turn.log10_beta_mcse, 2),
            lambda_hat=round(turn.lambda_hat, 3),
            lambda_hat_mcse=round(turn.lambda_hat_mcse, 3),
        )
        for turn in turns.values()
    ]
    for name, values, errors in (
        (
            "log10 β at the turn",
            [turn.log10_beta for turn in found],
            [turn.log10_beta_mcse for turn in found],
        ),
        ("its λ̂", [turn.lambda_hat for turn in found], [turn.lambda_hat_mcse for turn in found]),
    ):
        fit = fit_line(roots, values, errors)
        print(
            f"{name} = ({fit.intercept:.2f}±{fit.intercept_error:.2f}) + "
            f"({fit.slope:.3f}±{fit.slope_error:.3f}) √h, χ² per degree of freedom {fit.misfit:.1f}"
        )
        steps = zip(
            itertools.pairwise(roots),
            itertools.pairwise(values),
            itertools.pairwise(errors),
            strict=True,
        )
        slopes = [
            f"{(high - low) / (right - left):.2f}±{math.hypot(*error) / (right - left):.2f}"
            for (left, right), (low, high), error in steps
        ]
        print(f"    from one width to the next, for each unit of √h: {', '.join(slopes)}")
        power = fit_line(
            np.log(list(turns)),
            np.log(values),
            [error / value for error, value in zip(errors, values, strict=True)],
        )
        print(
            f"{name} ∝ h^({power.slope:.3f}±{power.slope_error:.3f}), "
            f"χ² per degree of freedom {power.misfit:.1f}"
        )


def main() -> None:
    widths = [int(part) for part in sys.argv[1].split(",")] if sys.argv[1:] else list(WIDTHS)[:-1]
    curves, turns = {}, {}
    for width in widths:
        curves[width] = curve_of(width)
        turns[width] = turn_of(width, curves[width])
    if sys.argv[2:]:
        limits = {width: limit(width) for width in widths}
        draw_turns(Path(sys.argv[2]) / "turn.svg", curves, limits)
    wide = {width: turn for width, turn in turns.items() if width >= 32}
    for name, chosen in (("all widths", turns), ("from h = 32 on", wide)):
        if len(chosen) > 2:
            print(f"\n{name}")
            scaling(chosen)


if __name__ == "__main__":
    main()
