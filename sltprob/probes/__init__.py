"""Probes: new draws that test a stored run, or the sampler that made it."""
