"""AMQP 0-9-1 in raw frames: what the conformance tests speak.

Nothing here is clever on purpose. Bytes go out exactly as a test asks for them, right or wrong, and
what comes back is kept as bytes beside its decoded form, so that a test can compare octets. Every
wait has a deadline (AMQP_TIMEOUT seconds unless told otherwise).

  Wire      one TCP connection: bytes and frames
  Conn      a Wire after (or during) the handshake: methods, channels
  Channel   one channel: call(), send(), expect(), publish(), content
"""

import os
import socket
import struct
import time

TIMEOUT = float(os.environ.get("AMQP_TIMEOUT", 60))
HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER_FRAME, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
BASIC = 60


class WireError(AssertionError):
    """What came was not what the test waited for."""


class Closed(WireError):
    """The peer closed the TCP connection."""


class Timeout(WireError):
    """Nothing came before the deadline."""


# --- values and tables ------------------------------------------------------------------------


class V:
    """A field value with its type octet chosen by the test: V("l", 5)."""

    def __init__(self, tag, value=None):
        self.tag = tag
        self.value = value

    def __eq__(self, other):
        return isinstance(other, V) and (self.tag, self.value) == (other.tag, other.value)

    def __repr__(self):
        return f"V({self.tag!r}, {self.value!r})"


class Raw(bytes):
    """Octets that go on the wire as they are, without a length."""


INTS = {"b": ">b", "B": ">B", "s": ">h", "U": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q",
        "L": ">q", "T": ">Q", "f": ">f", "d": ">d"}


def octets(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def shortstr(value):
    data = octets(value)
    if isinstance(value, Raw):
        return data
    return struct.pack(">B", len(data)) + data


def longstr(value):
    data = octets(value)
    if isinstance(value, Raw):
        return data
    return struct.pack(">I", len(data)) + data


def guess(value):
    """The V that a plain Python value stands for."""
    if isinstance(value, V):
        return value
    if isinstance(value, bool):
        return V("t", value)
    if isinstance(value, int):
        return V("I" if -2**31 <= value < 2**31 else "l", value)
    if isinstance(value, float):
        return V("d", value)
    if isinstance(value, (str, bytes)):
        return V("S", value)
    if value is None:
        return V("V")
    if isinstance(value, dict):
        return V("F", value)
    if isinstance(value, (list, tuple)):
        return V("A", value)
    raise TypeError(type(value))


def encode_value(value):
    v = guess(value)
    tag = v.tag.encode("latin-1")
    if v.tag == "t":
        return tag + struct.pack(">B", int(v.value))
    if v.tag in INTS:
        return tag + struct.pack(INTS[v.tag], v.value)
    if v.tag == "D":
        return tag + struct.pack(">BI", *v.value)
    if v.tag in "Sx":
        return tag + longstr(v.value)
    if v.tag == "F":
        return tag + encode_table(v.value)
    if v.tag == "A":
        return tag + longstr(b"".join(encode_value(x) for x in v.value))
    if v.tag == "V":
        return tag
    return tag + octets(v.value or b"")  # an unknown tag with whatever octets the test gives


def encode_table(table):
    """A table from a dict or a list of (key, value); with Raw the octets are taken as they are."""
    if isinstance(table, Raw):
        return bytes(table)
    items = table.items() if isinstance(table, dict) else (table or ())
    return longstr(b"".join(shortstr(k) + encode_value(v) for k, v in items))


class Table(list):
    """A decoded table: a list of (key, V) in wire order."""

    def get(self, key, default=None):
        for k, v in self:
            if k == key:
                return plain(v)
        return default

    def typed(self, key):
        for k, v in self:
            if k == key:
                return v
        return None

    def keys(self):
        return [k for k, _ in self]


def plain(v):
    """The Python value of a V: text for long strings that are UTF-8."""
    if v.tag == "S":
        try:
            return v.value.decode()
        except UnicodeDecodeError:
            return v.value
    if v.tag == "A":
        return [plain(x) for x in v.value]
    if v.tag == "F":
        return {k: plain(x) for k, x in v.value}
    return v.value


class Reader:
    """Reads values from octets; struct.error or IndexError when they end too early."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise WireError(f"{n} octets wanted at {self.at}, {len(self.data)} there")
        self.at += n
        return self.data[self.at - n:self.at]

    def unpack(self, fmt):
        return struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0]

    def shortstr(self):
        return self.take(self.unpack(">B"))

    def longstr(self):
        return self.take(self.unpack(">I"))

    def value(self):
        tag = self.take(1).decode("latin-1")
        if tag == "t":
            return V(tag, self.unpack(">B") != 0)
        if tag in INTS:
            return V(tag, self.unpack(INTS[tag]))
        if tag == "D":
            return V(tag, (self.unpack(">B"), self.unpack(">I")))
        if tag in "Sx":
            return V(tag, self.longstr())
        if tag == "F":
            return V(tag, self.table())
        if tag == "A":
            inner = Reader(self.longstr())
            items = []
            while inner.at < len(inner.data):
                items.append(inner.value())
            return V(tag, items)
        if tag == "V":
            return V(tag)
        raise WireError(f"unknown field type {tag!r}")

    def table(self):
        inner = Reader(self.longstr())
        got = Table()
        while inner.at < len(inner.data):
            key = inner.shortstr().decode()
            got.append((key, inner.value()))
        return got


# --- methods ----------------------------------------------------------------------------------

# name: (class, method, fields). A field is name:type; o octet, s short, l long, L longlong,
# S shortstr, X longstr, T table, b bit. Adjacent bits share octets from the low bit up.
_METHODS = """
connection.start 10 10 version_major:o version_minor:o server_properties:T mechanisms:X locales:X
connection.start-ok 10 11 client_properties:T mechanism:S response:X locale:S
connection.secure 10 20 challenge:X
connection.secure-ok 10 21 response:X
connection.tune 10 30 channel_max:s frame_max:l heartbeat:s
connection.tune-ok 10 31 channel_max:s frame_max:l heartbeat:s
connection.open 10 40 vhost:S capabilities:S insist:b
connection.open-ok 10 41 known_hosts:S
connection.close 10 50 code:s text:S class_id:s method_id:s
connection.close-ok 10 51
connection.blocked 10 60 reason:S
connection.unblocked 10 61
connection.update-secret 10 70 secret:X reason:S
connection.update-secret-ok 10 71
channel.open 20 10 out_of_band:S
channel.open-ok 20 11 channel_id:X
channel.flow 20 20 active:b
channel.flow-ok 20 21 active:b
channel.close 20 40 code:s text:S class_id:s method_id:s
channel.close-ok 20 41
access.request 30 10 realm:S exclusive:b passive:b active:b write:b read:b
access.request-ok 30 11 ticket:s
exchange.declare 40 10 ticket:s exchange:S type:S passive:b durable:b auto_delete:b internal:b nowait:b arguments:T
exchange.declare-ok 40 11
exchange.delete 40 20 ticket:s exchange:S if_unused:b nowait:b
exchange.delete-ok 40 21
exchange.bind 40 30 ticket:s destination:S source:S routing_key:S nowait:b arguments:T
exchange.bind-ok 40 31
exchange.unbind 40 40 ticket:s destination:S source:S routing_key:S nowait:b arguments:T
exchange.unbind-ok 40 51
queue.declare 50 10 ticket:s queue:S passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:T
queue.declare-ok 50 11 queue:S message_count:l consumer_count:l
queue.bind 50 20 ticket:s queue:S exchange:S routing_key:S nowait:b arguments:T
queue.bind-ok 50 21
queue.purge 50 30 ticket:s queue:S nowait:b
queue.purge-ok 50 31 message_count:l
queue.delete 50 40 ticket:s queue:S if_unused:b if_empty:b nowait:b
queue.delete-ok 50 41 message_count:l
queue.unbind 50 50 ticket:s queue:S exchange:S routing_key:S arguments:T
queue.unbind-ok 50 51
basic.qos 60 10 prefetch_size:l prefetch_count:s global_:b
basic.qos-ok 60 11
basic.consume 60 20 ticket:s queue:S consumer_tag:S no_local:b no_ack:b exclusive:b nowait:b arguments:T
basic.consume-ok 60 21 consumer_tag:S
basic.cancel 60 30 consumer_tag:S nowait:b
basic.cancel-ok 60 31 consumer_tag:S
basic.publish 60 40 ticket:s exchange:S routing_key:S mandatory:b immediate:b
basic.return 60 50 code:s text:S exchange:S routing_key:S
basic.deliver 60 60 consumer_tag:S delivery_tag:L redelivered:b exchange:S routing_key:S
basic.get 60 70 ticket:s queue:S no_ack:b
basic.get-ok 60 71 delivery_tag:L redelivered:b exchange:S routing_key:S message_count:l
basic.get-empty 60 72 cluster_id:S
basic.ack 60 80 delivery_tag:L multiple:b
basic.reject 60 90 delivery_tag:L requeue:b
basic.recover-async 60 100 requeue:b
basic.recover 60 110 requeue:b
basic.recover-ok 60 111
basic.nack 60 120 delivery_tag:L multiple:b requeue:b
confirm.select 85 10 nowait:b
confirm.select-ok 85 11
tx.select 90 10
tx.select-ok 90 11
tx.commit 90 20
tx.commit-ok 90 21
tx.rollback 90 30
tx.rollback-ok 90 31
"""

METHODS, BY_ID = {}, {}
for _line in _METHODS.split("\n"):
    if _line:
        _name, _class, _method, *_fields = _line.split()
        METHODS[_name] = (int(_class), int(_method), [f.split(":") for f in _fields])
        BY_ID[int(_class), int(_method)] = _name

CONTENT = {"basic.return", "basic.deliver", "basic.get-ok"}
DEFAULTS = {"requeue": 1, "insist": 0, "active": 1}


def ids(name):
    """(class id, method id) of a method."""
    return METHODS[name][:2]


def encode_method(name, **fields):
    """The payload of a method frame. Fields not given are zero or empty."""
    class_id, method_id, layout = METHODS[name]
    unknown = set(fields) - {f for f, _ in layout}
    if unknown:
        raise TypeError(f"{name} has no {unknown}")
    out = struct.pack(">HH", class_id, method_id)
    bits, nbits = 0, 0
    for field, kind in layout:
        value = fields.get(field)
        if kind == "b":
            bits |= int(bool(value)) << nbits
            nbits += 1
            continue
        if nbits:
            out += struct.pack(">B", bits)
            bits = nbits = 0
        if kind == "S":
            out += shortstr(value or b"")
        elif kind == "X":
            out += longstr(value or b"")
        elif kind == "T":
            out += encode_table(value)
        else:
            out += struct.pack({"o": ">B", "s": ">H", "l": ">I", "L": ">Q"}[kind], value or 0)
    if nbits:
        out += struct.pack(">B", bits)
    return out


class Method:
    """A decoded method: its name, its fields as attributes, its payload as it came."""

    def __init__(self, payload):
        self.payload = payload
        r = Reader(payload)
        key = (r.unpack(">H"), r.unpack(">H"))
        self.name = BY_ID.get(key, str(key))
        self.header = b""
        self.body = b""
        self.frames = []
        bits, left = 0, 0
        for field, kind in METHODS.get(self.name, (0, 0, []))[2]:
            if kind == "b":
                if not left:
                    bits, left = r.unpack(">B"), 8
                value = bool(bits & 1)
                bits, left = bits >> 1, left - 1
            else:
                left = 0
                if kind == "S":
                    value = r.shortstr().decode(errors="surrogateescape")
                elif kind == "X":
                    value = r.longstr()
                elif kind == "T":
                    value = r.table()
                else:
                    value = r.unpack({"o": ">B", "s": ">H", "l": ">I", "L": ">Q"}[kind])
            setattr(self, field, value)
        if self.name in METHODS and r.at != len(payload):
            raise WireError(f"{len(payload) - r.at} octets too many in {self.name}")

    @property
    def props(self):
        return Props(self.header)

    def __repr__(self):
        fields = {f: getattr(self, f) for f, _ in METHODS.get(self.name, (0, 0, []))[2]}
        return f"<{self.name} {fields} body={self.body[:40]!r}>"


PROPS = [("content_type", 15, "S"), ("content_encoding", 14, "S"), ("headers", 13, "T"),
         ("delivery_mode", 12, "o"), ("priority", 11, "o"), ("correlation_id", 10, "S"),
         ("reply_to", 9, "S"), ("expiration", 8, "S"), ("message_id", 7, "S"),
         ("timestamp", 6, "L"), ("type", 5, "S"), ("user_id", 4, "S"), ("app_id", 3, "S"),
         ("cluster_id", 2, "S")]


def encode_props(props):
    """Property flags and list from a dict; with Raw the octets are taken as they are."""
    if isinstance(props, Raw):
        return bytes(props)
    flags, out = 0, b""
    for name, bit, kind in PROPS:
        if props and name in props:
            flags |= 1 << bit
            value = props[name]
            if kind == "S":
                out += shortstr(value)
            elif kind == "T":
                out += encode_table(value)
            else:
                out += struct.pack(">B" if kind == "o" else ">Q", value)
    return struct.pack(">H", flags) + out


class Props(dict):
    """Decoded properties of a content header payload; raw is the flags and the list as they came."""

    def __init__(self, header):
        super().__init__()
        r = Reader(header)
        self.class_id, self.weight, self.size = r.unpack(">H"), r.unpack(">H"), r.unpack(">Q")
        self.raw = header[12:]
        self.flags = r.unpack(">H")
        for name, bit, kind in PROPS:
            if self.flags & 1 << bit:
                if kind == "S":
                    self[name] = r.shortstr().decode()
                elif kind == "T":
                    self[name] = r.table()
                else:
                    self[name] = r.unpack(">B" if kind == "o" else ">Q")


def encode_header(size, props=None, class_id=BASIC, weight=0):
    return struct.pack(">HHQ", class_id, weight, size) + encode_props(props)


def encode_frame(kind, channel, payload, end=END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + struct.pack(">B", end)


def plain_response(user="guest", password="guest"):
    return f"\0{user}\0{password}".encode()


# --- a connection -----------------------------------------------------------------------------


class Frame:
    """One frame as it came."""

    def __init__(self, kind, channel, payload):
        self.kind, self.channel, self.payload = kind, channel, payload

    def __repr__(self):
        what = Method(self.payload) if self.kind == METHOD else self.payload[:32]
        return f"Frame({self.kind}, {self.channel}, {what})"


class Wire:
    """A TCP connection to the broker."""

    def __init__(self, host, port, timeout=TIMEOUT):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = bytearray()
        self.eof = False

    def send_raw(self, data):
        self.sock.settimeout(TIMEOUT)
        self.sock.sendall(data)

    def send_frame(self, kind, channel, payload, end=END):
        self.send_raw(encode_frame(kind, channel, payload, end))

    def _fill(self, end):
        """Read more; Closed or Timeout otherwise."""
        if self.eof:
            raise Closed("the broker closed the connection")
        left = end - time.monotonic()
        if left <= 0:
            raise Timeout("nothing came in time")
        self.sock.settimeout(left)
        try:
            got = self.sock.recv(262144)
        except socket.timeout:
            raise Timeout("nothing came in time") from None
        except OSError:
            got = b""
        if not got:
            self.eof = True
            raise Closed("the broker closed the connection")
        self.data += got

    def recv_raw(self, n, timeout=TIMEOUT):
        """Exactly n octets."""
        end = time.monotonic() + timeout
        while len(self.data) < n:
            self._fill(end)
        got = bytes(self.data[:n])
        del self.data[:n]
        return got

    def recv_until_closed(self, timeout=TIMEOUT):
        """Everything until the broker closes."""
        end = time.monotonic() + timeout
        try:
            while True:
                self._fill(end)
        except Closed:
            got = bytes(self.data)
            self.data.clear()
            return got

    def recv_frame(self, timeout=TIMEOUT):
        end = time.monotonic() + timeout
        while len(self.data) < 7:
            self._fill(end)
        kind, channel, size = struct.unpack(">BHI", self.data[:7])
        while len(self.data) < 8 + size:
            self._fill(end)
        payload = bytes(self.data[7:7 + size])
        if self.data[7 + size] != END:
            raise WireError("frame without an end octet")
        del self.data[:8 + size]
        return Frame(kind, channel, payload)

    def drop(self):
        """Close TCP without a word."""
        self.sock.close()


ALL_CAPABILITIES = {"authentication_failure_close": True, "consumer_cancel_notify": True,
                    "connection.blocked": True, "basic.nack": True, "publisher_confirms": True,
                    "exchange_exchange_bindings": True}


class Conn(Wire):
    """A connection; by default the handshake is done when the constructor returns.

    stop="start" stops after connection.start came, "tune" after connection.tune, "open" before
    connection.open is sent."""

    def __init__(self, host, port, vhost="/", user="guest", password="guest", capabilities=None,
                 channel_max=None, frame_max=None, heartbeat=0, mechanism="PLAIN", response=None,
                 properties=None, stop=None, timeout=TIMEOUT):
        super().__init__(host, port, timeout)
        self.inbox = {}
        self.heartbeats = 0
        self.partial = {}
        self.send_raw(HEADER)
        self.start = self.expect(0, "connection.start")
        if stop == "start":
            return
        caps = ALL_CAPABILITIES if capabilities is None else capabilities
        table = {"product": "conformance"}
        table.update(properties or {})
        if caps:
            table["capabilities"] = caps
        self.send(0, "connection.start-ok", client_properties=table, mechanism=mechanism,
                  response=plain_response(user, password) if response is None else response,
                  locale="en_US")
        if stop == "login":
            return
        self.tune = self.expect(0, "connection.tune")
        self.frame_max = self.tune.frame_max if frame_max is None else frame_max
        self.channel_max = self.tune.channel_max if channel_max is None else channel_max
        if stop == "tune":
            return
        self.send(0, "connection.tune-ok", channel_max=self.channel_max, frame_max=self.frame_max,
                  heartbeat=heartbeat)
        if stop == "open":
            return
        self.send(0, "connection.open", vhost=vhost)
        if stop == "opened":
            return
        self.open_ok = self.expect(0, "connection.open-ok")

    def send(self, channel, name, **fields):
        self.send_frame(METHOD, channel, encode_method(name, **fields))

    def send_content(self, channel, body=b"", props=None, frame_max=None):
        limit = (frame_max or getattr(self, "frame_max", 0) or 131072) - 8
        out = encode_frame(HEADER_FRAME, channel, encode_header(len(body), props))
        for at in range(0, len(body), limit):
            out += encode_frame(BODY, channel, body[at:at + limit])
        self.send_raw(out)

    def _pump(self, end):
        """Read one frame and file it; content is put together with its method."""
        f = self.recv_frame(max(end - time.monotonic(), 0.0005))
        if f.kind == HEARTBEAT:
            self.heartbeats += 1
            return
        method = self.partial.get(f.channel)
        if f.kind == METHOD:
            if method is not None:
                raise WireError(f"{f} amid the content of {method}")
            method = Method(f.payload)
            if method.name in CONTENT:
                self.partial[f.channel] = method
                return
        elif method is None:
            raise WireError(f"{f} without a method")
        elif f.kind == HEADER_FRAME:
            method.header = f.payload
        else:
            method.body += f.payload
            method.frames.append(len(f.payload))
        if method.name in CONTENT:
            if not method.header or len(method.body) < method.props.size:
                return
            del self.partial[f.channel]
        self.inbox.setdefault(f.channel, []).append(method)

    def read_one(self, timeout=TIMEOUT):
        """Read one frame into the inbox, whatever channel it is for."""
        self._pump(time.monotonic() + timeout)

    def recv(self, channel, timeout=TIMEOUT):
        """The next method on a channel, with its content."""
        end = time.monotonic() + timeout
        while not self.inbox.get(channel):
            self._pump(end)
        return self.inbox[channel].pop(0)

    def expect(self, channel, *names, timeout=TIMEOUT):
        """The next method on a channel, which must be one of names."""
        end = time.monotonic() + timeout
        while True:
            try:
                m = self.recv(channel, max(end - time.monotonic(), 0))
            except (Closed, Timeout) as e:
                other = {c: ms for c, ms in self.inbox.items() if ms}
                raise type(e)(f"{e}: wanted {names} on {channel}; unread: {other}") from None
            if m.name not in names:
                raise WireError(f"wanted {names} on channel {channel}, got {m}")
            return m

    def expect_close(self, code, text=None, method=None, fatal=False):
        """connection.close with this code; its text contains text, its ids are those of method.
        Answers close-ok and sees TCP end, unless the error is fatal: then nothing is read any more
        and TCP ends about three seconds later (test_slow.py waits for that once)."""
        m = self.expect(0, "connection.close")
        check_close(m, code, text, method)
        if fatal:
            return m
        self.send(0, "connection.close-ok")
        self.expect_eof()
        return m

    def expect_eof(self, timeout=TIMEOUT):
        """Nothing but heartbeats until TCP ends."""
        end = time.monotonic() + timeout
        try:
            while True:
                f = self.recv_frame(max(end - time.monotonic(), 0.0005))
                if f.kind != HEARTBEAT:
                    raise WireError(f"wanted the end of the connection, got {f}")
        except Closed:
            return

    def channel(self, number=None):
        """Open a channel."""
        if number is None:
            number = getattr(self, "_next", 0) + 1
            self._next = number
        return Channel(self, number).open()

    def close(self):
        """The polite close. TCP is ours to end: RabbitMQ waits for that."""
        self.send(0, "connection.close", code=200, text="bye")
        self.expect(0, "connection.close-ok")
        self.sock.close()


def check_close(m, code, text=None, method=None):
    """A close method has this code and NAME, contains text, and carries the ids of method."""
    name = CODES.get(code)
    assert m.code == code, f"code {m.code}, wanted {code}: {m.text}"
    assert m.text.startswith(name), m.text
    if text is not None:
        assert text in m.text, f"{m.text!r} lacks {text!r}"
    if method is not None:
        wanted = ids(method) if isinstance(method, str) else method
        assert (m.class_id, m.method_id) == wanted, f"ids {m.class_id},{m.method_id}, wanted {wanted}"


CODES = {200: "", 311: "CONTENT_TOO_LARGE", 320: "CONNECTION_FORCED", 403: "ACCESS_REFUSED",
         404: "NOT_FOUND", 405: "RESOURCE_LOCKED", 406: "PRECONDITION_FAILED", 501: "FRAME_ERROR",
         502: "SYNTAX_ERROR", 503: "COMMAND_INVALID", 504: "CHANNEL_ERROR", 505: "UNEXPECTED_FRAME",
         530: "NOT_ALLOWED", 540: "NOT_IMPLEMENTED", 541: "INTERNAL_ERROR"}


class Channel:
    """One channel of a connection."""

    def __init__(self, conn, number):
        self.conn = conn
        self.number = number
        self.published = 0
        self.settled = 0

    def open(self):
        self.send("channel.open")
        self.expect("channel.open-ok")
        return self

    def close(self):
        self.call("channel.close", code=200, text="bye")

    def send(self, name, **fields):
        self.conn.send(self.number, name, **fields)

    def call(self, name, **fields):
        """Send a method and wait for its -ok."""
        self.send(name, **fields)
        return self.expect(name + "-ok")

    def recv(self, timeout=TIMEOUT):
        return self.conn.recv(self.number, timeout)

    def expect(self, *names, timeout=TIMEOUT):
        return self.conn.expect(self.number, *names, timeout=timeout)

    def expect_close(self, code, text=None, method=None):
        """channel.close as in Conn.expect_close, answered; the number is free again afterwards."""
        m = self.expect("channel.close")
        check_close(m, code, text, method)
        self.send("channel.close-ok")
        return m

    def refused(self, code, text, name, **fields):
        """Send a method that must close this channel, then open the channel again."""
        self.send(name, **fields)
        m = self.expect_close(code, text, name)
        self.open()
        return m

    def barrier(self):
        """Returns when the broker has handled everything sent on this channel. Nothing else may
        have come."""
        self.send("channel.flow", active=True)
        m = self.recv()
        if m.name != "channel.flow-ok":
            raise WireError(f"unexpected {m}")

    # the everyday methods, with defaults that tests want

    def queue(self, name="", **fields):
        return self.call("queue.declare", queue=name, **fields)

    def exchange(self, name, kind="direct", **fields):
        return self.call("exchange.declare", exchange=name, type=kind, **fields)

    def bind(self, queue, exchange, key="", arguments=None):
        return self.call("queue.bind", queue=queue, exchange=exchange, routing_key=key,
                         arguments=arguments)

    def bind_exchange(self, destination, source, key="", arguments=None):
        return self.call("exchange.bind", destination=destination, source=source, routing_key=key,
                         arguments=arguments)

    def consume(self, queue, tag="", **fields):
        """Start a consumer; its tag. Deliveries to older consumers may come before the consume-ok
        and are kept, one to the new consumer may not."""
        self.send("basic.consume", queue=queue, consumer_tag=tag, **fields)
        early = []
        while (m := self.expect("basic.consume-ok", "basic.deliver")).name == "basic.deliver":
            early.append(m)
        self.conn.inbox.setdefault(self.number, [])[:0] = early
        assert m.consumer_tag not in [d.consumer_tag for d in early], "delivery before consume-ok"
        return m.consumer_tag

    def publish(self, exchange, key, body=b"", props=None, mandatory=False, immediate=False):
        self.send("basic.publish", exchange=exchange, routing_key=key, mandatory=mandatory,
                  immediate=immediate)
        self.conn.send_content(self.number, octets(body), props)
        self.published += 1

    def confirm(self):
        self.call("confirm.select")
        self.published = 0
        self.settled = 0
        return self

    def wait_confirms(self, timeout=TIMEOUT):
        """Wait until everything published in confirm mode is acked; a nack is an error."""
        end = time.monotonic() + timeout
        done = set()
        while self.settled + len(done) < self.published:
            m = self.expect("basic.ack", timeout=max(end - time.monotonic(), 0))
            first = self.settled + 1 if m.multiple else m.delivery_tag
            done.update(n for n in range(first, m.delivery_tag + 1) if n > self.settled)
        self.settled = self.published

    def get(self, queue, no_ack=True):
        """basic.get: the get-ok with its content, or None."""
        self.send("basic.get", queue=queue, no_ack=no_ack)
        m = self.expect("basic.get-ok", "basic.get-empty")
        return m if m.name == "basic.get-ok" else None

    def drain(self, queue):
        """All bodies of a queue, in order, taken out."""
        got = []
        while (m := self.get(queue)) is not None:
            got.append(m.body)
        return got

    def deliveries(self, count, timeout=TIMEOUT):
        """The next count deliveries."""
        return [self.expect("basic.deliver", timeout=timeout) for _ in range(count)]

    def count(self, queue):
        """(ready, consumers) by a passive declare."""
        m = self.call("queue.declare", queue=queue, passive=True)
        return m.message_count, m.consumer_count
