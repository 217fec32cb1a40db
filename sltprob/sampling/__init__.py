"""The one loop: chains vectorised, chunks compiled, everything that judging needs recorded.

`run` drives it; each other module has one of its parts.
"""

from sltprob.sampling.checkpoint import Checkpoint
from sltprob.sampling.progress import Progress
from sltprob.sampling.run import sample

__all__ = ["Checkpoint", "Progress", "sample"]
