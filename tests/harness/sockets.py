"""What a process and its children listen to, as Linux knows it."""

import ipaddress
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LISTENS = "0A"


def family(root: int) -> list[int]:
    """Return a process and all its descendants, by their numbers."""
    children = defaultdict[int, list[int]](list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = path.read_text().rpartition(")")[2].split()[1]
            children[int(parent)].append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def listening(pids: list[int]) -> Iterator[tuple[int, ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Yield (process, address, port) of every TCP socket on which one of these processes waits for others."""
    owners = {inode: pid for pid in pids for inode in _sockets(pid)}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENS and inode in owners:
                address, port = local.split(":")
                yield owners[inode], _address(address), int(port, 16)


def _sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                kind, _, inode = os.readlink(path).partition(":")
                if kind == "socket":
                    yield inode.strip("[]")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel spells it: words of four bytes, each the wrong way round."""
    words = (bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    found = ipaddress.ip_address(b"".join(words))
    return getattr(found, "ipv4_mapped", None) or found
