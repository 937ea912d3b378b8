"""Rate limiting: how much in how long, per client."""
