"""A certificate that is renewed while the node runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import serialization

from bridge.ws import tls
from bridge.ws.tls import Tls
from tests.eventually import eventually
from tests.ws.clients import ask, member
from tests.ws.conftest import write_certificate
from tests.ws.node import HOST, Diary, Node, running


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(*paths)
    return paths


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Diary:
    """What is logged about certificates."""
    kept = Diary()
    monkeypatch.setattr(tls, "log", kept)
    return kept


async def served(node: Node) -> str:
    """Return the certificate that a new client is shown, PEM."""
    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(HOST, node.port, ssl=anything)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(shown)


async def test_renewed_certificate(files: tuple[Path, Path], diary: Diary) -> None:
    """New handshakes get the new certificate without a restart; open sockets stay."""
    certificate, _ = files
    with patch.object(tls, "LOOK_SECONDS", 0.01):
        source = Tls(*files)
        watching = asyncio.create_task(source.watch())
        trust = ssl.create_default_context(cafile=str(certificate))
        async with running(tls=source) as node, member(node, ssl=trust) as c:
            former = certificate.read_text()
            assert await served(node) == former

            write_certificate(*files)
            await eventually(lambda: diary.told("ws.certificate_loaded"), "the new one is loaded")

            assert await served(node) == certificate.read_text() != former
            assert (await ask(c, "ping"))["type"] == "pong"
        watching.cancel()
        await asyncio.wait([watching])
    assert len(diary.told("ws.certificate_loaded")) == 1


def break_key(certificate: Path, key: Path) -> None:
    """Have the certificate replaced, and not yet the key."""
    write_certificate(certificate, key.with_name("other.pem"))


def break_text(certificate: Path, key: Path) -> None:
    """Write half a file."""
    certificate.write_text(certificate.read_text()[:100])
    key.touch()


def break_away(certificate: Path, key: Path) -> None:
    """Have a file not be there."""
    certificate.unlink()
    key.touch()


def break_lock(certificate: Path, key: Path) -> None:
    """Lock the key with a password, which nobody will be asked for."""
    certificate.touch()
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )


@pytest.mark.parametrize("damage", [break_key, break_text, break_away, break_lock])
async def test_renewed_certificate_that_is_no_good(
    files: tuple[Path, Path], diary: Diary, damage: object
) -> None:
    """Files that cannot be used are told of once; the former certificate is served until they can."""
    assert callable(damage)
    source = Tls(*files)
    former = files[0].read_text()
    async with running(tls=source) as node:
        damage(*files)
        for _ in range(3):
            source.refresh()

        assert len(diary.told("ws.certificate_unusable")) == 1
        assert await served(node) == former

        write_certificate(*files)
        source.refresh()

        assert await served(node) == files[0].read_text() != former


def test_certificate_that_is_no_good_from_the_start(files: tuple[Path, Path]) -> None:
    """A node does not start without a certificate that works."""
    break_key(*files)

    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        Tls(*files)
