"""Shared stores, and that the tests have real ones."""
