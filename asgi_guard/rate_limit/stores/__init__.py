"""Stores: where counters live, in this process and elsewhere."""
