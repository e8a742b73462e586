"""Answers made ready to look at: `present` makes documents of them, `render` draws those for every output."""
