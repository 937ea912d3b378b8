"""A real Prometheus scrapes a guarded app."""
