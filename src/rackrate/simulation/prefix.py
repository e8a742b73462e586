"""A prefix cache of hashed prompt blocks: shared while requests run, kept until the memory is needed, oldest first."""

from __future__ import annotations

from rackrate.simulation.compiled import jit_inline
from rackrate.simulation.state import NOBODY, Core, Prefix


@jit_inline
def _unlink(prefix: Prefix, replica: int, block: int) -> None:
    older, newer = prefix.cache[replica, block].older, prefix.cache[replica, block].newer
    prefix.cache[replica, older].newer = newer
    prefix.cache[replica, newer].older = older


@jit_inline
def _evict(core: Core, prefix: Prefix, replica: int, pages: int) -> None:
    """Drops cached blocks that nobody holds, oldest first, until so many pages are empty."""
    engine = core.replicas[replica]
    end = prefix.cache.shape[1] - 1
    while engine.empty < pages:
        block = prefix.cache[replica, end].newer
        if block == end:
            break
        _unlink(prefix, replica, block)
        prefix.cache[replica, block].held = NOBODY
        engine.empty += core.settings.hash_pages


@jit_inline
def full_blocks(core: Core, prefix: Prefix, request: int, input_tokens: int) -> int:
    """Prompt blocks of a request that can be shared: the full ones. 0 without hashes."""
    if core.settings.hash_tokens == 0:
        return 0
    listed = prefix.start[request + 1] - prefix.start[request]
    return min(listed, input_tokens // core.settings.hash_tokens)


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
        held = prefix.cache[replica, prefix.hashes[start + n]].held
        if held == NOBODY:
            absent += 1
        else:
            if absent == 0:
                leading += 1
            if held == 0:
                unheld += 1
    pages = core.settings.hash_pages
    return leading, absent * pages, unheld * pages


@jit_inline
def hold(core: Core, prefix: Prefix, replica: int, request: int, blocks: int) -> None:
    """Takes a request's blocks: cached ones first, so that making room for the others does not drop them."""
    engine = core.replicas[replica]
    start: int = prefix.start[request]
    pages = core.settings.hash_pages
    for n in range(blocks):
        block = int(prefix.hashes[start + n])
        held = prefix.cache[replica, block].held
        if held >= 0:
            if held == 0:
                _unlink(prefix, replica, block)
                engine.free -= pages
            prefix.cache[replica, block].held = held + 1
    for n in range(blocks):
        block = int(prefix.hashes[start + n])
        if prefix.cache[replica, block].held == NOBODY:
            _evict(core, prefix, replica, pages)
            prefix.cache[replica, block].held = 1
            engine.empty -= pages
            engine.free -= pages


@jit_inline
def release(core: Core, prefix: Prefix, replica: int, request: int, blocks: int) -> None:
    """Gives a request's blocks back to the cache, its end first: the beginning is likelier to be used."""
    end = prefix.cache.shape[1] - 1
    start: int = prefix.start[request]
    for back in range(blocks):
        block = prefix.hashes[start + blocks - 1 - back]
        prefix.cache[replica, block].held -= 1
        if prefix.cache[replica, block].held == 0:
            last = prefix.cache[replica, end].older
            prefix.cache[replica, last].newer = block
            prefix.cache[replica, block].older = last
            prefix.cache[replica, block].newer = end
            prefix.cache[replica, end].older = block
            core.replicas[replica].free += core.settings.hash_pages


@jit_inline
def take_pages(core: Core, prefix: Prefix, replica: int, pages: int) -> None:
    """Private pages; cached blocks that nobody holds give way."""
    engine = core.replicas[replica]
    if engine.empty < pages and core.settings.hash_tokens > 0:
        _evict(core, prefix, replica, pages)
    engine.empty -= pages
    engine.free -= pages


@jit_inline
def usable_cached_tokens(core: Core, leading: int, given: int, target: int) -> int:
    """Tokens that need not be computed: whole pages, and never the last token, whose output is wanted."""
    page = core.settings.page
    tokens = given
    if core.settings.hash_tokens > 0:
        tokens = max(tokens, leading * core.settings.hash_tokens)
    return min(tokens, (target - 1) // page * page)


@jit_inline
def count_cached(core: Core, tokens: int) -> None:
    """Adds to the run's cached input tokens."""
    core.totals.cached += tokens
