"""Curves over scales: free energy, forms, truncations and the commands."""

import json
import math

import numpy as np
import pytest

from sltprob import models
from sltprob.cli import main
from sltprob.study.effective import truncated
from sltprob.study.scale import exact_values, geometric, scale_rows
from sltprob.theory.ansatz import FORMS, fit_forms
from sltprob.theory.free_energy import polynomial_fits, thermodynamic_integral
from sltprob.theory.kernel import nngp_kernel

BETAS = geometric(1.0, 1e8, 2)


def kernel_curve():
    kernel = nngp_kernel(128)
    return [kernel.lambda_hat(beta) for beta in BETAS]


def test_geometric_ranges():
    assert geometric(1.0, 1e4, 1) == [1.0, 10.0, 100.0, 1000.0, 10000.0]
    assert len(geometric(1.0, 1e12)) == 25
    with pytest.raises(ValueError, match="increase"):
        geometric(10.0, 1.0)


def test_thermodynamic_integral_of_a_known_curve():
    kernel = nngp_kernel(128)
    found = thermodynamic_integral(
        BETAS, kernel_curve(), np.full(len(BETAS), 1e-3), start=kernel.free_energy(1.0)
    )
    exact = [kernel.free_energy(beta) for beta in BETAS]
    np.testing.assert_allclose(found.free_energies, exact, atol=5e-3)
    assert (np.abs(found.free_energies - exact) <= found.interpolation + 5e-3).all()
    assert found.mcse[0] == 0


def test_thermodynamic_errors_are_those_of_the_measurements():
    """Compare 400 noisy ladders: the spread of F must be the propagated one. |z| < 5, 6e-7."""
    generator = np.random.default_rng(0)
    curve, errors = np.array(kernel_curve()), np.linspace(0.02, 0.08, len(BETAS))
    ends = [
        thermodynamic_integral(BETAS, curve + errors * generator.normal(size=len(curve)), errors)
        for _ in range(400)
    ]
    spread = np.std([one.free_energies[-1] for one in ends])
    assert abs(spread / ends[0].mcse[-1] - 1.0) * math.sqrt(2 * 400) < 5
    # A mutant that takes errors for half of what they are is found out.
    assert abs(2 * spread / ends[0].mcse[-1] - 1.0) * math.sqrt(2 * 400) > 5


def test_polynomials_are_told_apart():
    logs = np.log(BETAS)
    cubic = 1.0 + logs + 0.1 * logs**3
    fits = polynomial_fits(BETAS, cubic, np.zeros(len(logs)))
    assert fits[2].largest < 1e-10 < 1e-3 < fits[1].largest
    np.testing.assert_allclose(fits[2].coefficients, [1.0, 1.0, 0.0, 0.1], atol=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_finds_itself(name):
    truth = {"linear": (0.4, 0.13), "quadratic": (0.7, 0.06), "power": (0.6, 0.08)}
    parameters = truth.get(name, (0.3, 5.0, 0.1))
    logs = np.log(BETAS)
    values = np.asarray(FORMS[name].evaluate(logs, np, *parameters))
    errors = np.full(len(logs), 0.02)
    noisy = values + errors * np.random.default_rng(3).normal(size=len(logs))
    best = fit_forms(BETAS, noisy, errors)
    own = next(fit for fit in best if fit.name == name)
    for found, error, expected in zip(own.parameters, own.errors, parameters, strict=True):
        assert abs(found - expected) < 5 * error
    assert own.chi_squared < own.degrees_of_freedom + 5 * math.sqrt(2 * own.degrees_of_freedom)
    level = own.predict(1e6)
    assert own.log_beta_at(level) == pytest.approx(math.log(1e6), rel=1e-6)


def test_exact_curve_is_linear_rather_than_quadratic():
    fits = {fit.name: fit for fit in fit_forms(BETAS[4:], kernel_curve()[4:], [0.01] * 13)}
    assert fits["linear"].largest_residual < 0.03
    assert fits["quadratic"].largest_residual > 2 * fits["linear"].largest_residual


@pytest.mark.parametrize(("width", "prior"), [(128, "uniform[1]"), (64, "uniform[2]")])
def test_rows_bracket_the_exact_value(width, prior):
    model = models.get(f"tanh_zero[width={width},embedding_prior={prior}]")
    rows = scale_rows(model, exact_values(model, [1.0, 1e2, 1e4, 1e6], tolerance=0.05))
    for row in rows:
        assert row.lambda_hat <= row.mode_bound
        assert row.nngp == pytest.approx(row.lambda_hat, rel=0.02)
        # Four rungs, two decades apart: the rule itself is off by a tenth.
        assert row.integrated == pytest.approx(row.free_energy, abs=0.2)
    assert rows[-1].claimed == width / 2


def test_truncation_stops_mattering():
    """K = 1 is a regular one-dimensional model in disguise; many modes are the model itself."""
    assert truncated(1e4, 1, width=32).lambda_hat == pytest.approx(0.5, abs=1e-3)
    full = models.get("tanh_zero[width=32]").exact(1e2)
    found = truncated(1e2, 25, width=32)
    z = (found.lambda_hat - full.lambda_hat) / math.hypot(found.mcse, full.mcse)
    assert abs(z) < 5 or found.lambda_hat == pytest.approx(full.lambda_hat, rel=1e-3)


def test_curve_command(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(f"curve tanh_zero[width=64] --betas 1:1e4:1 --json --out {tmp_path / 'out'}".split())
    assert caught.value.code == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["beta"] for row in rows] == [1.0, 10.0, 100.0, 1000.0, 10000.0]
    assert all(row["mode_bound"] > row["lambda_hat"] for row in rows)
    page = (tmp_path / "out" / "curve.html").read_text()
    assert "Claimed plateau h/2 = 32" in page
    assert (tmp_path / "out" / "curve.csv").read_text().count("\n") == len(rows) + 1


def test_modes_command(tmp_path, capsys):
    for inputs in ("gaussian", "circle"):
        with pytest.raises(SystemExit) as caught:
            main(
                (
                    "modes --width 16 --networks 5 --order 60 --last 59 --json "
                    f"--inputs {inputs} --out {tmp_path / inputs}"
                ).split()
            )
        assert caught.value.code == 0
        document = json.loads(capsys.readouterr().out)
        assert document["log_mean"][2] is None
        assert document["fit"]["slope"] < document["predicted_slope"] * 0.9
        assert (tmp_path / inputs / "modes.html").stat().st_size > 1e5


@pytest.mark.parametrize("betas", ["1:", "a:b", "1e4:1", "1:2:3:4", "0:1"])
def test_bad_ranges_are_refused(betas, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["curve", "--betas", betas])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("width", "prior"), [(5, "uniform[1]"), (10, "normal[1]")])
def test_plateau_is_that_of_the_theorem(width, prior):
    """|z| < 5 is not asked for: 1/log beta corrections are left at the end of double precision."""
    model = models.get(f"tanh_zero[width={width},embedding_prior={prior}]")
    found = model.exact(1e24, tolerance=0.01)
    limit = float(model.truth().learning_coefficient)
    assert found.lambda_hat == pytest.approx(limit, rel=0.02)


@pytest.mark.slow
def test_comparison_of_forms():
    from sltprob.study.ansatz import compare_forms

    logs = np.log(BETAS)
    generator = np.random.default_rng(0)
    values = 0.45 + 0.13 * logs + 0.01 * generator.normal(size=len(logs))
    found = compare_forms(BETAS, values, [0.01] * len(logs), level=64.0)
    assert found.results[0].name == "linear"
    excluded = {row.name for row in found.results if row.excluded}
    assert {"quadratic", "power"} <= excluded
    assert "saturating" not in excluded
