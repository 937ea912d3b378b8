"""Downstream: what is called, kept from being called too much, and found again when it is back."""
