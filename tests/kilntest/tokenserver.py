"""A token server as registries send their clients to (Docker's token authentication): signs real JSON web tokens."""

import base64
import dataclasses
import http.server
import json
import ssl
import subprocess
import time
import urllib.parse

from kilntest.certificates import Authority
from kilntest.localserver import LocalServer

SERVICE = "kiln test registry"
ISSUER = "kiln test tokens"
REFRESH_TOKEN = "an identity token"


def _encoded(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclasses.dataclass
class Asked:
    """One request for a token."""

    method: str
    account: str  # "" if anonymous, None if refused
    scopes: list
    agent: str


class TokenServer(LocalServer):
    """`with TokenServer(folder) as tokens:`. "user" with password "secret" may do everything, anybody may pull what is
    in `public`. `faults`: (status, headers) of the next answers."""

    def __init__(self, folder):
        self._authority = Authority(folder / "signing", "kiln test tokens")
        self._certificate, self._key = self._authority.issue("tokens", key_type=("rsa", "rsa_keygen_bits:2048"))
        self.public = set()
        self.asked = []
        self.faults = []
        self.methods = {"GET", "POST"}

    def registry_config(self):
        """For a Registry whose clients are sent here."""
        return (
            f"auth: {{token: {{realm: {self.realm}, service: {SERVICE}, issuer: {ISSUER}, "
            f"rootcertbundle: {self._authority.ca}}}}}"
        )

    @property
    def realm(self):
        return f"http://{self.host}/token"

    def handler(self):
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                server.answer(self, server.account_of(self.headers), query.get("scope", []))

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                first = {key: values[0] for key, values in form.items()}
                good = (first.get("grant_type"), first.get("username"), first.get("password")) == (
                    "password",
                    "user",
                    "secret",
                ) or (first.get("grant_type"), first.get("refresh_token")) == ("refresh_token", REFRESH_TOKEN)
                server.answer(self, "user" if good else None, first.get("scope", "").split())

        return Handler

    @staticmethod
    def account_of(headers):
        given = headers.get("Authorization")
        if given is None:
            return ""
        return "user" if given == "Basic " + base64.b64encode(b"user:secret").decode() else None

    def answer(self, handler, account, scopes):
        self.asked.append(Asked(handler.command, account, scopes, handler.headers.get("User-Agent", "")))
        if self.faults:
            status, headers = self.faults.pop(0)
            body = b"{}"
        elif handler.command not in self.methods:
            status, headers, body = 405, {}, b""
        elif account is None:
            status, headers, body = 401, {}, b'{"details": "incorrect username or password"}'
        else:
            status, headers, body = 200, {}, json.dumps(self.token(account, scopes)).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def token(self, account, scopes):
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            wanted = set(actions.split(","))
            granted = wanted if account else wanted & ({"pull"} if name in self.public else set())
            access.append({"type": kind, "name": name, "actions": sorted(granted)})
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": account, "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + 300,
                  "jti": str(len(self.asked)), "access": access}  # fmt: skip
        der = base64.b64encode(ssl.PEM_cert_to_DER_cert(self._certificate.read_text())).decode()
        text = f"{_encoded({'typ': 'JWT', 'alg': 'RS256', 'x5c': [der]})}.{_encoded(claims)}"
        command = ["openssl", "dgst", "-sha256", "-sign", self._key]
        signature = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
        token = f"{text}.{_encoded(signature)}"
        return {"token": token, "access_token": token, "expires_in": 300}
