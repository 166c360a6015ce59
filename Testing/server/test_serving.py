"""Who may reach the server: this computer alone, or people with tokens over TLS; else it does not start."""

import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ball_images import ball_mask
from context_propagation.core.errors import UserInputError
from context_propagation.remote.connection import Connection
from context_propagation.remote.remote_server import RemoteServer
from context_propagation.server.rates import Rates
from context_propagation.server.serving import ServeRequest, serve, server_of
from served import an_image, announced, asked, served

TOKEN = "t" * 32
OLDER = {"program": "context-propagation", "version": "0.0"}


@pytest.fixture
def tokens(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"ann {TOKEN}\n")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def refused(bundles, **changes):
    pytest.importorskip("fastapi")
    with pytest.raises(UserInputError) as error:
        server_of(ServeRequest(bundles, **changes))
    return str(error.value)


def test_others_need_a_token_and_a_line_that_nobody_reads(bundles, tokens, certificate):
    cert, key = certificate
    assert "give --token-file, or listen on 127.0.0.1" in refused(bundles, host="0.0.0.0")
    assert "give --token-file" in refused(bundles, host="0.0.0.0", certificate=cert, key=key)
    assert "give --certificate and --key, or --behind-proxy" in refused(bundles, host="::", token_file=tokens)
    assert "give --token-file" in refused(bundles, behind_proxy=True)  # the proxy lets others in
    assert "go together" in refused(bundles, certificate=cert)
    assert "missing" in refused(bundles, certificate=cert, key=key.parent / "none.pem")
    for changes in ({"certificate": cert, "key": key}, {"behind_proxy": True}):
        server_of(ServeRequest(bundles, host="0.0.0.0", token_file=tokens, **changes))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ann short\n", "Line 1 of"),
        (f"# ann\n{TOKEN}\n", "Line 2 of"),
        (f"ann {TOKEN}\nann {TOKEN}\n", "Line 2 of"),
        ("\n# nobody\n", "has no line"),
    ],
)
def test_a_token_file_of_another_form_is_refused(bundles, tokens, text, said):
    tokens.write_text(text)
    assert said in refused(bundles, token_file=tokens)


def test_a_token_file_that_others_can_read_or_change_is_refused(bundles, tokens):
    for mode in (0o640, 0o604, 0o620, 0o602):  # who can change it lets themselves in
        tokens.chmod(mode)
        assert "chmod 600" in refused(bundles, token_file=tokens)
    none = tokens.parent / "none"
    said = refused(bundles, token_file=none)
    assert said == f"The token file '{none}' cannot be read (No such file or directory); correct --token-file"


def test_a_folder_without_a_model_is_refused(tmp_path):
    assert "holds no bundle and no model" in refused(tmp_path)


def test_over_tls_its_own_certificate_is_what_the_client_trusts(bundles, tokens, certificate):
    cert, key = certificate
    with served(bundles, token_file=tokens, certificate=cert, key=key) as server:
        url = f"https://localhost:{server.port}"
        assert server.client(url=url, token=TOKEN, certificate=str(cert)).models()
        with pytest.raises(UserInputError, match="certificate is not trusted"):
            server.client(url=url, token=TOKEN).models()
        with pytest.raises(UserInputError, match="token is missing or wrong"):
            server.client(url=url, token="x" * 32, certificate=str(cert)).models()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://gpu.example.org:8765", "not encrypted"),
        ("ftp://127.0.0.1", "is no address of a server"),
        ("https://", "is no address"),
        ("https://host:99999", "is no address"),
        ("gpu", "is no address"),
    ],
)
def test_a_client_sends_nothing_to_an_address_that_is_none_or_open(url, said):
    with pytest.raises(UserInputError, match=said):
        Connection(url)


def test_another_server_and_another_version_are_said(server, monkeypatch):
    client = server.client()
    for answer, said in (
        ({"hello": 1}, "another kind of server"),
        (OLDER, "version 0.0 with protocol None"),
    ):
        monkeypatch.setattr(Connection, "ask", lambda *_, answer=answer: answer)
        with pytest.raises(UserInputError, match=said):
            client.models()


def test_no_telemetry_leaves_whatever_the_environment_says(bundles, monkeypatch):
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with served(bundles) as server:
        assert asked(server.port, "GET", "/api/server")[0] == 200


def test_memory_that_others_take_is_said_and_theirs_stays(bundles, monkeypatch):
    with served(bundles) as server:
        loaded = server.client().load("network")
        first, second = loaded.session(), loaded.session()
        first.set_image(an_image(), ball_mask())
        with monkeypatch.context() as patch:
            where = "context_propagation.core.session.window_extension.available_bytes"
            patch.setattr(where, lambda device: 1000)
            with pytest.raises(UserInputError, match=r"taken by 1 other session\(s\), which stay as they are"):
                second.set_image(an_image(1), ball_mask())
        assert first.slice_uncertainty_mm2(0).any()
        first.close()
        assert len(server.store) <= 1


def test_a_bucket_of_requests_fills_up_with_time():
    now = [0.0]
    rates = Rates(2.0, 3.0, lambda: now[0])
    assert [rates.allows("ann") for _ in range(4)] == [True, True, True, False]
    assert rates.allows("ben")
    now[0] = 0.5
    assert [rates.allows("ann") for _ in range(2)] == [True, False]


def test_a_session_in_another_name_is_not_closed_by_a_new_one(server):
    names = [server.asked("POST", "/api/sessions", announced())[1]["session"] for _ in range(2)]
    assert [server.asked("DELETE", f"/api/sessions/{name}")[0] for name in names] == [204, 204]


def test_the_token_is_in_no_text_that_a_console_or_an_error_would_show(server):
    client = server.client(token=TOKEN)
    assert TOKEN not in repr(client.connection)
    assert TOKEN not in repr(client.load("network"))


class Elsewhere(BaseHTTPRequestHandler):
    """Another web server."""

    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Location", "https://elsewhere.example/")
        self.end_headers()
        self.wfile.write(b"<!doctype html>")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("status", "said"), [(200, "another kind of server"), (301, "answered 301 Moved")])
def test_a_web_server_of_another_kind_is_said(monkeypatch, status, said):
    monkeypatch.setattr(Elsewhere, "status", status)
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(UserInputError, match=said):
            RemoteServer(f"http://127.0.0.1:{other.server_port}", lambda upload: True).models()
        other.shutdown()


AUDITED = """
import logging, os
from context_propagation.files.native_messages import native_messages_hidden
from context_propagation.server.audit import AUDIT, audit_on_stderr
audit_on_stderr()
with native_messages_hidden():
    AUDIT.info("while an image is read")
logging.getLogger("pydicom").warning("Invalid value for VR DA: '1950.01.01'")
"""


def test_the_audit_goes_on_while_an_image_is_read_and_has_nothing_that_pydicom_says_of_headers():
    done = subprocess.run([sys.executable, "-c", AUDITED], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line.endswith("while an image is read")


def test_a_port_that_is_taken_or_none_is_said_in_one_sentence(bundles):
    pytest.importorskip("fastapi")
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UserInputError, match="Cannot listen on '127.0.0.1', port .* in use.*; give another"),
    ):
        serve(ServeRequest(bundles, port=taken.getsockname()[1]))
    with pytest.raises(UserInputError, match="port 99999"):
        serve(ServeRequest(bundles, port=99999))


def test_a_certificate_that_is_none_is_said(bundles, tokens, tmp_path):
    (tmp_path / "cert.pem").write_text("none")
    files = {"certificate": tmp_path / "cert.pem", "key": tmp_path / "cert.pem"}
    assert "are no certificate and its key" in refused(bundles, token_file=tokens, **files)
