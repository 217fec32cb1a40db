"""The league table: samplers × models × betas × seeds, scored against exact values."""
