"""A prefix cache of hashed prompt blocks: shared while requests run, kept until the memory is needed, oldest first."""

from __future__ import annotations

from rackrate.simulate.compiled import jit_inline
from rackrate.simulate.state import (
    CACHED,
    HASH_PAGES,
    HASH_TOKENS,
    HELD,
    NEWER,
    NOBODY,
    OLDER,
    PAGE,
    R_EMPTY,
    R_FREE,
    Core,
    Prefix,
)


@jit_inline
def _unlink(prefix: Prefix, replica: int, block: int) -> None:
    older, newer = prefix.cache[replica, OLDER, block], prefix.cache[replica, NEWER, block]
    prefix.cache[replica, NEWER, older] = newer
    prefix.cache[replica, OLDER, newer] = older


@jit_inline
def _evict(core: Core, prefix: Prefix, replica: int, pages: int) -> None:
    """Drops cached blocks that nobody holds, oldest first, until so many pages are empty."""
    end = prefix.cache.shape[2] - 1
    while core.rep[replica, R_EMPTY] < pages:
        block = prefix.cache[replica, NEWER, end]
        if block == end:
            break
        _unlink(prefix, replica, block)
        prefix.cache[replica, HELD, block] = NOBODY
        core.rep[replica, R_EMPTY] += core.n[HASH_PAGES]


@jit_inline
def full_blocks(core: Core, prefix: Prefix, request: int, input_tokens: int) -> int:
    """Prompt blocks of a request that can be shared: the full ones. 0 without hashes."""
    if core.n[HASH_TOKENS] == 0:
        return 0
    listed = prefix.start[request + 1] - prefix.start[request]
    return min(listed, input_tokens // core.n[HASH_TOKENS])


@jit_inline
def cached_blocks(core: Core, prefix: Prefix, replica: int, request: int, blocks: int) -> tuple[int, int, int]:
    """Leading blocks that the cache has, pages to take for the rest, and pages that stop being free.

    Only the leading ones save work; those behind a gap are taken over without being recomputed twice in memory.
    """
    start: int = prefix.start[request]
    leading = 0
    absent = 0
    unheld = 0
    for n in range(blocks):
        held = prefix.cache[replica, HELD, prefix.hashes[start + n]]
        if held == NOBODY:
            absent += 1
        else:
            if absent == 0:
                leading += 1
            if held == 0:
                unheld += 1
    pages = core.n[HASH_PAGES]
    return leading, absent * pages, unheld * pages


@jit_inline
def hold(core: Core, prefix: Prefix, replica: int, request: int, blocks: int) -> None:
    """Takes a request's blocks: cached ones first, so that making room for the others does not drop them."""
    start: int = prefix.start[request]
    pages = core.n[HASH_PAGES]
    for n in range(blocks):
        block = int(prefix.hashes[start + n])
        held = prefix.cache[replica, HELD, block]
        if held >= 0:
            if held == 0:
                _unlink(prefix, replica, block)
                core.rep[replica, R_FREE] -= pages
            prefix.cache[replica, HELD, block] = held + 1
    for n in range(blocks):
        block = int(prefix.hashes[start + n])
        if prefix.cache[replica, HELD, block] == NOBODY:
            _evict(core, prefix, replica, pages)
            prefix.cache[replica, HELD, block] = 1
            core.rep[replica, R_EMPTY] -= pages
            core.rep[replica, R_FREE] -= pages


@jit_inline
def release(core: Core, prefix: Prefix, replica: int, request: int, blocks: int) -> None:
    """Gives a request's blocks back to the cache, its end first: the beginning is likelier to be used."""
    end = prefix.cache.shape[2] - 1
    start: int = prefix.start[request]
    for back in range(blocks):
        block = prefix.hashes[start + blocks - 1 - back]
        prefix.cache[replica, HELD, block] -= 1
        if prefix.cache[replica, HELD, block] == 0:
            last = prefix.cache[replica, OLDER, end]
            prefix.cache[replica, NEWER, last] = block
            prefix.cache[replica, OLDER, block] = last
            prefix.cache[replica, NEWER, block] = end
            prefix.cache[replica, OLDER, end] = block
            core.rep[replica, R_FREE] += core.n[HASH_PAGES]


@jit_inline
def take_pages(core: Core, prefix: Prefix, replica: int, pages: int) -> None:
    """Private pages; cached blocks that nobody holds give way."""
    if core.rep[replica, R_EMPTY] < pages and core.n[HASH_TOKENS] > 0:
        _evict(core, prefix, replica, pages)
    core.rep[replica, R_EMPTY] -= pages
    core.rep[replica, R_FREE] -= pages


@jit_inline
def usable_cached_tokens(core: Core, leading: int, given: int, target: int) -> int:
    """Tokens that need not be computed: whole pages, and never the last token, whose output is wanted."""
    page = core.n[PAGE]
    tokens = given
    if core.n[HASH_TOKENS] > 0:
        tokens = max(tokens, leading * core.n[HASH_TOKENS])
    return min(tokens, (target - 1) // page * page)


@jit_inline
def count_cached(core: Core, tokens: int) -> None:
    """Adds to the run's cached input tokens."""
    core.n[CACHED] += tokens
