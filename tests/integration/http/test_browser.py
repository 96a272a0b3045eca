"""What browsers and proxies need: sessions, other origins, headers, a prefix of the paths, an access log.

@spec management-api 1.1 - 1.3
"""

import http.client
import re

import pytest
from conftest import TIMEOUT, Answer, Api
from support import broker as support

PREFIX = "/a/broker"
CONFIG = {
    "management.path_prefix": PREFIX, "management.cors.allow_origins.1": "https://one.example",
    "management.cors.allow_origins.2": "https://two.example", "management.cors.max_age": "77",
    "management.hsts.policy": "max-age=5", "management.csp.policy": "default-src 'self'",
    "management.headers.xss_protection": "1; mode=block", "management.headers.frame_options": "SAMEORIGIN",
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    with support.new(kind="sluice", config={**CONFIG, "management.http_log_dir": str(logs)}) as running:
        running.logs = logs
        yield running


def ask(broker, method, path, body=None, prefix=PREFIX, **headers):
    host, port = broker.addresses["http"].rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
    connection.request(method, prefix + path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    answer = Answer(response, response.read())
    connection.close()
    return answer


def login(broker, user="guest", password="guest", prefix=PREFIX):
    return ask(broker, "POST", "/api/login", f"username={user}&password={password}", prefix)


def cookie_of(answer):
    return answer.headers["Set-Cookie"].split(";")[0]


def test_session(broker):
    answer = login(broker)
    assert (answer.status, answer.json) == (200, "ok")
    attributes = answer.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    cookie = cookie_of(answer)
    assert "guest" not in cookie and cookie != cookie_of(login(broker))

    session = ask(broker, "GET", "/api/sluice/session", Cookie=f"other=1; {cookie}")
    assert session.status == 200 and session.json["name"] == "guest" and session.json["tags"] == ["administrator"]
    assert ask(broker, "GET", "/api/whoami", Cookie=cookie).json["name"] == "guest"

    # A page of another site can make a browser send the cookie, but does not know the other half.
    assert ask(broker, "PUT", "/api/queues/%2F/q", "{}", Cookie=cookie).status == 403
    assert ask(broker, "PUT", "/api/queues/%2F/q", "{}", Cookie=cookie, X_Sluice_CSRF="x").status == 403
    assert ask(broker, "PUT", "/api/queues/%2F/q", "{}", Cookie=cookie, X_Sluice_CSRF=session.json["csrf"]).status == 201

    out = ask(broker, "DELETE", "/api/login", Cookie=cookie)
    assert out.status == 204 and "Max-Age=0" in out.headers["Set-Cookie"]
    assert ask(broker, "GET", "/api/whoami", Cookie=cookie).status == 401


def test_login_as_json(broker):
    assert ask(broker, "POST", "/api/login", '{"username": "guest", "password": "guest"}').status == 200


def test_form_is_decoded(broker):
    admin = Prefixed(broker)
    assert admin.put("/users/a%20b", {"password": "p&=+%", "tags": "management"}).status in (201, 204)
    answer = login(broker, "a+b", "p%26%3D%2b%25")
    assert answer.status == 200 and ask(broker, "GET", "/api/whoami", Cookie=cookie_of(answer)).json["name"] == "a b"
    admin.close()


@pytest.mark.parametrize("body", ["", "username=guest", "username=guest&password=wrong", "username=guest&password=guest%00x", "{",
                                  '{"username": "guest", "password": "guest\\u0000x"}', "x" * 5000])
def test_no_session(broker, body):
    answer = ask(broker, "POST", "/api/login", body)
    assert (answer.status, answer.json["error"]) == (401, "not_authorized")
    assert "Set-Cookie" not in answer.headers


def test_session_ends_with_its_user(broker):
    admin = Prefixed(broker)
    for change in (lambda: admin.put("/users/web", {"password": "q", "tags": "management"}), lambda: admin.delete("/users/web")):
        assert admin.put("/users/web", {"password": "p", "tags": "management"}).status in (201, 204)
        cookie = cookie_of(login(broker, "web", "p"))
        assert ask(broker, "GET", "/api/whoami", Cookie=cookie).status == 200
        assert change().status == 204
        assert ask(broker, "GET", "/api/whoami", Cookie=cookie).status == 401
    # The tags that it has now count.
    assert admin.put("/users/web", {"password": "p", "tags": "administrator"}).status == 201
    cookie = cookie_of(login(broker, "web", "p"))
    assert ask(broker, "GET", "/api/users", Cookie=cookie).status == 200
    hash_now = admin.get("/users/web")
    assert admin.put("/users/web", {"password_hash": hash_now["password_hash"], "hashing_algorithm": hash_now["hashing_algorithm"],
                                    "tags": ""}).status == 204
    assert ask(broker, "GET", "/api/users", Cookie=cookie).json["reason"] == "Not management user"
    assert login(broker, "web", "p").status == 401  # nothing to do in here
    admin.close()


class Prefixed(Api):
    def ask(self, method, path, body=None):
        self.connection.close()  # the broker's idle time-out is none of this test
        return super().ask(method, path, body)

    def __init__(self, broker):
        super().__init__(broker)
        request = self.connection.request
        self.connection.request = lambda method, path, *more: request(method, PREFIX + path, *more)


def test_prefix(broker):
    assert ask(broker, "GET", "/api/auth").status == 200
    assert ask(broker, "GET", "/api/auth", prefix="").status == 401  # who is nobody learns nothing
    for prefix in ("", "/a", "/a/brokerx", "/A/broker"):
        host, port = broker.addresses["http"].rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
        connection.request("GET", prefix + "/api/whoami", headers={"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="})
        assert connection.getresponse().status == 404, prefix
        connection.close()


def test_headers(broker):
    for path in ("/api/auth", "/api/whoami", "/api/nothing"):
        headers = ask(broker, "GET", path).headers
        assert headers["Content-Security-Policy"] == "default-src 'self'"
        assert headers["Strict-Transport-Security"] == "max-age=5"
        assert headers["X-XSS-Protection"] == "1; mode=block"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-cache"


def test_other_origins(broker):
    for origin in ("https://one.example", "https://two.example"):
        headers = ask(broker, "GET", "/api/auth", Origin=origin).headers
        assert headers["Access-Control-Allow-Origin"] == origin
        assert headers["Access-Control-Allow-Credentials"] == "true" and "Origin" in headers["Vary"]
    for origin in ("https://three.example", "https://one.example.org", "null"):
        assert "Access-Control-Allow-Origin" not in ask(broker, "GET", "/api/auth", Origin=origin).headers
    # What a browser asks before it sends a password.
    answer = ask(broker, "OPTIONS", "/api/queues/%2F/q", Origin="https://one.example", Access_Control_Request_Headers="authorization")
    assert (answer.status, answer.text) == (200, b"")
    assert answer.headers["Access-Control-Allow-Methods"] == answer.headers["Allow"] == "GET, HEAD, PUT, DELETE, OPTIONS"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization" and answer.headers["Access-Control-Max-Age"] == "77"


def test_no_window_of_the_browsers_own(broker):
    assert "WWW-Authenticate" in ask(broker, "GET", "/api/whoami").headers
    answer = ask(broker, "GET", "/api/whoami", X_Requested_With="XMLHttpRequest")
    assert answer.status == 401 and "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("accept, status", [("*/*", 200), ("application/json", 200), ("Application/JSON;q=0.5", 200), ("", 200),
                                            ("text/html, application/*;q=0.1", 200), ("application/bert, application/json;q=0.1", 200),
                                            ("text/html", 406), ("application/json;q=0", 406), ("application/jsonx", 406)])
def test_accept(broker, accept, status):
    assert ask(broker, "GET", "/api/auth", Accept=accept).status == status


def test_access_log(broker):
    ask(broker, "GET", "/api/whoami?secret=1", User_Agent='a "quoted" name\\', Referer="https://one.example/x")
    ask(broker, "GET", "/api/auth/hash_password/secret")
    admin = Prefixed(broker)
    admin.get("/whoami")
    admin.close()
    files = list(broker.logs.iterdir())
    assert all(re.fullmatch(r"access\.log\.\d{4}_\d\d_\d\d_\d\d", f.name) for f in files)
    text = "".join(f.read_text() for f in sorted(files))
    time = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
    assert re.search(rf'^127\.0\.0\.1 - - {time} "GET {PREFIX}/api/whoami HTTP/1\.1" 401 0 "https://one\.example/x" '
                     r'"a \\x22quoted\\x22 name\\x5c"$', text, re.M)
    assert re.search(rf'^127\.0\.0\.1 - guest {time} "GET {PREFIX}/api/whoami HTTP/1\.1" 200 \d+ "-" "-"$', text, re.M)
    assert "secret" not in text


def test_without_basic_authentication():
    with support.new(kind="sluice", config={"management.disable_basic_auth": "true"}) as broker:
        assert ask(broker, "GET", "/api/whoami", prefix="", Authorization="Basic Z3Vlc3Q6Z3Vlc3Q=").status == 401
        answer = login(broker, prefix="")
        assert ask(broker, "GET", "/api/whoami", prefix="", Cookie=cookie_of(answer)).json["name"] == "guest"


@pytest.mark.parametrize("key, value", [
    ("management.path_prefix", "broker"), ("management.path_prefix", "/broker/"), ("management.path_prefix", "/a%20b"),
    ("management.http_log_dir", "/nonexistent/logs"), ("management.csp.policy", "ä"), ("management.login_session_timeout", "0"),
])
def test_bad_settings(key, value):
    with pytest.raises(support.BrokerError, match=key.replace(".", r"\.")):
        with support.new(kind="sluice", config={key: value}):
            pass
