"""What the command line hands to use cases: the user's own catalogue files are found by the shell alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rackrate.cli.context import shell_context
from rackrate.errors import UserError

OFFER = """\
- id: acme/box
  provider: acme
  instance: box
  accelerator: t4
  accelerator_count: 2
  prices: [{date: "2026-11-01", source: "our contract", on_demand_usd_h: USD}]
  sources: [{source: "our contract", date: "2026-11"}]
"""


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "configuration"
    directory.mkdir()

    def here(_name: str) -> Path:
        return directory

    monkeypatch.setattr("platformdirs.user_config_path", here)
    monkeypatch.delenv("RACKRATE_CATALOG", raising=False)
    return directory


def write(directory: Path, usd: str) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "offers.yaml").write_text(OFFER.replace("USD", usd), encoding="utf-8")
    return directory


def test_directories_of_the_environment_win_over_it_and_later_ones_over_earlier(
    configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(configuration / "catalog", "0.5")
    first, second = write(tmp_path / "first", "0.6"), write(tmp_path / "second", "0.7")
    assert shell_context().catalog.offers["acme/box"].price.on_demand_usd_h == 0.5
    monkeypatch.setenv("RACKRATE_CATALOG", os.pathsep.join([str(second), str(first)]))
    assert shell_context().catalog.offers["acme/box"].price.on_demand_usd_h == 0.6
    assert len(shell_context().catalog.overlays) == 3


def test_a_directory_that_is_not_there_is_named(
    configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRATE_CATALOG", str(tmp_path / "nosuch"))
    with pytest.raises(UserError, match=r"RACKRATE_CATALOG names .*nosuch, which is not a directory"):
        _ = shell_context().catalog
