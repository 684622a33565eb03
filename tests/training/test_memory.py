"""Freed memory that stays in the process."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

# 64 MiB written and freed six times: the page faults of the last five.
PROGRAM = """
import ctypes, json, resource, sys
if sys.argv[1] == "kept":
    from mner.training.memory import keep_freed_memory
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
faults = []
for _ in range(6):
    block = libc.malloc(64 * 2**20)
    ctypes.memset(block, 1, 64 * 2**20)
    libc.free(block)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(json.dumps(faults[-1] - faults[0]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory")
def test_a_block_that_was_freed_is_had_again_without_new_pages():
    faults = {}
    for how in ("kept", "as it is"):
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
        )
        faults[how] = json.loads(ended.stdout)
    # Five blocks of 64 MiB are 81 920 pages of 4 KiB, or 160 of 2 MiB.
    assert faults["as it is"] >= 150
    assert faults["kept"] <= 20
