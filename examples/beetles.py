"""Beetles after five hours of carbon disulphide: a program of one's own, and data in a table.

C. I. Bliss, "The calculation of the dosage-mortality curve", Annals of Applied Biology 22 (1935)
134-167, Table IV: 481 beetles, eight doses (log10 of mg/l), one row for each beetle.
"""

import numpyro
import numpyro.distributions as dist


def model(dose, died=None):
    """Logistic regression on the dose, about its middle."""
    offset = numpyro.sample("offset", dist.Normal(0.0, 5.0))
    slope = numpyro.sample("slope", dist.Normal(0.0, 50.0))
    numpyro.sample("died", dist.Bernoulli(logits=offset + slope * (dose - 1.8)), obs=died)


if __name__ == "__main__":
    from pathlib import Path

    import pandas as pd

    import sltprob

    numpyro.enable_x64()
    beetles = pd.read_csv(Path(__file__).with_name("beetles.csv"))
    table = sltprob.compare(model, ["hmc", "nuts", "mala"], ["wbic", "n"], data=beetles, draws=1000)
    print(table)
    assert all(abs(cell["z"]) < 5 for cell in table.cells)
