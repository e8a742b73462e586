"""Results of other load generators, read as runs: a module per tool, `detect` tells them apart, `build` joins them."""
