"""Make nutpie.nc beside this file: ``pip install nutpie`` (0.16.11 was used), then run this.

Three numbers with a Gaussian mean, drawn by nutpie. The pointwise log likelihood is moved to the
group in which PyMC's ``compute_log_likelihood`` puts it. What describes divergences, of which
there are none, and the adaptation is left out, for a small file; all else is as nutpie gives it.
"""

from pathlib import Path

import numpy as np
import nutpie
import xarray as xr
from smaller import write_smaller

y = np.random.default_rng(0).normal(size=3)

LEFT_OUT = [
    "divergence_draw",
    "divergence_energy_error",
    "divergence_message",
    "fisher_distance",
    "transformation_index",
    "transformation_update_id",
]


def make_logp():
    """Give the log density and its gradient."""

    def logp(x):
        slope = np.array([np.sum(y - x[0]) - x[0] / 100])
        return -0.5 * np.sum((y - x[0]) ** 2) - x[0] ** 2 / 200, slope

    return logp


def make_expand(*_):
    """Give what is stored of a draw."""

    def expand(x):
        return {"mean": np.array(x[0]), "y": -0.5 * (y - x[0]) ** 2 - 0.5 * np.log(2 * np.pi)}

    return expand


model = nutpie.compiled_pyfunc.from_pyfunc(
    1,
    make_logp,
    make_expand,
    [np.dtype("float64"), np.dtype("float64")],
    [(), (3,)],
    ["mean", "y"],
)
drawn = nutpie.sample(model, draws=190, tune=200, chains=4, cores=1, seed=1, progress_bar=False)
tree = xr.DataTree.from_dict(
    {
        "posterior": drawn["posterior"].to_dataset()[["mean"]],
        "sample_stats": drawn["sample_stats"].to_dataset().drop_vars(LEFT_OUT),
        "log_likelihood": drawn["posterior"].to_dataset()[["y"]],
    }
)
tree.attrs = drawn.attrs
write_smaller(tree, Path(__file__).with_name("nutpie.nc"))
