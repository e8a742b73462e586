"""Predictions against published measurements: rows read, coefficients fitted, errors on what was left out."""
