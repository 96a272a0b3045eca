// What arguments, a policy and an operator policy make of a queue together: by the table of the semantics, every combination of
// who says what, against a naive reading of that table. @spec amqp-semantics 10, 18.1
#include <criterion/criterion.h>
#include <string.h>

#include "base/table.h"
#include "core/queue_settings.h"
#include "topology_support.h"

enum { ROUNDS = 20000, SOURCES = 3 };

enum { ARGUMENTS, POLICY, OPERATOR };

/** A key with its three values; says: whether that one says anything. */
typedef struct key_values {
    const char *key; // as an argument; policies have no x-
    bool says[SOURCES];
    int64_t number[SOURCES];
    const char *word[SOURCES];
} key_values;

TestSuite(queue_settings, .timeout = 60);

/* ---- the naive reading ---- */

/** The smallest that anybody says; a negative one is as good as none. */
static uint64_t naive_number(const key_values *k)
{
    uint64_t least = SLC_UNLIMITED;
    for (int i = 0; i < SOURCES; i++) {
        if (k->says[i] && k->number[i] >= 0 && (uint64_t)k->number[i] < least)
            least = (uint64_t)k->number[i];
    }
    return least;
}

/** The first in this order that says anything; NULL: nobody. */
static const char *naive_word(const key_values *k, int first, int second, int third)
{
    if (k->says[first])
        return k->word[first];
    return k->says[second] ? k->word[second] : k->says[third] ? k->word[third] : NULL;
}

/* ---- both ---- */

static void put(slc_table_builder b[SOURCES], key_values *k, bool text)
{
    for (int i = 0; i < SOURCES; i++) {
        const char *key = k->key + (i == ARGUMENTS ? 0 : 2);
        if (k->says[i] && text)
            slc_table_put_text(&b[i], key, k->word[i]);
        else if (k->says[i])
            slc_table_put_i64(&b[i], key, k->number[i]);
    }
}

static key_values some_number(slc_table_builder b[SOURCES], const char *key, int64_t least)
{
    key_values k = {.key = key};
    for (int i = 0; i < SOURCES; i++) {
        k.says[i] = test_random(2) == 0;
        k.number[i] = least + (int64_t)test_random(4);
    }
    put(b, &k, false);
    return k;
}

static key_values some_word(slc_table_builder b[SOURCES], const char *key,
                            const char *const words[3])
{
    key_values k = {.key = key};
    for (int i = 0; i < SOURCES; i++) {
        k.says[i] = test_random(2) == 0;
        k.word[i] = words[test_random(3)];
    }
    put(b, &k, true);
    return k;
}

static void expect_slice(bool has, slc_slice got, const char *want)
{
    if (has != (want != NULL) || (has && !slc_slice_is(got, want)))
        cr_assert_fail("'%.*s' instead of '%s', seed %llu", has ? (int)got.bytes : 0, got.data,
                       want != NULL ? want : "", (unsigned long long)test_seed);
}

static void expect_number(const key_values *k, uint64_t got, uint64_t want)
{
    if (got != want)
        cr_assert_fail("%s is %llu instead of %llu, seed %llu", k->key, (unsigned long long)got,
                       (unsigned long long)want, (unsigned long long)test_seed);
}

Test(queue_settings, merge_agrees_with_the_table)
{
    static const char *const overflows[] = {"drop-head", "reject-publish", "reject-publish-dlx"};
    static const char *const names[] = {"", "one", "two"};
    test_random_init();
    for (int round = 0; round < ROUNDS; round++) {
        slc_table_builder b[SOURCES] = {0};
        bool quorum = test_random(2) == 0;
        if (quorum || test_random(2) == 0)
            slc_table_put_text(&b[ARGUMENTS], "x-queue-type", quorum ? "quorum" : "classic");
        key_values ttl = some_number(b, "x-message-ttl", 0);
        key_values expires = some_number(b, "x-expires", 1);
        key_values length = some_number(b, "x-max-length", 0);
        key_values bytes = some_number(b, "x-max-length-bytes", 0);
        key_values deliveries = some_number(b, "x-delivery-limit", -1);
        key_values timeout = some_number(b, "x-consumer-timeout", 0);
        key_values overflow = some_word(b, "x-overflow", overflows);
        key_values exchange = some_word(b, "x-dead-letter-exchange", names);
        key_values key = some_word(b, "x-dead-letter-routing-key", names);
        slc_queue_settings s;
        slc_queue_settings_merge(slc_table_builder_content(&b[ARGUMENTS]),
                                 slc_table_builder_content(&b[POLICY]),
                                 slc_table_builder_content(&b[OPERATOR]), &s);
        cr_assert(s.quorum == quorum);
        expect_number(&ttl, s.ttl_ms, naive_number(&ttl));
        expect_number(&expires, s.expires_ms, naive_number(&expires));
        expect_number(&length, s.max_length, naive_number(&length));
        expect_number(&bytes, s.max_length_bytes, naive_number(&bytes));
        expect_number(&timeout, s.consumer_timeout_ms, naive_number(&timeout));
        bool said = deliveries.says[0] || deliveries.says[1] || deliveries.says[2];
        expect_number(&deliveries, s.delivery_limit,
                      quorum && !said ? 20 : naive_number(&deliveries));
        cr_assert(s.limited ==
                  (s.max_length != SLC_UNLIMITED || s.max_length_bytes != SLC_UNLIMITED));
        const char *mode = quorum ? naive_word(&overflow, OPERATOR, POLICY, ARGUMENTS)
                                  : naive_word(&overflow, ARGUMENTS, OPERATOR, POLICY);
        slc_overflow want = SLC_OVERFLOW_DROP_HEAD;
        if (mode != NULL && strcmp(mode, "reject-publish") == 0)
            want = SLC_OVERFLOW_REJECT;
        if (mode != NULL && strcmp(mode, "reject-publish-dlx") == 0 && !quorum)
            want = SLC_OVERFLOW_REJECT_DLX;
        if (s.overflow != want)
            cr_assert_fail("overflow %d instead of %d, seed %llu", s.overflow, want,
                           (unsigned long long)test_seed);
        expect_slice(s.dead_letter, s.dead_letter_exchange,
                     naive_word(&exchange, ARGUMENTS, OPERATOR, POLICY));
        expect_slice(s.has_dead_letter_key, s.dead_letter_key,
                     naive_word(&key, ARGUMENTS, OPERATOR, POLICY));
        for (int i = 0; i < SOURCES; i++)
            slc_table_builder_fini(&b[i]);
    }
}

Test(queue_settings, nobody_says_anything)
{
    slc_queue_settings s;
    slc_queue_settings_merge((slc_slice){0}, (slc_slice){0}, (slc_slice){0}, &s);
    cr_expect(!s.limited && !s.dead_letter && !s.has_priority && !s.single_active);
    cr_expect(s.ttl_ms == SLC_UNLIMITED && s.delivery_limit == SLC_UNLIMITED);
    cr_expect(s.overflow == SLC_OVERFLOW_DROP_HEAD);
}

Test(queue_settings, priorities_come_from_the_argument_alone)
{
    static const struct {
        const char *key;
        int64_t value;
        int max_priority; // -1: none
    } cases[] = {
        {"x-max-priority", 5, 5},
        {"x-max-priority", 0, -1}, // one level
        {"x-max-priority", 255, 255},
        {"max-priority", 5, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        slc_table_builder b = {0};
        slc_queue_settings s;
        slc_table_put_i64(&b, cases[i].key, cases[i].value);
        slc_queue_settings_merge(slc_table_builder_content(&b), (slc_slice){0}, (slc_slice){0}, &s);
        cr_expect((s.has_priority ? s.max_priority : -1) == cases[i].max_priority, "case %zu", i);
        slc_queue_settings_merge((slc_slice){0}, slc_table_builder_content(&b),
                                 slc_table_builder_content(&b), &s);
        cr_expect(!s.has_priority, "a policy sets no priorities, case %zu", i);
        slc_table_builder_fini(&b);
    }
    slc_table_builder quorum = {0};
    slc_queue_settings s;
    slc_table_put_text(&quorum, "x-queue-type", "quorum");
    slc_table_put_i64(&quorum, "x-max-priority", 5);
    slc_queue_settings_merge(slc_table_builder_content(&quorum), (slc_slice){0}, (slc_slice){0},
                             &s);
    cr_expect(s.has_priority && s.max_priority == 31 && s.plain_priority == 4,
              "a quorum queue has its levels whatever the argument says");
    slc_table_builder_fini(&quorum);
}
