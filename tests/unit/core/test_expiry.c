// When messages expire: on time wherever they stand, or with ttl.head_only in the order of their queue, against naive models.
// @spec amqp-semantics 13.1
#include <string.h>
#include <time.h>

#include "backlog_support.h"

enum { LEVELS = 3, MESSAGES = 4000, QUEUES = 1000, MANY = 100000 };

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
    seed = (unsigned)time(NULL);
    cr_log_info("seed %u", seed);
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(expiry, .init = setup, .fini = teardown, .timeout = 120);

static uint32_t below(uint32_t n)
{
    return (uint32_t)rand_r(&seed) % n;
}

static void publish(const char *queue, int number, bool persistent, uint64_t ttl, uint8_t priority)
{
    char body[16];
    slc_error error = {0};
    int bytes = snprintf(body, sizeof body, "%d", number);
    slc_message *m = slc_message_new(slc_slice_str(""), slc_slice_str(queue), (slc_slice){0},
                                     (uint64_t)bytes, persistent);
    memcpy(slc_message_body(m), body, (size_t)bytes);
    m->ttl = ttl;
    m->priority = priority;
    cr_assert(eq(int, slc_session_publish(s, m, (slc_slice){0}, false, &error), SLC_OK));
}

/* ---- ttl.head_only ---- */

typedef struct waiting {
    int number;
    uint64_t expires_ms; // 0: never
    bool persistent;
} waiting;

typedef struct level {
    waiting list[MESSAGES];
    uint32_t first, count;
} level;

static level levels[LEVELS];
static uint64_t now_ms;

static uint64_t model_ready(void)
{
    uint64_t ready = 0;
    for (int l = 0; l < LEVELS; l++) {
        level *m = &levels[l];
        while (m->count > 0 && m->list[m->first].expires_ms != 0 &&
               m->list[m->first].expires_ms <= now_ms) {
            m->first++;
            m->count--;
        }
        ready += m->count;
    }
    return ready;
}

static int model_get(void)
{
    for (int l = LEVELS - 1; l >= 0; l--) {
        if (levels[l].count == 0)
            continue;
        levels[l].count--;
        return levels[l].list[levels[l].first++].number;
    }
    return -1;
}

static void model_crash(void)
{
    for (int l = 0; l < LEVELS; l++) {
        level *m = &levels[l];
        uint32_t kept = 0;
        for (uint32_t i = 0; i < m->count; i++) {
            if (m->list[m->first + i].persistent)
                m->list[m->first + kept++] = m->list[m->first + i];
        }
        m->count = kept;
    }
}

static void head_only_agrees(uint8_t top, uint64_t cache_bytes)
{
    memset(levels, 0, sizeof levels);
    fake_options(w)->ttl_head_only = true;
    fake_cache_bytes(w, cache_bytes);
    fake_restart(w);
    start();
    if (top > 0)
        declare_urgent(w, s, "q", top);
    else
        fake_queue(w, s, "q", "d");
    int published = 0;
    unsigned first_seed = seed;
    for (int step = 0; step < 3000; step++) {
        uint32_t choice = below(100);
        if (choice < 55 && published < MESSAGES) {
            uint64_t ttl = below(3) == 0 ? 0 : 1 + below(300);
            uint8_t priority = (uint8_t)below(LEVELS);
            bool persistent = below(4) != 0;
            level *m = &levels[priority < top ? priority : top];
            m->list[m->first + m->count++] =
                (waiting){published, ttl == 0 ? 0 : now_ms + ttl, persistent};
            publish("q", published++, persistent, ttl == 0 ? 0 : ttl + 1, priority);
        } else if (choice < 75) {
            now_ms += below(40);
            fake_pass_time(w, now_ms - fake_now_ms(w));
        } else if (choice < 99) {
            model_ready();
            int want = model_get();
            const char *got = fake_get(w, s, "q", true, NULL);
            if (want != (got != NULL ? atoi(got) : -1))
                cr_fatal("seed %u, step %d: %s instead of %d", first_seed, step,
                         got != NULL ? got : "nothing", want);
        } else {
            fake_turn(w);
            model_crash();
            fake_restart(w);
            start();
        }
        fake_turn(w);
        uint64_t ready = queue_named(w, "q")->ready;
        if (ready != model_ready())
            cr_fatal("seed %u, step %d: %llu ready instead of %llu", first_seed, step,
                     (unsigned long long)ready, (unsigned long long)model_ready());
        recount(w, queue_named(w, "q"), "head only");
    }
    cr_assert(eq(int, fake_queue_delete(w, s, "q"), SLC_OK));
}

Test(expiry, with_head_only_a_message_expires_when_it_is_the_first)
{
    now_ms = fake_now_ms(w);
    for (int round = 0; round < 6; round++)
        head_only_agrees(round % 2 == 0 ? 0 : LEVELS - 1, round < 2 ? 0 : 64 << 20);
}

/* ---- one index, no polling ---- */

Test(expiry, each_of_many_messages_of_many_queues_goes_at_its_time_and_nothing_is_done_before)
{
    enum { LONGEST_MS = 50000 };
    static uint32_t due[LONGEST_MS + 2]; // how many expire so many ms after the start
    char name[16];
    fake_restart(w);
    start();
    for (int i = 0; i < QUEUES; i++) {
        snprintf(name, sizeof name, "q%d", i);
        fake_queue(w, s, name, "");
    }
    uint64_t begin_ms = fake_now_ms(w);
    for (int i = 0; i < MANY; i++) {
        uint32_t ttl = 1 + below(LONGEST_MS);
        due[ttl]++;
        snprintf(name, sizeof name, "q%u", below(QUEUES));
        publish(name, i, false, ttl + 1, 0);
    }
    slc_broker_totals totals;
    uint64_t left = MANY;
    for (uint32_t at = 1; at <= LONGEST_MS; at++) {
        if (due[at] == 0)
            continue;
        // The loop sleeps until then: whoever is woken has something to do, and it takes no look at the rest.
        cr_assert(eq(u64, slc_broker_next_due_ms(fake_broker(w)), begin_ms + at));
        fake_pass_time(w, begin_ms + at - fake_now_ms(w) - 1);
        slc_broker_total(fake_broker(w), &totals);
        cr_assert(eq(u64, totals.ready, left));
        fake_pass_time(w, 1);
        left -= due[at];
        slc_broker_total(fake_broker(w), &totals);
        cr_assert(eq(u64, totals.ready, left));
    }
    cr_expect(eq(u64, left, 0));
    cr_expect(slc_broker_next_due_ms(fake_broker(w)) == UINT64_MAX);
}
