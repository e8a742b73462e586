"""Runs llama.cpp's server from the wheel xllamacpp. Started by rackrate with the engine's own Python, never imported.

Its one argument is a JSON object of settings. It ends when its standard input does, so that it cannot outlive the
process that started it, however that one ends.
"""

import json
import os
import sys
import threading

import xllamacpp


def _ggml_type(name):
    return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")


def main() -> None:
    settings = json.loads(sys.argv[1])
    params = xllamacpp.CommonParams()
    params.model.path = settings["weights"]
    params.model_alias = [settings["alias"]]
    params.hostnames = [settings["host"]]
    params.port = settings["port"]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context_per_slot"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.n_batch = settings["batch_tokens"]
    params.n_ubatch = settings["micro_batch_tokens"]
    # one for each connection at least, idle ones too: with the default (slots + 2) an open loop's spare connections
    # leave none for its first request, which then waits until they time out, five seconds
    params.n_threads_http = settings["slots"] + 16
    params.kv_unified = bool(settings.get("kv_unified", False))
    params.cache_prompt = bool(settings.get("prefix_caching", True))
    flash = {"on": 1, "off": 0}.get(settings.get("flash_attention", "auto"), -1)
    params.flash_attn_type = xllamacpp.llama_flash_attn_type(flash)
    params.cache_type_k = params.cache_type_v = _ggml_type(settings.get("kv_format", "f16"))
    for cpus in (params.cpuparams, params.cpuparams_batch):
        cpus.poll = int(settings.get("poll", 50))
        cpus.strict_cpu = bool(settings.get("bind", False))
        if settings.get("bind"):  # one core a thread, the first ones
            cpus.cpumask = [number < settings["threads"] for number in range(xllamacpp.GGML_MAX_N_THREADS)]
            cpus.mask_valid = True
    params.cont_batching = True
    params.endpoint_metrics = True
    params.cache_ram_mib = 0  # no prompt cache besides the slots' own: what is cached must show in the usage
    params.ui = False
    params.cors_origins = ""
    key = os.environ.pop("RACKRATE_ENGINE_KEY", None)
    if key:
        params.api_keys = [key]

    def end_with_parent() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        server = xllamacpp.Server(params)
    except Exception as error:  # noqa: BLE001 - whatever it is ends this process, and its words go to the log
        sys.stdout.write(f"{error}\n")
        sys.stdout.flush()
        os._exit(1)
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    threading.Event().wait()


main()
