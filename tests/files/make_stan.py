"""Make stan.nc beside this file: ``pip install pystan`` (3.14.0 was used), then run this.

Three numbers with a Gaussian mean, drawn by Stan's NUTS and laid out by ArviZ. Digits are halved,
for a small file; all else is as ArviZ gives it.
"""

from pathlib import Path

import arviz_base
import numpy as np
import stan
from smaller import write_smaller

y = np.random.default_rng(0).normal(size=3)

PROGRAM = """
data { int n; vector[n] y; }
parameters { real mean; }
model { mean ~ normal(0, 10); y ~ normal(mean, 1); }
generated quantities {
  vector[n] log_lik;
  for (i in 1:n) log_lik[i] = normal_lpdf(y[i] | mean, 1);
}
"""

model = stan.build(PROGRAM, data={"n": 3, "y": y.tolist()}, random_seed=1)
fit = model.sample(num_chains=4, num_samples=400, num_warmup=300)
tree = arviz_base.from_pystan(posterior=fit, posterior_model=model, log_likelihood="log_lik")
write_smaller(tree, Path(__file__).with_name("stan.nc"))
