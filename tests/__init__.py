"""Tests of the package, in folders that mirror it."""
