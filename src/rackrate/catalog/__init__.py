"""Models, accelerators, offers and API prices: dated, sourced data, looked up by name and overlaid by the user."""
