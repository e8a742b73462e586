"""Engines that rackrate can start, and the weights that they serve. Each runs as a process of its own."""
