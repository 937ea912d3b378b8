"""Metrics: what the guards have counted, for Prometheus to scrape."""
