"""What an engine gets to know of its user's environment: what it needs to run, and no secret that it does not use.

An engine is a program of others, which loads models of others. A shell often holds keys of clouds and APIs; none of
them is passed on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_NAMES = frozenset({
    # where programs, libraries, compilers, homes and temporary files are; language and time
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "PWD",
    "SYSTEMROOT", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "LIBRARY_PATH", "CPATH",
    "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "DYLD_LIBRARY_PATH", "CC", "CXX", "CUDACXX", "NUMBA_CACHE_DIR",
})  # fmt: skip
_PREFIXES = (
    "LC_", "XDG_", "CONDA_", "RACKRATE_",
    # drivers and libraries of accelerators
    "CUDA_", "NVIDIA_", "NCCL_", "CUBLAS_", "CUDNN_", "GPU_", "HIP_", "ROCR_", "ROCM_", "HSA_", "RCCL_", "MIOPEN_",
    "AMD_", "ONEAPI_", "ZE_", "SYCL_", "UR_", "GLOO_", "UCX_",
    # threads and memory
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "MALLOC_", "TCMALLOC_", "NUMEXPR_",
    # the engines themselves, and what they are built on
    "VLLM_", "SGLANG_", "SGL_", "FLASHINFER_", "GGML_", "LLAMA_", "PYTORCH_", "TORCH_", "TORCHINDUCTOR_", "TRITON_",
    "TRANSFORMERS_", "TOKENIZERS_", "SAFETENSORS_", "HF_", "RAY_",
)  # fmt: skip
"""Beginnings of names."""
_NETWORK = frozenset({
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle",
})  # fmt: skip
"""By which weights are fetched, in small letters; a proxy's address may hold a password."""
_HUB = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"})
_SECRET = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|COOKIE|AUTH)S?(?:_|$)"
)
"""Words of which a name is not passed on, whatever it begins with."""


def child_environment(*, fetches: bool = False) -> dict[str, str]:
    """The variables of this process that an engine gets."""
    return inherited(os.environ, fetches=fetches)


def inherited(environ: Mapping[str, str], *, fetches: bool = False) -> dict[str, str]:
    """The variables that an engine gets.

    Args:
        environ: all of the user's.
        fetches: whether it fetches weights: only then are there proxies, certificates and the hub's token.

    >>> shell = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "HF_TOKEN": "y", "VLLM_API_KEY": "z", "LC_ALL": "C"}
    >>> inherited(shell), inherited(shell, fetches=True)["HF_TOKEN"]
    ({'PATH': '/bin', 'LC_ALL': 'C'}, 'y')
    """

    def is_passed(name: str) -> bool:
        if name in _HUB or name.lower() in _NETWORK:
            return fetches
        return name in _NAMES or (name.startswith(_PREFIXES) and _SECRET.search(name) is None)

    return {name: value for name, value in environ.items() if is_passed(name)}
