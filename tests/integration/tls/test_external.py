"""The user that a client certificate names: EXTERNAL with each ssl_cert_login_* setting."""

import json
import urllib.request

import pika
import pytest

from conftest import openssl

SUBJECT = "/C=DE/O=Tests, Inc./CN=jürgen\\+app"
SAN = ("DNS:app.example,email:app@example.org,DNS:second.example,URI:urn:app:7,IP:192.0.2.33,IP:2001:db8::1,"
       "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:upn@example.org")

LOGINS = [
    # ssl_cert_login_from, ssl_cert_login_san_type, ssl_cert_login_san_index, the user
    ("distinguished_name", "dns", 0, "CN=j\\C3\\BCrgen\\+app,O=Tests\\, Inc.,C=DE"),
    ("common_name", "dns", 0, "jürgen+app"),
    ("subject_alternative_name", "dns", 0, "app.example"),
    ("subject_alternative_name", "dns", 1, "second.example"),
    ("subject_alternative_name", "email", 0, "app@example.org"),
    ("subject_alternative_name", "uri", 0, "urn:app:7"),
    ("subject_alternative_name", "ip", 0, "192.0.2.33"),
    ("subject_alternative_name", "ip", 1, "2001:db8::1"),
    ("subject_alternative_name", "other_name", 0, "upn@example.org"),
]


@pytest.fixture(scope="module")
def client(pki):
    """A certificate with a name of every kind."""
    return pki.ours.issue("named-client", SUBJECT, SAN)


def external(broker, client):
    """A connection that is logged in with a certificate only."""
    return broker.connect(broker.context(client=client), external=True)


def refused(broker, client, reason):
    """The login is refused; only the log says why."""
    with pytest.raises(pika.exceptions.ProbableAuthenticationError) as error:
        external(broker, client)
    assert reason not in str(error.value)
    broker.logged(f"EXTERNAL login refused: {reason}")


def settle(broker, source, kind="dns", index=0):
    """From the next connection on."""
    broker.broker.config.update(ssl_cert_login_from=source, ssl_cert_login_san_type=kind)
    broker.broker.set_config("ssl_cert_login_san_index", index)


@pytest.mark.parametrize("source,kind,index,user", LOGINS, ids=[f"{x[0]}-{x[1]}-{x[2]}" for x in LOGINS])
def test_the_user_named_by_a_certificate(plain_verify, client, ctl, source, kind, index, user):
    settle(plain_verify, source, kind, index)
    refused(plain_verify, client, f"user '{user}' - not found")
    assert ctl(plain_verify, "add_user", user, "pw").returncode == 0
    assert ctl(plain_verify, "set_permissions", user, "", "", "").returncode == 0
    connection = external(plain_verify, client)
    shown = ctl(plain_verify, "-q", "--no-table-headers", "list_connections", "user", "auth_mechanism").stdout
    assert f"{user}\tEXTERNAL\n" in shown.replace("\\\\", "\\")
    connection.close()


@pytest.mark.parametrize("source,kind,index,reason", [
    ("subject_alternative_name", "dns", 7, "no subject alternative name of the wanted type and index"),
    ("subject_alternative_name", "uri", 1, "no subject alternative name of the wanted type and index"),
])
def test_a_name_that_is_not_there(plain_verify, client, source, kind, index, reason):
    settle(plain_verify, source, kind, index)
    refused(plain_verify, client, f"the client's certificate has {reason}")


@pytest.mark.parametrize("subject,reason", [
    ("/O=Tests", "the client's certificate has no common name"),
    ("/CN=guest\nx", "the name in the client's certificate has control characters"),
    ("/CN=guest/CN=other", "user 'guest,other' - not found"),
    ("/CN=nobody/CN=guest", "user 'nobody,guest' - not found"),
], ids=["none", "newline", "guest first", "guest last"])
def test_a_common_name_that_is_not_quite_guest(plain_verify, pki, subject, reason, request):
    settle(plain_verify, "common_name")
    name = request.node.callspec.id.replace(" ", "-")
    refused(plain_verify, pki.ours.issue(name, subject, "DNS:guest"), reason)


SUBJECTS = [
    # as openssl takes it, and as RabbitMQ 3.10.8 shows it and names the user
    ("/C=DE/O=Tests, Inc./CN=jürgen\\+app", "CN=j\\C3\\BCrgen\\+app,O=Tests\\, Inc.,C=DE"),
    ("/CN=a/CN=b", "CN=b,CN=a"),
    ("/CN= lead and trail ", "CN=\\ lead and trail\\ "),
    ("/CN=#hash#", "CN=\\#hash#"),
    ('/CN=q"uo<te>;x\\\\y~', 'CN=q\\"uo\\<te\\>\\;x\\\\y\\7E'),
    ("/DC=org/DC=example/UID=app1/CN=x", "CN=x,UID=app1,DC=example,DC=org"),
    ("/emailAddress=a@b.c/CN=mail", "CN=mail,EMAILADDRESS=a@b.c"),
    ("/serialNumber=77/ST=S/L=L/OU=U/street=St/title=T/GN=G/SN=N/CN=all",
     "CN=all,SN=N,GIVENNAME=G,TITLE=T,2.5.4.9=St,OU=U,L=L,ST=S,SERIALNUMBER=77"),
    ("/O=Org+OU=Unit/CN=multi", "CN=multi,O=Org+OU=Unit"),
]


def test_distinguished_names_are_those_of_rabbitmq(make, pki, tmp_path, ctl):
    """All of them are in the file of authorities, which is listed."""
    bundle = tmp_path / "bundle.pem"
    with bundle.open("wb") as out:
        out.write(pki.ours_ca.read_bytes())
        for i, (subject, _) in enumerate(SUBJECTS):
            one = tmp_path / f"{i}.pem"
            openssl("req", "-x509", "-new", "-utf8", "-multivalue-rdn", "-key", pki.client[1], "-subj", subject, "-days", "2",
                    "-out", one)
            out.write(one.read_bytes())
    with make(ssl_options__cacertfile=bundle) as broker:
        listed = json.loads(ctl(broker, "-q", "--formatter", "json", "certificates", "key", "subject").stdout)
        assert [c["subject"] for c in listed if c["key"] == "ssl_options.cacertfile"][1:] == [dn for _, dn in SUBJECTS]


def test_the_password_of_external_counts_for_nothing(plain_verify, pki):
    """Neither does a name in the response: the certificate speaks."""
    settle(plain_verify, "common_name")
    credentials = pika.credentials.ExternalCredentials()
    credentials.response_for = lambda start: ("EXTERNAL", b"\0guest\0guest")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(pika.ConnectionParameters(
            "127.0.0.1", plain_verify.port, credentials=credentials,
            ssl_options=pika.SSLOptions(plain_verify.context(client=pki.nobody), "127.0.0.1")))
    plain_verify.logged("EXTERNAL login refused: user 'nobody' - not found")


def test_external_alone(make, pki):
    """Where nothing but certificates counts, a password gets nobody in."""
    with make(ssl_options__verify="verify_peer", ssl_cert_login_from="common_name",
              auth_mechanisms__1="EXTERNAL") as broker:
        external(broker, pki.client).close()
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            broker.connect(broker.context(client=pki.client))


@pytest.mark.parametrize("settings,offered", [
    ({}, {"PLAIN", "AMQPLAIN"}),
    ({"auth_mechanisms.1": "PLAIN", "auth_mechanisms.2": "EXTERNAL", "auth_mechanisms.3": "ANONYMOUS"}, {"PLAIN", "EXTERNAL"}),
    ({"auth_mechanisms.1": "EXTERNAL", "auth_mechanisms.2": "ANONYMOUS", "anonymous_login_user": "guest"},
     {"EXTERNAL", "ANONYMOUS"}),
    ({"auth_mechanisms.1": "PLAIN", "auth_mechanisms.2": "EXTERNAL", "listeners.ssl": "none"}, {"PLAIN"}),
])
def test_the_management_api_shows_what_is_offered(make, settings, offered):
    with make(**settings) as broker:
        request = urllib.request.Request(broker.broker.management_url() + "/api/nodes", headers={
            "Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="})
        with urllib.request.urlopen(request, timeout=60) as answer:
            known = json.load(answer)[0]["auth_mechanisms"]
        assert {m["name"] for m in known} == {"PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS"}
        assert {m["name"] for m in known if m["enabled"]} == offered
