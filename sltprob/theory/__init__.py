"""What is known about λ̂ without drawing from a posterior: closed forms, spectra and bounds."""
