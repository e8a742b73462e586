"""A load spread over two nodes of a Ray cluster on this machine. Needs the extra `ray`; see tools/validate_ray.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rackrate.runs.store import read_run
from scripted_server import ScriptedServer

cluster_utils: Any = pytest.importorskip("ray.cluster_utils", reason="the extra `ray` is not installed")


def test_two_nodes_share_a_load_by_one_clock(tmp_path: Path) -> None:
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1}, connect=False)
    try:
        cluster.add_node(num_cpus=1)
        with ScriptedServer(ttft_s=0.02, itl_s=0.005) as server:
            ended = subprocess.run(
                [
                    sys.executable, "-m", "rackrate", "measure", "--url", server.url, "--input-tokens", "32",
                    "--output-tokens", "16", "-c", "8", "--requests", "200", "--processes", "2",
                    "--ray", cluster.address, "--out", str(tmp_path / "run"), "--json", str(tmp_path / "out.json"),
                ],
                capture_output=True, text=True, timeout=180, check=False,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr
            connections = {served.connection for served in server.log[-200:]}
            truth_s = sorted(served.received_s for served in server.log[-200:])
        run = read_run(tmp_path / "run")
        assert (run.header.processes, len(run.requests)) == (2, 200)
        assert all(request.ok for request in run.requests)
        assert len(connections) >= 8
        (level,) = json.loads((tmp_path / "out.json").read_text())["levels"]
        assert level["ttft"]["p50"] == pytest.approx(0.02, abs=0.01)
        # one clock: requests were sent in the order and at the pace in which the server received them
        sent_s = sorted(request.sent_s for request in run.requests)
        offsets = sorted(received - sent for received, sent in zip(truth_s, sent_s, strict=True))
        assert offsets[180] - offsets[20] < 0.02
    finally:
        cluster.shutdown()
