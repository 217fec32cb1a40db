"""What is said about the compiled code that JAX keeps: nothing.

Without JAX, since BlackJAX compiles while it is imported.
"""

import warnings

__all__ = ["forgive_cache"]


def forgive_cache() -> None:
    """Say nothing of compiled code that cannot be kept or read again, as on a full disk.

    It is compiled once more: no trouble of the user's.
    """
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation")
