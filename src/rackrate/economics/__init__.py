"""From what a machine serves and what it costs to what a million tokens costs. Pure functions."""
