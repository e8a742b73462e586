"""How long an engine step takes: work, rates and fitted coefficients, and the replay of a finite load."""
