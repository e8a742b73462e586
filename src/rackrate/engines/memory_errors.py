"""Whether an engine ended because memory ran out, by what it said last."""

from __future__ import annotations

import re

from rackrate.engines import known

_PATTERNS = (
    r"out of memory",
    r"OutOfMemoryError",
    r"(?:KV cache|kv cache).{0,80}(?:larger than|exceeds|not enough|is needed)",
    r"Not enough (?:available )?memory",
    r"can't allocate memory",
    r"[Cc]annot allocate memory",
    r"failed to allocate",
    r"unable to allocate",
    r"std::bad_alloc",
    r"\bMemoryError\b",
)
"""What programs of any kind say; what one engine alone says is in its own module."""
_SIGKILL = -9


def ran_out_of_memory(log: str, code: int | None) -> bool:
    """Whether the last words or the end of an engine say that it had too little memory.

    Linux ends a process that takes the last memory with SIGKILL, and nothing is said.

    >>> ran_out_of_memory("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", 1)
    True
    >>> ran_out_of_memory("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 99", 1)
    True
    >>> ran_out_of_memory("ValueError: Available memory on node 0 (6.2/8.3 GiB) on startup is less than desired", 1)
    True
    >>> ran_out_of_memory("loading", -9), ran_out_of_memory("unknown model architecture", 1)
    (True, False)
    """
    patterns = (*_PATTERNS, *(pattern for spec in known.ENGINES for pattern in spec.out_of_memory))
    return code == _SIGKILL or re.search("|".join(patterns), log) is not None
