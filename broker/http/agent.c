#include "http/agent.h"

#include "auth/auth.h"
#include "base/alloc.h"
#include "http/api.h"

/* ---- what core asks and tells ---- */

static void client_close(slc_client *client, const char *reason)
{
    // It is over soon by itself; who deletes its vhost waits for that.
    (void)client;
    (void)reason;
}

static void client_pressure(slc_client *client, bool blocked, const char *reason)
{
    (void)client; // a publish asks slc_broker_pressure_reason
    (void)blocked;
    (void)reason;
}

static void client_flow(slc_client *client, bool on)
{
    (void)client; // one message at a time waits for its confirm
    (void)on;
}

static slc_auth_access access_of(slc_access access)
{
    static const slc_auth_access map[] = {
        [SLC_ACCESS_CONFIGURE] = SLC_AUTH_CONFIGURE,
        [SLC_ACCESS_WRITE] = SLC_AUTH_WRITE,
        [SLC_ACCESS_READ] = SLC_AUTH_READ,
    };
    return map[access];
}

static bool client_may(slc_client *client, slc_access access, int kind, slc_slice name)
{
    const slc_http_agent *agent = client->arg;
    const slc_http_request *request = agent->request;
    (void)kind; // one pattern for both
    return request->user == NULL ||
           slc_auth_may(slc_http_options_of(request->http)->auth, slc_slice_str(request->user),
                        slc_vhost_name(client->vhost), access_of(access),
                        agent->may_as.bytes > 0 ? agent->may_as : name);
}

static bool client_may_topic(slc_client *client, slc_access access, slc_slice exchange,
                             slc_slice key)
{
    const slc_http_agent *agent = client->arg;
    const slc_http_request *request = agent->request;
    return request->user == NULL ||
           slc_auth_may_topic(slc_http_options_of(request->http)->auth,
                              slc_slice_str(request->user), slc_vhost_name(client->vhost), exchange,
                              access_of(access), key, (slc_slice){0});
}

static const slc_client_ops client_ops = {
    .close = client_close,
    .pressure = client_pressure,
    .flow = client_flow,
    .may = client_may,
    .may_topic = client_may_topic,
};

// Inside these core must not be called: the step goes on from the mailbox.
static void session_confirm(slc_session *session, uint64_t seq, bool multiple, bool ack)
{
    slc_http_agent *agent = slc_session_arg(session);
    (void)seq; // one message is under way
    (void)multiple;
    agent->confirmed = true;
    agent->refused = !ack;
    if (!agent->stepping && !agent->posted) {
        agent->posted = true;
        slc_http_later(agent->request);
    }
}

static void session_returned(slc_session *session, slc_message *message)
{
    slc_http_agent *agent = slc_session_arg(session);
    (void)message;
    agent->returned = true;
}

static void session_resume(slc_session *session)
{
    slc_http_agent_go(slc_session_arg(session));
}

static void session_deliver(slc_session *session, const slc_consumer *consumer, uint64_t tag,
                            bool redelivered, slc_message *message)
{
    (void)session;
    (void)consumer;
    (void)tag;
    (void)redelivered;
    (void)message;
    SLC_ASSERT(!"it consumes nothing");
}

static void session_cancelled(slc_session *session, slc_slice tag)
{
    (void)session;
    (void)tag;
    SLC_ASSERT(!"it consumes nothing");
}

static void agent_end(slc_http_agent *agent)
{
    slc_http_request *request = agent->request;
    slc_session_abandon(agent->session);
    slc_client_close(&agent->client);
    if (agent->state_free != NULL)
        agent->state_free(agent->state);
    slc_free(agent);
    request->agent = NULL;
    slc_http_answer(request);
}

static void session_failed(slc_session *session, slc_err rc, const slc_error *error)
{
    slc_http_agent *agent = slc_session_arg(session);
    if (agent->posted)
        return; // it goes on by itself
    slc_http_fail_core(agent->request, rc, error);
    agent_end(agent);
}

static const slc_session_ops session_ops = {
    .failed = session_failed,
    .deliver = session_deliver,
    .confirm = session_confirm,
    .returned = session_returned,
    .cancelled = session_cancelled,
    .resume = session_resume,
};

/* ---- its life ---- */

void slc_http_agent_run(slc_http_request *request, slc_http_step step, void *state,
                        void (*state_free)(void *state))
{
    slc_broker *broker = slc_http_options_of(request->http)->broker;
    slc_vhost *vhost = slc_broker_vhost(broker, request->vars[0]);
    if (vhost == NULL || slc_vhost_is_doomed(vhost)) {
        if (state_free != NULL)
            state_free(state);
        if (request->method == SLC_HTTP_PUT) // RabbitMQ's word for writes
            slc_http_fail(request, 404, "not_found", "vhost_not_found");
        else
            slc_http_not_found(request);
        slc_http_answer(request);
        return;
    }
    slc_http_agent *agent = slc_alloc_zero(1, sizeof *agent);
    agent->request = request;
    agent->vhost = vhost;
    agent->state = state;
    agent->state_free = state_free;
    agent->step = step;
    agent->client = (slc_client){
        .broker = broker,
        .vhost = vhost,
        .ops = &client_ops,
        .arg = agent,
        .hidden = true,
        .info =
            {
                .name = "HTTP request",
                .user = request->user != NULL ? request->user : "",
                .impersonator =
                    request->user == NULL || (request->tags & SLC_AUTH_TAG_IMPERSONATOR) != 0,
                .protocol = "HTTP",
                .state = "running",
                .auth_mechanism = "",
            },
    };
    slc_client_open(&agent->client);
    agent->session = slc_session_open(&agent->client, 1, &session_ops, agent);
    request->agent = agent;
    slc_http_agent_go(agent);
}

void slc_http_agent_go(slc_http_agent *agent)
{
    slc_error error = {0};
    agent->posted = false;
    agent->stepping = true;
    slc_broker *broker = slc_http_options_of(agent->request->http)->broker;
    slc_broker_act_as(broker, slc_http_actor(agent->request));
    slc_err rc = agent->step(agent, &error);
    slc_broker_act_as(broker, NULL);
    agent->stepping = false;
    if (rc == SLC_EPENDING)
        return;
    if (rc != SLC_OK)
        slc_http_fail_core(agent->request, rc, &error);
    agent_end(agent);
}

slc_err slc_http_agent_later(slc_http_agent *agent)
{
    SLC_ASSERT(!agent->posted);
    agent->posted = true;
    slc_http_later(agent->request);
    return SLC_EPENDING;
}

slc_err slc_http_agent_await(const slc_http_agent *agent)
{
    return agent->confirmed ? SLC_OK : SLC_EPENDING;
}

void slc_http_fail_core(slc_http_request *request, slc_err rc, const slc_error *error)
{
    const char *text = error->text[0] != '\0' ? error->text : slc_err_text(rc);
    switch (rc) {
    case SLC_EACCESS:
        slc_http_fail(request, 401, "not_authorised", "ACCESS_REFUSED - %s", text);
        break;
    case SLC_ENOTFOUND:
        slc_http_fail(request, 404, "not_found", "%s", text);
        break;
    case SLC_ENOSPC:
        slc_http_fail(request, 503, "unavailable", "%s", text);
        break;
    case SLC_EINTERNAL:
    case SLC_EIO:
    case SLC_ECORRUPT:
        slc_http_fail(request, 500, "internal_error", "%s", text);
        break;
    default:
        slc_http_fail(request, 400, "bad_request", "%s", text);
    }
}
