"""Health: is the process alive, may it get traffic, and what is wrong."""
