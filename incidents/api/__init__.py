"""The HTTP API of the records."""
