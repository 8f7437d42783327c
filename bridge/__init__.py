"""Gateway from RabbitMQ to the browser."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cloudphone-bridge")
except PackageNotFoundError:  # Run from a source tree that is not installed.
    __version__ = "0+unknown"
