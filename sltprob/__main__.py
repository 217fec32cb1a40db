"""Run the command line as ``python -m sltprob``."""

from sltprob.cli import main

main()
