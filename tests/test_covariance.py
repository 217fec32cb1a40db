"""Do the losses of rows move together over the posterior as they must?"""

import jax.numpy as jnp
import numpy as np
import pytest

import sltprob

N = 30


def losses(params, batch):
    return 0.5 * (batch["x"] @ params["w"] - batch["y"]) ** 2


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(N, 3))
    return {"x": x, "y": x @ [1.0, 2.0, 3.0] + generator.normal(size=N)}


@pytest.fixture(scope="module")
def run(rows):
    x, y = rows["x"], rows["y"]
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    posterior = sltprob.local(
        losses,
        {"w": best},
        rows,
        nbeta=60.0,
        dtype="float64",
        row_losses={"all": (rows, losses)},
        observables={"mean": (rows, losses)},
    )
    # So small a step that its bias on a variance, some per cent at the default, is not seen.
    return sltprob.sample(
        posterior, "sgld", batch_size=N, chains=8, step_size=2e-4, draws=4000, warmup=1000
    )


@pytest.mark.turns
def test_covariances_are_those_of_a_normal_posterior(rows, run):
    """Of squares of normal variables, by Isserlis. 900 entries, with errors from 8 chains."""
    x, y = rows["x"], rows["y"]
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    residual = x @ best - y
    kernel = x @ np.linalg.inv(60 * x.T @ x / N + np.eye(3)) @ x.T
    exact = np.outer(residual, residual) * kernel + 0.5 * kernel**2
    found = sltprob.loss_covariance(run, "all")
    z = (found.value - exact) / found.mcse
    # Entries share their chains, so that z is bounded on average alone: half of t with 7 degrees of
    # freedom lies within 0.71, and a bias of 10 % would move most entries by two errors.
    assert 0.3 < np.median(np.abs(z)) < 1.5
    assert np.sum(found.value * exact) / np.sum(exact**2) == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(found.influence, -60 * found.value)


def test_the_error_has_the_bias_of_the_step(rows):
    """At ρ of a fifth variances of near-quadratic rows are a third too large: many errors.

    The bound holds for all 900 entries: |z| < 5 beyond it, with errors from 16 chains.
    """
    x = np.linalg.qr(rows["x"])[0] * np.sqrt(N)
    data = {"x": x, "y": 0.01 * rows["y"] - 0.01 * x @ (x.T @ rows["y"]) / N}
    observed = {"row_losses": {"all": (data, losses)}}
    posterior = sltprob.local(losses, {"w": np.zeros(3)}, data, nbeta=60.0, **observed)
    options = {"batch_size": N, "chains": 16, "draws": 500, "warmup": 200, "half_step": False}
    run = sltprob.sample(posterior, "sgld", target_rho=0.2, **options)
    kernel = x @ x.T / 61
    exact = np.outer(data["y"], data["y"]) * kernel + 0.5 * kernel**2
    found = sltprob.loss_covariance(run, "all")
    off = np.abs(found.value - exact)
    assert np.median(np.diag(off / found.mcse)) > 3
    assert np.all(off < found.bias + 5 * found.mcse)
    np.testing.assert_allclose(found.error, np.hypot(found.mcse, found.bias))


def test_the_mean_of_rows_is_the_observable(run):
    whole = sltprob.loss_covariance(run, "all")
    with_mean = sltprob.loss_covariance(run, "all", "mean")
    assert with_mean.value.shape == (N, 1)
    np.testing.assert_allclose(whole.value.mean(axis=1), with_mean.value[:, 0], rtol=1e-9)


def test_what_was_not_recorded_is_named(run, rows):
    with pytest.raises(ValueError, match=r"there are .*all.*; write local"):
        sltprob.loss_covariance(run, "other")
    with pytest.raises(ValueError, match="chains=4"):
        sltprob.loss_covariance(run.isel(chain=slice(0, 1)), "all")
    with pytest.raises(ValueError, match="another name"):
        sltprob.local(
            losses,
            {"w": jnp.zeros(3)},
            rows,
            row_losses={"a": (rows, losses)},
            observables={"a": (rows, losses)},
        )
