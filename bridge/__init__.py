"""Gateway from RabbitMQ to the browser."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

try:
    __version__ = version("cloudphone-bridge")
except PackageNotFoundError:  # Run from a source tree that is not installed.
    __version__ = "0+unknown"


def is_compiled() -> bool:
    """Tell whether what every event passes is machine code here, as in a wheel of `make wheel`, or Python."""
    spec = find_spec("bridge.core.intake")  # Found, not imported: others ask who lack what it needs.
    return spec is not None and not str(spec.origin).endswith(".py")
