/** A broker in memory with the management API on a unix socket, for tests of the API.
 *
 *  The loop runs in a thread of its own: core is the real one; the store takes nothing (tests use transient queues) and a
 *  proposal is committed in the next turn. The test calls from its own thread, as a client does.
 */
#ifndef TESTBED_H
#define TESTBED_H

#include <jansson.h>
#include <stdatomic.h>
#include <uv.h>

#include "core/broker.h"
#include "core/session.h"
#include "http/http.h"

typedef struct testbed {
    uv_thread_t thread;
    uv_sem_t ready;
    uv_loop_t loop;
    uv_timer_t turn;
    uv_async_t quit;
    slc_broker *broker;
    slc_http *http;
    slc_client client; // "127.0.0.1:50000 -> 127.0.0.1:5672"
    slc_session *session;
    void (*setup)(struct testbed *bed); // on the loop, before the API starts
    char dir[64], socket[96];
    char closed_reason[128]; // what the client was closed with
    atomic_int shutdowns;
    bool mem_alarm;
    struct proposal *proposals;
} testbed;

/** setup may be NULL. The vhost "/" is there and client and session are open when it runs. */
void testbed_start(testbed *bed, void (*setup)(testbed *bed));
void testbed_stop(testbed *bed);

/** For setup. */
void testbed_queue(testbed *bed, const char *name, slc_slice arguments);
void testbed_publish(testbed *bed, const char *queue, const char *body);

typedef struct http_reply {
    int status;
    char *head; // headers
    char *body; // terminated
    size_t bytes;
    json_t *json; // NULL when the body is not JSON
} http_reply;

/** One request on a connection of its own; extra: more header lines, each with CRLF. */
http_reply http_call(const testbed *bed, const char *method, const char *target, const char *extra);
void http_reply_fini(http_reply *reply);
/** GET that must answer 200 with JSON. The caller frees it. */
json_t *http_json(const testbed *bed, const char *target);

#endif
