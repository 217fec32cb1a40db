"""The schema of a run: an `xarray.DataTree` in ArviZ's layout, built, saved and loaded.

Groups
------
posterior
    Constrained values of the latent sites, (chain, draw, ...); absent with ``keep="loss"``.
sample_stats
    ``loss``, ``lp``, ``log_prior`` (lp + βL), ``squared_gradient`` (``|∇U|²``),
    ``acceptance_rate``, ``num_gradients`` by (chain, draw); by (chain, draw, site) ``virial``
    θ_b·∇_b U in unconstrained coordinates and ``virial_offset`` c_b·∇_b U, c the mean position
    after warm-up (their difference is the virial about c) and ``loss_virial`` θ_b·∇_b βL;
    ``loss_field`` and ``loss_field_energy`` of `sltprob.sampling.curvature`; ``energy_excess``,
    βL minus its conditional mean over the readout, where the loss is quadratic in one;
    ``diverging`` and ``energy`` where the sampler has them;
    ``log_tilt`` and ``noise_bias`` of samplers without a Metropolis step: what the step size
    does to the invariant density, and what the noise of the gradient adds to λ̂.
    A sampler of a whole ladder of temperatures has by (chain, draw, beta) ``ladder_loss``, the
    draws of the loss on every rung, the last of which is the target's; ``ladder_acceptance_rate``
    and ``ladder_log_evidence``, the estimate of log Z(β)/Z(0) of the population that a draw
    belongs to; and by (chain, draw, pair) ``ladder_swap_acceptance`` of neighbouring rungs.
    A local run (attribute ``local`` = 1; `sltprob.local`) has ``loss`` by paired differences: L*
    plus the mean over the steps of a draw of l_i(θ) - l_i(θ*) over the rows of their minibatches,
    with the variance ``paired_variance`` from the choice of rows; ``step_bias``, C, by how much the
    step raises λ̂ at most; of a thermostat ``step_cooling`` <= 0, what it takes from λ̂, which is a
    part of C; by site ``virial``, u_b·ĝ_b less what a step of Euler's rule adds, whose
    mean is the dimension less the drift, and ``squared_distance`` ``|u_b|²``, u the displacement
    from the center in units of the preconditioner; ``parameter_rounding``, by how much the spacing
    of floating point at the center raises λ̂ at most; ``observable_*``; and by (chain, draw, row)
    ``row_loss_*``.
    ``round_trips`` counts replicas that have come from the prior to the target.
warmup_sample_stats
    ``loss`` of every warm-up draw, and what else the sampler traces. Never averaged in.
half_step_sample_stats
    Of a local run, where half its step was tried as well: the same variables at that step, of as
    many draws as were enough.
scouts
    What scouts saw (`sltprob.sampling.scouts`): by (scout, scout_draw) ``loss``, and by scout
    ``log_weight``, the logarithm of the weight of the basin that a descent found beside the basin
    of the run, or NaN of one of a population that came down from the prior; and of the
    least bottom that was found ``least_loss`` and ``least_log_weight``; ``places``, at how many
    places the chains were asked for the basin that they were in.
constant_data
    ``site_dimension`` by site: what the mean of ``virial`` must be; and what warm-up tuned. Of a
    ladder the coordinate ``beta`` of the rungs, ascending; what was tuned on every rung, as
    ``ladder_…`` by beta; and ``ladder_log_evidence`` by (chain, beta), where the sampler has one.

The root's attributes say how the run was made; `REQUIRED_ATTRIBUTES` lists those that judging
needs. Everything that judging needs is in the file.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from scipy.special import logsumexp

from sltprob.files import reserve, whole
from sltprob.packed import is_packed, unpack
from sltprob.printable import printable

__all__ = ["REQUIRED_ATTRIBUTES", "build", "check", "load", "opened", "read", "save"]

#: beta: inverse temperature; minimum_loss: L*, NaN if unknown; unadjusted: 1 for a kernel without
#: a Metropolis step; loss_rounding and data_error: absolute rounding error of the loss and
#: relative error of its quadrature.
REQUIRED_ATTRIBUTES = (
    "model",
    "sampler",
    "beta",
    "seed",
    "minimum_loss",
    "unadjusted",
    "loss_rounding",
    "data_error",
)


_BY_SITE = ("virial", "virial_offset", "loss_virial", "squared_distance")
_LADDER_DIMENSIONS = {
    "ladder_loss": ["beta"],
    "ladder_acceptance_rate": ["beta"],
    "ladder_log_evidence": ["beta"],
    "ladder_swap_acceptance": ["pair"],
}


def build(
    *,
    sample_stats: Mapping[str, np.ndarray],
    posterior: Mapping[str, np.ndarray] | None,
    warmup: Mapping[str, np.ndarray],
    tuned: Mapping[str, np.ndarray],
    site_dimensions: Mapping[str, int],
    attributes: Mapping[str, Any],
    half_step: Mapping[str, np.ndarray] | None = None,
) -> xr.DataTree:
    """Build a run from its arrays.

    Parameters
    ----------
    sample_stats : mapping of str to array, shape (chain, draw) or (chain, draw, site)
    posterior : mapping of str to array, shape (chain, draw, ...), or None
    warmup : mapping of str to array, shape (chain, draw)
    tuned : mapping of str to array
    site_dimensions : mapping of str to int
    attributes : mapping of str to str or number
    half_step : mapping of str to array, shape (chain, draw) or (chain, draw, site), optional

    Returns
    -------
    xarray.DataTree

    Raises
    ------
    ValueError
        If an attribute that judging needs is missing.
    """
    sites = list(site_dimensions)
    ladder = {"beta": np.asarray(tuned["beta"])} if "beta" in tuned else {}
    groups: dict[str, Any] = {"sample_stats": dict(sample_stats)}
    if posterior:
        # xarray forbids "/" in names; NumPyro's module sites have it.
        groups["posterior"] = {name.replace("/", "."): values for name, values in posterior.items()}
    if warmup:
        groups["warmup_sample_stats"] = dict(warmup)
    if half_step:
        groups["half_step_sample_stats"] = dict(half_step)
    dims = {name: ["site"] for name in _BY_SITE} | _LADDER_DIMENSIONS
    constants: dict[str, Any] = {"site_dimension": ("site", list(site_dimensions.values()))}
    for name, value in tuned.items():
        axes = [f"{name}_{axis}" for axis in range(np.ndim(value))]
        if name.startswith("ladder_"):
            axes[0] = "beta"
        if name != "beta":
            constants[name] = (tuple(axes), value)
    if "ladder_log_evidence" in sample_stats:
        # Populations of equal size, each with an unbiased estimate of Z.
        values = sample_stats["ladder_log_evidence"]
        with np.errstate(all="ignore"):
            mean = logsumexp(values, axis=1) - np.log(values.shape[1])
        constants["ladder_log_evidence"] = (("chain", "beta"), mean)
    coords = {"site": sites, **ladder}
    nodes = _in_schema(groups, dims, coords)
    nodes["constant_data"] = xr.Dataset(constants, coords=coords)
    tree = xr.DataTree()
    # `from_dict` copies every group, and takes twice the time of this.
    tree.children = {name: xr.DataTree(node) for name, node in nodes.items()}
    losses = sample_stats["loss"]
    with np.errstate(all="ignore"):
        mean = float(np.mean(losses, dtype=float)) if np.size(losses) else math.nan
    sampled = {"draws": int(np.size(losses)), "mean_loss": mean}
    sampled |= {name: float(attributes.get(name, math.nan)) for name in ("beta", "minimum_loss")}
    # What `sltprob.diagnose` compares an edited file with.
    tree.attrs = {**attributes, "as_sampled": json.dumps(sampled)}
    check(tree)
    return tree


def scouts(seen: Mapping[str, np.ndarray]) -> xr.DataTree:
    """Lay out what scouts saw, arrays of shape (scout, scout_draw) or (scout,)."""
    axes = ("scout", "scout_draw")  # of its own: a part of the run has all its scouts
    return xr.DataTree(
        xr.Dataset({name: (axes[: np.ndim(array)], array) for name, array in seen.items()})
    )


# The last small run, whose form the next one is likely to have: ArviZ takes longer to lay out a
# run of twenty draws than it takes to draw it.
_form: dict[Any, dict[str, xr.Dataset]] = {}
_SMALL_BYTES = 1_000_000
# HDF5 ends the process where it cannot write, so that a file is written by Python; one above this
# size by HDF5 all the same, in order not to need its memory twice, once there is room for it.
_IN_MEMORY = 2**28
# A file may be compressed, but one that holds next to nothing of what it claims is no run.
_MOST_BYTES, _MOST_PACKED = 2**28, 100
# The groups that checks read whole.
_JUDGED = ("sample_stats", "half_step_sample_stats", "scouts", "constant_data")


def _in_schema(
    groups: Mapping[str, Mapping[str, np.ndarray]],
    dims: Mapping[str, Any],
    coords: Mapping[str, Any],
) -> dict[str, xr.Dataset]:
    """Lay arrays out as ArviZ does; give the groups by name."""
    shapes = {
        group: {name: (np.shape(v), np.result_type(v)) for name, v in arrays.items()}
        for group, arrays in groups.items()
    }
    signature = repr((shapes, {name: np.asarray(value).tolist() for name, value in coords.items()}))
    if signature in _form:
        filled = {}
        for name, node in _form[signature].items():
            filled[name] = node.copy(data=dict(groups[name]))
            filled[name].attrs["created_at"] = datetime.now(UTC).isoformat()
        return filled
    # ArviZ warns of more chains than draws; here the axes are named and cannot be mixed up.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        from arviz_base import from_dict

        tree = from_dict(
            dict(groups), dims=dict(dims), coords=dict(coords), attrs={}, save_warmup=True
        )
    nodes = {name: node.to_dataset() for name, node in tree.children.items()}
    if tree.nbytes < _SMALL_BYTES:
        _form.clear()
        _form[signature] = dict(nodes)
    return nodes


def _cleaned(tree: xr.DataTree) -> xr.DataTree:
    """Make text of a file safe to print: it may be from anybody."""
    for node in tree.subtree:
        for key, value in node.attrs.items():
            if isinstance(value, str):
                node.attrs[key] = printable(value)
        names = [*node.variables, *node.dims, *node.attrs]
        if (bad := next((n for n in names if printable(str(n)) != str(n)), None)) is not None:
            raise ValueError(f"the name {printable(str(bad))!r} has control characters")
    return tree


def check(draws: Any, what: str = "the draws") -> None:
    """Raise unless the draws follow the schema as far as judging needs it.

    Parameters
    ----------
    draws : xarray.DataTree
    what : str
        How to call them in the message.

    Raises
    ------
    TypeError
        If they are no DataTree.
    ValueError
        If a group, a variable or an attribute is missing.
    """
    if not isinstance(draws, xr.DataTree):
        raise TypeError(
            f"{what}: a {type(draws).__name__} is not a run; pass the DataTree of "
            "sltprob.sample(...) or sltprob.load(path)"
        )
    missing = [name for name in REQUIRED_ATTRIBUTES if name not in draws.attrs]
    has_stats = "sample_stats" in draws.children
    if not has_stats or "loss" not in draws["sample_stats"].data_vars:
        missing.append("sample_stats/loss")
    elif draws["sample_stats"].variables["loss"].dims != ("chain", "draw"):
        missing.append("sample_stats/loss with dimensions (chain, draw)")
    if missing:
        raise ValueError(
            f"{what}: not a complete run of sltprob, it lacks {', '.join(missing)}; make it "
            "with sltprob.sample(...)"
        )


def save(draws: xr.DataTree, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Save a run as netCDF, whole or not at all.

    Parameters
    ----------
    draws : xarray.DataTree
    path : path
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.
    OSError
        If the folder cannot be written.
    """
    check(draws)
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or pass overwrite=True")
    with whole(path) as temporary:
        if draws.nbytes <= _IN_MEMORY:
            temporary.write_bytes(bytes(draws.to_netcdf(engine="h5netcdf")))
        else:
            with temporary.open("wb") as handle:
                reserve(handle.fileno(), draws.nbytes)
            draws.to_netcdf(temporary, engine="h5netcdf")
    return path


def load(path: str | os.PathLike[str]) -> xr.DataTree:
    """Load a run into memory.

    Parameters
    ----------
    path : path

    Returns
    -------
    xarray.DataTree

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or is not a run of sltprob.
    """
    draws = read(path)
    check(draws, str(path))
    return draws


def read(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read any netCDF file with groups into memory, a run of ours or not, or a packed run.

    Parameters
    ----------
    path : path

    Returns
    -------
    xarray.DataTree

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged.
    """
    with opened(path, everything=True) as tree:
        return tree


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], *, everything: bool = False) -> Iterator[xr.DataTree]:
    """Open a file to be judged: what all checks read is in memory, all else stays on the disk.

    The draws, the warm-up and a log likelihood by datum are most of a large file; they are read
    in pieces, if at all, and only until the file is closed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a run such as runs/hmc-beta1e4.nc")
    with contextlib.ExitStack() as stack:
        try:
            with path.open("rb") as handle:
                packed = is_packed(handle.read(4))
            if packed:
                tree = unpack(path.read_bytes())
            else:
                tree = stack.enter_context(_netcdf(path))
                for node in [tree] if everything else map(tree.children.get, _JUDGED):
                    if node is not None:
                        node.load()
            _cleaned(tree)
        except Exception as error:
            # h5py raises anything from OSError to RuntimeError on a damaged file.
            raise ValueError(f"{path}: cannot be read as netCDF ({error})") from error
        yield tree


def _netcdf(path: Path) -> xr.DataTree:
    """Open a netCDF file, nothing of it loaded."""
    # h5netcdf's file prints an error of its own, as it is collected, where this fails.
    with h5py.File(path) as file:
        file.attrs.get("_nc3_strict")
    tree = xr.open_datatree(path, engine="h5netcdf")
    claimed, size = tree.nbytes, path.stat().st_size
    if claimed > _MOST_BYTES + _MOST_PACKED * size:
        tree.close()
        raise ValueError(f"it claims {claimed:.2g} bytes of arrays in a file of {size}")
    return tree
