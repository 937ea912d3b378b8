"""Concurrency caps: how many at once, and who waits."""
