"""The addresses under which this machine may be reached by others."""

from __future__ import annotations

import contextlib
import importlib
import socket
import struct

__all__ = ["own_addresses"]

_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface


def own_addresses() -> list[str]:
    """IPv4 addresses of this machine's interfaces, or what its name resolves to; not loopback."""
    found: dict[str, None] = {}
    with contextlib.suppress(ImportError, OSError), socket.socket() as any_socket:
        fcntl = importlib.import_module("fcntl")
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                asked = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, asked)
                found[socket.inet_ntoa(answer[20:24])] = None
    if not found:
        with contextlib.suppress(OSError):
            host = socket.gethostname()
            found = dict.fromkeys(str(i[4][0]) for i in socket.getaddrinfo(host, 0, socket.AF_INET))
    return [address for address in found if not address.startswith("127.")]
