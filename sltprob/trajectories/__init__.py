"""Local λ̂ over settings and over training: sweeps, trajectories of checkpoints, their pages."""
