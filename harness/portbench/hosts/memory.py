"""glibc gives freed memory back to the system and asks for it again, or keeps it, by what a process did before.

With the first, each temporary array of NumPy costs page faults: the same specification was seen to take 2.5
times as long, by luck. Every port is told to keep it; so is the process in which twins run.
"""

from __future__ import annotations

import ctypes
import sys

KEEP = 256 << 20  # bytes at the top of the heap
LARGEST = 32 << 20  # bytes of a block on the heap; glibc allows no more
ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": str(KEEP), "MALLOC_MMAP_THRESHOLD_": str(LARGEST)}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep() -> None:
    """The same for this process, which runs already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_TRIM_THRESHOLD, KEEP)
            libc.mallopt(_M_MMAP_THRESHOLD, LARGEST)
