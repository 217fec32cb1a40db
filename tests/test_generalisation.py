"""What data sets teach the tanh network, against quadrature and Watanabe's relations."""

import json
import math

import numpy as np
import pytest
from scipy import special

from sltprob.cli import main
from sltprob.finding.datasets import Basis, evaluate_dataset
from sltprob.finding.generalisation import generalisation
from sltprob.models.tanh_zero import TanhZero

SLOPES, MASSES = special.roots_legendre(500)
MASSES = MASSES / 2.0  # of w ~ U(-1, 1)


def one_unit(x, y):
    """Compute everything for f = a tanh(w x) by quadrature over w, the readout in closed form."""
    features = np.tanh(np.outer(SLOPES, x))
    precision = 1.0 + np.sum(features**2, axis=1)
    variance = 1.0 / precision
    mean = variance * (features @ y)
    evidence = MASSES * np.sqrt(variance) * np.exp(0.5 * mean**2 / variance)
    shares = evidence / evidence.sum()

    def log_density(at, outputs, means, variances):
        units = np.tanh(np.outer(SLOPES, at))
        middle, spread = means[:, None] * units, 1.0 + variances[:, None] * units**2
        densities = np.exp(-0.5 * (outputs - middle) ** 2 / spread) / np.sqrt(spread)
        return np.log(shares @ densities) + 0.5 * outputs**2

    nodes, weights = special.roots_hermitenorm(30)
    weights = weights / weights.sum()
    inputs, outputs = (part.ravel() for part in np.meshgrid(nodes, nodes, indexing="ij"))
    generalised = -np.outer(weights, weights).ravel() @ log_density(inputs, outputs, mean, variance)
    population = np.tanh(np.outer(SLOPES, nodes)) ** 2 @ weights
    left_out = []
    for place in range(len(x) if len(x) < 100 else 0):  # it takes minutes; WAIC is as good there
        rest = np.arange(len(x)) != place
        spread = 1.0 / (1.0 + np.sum(features[:, rest] ** 2, axis=1))
        middle = spread * (features[:, rest] @ y[rest])
        weight = MASSES * np.sqrt(spread) * np.exp(0.5 * middle**2 / spread)
        total = 1.0 + spread * features[:, place] ** 2
        off = y[place] - middle * features[:, place]
        density = (weight / weight.sum()) @ (np.exp(-0.5 * off**2 / total) / np.sqrt(total))
        left_out.append(-math.log(density) - 0.5 * y[place] ** 2)
    return {
        "bayes": len(x) * generalised,
        "gibbs": 0.5 * len(x) * shares @ (population * (variance + mean**2)),
        "training": -log_density(x, y, mean, variance).sum(),
        "loo": sum(left_out),
        "free_energy": -math.log(evidence.sum()),
    }


@pytest.mark.turns
@pytest.mark.parametrize("size", [50, 3000])
def test_one_unit_is_that_of_quadrature(size):
    """Draws of w, 8,000 of them, stand for an integral over w: 2 % is five standard errors."""
    generator = np.random.default_rng(4)
    model = TanhZero(width=1)
    basis = Basis.build(model, size)
    data = basis.draw(size, np.random.default_rng(9))
    x = np.abs((again := np.random.default_rng(9)).normal(size=size))
    expected = one_unit(x, again.normal(size=size))
    found, ess = evaluate_dataset(basis, data, basis.draw_roots(model, 8_000, generator))
    assert ess > 1000
    for name, value in expected.items():
        if name == "loo" and size > 100:
            continue
        assert found[name] == pytest.approx(value, rel=0.02, abs=0.01), name


def test_fields_of_many_data_are_those_of_each(monkeypatch):
    """Sums over data by moments against sums over data one by one."""
    model = TanhZero(width=16)
    basis = Basis.build(model, 2000)
    roots = basis.draw_roots(model, 200, np.random.default_rng(0))
    by_moments, _ = evaluate_dataset(basis, basis.draw(2000, np.random.default_rng(1)), roots)
    monkeypatch.setattr("sltprob.finding.datasets._MOST_DIRECT", 2000)
    one_by_one, _ = evaluate_dataset(basis, basis.draw(2000, np.random.default_rng(1)), roots)
    for name, value in one_by_one.items():
        assert by_moments[name] == pytest.approx(value, abs=1e-5), name


@pytest.mark.turns
def test_losses_are_what_lambda_hat_at_the_scale_of_the_data_says():
    """|z| < 4.5 for six comparisons: a false alarm in 25,000 runs.

    Watanabe's relations hold at every n: Gibbs is Bayes and nu, training is Bayes less twice nu,
    WAIC is Bayes. And Bayes is lambda-hat less its slope, far from the limit 130/23.
    """
    (row,) = generalisation(TanhZero(), [3000], num_datasets=60, num_draws=300).rows
    means, errors = row.means, row.errors
    for found, expected, error in (
        (means["bayes"], row.predicted, errors["bayes"]),
        (means["gibbs"], row.predicted + row.lambda_hat, errors["gibbs"]),
        (means["fluctuation"], row.lambda_hat, errors["fluctuation"]),
        (means["waic"], means["bayes"], math.hypot(errors["waic"], errors["bayes"])),
        (
            means["training"],
            means["bayes"] - 2.0 * means["fluctuation"],
            math.hypot(errors["training"], errors["bayes"]),
        ),
        (means["free_energy"], row.population_free_energy - row.lambda_hat, errors["free_energy"]),
    ):
        # What data sets share, and the next order in lambda / n.
        assert abs(found - expected) < 4.5 * error + 0.01 * row.lambda_hat
    assert row.learning_coefficient > 4.0 * means["bayes"]


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    out = tmp_path / "new"
    shared = "generalisation --width 2 --sizes 50,100 --datasets 4 --draws 100"
    run(f"{shared} --out {out}")
    assert "Bayes generalisation loss is" in capsys.readouterr().out
    assert {path.suffix for path in out.iterdir()} == {".html", ".csv", ".svg"}
    run(f"{shared} --json")
    rows = json.loads(capsys.readouterr().out)
    assert [row["size"] for row in rows] == [50, 100]
    assert set(rows[0]["means"]) == set(rows[0]["errors"])
    run("generalisation --sizes ten", code=2)
    assert "1e2,1e3,1e4" in capsys.readouterr().err


def run(command, code=0):
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == code
