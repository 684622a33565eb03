"""Who is asking a question right now, so that two processes never ask the same one at once.

A claim names its owner and expires. An owner on this machine whose process is gone is known to be dead at
once, so that a run that was killed does not make the next one wait.
"""

from __future__ import annotations

import os
import socket
import uuid
from functools import lru_cache
from pathlib import Path

LEASE = 120.0
"""Seconds until a claim that nobody renews is void."""


def new_owner() -> str:
    """A name for whoever claims: machine, the machine's start, process, the process's start, a number."""
    process = os.getpid()
    return "|".join((_machine(), _boot(), str(process), _started(process), uuid.uuid4().hex))


def is_dead(owner: str) -> bool:
    """Whether an owner can be seen to be gone; False where it lives or is on another machine."""
    parts = owner.split("|")
    if len(parts) != 5 or parts[0] != _machine() or os.name != "posix":
        return False
    _, boot, process, started, _ = parts
    if boot != _boot():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError, OSError):
        return False
    return started != _started(int(process))


@lru_cache(maxsize=1)
def _machine() -> str:
    # Containers may share a host's name; their process numbers mean nothing to one another.
    try:
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        space = ""
    return f"{socket.gethostname()}/{space}"


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(process: int) -> str:
    """When a process started, in ticks since the machine did; empty where the system does not say.

    Process numbers come round again; number and start together do not.
    """
    try:
        line = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The second field is the program's name in parentheses and may hold anything.
    fields = line.rpartition(")")[2].split()
    if not fields or fields[0] in ("Z", "X"):
        return "gone"
    return fields[19] if len(fields) > 19 else ""
