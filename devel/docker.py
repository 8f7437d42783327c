"""RabbitMQ from compose.yaml, where a Docker engine answers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import quote

from devel.errors import DevelError
from devel.ports import LOOPBACK, free_ports, is_free

SERVICE = "rabbitmq"
AMQP_PORT = 5672
ENGINE_SECONDS_MAX = 5.0
COMMAND_SECONDS_MAX = 30.0
UP_SECONDS_MAX = 600.0  # The first time, an image has to be fetched.
STOP_SECONDS_MAX = 60.0

# Compose asks for the variables of every service, also of those that are not started here. Values from a
# developer's .env are put aside, so that they and a deployment tried out with them stay apart from this.
DEVELOPMENT = {
    "RABBITMQ_USER": "development",
    "RABBITMQ_PASSWORD": "development",
    "POSTGRES_PASSWORD": "of a service that is not started",
    "JWT_SECRET": "of a service that is not started",
}


def engine_answers() -> bool:
    """Tell whether there is a Docker client here and an engine answers it."""
    try:
        done = subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ENGINE_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


class ComposeBroker:
    """The service `rabbitmq` of a checkout's compose.yaml, in a compose project of its own.

    Of its own, because a bridge that runs in the checkout's usual project would be the single active
    consumer of every queue, and the developer's would get nothing. The container and its data are kept.
    """

    def __init__(self, checkout: Path) -> None:
        """`checkout` is the folder with compose.yaml."""
        self._checkout = checkout.resolve()
        name = hashlib.sha256(str(self._checkout).encode()).hexdigest()[:8]
        self._compose_command = ("docker", "compose", "--project-name", f"bridge-run-{name}")

    def start(self) -> str:
        """Start it, wait until it is healthy, and return its URL.

        Raises:
            DevelError: Docker refused; the message has its reason.
        """
        port = AMQP_PORT if is_free(AMQP_PORT) else free_ports(1)[0]
        self._compose(
            "up",
            "--detach",
            "--wait",
            SERVICE,
            RABBITMQ_PORT=str(port),
            seconds_max=UP_SECONDS_MAX,
            progress=True,
        )
        published = self._compose("port", SERVICE, str(AMQP_PORT)).strip().rpartition(":")[2]
        if not published.isdigit():
            raise DevelError(f"compose.yaml does not publish port {AMQP_PORT} of the service {SERVICE}.")
        user, password = (quote(part, safe="") for part in self._credentials())
        return f"amqp://{user}:{password}@{LOOPBACK}:{published}/"

    def stop(self) -> None:
        """Stop the container. Raises DevelError if Docker refuses."""
        self._compose("stop", SERVICE, seconds_max=STOP_SECONDS_MAX)

    def _credentials(self) -> tuple[str, str]:
        """Return user and password as compose.yaml gives them to the image."""
        settings = json.loads(self._compose("config", "--format", "json"))
        environment = settings["services"][SERVICE].get("environment") or {}
        user, password = (environment.get(f"RABBITMQ_DEFAULT_{name}", "guest") for name in ("USER", "PASS"))
        return user, password

    def _compose(
        self,
        *arguments: str,
        seconds_max: float = COMMAND_SECONDS_MAX,
        progress: bool = False,
        **variables: str,
    ) -> str:
        """Return what it printed. With `progress`, what it says meanwhile goes to the terminal."""
        said = f"docker compose {' '.join(arguments)}"
        try:
            done = subprocess.run(
                [*self._compose_command, *arguments],
                cwd=self._checkout,
                env=os.environ | DEVELOPMENT | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if progress else subprocess.PIPE,
                text=True,
                timeout=seconds_max,
                check=False,
                # Ctrl-C in the terminal is for us: it must not end this command half-way.
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as late:
            raise DevelError(f"`{said}` took over {seconds_max:g} s.") from late
        if done.returncode != 0:
            raise DevelError(f"`{said}` failed: {(done.stderr or 'see above').strip()}")
        return done.stdout
