// Queues and exchanges: declared and deleted.  @spec management-api 1.4, 1.5, 4
#include "base/alloc.h"
#include "http/agent.h"
#include "http/api.h"
#include "http/body.h"

typedef struct declare_state {
    slc_slice name; // of the path, which the request keeps
    union {
        slc_queue_declare queue;
        slc_exchange_declare exchange;
    };
    slc_buffer arguments; // owned; as sent
} declare_state;

static void declare_free(void *arg)
{
    declare_state *state = arg;
    slc_buffer_fini(&state->arguments);
    slc_free(state);
}

// 400 and answered.
static void refuse(slc_http_request *request, declare_state *state, slc_err rc,
                   const slc_error *error)
{
    declare_free(state);
    slc_http_fail_core(request, rc, error);
    slc_http_answer(request);
}

static slc_err name_check(const slc_http_request *request, const char *what, slc_error *error)
{
    slc_slice name = request->vars[1];
    if (name.bytes > 0 && name.bytes <= 255 && slc_utf8_check(name))
        return SLC_OK;
    return slc_error_set(error, SLC_EINVAL,
                         "the name of the %s has %zu octets; 1 to 255 of valid UTF-8 are allowed",
                         what, name.bytes);
}

/* ---- queues ---- */

static slc_err queue_declare_step(slc_http_agent *agent, slc_error *error)
{
    declare_state *state = agent->state;
    if (!agent->started)
        agent->existed = slc_vhost_find_queue(agent->vhost, state->name, NULL);
    agent->started = true;
    slc_queue_declared declared;
    slc_err rc = slc_session_queue_declare(agent->session, &state->queue, &declared, error);
    if (rc == SLC_OK)
        agent->request->status = agent->existed ? 204 : 201;
    return rc;
}

void slc_api_queue_declare(slc_http_request *request)
{
    const json_t *body = slc_body_object(request);
    slc_error error = {0};
    if (body == NULL) {
        slc_http_answer(request);
        return;
    }
    declare_state *state = slc_alloc_zero(1, sizeof *state);
    slc_queue_declare *d = &state->queue;
    state->name = d->name = request->vars[1];
    if (name_check(request, "queue", &error) != SLC_OK ||
        !slc_body_bool(body, "durable", true, &d->durable, &error) ||
        !slc_body_bool(body, "auto_delete", false, &d->auto_delete, &error) ||
        !slc_body_table(body, "arguments", &state->arguments, &error)) {
        refuse(request, state, SLC_EINVAL, &error);
        return;
    }
    d->arguments = slc_buffer_slice(&state->arguments);
    slc_http_agent_run(request, queue_declare_step, state, declare_free);
}

/* ---- exchanges ---- */

static slc_err exchange_declare_step(slc_http_agent *agent, slc_error *error)
{
    declare_state *state = agent->state;
    if (!agent->started)
        agent->existed = slc_vhost_exchange(agent->vhost, state->name) != NULL;
    agent->started = true;
    slc_err rc = slc_session_exchange_declare(agent->session, &state->exchange, error);
    if (rc == SLC_OK)
        agent->request->status = agent->existed ? 204 : 201;
    return rc;
}

void slc_api_exchange_declare(slc_http_request *request)
{
    const json_t *body = slc_body_object(request);
    slc_error error = {0};
    if (body == NULL) {
        slc_http_answer(request);
        return;
    }
    declare_state *state = slc_alloc_zero(1, sizeof *state);
    slc_exchange_declare *d = &state->exchange;
    state->name = d->name = request->vars[1];
    if (name_check(request, "exchange", &error) != SLC_OK ||
        !slc_body_text(body, "type", slc_slice_str("direct"), &d->type, &error) ||
        !slc_body_bool(body, "durable", true, &d->durable, &error) ||
        !slc_body_bool(body, "auto_delete", false, &d->auto_delete, &error) ||
        !slc_body_bool(body, "internal", false, &d->internal, &error) ||
        !slc_body_table(body, "arguments", &state->arguments, &error)) {
        refuse(request, state, SLC_EINVAL, &error);
        return;
    }
    if (slc_exchange_kind_find(d->type) == NULL) {
        (void)slc_error_set(&error, SLC_EINVAL, "invalid exchange type '%.*s'",
                            SLC_SLICE_FMT(d->type));
        refuse(request, state, SLC_EINVAL, &error);
        return;
    }
    d->arguments = slc_buffer_slice(&state->arguments);
    slc_http_agent_run(request, exchange_declare_step, state, declare_free);
}

static slc_err exchange_delete_step(slc_http_agent *agent, slc_error *error)
{
    slc_http_request *request = agent->request;
    slc_slice name = request->vars[1];
    if (slc_slice_is(name, "amq.default"))
        name = (slc_slice){0};
    // Deleting what is not there is fine over AMQP, and 404 here.
    if (!agent->started && name.bytes > 0 && slc_vhost_exchange(agent->vhost, name) == NULL) {
        slc_http_not_found(request);
        return SLC_OK;
    }
    agent->started = true;
    slc_err rc = slc_session_exchange_delete(agent->session, name,
                                             slc_path_flag(&request->path, "if-unused"), error);
    if (rc == SLC_OK)
        request->status = 204;
    return rc;
}

void slc_api_exchange_delete(slc_http_request *request)
{
    slc_http_agent_run(request, exchange_delete_step, NULL, NULL);
}
