"""The record of a load on a deployment, request by request: what is kept, and how it is stored."""
