// The API over its socket: real core, one client, one thread for the loop.
#include <criterion/criterion.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/table.h"
#include "testbed.h"

static void some_queues(testbed *bed)
{
    slc_table_builder b = {0};
    slc_table_put_i32(&b, "my-int", 5);
    testbed_queue(bed, "q1", slc_table_builder_content(&b));
    testbed_queue(bed, "a/b %", slc_slice_of(NULL, 0));
    slc_table_builder_fini(&b);
    for (int i = 0; i < 3; i++)
        testbed_publish(bed, "q1", "hello");
    slc_error error = {0};
    slc_err rc =
        slc_session_queue_bind(bed->session, slc_slice_str("q1"), slc_slice_str("amq.topic"),
                               slc_slice_str("a.*.#"), slc_slice_of(NULL, 0), &error);
    cr_assert_eq(rc, SLC_OK, "%s", error.text);
    slc_consume consume = {
        .queue = slc_slice_str("a/b %"), .tag = slc_slice_str("ct1"), .exclusive = true};
    const slc_consumer *consumer;
    cr_assert_eq(slc_session_consume(bed->session, &consume, &consumer, &error), SLC_OK, "%s",
                 error.text);
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "(none)";
}

static json_int_t number_at(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static const json_t *named(const json_t *array, const char *key, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item)
    {
        if (strcmp(text_at(item, key), name) == 0)
            return item;
    }
    return NULL;
}

static void expect_status(const testbed *bed, const char *method, const char *target, int status)
{
    http_reply reply = http_call(bed, method, target, NULL);
    cr_expect_eq(reply.status, status, "%s %s: %d %s", method, target, reply.status, reply.body);
    if (status >= 400 && status != 405) {
        cr_expect(json_is_string(json_object_get(reply.json, "error")), "%s", reply.body);
        cr_expect(json_is_string(json_object_get(reply.json, "reason")), "%s", reply.body);
    }
    http_reply_fini(&reply);
}

Test(api, lists_queues_with_counts_and_arguments, .timeout = 60)
{
    testbed bed;
    testbed_start(&bed, some_queues);
    json_t *all = http_json(&bed, "/api/queues");
    cr_assert_eq(json_array_size(all), 2u);
    const json_t *q = named(all, "name", "q1");
    cr_assert_not_null(q);
    cr_expect_str_eq(text_at(q, "vhost"), "/");
    cr_expect_str_eq(text_at(q, "type"), "classic");
    cr_expect_str_eq(text_at(q, "node"), "sluice@test");
    cr_expect_eq(number_at(q, "messages"), 3);
    cr_expect_eq(number_at(q, "messages_ready"), 3);
    cr_expect_eq(number_at(q, "message_bytes"), 15);
    cr_expect_eq(number_at(json_object_get(q, "arguments"), "my-int"), 5);
    cr_expect_eq(number_at(json_object_get(q, "message_stats"), "publish"), 3);
    cr_expect(json_is_false(json_object_get(q, "exclusive")));
    cr_expect(json_is_null(json_object_get(q, "policy")));
    json_decref(all);

    json_t *some = http_json(
        &bed, "/api/queues/%2F?columns=messages,name,nosuch,exclusive_consumer_pid&arguments=raw");
    q = named(some, "name", "q1");
    cr_expect_eq(json_object_size(q), 3u, "columns must choose exactly");
    q = named(some, "name", "a/b %");
    cr_expect_str_eq(text_at(q, "exclusive_consumer_pid"), "<sluice@test.1.1.0>");
    json_decref(some);

    json_t *raw = http_json(&bed, "/api/queues/%2F/q1?columns=arguments&arguments=raw");
    cr_expect_str_eq(text_at(raw, "arguments"), "Bm15LWludEkAAAAF");
    json_decref(raw);
    json_t *one = http_json(&bed, "/api/queues/%2F/a%2Fb%20%25");
    cr_expect_str_eq(text_at(one, "exclusive_consumer_tag"), "ct1");
    cr_expect_eq(number_at(one, "consumers"), 1);
    json_decref(one);
    testbed_stop(&bed);
}

Test(api, lists_exchanges_bindings_and_clients, .timeout = 60)
{
    testbed bed;
    testbed_start(&bed, some_queues);
    json_t *list = http_json(&bed, "/api/exchanges/%2F");
    cr_assert_not_null(named(list, "name", "amq.topic"));
    cr_expect_str_eq(text_at(named(list, "name", ""), "type"), "direct");
    json_decref(list);
    json_t *one = http_json(&bed, "/api/exchanges/%2F/amq.default");
    cr_expect_str_eq(text_at(one, "name"), "");
    json_decref(one);

    list = http_json(&bed, "/api/bindings");
    cr_expect_eq(json_array_size(list), 3u);
    const json_t *b = named(list, "source", "amq.topic");
    cr_expect_str_eq(text_at(b, "destination"), "q1");
    cr_expect_str_eq(text_at(b, "destination_type"), "queue");
    cr_expect_str_eq(text_at(b, "routing_key"), "a.*.#");
    cr_expect_str_eq(text_at(b, "properties_key"), "a.%2A.%23");
    json_decref(list);
    list = http_json(&bed, "/api/queues/%2F/q1/bindings");
    cr_expect_eq(json_array_size(list), 2u);
    json_decref(list);

    list = http_json(&bed, "/api/connections");
    const json_t *c = json_array_get(list, 0);
    cr_expect_str_eq(text_at(c, "name"), "127.0.0.1:50000 -> 127.0.0.1:5672");
    cr_expect_str_eq(text_at(c, "protocol"), "AMQP 0-9-1");
    cr_expect_str_eq(text_at(c, "pid"), "<sluice@test.1.0.0>");
    cr_expect_eq(number_at(c, "channels"), 1);
    json_decref(list);
    list = http_json(&bed, "/api/channels");
    c = json_array_get(list, 0);
    cr_expect_str_eq(text_at(c, "name"), "127.0.0.1:50000 -> 127.0.0.1:5672 (1)");
    cr_expect_eq(number_at(c, "consumer_count"), 1);
    json_decref(list);
    list = http_json(&bed, "/api/connections/%3Csluice%40test.1.0.0%3E/channels");
    cr_expect_eq(json_array_size(list), 1u);
    json_decref(list);
    list = http_json(&bed, "/api/consumers/%2F");
    c = json_array_get(list, 0);
    cr_expect_str_eq(text_at(c, "consumer_tag"), "ct1");
    cr_expect_str_eq(text_at(json_object_get(c, "queue"), "name"), "a/b %");
    cr_expect_eq(number_at(json_object_get(c, "channel_details"), "number"), 1);
    json_decref(list);
    list = http_json(&bed, "/api/vhosts");
    cr_expect_eq(number_at(json_array_get(list, 0), "messages"), 3);
    json_decref(list);
    testbed_stop(&bed);
}

Test(api, node_overview_status_and_health, .timeout = 60)
{
    testbed bed;
    testbed_start(&bed, some_queues);
    json_t *o = http_json(&bed, "/api/overview");
    cr_expect_str_eq(text_at(o, "product_name"), "Sluice");
    cr_expect_eq(number_at(json_object_get(o, "object_totals"), "queues"), 2);
    cr_expect_eq(number_at(json_object_get(o, "queue_totals"), "messages"), 3);
    cr_expect_eq(json_array_size(json_object_get(o, "listeners")), 2u);
    json_decref(o);
    o = http_json(&bed, "/api/nodes/rabbit%40test"); // the alias for monitoring scripts
    cr_expect_str_eq(text_at(o, "name"), "sluice@test");
    cr_expect_eq(number_at(o, "mem_limit"), 4000);
    json_decref(o);
    o = http_json(&bed, "/api/sluice/status");
    cr_expect_eq(number_at(o, "uptime"), 61);
    cr_expect_eq(number_at(o, "pid"), getpid());
    cr_expect_eq(number_at(json_object_get(o, "store"), "commits"), 7);
    json_decref(o);
    o = http_json(&bed, "/api/version");
    cr_expect_str_eq(json_string_value(o), "0.1.0");
    json_decref(o);
    expect_status(&bed, "GET", "/api/sluice/ready", 200);
    expect_status(&bed, "GET", "/api/health/checks/alarms", 200);
    expect_status(&bed, "GET", "/api/health/checks/port-listener/5672", 200);
    http_reply failed = http_call(&bed, "GET", "/api/health/checks/port-listener/1", NULL);
    cr_expect_eq(failed.status, 503);
    cr_expect_str_eq(text_at(failed.json, "status"), "failed");
    http_reply_fini(&failed);
    expect_status(&bed, "GET", "/api/health/checks/port-listener/x", 400);
    expect_status(&bed, "GET", "/api/health/checks/protocol-listener/amqp091,http", 200);
    failed = http_call(&bed, "GET", "/api/health/checks/protocol-listener/amqp,mqtt", NULL);
    cr_expect_eq(failed.status, 503);
    cr_expect_str_eq(text_at(failed.json, "missing"), "mqtt");
    http_reply_fini(&failed);
    bed.mem_alarm = true;
    failed = http_call(&bed, "GET", "/api/health/checks/alarms", NULL);
    cr_expect_eq(failed.status, 503);
    cr_expect_eq(json_array_size(json_object_get(failed.json, "alarms")), 1u);
    http_reply_fini(&failed);
    testbed_stop(&bed);
}

Test(api, purges_deletes_and_closes, .timeout = 60)
{
    testbed bed;
    testbed_start(&bed, some_queues);
    expect_status(&bed, "DELETE", "/api/queues/%2F/a%2Fb%20%25?if-unused=true", 400);
    expect_status(&bed, "DELETE", "/api/queues/%2F/q1?if-empty", 400);
    http_reply reply = http_call(&bed, "DELETE", "/api/queues/%2F/q1/contents", NULL);
    cr_expect_eq(reply.status, 204);
    cr_expect_not_null(strstr(reply.head, "X-Sluice-Messages: 3"), "%s", reply.head);
    http_reply_fini(&reply);
    expect_status(&bed, "DELETE", "/api/queues/%2F/q1?if-empty=true", 204);
    expect_status(&bed, "DELETE", "/api/queues/%2F/q1", 404);
    expect_status(&bed, "GET", "/api/queues/%2F/q1", 404);
    expect_status(&bed, "DELETE", "/api/queues/%2F/q1/contents", 404);

    expect_status(&bed, "DELETE", "/api/connections/nobody", 404);
    reply =
        http_call(&bed, "DELETE", "/api/connections/127.0.0.1%3A50000%20-%3E%20127.0.0.1%3A5672",
                  "X-Reason: maintenance\r\n");
    cr_expect_eq(reply.status, 204);
    http_reply_fini(&reply);
    expect_status(&bed, "POST", "/api/sluice/shutdown", 202);
    testbed_stop(&bed);
    cr_expect_str_eq(bed.closed_reason, "maintenance");
    cr_expect_eq(atomic_load(&bed.shutdowns), 1);
}

Test(api, refuses_what_it_does_not_know, .timeout = 60)
{
    testbed bed;
    testbed_start(&bed, NULL);
    static const char *const unknown[] = {
        "/",
        "/api",
        "/api/",
        "/api/nosuch",
        "/api/queues/nope",
        "/api/queues/%2F/nope",
        "/api/queues//",
        "/api/vhosts/nope",
        "/api/nodes/other%40test",
        "/api/vhosts/nope/channels",
        "/api/connections/x/channels",
        "/api/exchanges/%2F/nope",
        "/api/queues/%2F/nope/bindings",
        "/api/bindings/nope",
        "/api/consumers/nope",
        "/other/queues",
    };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        expect_status(&bed, "GET", unknown[i], 404);
    expect_status(&bed, "GET", "/api/queues/%zz", 400);
    http_reply reply = http_call(&bed, "PUT", "/api/queues", "Content-Length: 2\r\n\r\n{}");
    cr_expect_eq(reply.status, 405);
    cr_expect_not_null(strstr(reply.head, "Allow: GET, HEAD"), "%s", reply.head);
    http_reply_fini(&reply);
    expect_status(&bed, "BREW", "/api/overview", 405);
    reply = http_call(&bed, "HEAD", "/api/overview", NULL);
    cr_expect_eq(reply.status, 200);
    cr_expect_eq(reply.bytes, 0u, "HEAD has no body");
    http_reply_fini(&reply);
    // Too long a target and too large a header: an error or a closed connection, never a crash.
    char *big = malloc(200000);
    memset(big, 'a', 199999);
    big[0] = '/';
    big[199999] = '\0';
    reply = http_call(&bed, "GET", big, NULL);
    cr_expect(reply.status == 0 || reply.status >= 400);
    http_reply_fini(&reply);
    big[30000] = '\0';
    reply = http_call(&bed, "GET", big, NULL);
    cr_expect_geq(reply.status, 400);
    http_reply_fini(&reply);
    free(big);
    expect_status(&bed, "GET", "/api/overview", 200);
    testbed_stop(&bed);
}

static void ten_thousand(testbed *bed)
{
    char name[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "queue-number-%d", i);
        testbed_queue(bed, name, slc_slice_of(NULL, 0));
    }
}

Test(api, a_list_of_ten_thousand_comes_whole, .timeout = 60)
{
    testbed bed;
    testbed_start(&bed, ten_thousand);
    json_t *all = http_json(&bed, "/api/queues");
    cr_expect_eq(json_array_size(all), 10000u);
    cr_expect_str_eq(text_at(json_array_get(all, 9999), "name"), "queue-number-9999");
    json_decref(all);
    json_t *two = http_json(&bed, "/api/queues?columns=name,messages");
    cr_expect_eq(json_array_size(two), 10000u);
    json_decref(two);
    testbed_stop(&bed);
}

Test(api, a_stop_answers_503_and_ends, .timeout = 60)
{
    testbed bed;
    testbed_start(&bed, some_queues);
    slc_http_stopping(bed.http);
    expect_status(&bed, "GET", "/api/overview", 503);
    testbed_stop(&bed);
}

// Another uid connects in a process of its own.
Test(api, a_stranger_gets_401, .timeout = 60)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to become somebody else");
    // The child is there before any thread: one that forks while another allocates may wait for ever.
    testbed bed = {0};
    int path[2];
    cr_assert_eq(pipe(path), 0);
    pid_t child = fork();
    if (child == 0) {
        close(path[1]);
        if (read(path[0], bed.socket, sizeof bed.socket) != sizeof bed.socket)
            _exit(3);
        if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
            _exit(1);
        http_reply reply = http_call(&bed, "GET", "/api/overview", NULL);
        bool named = strstr(reply.body, "uid 65534 may not administer this broker") != NULL;
        _exit(reply.status == 401 && named ? 42 : 2);
    }
    testbed_start(&bed, some_queues);
    chmod(bed.dir, 0755);
    close(path[0]);
    cr_assert_eq(write(path[1], bed.socket, sizeof bed.socket), (ssize_t)sizeof bed.socket);
    close(path[1]);
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status %x", (unsigned)status);
    testbed_stop(&bed);
}

Test(api, socket_of_a_dead_daemon_is_replaced_but_not_of_a_live_one, .timeout = 60)
{
    testbed bed;
    testbed_start(&bed, NULL);
    uv_loop_t loop;
    uv_loop_init(&loop);
    slc_http_options second = {.loop = &loop,
                               .broker = bed.broker,
                               .socket_path = bed.socket,
                               .node = "b",
                               .product = "p",
                               .version = "v"};
    slc_http *http = NULL;
    slc_error error = {0};
    cr_expect_eq(slc_http_start(&second, &http, &error), SLC_EADDRINUSE);
    cr_expect_not_null(strstr(error.text, bed.socket), "%s", error.text);
    cr_expect_eq(access(bed.socket, F_OK), 0, "the live one keeps its socket");
    second.socket_path = "/dev/null/admin.sock";
    cr_expect_neq(slc_http_start(&second, &http, &error), SLC_OK);
    cr_expect_null(http);
    uv_loop_close(&loop);
    testbed_stop(&bed);
}
