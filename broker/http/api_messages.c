// Publish, get, and the test that a vhost is alive.  @spec management-api 7, 4
#include "auth/auth.h"
#include "base/alloc.h"
#include "core/incoming.h"
#include "http/agent.h"
#include "http/api.h"
#include "http/body.h"
#include "wire/amqp_props.h"

enum {
    GET_COUNT_MAX = 1000000,
    GET_BURST = 256, // messages taken before others have the loop
    GET_ANSWER_BYTES_MAX =
        64 * 1024 * 1024, // a longer answer ends early: fewer messages than asked for
};

static void answer_refused(slc_http_request *request, slc_err rc, const slc_error *error)
{
    slc_http_fail_core(request, rc, error);
    slc_http_answer(request);
}

/* ---- publish ---- */

typedef struct publish_state {
    slc_slice exchange, key;         // of the request
    slc_buffer list, table, payload; // owned: properties, headers, body
} publish_state;

static void publish_free(void *arg)
{
    publish_state *state = arg;
    slc_buffer_fini(&state->list);
    slc_buffer_fini(&state->table);
    slc_buffer_fini(&state->payload);
    slc_free(state);
}

static bool wrong_property(const char *name, const char *rule, slc_error *error)
{
    (void)slc_error_set(error, SLC_EINVAL, "property '%s': %s", name, rule);
    return false;
}

static bool props_octet(const json_t *value, const char *name, uint8_t *out, slc_error *error)
{
    if (!json_is_integer(value))
        return wrong_property(name, "not_int", error);
    json_int_t number = json_integer_value(value);
    if (number < 0 || number > 255)
        return wrong_property(name, "an integer from 0 to 255 is expected", error);
    *out = (uint8_t)number;
    return true;
}

static bool props_longlong(const json_t *value, const char *name, uint64_t *out, slc_error *error)
{
    if (!json_is_integer(value))
        return wrong_property(name, "not_int", error);
    if (json_integer_value(value) < 0)
        return wrong_property(name, "an integer that is not negative is expected", error);
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool props_shortstr(const json_t *value, const char *name, slc_slice *out, slc_error *error)
{
    if (!json_is_string(value))
        return wrong_property(name, "not_string", error);
    if (json_string_length(value) > 255)
        return wrong_property(name, "at most 255 octets are allowed", error);
    *out = slc_slice_of(json_string_value(value), json_string_length(value));
    return true;
}

// The properties of the body as the list of a content header. Keys that are no properties are ignored.
static bool props_read(const json_t *properties, publish_state *state, slc_error *error)
{
    slc_amqp_props list = {0}, *props = &list;
    if (json_is_array(properties) && json_array_size(properties) == 0)
        properties = NULL; // an empty object of some clients
    else if (!json_is_object(properties))
        return wrong_property("properties", "an object is expected", error);
#define READ_SHORTSTR(name) props_shortstr(value, #name, &props->name, error)
#define READ_OCTET(name)    props_octet(value, #name, &props->name, error)
#define READ_LONGLONG(name) props_longlong(value, #name, &props->name, error)
#define READ_TABLE(name)    slc_body_table(properties, #name, &state->table, error)
#define X(FLAG, bit, TYPE, name)                                                                   \
    {                                                                                              \
        const json_t *value = json_object_get(properties, #name);                                  \
        if (value != NULL && !json_is_null(value)) {                                               \
            if (!READ_##TYPE(name))                                                                \
                return false;                                                                      \
            props->flags |= 1u << bit;                                                             \
        }                                                                                          \
    }
    SLC_AMQP_PROPS_TABLE(X)
#undef X
    props->headers = slc_buffer_slice(&state->table);
    size_t bytes = slc_amqp_props_bytes(props);
    state->list.bytes =
        slc_amqp_props_encode(props, slc_buffer_reserve(&state->list, bytes), bytes);
    SLC_ASSERT(state->list.bytes == bytes);
    return true;
}

static bool payload_read(const json_t *body, slc_buffer *out, slc_error *error)
{
    slc_slice payload, encoding;
    if (!slc_body_text(body, "payload", (slc_slice){0}, &payload, error) ||
        !slc_body_text(body, "payload_encoding", slc_slice_str("string"), &encoding, error))
        return false;
    if (slc_slice_is(encoding, "string")) {
        slc_buffer_put(out, payload.data, payload.bytes);
        return true;
    }
    if (!slc_slice_is(encoding, "base64")) {
        (void)slc_error_set(error, SLC_EINVAL,
                            "unsupported payload_encoding '%.*s': string or base64 is expected",
                            SLC_SLICE_FMT(encoding));
        return false;
    }
    if (!slc_base64_decode(payload, out)) {
        (void)slc_error_set(error, SLC_EINVAL, "the payload is not base64");
        return false;
    }
    return true;
}

// The checks that a message of AMQP passes; their texts have AMQP's code in front, as at RabbitMQ.
static slc_err publish_now(slc_http_agent *agent, slc_error *error)
{
    const publish_state *state = agent->state;
    const slc_http_options *options = slc_http_options_of(agent->request->http);
    slc_amqp_props props;
    slc_err rc = slc_amqp_props_decode(slc_buffer_slice(&state->list), &props, error);
    if (rc != SLC_OK)
        return rc;
    slc_incoming in = {
        .exchange = state->exchange,
        .key = state->key,
        .list = slc_buffer_slice(&state->list),
        .headers = props.headers,
        .expiration = props.expiration,
        .reply_to = props.reply_to,
        .user_id = props.user_id,
        .flags = props.flags,
        .body_bytes = state->payload.bytes,
        .body_bytes_max = options->max_message_bytes,
        .priority = props.priority,
        .persistent = props.delivery_mode == 2,
    };
    slc_error why = {0};
    rc = slc_incoming_check(agent->session, &in, &why);
    if (rc == SLC_EPRECONDITION)
        return slc_error_set(error, rc, "406 PRECONDITION_FAILED - %.400s", why.text);
    *error = why;
    if (rc == SLC_OK)
        rc = slc_session_confirm_select(agent->session, error);
    if (rc != SLC_OK)
        return rc;
    slc_slice headers;
    slc_message *message = slc_incoming_message(agent->session, &in, &headers);
    if (message == NULL)
        return slc_error_set(error, SLC_ENOSPC, "not enough memory for a message of %zu octets",
                             state->payload.bytes);
    if (state->payload.bytes > 0)
        memcpy(slc_message_body(message), state->payload.data, state->payload.bytes);
    return slc_session_publish(agent->session, message, headers, true, error);
}

static slc_err publish_step(slc_http_agent *agent, slc_error *error)
{
    slc_http_request *request = agent->request;
    if (!agent->started) {
        agent->started = true;
        const char *pressure =
            slc_broker_pressure_reason(slc_http_options_of(request->http)->broker);
        if (pressure != NULL) {
            slc_http_fail(request, 503, "unavailable", "publishers are blocked: %s", pressure);
            return SLC_OK;
        }
        slc_err rc = publish_now(agent, error);
        if (rc != SLC_OK)
            return rc;
    }
    slc_err rc = slc_http_agent_await(agent);
    if (rc != SLC_OK)
        return rc;
    slc_json w = slc_json_to(&request->body);
    request->status = 200;
    slc_json_open(&w, '{');
    slc_json_put_bool(&w, "routed", !agent->returned && !agent->refused);
    slc_json_close(&w, '}');
    return SLC_OK;
}

static bool publish_read(const slc_http_request *request, const json_t *body, publish_state *state,
                         slc_error *error)
{
    static const char *const needed[] = {"properties", "routing_key", "payload",
                                         "payload_encoding"};
    state->exchange = request->vars[1];
    if (slc_slice_is(state->exchange, "amq.default"))
        state->exchange = (slc_slice){0};
    if (!slc_body_need(body, needed, SLC_ARRAY_COUNT(needed), error) ||
        !slc_body_text(body, "routing_key", (slc_slice){0}, &state->key, error) ||
        !props_read(json_object_get(body, "properties"), state, error) ||
        !payload_read(body, &state->payload, error))
        return false;
    if (state->exchange.bytes <= 255 && state->key.bytes <= 255)
        return true;
    (void)slc_error_set(error, SLC_EINVAL, "exchange and routing_key have at most 255 octets");
    return false;
}

void slc_api_publish(slc_http_request *request)
{
    const json_t *body = slc_http_json(request);
    slc_error error = {0};
    if (body == NULL) {
        slc_http_answer(request);
        return;
    }
    publish_state *state = slc_alloc_zero(1, sizeof *state);
    if (!publish_read(request, body, state, &error)) {
        publish_free(state);
        answer_refused(request, SLC_EINVAL, &error);
        return;
    }
    slc_http_agent_run(request, publish_step, state, publish_free);
}

/* ---- get ---- */

typedef struct get_state {
    int64_t left, truncate; // truncate -1: not
    slc_settle settle;
    bool base64; // always
    slc_json w;
    bool open; // the answer's `[` is written
} get_state;

static void props_write(slc_json *w, const slc_message *message)
{
    slc_amqp_props props;
    slc_json_key(w, "properties");
    slc_json_open(w, '{');
    if (slc_amqp_props_decode(slc_message_props(message), &props, NULL) == SLC_OK) {
#define WRITE_SHORTSTR(name) slc_json_put_slice(w, #name, props.name)
#define WRITE_OCTET(name)    slc_json_put_u64(w, #name, props.name)
#define WRITE_LONGLONG(name) slc_json_put_u64(w, #name, props.name)
#define WRITE_TABLE(name)    (slc_json_key(w, #name), slc_json_table(w, props.name, false))
#define X(FLAG, bit, TYPE, name)                                                                   \
    if ((props.flags & 1u << bit) != 0)                                                            \
        WRITE_##TYPE(name);
        SLC_AMQP_PROPS_TABLE(X)
#undef X
    }
    slc_json_close(w, '}');
}

static void got_write(get_state *state, const slc_got *got)
{
    slc_json *w = &state->w;
    slc_message *message = got->message;
    slc_slice payload = slc_slice_of(slc_message_body(message), message->body_bytes);
    if (state->truncate >= 0 && payload.bytes > (uint64_t)state->truncate)
        payload.bytes = (size_t)state->truncate;
    // A cut inside of a character makes it base64, as at RabbitMQ: no octet is invented.
    bool text = !state->base64 && slc_utf8_check(payload);
    slc_json_open(w, '{');
    slc_json_put_u64(w, "payload_bytes", message->body_bytes);
    slc_json_put_bool(w, "redelivered", got->redelivered);
    slc_json_put_slice(w, "exchange", slc_message_exchange(message));
    slc_json_put_slice(w, "routing_key", slc_message_key(message));
    slc_json_put_u64(w, "message_count", got->ready);
    props_write(w, message);
    slc_json_key(w, "payload");
    if (text) {
        slc_json_slice(w, payload);
    } else {
        slc_buffer encoded = {0};
        slc_base64_encode(payload, &encoded);
        slc_json_slice(w, slc_buffer_slice(&encoded));
        slc_buffer_fini(&encoded);
    }
    slc_json_put_text(w, "payload_encoding", text ? "string" : "base64");
    slc_json_close(w, '}');
}

static slc_err get_step(slc_http_agent *agent, slc_error *error)
{
    get_state *state = agent->state;
    slc_http_request *request = agent->request;
    if (!state->open) {
        state->w = slc_json_to(&request->body);
        slc_json_open(&state->w, '[');
        state->open = true;
    }
    for (uint32_t burst = 0; state->left > 0 && request->body.bytes < GET_ANSWER_BYTES_MAX;
         burst++) {
        if (burst == GET_BURST)
            return slc_http_agent_later(agent);
        slc_got got;
        slc_err rc = slc_session_get(agent->session, request->vars[1], false, &got, error);
        if (rc != SLC_OK)
            return rc; // what was taken goes back with the session
        if (got.message == NULL)
            break;
        state->left--;
        got_write(state, &got);
        slc_message_unref(got.message);
    }
    slc_json_close(&state->w, ']');
    request->status = 200;
    return slc_session_settle(agent->session, 0, true, state->settle, error);
}

// The four ways, and `requeue` of clients older than they are.
static bool settle_read(const json_t *body, slc_settle *out, slc_error *error)
{
    static const struct {
        const char *name;
        slc_settle settle;
    } modes[] = {
        {"ack_requeue_true", SLC_SETTLE_REQUEUE},
        {"reject_requeue_true", SLC_SETTLE_REQUEUE},
        {"ack_requeue_false", SLC_SETTLE_ACK},
        {"reject_requeue_false", SLC_SETTLE_REJECT},
    };
    slc_slice mode;
    bool requeue;
    if (json_object_get(body, "ackmode") == NULL && json_object_get(body, "requeue") != NULL) {
        if (!slc_body_bool(body, "requeue", true, &requeue, error))
            return false;
        *out = requeue ? SLC_SETTLE_REQUEUE : SLC_SETTLE_ACK;
        return true;
    }
    if (!slc_body_text(body, "ackmode", (slc_slice){0}, &mode, error))
        return false;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(modes); i++) {
        if (slc_slice_is(mode, modes[i].name)) {
            *out = modes[i].settle;
            return true;
        }
    }
    (void)slc_error_set(error, SLC_EINVAL,
                        "invalid ackmode '%.*s': ack_requeue_true, ack_requeue_false, "
                        "reject_requeue_true or reject_requeue_false is expected",
                        SLC_SLICE_FMT(mode));
    return false;
}

static bool get_read(const json_t *body, get_state *state, slc_error *error)
{
    static const char *const needed[] = {"count", "ackmode", "encoding"};
    static const char *const needed_old[] = {"count", "encoding"};
    bool old = json_object_get(body, "requeue") != NULL;
    slc_slice encoding;
    if (!(old ? slc_body_need(body, needed_old, SLC_ARRAY_COUNT(needed_old), error)
              : slc_body_need(body, needed, SLC_ARRAY_COUNT(needed), error)) ||
        !slc_body_integer(body, "count", 0, GET_COUNT_MAX, 1, &state->left, error) ||
        !slc_body_integer(body, "truncate", 0, INT64_MAX, -1, &state->truncate, error) ||
        !slc_body_text(body, "encoding", slc_slice_str("auto"), &encoding, error) ||
        !settle_read(body, &state->settle, error))
        return false;
    state->base64 = slc_slice_is(encoding, "base64");
    if (state->base64 || slc_slice_is(encoding, "auto"))
        return true;
    (void)slc_error_set(error, SLC_EINVAL,
                        "unsupported encoding '%.*s': auto or base64 is expected",
                        SLC_SLICE_FMT(encoding));
    return false;
}

void slc_api_get(slc_http_request *request)
{
    const json_t *body = slc_http_json(request);
    slc_error error = {0};
    if (body == NULL) {
        slc_http_answer(request);
        return;
    }
    get_state *state = slc_alloc_zero(1, sizeof *state);
    if (!get_read(body, state, &error)) {
        slc_free(state);
        answer_refused(request, SLC_EINVAL, &error);
        return;
    }
    slc_http_agent_run(request, get_step, state, slc_free);
}

/* ---- alive? ---- */

// One message through an exclusive queue of our own, from declare to delete in one go, so that no list shows it. RabbitMQ
// declares a queue `aliveness-test`, so the user needs the rights on that name.
static slc_err aliveness_step(slc_http_agent *agent, slc_error *error)
{
    static const char probe[] = "test_message";
    static const uint8_t no_props[2] = {0};
    slc_http_request *request = agent->request;
    slc_queue_declared declared;
    agent->may_as = slc_slice_str("aliveness-test");
    slc_err rc = slc_session_queue_declare(agent->session, &(slc_queue_declare){.exclusive = true},
                                           &declared, error);
    if (rc != SLC_OK)
        return rc;
    slc_message *message =
        slc_message_new((slc_slice){0}, declared.name, slc_slice_of(no_props, sizeof no_props),
                        sizeof probe - 1, false);
    if (message == NULL)
        return slc_error_set(error, SLC_ENOSPC, "not enough memory for a message");
    memcpy(slc_message_body(message), probe, sizeof probe - 1);
    rc = slc_session_publish(agent->session, message, (slc_slice){0}, true, error);
    slc_got got = {0};
    if (rc == SLC_OK)
        rc = slc_session_get(agent->session, (slc_slice){0}, true, &got, error);
    if (rc != SLC_OK)
        return rc;
    bool alive =
        got.message != NULL &&
        slc_slice_is(slc_slice_of(slc_message_body(got.message), got.message->body_bytes), probe);
    if (got.message != NULL)
        slc_message_unref(got.message);
    if (!alive) // its own queue: nobody else can have taken it
        return slc_error_set(error, SLC_EINTERNAL, "the message of the test did not arrive");
    slc_json w = slc_json_to(&request->body);
    request->status = 200;
    slc_json_open(&w, '{');
    slc_json_put_text(&w, "status", "ok");
    slc_json_close(&w, '}');
    return SLC_OK;
}

void slc_api_aliveness(slc_http_request *request)
{
    slc_http_agent_run(request, aliveness_step, NULL, NULL);
}
