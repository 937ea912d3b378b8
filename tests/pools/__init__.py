"""The pool watch on real databases."""
