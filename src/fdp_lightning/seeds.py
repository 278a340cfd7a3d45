"""Seeds derived from names: neither the order in which things are run nor what ran before changes one."""

import hashlib


def derived_seed(*names: object) -> int:
    """A seed of its own, 0 to 2³² - 1, for each list of names (of a fold: the run's seed and the fold's name)."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, names)).encode()).digest()[:4], "big")
