"""Rules: whom they charge, for what, and how they are asked together."""
