"""Seeds: every random stream has a name."""

import hashlib


def derive(seed: int, *words: str | int) -> int:
    """Return the seed of the stream called `words`, in [0, 2**63).

    Streams of different names are independent for any practical purpose (SHA-256), so the order in
    which they are used cannot matter.
    """
    name = "/".join(str(word) for word in (seed, *words))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
