"""The certificate of the public port, which may be renewed while the node runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

log = structlog.get_logger()

LOOK_SECONDS = 5.0

_State = tuple[tuple[int, int, int], ...]  # Inode, time of modification and size of both files.


class Tls:
    """The TLS context of new handshakes. Connections that are open keep what they began with."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load a certificate chain and its key, both PEM. Raises OSError, of which ssl.SSLError is one."""
        self._certificate = certificate
        self._key = key
        self._seen = self._state()
        self.context = self._load()

    async def watch(self) -> None:
        """Look for new files every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.refresh()

    def refresh(self) -> None:
        """Load the files if they are not those that were seen last; keep what there is if that fails.

        A certificate that is replaced before its key fails once, and is loaded when both are there.
        """
        try:
            state = self._state()
        except OSError:  # As while they are being replaced; loading will say the same.
            state = ()
        if state == self._seen:
            return
        self._seen = state
        try:
            self.context = self._load()
        except OSError as exc:
            log.error("ws.certificate_unusable", reason=str(exc), certificate=str(self._certificate))  # noqa: TRY400 - the reason says it all
        else:
            log.info("ws.certificate_loaded", certificate=str(self._certificate))

    def _state(self) -> _State:
        return tuple(
            (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            for stat in (self._certificate.stat(), self._key.stat())
        )

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # An encrypted key would have OpenSSL ask for its password at the terminal.
        context.load_cert_chain(self._certificate, self._key, password="")
        return context
