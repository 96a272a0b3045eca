#include "testbed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/table.h"

typedef struct proposal {
    struct proposal *next;
    slc_env_change *changes;
    uint32_t count;
    void (*done)(slc_err rc, void *arg);
    void *arg;
} proposal;

/* ---- the world of core ---- */

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

static void env_wake(void *arg)
{
    testbed *bed = arg;
    uv_timer_start(&bed->turn, bed->turn.timer_cb, 0, 0);
}

static uint32_t env_queue_new(void *arg, const uint8_t uuid[SLC_UUID_BYTES], uint64_t *ticket)
{
    static uint32_t qid;
    (void)arg;
    (void)uuid;
    *ticket = 0;
    return ++qid;
}

static uint64_t env_queue_del(void *arg, uint32_t qid)
{
    (void)arg;
    (void)qid;
    return 0;
}

static void env_atomic(void *arg, bool begin)
{
    (void)arg;
    (void)begin;
}

static void env_delivered(void *arg, uint32_t qid, uint64_t highest)
{
    (void)arg;
    (void)qid;
    (void)highest;
}

static slc_slice slice_copy(slc_slice slice)
{
    if (slice.data == NULL)
        return slice;
    uint8_t *copy = slc_alloc(slice.bytes + 1);
    memcpy(copy, slice.data, slice.bytes);
    return slc_slice_of(copy, slice.bytes);
}

static void env_propose(void *arg, const slc_env_change *changes, uint32_t count,
                        void (*done)(slc_err, void *), void *done_arg)
{
    testbed *bed = arg;
    proposal *p = slc_alloc_zero(1, sizeof *p);
    p->changes = slc_alloc_zero(count, sizeof *p->changes);
    for (uint32_t i = 0; i < count; i++)
        p->changes[i] = (slc_env_change){slice_copy(changes[i].key), slice_copy(changes[i].value)};
    p->count = count;
    p->done = done;
    p->arg = done_arg;
    proposal **end = &bed->proposals;
    while (*end != NULL)
        end = &(*end)->next;
    *end = p;
    env_wake(bed);
}

static void commit(testbed *bed)
{
    while (bed->proposals != NULL) {
        proposal *p = bed->proposals;
        bed->proposals = p->next;
        for (uint32_t i = 0; i < p->count; i++) {
            slc_error error = {0};
            slc_err rc = slc_broker_apply(bed->broker, &p->changes[i], &error);
            SLC_ASSERT(rc == SLC_OK);
            slc_free((void *)(uintptr_t)p->changes[i].key.data);
            slc_free((void *)(uintptr_t)p->changes[i].value.data);
        }
        p->done(SLC_OK, p->arg);
        slc_free(p->changes);
        slc_free(p);
    }
}

static void on_turn(uv_timer_t *timer)
{
    testbed *bed = timer->data;
    commit(bed);
    if (slc_broker_turn(bed->broker) || bed->proposals != NULL)
        env_wake(bed);
}

/* ---- one client ---- */

static void client_closed(slc_client *client, const char *reason)
{
    testbed *bed = client->arg;
    snprintf(bed->closed_reason, sizeof bed->closed_reason, "%s", reason);
}

static void client_pressure(slc_client *client, bool blocked, const char *reason)
{
    (void)client;
    (void)blocked;
    (void)reason;
}

static void on_deliver(slc_session *session, const slc_consumer *consumer, uint64_t tag,
                       bool redelivered, slc_message *message)
{
    (void)session;
    (void)consumer;
    (void)tag;
    (void)redelivered;
    (void)message;
}

static void on_confirm(slc_session *session, uint64_t seq, bool multiple, bool ack)
{
    (void)session;
    (void)seq;
    (void)multiple;
    (void)ack;
}

static void on_returned(slc_session *session, slc_message *message)
{
    (void)session;
    (void)message;
}

static void on_cancelled(slc_session *session, slc_slice tag)
{
    (void)session;
    (void)tag;
}

static void on_resume(slc_session *session)
{
    (void)session;
}

static const slc_client_ops client_ops = {client_closed, client_pressure};
static const slc_session_ops session_ops = {
    on_deliver, on_confirm, on_returned, on_cancelled, NULL /* no test lets a delivery expire */,
    on_resume};

static void client_start(testbed *bed)
{
    bed->client = (slc_client){
        .broker = bed->broker,
        .vhost = slc_broker_vhost(bed->broker, slc_slice_str("/")),
        .ops = &client_ops,
        .arg = bed,
        .info = {.name = "127.0.0.1:50000 -> 127.0.0.1:5672",
                 .user = "guest",
                 .protocol = "{0,9,1}",
                 .state = "running",
                 .auth_mechanism = "PLAIN",
                 .host = "127.0.0.1",
                 .peer_host = "127.0.0.1",
                 .port = 5672,
                 .peer_port = 50000,
                 .heartbeat_s = 60,
                 .frame_max = 131072,
                 .channel_max = 2047},
    };
    SLC_ASSERT(bed->client.vhost != NULL);
    slc_client_open(&bed->client);
    bed->session = slc_session_open(&bed->client, 1, &session_ops, bed);
}

void testbed_queue(testbed *bed, const char *name, slc_slice arguments)
{
    slc_queue_declare declare = {.name = slc_slice_str(name), .arguments = arguments};
    slc_queue_declared declared;
    slc_error error = {0};
    slc_err rc = slc_session_queue_declare(bed->session, &declare, &declared, &error);
    SLC_ASSERT(rc == SLC_OK);
}

void testbed_publish(testbed *bed, const char *queue, const char *body)
{
    static const uint8_t no_props[2] = {0, 0};
    slc_message *message = slc_message_new(slc_slice_of("", 0), slc_slice_str(queue),
                                           slc_slice_of(no_props, 2), strlen(body), false);
    memcpy(slc_message_body(message), body, strlen(body));
    slc_error error = {0};
    slc_err rc = slc_session_publish(bed->session, message, slc_slice_of(NULL, 0), false, &error);
    SLC_ASSERT(rc == SLC_OK);
}

/* ---- the loop's thread ---- */

static void status_fill(slc_http_status *out, void *arg)
{
    static const slc_http_listener listeners[] = {{"amqp", "AMQP 0-9-1", "127.0.0.1", 5672}};
    static const slc_http_stat store[] = {{"commits", 7}};
    static const char *const files[] = {"/etc/sluice/sluice.conf"};
    testbed *bed = arg;
    *out = (slc_http_status){
        .uptime_ms = 61000,
        .mem_used = 1000,
        .mem_rss = 2000,
        .mem_limit = 4000,
        .mem_alarm = bed->mem_alarm,
        .disk_free = 5000,
        .disk_free_limit = 50,
        .fd_used = 9,
        .fd_total = 1024,
        .data_dir = "/data",
        .config_files = files,
        .config_file_count = 1,
        .listeners = listeners,
        .listener_count = 1,
        .store_flush = "group",
        .store = store,
        .store_count = 1,
        .ready = true,
    };
}

static void shutdown_asked(void *arg)
{
    testbed *bed = arg;
    atomic_fetch_add(&bed->shutdowns, 1);
}

static void http_gone(void *arg)
{
    testbed *bed = arg;
    slc_session_abandon(bed->session);
    slc_client_close(&bed->client);
    commit(bed);
    uv_close((uv_handle_t *)&bed->turn, NULL);
    uv_close((uv_handle_t *)&bed->quit, NULL);
}

static void on_quit(uv_async_t *async)
{
    testbed *bed = async->data;
    slc_http_stop(bed->http, http_gone, bed);
}

static void loop_thread(void *arg)
{
    testbed *bed = arg;
    SLC_ASSERT(uv_loop_init(&bed->loop) == 0);
    uv_timer_init(&bed->loop, &bed->turn);
    bed->turn.data = bed;
    bed->turn.timer_cb = on_turn;
    uv_async_init(&bed->loop, &bed->quit, on_quit);
    bed->quit.data = bed;
    slc_broker_options options = {
        .env = {.arg = bed,
                .now_ns = env_now,
                .wall_ms = env_wall,
                .random = env_random,
                .store_queue_new = env_queue_new,
                .store_queue_del = env_queue_del,
                .store_atomic = env_atomic,
                .store_delivered = env_delivered,
                .propose = env_propose},
        .cache_bytes = 1 << 20,
        .default_vhost = "/",
    };
    bed->broker = slc_broker_new(&options);
    slc_broker_start(bed->broker);
    commit(bed);
    client_start(bed);
    if (bed->setup != NULL)
        bed->setup(bed);
    slc_http_options http = {
        .max_body_bytes = 1024 * 1024,
        .idle_timeout_s = 60,
        .loop = &bed->loop,
        .broker = bed->broker,
        .socket_path = bed->socket,
        .node = "sluice@test",
        .product = "Sluice",
        .version = "0.1.0",
        .status = status_fill,
        .shutdown = shutdown_asked,
        .arg = bed,
    };
    slc_error error = {0};
    slc_err rc = slc_http_start(&http, &bed->http, &error);
    SLC_ASSERT(rc == SLC_OK);
    uv_sem_post(&bed->ready);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    slc_broker_free(bed->broker);
    SLC_ASSERT(uv_loop_close(&bed->loop) == 0);
}

void testbed_start(testbed *bed, void (*setup)(testbed *bed))
{
    *bed = (testbed){.setup = setup};
    snprintf(bed->dir, sizeof bed->dir, "/tmp/sluice-http-XXXXXX");
    cr_assert_not_null(mkdtemp(bed->dir));
    snprintf(bed->socket, sizeof bed->socket, "%s/admin.sock", bed->dir);
    uv_sem_init(&bed->ready, 0);
    cr_assert_eq(uv_thread_create(&bed->thread, loop_thread, bed), 0);
    uv_sem_wait(&bed->ready);
}

void testbed_stop(testbed *bed)
{
    uv_async_send(&bed->quit);
    uv_thread_join(&bed->thread);
    uv_sem_destroy(&bed->ready);
    cr_expect_neq(access(bed->socket, F_OK), 0, "a stop must remove the socket");
    rmdir(bed->dir);
}

/* ---- a client of the API ---- */

static int dial(const testbed *bed)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, bed->socket, strlen(bed->socket) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

http_reply http_call(const testbed *bed, const char *method, const char *target, const char *extra)
{
    http_reply reply = {0};
    slc_buffer text = {0};
    slc_buffer_format(&text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", method,
                      target, extra != NULL ? extra : "");
    int fd = dial(bed);
    cr_assert_eq(send(fd, text.data, text.bytes, MSG_NOSIGNAL), (ssize_t)text.bytes);
    slc_buffer_fini(&text);

    slc_buffer got = {0};
    for (;;) {
        uint8_t *at = slc_buffer_reserve(&got, 1 << 16);
        ssize_t n = recv(fd, at, 1 << 16, 0);
        if (n == 0 ||
            (n < 0 && errno == ECONNRESET)) // a request that was not read to its end resets
            break;
        cr_assert_geq(n, 0, "%s %s: no answer", method, target);
        got.bytes += (size_t)n;
    }
    close(fd);
    slc_buffer_put(&got, "", 1);
    char *end = got.bytes > 1 ? strstr((char *)got.data, "\r\n\r\n") : NULL;
    if (end == NULL) {
        slc_buffer_fini(&got);
        return reply; // closed without an answer: status 0
    }
    *end = '\0';
    reply.head = slc_strdup((char *)got.data);
    reply.bytes = (size_t)((char *)got.data + got.bytes - 1 - (end + 4));
    reply.body = slc_strndup(end + 4, reply.bytes);
    reply.status = atoi(reply.head + strlen("HTTP/1.1 "));
    reply.json =
        json_loadb(reply.body, reply.bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    slc_buffer_fini(&got);
    return reply;
}

void http_reply_fini(http_reply *reply)
{
    json_decref(reply->json);
    slc_free(reply->head);
    slc_free(reply->body);
    *reply = (http_reply){0};
}

json_t *http_json(const testbed *bed, const char *target)
{
    http_reply reply = http_call(bed, "GET", target, NULL);
    cr_assert_eq(reply.status, 200, "%s: %d %s", target, reply.status, reply.body);
    cr_assert_not_null(reply.json, "%s: %s", target, reply.body);
    json_t *json = json_incref(reply.json);
    http_reply_fini(&reply);
    return json;
}
