"""Certificates for the TLS tests, made by the program openssl, which needs no Python package and which Debian has.

An authority signs the certificates of servers and of a client; another authority signs that of a stranger.
"""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from helpers.servers import need_program

PASSPHRASE = "a secret of the tests"
EXTENSIONS = "[extensions]\nsubjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n"


class Certificates:
    """A folder of certificates and keys, such as `path("server.crt")` and `path("server.key")`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "extensions.cnf").write_text(EXTENSIONS)
        for authority in ("authority", "other-authority"):
            self._openssl("req", "-x509", "-days", "2", "-subj", f"/CN={authority}", *self._new_key(authority),
                          "-out", self.path(f"{authority}.crt"))  # fmt: skip
        for name in ("server", "second-server", "client"):
            self._sign(name, "authority")
        self._sign("stranger", "other-authority")
        self._openssl("ec", "-in", self.path("server.key"), "-aes128", "-passout", f"pass:{PASSPHRASE}",
                      "-out", self.path("locked-server.key"))  # fmt: skip

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def options(self, name: str = "server") -> tuple[str, ...]:
        """The options for redis-server or kvserver to use the certificate of this name."""
        return ("--tls-cert-file", self.path(f"{name}.crt"), "--tls-key-file", self.path(f"{name}.key"),
                "--tls-ca-cert-file", self.path("authority.crt"))  # fmt: skip

    def client_context(self, name: str | None = "client") -> ssl.SSLContext:
        """A client's context that trusts the authority, with the certificate of this name or none."""
        context = ssl.create_default_context(cafile=self.path("authority.crt"))
        if name:
            context.load_cert_chain(self.path(f"{name}.crt"), self.path(f"{name}.key"))
        return context

    def _sign(self, name: str, authority: str) -> None:
        self._openssl("req", "-new", "-subj", f"/CN={name}", *self._new_key(name), "-out", self.path(f"{name}.csr"))
        self._openssl("x509", "-req", "-days", "2", "-in", self.path(f"{name}.csr"), "-CAcreateserial",
                      "-CA", self.path(f"{authority}.crt"), "-CAkey", self.path(f"{authority}.key"),
                      "-extfile", self.path("extensions.cnf"), "-extensions", "extensions",
                      "-out", self.path(f"{name}.crt"))  # fmt: skip

    def _new_key(self, name: str) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.path(f"{name}.key"))

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run([need_program("openssl"), *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"openssl {arguments}:\n{done.stderr}"
