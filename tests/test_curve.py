"""Curves over scales: free energy, forms, truncations and the commands."""

import json
import math

import numpy as np
import pytest

from sltprob import models
from sltprob.cli import main
from sltprob.finding.effective import effective_modes, truncations
from sltprob.finding.free_energy import free_energies
from sltprob.finding.scale import exact_values, geometric, scale_rows
from sltprob.models.tanh_zero import TanhZero
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
    reached = FORMS[name].reach(level, *own.parameters)
    assert reached == pytest.approx(math.log(1e6), rel=1e-6)


def test_exact_curve_is_linear_rather_than_quadratic():
    fits = {fit.name: fit for fit in fit_forms(BETAS[4:], kernel_curve()[4:], [0.01] * 13)}
    assert fits["linear"].largest_residual < 0.03
    assert fits["quadratic"].largest_residual > 2 * fits["linear"].largest_residual


@pytest.mark.parametrize(("width", "prior"), [(128, "uniform[1]"), (64, "uniform[2]")])
@pytest.mark.slow
def test_rows_bracket_the_exact_value(width, prior):
    model = models.get(f"tanh_zero[width={width},embedding_prior={prior}]")
    rows = scale_rows(model, exact_values(model, [1.0, 1e2, 1e4, 1e6], tolerance=0.05))
    for row in rows:
        assert row.lambda_hat <= row.mode_bound
        assert row.nngp == pytest.approx(row.lambda_hat, rel=0.02)
        # Four rungs, two decades apart: the rule itself is off by a tenth.
        assert row.integrated == pytest.approx(row.free_energy, abs=0.2)
    assert rows[-1].claimed == width / 2


@pytest.mark.turns
def test_truncation_stops_mattering():
    """K = 1 is a regular one-dimensional model in disguise; many modes are the model itself."""
    few, many = truncations([1e2, 1e4], [1, 3, 15, 25], TanhZero(width=16))
    assert many.values[0].lambda_hat == pytest.approx(0.5, abs=1e-3)
    assert few.values[-1].lambda_hat == pytest.approx(few.whole.lambda_hat, rel=1e-3)
    assert few.enough == 15
    for row in (few, many):
        lambdas = [value.lambda_hat for value in (*row.values, row.whole)]
        assert all(np.diff(lambdas) > -1e-3)


@pytest.mark.turns
def test_effective_modes_by_principal_components_of_the_functions():
    """The kernel matrix on Gauss' nodes for x and w, and exact values of the cut loss at h = 128.

    Eigenvalues of a matrix have 1e-16 of the largest one, enough to 1e8.
    """
    model = TanhZero()
    betas = [1e2, 1e4, 1e6, 1e8]
    rows = effective_modes(betas, model)
    x, x_weights = np.polynomial.hermite_e.hermegauss(120)
    w, w_weights = np.polynomial.legendre.leggauss(60)
    features = np.tanh(np.outer(w, x)) * np.sqrt(x_weights / x_weights.sum())
    kappas = np.linalg.eigvalsh(128 * (features.T * w_weights / 2) @ features)
    for beta, row in zip(betas, rows, strict=True):
        resolved = 2 * beta * np.abs(kappas)
        assert row.principal == np.sum(resolved > 1)
        kept = resolved[resolved > 1]
        assert row.of_principal == pytest.approx(0.5 * np.sum(kept / (1 + kept)), rel=1e-6)
    for row in rows[1:2]:
        (cut,) = truncations([row.beta], [row.highest, row.enough - 2, row.enough], model)
        assert cut.values[0].lambda_hat == pytest.approx(row.of_hermite, rel=4e-3)
        assert cut.enough == row.enough
    with pytest.raises(ValueError, match=r"all 200 Hermite modes"):
        effective_modes([1e25], TanhZero(embedding_prior="uniform[3]"))


@pytest.mark.slow
def test_three_routes_to_the_free_energy():
    """False alarm: |z| < 5 by importance sampling and by a descent of its own, 6e-7 to 2e-4."""
    model = TanhZero(width=4)
    exacts = exact_values(model, geometric(1.0, 1e3, 2))
    found = free_energies(exacts, model.problem())
    assert all(abs(row.integrated_z) < 5 for row in found.rows)
    assert all(abs(row.tempered_z) < 5 for row in found.rows)
    # A mutant that forgets the factor two of the loss is found out.
    wrong = [(value.beta, 0.5 * value.lambda_hat, value.mcse) for value in exacts]
    assert abs(free_energies(exacts, measured=wrong).rows[-1].integrated_z) > 5


@pytest.mark.turns
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


@pytest.mark.turns
def test_effective_and_free_energy_commands(capsys):
    command = "effective --width 3 --modes 1,3 --betas 1e2 --json"
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert caught.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["truncations"][0]["cuts"] == [1, 3]
    assert document["effective_modes"][0]["principal"] == 1
    (row,) = document["walls"]
    assert 0.3 < row["walls"]["exponent"] < 1.5
    with pytest.raises(SystemExit) as caught:
        main(["free-energy", "tanh_zero[width=3]", "--betas", "1:1e2:2", "--json"])
    assert caught.value.code == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["beta"] for row in rows] == geometric(1.0, 1e2, 2)
    with pytest.raises(SystemExit) as caught:
        main(["free-energy", "tanh_zero[width=3]", "--betas", "1,10"])
    assert caught.value.code == 2
    assert "write 4 or more" in capsys.readouterr().err


@pytest.mark.parametrize("betas", ["1:", "a:b", "1e4:1", "1:2:3:4", "0:1"])
def test_bad_ranges_are_refused(betas, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["curve", "--betas", betas])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "prior", "beta"),
    [
        (5, "uniform[1]", 1e24),
        (10, "normal[1]", 1e24),
        (16, "uniform[1]", 1e32),
        (32, "normal[1]", 1e32),
    ],
)
def test_plateau_is_that_of_the_theorem(width, prior, beta):
    """|z| < 5 is not asked for: corrections beyond (m - 1)/log beta are left."""
    model = TanhZero(width=width, embedding_prior=prior)
    found, truth = model.exact(beta, tolerance=0.01), model.truth()
    limit = float(truth.learning_coefficient) - (truth.multiplicity - 1) / math.log(beta)
    assert found.lambda_hat == pytest.approx(limit, rel=0.02)


@pytest.mark.slow
def test_comparison_of_forms():
    from sltprob.finding.ansatz import compare_forms

    logs = np.log(BETAS)
    generator = np.random.default_rng(0)
    values = 0.45 + 0.13 * logs + 0.01 * generator.normal(size=len(logs))
    found = compare_forms(BETAS, values, [0.01] * len(logs), level=64.0)
    assert found.results[0].name == "linear"
    excluded = {row.name for row in found.results if row.excluded}
    assert {"quadratic", "power"} <= excluded
    assert "saturating" not in excluded


@pytest.mark.slow
def test_forms_and_free_energy_of_real_runs(tmp_path, capsys):
    """Run the commands on what compare wrote; the integral is within 5 of its errors."""
    folder = tmp_path / "runs"
    command = "compare tanh_zero[width=3] --samplers hmc --betas 1,3,10,30,100,300 --draws 1500"
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--reparameterise", "readout", "--out", str(folder)])
    assert caught.value.code == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["ansatz", "tanh_zero[width=3]", "--runs", str(folder), "--json"])
    assert caught.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in document["forms"]} == set(FORMS)
    assert any("Cannot be told" in sentence for sentence in document["sentences"])
    # Six measurements are too few for importance sampling: some are left out in truth.
    repeated = [sentence for sentence in document["sentences"] if "was repeated" in sentence]
    assert bool(repeated) == any(row["num_refits"] for row in document["forms"])
    assert all((row["num_refits"] > 0) == (row["largest_k"] > 0.7) for row in document["forms"])
    with pytest.raises(SystemExit) as caught:
        main(["free-energy", "tanh_zero[width=3]", "--runs", str(folder), "--json"])
    assert caught.value.code == 0
    last = json.loads(capsys.readouterr().out)[-1]
    assert abs(last["integrated"] - last["exact"]) < 5 * last["integrated_mcse"]
