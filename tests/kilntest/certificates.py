"""Certificates of a test's own, made with openssl."""

import pathlib
import subprocess


def _openssl(*words):
    subprocess.run(["openssl", *[str(word) for word in words]], check=True, capture_output=True)


class Authority:
    """Signs certificates; `ca` is its own, a PEM file."""

    def __init__(self, folder, name="kiln test authority"):
        self._folder = pathlib.Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.ca, self._key = self._folder / "ca.pem", self._folder / "ca.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.ca)  # fmt: skip

    def issue(self, name, usage="serverAuth", key_type=("ec", "ec_paramgen_curve:prime256v1")):
        """(certificate, key), PEM files, for 127.0.0.1 and localhost."""
        certificate, key, request = (self._folder / f"{name}.{end}" for end in ("cert", "key", "csr"))
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage={usage}\n")
        _openssl("req", "-newkey", key_type[0], "-pkeyopt", key_type[1], "-nodes", "-subj", f"/CN={name}",
                 "-keyout", key, "-out", request)  # fmt: skip
        _openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-days", "2",
                 "-extfile", extensions, "-out", certificate)  # fmt: skip
        return certificate, key
