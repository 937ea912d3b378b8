"""Connections that fail in a known way."""
