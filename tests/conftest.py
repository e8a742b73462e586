"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("rackrate", deadline=None)  # a busy machine is no failure
settings.load_profile("rackrate")


@pytest.fixture
def private_environment(tmp_path: Path) -> dict[str, str]:
    """An environment for a subprocess that sees none of the user's keys, catalogue, cache or configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RACKRATE_")}
    home = tmp_path / "home"
    home.mkdir()
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "RACKRATE_CACHE": str(home / "rackrate"),
    }
