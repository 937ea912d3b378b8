"""Calls to a downstream: so many at once, so far apart, the important ones first, by any client."""
