/** A session in core for one request: what its user asks for is done with the user's rights, as over AMQP.
 *
 *      run ──> step ──SLC_EPENDING──> core or the loop calls again ──> step ── ... ──> over: answered, session and state gone
 *
 *  The client behind it is hidden: no list shows it and no limit counts it. On the unix socket it may do everything.
 *  Owner: itself; it ends with the request's answer. Thread: the loop.  @spec management-api 2
 */
#ifndef SLC_HTTP_AGENT_H
#define SLC_HTTP_AGENT_H

#include "core/client.h"
#include "core/session.h"
#include "http/request.h"

typedef struct slc_http_agent slc_http_agent;

/** Do the next part. SLC_EPENDING: a function of core said so, or slc_http_agent_later or _await did; it is called again and
 *  calls the same function with the same arguments. SLC_OK: the answer is filled. Anything else: error says why, and the
 *  answer is made from it. */
typedef slc_err (*slc_http_step)(slc_http_agent *agent, slc_error *error);

struct slc_http_agent {
    slc_http_request *request;
    slc_session *session;
    slc_vhost *vhost;
    void *state; // the step's
    slc_slice
        may_as; // permissions are asked for this name instead of the one in use; bytes 0: for that one
    bool returned;  // the last publish went nowhere
    bool confirmed; // it is durable, or went nowhere
    bool refused;   // it was refused
    bool existed;   // the step's: the object was there before
    bool started;   // the step's

    slc_client client;
    slc_http_step step;
    void (*state_free)(void *state);
    bool stepping, posted;
};

/** Answer the request by step, in the vhost of path variable 0 (404 when there is none). Takes state; state_free may be NULL
 *  when state is. */
void slc_http_agent_run(slc_http_request *request, slc_http_step step, void *state,
                        void (*state_free)(void *state));
/** Let others have the loop, then go on: returns SLC_EPENDING. */
slc_err slc_http_agent_later(slc_http_agent *agent);
/** SLC_OK when the message published last is confirmed; SLC_EPENDING: the step is called again when it is. */
slc_err slc_http_agent_await(const slc_http_agent *agent);
/** For the mailbox of server.c. */
void slc_http_agent_go(slc_http_agent *agent);
/** The answer that an error of core means: 401, 404, 400, 500, 503. */
void slc_http_fail_core(slc_http_request *request, slc_err rc, const slc_error *error);

#endif
