"""Whether a model fits: weights, KV cache, activations and what the engine takes, on each accelerator."""
