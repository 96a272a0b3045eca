"""Definitions as a file: RabbitMQ's in, ours out, at boot. @spec management-api 5.9, 6, operations 4.2

RABBITMQ=1 in the environment also moves the definitions into a real RabbitMQ and back (some minutes)."""

import base64
import copy
import hashlib
import json
import os
import subprocess

import pytest
from conftest import DATA, Admin
from support import broker as support

def lists(definitions):
    """The sections, each as a sorted list of texts."""
    return {k: sorted(json.dumps(i, sort_keys=True) for i in v) for k, v in definitions.items() if isinstance(v, list)}


def load(name):
    return json.loads((DATA / name).read_text())


def test_a_file_of_rabbitmq_comes_out_as_it_went_in(admin, broker, tmp_path):
    done = admin.ctl("import_definitions", str(DATA / "rabbitmq-3.10.8.json"))
    assert (done.returncode, done.stderr) == (0, "")
    want = lists(load("rabbitmq-3.10.8.json"))
    assert lists(admin.definitions()) == want
    # Again: nothing more.
    assert admin.ctl("import_definitions", stdin=(DATA / "rabbitmq-3.10.8.json").read_text()).returncode == 0
    assert lists(admin.definitions()) == want
    # What sluicectl writes, an empty broker takes.
    out = tmp_path / "out.json"
    assert admin.ctl("export_definitions", str(out)).returncode == 0
    assert admin.ctl("export_definitions", "-").stdout == out.read_text()
    with support.new(kind="sluice") as second:
        other = Admin(second)
        assert other.ctl("import_definitions", str(out)).returncode == 0
        assert lists(other.definitions()) == want
    # What is durable survives a kill.
    broker.restart(clean=False)
    durable = copy.deepcopy(load("rabbitmq-3.10.8.json"))
    for section in ("queues", "exchanges"):
        durable[section] = [i for i in durable[section] if i["durable"]]
    durable["bindings"] = [i for i in durable["bindings"] if i["source"] != "soft"]
    assert lists(admin.definitions()) == lists(durable)


def test_the_policies_of_a_file_of_rabbitmq_apply(admin):
    assert admin.ctl("import_definitions", str(DATA / "rabbitmq-3.10.8.json")).returncode == 0
    assert admin.rows("-p", "orders", "list_queues", "name", "policy", "operator_policy") == [
        ["alpha", "ttl", "cap"], ["bravo", "mirror", "cap"], ["transient", "mirror", "cap"]]


def test_the_file_of_rabbitmqctl_with_lists_of_pairs(admin):
    assert admin.ctl("import_definitions", str(DATA / "rabbitmq-3.10.8-ctl.json")).returncode == 0
    assert admin.http("GET", "operator-policies", "/", "o1")[1]["definition"] == {"max-length": 5}


def test_the_users_of_a_file_of_rabbitmq_log_in(admin):
    assert admin.ctl("import_definitions", str(DATA / "rabbitmq-3.10.8.json")).returncode == 0
    assert admin.ctl("authenticate_user", "alice", "secret").returncode == 0
    assert admin.ctl("authenticate_user", "alice", "wrong").returncode == 65
    assert admin.rows("list_users") == [["alice", "[monitoring, policymaker]"], ["bob", "[]"], ["guest", "[administrator]"]]


def test_one_vhost(admin):
    body = load("rabbitmq-3.10.8-vhost.json")
    assert admin.http("POST", "definitions", "nosuch", body=body)[0] == 404
    assert admin.http("POST", "definitions", "/", body=body) == (204, None)
    status, out = admin.http("GET", "definitions", "/")
    assert status == 200
    assert not any("vhost" in item for section in ("queues", "exchanges", "bindings") for item in out[section])
    for section in ("queues", "exchanges", "bindings"):
        assert lists(out)[section] == lists(body)[section]
    assert "users" not in out and "vhosts" not in out
    assert admin.http("GET", "definitions", "nosuch")[0] == 404


def test_a_wrong_file_changes_nothing(admin):
    before = admin.definitions()
    body = load("rabbitmq-3.10.8.json")
    body["bindings"][3]["arguments"] = {"x-match": "sometimes"}
    body["queues"][1]["arguments"] = {"x-queue-type": "nosuch"}
    status, answer = admin.http("POST", "definitions", body=body)
    assert status == 400
    lines = answer["reason"].split("\n")
    assert lines[0].startswith("queues[1] (queue 'bravo'): invalid arg 'x-queue-type' for queue 'bravo' in vhost 'orders'")
    assert lines[1].startswith("bindings[3] (binding of exchange 'heads'): ")
    assert admin.definitions() == before
    assert admin.http("POST", "definitions", raw=b"{\"queues\":")[0] == 400
    assert admin.http("POST", "definitions", raw=b"[]")[0] == 400
    done = admin.ctl("import_definitions", stdin="{nonsense")
    assert done.returncode == 65 and "line 1" in done.stderr
    assert admin.http("GET", "overview")[0] == 200


def test_loaded_at_boot_before_anybody_connects():
    with support.new(kind="sluice", config={"load_definitions": str(DATA / "rabbitmq-3.10.8.json")}) as running:
        admin = Admin(running)
        want = lists(load("rabbitmq-3.10.8.json"))
        assert lists(admin.definitions()) == want
        running.restart()
        assert lists(admin.definitions()) == want


def test_a_directory_in_order_of_names(tmp_path):
    for name, limit in (("20.json", 2), ("10.json", 1)):
        (tmp_path / name).write_text(json.dumps({"policies": [
            {"vhost": "/", "name": "p", "pattern": "", "definition": {"max-length": limit}}]}))
    (tmp_path / "ignored.txt").write_text("nonsense")
    with support.new(kind="sluice", config={"load_definitions": str(tmp_path)}) as running:
        assert Admin(running).http("GET", "policies", "/", "p")[1]["definition"] == {"max-length": 2}


@pytest.mark.parametrize("content, reason", [
    (None, "cannot open"),
    ("{nonsense", "this is not JSON, line 1"),
    ("[]", "must be a JSON object"),
    ('{"queues":[{"name":"q","vhost":"nosuch"}]}', "queues[0] (queue 'q'): its vhost 'nosuch'"),
])
@pytest.mark.parametrize("check", [[], ["--check"]], ids=["start", "check"])
def test_a_wrong_file_ends_the_start_with_78(tmp_path, check, content, reason):
    path = tmp_path / "boot.json"
    if content is not None:
        path.write_text(content)
    words = ["listeners.tcp.1=127.0.0.1:0", f"management.socket.path={tmp_path}/admin.sock", "allow_root=true",
             f"load_definitions={path}"]
    done = subprocess.run([os.environ["SLUICED"], "--data-dir", str(tmp_path / "data"), *check,
                           *(w for word in words for w in ("--set", word))],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78, done.stderr
    assert str(path) in done.stderr
    assert reason in done.stderr
    assert not check or not (tmp_path / "data").exists()


def test_check_of_what_a_real_broker_exported(tmp_path):
    """Users with passwords, policies, every kind of object: tried out as at a start, and nothing is left of it."""
    (tmp_path / "a.json").write_bytes((DATA / "rabbitmq-3.10.8.json").read_bytes())
    # What the second file needs is in the first one.
    (tmp_path / "b.json").write_text('{"vhosts": [{"name": "b"}], "users": [{"name": "b", "password": "b", "tags": []}]}')
    (tmp_path / "c.json").write_text('{"queues": [{"name": "q", "vhost": "b", "arguments": {"x-max-length": 5}}]}')
    done = subprocess.run([os.environ["SLUICED"], "--data-dir", str(tmp_path / "data"), "--check", "--set",
                           f"load_definitions={tmp_path}"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "data").exists()


def salted(password, digest="sha256"):
    salt = b"salt"
    return base64.b64encode(salt + hashlib.new(digest, salt + password.encode()).digest()).decode()


def object_of(admin, section, name):
    return next(i for i in admin.definitions()[section] if i["name"] == name)


@pytest.mark.parametrize("user, want", [
    ({"password_hash": salted("pw")}, "rabbit_password_hashing_sha256"),
    ({"password_hash": salted("pw", "sha512"), "hashing_algorithm": "rabbit_password_hashing_sha512"},
     "rabbit_password_hashing_sha512"),
    ({"password_hash": salted("pw", "md5"), "hashing_algorithm": "rabbit_password_hashing_md5"},
     "rabbit_password_hashing_md5"),
    ({"password": "pw"}, "argon2id"),
])
def test_every_kind_of_password_logs_in(admin, user, want):
    user = {"name": "u", "tags": "a, b", "limits": {"max-connections": 7, "max-channels": -1}, **user}
    assert admin.http("POST", "definitions", body={"rabbit_version": "3.10.8", "users": [user]}) == (204, None)
    out = object_of(admin, "users", "u")
    stored = out.pop("password_hash")
    assert "password" in user or stored == user["password_hash"]
    assert out == {"name": "u", "hashing_algorithm": want, "tags": ["a", "b"],
                   "limits": {"max-connections": 7, "max-channels": -1}}
    assert admin.ctl("authenticate_user", "u", "pw").returncode == 0
    assert admin.ctl("authenticate_user", "u", "other").returncode == 65


def test_a_hash_without_a_name_is_md5_in_old_files(admin):
    users = [{"name": "u", "tags": "", "password_hash": salted("pw", "md5")}]
    assert admin.http("POST", "definitions", body={"rabbit_version": "3.5.7", "users": users}) == (204, None)
    assert admin.ctl("authenticate_user", "u", "pw").returncode == 0


def test_a_user_is_replaced_but_limits_stay(admin):
    for user in ({"password": "pw", "tags": ["a"], "limits": {"max-channels": 3}}, {"tags": ["b"], "limits": []}):
        assert admin.http("POST", "definitions", body={"users": [{"name": "u", **user}]}) == (204, None)
    assert object_of(admin, "users", "u")["limits"] == {"max-channels": 3}
    assert object_of(admin, "users", "u")["tags"] == ["b"]
    # As in RabbitMQ: a user of a file without a password has none afterwards.
    assert object_of(admin, "users", "u")["password_hash"] == ""


def test_a_vhost_says_what_it_is_in_every_spelling(admin):
    said = {"description": "d", "tags": ["x", "y"], "default_queue_type": "quorum"}
    body = {"vhosts": [{"name": "flat", **said}, {"name": "deep", "metadata": said},
                       {"name": "both", "description": "this", "metadata": {"description": "not that"}}]}
    assert admin.http("POST", "definitions", body=body) == (204, None)
    for name in ("flat", "deep"):
        assert object_of(admin, "vhosts", name) == {"name": name, **said, "metadata": said}
        status, vhost = admin.http("GET", "vhosts", name)
        assert status == 200 and said.items() <= vhost.items()
    assert object_of(admin, "vhosts", "both")["description"] == "this"
    # What a file does not say stays, what it says is changed.
    assert admin.http("POST", "definitions", body={"vhosts": [{"name": "flat", "description": "new"}]}) == (204, None)
    assert object_of(admin, "vhosts", "flat") == {"name": "flat", **said, "description": "new",
                                                  "metadata": {**said, "description": "new"}}
    body = {"vhosts": [{"name": "flat", "default_queue_type": "fast"}, {"name": "deep", "metadata": {"tags": [1]}}]}
    status, answer = admin.http("POST", "definitions", body=body)
    assert status == 400 and answer["reason"].split("\n") == [
        "vhosts[0] (vhost 'flat'): default_queue_type 'fast' is not one of classic, quorum, stream",
        "vhosts[1] (vhost 'deep'): 'tags' is [1]; it must be a list of strings"]


def test_the_limit_of_vhosts_holds_for_a_file():
    with support.new(kind="sluice", config={"vhost_max": "2"}) as running:
        admin = Admin(running)
        status, answer = admin.http("POST", "definitions", body={"vhosts": [{"name": "a"}, {"name": "b"}]})
        assert (status, answer["reason"]) == (
            400, "vhosts[1] (vhost 'b'): cannot create it: vhost limit of 2 is reached")
        assert admin.http("POST", "definitions", body={"vhosts": [{"name": "a"}, {"name": "/"}]}) == (204, None)


HASH = salted("pw")
WRONG = [
    ("users", {"tags": ""}, "'name' must be there"),
    ("users", {"name": "", "tags": ""}, "the name of a user may not be empty"),
    ("users", {"name": "u"}, "'tags' must be there"),
    ("users", {"name": "u", "tags": 1}, "'tags' is 1; it must be a list of strings, or one with commas"),
    ("users", {"name": "u", "tags": "", "password": "x", "password_hash": HASH}, "both 'password' and 'password_hash'"),
    ("users", {"name": "u", "tags": "", "password": 1}, "'password' must be a string of 1 to 1024 octets"),
    ("users", {"name": "u", "tags": "", "password": ""}, "'password' must be a string of 1 to 1024 octets"),
    ("users", {"name": "u", "tags": "", "password_hash": "!"}, "'password_hash' is not the base64"),
    ("users", {"name": "u", "tags": "", "password_hash": "AAAA"}, "password_hash has 3 octets"),
    ("users", {"name": "u", "tags": "", "password_hash": HASH, "hashing_algorithm": "rot13"},
     "'hashing_algorithm' is <<\"rot13\">>; it must be argon2id or"),
    ("users", {"name": "u", "tags": "", "limits": {"max-x": 1}}, "'limits' has 'max-x'"),
    ("users", {"name": "u", "tags": "", "limits": {"max-channels": "1"}}, "the limit 'max-channels' is <<\"1\">>"),
    ("users", {"name": "u", "tags": "", "limits": 3}, "'limits' is 3; it must be an object"),
    ("permissions", {"user": "u", "vhost": "/", "configure": "", "write": ""}, "'read' must be there"),
    ("permissions", {"user": "nobody", "vhost": "/", "configure": "", "write": "", "read": ""}, "there is no such user"),
    ("permissions", {"user": "guest", "vhost": "v", "configure": "", "write": "", "read": ""}, "its vhost 'v' is not in"),
    ("permissions", {"user": "guest", "vhost": "/", "configure": "(", "write": "", "read": ""}, "'('"),
    ("topic_permissions", {"user": "guest", "vhost": "/", "exchange": 1, "write": "", "read": ""},
     "'exchange' is 1; it must be a string"),
    ("topic_permissions", {"user": "guest", "vhost": "/", "exchange": "x", "write": "[", "read": ""}, "'['"),
]


@pytest.fixture(scope="module")
def calm():
    """A broker that these tests do not change."""
    with support.new(kind="sluice") as running:
        yield Admin(running)


@pytest.mark.parametrize("section, item, reason", WRONG, ids=[f"{n}-{w[0]}" for n, w in enumerate(WRONG)])
def test_a_wrong_user_or_permission_changes_nothing(calm, section, item, reason):
    before = calm.definitions()
    good = {"users": [{"name": "good", "tags": "", "password": "pw"}], "vhosts": [{"name": "made"}]}
    good[section] = good.get(section, []) + [item]
    status, answer = calm.http("POST", "definitions", body=good)
    assert status == 400
    who = item.get("name", item.get("user", ""))
    assert answer["reason"].startswith(f"{section}[{len(good[section]) - 1}] (user '{who}'): "), answer
    assert reason in answer["reason"]
    assert calm.definitions() == before


def test_an_upload_as_a_form(admin, broker):
    """How the management UI does it, and curl -F."""
    def upload(field, text):
        done = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", "-u", "guest:guest", "-F", f"{field}=@-;filename=d.json",
                               f"{broker.management_url()}/api/definitions"], input=text, capture_output=True, text=True,
                              timeout=60, check=True)
        return done.stdout.rsplit("\n", 1)
    assert upload("file", json.dumps(load("rabbitmq-3.10.8.json"))) == ["", "204"]
    assert lists(admin.definitions()) == lists(load("rabbitmq-3.10.8.json"))
    body, status = upload("other", "{}")
    assert (status, json.loads(body)["reason"]) == ("400", "not_json: multipart/form-data has no field 'file'")


def test_permissions_of_users_and_vhosts_that_come_with_them(admin):
    body = {"users": [{"name": "u", "tags": "", "password": "pw"}], "vhosts": [{"name": "v"}],
            "permissions": [{"user": "u", "vhost": "v", "configure": "^c", "write": "^w", "read": ""}],
            "topic_permissions": [{"user": "u", "vhost": "v", "exchange": "t", "write": "^k", "read": ".*"}]}
    assert admin.http("POST", "definitions", body=body) == (204, None)
    assert admin.rows("list_user_permissions", "u") == [["v", "^c", "^w", ""]]
    assert admin.rows("list_user_topic_permissions", "u") == [["v", "t", "^k", ".*"]]


def test_users_change_one_after_the_other(admin):
    """A change of a user's tags and an import of the user at one moment: neither takes back what the other did."""
    hashes = {}
    for n in range(20):
        hashes[n] = salted(str(n))
        body = {"users": [{"name": "u", "tags": ["x"], "password_hash": hashes[n]}]}
        change = admin.start("set_user_tags", "guest", "administrator", f"t{n}")
        assert admin.http("POST", "definitions", body=body) == (204, None)
        assert change.wait(60) == 0
        assert object_of(admin, "users", "u")["password_hash"] == hashes[n]
        assert object_of(admin, "users", "guest")["tags"] == ["administrator", f"t{n}"]


def test_no_default_user_where_the_file_has_users(tmp_path):
    path = tmp_path / "boot.json"
    body = {"users": [{"name": "admin", "tags": "administrator", "password": "pw"}],
            "permissions": [{"user": "admin", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]}
    path.write_text(json.dumps(body))
    with support.new(kind="sluice", config={"load_definitions": str(path)}) as running:
        admin = Admin(running)
        assert admin.rows("list_users") == [["admin", "[administrator]"]]
        # Deleted users come back with the file, guest does not.
        running.restart()
        assert admin.rows("list_users") == [["admin", "[administrator]"]]
    path.write_text("{}")
    with support.new(kind="sluice", config={"load_definitions": str(path)}) as running:
        admin = Admin(running)
        assert admin.rows("list_users") == [["guest", "[administrator]"]]
        assert admin.ctl("delete_user", "guest").returncode == 0
        running.restart()
        assert admin.rows("list_users") == []
        running.wait_log("there are no users")


def test_files_that_were_loaded_are_skipped_when_asked_to(tmp_path):
    path = tmp_path / "boot.json"

    def write(limit):
        path.write_text(json.dumps({"policies": [
            {"vhost": "/", "name": "p", "pattern": "", "definition": {"max-length": limit}}]}))

    write(1)
    config = {"definitions.local.path": str(path), "definitions.skip_if_unchanged": "true"}
    with support.new(kind="sluice", config=config) as running:
        admin = Admin(running)
        assert admin.http("GET", "policies", "/", "p")[1]["definition"] == {"max-length": 1}
        assert admin.http("DELETE", "policies", "/", "p")[0] == 204
        running.restart()
        assert admin.http("GET", "policies", "/", "p")[0] == 404
        running.wait_log("were loaded before and are skipped")
        write(2)
        running.restart()
        assert admin.http("GET", "policies", "/", "p")[1]["definition"] == {"max-length": 2}
        # Without the key they are loaded at every start.
        assert admin.http("DELETE", "policies", "/", "p")[0] == 204
        running.config["definitions.skip_if_unchanged"] = "false"
        running.restart()
        assert admin.http("GET", "policies", "/", "p")[0] == 200


@pytest.mark.skipif(not os.environ.get("RABBITMQ"), reason="takes a RabbitMQ; RABBITMQ=1 runs it")
def test_to_a_real_rabbitmq_and_back(admin):
    """What Sluice exports RabbitMQ takes whole; what RabbitMQ then exports comes out of another Sluice equal."""
    body = load("rabbitmq-3.10.8.json")
    assert admin.http("POST", "definitions", body=body) == (204, None)
    more = {"users": [{"name": "argon", "tags": ["management"], "password": "pw"},
                      {"name": "nobody", "tags": []},
                      {"name": "md5", "tags": "", "password_hash": salted("pw", "md5"),
                       "hashing_algorithm": "rabbit_password_hashing_md5", "limits": {"max-channels": 5}}],
            "vhosts": [{"name": "told", "description": "what for", "tags": ["a", "b"], "default_queue_type": "quorum"}],
            "permissions": [{"user": "md5", "vhost": "told", "configure": "^a|b$", "write": "", "read": "\u00e9.*"}]}
    assert admin.http("POST", "definitions", body=more) == (204, None)
    ours = admin.definitions()
    with support.new(kind="rabbitmq", plugins=("rabbitmq_management",)) as rabbit:
        def api(method, path, data=None, user="guest:guest"):
            done = subprocess.run(["curl", "-s", "-o", "-", "-w", "\n%{http_code}", "-u", user, "-X", method,
                                   "-H", "content-type: application/json", *(["--data-binary", "@-"] if data else []),
                                   f"{rabbit.management_url()}/api/{path}"], input=data, capture_output=True, text=True,
                                  timeout=60, check=True)
            text, status = done.stdout.rsplit("\n", 1)
            return int(status), text
        assert api("POST", "definitions", json.dumps(ours)) == (204, "")
        theirs = json.loads(api("GET", "definitions")[1])
        told = json.loads(api("GET", "vhosts/told")[1])
        assert {k: told["metadata"][k] for k in ("description", "tags")} == {"description": "what for", "tags": ["a", "b"]}
        assert told["default_queue_type"] == "quorum"
        # Hashes that are RabbitMQ's own let people in; argon2id does not, and comes back as it was.
        assert api("GET", "whoami", user="alice:secret")[0] == 200
        assert api("GET", "whoami", user="argon:pw")[0] == 401
    # RabbitMQ 3.10 names vhosts and nothing more, has a name of its own for the cluster, and lets who imports into new vhosts.
    def plain(definitions):
        out = copy.deepcopy(definitions)
        out["vhosts"] = [{"name": v["name"]} for v in out["vhosts"]]
        out["permissions"] = [p for p in out["permissions"] if (p["user"], p["vhost"]) != ("guest", "told")]
        out["global_parameters"] = [p for p in out["global_parameters"] if p["name"] != "internal_cluster_id"]
        return lists(out)
    assert plain(theirs) == plain(ours)
    with support.new(kind="sluice") as second:
        other = Admin(second)
        assert other.http("POST", "definitions", body=theirs) == (204, None)
        assert lists(other.definitions()) == lists(theirs)
        assert other.ctl("authenticate_user", "argon", "pw").returncode == 0
