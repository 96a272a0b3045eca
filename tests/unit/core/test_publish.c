// Publishing with several keys, on to dead letters, and confirms: each against a naive model.
// @spec amqp-semantics 11.4, 14.2, 16, 17.2
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/internal.h"
#include "core/permission.h"
#include "core/properties.h"
#include "fake_world.h"

enum { QUEUES = 6, KEYS = 5, LIST_MAX = 4, TEXT_MAX = 24 };

static fake_world *w;
static fake_client *c;
static slc_session *s;
static unsigned seed;

static void start(void)
{
    c = fake_client_open(w);
    s = fake_session(c);
}

static void setup(void)
{
    w = fake_world_new();
    start();
    seed = (unsigned)time(NULL);
    cr_log_info("seed %u", seed);
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(publish, .init = setup, .fini = teardown, .timeout = 120);

static uint32_t below(uint32_t n)
{
    return (uint32_t)rand_r(&seed) % n;
}

static const char *number_text(char letter, uint32_t number)
{
    static char text[8][TEXT_MAX];
    static unsigned next;
    char *to = text[next++ % SLC_ARRAY_COUNT(text)];
    snprintf(to, TEXT_MAX, "%c%u", letter, number);
    return to;
}

/* ---- a message as the front end makes it ---- */

typedef struct keys {
    uint32_t key, cc[LIST_MAX], bcc[LIST_MAX];
    uint32_t cc_count, bcc_count;
} keys;

static slc_message *message_new(const char *exchange, const keys *k, const char *body,
                                bool persistent)
{
    slc_table_builder b = {0};
    slc_buffer props = {0}, hidden = {0};
    slc_table_put_i64(&b, "mine", 1);
    slc_table_open(&b, "CC", SLC_TYPE_ARRAY);
    slc_table_put_i64(&b, NULL, 5); // no key
    for (uint32_t i = 0; i < k->cc_count; i++)
        slc_table_put_text(&b, NULL, number_text('k', k->cc[i]));
    slc_table_close(&b);
    slc_slice headers = slc_table_builder_content(&b);
    slc_table_builder secret = {0};
    slc_table_open(&secret, "BCC", SLC_TYPE_ARRAY);
    for (uint32_t i = 0; i < k->bcc_count; i++)
        slc_table_put_text(&secret, NULL, number_text('k', k->bcc[i]));
    slc_table_close(&secret);
    slc_headers_hidden_keys(slc_table_builder_content(&secret), &hidden);
    uint8_t head[6] = {0x20, 0, 0, 0, (uint8_t)(headers.bytes >> 8), (uint8_t)headers.bytes};
    slc_buffer_put(&props, head, sizeof head);
    slc_buffer_put(&props, headers.data, headers.bytes);
    slc_message *m = slc_message_new_hidden(
        slc_slice_str(exchange), slc_slice_str(number_text('k', k->key)), slc_buffer_slice(&props),
        strlen(body), persistent, slc_buffer_slice(&hidden));
    memcpy(slc_message_body(m), body, strlen(body));
    m->more_keys = true;
    slc_table_builder_fini(&b);
    slc_table_builder_fini(&secret);
    slc_buffer_fini(&props);
    slc_buffer_fini(&hidden);
    return m;
}

static keys keys_any(void)
{
    keys k = {.key = below(KEYS), .cc_count = below(LIST_MAX), .bcc_count = below(LIST_MAX)};
    for (uint32_t i = 0; i < LIST_MAX; i++) {
        k.cc[i] = below(KEYS);
        k.bcc[i] = below(KEYS);
    }
    return k;
}

static bool keys_have(const keys *k, uint32_t key)
{
    bool has = k->key == key;
    for (uint32_t i = 0; i < k->cc_count; i++)
        has |= k->cc[i] == key;
    for (uint32_t i = 0; i < k->bcc_count; i++)
        has |= k->bcc[i] == key;
    return has;
}

Test(publish, a_content_with_hidden_keys_is_read_back_or_refused)
{
    for (int round = 0; round < 200; round++) {
        keys k = keys_any();
        slc_message *m = message_new("x", &k, "a body", true), *copy;
        slc_slice content = slc_slice_of(m->content, slc_message_content_bytes(m));
        cr_assert(eq(int, slc_message_load(content, &copy), SLC_OK));
        cr_assert(eq(u32, copy->hidden_bytes, m->hidden_bytes));
        cr_assert(slc_slice_is(slc_message_body_slice(copy), "a body"));
        slc_slice *got;
        uint32_t count = slc_message_more_keys(copy, &got);
        cr_assert(eq(u32, count, k.cc_count + k.bcc_count));
        for (uint32_t i = 0; i < count; i++) {
            uint32_t want = i < k.cc_count ? k.cc[i] : k.bcc[i - k.cc_count];
            cr_assert(slc_slice_is(got[i], number_text('k', want)));
        }
        slc_free(got);
        slc_message_unref(copy);
        // Cut anywhere, or with another octet among the hidden keys: refused, or as large as it says.
        for (size_t bytes = 0; bytes < content.bytes; bytes++)
            cr_assert(ne(int, slc_message_load(slc_slice_of(m->content, bytes), &copy), SLC_OK));
        for (size_t i = content.bytes - m->hidden_bytes; i < content.bytes; i++) {
            uint8_t old = m->content[i];
            m->content[i] = (uint8_t)below(256);
            if (slc_message_load(content, &copy) == SLC_OK) {
                (void)slc_message_more_keys(copy, &got);
                slc_free(got);
                slc_message_unref(copy);
            }
            m->content[i] = old;
        }
        slc_message_unref(m);
    }
}

/* ---- several keys, and what becomes of them ---- */

/** Queues bound to x; what dies in them goes to dx, with its keys or with dead_key; bindings of dx lead to d0, d1, ... */
typedef struct routes {
    bool bound[QUEUES][KEYS], dead_bound[QUEUES][KEYS];
    uint32_t dead_key[QUEUES]; // KEYS: none
} routes;

static void declare(const char *name, const char *dead_key)
{
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_queue_declared out;
    slc_err rc;
    if (dead_key != NULL)
        slc_table_put_text(&b, "x-dead-letter-exchange", "dx");
    if (dead_key != NULL && *dead_key != '\0')
        slc_table_put_text(&b, "x-dead-letter-routing-key", dead_key);
    slc_queue_declare d = {
        .name = slc_slice_str(name), .durable = true, .arguments = slc_table_builder_content(&b)};
    while ((rc = slc_session_queue_declare(s, &d, &out, &error)) == SLC_EPENDING)
        fake_turn(w);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
    slc_table_builder_fini(&b);
}

static void routes_make(routes *r)
{
    fake_exchange(w, s, "x", "direct", "d");
    fake_exchange(w, s, "dx", "direct", "d");
    for (uint32_t q = 0; q < QUEUES; q++) {
        r->dead_key[q] = below(2) == 0 ? KEYS : below(KEYS);
        declare(number_text('q', q),
                r->dead_key[q] == KEYS ? "" : number_text('k', r->dead_key[q]));
        declare(number_text('d', q), NULL);
        for (uint32_t k = 0; k < KEYS; k++) {
            r->bound[q][k] = below(4) == 0;
            r->dead_bound[q][k] = below(3) == 0;
            if (r->bound[q][k])
                fake_bind(w, s, number_text('q', q), "x", number_text('k', k));
            if (r->dead_bound[q][k])
                fake_bind(w, s, number_text('d', q), "dx", number_text('k', k));
        }
    }
}

static bool reaches(bool bound[KEYS], const keys *k)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        if (bound[i] && keys_have(k, i))
            return true;
    }
    return false;
}

static void restart_maybe(void)
{
    if (below(2) == 0)
        return;
    fake_restart(w);
    start();
}

Test(publish, all_keys_route_it_and_its_dead_letter_over_restarts)
{
    for (int round = 0; round < 40; round++) {
        routes r = {0};
        routes_make(&r);
        keys k = keys_any();
        slc_error error = {0};
        bool in_tx = below(3) == 0;
        if (in_tx)
            cr_assert(eq(int, slc_session_tx_select(s, &error), SLC_OK));
        slc_message *m = message_new("x", &k, "m", true);
        cr_assert(eq(int, slc_session_publish(s, m, slc_message_headers(m), false, &error), SLC_OK),
                  "%s", error.text);
        slc_err rc = SLC_OK;
        while (in_tx && (rc = slc_session_tx_commit(s, &error)) == SLC_EPENDING)
            fake_turn(w);
        cr_assert(eq(int, rc, SLC_OK));
        if (in_tx)
            s = fake_session(c);
        fake_turn(w);
        restart_maybe();
        uint32_t want[QUEUES] = {0}, got[QUEUES] = {0};
        for (uint32_t q = 0; q < QUEUES; q++) {
            uint64_t tag;
            bool there = fake_get(w, s, number_text('q', q), false, &tag) != NULL;
            cr_assert(eq(int, there, reaches(r.bound[q], &k)), "queue %u, seed %u", q, seed);
            if (!there)
                continue;
            cr_assert(
                eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_REJECT, &error), SLC_OK));
            fake_turn(w);
            cr_assert(
                eq(ptr, (void *)(uintptr_t)fake_get(w, s, number_text('q', q), true, NULL), NULL));
            keys dead = k;
            if (r.dead_key[q] != KEYS)
                dead = (keys){.key = r.dead_key[q]};
            for (uint32_t d = 0; d < QUEUES; d++)
                want[d] += reaches(r.dead_bound[d], &dead);
        }
        restart_maybe();
        for (uint32_t d = 0; d < QUEUES; d++) {
            while (fake_get(w, s, number_text('d', d), true, NULL) != NULL)
                got[d]++;
            cr_assert(eq(u32, got[d], want[d]), "dead letters in d%u, seed %u", d, seed);
        }
        for (uint32_t q = 0; q < QUEUES; q++) {
            fake_queue_delete(w, s, number_text('q', q));
            fake_queue_delete(w, s, number_text('d', q));
        }
    }
}

/* ---- confirms ---- */

enum { PUBLISHES = 300 };

typedef enum fate { NOT_YET, ACKED, REFUSED } fate;

typedef struct confirms {
    fate fates[PUBLISHES + 1];
    bool refused[PUBLISHES + 1]; // what is right
    bool kept[PUBLISHES + 1];    // waits for the disk
    uint32_t published;
} confirms;

/** Settle what one ack or nack covers: nothing twice, nothing wrong. */
static void confirms_cover(confirms *m, uint32_t from, uint32_t to, bool ack, bool synced)
{
    cr_assert(le(u32, to, m->published));
    for (uint32_t seq = from; seq <= to; seq++) {
        if (m->fates[seq] != NOT_YET) {
            cr_assert(lt(u32, seq, to), "%u is settled twice", seq);
            continue; // below a `multiple`
        }
        cr_assert(eq(int, m->refused[seq], !ack), "%u, seed %u", seq, seed);
        cr_assert(synced || !ack || !m->kept[seq], "%u is confirmed before it is on disk, seed %u",
                  seq, seed);
        m->fates[seq] = ack ? ACKED : REFUSED;
    }
}

static void confirms_read(confirms *m, bool synced)
{
    char log[65536];
    snprintf(log, sizeof log, "%s", fake_take_log(c));
    char *save = NULL;
    for (char *one = strtok_r(log, ";", &save); one != NULL; one = strtok_r(NULL, ";", &save)) {
        unsigned seq;
        one += strspn(one, " ");
        if (sscanf(one, "confirm to %u", &seq) == 1)
            confirms_cover(m, 1, seq, true, synced);
        else if (sscanf(one, "confirm %u", &seq) == 1)
            confirms_cover(m, seq, seq, true, synced);
        else if (sscanf(one, "refuse to %u", &seq) == 1)
            confirms_cover(m, 1, seq, false, synced);
        else if (sscanf(one, "refuse %u", &seq) == 1)
            confirms_cover(m, seq, seq, false, synced);
        else if (sscanf(one, "returned m%u", &seq) == 1)
            cr_assert(eq(int, m->fates[seq], NOT_YET), "%u is returned behind its confirm", seq);
        else
            cr_assert(false, "%s", one);
    }
}

Test(publish, confirms_agree_with_a_naive_model)
{
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_queue_declared out;
    fake_queue(w, s, "kept", "d");
    fake_queue(w, s, "fleeting", "");
    slc_table_put_i64(&b, "x-max-length", 0);
    slc_table_put_text(&b, "x-overflow", "reject-publish");
    slc_queue_declare full = {.name = slc_slice_str("full"),
                              .arguments = slc_table_builder_content(&b)};
    cr_assert(eq(int, slc_session_queue_declare(s, &full, &out, &error), SLC_OK));
    slc_table_builder_fini(&b);
    fake_exchange(w, s, "x", "direct", "");
    // The key says in which of the three it is to be.
    static const char *const names[] = {"kept", "fleeting", "full"};
    for (uint32_t key = 0; key < 8; key++) {
        for (uint32_t i = 0; i < 3; i++) {
            if (key & 1u << i)
                fake_bind(w, s, names[i], "x", number_text('k', key));
        }
    }
    for (int round = 0; round < 30; round++) {
        confirms m = {0};
        s = fake_session(c);
        cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
        fake_hold_store(w, true);
        while (m.published < PUBLISHES) {
            uint32_t key = below(8);
            bool persistent = below(2) == 0;
            uint32_t seq = ++m.published;
            m.refused[seq] = (key & 4) != 0;
            m.kept[seq] = persistent && (key & 1) != 0;
            cr_assert(eq(int,
                         fake_publish(s, "x", number_text('k', key), number_text('m', seq),
                                      persistent ? "pm" : "m"),
                         SLC_OK));
            const char *body = below(3) == 0 ? fake_get(w, s, "kept", true, NULL) : NULL;
            if (body != NULL) // consumed: it need not be written any more
                m.kept[atoi(body + 1)] = false;
            if (below(10) == 0) { // on disk, all of it
                fake_sync(w);
                memset(m.kept, 0, sizeof m.kept);
            }
            if (below(4) == 0)
                fake_turn(w);
            confirms_read(&m, false);
        }
        fake_sync(w);
        fake_turn(w);
        confirms_read(&m, true);
        for (uint32_t seq = 1; seq <= PUBLISHES; seq++)
            cr_assert(ne(int, m.fates[seq], NOT_YET), "%u was never confirmed, seed %u", seq, seed);
        fake_hold_store(w, false);
        while (fake_get(w, s, "kept", true, NULL) != NULL)
            continue;
        slc_session_abandon(s);
        fake_turn(w);
    }
    (void)fake_take_log(c);
    s = fake_session(c);
}

// The store may have small messages on disk before a large one that came earlier: whoever sent those need not wait.
Test(publish, a_large_message_holds_up_the_confirms_of_its_own_session_only)
{
    slc_error error = {0};
    char large[2001];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    fake_queue(w, s, "q", "d");
    fake_queue(w, s, "r", "d");
    fake_client *other = fake_client_open(w);
    slc_session *t = fake_session(other);
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    cr_assert(eq(int, slc_session_confirm_select(t, &error), SLC_OK));
    fake_large_from(w, 2000);
    cr_assert(eq(int, fake_publish(s, "", "q", large, "p"), SLC_OK));
    cr_assert(eq(int, fake_publish(s, "", "r", "small", "p"), SLC_OK));
    cr_assert(eq(int, fake_publish(t, "", "r", "small", "p"), SLC_OK));
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(other), "confirm 1"));
    cr_expect(eq(str, (char *)fake_take_log(c), ""),
              "its second message is on disk, its first is not");
    fake_sync_large(w);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "confirm to 2"));
}

/* ---- what a session knows of the exchange it published to last ---- */

static bool may_nothing(slc_client *client, slc_access access, int kind, slc_slice name)
{
    (void)client;
    (void)access;
    (void)kind;
    (void)name;
    return false;
}

Test(publish, what_is_known_of_an_exchange_lasts_until_something_changes)
{
    slc_error error;
    for (int turn = 0; turn < 2; turn++) { // a headers exchange: no route by key is kept
        cr_assert(eq(int, fake_exchange(w, s, "x", "headers", ""), SLC_OK));
        for (int i = 0; i < 2; i++)
            cr_expect(eq(int, fake_publish(s, "x", "k", "m", ""), SLC_OK));
        cr_assert(
            eq(int, slc_session_exchange_delete(s, slc_slice_str("x"), false, &error), SLC_OK));
        cr_expect(eq(int, fake_publish(s, "x", "k", "m", ""), SLC_ENOTFOUND));
    }
    cr_assert(eq(int, fake_exchange(w, s, "x", "headers", ""), SLC_OK));
    const char *names[] = {"x", ""};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        const slc_client_ops *before = s->client->ops;
        slc_client_ops ops = *before;
        ops.may = may_nothing;
        cr_expect(eq(int, fake_publish(s, names[i], "k", "m", ""), SLC_OK));
        s->client->ops = &ops;
        slc_broker_permissions_changed(fake_broker(w));
        cr_expect(eq(int, fake_publish(s, names[i], "k", "m", ""), SLC_EACCESS));
        s->client->ops = before;
        slc_broker_permissions_changed(fake_broker(w));
    }
}
