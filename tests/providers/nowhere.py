"""Addresses at which nobody is who could be talked to."""

import asyncio
import ipaddress
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NO_NAME = "https://stand-in.invalid"
"""A name that no resolver knows."""
NO_PORT = "http://127.0.0.1:9"
HOST = "127.0.0.1"
NO_TLS = b"220 mail.example.com ESMTP\r\n"


@asynccontextmanager
async def without_tls() -> AsyncIterator[str]:
    """A port that answers https with something else."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(NO_TLS)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(greet, HOST, 0) as server:
        yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def untrusted() -> AsyncIterator[str]:
    """A port that speaks TLS, by a certificate that nobody but itself vouches for."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(leave, HOST, 0, ssl=_own_word()) as server:
        yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}"


@cache
def _own_word() -> ssl.SSLContext:
    """A certificate that is right in all but who signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
    now, day = datetime.now(UTC), timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    certificate = made.add_extension(place, critical=False).sign(key, SHA256())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.write(certificate.public_bytes(Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name)
    return context


@asynccontextmanager
async def mute() -> AsyncIterator[str]:
    """A port that takes connections and says nothing, for as long as the client stays."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, HOST, 0) as server:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
