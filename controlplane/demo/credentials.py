"""The files by which an Envoy of the demo shows who it is and knows whom to believe, as a kubelet keeps them in a pod."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controlplane.bootstrap.xds_cluster import XdsCredentials, secret_files


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Credentials in ``folder``."""

    folder: Path

    @property
    def token(self) -> Path:
        """Return the file with the token."""
        return self.folder / "token"

    @property
    def files(self) -> XdsCredentials:
        """Return where everything is; the control planes are on this machine."""
        roots, folder = str(self.folder / "root-cert.pem"), str(self.folder)
        return XdsCredentials(token=str(self.token), roots=roots, secrets=folder, server_name="localhost")

    def write(self, *, token: str, roots: str) -> None:
        """Replace the files: each by renaming, which is what Envoy watches for."""
        self.folder.mkdir(exist_ok=True)
        for name, content in {"token": token, "root-cert.pem": roots, **secret_files(self.files)}.items():
            draft = self.folder / f".{name}"
            draft.write_text(content)
            draft.rename(self.folder / name)
