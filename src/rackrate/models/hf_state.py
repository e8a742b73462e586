"""Parameters and fixed states of linear-attention and state-space layers."""

from __future__ import annotations

from rackrate.models.architecture import CacheGroup
from rackrate.models.config_values import ConfigValues
from rackrate.models.hf_shape import Counts, Shape


def fixed_state(text: ConfigValues, shape: Shape, kinds: list[str], counts: Counts) -> list[CacheGroup]:
    """Linear-attention and SSM layers. Recurrent state in float32 unless the config says 16 bits."""
    h = shape.hidden
    groups: list[CacheGroup] = []
    linear, mamba, convolved = kinds.count("linear"), kinds.count("mamba"), kinds.count("conv")
    if convolved:  # LFM2's short convolutions: three projections in, one out, and the last inputs as state
        kernel = text.whole("conv_L_cache")
        counts.state += convolved * 4 * h * h
        counts.vectors += convolved * (h * kernel + 5 * h * text.flag("conv_bias"))
        groups.append(_state(convolved, h * (kernel - 1) * 2))
    wide = 2 if text.text("mamba_ssm_cache_dtype", "mamba_ssm_dtype") in {"float16", "bfloat16"} else 4
    kda = text.nested("linear_attn_config")
    if linear and (kda is not None or text.optional("linear_num_heads")):
        groups.append(_delta_attention(text, kda or text, h, linear, wide, counts))
    elif linear:
        key_heads, value_heads = text.whole("linear_num_key_heads"), text.whole("linear_num_value_heads")
        key_dim, value_dim = text.whole("linear_key_head_dim"), text.whole("linear_value_head_dim")
        kernel = text.whole("linear_conv_kernel_dim")
        values = value_heads * value_dim
        channels = 2 * key_heads * key_dim + values
        counts.state += linear * (h * channels + h * values + 2 * h * value_heads + values * h)
        counts.vectors += linear * (channels * kernel + 2 * value_heads + value_dim)
        groups.append(_state(linear, value_heads * key_dim * value_dim * wide + channels * (kernel - 1) * 2))
    if mamba and text.optional("mamba_num_heads", "mamba_n_heads") is None:
        groups.append(_first_mamba(text, h, mamba, wide, counts))
    elif mamba:
        heads, dim = text.whole("mamba_num_heads", "mamba_n_heads"), text.whole("mamba_head_dim", "mamba_d_head")
        state, sets = text.whole("ssm_state_size", "mamba_d_state"), text.whole("n_groups", "mamba_n_groups")
        kernel = text.whole("conv_kernel", "mamba_d_conv")
        inner = heads * dim
        channels = inner + 2 * sets * state
        counts.state += mamba * (h * (inner + channels + heads) + inner * h)
        counts.vectors += mamba * (channels * (kernel + 1) + 3 * heads + inner)
        groups.append(_state(mamba, heads * dim * state * wide + channels * (kernel - 1) * 2))
    return groups


def _delta_attention(
    text: ConfigValues, kda: ConfigValues, h: int, layers: int, wide: int, counts: Counts
) -> CacheGroup:
    """Kimi's delta attention. The config keeps its sizes apart, or as transformers 5 writes them."""
    heads = kda.whole("num_heads", "linear_num_heads")
    dim = kda.whole("linear_head_dim" if kda is text else "head_dim")
    kernel, inner = kda.whole("short_conv_kernel_size", "linear_conv_kernel_dim"), heads * dim
    gate = h * inner if kda.flag("use_full_rank_gate") else h * dim + dim * inner
    counts.state += layers * (4 * h * inner + h * dim + dim * inner + gate + h * heads)
    counts.vectors += layers * (3 * inner * kernel + inner + heads + dim)
    return _state(layers, inner * dim * wide + 3 * inner * (kernel - 1) * 2)


def _first_mamba(text: ConfigValues, h: int, layers: int, wide: int, counts: Counts) -> CacheGroup:
    """Layers of the first Mamba, as Jamba has them (modeling_jamba.py): a state of each channel, and norms."""
    inner, state = h * text.whole("mamba_expand"), text.whole("mamba_d_state")
    kernel = text.whole("mamba_d_conv")
    automatic = text.values.get("mamba_dt_rank") in ("auto", None)
    rank = -(-h // 16) if automatic else text.whole("mamba_dt_rank")
    counts.state += layers * (2 * h * inner + inner * (rank + 2 * state) + rank * inner + inner * h)
    biases = inner * text.flag("mamba_conv_bias", default=True) + (2 * inner + h) * text.flag("mamba_proj_bias")
    counts.vectors += layers * (inner * kernel + biases + 2 * inner + inner * state + rank + 2 * state)
    return _state(layers, inner * state * wide + inner * (kernel - 1) * 2)


def _state(layers: int, size: int) -> CacheGroup:
    return CacheGroup("state", layers, state_bytes=float(size))
