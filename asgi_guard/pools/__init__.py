"""Connection pools: how many connections are open, used and waited for."""
