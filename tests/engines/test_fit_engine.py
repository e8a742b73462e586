"""Memory as the embedded engine itself reports it, against what is predicted from the file's header."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from rackrate.catalog.load import load_catalog
from rackrate.engines.install import environment_python
from rackrate.engines.llamacpp import MEMORY as LLAMACPP
from rackrate.engines.weights import EMBEDDED
from rackrate.memory.fit import fit
from rackrate.models.read_model import read_model

pytestmark = pytest.mark.engine

MIB = 2**20
LAUNCH = """
import os, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_parallel = int(sys.argv[2])
params.n_ctx = int(sys.argv[2]) * int(sys.argv[3])
params.n_batch, params.n_ubatch, params.port = 2048, 512, 0
params.warmup = False
params.verbosity = 4
if sys.argv[4] != "f16":
    kind = getattr(xllamacpp.ggml_type, "GGML_TYPE_" + sys.argv[4].upper())
    params.cache_type_k = params.cache_type_v = kind
server = xllamacpp.Server(params)
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Makes the engine ready; quick where it is."""
    subprocess.run(
        [sys.executable, "-m", "rackrate", "engines", "install", "llamacpp"],
        check=True,
        capture_output=True,
        timeout=200,
    )


def log_of_the_engine(slots: int, context: int, kv: str) -> str:
    ran = subprocess.run(
        [str(environment_python("llamacpp")), "-c", LAUNCH, str(EMBEDDED[0].path), str(slots), str(context), kv],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout + ran.stderr


def mib(log: str, name: str) -> float:
    found = re.search(rf"{name} buffer size\s*=\s*([\d.]+) MiB", log)
    assert found is not None, f"the engine's log has no {name} buffer size:\n{log[-3000:]}"
    return float(found[1])


@pytest.mark.parametrize(("slots", "context", "kv"), [(4, 1024, "f16"), (1, 8192, "f16"), (2, 2048, "q8_0")])
def test_weights_and_cache_are_within_a_hundredth_of_the_engines_log(slots: int, context: int, kv: str) -> None:
    log = log_of_the_engine(slots, context, kv)
    read = read_model(str(EMBEDDED[0].path), load_catalog())
    found = fit(
        read.architecture, load_catalog().accelerators["t4"], engine=LLAMACPP, kv="fp16" if kv == "f16" else kv,
        context_tokens=context, max_requests=slots, weights_file_bytes=read.weights_file_bytes,
    )  # fmt: skip
    assert found.weights_bytes / MIB == pytest.approx(mib(log, "model"), rel=0.01)
    assert slots * found.request_bytes / MIB == pytest.approx(mib(log, "KV"), rel=0.01)
    assert found.activation_bytes / MIB == pytest.approx(mib(log, "compute"), rel=0.02 if kv == "f16" else 0.25)
