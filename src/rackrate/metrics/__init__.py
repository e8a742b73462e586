"""The metrics of a run: throughput, TTFT, TPOT, the steady window, and the caveats of a level."""
