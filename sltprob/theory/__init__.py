"""What is known without sampling: closed forms, spectra and bounds."""
