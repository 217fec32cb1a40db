"""Studies: grids of models × samplers × betas × seeds, here or on a cluster."""
