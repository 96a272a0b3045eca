#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/table.h"

enum { DEADLINE_MS = 60000 };

fixture fx;

/* ---- an env that stores nothing: what it is asked to keep is durable in the next turn ---- */

typedef struct proposal {
    struct proposal *next;
    uint32_t count;
    slc_env_change *changes;
    void (*done)(slc_err rc, void *done_arg);
    void *done_arg;
} proposal;

static struct {
    uint64_t ticket, durable;
    uint32_t qids;
    proposal *proposals, **proposals_end;
} world;

static uint64_t env_now(void *arg)
{
    (void)arg;
    return slc_clock_now_ns();
}

static uint64_t env_wall(void *arg)
{
    (void)arg;
    return slc_clock_wall_ms();
}

static void env_random(void *arg, void *out, uint32_t bytes)
{
    (void)arg;
    slc_random_bytes(out, bytes);
}

static uint32_t env_queue_new(void *arg, const uint8_t uuid[SLC_UUID_BYTES], uint64_t *ticket)
{
    (void)arg;
    (void)uuid;
    *ticket = ++world.ticket;
    return ++world.qids;
}

static uint64_t env_queue_del(void *arg, uint32_t qid)
{
    (void)arg;
    (void)qid;
    return ++world.ticket;
}

static uint64_t env_append(void *arg, slc_message *message, const slc_env_target *targets,
                           uint32_t count)
{
    (void)arg;
    (void)message;
    (void)targets;
    (void)count;
    return ++world.ticket;
}

static uint64_t env_drop(void *arg, uint32_t qid, uint64_t qseq, int reason, bool *cancelled)
{
    (void)arg;
    (void)qid;
    (void)qseq;
    (void)reason;
    *cancelled = false;
    return ++world.ticket;
}

static void env_atomic(void *arg, bool begin)
{
    (void)arg;
    (void)begin;
}

static void env_delivered(void *arg, uint32_t qid, uint64_t highest_qseq)
{
    (void)arg;
    (void)qid;
    (void)highest_qseq;
}

static slc_slice copy(slc_slice from)
{
    if (from.data == NULL)
        return from;
    return slc_slice_of(slc_strndup((const char *)from.data, from.bytes), from.bytes);
}

static void env_propose(void *arg, const slc_env_change *changes, uint32_t count,
                        void (*done)(slc_err rc, void *done_arg), void *done_arg)
{
    (void)arg;
    proposal *p = slc_alloc_zero(1, sizeof *p);
    p->count = count;
    p->changes = slc_alloc_zero(count, sizeof *p->changes);
    p->done = done;
    p->done_arg = done_arg;
    for (uint32_t i = 0; i < count; i++)
        p->changes[i] =
            (slc_env_change){.key = copy(changes[i].key), .value = copy(changes[i].value)};
    *world.proposals_end = p;
    world.proposals_end = &p->next;
}

static void proposals_commit(void)
{
    while (world.proposals != NULL) {
        proposal *p = world.proposals;
        world.proposals = p->next;
        if (world.proposals == NULL)
            world.proposals_end = &world.proposals;
        for (uint32_t i = 0; i < p->count; i++) {
            slc_error error = {0};
            cr_assert_eq(slc_broker_apply(fx.broker, &p->changes[i], &error), SLC_OK, "%s",
                         error.text);
            slc_free((void *)(uintptr_t)p->changes[i].key.data);
            slc_free((void *)(uintptr_t)p->changes[i].value.data);
        }
        p->done(SLC_OK, p->done_arg);
        slc_free(p->changes);
        slc_free(p);
    }
}

void fixture_turn(void)
{
    proposals_commit();
    if (world.durable != world.ticket) {
        world.durable = world.ticket;
        slc_broker_durable(fx.broker, world.durable);
    }
    (void)slc_broker_turn(fx.broker);
    slc_net_flush_all(fx.net);
    uv_run(&fx.loop, UV_RUN_NOWAIT);
}

static bool guest_only(void *arg, slc_slice user)
{
    (void)arg;
    return slc_slice_is(user, "guest");
}

void fixture_start(const slc_amqp_settings *settings)
{
    static const slc_amqp_settings defaults = {
        .heartbeat_s = 60, .channel_max = 2047, .frame_max = 131072, .max_message_bytes = 100000};
    slc_broker_options options = {
        .env = {.now_ns = env_now,
                .wall_ms = env_wall,
                .random = env_random,
                .store_queue_new = env_queue_new,
                .store_queue_del = env_queue_del,
                .store_append = env_append,
                .store_drop = env_drop,
                .store_atomic = env_atomic,
                .store_delivered = env_delivered,
                .propose = env_propose},
        .cache_bytes = 1ull << 40, // nothing is paged out, so nothing is read back
        .default_vhost = "/",
    };
    memset(&world, 0, sizeof world);
    world.proposals_end = &world.proposals;
    cr_assert_eq(uv_loop_init(&fx.loop), 0);
    fx.net = slc_net_new(&fx.loop);
    fx.auth = slc_auth_new(&(slc_auth_options){
        .loop = &fx.loop, .hashing = SLC_AUTH_SHA256, .loopback_only = guest_only});
    slc_auth_first_user(fx.auth,
                        &(slc_auth_first){.user = "guest",
                                          .password = "guest",
                                          .tags = "administrator",
                                          .vhost = "/",
                                          .configure = ".*",
                                          .write = ".*",
                                          .read = ".*"},
                        NULL, NULL);
    fx.broker = slc_broker_new(&options);
    slc_broker_start(fx.broker);
    for (int i = 0; i < 10; i++)
        fixture_turn();
    fx.server = slc_amqp_new(fx.net, fx.broker, fx.auth, settings != NULL ? settings : &defaults);
}

void fixture_stop(void)
{
    slc_amqp_free(fx.server);
    for (int i = 0; i < 10; i++)
        fixture_turn();
    slc_net_close(fx.net, NULL, NULL);
    slc_auth_free(fx.auth);
    uv_run(&fx.loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&fx.loop), 0);
    slc_broker_free(fx.broker);
}

/* ---- the client ---- */

client *client_new(void)
{
    int fds[2];
    slc_peer peer = {.host = "127.0.0.1",
                     .peer_host = "127.0.0.1",
                     .port = 5672,
                     .peer_port = 50000,
                     .loopback = true};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    slc_amqp_serve(fx.server, fds[0], &peer);
    client *c = slc_alloc_zero(1, sizeof *c);
    c->fd = fds[1];
    return c;
}

void client_free(client *c)
{
    close(c->fd);
    slc_free(c->in);
    slc_free(c);
}

/** Whatever has come goes behind c->in. */
static void client_read(client *c)
{
    if (c->in_cap - c->in_bytes < 65536) {
        c->in_cap = c->in_cap * 2 + 65536 * 2;
        c->in = slc_realloc(c->in, c->in_cap);
    }
    ssize_t n = read(c->fd, c->in + c->in_bytes, c->in_cap - c->in_bytes);
    if (n > 0)
        c->in_bytes += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        c->eof = true;
}

void client_send_bytes(client *c, const void *data, size_t bytes)
{
    size_t sent = 0;
    uint64_t until_ns = slc_clock_now_ns() + DEADLINE_MS * SLC_NS_PER_MS;
    while (sent < bytes && !c->eof) {
        ssize_t n = send(c->fd, (const uint8_t *)data + sent, bytes - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EAGAIN)
            return; // the broker has closed
        fixture_turn();
        client_read(c);
        cr_assert_lt(slc_clock_now_ns(), until_ns, "sending takes too long");
    }
}

void client_send(client *c, uint16_t channel, const slc_amqp_method *method)
{
    uint8_t frame[8192];
    size_t bytes = slc_amqp_method_frame_encode(channel, method, frame, sizeof frame);
    cr_assert_gt(bytes, 0u);
    client_send_bytes(c, frame, bytes);
}

void client_send_frame(client *c, uint8_t type, uint16_t channel, slc_slice payload)
{
    uint8_t *frame = slc_alloc(payload.bytes + SLC_AMQP_FRAME_EXTRA_BYTES);
    slc_amqp_frame_head_encode(frame, type, channel, (uint32_t)payload.bytes);
    if (payload.bytes > 0)
        memcpy(frame + SLC_AMQP_FRAME_HEAD_BYTES, payload.data, payload.bytes);
    frame[SLC_AMQP_FRAME_HEAD_BYTES + payload.bytes] = SLC_AMQP_FRAME_END;
    client_send_bytes(c, frame, payload.bytes + SLC_AMQP_FRAME_EXTRA_BYTES);
    slc_free(frame);
}

void client_send_content(client *c, uint16_t channel, const slc_amqp_props *props, slc_slice body,
                         size_t frame_body_max)
{
    static const slc_amqp_props none = {0};
    uint8_t list[2048];
    uint8_t frame[2200];
    size_t bytes = slc_amqp_props_encode(props != NULL ? props : &none, list, sizeof list);
    cr_assert_gt(bytes, 0u);
    bytes = slc_amqp_header_frame_encode(channel, body.bytes, slc_slice_of(list, bytes), frame,
                                         sizeof frame);
    client_send_bytes(c, frame, bytes);
    while (body.bytes > 0) {
        size_t part = body.bytes < frame_body_max ? body.bytes : frame_body_max;
        client_send_frame(c, SLC_AMQP_FRAME_BODY, channel, slc_slice_of(body.data, part));
        body = slc_slice_of(body.data + part, body.bytes - part);
    }
}

/** A whole frame at the front of what has come? */
static bool client_take(client *c)
{
    slc_amqp_frame frame;
    size_t used = 0;
    slc_error error = {0};
    memmove(c->in, c->in + c->taken, c->in_bytes - c->taken);
    c->in_bytes -= c->taken;
    c->taken = 0;
    slc_err rc = slc_amqp_frame_decode(slc_slice_of(c->in, c->in_bytes), 0, &frame, &used, &error);
    if (rc == SLC_ETRUNCATED)
        return false;
    cr_assert_eq(rc, SLC_OK, "%s", error.text);
    c->taken = used;
    c->type = frame.type;
    c->channel = frame.channel;
    c->payload = frame.payload;
    if (frame.type == SLC_AMQP_FRAME_METHOD)
        cr_assert_eq(slc_amqp_method_decode(frame.payload, &c->method, &error), SLC_OK, "%s",
                     error.text);
    return true;
}

bool client_frame(client *c)
{
    uint64_t until_ns = slc_clock_now_ns() + DEADLINE_MS * SLC_NS_PER_MS;
    for (;;) {
        client_read(c);
        if (client_take(c))
            return true;
        if (c->eof)
            return false;
        fixture_turn();
        cr_assert_lt(slc_clock_now_ns(), until_ns, "no frame came in time");
    }
}

const slc_amqp_method *client_expect(client *c, uint16_t channel, uint32_t id)
{
    cr_assert(client_frame(c), "end of stream, wanted %s", slc_amqp_method_name(id));
    cr_assert_eq(c->type, SLC_AMQP_FRAME_METHOD);
    cr_assert_eq(c->method.id, id, "wanted %s, got %s", slc_amqp_method_name(id),
                 slc_amqp_method_name(c->method.id));
    cr_assert_eq(c->channel, channel);
    return &c->method;
}

bool client_quiet(client *c)
{
    for (int i = 0; i < 10; i++)
        fixture_turn();
    client_read(c);
    return !client_take(c) && !c->eof;
}

void client_expect_eof(client *c)
{
    cr_assert_not(client_frame(c), "a frame came instead of the end: type %d", c->type);
}

client *client_open(uint32_t frame_max)
{
    static const uint8_t login[] = "\0guest\0guest";
    slc_table_builder properties = {0};
    slc_table_open(&properties, "capabilities", SLC_TYPE_TABLE);
    slc_table_put_bool(&properties, "authentication_failure_close", true);
    slc_table_put_bool(&properties, "consumer_cancel_notify", true);
    slc_table_put_bool(&properties, "connection.blocked", true);
    slc_table_close(&properties);
    slc_amqp_method start_ok = {
        .id = SLC_AMQP_CONNECTION_START_OK,
        .connection_start_ok = {.client_properties = slc_table_builder_content(&properties),
                                .mechanism = slc_slice_str("PLAIN"),
                                .response = slc_slice_of(login, sizeof login - 1),
                                .locale = slc_slice_str("en_US")},
    };
    slc_amqp_method tune_ok = {.id = SLC_AMQP_CONNECTION_TUNE_OK,
                               .connection_tune_ok = {.frame_max = frame_max}};
    slc_amqp_method open = {.id = SLC_AMQP_CONNECTION_OPEN,
                            .connection_open = {.virtual_host = slc_slice_str("/")}};
    client *c = client_new();
    client_send_bytes(c, slc_amqp_header_ours, SLC_AMQP_HEADER_BYTES);
    (void)client_expect(c, 0, SLC_AMQP_CONNECTION_START);
    client_send(c, 0, &start_ok);
    (void)client_expect(c, 0, SLC_AMQP_CONNECTION_TUNE);
    client_send(c, 0, &tune_ok);
    client_send(c, 0, &open);
    (void)client_expect(c, 0, SLC_AMQP_CONNECTION_OPEN_OK);
    slc_table_builder_fini(&properties);
    return c;
}

void client_channel(client *c, uint16_t channel)
{
    slc_amqp_method open = {.id = SLC_AMQP_CHANNEL_OPEN};
    client_send(c, channel, &open);
    (void)client_expect(c, channel, SLC_AMQP_CHANNEL_OPEN_OK);
}

void client_queue(client *c, uint16_t channel, const char *name)
{
    slc_amqp_method declare = {.id = SLC_AMQP_QUEUE_DECLARE,
                               .queue_declare = {.queue = slc_slice_str(name)}};
    client_send(c, channel, &declare);
    (void)client_expect(c, channel, SLC_AMQP_QUEUE_DECLARE_OK);
}

void client_publish(client *c, uint16_t channel, const char *queue, const slc_amqp_props *props,
                    slc_slice body)
{
    slc_amqp_method publish = {
        .id = SLC_AMQP_BASIC_PUBLISH,
        .basic_publish = {.routing_key = slc_slice_str(queue)},
    };
    client_send(c, channel, &publish);
    client_send_content(c, channel, props, body, 131064);
}

uint8_t *client_get(client *c, uint16_t channel, const char *queue, size_t frame_body_max,
                    size_t *bytes)
{
    slc_amqp_method get = {
        .id = SLC_AMQP_BASIC_GET,
        .basic_get = {.queue = slc_slice_str(queue), .no_ack = true},
    };
    client_send(c, channel, &get);
    cr_assert(client_frame(c));
    if (c->method.id == SLC_AMQP_BASIC_GET_EMPTY)
        return NULL;
    cr_assert_eq(c->method.id, SLC_AMQP_BASIC_GET_OK, "got %s", slc_amqp_method_name(c->method.id));
    cr_assert(client_frame(c));
    cr_assert_eq(c->type, SLC_AMQP_FRAME_HEADER);
    *bytes = slc_get_u64be(c->payload.data + 4);
    uint8_t *body = slc_alloc(*bytes + 1);
    for (size_t got = 0; got < *bytes; got += c->payload.bytes) {
        cr_assert(client_frame(c));
        cr_assert_eq(c->type, SLC_AMQP_FRAME_BODY);
        size_t want = *bytes - got < frame_body_max ? *bytes - got : frame_body_max;
        cr_assert_eq(c->payload.bytes, want, "frames are as large as they may be");
        memcpy(body + got, c->payload.data, c->payload.bytes);
    }
    return body;
}
