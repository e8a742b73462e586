"""Runs and pricings as plain data (`view`), and that data as terminal tables, HTML, Markdown, JSON and CSV."""
