"""Parameters of dense and expert feed-forwards, and which layers have which."""

from __future__ import annotations

from rackrate.errors import UserError
from rackrate.models.architecture import RoutedExperts
from rackrate.models.config_values import ConfigValues
from rackrate.models.hf_families import Family
from rackrate.models.hf_shape import ACTIVE, EXPERT_INNER, EXPERTS, INNER, Counts, Shape


def feed_forward(
    text: ConfigValues, shape: Shape, family: Family, kinds: list[str], counts: Counts
) -> tuple[RoutedExperts | None, int]:
    """Counts dense and expert feed-forwards. Returns the experts and the widest inner width that a token passes."""
    h = shape.hidden
    matrices = 3 if family.gated else 2
    routed = text.optional(*EXPERTS)
    moe = _moe_layers(text, shape, kinds) if routed else set[int]()
    each = [number for number in range(shape.layers) if _has_feed_forward(kinds, number)]
    dense = 2 * len(each) if family.doubled else sum(number not in moe for number in each)
    widest = 0
    if dense:
        inner = text.optional("intermediate_size_mlp") if moe else None
        inner = inner or text.whole(*INNER, default=None if family.gated else 4 * h)
        if text.flag("block_auto_adjust_ff_dim"):  # LFM2 states three halves of its width, before rounding
            inner = int(2 * inner / 3 * _number(text, "block_ffn_dim_multiplier"))
            inner = text.whole("block_multiple_of", default=1) * -(-inner // text.whole("block_multiple_of", default=1))
        counts.feed_forward += dense * matrices * h * inner
        if text.flag(*_mlp_bias_keys(text), default=family.feed_forward_bias):
            counts.vectors += dense * ((matrices - 1) * inner + h)
        widest = inner
    if not routed or not moe:
        return None, widest
    active = text.whole(*ACTIVE)
    if active > routed:
        raise UserError(f"{text.file}: {active} experts per token are more than the {routed} that there are")
    idle = text.whole("zero_expert_num", default=0, least=0)
    if idle:  # experts that hand a token on as it is: of those that a token chooses, so many do work on average
        active = max(1, round(active * routed / (routed + idle)))
    inner = text.whole(*EXPERT_INNER, "intermediate_size", "ffn_hidden_size")
    width = text.whole("moe_latent_size", "routed_expert_hidden_size", default=h)
    item = matrices * width * inner
    biases = 2 * inner + width if family.expert_bias else 0
    if biases:
        counts.vectors += len(moe) * routed * (biases + 1)  # of experts and router
    counts.experts += len(moe) * routed * item
    counts.router += len(moe) * (routed + idle) * h
    if width != h:
        counts.feed_forward += len(moe) * 2 * h * width  # into the latent and out of it
        counts.vectors += len(moe) * width * text.flag("latent_moe_use_norm")
    chosen_by_bias = text.text("topk_method", "scoring_func") in {"noaux_tc", "sigmoid"}
    if family.correction_bias or chosen_by_bias or text.flag("use_routing_bias"):
        counts.vectors += len(moe) * (routed + idle)
    shared = _shared_width(text, family, inner)
    counts.feed_forward += len(moe) * matrices * h * shared
    if text.optional("shared_expert_intermediate_size", least=0) and family.shared_expert_gate:
        counts.router += len(moe) * h
    latent = width if width != h else None
    return RoutedExperts(routed, active, len(moe), item, latent, biases), max(widest, active * inner + shared)


def _number(text: ConfigValues, name: str) -> float:
    value = text.values.get(name, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1000:
        raise UserError(f"{text.file}: {text.prefix}{name} should be a number up to 1,000, not {value!r}")
    return float(value)


def _mlp_bias_keys(text: ConfigValues) -> tuple[str, ...]:
    return ("mlp_bias", "use_bias", "bias") if text.text("model_type") == "falcon" else ("mlp_bias", "use_bias")


def _shared_width(text: ConfigValues, family: Family, inner: int) -> int:
    stated = text.optional("shared_expert_intermediate_size", "shared_intermediate_size", least=0)
    if stated is not None:
        return stated
    if family.one_shared_expert:
        return inner
    each = text.whole("moe_shared_expert_intermediate_size", default=inner)
    return each * text.whole("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", default=0, least=0)


def _has_feed_forward(kinds: list[str], number: int) -> bool:
    """Nemotron-H gives each layer one thing; everybody else's layers all have a feed-forward."""
    return kinds[number] == "dense" if {"dense", "moe"} & set(kinds) else True


def _moe_layers(text: ConfigValues, shape: Shape, kinds: list[str]) -> set[int]:
    if "moe" in kinds:
        return {number for number, kind in enumerate(kinds) if kind == "moe"}
    stated = text.words("mlp_layer_types", shape.layers)
    if stated is not None:
        if set(stated) - {"dense", "sparse"}:
            raise UserError(f"{text.file}: {text.prefix}mlp_layer_types should have dense and sparse only")
        return {number for number, kind in enumerate(stated) if kind == "sparse"}
    first = text.whole("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers", default=0, least=0)
    if first > shape.layers:
        raise UserError(
            f"{text.file}: {text.prefix}first_k_dense_replace ({first}) is more than the {shape.layers} layers that "
            "there are"
        )
    layers = set(range(first, shape.layers))
    if text.values.get("moe_layer_end_index") not in (None, -1):
        layers -= set(range(text.whole("moe_layer_end_index", least=0) + 1, shape.layers))
    if not isinstance(text.values.get("moe_layer_freq"), list):
        text.optional("moe_layer_freq", "decoder_sparse_step")  # says now if it is no whole number from 1 up
    step = text.values.get("moe_layer_freq", text.values.get("decoder_sparse_step"))
    steps = text.listed("moe_layer_freq")
    every = text.optional("interleave_moe_layer_step", "moe_layer_interval")
    period = text.optional("expert_layer_period")
    if steps is not None:  # one number for each layer, 0 where it is dense
        layers &= {number for number, step in enumerate(steps) if step}
    elif period is not None:
        offset = text.whole("expert_layer_offset", default=0, least=0)
        layers &= {number for number in layers if number % period == offset}
    elif every is not None:
        layers &= {number for number in layers if (number + 1) % every == 0}
    elif isinstance(step, int) and step > 1:
        layers &= {number for number in layers if (number + 1) % step == 0}
    spared = text.listed("mlp_only_layers") or []
    return {number for number in layers if number not in spared}
