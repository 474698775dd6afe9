"""Start Ray for as long as stdin is open, and say where it is. Its processes end with this one."""

import os
import sys
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"  # it listens to this machine only: see conftest

import ray

OPTIONS: dict[str, Any] = {
    "_node_ip_address": "127.0.0.1",
    "num_cpus": 2,
    "object_store_memory": 100 * 2**20,
    "include_dashboard": False,
    "log_to_driver": False,
    "logging_level": "ERROR",
}

if __name__ == "__main__":
    started: Any = ray.init("local", **OPTIONS)
    sys.stdout.write(started.address_info["gcs_address"] + "\n")
    sys.stdout.flush()
    sys.stdin.read()
