"""The HTTP API of the crew's work."""
