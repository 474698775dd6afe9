"""Download: one file from the first of several mirrors that gives it, within the time one will wait."""

import errno
import hashlib
import http.client
import os
import queue
import stat
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

OnReceived = Callable[[int, int | None], None]

CHUNK_BYTES = 1 << 16
SETTLED = 2.0
AGENT = {"User-Agent": "resexp"}


class Patience(NamedTuple):
    """How long to wait, in seconds."""

    first_byte: float
    """for the first byte; over all mirrors together if `brief`, else from each"""
    total: float
    """for the whole file: a mirror is left as soon as the rest would take longer at the speed seen"""
    brief: bool


PATIENT = Patience(first_byte=20, total=3600, brief=False)
BRIEF = Patience(first_byte=5, total=180, brief=True)


class NoMirrorError(Exception):
    """No mirror gave the file."""

    def __init__(self, reasons: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{url}: {why}" for url, why in reasons))
        self.reasons = reasons


def silent(received: int, expected: int | None) -> None:
    """Show no progress: bytes received, and the file's length where the mirror says it."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    md5: str,
    num_bytes: int,
    patience: Patience = PATIENT,
    progress: OnReceived = silent,
) -> str:
    """Write the file whose MD5 and length are given to `target`, and return the address it came from.

    No more than `num_bytes` are written, whatever a mirror sends. Raises NoMirrorError with each mirror and
    why it failed. What was written before that is left in `target`. OSErrors of the disk pass through.
    """
    start = time.monotonic()
    reasons = []
    for k, url in enumerate(urls):
        waited = time.monotonic() - start
        if waited >= patience.total:
            reasons.append((url, f"not tried: {patience.total:.0f} s are over"))
            continue
        wait = (patience.first_byte - waited) / (len(urls) - k) if patience.brief else patience.first_byte
        try:
            if wait <= 0:
                raise _MirrorError("not tried: out of time")
            _copy(url, target, md5, num_bytes, start + patience.total, wait, progress)
            return url
        except _MirrorError as failed:
            reasons.append((url, str(failed)))
    raise NoMirrorError(reasons)


class _MirrorError(Exception):
    """One mirror failed, and this is why."""


class StayEncrypted(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from https to anything else."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise URLError(f"redirects from https to {urlsplit(newurl).scheme}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_own(path: Path) -> int:
    """Return the descriptor of a file open for writing and not emptied yet, made if need be.

    Raises OSError, and changes nothing, where the path leads elsewhere: a symbolic link, a file that has
    another name too or another owner, a pipe or a device.
    """
    try:
        # Without O_NONBLOCK a pipe would be waited for.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
    except OSError as fault:
        if fault.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link stands in its place", str(path)) from None
        raise
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EEXIST, "not a file of one's own with this one name", str(path))


def _copy(
    url: str, target: Path, md5: str, num_bytes: int, end: float, wait: float, progress: OnReceived
) -> None:
    response, chunk = _answer(url, wait)
    with response, open(open_own(target), "wb") as file:
        file.truncate()
        expected = int(length) if (length := response.headers.get("Content-Length", "")).isdigit() else None
        digest = hashlib.md5(usedforsecurity=False)
        received, began = 0, time.monotonic()
        while chunk:
            if received + len(chunk) > num_bytes:
                raise _MirrorError(f"sends more than the {num_bytes:,} bytes that there are")
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            progress(received, expected)
            now = time.monotonic()
            left = ((expected or received) - received) * (now - began) / received
            if now > end or (now - began > SETTLED and now + left > end):
                raise _MirrorError(f"too slow: {received:,} bytes in {now - began:.0f} s")
            chunk = _read(response)
    if expected is not None and received < expected:
        raise _MirrorError(f"broke off after {received:,} of {expected:,} bytes")
    if digest.hexdigest() != md5:
        raise _MirrorError(f"sent {received:,} other bytes: their MD5 is {digest.hexdigest()}, not {md5}")


def _answer(url: str, wait: float) -> tuple[http.client.HTTPResponse, bytes]:
    """Return the response and its first bytes.

    A thread asks, since name servers and headers that come a byte at a time know nothing of socket time-outs.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise _MirrorError("is neither an https nor an http address")
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        try:
            opener = urllib.request.build_opener(StayEncrypted)
            response = opener.open(urllib.request.Request(url, headers=AGENT), timeout=wait)
            answers.put((response, response.read1(CHUNK_BYTES)))
        except Exception as fault:  # handed to the caller's thread, whatever it is
            answers.put(fault)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=wait)
    except queue.Empty:
        raise _MirrorError(f"no byte within {wait:.1f} s") from None
    if isinstance(answer, Exception):
        raise _MirrorError(_reason(answer)) from None
    return answer


def _read(response: IO[bytes]) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)  # type: ignore[attr-defined]
    except (OSError, http.client.HTTPException) as fault:
        raise _MirrorError(_reason(fault)) from None


def _reason(fault: Exception) -> str:
    if isinstance(fault, HTTPError):
        return f"HTTP {fault.code} {fault.reason}"
    if isinstance(fault, URLError):
        fault = fault.reason if isinstance(fault.reason, Exception) else Exception(fault.reason)
    if isinstance(fault, TimeoutError):
        return "fell silent"
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
