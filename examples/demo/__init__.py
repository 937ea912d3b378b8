"""A guarded app, a downstream that can be put out of order, and a walk through what happens."""
