"""Tests of the client side: calls in a queue."""
