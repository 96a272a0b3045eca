// The exchange kinds that are plugins in RabbitMQ. @spec amqp-semantics 7.1, 8.5
#include <math.h>

#include "core/exchange_kinds.h"
#include "core/properties.h"
#include "fake_world.h"
#include "topology_support.h"

enum { QUEUES = 12, MESSAGES = 20000 };

/** A new exchange in test_vhost with arguments, which are taken. */
static slc_exchange *exchange_with(const char *name, const char *type, slc_table_builder *b)
{
    slc_exchange *x = slc_exchange_new(&test_vhost, slc_slice_str(name),
                                       slc_exchange_kind_find(slc_slice_str(type)), true, false,
                                       false, slc_table_builder_content(b));
    slc_table_builder_fini(b);
    HASH_ADD_KEYPTR(hh, test_vhost.exchanges, x->dest.name.data, x->dest.name.bytes, x);
    return x;
}

/** The one queue that key leads to; NULL: none. */
static slc_destination *route_one(slc_exchange *x, const char *key, slc_route *route)
{
    test_route(x, key, (slc_slice){0}, route);
    if (route->count > 1)
        cr_assert_fail("'%s' reaches %u queues", key, route->count);
    return route->count == 0 ? NULL : route->queues[0];
}

static void queues_make(slc_destination **queues, int count)
{
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%d", i);
        queues[i] = test_queue(name);
    }
}

static void queues_free(slc_destination **queues, int count)
{
    for (int i = 0; i < count; i++)
        test_queue_free(queues[i]);
}

static int index_of(slc_destination **queues, const slc_destination *queue)
{
    for (int i = 0; i < QUEUES; i++) {
        if (queues[i] == queue)
            return i;
    }
    return -1;
}

/* ---- x-consistent-hash ---- */

Test(consistent_hash, shares_are_those_of_the_weights, .timeout = 60)
{
    slc_destination *queues[QUEUES];
    slc_route route = {0};
    slc_exchange *x = test_exchange("x", "x-consistent-hash", NULL);
    uint32_t hits[QUEUES] = {0};
    double total = 0;
    queues_make(queues, QUEUES);
    for (int i = 0; i < QUEUES; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", 1 + i * i);
        test_bind(x, queues[i], key);
        total += 1 + i * i;
    }
    for (int i = 0; i < MESSAGES; i++) {
        char key[32];
        snprintf(key, sizeof key, "order.%d", i);
        hits[index_of(queues, route_one(x, key, &route))]++;
    }
    for (int i = 0; i < QUEUES; i++) {
        double share = (1 + i * i) / total;
        double want = share * MESSAGES;
        double spread = sqrt(MESSAGES * share * (1 - share));
        cr_expect(fabs(hits[i] - want) < 5 * spread, "q%d has %u of %.0f", i, hits[i], want);
    }
    queues_free(queues, QUEUES);
    test_vhost_clear();
    slc_route_fini(&route);
}

/** Law: what comes takes from all and moves nothing between them, what goes leaves only its own; random changes from a seed. */
Test(consistent_hash, only_what_must_moves, .timeout = 60)
{
    enum { KEYS = 300, ROUNDS = 60 };
    slc_destination *queues[QUEUES];
    slc_binding *bindings[QUEUES] = {0};
    int homes[KEYS];
    slc_route route = {0};
    slc_exchange *x = test_exchange("x", "x-consistent-hash", NULL);
    test_random_init();
    queues_make(queues, QUEUES);
    for (int i = 0; i < KEYS; i++)
        homes[i] = -1;
    for (int round = 0; round < ROUNDS; round++) {
        int at = (int)test_random(QUEUES);
        bool adds = bindings[at] == NULL;
        if (adds) {
            char weight[16];
            snprintf(weight, sizeof weight, "%u", 1 + test_random(50));
            bindings[at] = test_bind(x, queues[at], weight);
        } else {
            slc_binding_remove(bindings[at]);
            bindings[at] = NULL;
        }
        for (int i = 0; i < KEYS; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            slc_destination *to = route_one(x, key, &route);
            int home = to != NULL ? index_of(queues, to) : -1;
            bool stayed = home == homes[i];
            bool fine = stayed || (adds ? home == at : homes[i] == at);
            if (!fine)
                cr_assert_fail("seed %" PRIu64 ": key %d moved from %d to %d when %d %s", test_seed,
                               i, homes[i], home, at, adds ? "came" : "went");
            homes[i] = home;
        }
    }
    queues_free(queues, QUEUES);
    test_vhost_clear();
    slc_route_fini(&route);
}

Test(consistent_hash, hashes_a_header_or_a_property, .timeout = 60)
{
    slc_destination *queues[QUEUES];
    slc_route route = {0};
    slc_table_builder by_header = {0}, by_property = {0};
    slc_table_put_text(&by_header, "hash-header", "customer");
    slc_table_put_text(&by_property, "hash-property", "message_id");
    slc_exchange *header = exchange_with("h", "x-consistent-hash", &by_header);
    slc_exchange *property = exchange_with("p", "x-consistent-hash", &by_property);
    queues_make(queues, QUEUES);
    for (int i = 0; i < QUEUES; i++) {
        test_bind(header, queues[i], "1");
        test_bind(property, queues[i], "1");
    }
    uint32_t header_hits = 0, property_hits = 0; // bits of queues
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "id%d", i);
        slc_table_builder b = {0};
        slc_table_put_text(&b, "customer", id);
        slc_route_input input = {.key = slc_slice_str("any"),
                                 .headers = slc_table_builder_content(&b)};
        slc_route_message(header, &input, &route);
        cr_assert(route.count == 1 && !route.cacheable);
        slc_destination *first = route.queues[0];
        header_hits |= 1u << index_of(queues, first);
        input.key = slc_slice_str("other"); // the key means nothing
        slc_route_message(header, &input, &route);
        cr_assert(route.queues[0] == first);
        slc_table_builder_fini(&b);

        uint8_t props[32] = {0x80, 0x80, 4, 't', 'e', 'x', 't'}; // content-type and message-id
        props[7] = (uint8_t)strlen(id);
        memcpy(props + 8, id, strlen(id));
        slc_message *m = slc_message_new(slc_slice_str("p"), slc_slice_str("k"),
                                         slc_slice_of(props, 8 + strlen(id)), 0, false);
        slc_slice found;
        cr_assert(slc_message_property(m, SLC_PROPERTY_MESSAGE_ID, &found));
        cr_assert(slc_slice_is(found, id));
        cr_assert(!slc_message_property(m, SLC_PROPERTY_TIMESTAMP, &found));
        input = (slc_route_input){.key = slc_slice_str("k"), .message = m};
        slc_route_message(property, &input, &route);
        cr_assert(route.count == 1 && !route.cacheable);
        property_hits |= 1u << index_of(queues, route.queues[0]);
        slc_message_unref(m);
    }
    cr_expect(header_hits == (1u << QUEUES) - 1, "200 values reach all of 12 queues");
    cr_expect(property_hits == (1u << QUEUES) - 1);
    queues_free(queues, QUEUES);
    test_vhost_clear();
    slc_route_fini(&route);
}

/* ---- x-modulus-hash, x-random ---- */

Test(modulus_hash, spreads_evenly_whatever_the_order_of_binding, .timeout = 60)
{
    slc_destination *queues[QUEUES];
    slc_route route = {0};
    slc_exchange *up = test_exchange("up", "x-modulus-hash", NULL);
    slc_exchange *down = test_exchange("down", "x-modulus-hash", NULL);
    uint32_t hits[QUEUES] = {0};
    queues_make(queues, QUEUES);
    cr_expect(route_one(up, "k", &route) == NULL);
    for (int i = 0; i < QUEUES; i++) {
        test_bind(up, queues[i], "");
        test_bind(down, queues[QUEUES - 1 - i], "");
    }
    slc_binding_remove(test_bind(up, queues[0], "one more"));
    for (int i = 0; i < MESSAGES; i++) {
        char key[32];
        snprintf(key, sizeof key, "order.%d", i);
        slc_destination *to = route_one(up, key, &route);
        cr_assert(to == route_one(down, key, &route));
        hits[index_of(queues, to)]++;
    }
    for (int i = 0; i < QUEUES; i++)
        cr_expect(hits[i] > MESSAGES / QUEUES * 8 / 10 && hits[i] < MESSAGES / QUEUES * 12 / 10,
                  "q%d has %u", i, hits[i]);
    queues_free(queues, QUEUES);
    test_vhost_clear();
    slc_route_fini(&route);
}

Test(random_exchange, throws_among_all_bindings, .timeout = 60)
{
    slc_destination *queues[QUEUES];
    slc_route route = {0};
    slc_exchange *x = test_exchange("x", "x-random", NULL);
    uint32_t hits[QUEUES] = {0};
    queues_make(queues, QUEUES);
    cr_expect(route_one(x, "a", &route) == NULL);
    for (int i = 0; i < QUEUES; i++)
        test_bind(x, queues[i], i < 4 ? "a" : "b");
    for (int i = 3; i < QUEUES; i += 2) // from the middle and the end
        slc_binding_remove(test_bind(x, queues[i], i < 4 ? "a" : "b"));
    for (int i = 0; i < MESSAGES; i++)
        hits[index_of(queues, route_one(x, "a", &route))]++;
    for (int i = 0; i < QUEUES; i++) {
        bool bound = i < 3 || i % 2 == 0;
        cr_expect(bound ? hits[i] > MESSAGES / 7 * 9 / 10 : hits[i] == 0, "q%d has %u", i, hits[i]);
    }
    cr_expect(!route.cacheable);
    queues_free(queues, QUEUES);
    test_vhost_clear();
    slc_route_fini(&route);
}

/** Law: a message goes to one of those that are bound now; with x-modulus-hash the key and the set of them say to which, whatever
 *  came and went before. The model is the set; random changes from a seed. */
Test(kinds, one_of_those_that_are_bound, .timeout = 60)
{
    enum { KEYS = 50, ROUNDS = 200 };
    static const char *const types[] = {"x-random", "x-modulus-hash"};
    slc_destination *queues[QUEUES];
    slc_route route = {0};
    test_random_init();
    queues_make(queues, QUEUES);
    for (size_t t = 0; t < SLC_ARRAY_COUNT(types); t++) {
        slc_binding *bindings[QUEUES] = {0};
        slc_exchange *x = test_exchange(types[t], types[t], NULL);
        uint32_t bound = 0;
        for (int round = 0; round < ROUNDS; round++) {
            int at = (int)test_random(QUEUES);
            if (bindings[at] == NULL) {
                bindings[at] = test_bind(x, queues[at], "");
                bound++;
            } else {
                slc_binding_remove(bindings[at]);
                bindings[at] = NULL;
                bound--;
            }
            // A second one, bound to the same set at once and backwards.
            char name[16];
            snprintf(name, sizeof name, "%zu.%d", t, round);
            slc_exchange *twin = t == 1 ? test_exchange(name, types[t], NULL) : NULL;
            for (int i = QUEUES - 1; i >= 0 && twin != NULL; i--)
                if (bindings[i] != NULL)
                    test_bind(twin, queues[i], "");
            for (int i = 0; i < KEYS; i++) {
                char key[16];
                snprintf(key, sizeof key, "k%d", i);
                slc_destination *to = route_one(x, key, &route);
                int home = to != NULL ? index_of(queues, to) : -1;
                bool fine = home < 0 ? bound == 0 : bindings[home] != NULL;
                if (fine && twin != NULL)
                    fine = to == route_one(twin, key, &route);
                if (!fine)
                    cr_assert_fail("seed %" PRIu64 ": %s, round %d: '%s' went to %d of %u bound",
                                   test_seed, types[t], round, key, home, bound);
            }
        }
    }
    queues_free(queues, QUEUES);
    test_vhost_clear();
    slc_route_fini(&route);
}

/* ---- checks ---- */

struct declare_case {
    char type[24], key[32], text_value[16];
    int64_t integer; // of the argument when text_value is empty
    char error[128];
};

Test(kinds, arguments_and_keys_are_checked, .timeout = 60)
{
    static const struct declare_case declares[] = {
        {"x-consistent-hash", "hash-header", "customer", 0, ""},
        {"x-consistent-hash", "hash-property", "timestamp", 0, ""},
        {"x-consistent-hash", "hash-property", "app_id", 0, "Unsupported property: app_id"},
        {"x-recent-history", "x-recent-history-length", "", 5, ""},
        {"x-recent-history", "x-recent-history-length", "", 0,
         "Invalid argument 0, 'x-recent-history-length' must be a positive integer"},
        {"x-recent-history", "x-recent-history-length", "ten", 0,
         "Invalid argument ten, 'x-recent-history-length' must be a positive integer"},
    };
    slc_error error;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(declares); i++) {
        const struct declare_case *c = &declares[i];
        slc_table_builder b = {0};
        error = (slc_error){0};
        if (c->text_value[0] != 0)
            slc_table_put_text(&b, c->key, c->text_value);
        else
            slc_table_put_i64(&b, c->key, c->integer);
        const slc_exchange_kind *kind = slc_exchange_kind_find(slc_slice_str(c->type));
        slc_err rc = kind->check_arguments(slc_table_builder_content(&b), &error);
        cr_expect(rc == (c->error[0] == 0 ? SLC_OK : SLC_EPRECONDITION), "case %zu", i);
        cr_expect_str_eq(rc == SLC_OK ? "" : error.text, c->error);
        slc_table_builder_fini(&b);
    }
    slc_table_builder both = {0};
    slc_table_put_text(&both, "hash-header", "h");
    slc_table_put_text(&both, "hash-property", "message_id");
    cr_expect(slc_exchange_consistent_hash.check_arguments(slc_table_builder_content(&both),
                                                           &error) == SLC_EPRECONDITION);
    cr_expect_str_eq(error.text, "hash-header and hash-property are mutually exclusive");
    slc_table_builder_fini(&both);

    static const struct {
        const char *key, *error;
    } keys[] = {
        {"1", ""},
        {"100", ""},
        {"0", "The binding key must be greater than 0"},
        {"-3", "The binding key must be greater than 0"},
        {"", "The binding key must be an integer: <<\"\">>"},
        {"1.5", "The binding key must be an integer: <<\"1.5\">>"},
        {"many", "The binding key must be an integer: <<\"many\">>"},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(keys); i++) {
        error = (slc_error){0};
        slc_err rc = slc_exchange_consistent_hash.check(NULL, slc_slice_str(keys[i].key),
                                                        (slc_slice){0}, &error);
        cr_expect_str_eq(rc == SLC_OK ? "" : error.text, keys[i].error);
    }
}

/* ---- x-recent-history ---- */

static const char *drain(fake_world *w, slc_session *s, const char *queue)
{
    static char text[512];
    const char *body;
    text[0] = 0;
    while ((body = fake_get(w, s, queue, true, NULL)) != NULL)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", body);
    return text;
}

static void declare_history(slc_session *s, const char *name, int64_t length)
{
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_table_put_i64(&b, "x-recent-history-length", length);
    slc_exchange_declare declare = {.name = slc_slice_str(name),
                                    .type = slc_slice_str("x-recent-history"),
                                    .arguments = slc_table_builder_content(&b)};
    cr_assert(slc_session_exchange_declare(s, &declare, &error) == SLC_OK, "%s", error.text);
    slc_table_builder_fini(&b);
}

Test(recent_history, a_new_binding_gets_the_last_messages, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    fake_queue(w, s, "first", "d");
    fake_queue(w, s, "second", "");
    fake_queue(w, s, "third", "");
    declare_history(s, "x", 3);
    fake_bind(w, s, "first", "x", "");
    for (int i = 1; i <= 5; i++) {
        char body[16];
        snprintf(body, sizeof body, "m%d", i);
        cr_expect(fake_publish(s, "x", "same key", body, "p") == SLC_OK);
    }
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_table_put_bool(&b, "x-recent-history-no-store", true);
    slc_message *m =
        slc_message_new(slc_slice_str("x"), slc_slice_str("same key"), (slc_slice){0}, 1, false);
    slc_message_body(m)[0] = '6';
    cr_expect(slc_session_publish(s, m, slc_table_builder_content(&b), false, &error) == SLC_OK);
    slc_table_builder_fini(&b);
    cr_expect_str_eq(drain(w, s, "first"), "m1 m2 m3 m4 m5 6 ");
    fake_bind(w, s, "second", "x", "");
    cr_expect_str_eq(drain(w, s, "second"), "m3 m4 m5 ");
    fake_bind(w, s, "second", "x", ""); // it exists
    cr_expect_str_eq(drain(w, s, "second"), "");
    // To an exchange: through its rule.
    fake_exchange(w, s, "direct", "direct", "");
    fake_bind(w, s, "third", "direct", "same key");
    cr_expect(slc_session_exchange_bind(s, slc_slice_str("direct"), slc_slice_str("x"),
                                        slc_slice_str("whatever"), (slc_slice){0},
                                        &error) == SLC_OK);
    cr_expect_str_eq(drain(w, s, "third"), "m3 m4 m5 ");
    fake_client_close(c);
    fake_world_free(w);
}

/** The model: the last bodies in an array. Random publishes, some of which are not to be kept, and bindings that come and go. */
Test(recent_history, agrees_with_an_array, .timeout = 60)
{
    enum { KEPT = 7, STEPS = 400, PLACES = 4 };
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_error error = {0};
    int kept[STEPS], kept_count = 0;
    bool bound[PLACES] = {false};
    test_random_init();
    declare_history(s, "x", KEPT);
    for (int step = 0; step < STEPS; step++) {
        char name[PLACES][8], wanted[128] = "";
        int place = (int)test_random(PLACES);
        uint32_t what = test_random(8);
        for (int i = 0; i < PLACES; i++)
            snprintf(name[i], sizeof name[i], "q%d", i);
        if (what == 0 && bound[place]) {
            fake_unbind(w, s, name[place], "x", "");
            bound[place] = false;
            continue;
        }
        if (what <= 1 && !bound[place]) {
            fake_queue(w, s, name[place], ""); // it may be there
            fake_bind(w, s, name[place], "x", "");
            bound[place] = true;
            for (int i = kept_count > KEPT ? kept_count - KEPT : 0; i < kept_count; i++)
                snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%d ", kept[i]);
            cr_assert_str_eq(drain(w, s, name[place]), wanted, "seed %" PRIu64 ", step %d",
                             test_seed, step);
            continue;
        }
        bool keep = test_random(3) != 0;
        char body[16];
        slc_table_builder b = {0};
        int bytes = snprintf(body, sizeof body, "%d", step);
        slc_table_put_bool(&b, "x-recent-history-no-store", !keep);
        slc_message *m = slc_message_new(slc_slice_str("x"), slc_slice_str("k"), (slc_slice){0},
                                         (uint64_t)bytes, false);
        memcpy(slc_message_body(m), body, (size_t)bytes);
        cr_assert(slc_session_publish(s, m, slc_table_builder_content(&b), false, &error) ==
                  SLC_OK);
        slc_table_builder_fini(&b);
        if (keep)
            kept[kept_count++] = step;
        snprintf(wanted, sizeof wanted, "%d ", step);
        for (int i = 0; i < PLACES; i++)
            if (bound[i])
                cr_assert_str_eq(drain(w, s, name[i]), wanted, "seed %" PRIu64 ", step %d",
                                 test_seed, step);
    }
    cr_expect(kept_count > 10 * KEPT);
    fake_client_close(c);
    fake_world_free(w);
}

Test(recent_history, a_replay_confirms_nothing, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_error error = {0};
    fake_queue(w, s, "stored", "d");
    fake_queue(w, s, "again", "d");
    fake_exchange(w, s, "x", "x-recent-history", "d");
    fake_bind(w, s, "stored", "x", "");
    cr_assert(slc_session_confirm_select(s, &error) == SLC_OK);
    fake_turn(w);
    fake_hold_store(w, true);
    fake_publish(s, "x", "", "m", "p");
    fake_bind(w, s, "again", "x", "");
    // The second copy is settled before it reaches the disk; the first still waits for it.
    cr_expect_str_eq(fake_get(w, s, "again", true, NULL), "m");
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "");
    fake_hold_store(w, false);
    fake_sync(w);
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "confirm 1");
    fake_client_close(c);
    fake_world_free(w);
}
