"""The one arrow back: a measured run refits the step time of its own machine."""
