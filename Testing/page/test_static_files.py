"""The page's own files: given to anybody, with what a browser may do; all else needs the token."""

import urllib.error
import urllib.request

import pytest

pytest.importorskip("fastapi")

from context_propagation.page import static_files
from context_propagation.page.api import add_page
from served import served

TOKEN = "t" * 24


@pytest.fixture(scope="module")
def locked(offered, tmp_path_factory):
    """A server that wants a token, with a page that was built."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "tokens").write_text(f"ann {TOKEN}\n")
    (folder / "tokens").chmod(0o600)
    built = folder / "built"
    built.mkdir()
    (built / "index.html").write_text("<title>Context Propagation</title>")
    (built / "page.js").write_text("1")
    (folder / "secret.txt").write_text("secret")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static_files, "BUILT", built)
        with served(offered, add_page, token_file=folder / "tokens") as found:
            yield found


def got(server, path, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=headers)) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_the_page_is_given_without_a_token_and_asks_for_one(locked):
    status, headers, text = got(locked, "/")
    assert (status, text) == (200, "<title>Context Propagation</title>")
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert got(locked, "/page/page.js")[0] == 200
    assert got(locked, "/page/page.js")[1]["content-type"].startswith("text/javascript")
    for path in ("/api/server", "/openapi.json", "/api/sessions/abc/page/image/0"):
        assert got(locked, path)[0] == 401, path
    assert got(locked, "/api/server", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_only_the_pages_own_files_are_given(locked):
    for path in ("/page/../secret.txt", "/page/%2e%2e%2fsecret.txt", "/page/..%2fsecret.txt", "/page/none.js"):
        status, _, text = got(locked, path)
        assert status in (401, 404, 422), path
        assert "secret" not in text.replace("secret.txt", "")


def test_a_page_of_another_site_may_not_show_it(locked):
    status, _, text = got(locked, "/", Host="evil.example.org")
    assert status == 421
    assert "is not called 'evil.example.org'" in text


def test_a_server_without_the_page_says_which_command_builds_it(offered, tmp_path, monkeypatch):
    monkeypatch.setattr(static_files, "BUILT", tmp_path / "nothing")
    with served(offered, add_page) as server:
        status, _, text = got(server, "/")
    assert status == 503
    assert "make page" in text
