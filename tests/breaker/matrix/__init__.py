"""The behaviour matrix: what breakers do in the situations that hurt, ours and others."""
