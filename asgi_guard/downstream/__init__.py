"""Downstreams: the clients that an app calls others with, and the breakers they obey."""
