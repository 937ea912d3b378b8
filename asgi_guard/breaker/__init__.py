"""Circuit breakers: stop calling what keeps failing, and notice when it is back."""
