"""Grids of runs: measure a cell (`sltprob.study.measure`), tell it in a row (`.cell`)."""
