"""Certificates of authorities that live as long as a test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Files:
    """A certificate, its key (mode 0600) and the certificate of who signed it; PEM."""

    cert: Path
    key: Path
    ca: Path


@cache
def authority(name: str) -> trustme.CA:
    """Return the authority of that name, the same one in every test."""
    return trustme.CA(organization_name=name)


def issue(directory: Path, host: str = "127.0.0.1", *, by: str = "ours") -> Files:
    """Write a certificate for `host`, signed by the authority `by`, into a new directory."""
    directory.mkdir()
    files = Files(directory / "cert.pem", directory / "key.pem", directory / "ca.pem")
    issued = authority(by).issue_cert(host)
    issued.cert_chain_pems[0].write_to_path(files.cert)
    files.key.touch(0o600)
    issued.private_key_pem.write_to_path(files.key)
    authority(by).cert_pem.write_to_path(files.ca)
    return files
