// What may stand in a policy, which one applies, what two say together, and definitions as a file.
// @spec amqp-semantics 18.1, management-api 6
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/definitions_file.h"
#include "core/json_table.h"
#include "core/parameter.h"
#include "core/policy.h"
#include "fake_world.h"

static fake_world *w;
static fake_client *c;
static slc_session *s;
static slc_err last_rc;
static bool last_created;
static char last_text[2048];
static int answers;

static void setup(void)
{
    w = fake_world_new();
    c = fake_client_open(w);
    s = fake_session(c);
}

static void teardown(void)
{
    fake_world_free(w);
}

TestSuite(policy, .init = setup, .fini = teardown, .timeout = 60);

static void answered(slc_err rc, bool created, const slc_error *error, void *arg)
{
    (void)arg;
    last_rc = rc;
    last_created = created;
    snprintf(last_text, sizeof last_text, "%s", error->text);
    answers++;
}

static slc_vhost *root(void)
{
    return slc_broker_vhost(fake_broker(w), slc_slice_str("/"));
}

static slc_err set(const char *component, const char *name, const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert(value != NULL, "%s", text);
    int before = answers;
    slc_parameter_set(fake_broker(w), root(), slc_slice_str(component), slc_slice_str(name), value,
                      answered, NULL);
    json_decref(value);
    fake_turn(w);
    cr_assert(eq(int, answers, before + 1));
    return last_rc;
}

static slc_err clear(const char *component, const char *name)
{
    int before = answers;
    slc_parameter_clear(fake_broker(w), root(), slc_slice_str(component), slc_slice_str(name),
                        answered, NULL);
    fake_turn(w);
    cr_assert(eq(int, answers, before + 1));
    return last_rc;
}

typedef struct find {
    const char *name;
    const slc_destination *dest;
} find;

static void queue_each(const slc_queue_info *q, void *arg)
{
    find *f = arg;
    if (slc_slice_is(q->name, f->name))
        f->dest = q->dest;
}

/** "policy operator-policy"; "-" for none. */
static const char *applied(const char *queue)
{
    static char text[600];
    find f = {queue, NULL};
    slc_vhost_each_queue(root(), queue_each, &f);
    cr_assert(f.dest != NULL, "%s", queue);
    slc_slice a = slc_policy_name(f.dest->policy_held);
    slc_slice b = slc_policy_name(f.dest->operator_policy_held);
    snprintf(text, sizeof text, "%.*s %.*s", a.bytes > 0 ? (int)a.bytes : 1,
             a.bytes > 0 ? (const char *)a.data : "-", b.bytes > 0 ? (int)b.bytes : 1,
             b.bytes > 0 ? (const char *)b.data : "-");
    return text;
}

/* ---- what is refused ---- */

Test(policy, refused_with_rabbitmqs_texts)
{
    static const struct {
        const char *value, *text;
    } cases[] = {
        {"{\"pattern\":\"a\",\"definition\":{}}", "no policy provided"},
        {"{\"pattern\":\"a\",\"definition\":{\"nosuch\":1}}",
         "[{<<\"nosuch\">>,1}] are not recognised policy settings"},
        {"{\"pattern\":\"a\",\"definition\":{\"message-ttl\":-1}}",
         "-1 is not a valid message TTL"},
        {"{\"pattern\":\"a\",\"definition\":{\"message-ttl\":\"a\"}}",
         "<<\"a\">> is not a valid message TTL"},
        {"{\"pattern\":\"a\",\"definition\":{\"expires\":0}}", "0 is not a valid queue expiry"},
        {"{\"pattern\":\"a\",\"definition\":{\"consumer-disconnected-timeout\":-1}}",
         "-1 is not a valid consumer disconnected timeout"},
        {"{\"pattern\":\"a\",\"definition\":{\"max-length\":1.5}}",
         "1.5 is not a valid maximum length"},
        {"{\"pattern\":\"a\",\"definition\":{\"max-length-bytes\":null}}",
         "null is not a valid maximum length in bytes"},
        {"{\"pattern\":\"a\",\"definition\":{\"overflow\":\"x\"}}",
         "<<\"x\">> is not a valid overflow value"},
        {"{\"pattern\":\"a\",\"definition\":{\"ha-params\":2}}",
         "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown"},
        {"{\"pattern\":\"a\",\"definition\":{\"ha-mode\":\"exactly\"}}",
         "ha-mode=\"exactly\" takes an integer, none given"},
        {"{\"pattern\":\"a\",\"definition\":{\"ha-mode\":\"nodes\",\"ha-params\":[]}}",
         "ha-mode=\"nodes\" list must be non-empty"},
        {"{\"pattern\":\"a\",\"definition\":{\"max-age\":\"1X\"}}",
         "<<\"1X\">> is not a valid max age"},
        {"{\"pattern\":1,\"definition\":{\"max-length\":1}}",
         "pattern should be a binary but was 1"},
        {"{\"pattern\":\"a\",\"priority\":\"3\",\"definition\":{\"max-length\":1}}",
         "priority should be a number, actually was <<\"3\">>"},
        {"{\"pattern\":\"(\",\"definition\":{\"max-length\":1}}",
         "pattern should be regular expression but is invalid: {\"missing closing "
         "parenthesis\",1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char want[300];
        snprintf(want, sizeof want, "Validation failed\n\n%s\n", cases[i].text);
        cr_expect(eq(int, set("policy", "p", cases[i].value), SLC_EINVAL));
        cr_expect(eq(str, last_text, want));
    }
    cr_expect(eq(int, set("shovel", "p", "{}"), SLC_EINVAL));
    cr_expect(eq(str, last_text, "Validation failed\n\ncomponent shovel not found\n"));
    cr_expect(eq(int,
                 set("operator_policy", "p",
                     "{\"pattern\":\"a\",\"definition\":{\"dead-letter-exchange\":\"x\"}}"),
                 SLC_EINVAL));
    cr_expect(eq(int, clear("policy", "p"), SLC_ENOTFOUND));
}

/* ---- which one applies ---- */

Test(policy, existing_and_new_queues_follow)
{
    fake_queue(w, s, "a1", "d");
    cr_expect(eq(str, (char *)applied("a1"), "- -"));
    cr_expect(eq(int,
                 set("policy", "low", "{\"pattern\":\"^a\",\"definition\":{\"max-length\":1}}"),
                 SLC_OK));
    cr_expect(last_created);
    cr_expect(eq(str, (char *)applied("a1"), "low -"));
    fake_queue(w, s, "a2", "");
    fake_queue(w, s, "b", "");
    cr_expect(eq(str, (char *)applied("a2"), "low -"));
    cr_expect(eq(str, (char *)applied("b"), "- -"));
    set("policy", "high", "{\"pattern\":\"2$\",\"priority\":5,\"definition\":{\"max-length\":2}}");
    set("operator_policy", "op", "{\"pattern\":\"\",\"definition\":{\"max-length\":3}}");
    cr_expect(eq(str, (char *)applied("a1"), "low op"));
    cr_expect(eq(str, (char *)applied("a2"), "high op"));
    cr_expect(eq(str, (char *)applied("b"), "- op"));
    set("policy", "kind",
        "{\"pattern\":\".*\",\"priority\":9,\"apply-to\":\"exchanges\",\"definition\":{\"alternate-"
        "exchange\":\"x\"}}");
    cr_expect(eq(str, (char *)applied("a2"), "high op"));
    clear("policy", "high");
    cr_expect(eq(str, (char *)applied("a2"), "low op"));

    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    cr_expect(eq(str, (char *)applied("a1"), "low op"));
}

Test(policy, alternate_exchange_of_a_policy_routes)
{
    fake_exchange(w, s, "ae", "fanout", "");
    fake_exchange(w, s, "x", "direct", "");
    fake_queue(w, s, "q", "");
    fake_bind(w, s, "q", "ae", "");
    fake_publish(s, "x", "none", "lost", "");
    set("policy", "p", "{\"pattern\":\"^x$\",\"definition\":{\"alternate-exchange\":\"ae\"}}");
    fake_publish(s, "x", "none", "kept", "");
    fake_turn(w);
    uint64_t tag;
    cr_expect(eq(str, (char *)fake_get(w, s, "q", true, &tag), "kept"));
    clear("policy", "p");
    fake_publish(s, "x", "none", "lost", "");
    fake_turn(w);
    cr_expect(fake_get(w, s, "q", true, &tag) == NULL);
}

typedef struct model_policy {
    char name[8], pattern[24];
    int priority;
    bool here;
} model_policy;

/** The naive rule: of all whose pattern is found, the highest priority, then the first name. */
static const char *model_choose(const model_policy *policies, int count, const char *queue)
{
    const model_policy *best = NULL;
    for (int i = 0; i < count; i++) {
        const model_policy *p = &policies[i];
        bool found = false;
        if (!p->here ||
            slc_policy_pattern_try(slc_slice_str(p->pattern), slc_slice_str(queue), &found, NULL) !=
                SLC_OK ||
            !found)
            continue;
        if (best == NULL || p->priority > best->priority ||
            (p->priority == best->priority && strcmp(p->name, best->name) < 0))
            best = p;
    }
    return best != NULL ? best->name : "-";
}

Test(policy, random_changes_agree_with_the_naive_rule)
{
    static const char *const patterns[] = {"^a",     "^ab", "^ab*", "^ab?c",  "b$",    "^(a|b)c",
                                           "^a|c",   "",    ".*",   "^abc$",  "^a\\.", "[bc]",
                                           "^a{2}b", "^c+", "^b.c", "(?i)^A", "^aa"};
    static const char *const queues[] = {"a",  "ab", "abc", "ac",  "a.b", "b",   "bc",
                                         "bb", "c",  "cc",  "aab", "acb", "bac", "d"};
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++)
        fake_queue(w, s, queues[i], i % 2 == 0 ? "d" : "");
    model_policy model[12];
    memset(model, 0, sizeof model);
    for (int i = 0; i < 12; i++)
        snprintf(model[i].name, sizeof model[i].name, "p%d", i);
    unsigned seed = 20261123;
    for (int step = 0; step < 150; step++) {
        model_policy *p = &model[rand_r(&seed) % 12];
        if (p->here && rand_r(&seed) % 3 == 0) {
            cr_assert(eq(int, clear("policy", p->name), SLC_OK));
            p->here = false;
        } else {
            snprintf(p->pattern, sizeof p->pattern, "%s",
                     patterns[(size_t)rand_r(&seed) % (sizeof patterns / sizeof patterns[0])]);
            p->priority = rand_r(&seed) % 4;
            json_t *value = json_pack("{s:s,s:i,s:{s:i}}", "pattern", p->pattern, "priority",
                                      p->priority, "definition", "max-length", step);
            char *text = json_dumps(value, 0);
            cr_assert(eq(int, set("policy", p->name, text), SLC_OK));
            p->here = true;
            free(text);
            json_decref(value);
        }
        for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
            char want[32];
            snprintf(want, sizeof want, "%s -", model_choose(model, 12, queues[i]));
            cr_assert(eq(str, (char *)applied(queues[i]), want), "step %d, queue %s", step,
                      queues[i]);
        }
    }
}

Test(policy, a_sweep_is_cut_into_turns_and_new_queues_are_right_at_once)
{
    char name[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "q%d", i);
        fake_queue(w, s, name, "");
    }
    json_t *value =
        json_loads("{\"pattern\":\"[0-9]\",\"definition\":{\"max-length\":1}}", 0, NULL);
    int before = answers;
    slc_broker *broker = fake_broker(w);
    slc_parameter_set(broker, root(), slc_slice_str("policy"), slc_slice_str("p"), value, answered,
                      NULL);
    json_decref(value);
    int turns = 0;
    // The second policy is applied while the first one's sweep is under way, or before it: both must be true in the end.
    value =
        json_loads("{\"pattern\":\"7\",\"priority\":1,\"definition\":{\"max-length\":2}}", 0, NULL);
    slc_parameter_set(broker, root(), slc_slice_str("policy"), slc_slice_str("seven"), value,
                      answered, NULL);
    json_decref(value);
    fake_queue(w, s, "q7new", "");
    for (; answers < before + 2 && turns < 100; turns++)
        fake_turn(w);
    cr_assert(eq(int, answers, before + 2));
    cr_expect(eq(str, (char *)applied("q7new"), "seven -"));
    cr_expect(eq(str, (char *)applied("q7"), "seven -"));
    cr_expect(eq(str, (char *)applied("q2999"), "p -"));
    // Objects that go while a sweep stands at them.
    value = json_loads("{\"pattern\":\"^q1\",\"priority\":2,\"definition\":{\"max-length\":2}}", 0,
                       NULL);
    slc_parameter_set(broker, root(), slc_slice_str("policy"), slc_slice_str("one"), value,
                      answered, NULL);
    json_decref(value);
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "q%d", i * 40);
        fake_queue_delete(w, s, name);
    }
    fake_turn(w);
    cr_expect(eq(str, (char *)applied("q1999"), "one -"));
}

Test(policy, a_pattern_that_explodes_is_stopped)
{
    bool found = true;
    slc_error error = {0};
    slc_err rc = slc_policy_pattern_try(slc_slice_str("^(a+)+$"),
                                        slc_slice_str("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
                                        &found, &error);
    cr_expect(eq(int, rc, SLC_ELIMIT));
    cr_expect(not(found));
    fake_queue(w, s, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "");
    cr_expect(eq(
        int, set("policy", "bomb", "{\"pattern\":\"^(a+)+$\",\"definition\":{\"max-length\":1}}"),
        SLC_OK));
    cr_expect(eq(str, (char *)applied("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), "- -"));
}

/* ---- what two say together ---- */

Test(policy, effective_definition_by_the_table)
{
    static const struct {
        const char *policy, *by_operator, *want;
    } cases[] = {
        {"{}", "{}", "{}"},
        {"{\"max-length\":5}", "{}", "{\"max-length\":5}"},
        {"{}", "{\"max-length\":5}", "{\"max-length\":5}"},
        {"{\"max-length\":5}", "{\"max-length\":7}", "{\"max-length\":5}"},
        {"{\"max-length\":7}", "{\"max-length\":5}", "{\"max-length\":5}"},
        {"{\"message-ttl\":0}", "{\"message-ttl\":5}", "{\"message-ttl\":0}"},
        {"{\"delivery-limit\":-1}", "{\"delivery-limit\":5}", "{\"delivery-limit\":5}"},
        {"{\"delivery-limit\":9}", "{\"delivery-limit\":-1}", "{\"delivery-limit\":9}"},
        {"{\"overflow\":\"drop-head\"}", "{\"overflow\":\"reject-publish\"}",
         "{\"overflow\":\"reject-publish\"}"},
        {"{\"queue-version\":1}", "{\"queue-version\":2}", "{\"queue-version\":2}"},
        {"{\"dead-letter-exchange\":\"x\",\"expires\":9}", "{\"expires\":8,\"max-length-bytes\":1}",
         "{\"dead-letter-exchange\":\"x\",\"expires\":8,\"max-length-bytes\":1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        slc_buffer tables[3] = {0}, text = {0};
        json_t *a = json_loads(cases[i].policy, 0, NULL);
        json_t *b = json_loads(cases[i].by_operator, 0, NULL);
        cr_assert(eq(int, slc_table_from_json(a, &tables[0], NULL), SLC_OK));
        cr_assert(eq(int, slc_table_from_json(b, &tables[1], NULL), SLC_OK));
        slc_policy_effective(slc_buffer_slice(&tables[0]), slc_buffer_slice(&tables[1]),
                             &tables[2]);
        cr_expect(eq(int, slc_table_check(slc_buffer_slice(&tables[2]), NULL), SLC_OK));
        slc_table_json(slc_buffer_slice(&tables[2]), &text);
        slc_buffer_octet(&text, 0);
        cr_expect(eq(str, (char *)text.data, (char *)cases[i].want), "case %zu", i);
        for (int k = 0; k < 3; k++)
            slc_buffer_fini(&tables[k]);
        slc_buffer_fini(&text);
        json_decref(a);
        json_decref(b);
    }
}

/* ---- definitions ---- */

// arg: the file; whoever gave it is the only one to have it by now. NULL: nobody asks.
static void imported(slc_err rc, const char *report, void *arg)
{
    if (arg != NULL)
        cr_expect(eq(sz, ((json_t *)arg)->refcount, 1));
    last_rc = rc;
    snprintf(last_text, sizeof last_text, "%s", report);
    answers++;
}

static slc_err import(const char *text, const char *vhost)
{
    json_t *file = NULL;
    slc_error error = {0};
    cr_assert(eq(int, slc_definitions_parse(slc_slice_str(text), &file, &error), SLC_OK));
    int before = answers;
    slc_definitions_import(fake_broker(w), file, slc_slice_str(vhost), imported, file);
    fake_turn(w);
    json_decref(file);
    cr_assert(eq(int, answers, before + 1));
    return last_rc;
}

static char *exported(void)
{
    slc_buffer out = {0};
    slc_definitions_export(fake_broker(w), NULL, "Sluice", "0", &out);
    slc_buffer_octet(&out, 0);
    return (char *)out.data;
}

static const char good_file[] =
    "{\"vhosts\":[{\"name\":\"/\"},{\"name\":\"v\"}],"
    "\"policies\":[{\"vhost\":\"v\",\"name\":\"p\",\"pattern\":\"^q\",\"definition\":[[\"max-"
    "length\",5]"
    "]}],\"queues\":[{\"name\":\"q\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":false,"
    "\"arguments\":{}},{\"name\":\"t\",\"vhost\":\"v\",\"durable\":false}],"
    "\"exchanges\":[{\"name\":\"x\",\"vhost\":\"v\",\"type\":\"headers\",\"durable\":\"true\"}],"
    "\"bindings\":[{\"source\":\"x\",\"vhost\":\"v\",\"destination\":\"q\",\"destination_type\":"
    "\"queue\",\"routing_key\":\"k\",\"arguments\":{\"x-match\":\"any\",\"n\":1}},"
    "{\"source\":\"amq.topic\",\"vhost\":\"v\",\"destination\":\"t\",\"destination_type\":"
    "\"queue\","
    "\"routing_key\":\"#\",\"arguments\":{}},"
    "{\"source\":\"x\",\"vhost\":\"v\",\"destination\":\"gone\",\"destination_type\":\"queue\","
    "\"routing_key\":\"k\",\"arguments\":{}}]}";

Test(policy, an_import_is_there_twice_the_same_and_after_a_restart)
{
    cr_expect(eq(int, import(good_file, ""), SLC_OK));
    char *once = exported();
    cr_expect(strstr(once, "\"destination\":\"t\"") != NULL);
    cr_expect(strstr(once, "\"destination\":\"gone\"") == NULL);
    cr_expect(eq(int, import(good_file, ""), SLC_OK));
    char *twice = exported();
    cr_expect(eq(str, once, twice));
    // What it exports it takes.
    cr_expect(eq(int, import(once, ""), SLC_OK));
    char *again = exported();
    cr_expect(eq(str, once, again));
    slc_vhost *v = slc_broker_vhost(fake_broker(w), slc_slice_str("v"));
    find f = {"q", NULL};
    slc_vhost_each_queue(v, queue_each, &f);
    cr_assert(f.dest != NULL);
    cr_expect(slc_slice_is(slc_policy_name(f.dest->policy_held), "p"));
    fake_restart(w);
    c = fake_client_open(w);
    char *after = exported();
    cr_expect(strstr(after, "\"arguments\":{\"n\":1,\"x-match\":\"any\"}") != NULL, "%s", after);
    cr_expect(strstr(after, "\"t\"") == NULL); // not durable
    slc_free(once);
    slc_free(twice);
    slc_free(again);
    slc_free(after);
}

Test(policy, a_wrong_file_names_everything_and_changes_nothing)
{
    char *before = exported();
    cr_expect(eq(
        int,
        import("{\"vhosts\":[{\"name\":\"new\"}],\"queues\":[{\"name\":\"fine\",\"vhost\":\"/\"},"
               "{\"name\":\"q\",\"vhost\":\"nosuch\"},{\"name\":\"q\",\"vhost\":\"/\","
               "\"durable\":5},{\"vhost\":\"/\"}],\"exchanges\":[{\"name\":\"x\",\"vhost\":"
               "\"/\",\"type\":\"nosuch\"}],\"policies\":[{\"vhost\":\"/\",\"name\":\"p\","
               "\"pattern\":\"a\",\"definition\":{\"max-length\":-1}}],\"parameters\":[{"
               "\"vhost\":\"/\",\"component\":\"shovel\",\"name\":\"s\",\"value\":{}}]}",
               ""),
        SLC_EINVAL));
    cr_expect(eq(str, last_text,
                 "parameters[0] (parameter 's'): Validation failed: component shovel not found\n"
                 "policies[0] (policy 'p'): Validation failed: -1 is not a valid maximum length\n"
                 "queues[1] (queue 'q'): its vhost 'nosuch' is not in this broker and not in the "
                 "section vhosts\n"
                 "queues[2] (queue 'q'): 'durable' is 5; it must be true or false\n"
                 "queues[3] (queue ''): 'name' must be there and be a string\n"
                 "exchanges[0] (exchange 'x'): unknown exchange type 'nosuch'"));
    char *after = exported();
    cr_expect(eq(str, before, after));
    slc_free(before);
    slc_free(after);
}

Test(policy, a_file_for_one_vhost_goes_there)
{
    cr_expect(
        eq(int, import("{\"queues\":[{\"name\":\"q\",\"vhost\":\"ignored\"}]}", "/"), SLC_OK));
    find f = {"q", NULL};
    slc_vhost_each_queue(root(), queue_each, &f);
    cr_expect(f.dest != NULL);
    cr_expect(eq(int, import("{}", "nosuch"), SLC_EINVAL));
    cr_expect(
        eq(int, slc_definitions_parse(slc_slice_str("[]"), &(json_t *){NULL}, NULL), SLC_EINVAL));
}

Test(policy, a_declare_waits_for_an_import_and_finds_its_queue)
{
    json_t *file = NULL;
    cr_assert(eq(int,
                 slc_definitions_parse(
                     slc_slice_str("{\"queues\":[{\"name\":\"q\",\"vhost\":\"/\"}]}"), &file, NULL),
                 SLC_OK));
    slc_definitions_import(fake_broker(w), file, slc_slice_str(""), imported, NULL);
    json_decref(file);
    cr_expect(eq(int, fake_queue(w, s, "q", "d"), SLC_OK));
    fake_turn(w);
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.queues, 1));
    fake_restart(w);
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.queues, 1));
    c = fake_client_open(w);
}
