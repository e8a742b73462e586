"""A study: a file that names alternatives to compare, with their uncertainty, and published claims to check."""
