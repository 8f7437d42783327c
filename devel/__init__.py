"""What a developer's machine needs: a virtual environment, a broker, a running bridge, a demonstration.

Nothing here ships. `make` starts all of it.
"""
