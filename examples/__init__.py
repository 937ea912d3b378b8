"""Small apps to read, run and copy; each guards something and stands by itself."""
