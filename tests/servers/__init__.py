"""The guard behind real ASGI servers."""
