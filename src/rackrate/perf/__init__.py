"""How a model loads a machine: memory fit, FLOPs and bytes, step time, calibration. Pure functions of facts."""
