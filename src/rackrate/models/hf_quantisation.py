"""The weight format that a config.json states, in the words of models.formats."""

from __future__ import annotations

from typing import Any, cast

from rackrate.errors import UserError
from rackrate.models.config_values import ConfigValues
from rackrate.models.formats import dtype_format, format_in_config


def published_format(config: ConfigValues, text: ConfigValues, sidecar: ConfigValues | None = None) -> str:
    """Name of the weight format, from quantization_config (or hf_quant_config.json beside it), else from the dtype.

    Raises:
        UserError: the quantisation is not known; the message names file and key.
    """
    for item in (config, text):
        stated = item.values.get("quantization_config")
        if stated is not None and not isinstance(stated, dict):
            raise UserError(f"{item.file}: {item.prefix}quantization_config should be a JSON object, not {stated!r}")
    quantised = config.nested("quantization_config") or text.nested("quantization_config")
    if quantised is not None:
        return _quantised(quantised)
    if sidecar is not None and (inner := sidecar.nested("quantization")) is not None:
        return _modelopt(inner)
    return plain_format(config, text)


def stated_cache(config: ConfigValues, text: ConfigValues, sidecar: ConfigValues | None = None) -> str | None:
    """The format of the KV cache that a checkpoint states; None where it states none.

    kv_cache_quant_algo is ModelOpt's, in a file of its own; kv_cache_scheme is that of compressed-tensors, and of
    ModelOpt's part of config.json.
    """
    for part in (config, text, *([] if sidecar is None else [sidecar])):
        quantised = part.nested("quantization_config") or part.nested("quantization")
        if quantised is None:
            continue
        algorithm = quantised.text("kv_cache_quant_algo")
        if algorithm is not None and algorithm.lower() not in {"none", "auto"}:
            return algorithm.lower()
        scheme = quantised.nested("kv_cache_scheme")
        if scheme is not None:
            return f"{'fp' if scheme.text('type') == 'float' else 'int'}{scheme.whole('num_bits', default=8)}"
    return None


def plain_format(config: ConfigValues, text: ConfigValues) -> str:
    """The 16- or 32-bit format of the dtype; bf16 where none is stated."""
    for part in (text, config):
        for key in ("dtype", "torch_dtype"):
            stated = part.values.get(key)
            if stated is not None and not isinstance(stated, str):
                raise UserError(f"{config.file}: {part.prefix}{key} should be a word such as bfloat16, not {stated!r}")
    dtype = text.text("dtype", "torch_dtype") or config.text("dtype", "torch_dtype") or "bfloat16"
    name = dtype_format(dtype)
    if name is None:
        raise UserError(f"{config.file}: torch_dtype {dtype!r} is not a number format of weights")
    return name


def _quantised(config: ConfigValues) -> str:
    method = (config.text("quant_method") or "").lower().replace("_", "-")
    if not method:
        if config.values.get("load_in_4bit"):
            return "nf4"
        if config.text("quant_algo"):
            return _modelopt(config)
    if (stated := format_in_config(method)) is not None:
        return "fp8-block" if stated == "fp8" and config.values.get("weight_block_size") else stated
    match method:
        case "gptq" | "awq" | "gptq-marlin" | "awq-marlin" | "auto-round" | "intel/auto-round":
            return _weight_only(config, config.whole("bits", "w_bit", default=4), config.values.get("group_size", 128))
        case "bitsandbytes":
            return "int8" if config.values.get("load_in_8bit") else "nf4"
        case "compressed-tensors":
            return _compressed_tensors(config)
        case "modelopt" | "modelopt-fp4":
            return _modelopt(config)
        case _:
            raise _unknown(config, "quant_method", method or "nothing")


def _unknown(config: ConfigValues, key: str, value: object) -> UserError:
    return UserError(
        f"{config.file}: {config.prefix}{key} is {value!r}, a quantisation whose size is not known here: "
        "say the format with {weights}",
        field="weights",
    )


def _weight_only(config: ConfigValues, bits: int, group: Any) -> str:
    if bits not in {4, 8}:
        raise _unknown(config, "bits", bits)
    if group in {-1, None}:
        return f"w{bits}a16"  # a scale per channel: fewer bits than groups of 128 by 3 %
    if not isinstance(group, int) or not 8 <= group <= 1024:
        raise _unknown(config, "group_size", group)
    return f"w{bits}a16" if group == 128 else f"w{bits}a16-g{group}"


def _compressed_tensors(config: ConfigValues) -> str:
    groups = config.nested("config_groups")
    first = next((groups.nested(name) for name in groups.values if groups.nested(name)), None) if groups else None
    weights = first.nested("weights") if first else None
    if first is None or weights is None:
        raise _unknown(config, "config_groups", config.values.get("config_groups"))
    layout = first.text("format") or config.text("format") or ""
    if (stated := format_in_config(layout)) is not None:
        return stated
    bits = weights.whole("num_bits")
    if weights.text("type") == "float":
        if bits == 8:
            return "fp8-block" if weights.text("strategy") == "block" else "fp8"
        raise _unknown(config, "config_groups", f"{bits}-bit float, {layout or 'no format'}")
    if bits == 8 and first.values.get("input_activations"):
        return "int8"
    name = _weight_only(config, bits, weights.values.get("group_size"))
    ignored = config.values.get("ignore")
    spared = " ".join(str(item) for item in cast("list[Any]", ignored)) if isinstance(ignored, list) else ""
    return f"{name}-experts" if "self_attn" in spared else name


def _modelopt(config: ConfigValues) -> str:
    algorithm = config.text("quant_algo") or ""
    stated = format_in_config(algorithm)
    if stated is None:
        raise _unknown(config, "quant_algo", algorithm.upper() or "nothing")
    return stated
