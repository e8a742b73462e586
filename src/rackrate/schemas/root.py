"""What every JSON output begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Root:
    """Plain values that name their schema."""

    __pydantic_config__: ClassVar[Any] = {"use_attribute_docstrings": True}

    schema: str
    """Name and version."""
