"""A Ray that is started here: its ports on loopback, a token asked for, its files in a folder of its own.

Whoever joins a Ray runs code in it, and by itself it listens on every interface, with its sockets and logs in
a folder that everybody may write to. Knows no ray, which reads its environment when it is imported.
"""

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from resexp.training.execution import usable_cores

LOOPBACK = "127.0.0.1"
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Without it Ray takes 127.0.0.1 for the address of the network card, but on macOS and Windows."""


@contextmanager
def prepared() -> Iterator[dict[str, Any]]:
    """Yield the options of `ray.init` for a Ray of our own; for as long, its environment is this process's.

    What the environment says of Ray's authentication counts; where it says nothing, a random token is asked
    for (Ray 2.52 and later).
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="resexp-", ignore_cleanup_errors=True) as folder:  # mode 700
        os.environ.update(ON_LOOPBACK | _authentication())
        try:
            yield {
                "num_cpus": usable_cores(),
                "include_dashboard": False,
                "_node_ip_address": LOOPBACK,
                "_temp_dir": f"{folder}/ray",  # Ray lets everybody into its own
            }
        finally:
            os.environ.clear()
            os.environ.update(before)


def _authentication() -> dict[str, str]:
    """What is added to the environment."""
    added = {}
    if "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:  # imported, it has looked already
        added["RAY_AUTH_MODE"] = "token"
    if not os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        added["RAY_AUTH_TOKEN"] = _token()
    return added


@lru_cache
def _token() -> str:
    """256 random bits in hex; one a process, since Ray keeps the first that it sees."""
    return secrets.token_hex(32)
