/* Topic patterns: the reference matcher, the trie against it, and that cost stays bounded.
 * Vector 22. */
#include "topology_support.h"

#include "core/topic.h"

struct topic_case {
    const char *pattern, *key;
    bool want;
};

static const struct topic_case topic_cases[] = {
    /* vector 22: each key against each pattern */
    {"#", "", true},
    {"#", "a", true},
    {"#", "a.b", true},
    {"#", "a..b", true},
    {"*", "", false},
    {"*", "a", true},
    {"*", "a.b", false},
    {"*", "a..b", false},
    {"a.*", "", false},
    {"a.*", "a", false},
    {"a.*", "a.b", true},
    {"a.*", "a..b", false},
    {"a.#", "", false},
    {"a.#", "a", true},
    {"a.#", "a.b", true},
    {"a.#", "a..b", true},
    {"#.b", "", false},
    {"#.b", "a", false},
    {"#.b", "a.b", true},
    {"#.b", "a..b", true},
    {"a.*.b", "", false},
    {"a.*.b", "a", false},
    {"a.*.b", "a.b", false},
    {"a.*.b", "a..b", true},
    /* the empty key is no word, an empty word is one */
    {"", "", true},
    {"", "a", false},
    {"", ".", false},
    {"a", "", false},
    {".", ".", true},
    {"*.*", ".", true},
    {"*", ".", false},
    {"*.*.*", "..", true},
    {"a.", "a.", true},
    {"a.*", "a.", true},
    {"a", "a.", false},
    {".a", ".a", true},
    {"#.*", "", false},
    {"#.*", "a", true},
    {"*.#", "", false},
    {"*.#", "a", true},
    /* wildcards are whole words */
    {"a*", "ab", false},
    {"a*", "a*", true},
    {"a#.b", "a.x.b", false},
    {"##", "a.b", false},
    {"**", "a.b", false},
    {"*", "*", true},
    {"#", "#.*", true},
    {"a.*", "a.#", true},
    /* several # */
    {"#.#", "", true},
    {"#.#.#", "a.b", true},
    {"#.a.#", "a", true},
    {"#.a.#", "b.a.c", true},
    {"#.a.#", "b.c", false},
    {"#.a.#.b.#", "x.a.y.b.z", true},
    {"#.a.#.b.#", "b.a", false},
    {"#.a.*.#.b", "a.b", false},
    {"#.a.*.#.b", "a.a.b", true},
    {"#.*.a", "a", false},
    {"a.#.a", "a", false},
    {"a.#.a", "a.a", true},
    {"a.#.a", "a.b.a", true},
    {"a.#.a", "a.a.b", false},
    {"#.a.b", "a.a.b", true},
    {"#.a.b.#.c", "a.a.b.b.c", true},
    {"A.b", "a.b", false},
};

Test(topic, reference_matches_the_table)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(topic_cases); i++) {
        const struct topic_case *c = &topic_cases[i];
        cr_expect_eq(slc_topic_match(slc_slice_str(c->pattern), slc_slice_str(c->key)), c->want,
                     "'%s' ~ '%s'", c->pattern, c->key);
    }
}

Test(topic, exchange_matches_the_table_one_by_one)
{
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *q = test_queue("q");
    slc_route route = {0};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(topic_cases); i++) {
        const struct topic_case *c = &topic_cases[i];
        slc_binding *b = test_bind(x, q, c->pattern);
        test_route(x, c->key, (slc_slice){0}, &route);
        cr_expect_eq(test_route_has(&route, q), c->want, "'%s' ~ '%s'", c->pattern, c->key);
        slc_binding_remove(b);
        cr_expect_eq(slc_topic_nodes(x->index), 1);
    }
    slc_route_fini(&route);
    test_queue_free(q);
    test_vhost_clear();
}

Test(topic, at_most_eight_hash_words)
{
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *q = test_queue("q");
    slc_error error = {0};
    slc_binding *b = NULL;
    cr_expect_eq(
        slc_binding_add(x, q, slc_slice_str("#.#.#.#.a#.##.#.#.#.#"), (slc_slice){0}, &b, &error),
        SLC_OK);
    cr_expect_eq(
        slc_binding_add(x, q, slc_slice_str("#.#.#.#.a.#.#.#.#.#"), (slc_slice){0}, &b, &error),
        SLC_EPRECONDITION);
    cr_expect_str_eq(error.text, "Topic binding key '#.#.#.#.a.#.#.#.#.#' uses 9 '#' wildcards, "
                                 "at most 8 are allowed");
    test_queue_free(q);
    test_vhost_clear();
}

/* ---- properties ---- */

typedef struct naive_words {
    char *words[256];
    int count;
} naive_words;

/** text is cut up. */
static void naive_split(char *text, naive_words *out)
{
    out->count = 0;
    if (*text == 0)
        return;
    for (char *at = text; at != NULL;)
        out->words[out->count++] = strsep(&at, ".");
}

/** Straight from the definition; exponential, so for short keys only. */
static bool naive_match(const naive_words *p, int i, const naive_words *k, int j)
{
    if (i == p->count)
        return j == k->count;
    if (strcmp(p->words[i], "#") == 0)
        return naive_match(p, i + 1, k, j) || (j < k->count && naive_match(p, i, k, j + 1));
    if (j == k->count)
        return false;
    if (strcmp(p->words[i], "*") != 0 && strcmp(p->words[i], k->words[j]) != 0)
        return false;
    return naive_match(p, i + 1, k, j + 1);
}

static void random_words(char *out, uint32_t words_max, bool pattern)
{
    static const char *const words[] = {"a", "b", "c", "", "ab", "*", "*", "#", "#", "a*", "##"};
    uint32_t count = test_random(words_max + 1), hashes = 0;
    *out = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *word = words[test_random(pattern ? SLC_ARRAY_COUNT(words) : 5)];
        hashes += strcmp(word, "#") == 0;
        if (hashes > 8)
            word = "a";
        if (i > 0)
            strcat(out, ".");
        strcat(out, word);
    }
}

Test(topic, reference_agrees_with_the_definition, .timeout = 60)
{
    test_random_init();
    for (int i = 0; i < 100000; i++) {
        char pattern[64], key[64], pattern_cut[64], key_cut[64];
        naive_words p, k;
        random_words(pattern, 7, true);
        random_words(key, 7, false);
        naive_split(strcpy(pattern_cut, pattern), &p);
        naive_split(strcpy(key_cut, key), &k);
        cr_assert_eq(slc_topic_match(slc_slice_str(pattern), slc_slice_str(key)),
                     naive_match(&p, 0, &k, 0), "seed %" PRIu64 ": '%s' ~ '%s'", test_seed, pattern,
                     key);
    }
}

Test(topic, trie_agrees_with_the_reference, .timeout = 60)
{
    enum { QUEUES = 200, STEPS = 20000 };
    test_random_init();
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *queues[QUEUES];
    slc_binding *bound[QUEUES] = {0};
    char text[128];
    for (int i = 0; i < QUEUES; i++) {
        snprintf(text, sizeof text, "q%d", i);
        queues[i] = test_queue(text);
    }
    slc_route route = {0};
    uint64_t matched = 0;
    for (int step = 0; step < STEPS; step++) {
        uint32_t q = test_random(QUEUES);
        if (bound[q] == NULL) {
            random_words(text, test_random(4) == 0 ? 12 : 5, true);
            bound[q] = test_bind(x, queues[q], text);
        } else if (test_random(3) == 0) {
            slc_binding_remove(bound[q]);
            bound[q] = NULL;
        }
        random_words(text, test_random(4) == 0 ? 12 : 5, false);
        test_route(x, text, (slc_slice){0}, &route);
        cr_assert(route.cacheable);
        uint32_t want = 0;
        for (int i = 0; i < QUEUES; i++) {
            if (bound[i] == NULL || !slc_topic_match(bound[i]->key, slc_slice_str(text)))
                continue;
            want++;
            bool has = false;
            for (uint32_t r = 0; r < route.count && !has; r++)
                has = route.queues[r] == queues[i];
            cr_assert(has, "seed %" PRIu64 ", step %d: '%.*s' ~ '%s' is missing", test_seed, step,
                      SLC_SLICE_FMT(bound[i]->key), text);
        }
        cr_assert_eq(route.count, want, "seed %" PRIu64 ", step %d: '%s' goes to %u queues, not %u",
                     test_seed, step, text, route.count, want);
        matched += want;
    }
    cr_expect_gt(matched, STEPS, "the generator hits nothing");
    for (int i = 0; i < QUEUES; i++)
        test_queue_free(queues[i]);
    cr_expect_eq(slc_topic_nodes(x->index), 1);
    slc_route_fini(&route);
    test_vhost_clear();
}

/** The table of edges grows, shrinks and loses nothing. */
Test(topic, many_bindings_come_and_go, .timeout = 60)
{
    enum { COUNT = 20000 };
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *q = test_queue("q"), *r = test_queue("r");
    slc_binding **bindings = slc_alloc(COUNT * sizeof *bindings);
    slc_route route = {0};
    char key[64];
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "a.*.b%d.#", i);
        bindings[i] = test_bind(x, i % 2 ? q : r, key);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < COUNT; i++) {
            snprintf(key, sizeof key, "a.x.b%d.y.z", i);
            test_route(x, key, (slc_slice){0}, &route);
            bool want = pass == 0 || i % 16 == 5;
            cr_assert_eq(route.count, want, "pass %d: %s", pass, key);
            cr_assert(!want || route.queues[0] == (i % 2 ? q : r));
        }
        for (int i = 0; pass == 0 && i < COUNT; i++) {
            if (i % 16 != 5)
                slc_binding_remove(bindings[i]);
        }
    }
    test_queue_free(q);
    test_queue_free(r);
    cr_expect_eq(slc_topic_nodes(x->index), 1);
    slc_free(bindings);
    slc_route_fini(&route);
    test_vhost_clear();
}

/** So many parents of the same word that some share its 32-bit hash (five or so, by the birthday rule): each finds its own child. */
Test(topic, equal_words_below_many_parents, .timeout = 60)
{
    enum { COUNT = 200000, QUEUES = 16 };
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *queues[QUEUES];
    char key[32];
    for (int i = 0; i < QUEUES; i++) {
        snprintf(key, sizeof key, "q%d", i);
        queues[i] = test_queue(key);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "p%d.w", i);
        test_bind(x, queues[i % QUEUES], key);
    }
    slc_route route = {0};
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "p%d.w", i);
        test_route(x, key, (slc_slice){0}, &route);
        if (route.count != 1 || route.queues[0] != queues[i % QUEUES])
            cr_assert_fail("%s goes to %u queues, or to the wrong one", key, route.count);
    }
    slc_route_fini(&route);
    for (int i = 0; i < QUEUES; i++)
        test_queue_free(queues[i]);
    test_vhost_clear();
}

/** Patterns and a key for which backtracking would run for ages: the nodes are few, so it must be
 * over in no time. */
Test(topic, many_hash_words_are_cheap, .timeout = 60)
{
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *q = test_queue("q"), *hit = test_queue("hit");
    char key[256];
    for (size_t i = 0; i < 255; i++)
        key[i] = i % 2 ? '.' : 'a';
    key[255] = 0;
    char pattern[64];
    for (int i = 0; i < 500; i++) {
        snprintf(pattern, sizeof pattern, "#.a.#.a.#.a.#.a.#.a.#.a.#.a.#.b%d", i);
        test_bind(x, q, pattern);
        snprintf(pattern, sizeof pattern, "#.*.#.a.#.*.#.a.#.*.#.*.#.a.#.b%d", i);
        test_bind(x, q, pattern);
    }
    test_bind(x, hit, "#.a.#.a.#.a.#.a.#.a.#.a.#.a.#");
    slc_route route = {0};
    for (int i = 0; i < 1000; i++) {
        test_route(x, key, (slc_slice){0}, &route);
        cr_assert_eq(route.count, 1);
        cr_assert_eq(route.queues[0], hit);
        cr_assert_not(slc_topic_match(slc_slice_str(pattern), slc_slice_str(key)));
    }
    slc_route_fini(&route);
    test_queue_free(q);
    test_queue_free(hit);
    test_vhost_clear();
}
