"""Tokens by how an API bills them: a price may hang on a request's length, on the cache, and on whether it may wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_COUNTED = 4_000_000
"""Requests longer than that are told apart by sorting instead of by counting."""


@dataclass(frozen=True, eq=False)
class PromptMix:
    """Classes of requests that are billed alike. Arrays of one length, an entry a class; tokens are sums over it."""

    prompt_tokens: Floats
    """How long a request's input is, cached tokens included; NaN where it is not known."""
    batch: npt.NDArray[np.bool_]
    """Whether the requests may wait, as an API's batch takes them."""
    new: Floats
    """Input tokens that no cache had."""
    cached: Floats
    """Input tokens that were read from the cache."""
    written: Floats
    """Input tokens that were written to the cache, for some minutes."""
    written_1h: Floats
    """Input tokens that were written to the cache for an hour."""
    output: Floats
    exact: bool = field(default=True, kw_only=True)
    """Whether lengths are those of single requests; else they are means."""

    @staticmethod
    def of_requests(
        inputs: npt.NDArray[np.integer], outputs: npt.NDArray[np.integer], cached: npt.NDArray[np.integer] | None = None
    ) -> PromptMix:
        """Single requests; unknown cached tokens (below 0) count as none.

        >>> mix = PromptMix.of_requests(np.array([10, 500, 10]), np.array([1, 2, 3]))
        >>> mix.prompt_tokens.tolist(), mix.new.tolist(), mix.output.tolist()
        ([10.0, 500.0], [20.0, 500.0], [4.0, 2.0])
        """
        if not len(inputs) or int(inputs.max()) <= _COUNTED:
            group, size = inputs, (int(inputs.max()) + 1 if len(inputs) else 1)
            lengths = np.arange(size, dtype=np.float64)
        else:
            found, group = np.unique(inputs, return_inverse=True)
            lengths, size = found.astype(np.float64), len(found)
        there = np.flatnonzero(np.bincount(group, minlength=size))
        out: Floats = np.bincount(group, outputs, minlength=size)[there].astype(np.float64)
        all_input = (lengths * np.bincount(group, minlength=size))[there]
        read = np.zeros(len(there))
        if cached is not None:
            read = np.minimum(np.bincount(group, np.maximum(cached, 0), minlength=size)[there], all_input)
        none = np.zeros(len(there))
        return PromptMix(lengths[there], none.astype(np.bool_), all_input - read, read, none, none, out)

    @staticmethod
    def of_length(prompt_tokens: float, outputs: float, cached: float = 0.0) -> PromptMix:
        """Requests that are all alike."""
        one = [np.array([value]) for value in (prompt_tokens - cached, cached, 0.0, 0.0, outputs)]
        return PromptMix(np.array([prompt_tokens]), np.array([False]), *one)

    @staticmethod
    def together(parts: Sequence[PromptMix]) -> PromptMix:
        """All classes of several."""
        names = [each.name for each in fields(PromptMix) if each.name != "exact"]
        arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        return PromptMix(*arrays, exact=all(part.exact for part in parts))

    @property
    def inputs(self) -> Floats:
        """All input tokens of each class."""
        return self.new + self.cached + self.written + self.written_1h

    @property
    def batch_share(self) -> float:
        """Share of all tokens that may wait."""
        tokens = self.inputs + self.output
        return float(tokens[self.batch].sum() / tokens.sum()) if tokens.sum() > 0 else 0.0

    def with_cached_share(self, share: float) -> PromptMix:
        """The same requests, of whose input a cache has this share; what is written to it is not known."""
        none = np.zeros(len(self.new))
        return replace(
            self, new=self.inputs * (1 - share), cached=self.inputs * share, written=none, written_1h=none
        )  # fmt: skip
