"""Loads a real endpoint and records what happened, request by request."""
