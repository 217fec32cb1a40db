"""Losses that jump, or that are flat at the bottom: identities that need more are left out."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

import sltprob
from sltprob.models._potential import Potential


def program(y, slope, jump):
    """A loss with a kink and, at |x| = 1, a jump; where both are zero it is flat."""
    x = numpyro.sample("x", dist.Laplace(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", Potential(jnp.sum(loss(x, slope, jump))[None]), obs=y)


def loss(x, slope, jump):
    return slope * jnp.maximum(abs(x) - 0.5, 0.0) + jump * (abs(x) > 1)


def exact(beta, slope, jump):
    """Integrate over one coordinate in pieces; there are two of them."""

    def integral(weight):
        def value(x):
            level = float(loss(x, slope, jump))
            return weight(level) * np.exp(-beta * level) * stats.laplace.pdf(x)

        return sum(integrate.quad(value, *ends)[0] for ends in ((0, 0.5), (0.5, 1), (1, np.inf)))

    return 2 * beta * integral(lambda level: level) / integral(lambda level: 1.0)


@pytest.mark.turns
@pytest.mark.parametrize(("slope", "jump"), [(1.0, 0.4), (1.0, 0.0)])
def test_a_jump_and_a_flat_bottom_make_no_alarm(slope, jump):
    """|z| < 4.5 fails once in 150,000 runs; without the jump every identity holds."""
    data = {"y": np.zeros(1), "slope": np.asarray(slope), "jump": np.asarray(jump)}
    posterior = sltprob.temper(program, data, beta=4.0, minimum_loss=0.0)
    run = sltprob.sample(posterior, "hmc", draws=2000)
    found, verdict = sltprob.estimate(run), sltprob.diagnose(run)
    assert verdict.trusted, verdict
    assert abs(found.value - exact(4.0, slope, jump)) < 4.5 * found.mcse
    identities = {check.name for check in verdict.checks} & {"loss_virial", "virial[x]"}
    if jump:
        # Those that fail are left out, as log p jumps by β times the loss.
        np.testing.assert_allclose(run.attrs["largest_jump"], 4.0 * jump, rtol=1e-9)
        assert not identities
    else:
        assert len(identities) == 2
        assert "largest_jump" not in run.attrs
        run["sample_stats"]["virial"] *= 1.2
        run.attrs["largest_jump"] = 1e-9  # as rounding makes it
        assert "virial[x]" in {check.name for check in sltprob.diagnose(run).failed}
