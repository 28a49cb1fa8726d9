"""`make demo`: beside a running server, an alert from firing to its closed incident, told in the terminal.

With a Docker engine the trouble is real: a container of the demo's own is killed, and the crew brings it
back. Without one it is SIMULATED, and every line says so.
"""
