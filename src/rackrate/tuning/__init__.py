"""The search for the settings of an engine that make a token cheapest on a machine."""
