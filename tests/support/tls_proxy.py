"""nginx with the configuration of deploy/, on a free port and with a certificate of its own."""

from __future__ import annotations

import datetime
import ipaddress
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.live_server import ROOT, free_port

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
UPSTREAM = ROOT / "deploy" / "upstream.conf"


def program() -> str:
    """The path of nginx; skips the test where there is none."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if path is None:
        pytest.skip("nginx is not installed: scripts/install-proxies installs it")
    return path


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workstation.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "workstation.crt", folder / "workstation.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


class TlsProxy:
    """nginx in front of two servers."""

    def __init__(self, first: int, second: int) -> None:
        self._program = program()
        self.folder = Path(tempfile.mkdtemp(prefix="workstation-nginx-"))
        self.folder.chmod(0o755)
        self.certificate, key = write_certificate(self.folder)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        servers = UPSTREAM.read_text().replace(":3001", f":{first}").replace(":3002", f":{second}")
        (self.folder / "upstream.conf").write_text(servers)
        text = CONFIGURATION.read_text()
        for what, instead in (
            (r"listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            (r"/etc/nginx/workstation\.crt", str(self.certificate)),
            (r"/etc/nginx/workstation\.key", str(key)),
            (r"/run/nginx\.pid", f"{self.folder}/nginx.pid"),
            (r"/var/log/nginx", str(self.folder)),
        ):
            text, n = re.subn(what, instead, text)
            assert n, f"{what} is not in {CONFIGURATION}"
        (self.folder / "nginx.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def _command(self, *words: str) -> list[str]:
        error_log = str(self.folder / "error.log")
        return [self._program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", error_log, *words]

    def trouble(self) -> str | None:
        """What nginx has to say against the configuration."""
        done = subprocess.run(self._command("-t"), capture_output=True, text=True, check=False)
        return None if done.returncode == 0 and "[warn]" not in done.stderr else done.stderr

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(self._command("-g", "daemon off;"), stdin=subprocess.DEVNULL, cwd="/")
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None and time.monotonic() < deadline, self.errors()
            time.sleep(0.02)

    def errors(self) -> str:
        """Its log of errors."""
        log = self.folder / "error.log"
        return log.read_text() if log.exists() else ""

    def remove(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
        shutil.rmtree(self.folder)
