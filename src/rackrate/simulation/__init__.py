"""Continuous batching, replicas behind a router, autoscaling: requests in, a run out. Step time is a mere function."""
