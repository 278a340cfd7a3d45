"""Seeds derived from names, independent of the order in which things are run."""

import hashlib


def derived_seed(*names: object) -> int:
    """Return a seed, 0 to 2³² - 1, for a list of names (for a fold: the run's seed and the fold's name)."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, names)).encode()).digest()[:4], "big")
