"""Memory that a training step frees stays in the process for the next one."""

from __future__ import annotations

import ctypes
import platform

# Parameters of mallopt, as glibc's malloc.h numbers them.
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have this process keep large freed blocks, instead of giving them back to the system and asking again.

    Activations and gradients of a step are freed and wanted again in the next. glibc maps large blocks one
    by one and gives them back, so that each step meets new pages: a quarter of its time with long texts.
    The process keeps its peak. This holds for the whole process, which is why training does it from the
    command line alone.

    Returns:
        Whether it was done: only glibc knows how.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST_INT))
