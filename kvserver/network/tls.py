"""The TLS context that is made of the options tls-* and of the files that they name.

A file that can't be used is named in one line. Nothing here talks to a client, and no passphrase is ever printed.
"""

from __future__ import annotations

import os
import ssl

from kvserver.errors import TLSError
from kvserver.options.config import Config

_VERIFY = {"yes": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "no": ssl.CERT_NONE}
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def make_context(config: Config) -> ssl.SSLContext:
    """A context for a server. TLSError if an option is missing or a file can't be used."""
    for name, path in (("tls-cert-file", config.tls_cert_file), ("tls-key-file", config.tls_key_file)):
        if not path:
            raise TLSError(f"TLS needs {name}")
        _check_readable(name, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # To renegotiate again and again costs the server far more than the client.
    context.options |= ssl.OP_NO_RENEGOTIATION
    versions = [_VERSIONS[name] for name in config.tls_protocols or tuple(_VERSIONS)]
    context.minimum_version, context.maximum_version = min(versions), max(versions)
    try:
        # The password is given even if it is empty: without one, OpenSSL would ask for it on the terminal.
        context.load_cert_chain(config.tls_cert_file, config.tls_key_file, config.tls_key_file_pass)
    except (ssl.SSLError, ValueError) as error:
        raise TLSError(
            f"tls-cert-file {config.tls_cert_file} and tls-key-file {config.tls_key_file} can't be used: {_reason(error)}"
        ) from None
    if config.tls_ciphers:
        try:
            context.set_ciphers(config.tls_ciphers)
        except ssl.SSLError:
            raise TLSError(f"tls-ciphers {config.tls_ciphers!r} names no cipher that can be used") from None
    context.verify_mode = _VERIFY[config.tls_auth_clients]
    if config.tls_auth_clients != "no":
        _load_authorities(context, config)
    return context


def make_client_context(config: Config) -> ssl.SSLContext:
    """A context for the link to a source. TLSError if an option is missing or a file can't be used.

    As with Redis, the source's certificate must be signed by an authority that is trusted, whatever name it is for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    versions = [_VERSIONS[name] for name in config.tls_protocols or tuple(_VERSIONS)]
    context.minimum_version, context.maximum_version = min(versions), max(versions)
    certificate, key, password = config.tls_client_cert_file, config.tls_client_key_file, config.tls_client_key_file_pass
    if not certificate:
        certificate, key, password = config.tls_cert_file, config.tls_key_file, config.tls_key_file_pass
    if certificate:
        _check_readable("tls-client-cert-file", certificate)
        try:
            context.load_cert_chain(certificate, key or None, password)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise TLSError(f"the certificate {certificate} and its key can't be used: {_reason(error)}") from None
    if not (config.tls_ca_cert_file or config.tls_ca_cert_dir):
        raise TLSError("tls-replication needs tls-ca-cert-file or tls-ca-cert-dir, which say whom to trust")
    _load_authorities(context, config)
    return context


def _load_authorities(context: ssl.SSLContext, config: Config) -> None:
    """Load the certificates by which the certificates of clients must be signed."""
    file, folder = config.tls_ca_cert_file, config.tls_ca_cert_dir
    if not file and not folder:
        raise TLSError("tls-auth-clients needs tls-ca-cert-file or tls-ca-cert-dir; or set it to no")
    if file:
        _check_readable("tls-ca-cert-file", file)
    if folder and not os.path.isdir(folder):
        raise TLSError(f"tls-ca-cert-dir {folder} is no directory")
    try:
        context.load_verify_locations(file or None, folder or None)
    except ssl.SSLError as error:
        raise TLSError(f"tls-ca-cert-file {file} can't be used: {_reason(error)}") from None


def _check_readable(name: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise TLSError(f"{name} {path} can't be read: {error.strerror or error}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        texts = {"KEY_VALUES_MISMATCH": "they don't belong together", "NO_CERTIFICATE_OR_CRL_FOUND": "it has no certificate"}
        return texts.get(error.reason or "", "not PEM, or tls-key-file-pass is wrong")
    # The passphrase is too long for OpenSSL.
    return str(error)
