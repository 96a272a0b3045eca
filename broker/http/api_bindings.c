// Bindings between two ends: made, listed, deleted; the bindings of one exchange.  @spec management-api 4, 5.8
//
// properties_key: "~"; "a.%2A"; "a.b~4gSN_A": the percent-encoded routing key, and a hash of the arguments, whose keys are
// sorted. Clients take it from a list or from Location, encode it once more and put it into a path.
#include "base/alloc.h"
#include "http/agent.h"
#include "http/api.h"
#include "http/body.h"

// FNV-1a: stable over restarts, which the seeded hash of our maps is not.
static uint32_t octets_hash(slc_slice octets)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < octets.bytes; i++)
        hash = (hash ^ octets.data[i]) * 16777619u;
    return hash;
}

// What is left as it is: letters, digits, `-`, `.`, `_`. RabbitMQ's encoder does the same.
static void percent_encode(slc_slice octets, slc_buffer *out)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < octets.bytes; i++) {
        uint8_t c = octets.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_';
        if (!plain) {
            slc_buffer_octet(out, '%');
            slc_buffer_octet(out, (uint8_t)hex[c >> 4]);
            c = (uint8_t)hex[c & 15];
        }
        slc_buffer_octet(out, c);
    }
}

void slc_api_properties_key(slc_slice key, slc_slice arguments, slc_buffer *out)
{
    static const char base64url[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    percent_encode(key, out);
    if (key.bytes == 0 || arguments.bytes > 0)
        slc_buffer_octet(out, '~');
    if (arguments.bytes == 0)
        return;
    uint64_t bits = (uint64_t)octets_hash(arguments) << 4;
    for (int shift = 30; shift >= 0; shift -= 6)
        slc_buffer_octet(out, (uint8_t)base64url[bits >> shift & 63]);
}

/* ---- the two ends of the path: V/e/SOURCE/q/QUEUE[/PROPS], V/e/SOURCE/e/EXCHANGE[/PROPS] ---- */

typedef struct ends {
    slc_slice source, destination; // source bytes 0: the default exchange
    slc_dest_kind kind;
} ends;

static slc_slice exchange_name(slc_slice name)
{
    return slc_slice_is(name, "amq.default") ? (slc_slice){0} : name;
}

static ends ends_of(const slc_http_request *request)
{
    // "bindings/*/e/*/q/*": segment 5 after api is the destination's kind
    slc_dest_kind kind =
        slc_slice_is(request->path.segments[5], "q") ? SLC_DEST_QUEUE : SLC_DEST_EXCHANGE;
    return (ends){
        .source = exchange_name(request->vars[1]),
        .destination = kind == SLC_DEST_QUEUE ? request->vars[2] : exchange_name(request->vars[2]),
        .kind = kind,
    };
}

static bool ends_exist(slc_vhost *vhost, const ends *e)
{
    if (e->source.bytes > 0 && slc_vhost_exchange(vhost, e->source) == NULL)
        return false;
    return e->kind == SLC_DEST_QUEUE   ? slc_vhost_find_queue(vhost, e->destination, NULL)
           : e->destination.bytes == 0 ? true
                                       : slc_vhost_exchange(vhost, e->destination) != NULL;
}

// Every binding between the two ends, until each returns true.
static bool ends_each(slc_vhost *vhost, const ends *e,
                      bool (*each)(const slc_binding_info *binding, void *arg), void *arg)
{
    slc_binding_info info = {
        .source = e->source, .destination = e->destination, .destination_kind = e->kind};
    if (e->source.bytes == 0) {
        info.key = e->destination; // each queue has one
        return e->kind == SLC_DEST_QUEUE && each(&info, arg);
    }
    slc_exchange *source = slc_vhost_exchange(vhost, e->source);
    slc_binding *binding, *next;
    HASH_ITER(hh, source->bindings, binding, next)
    {
        if (binding->destination->kind != e->kind ||
            !slc_slice_equal(binding->destination->name, e->destination))
            continue;
        info.key = binding->key;
        info.arguments = binding->arguments;
        if (each(&info, arg))
            return true;
    }
    return false;
}

typedef struct key_search {
    slc_slice decoded, raw;
    bool as_pasted; // compare with raw, not with decoded
    bool found;
    slc_buffer key, arguments; // owned; of the binding found
} key_search;

static bool key_fits(const slc_binding_info *binding, void *arg)
{
    key_search *search = arg;
    slc_buffer text = {0};
    slc_api_properties_key(binding->key, binding->arguments, &text);
    search->found =
        slc_slice_equal(slc_buffer_slice(&text), search->as_pasted ? search->raw : search->decoded);
    slc_buffer_fini(&text);
    if (search->found) {
        slc_buffer_put(&search->key, binding->key.data, binding->key.bytes);
        slc_buffer_put(&search->arguments, binding->arguments.data, binding->arguments.bytes);
    }
    return search->found;
}

// People also paste a properties_key into a path without encoding it once more.
static bool key_find(const slc_http_request *request, slc_vhost *vhost, const ends *e,
                     key_search *search)
{
    const char *raw = strrchr(request->audit, '/');
    search->decoded = request->vars[3];
    search->raw = slc_slice_str(raw != NULL ? raw + 1 : "");
    if (ends_each(vhost, e, key_fits, search))
        return true;
    search->as_pasted = true;
    return ends_each(vhost, e, key_fits, search);
}

static void key_search_free(void *arg)
{
    key_search *search = arg;
    slc_buffer_fini(&search->key);
    slc_buffer_fini(&search->arguments);
    slc_free(search);
}

/* ---- reading ---- */

static bool pair_write(const slc_binding_info *binding, void *arg)
{
    slc_api_binding_write(arg, binding);
    return false;
}

void slc_api_binding_pair(slc_http_request *request)
{
    slc_api api = slc_api_bindings_begin(request);
    ends e = ends_of(request);
    slc_vhost *vhost = slc_broker_vhost(api.broker, request->vars[0]);
    api.vhost = vhost;
    api.want_one = true;
    if (vhost != NULL && ends_exist(vhost, &e)) {
        api.found = true;
        slc_json_open(&api.w, '[');
        ends_each(vhost, &e, pair_write, &api);
        slc_json_close(&api.w, ']');
    }
    slc_api_end(&api);
}

void slc_api_binding(slc_http_request *request)
{
    slc_api api = slc_api_bindings_begin(request);
    ends e = ends_of(request);
    slc_vhost *vhost = slc_broker_vhost(api.broker, request->vars[0]);
    key_search *search = slc_alloc_zero(1, sizeof *search);
    api.vhost = vhost;
    api.want_one = true;
    if (vhost != NULL && ends_exist(vhost, &e) && key_find(request, vhost, &e, search)) {
        api.found = true;
        slc_binding_info info = {
            .source = e.source,
            .destination = e.destination,
            .destination_kind = e.kind,
            .key = slc_buffer_slice(&search->key),
            .arguments = slc_buffer_slice(&search->arguments),
        };
        slc_api_binding_write(&api, &info);
    }
    key_search_free(search);
    slc_api_end(&api);
}

// exchanges/V/E/bindings/source: those that begin there; .../destination: those that end there.
void slc_api_exchange_bindings(slc_http_request *request)
{
    slc_api api = slc_api_bindings_begin(request);
    slc_slice name = exchange_name(request->vars[1]);
    bool from = slc_slice_is(request->path.segments[5], "source");
    slc_vhost *vhost = slc_broker_vhost(api.broker, request->vars[0]);
    slc_exchange *exchange = vhost != NULL ? slc_vhost_exchange(vhost, name) : NULL;
    api.vhost = vhost;
    api.want_one = true;
    api.found = vhost != NULL && (exchange != NULL || name.bytes == 0);
    if (api.found) {
        slc_json_open(&api.w, '[');
        if (name.bytes == 0 && from) {
            slc_api_default_bindings(&api, vhost);
        } else if (exchange != NULL && from) {
            slc_binding *binding, *next;
            HASH_ITER(hh, exchange->bindings, binding, next)
            {
                slc_api_binding_write(&api, &(slc_binding_info){
                                                .source = exchange->dest.name,
                                                .destination = binding->destination->name,
                                                .destination_kind = binding->destination->kind,
                                                .key = binding->key,
                                                .arguments = binding->arguments,
                                            });
            }
        } else if (exchange != NULL) {
            for (slc_binding *b = exchange->dest.bindings_in; b != NULL; b = b->in_next) {
                slc_api_binding_write(&api, &(slc_binding_info){
                                                .source = b->source->dest.name,
                                                .destination = exchange->dest.name,
                                                .destination_kind = SLC_DEST_EXCHANGE,
                                                .key = b->key,
                                                .arguments = b->arguments,
                                            });
            }
        }
        slc_json_close(&api.w, ']');
    }
    slc_api_end(&api);
}

/* ---- changes ---- */

typedef struct bind_state {
    ends e;
    slc_slice key;        // of the request's body
    slc_buffer arguments; // owned; keys sorted
} bind_state;

static void bind_free(void *arg)
{
    bind_state *state = arg;
    slc_buffer_fini(&state->arguments);
    slc_free(state);
}

// q1/k~cPe25g: the destination, then the properties_key, each encoded for a path.
static char *location_of(const bind_state *state)
{
    slc_buffer key = {0}, path = {0};
    slc_api_properties_key(state->key, slc_buffer_slice(&state->arguments), &key);
    percent_encode(state->e.destination, &path);
    slc_buffer_octet(&path, '/');
    // `~` stands for itself in any path, and clients compare it so.
    for (size_t i = 0; i < key.bytes; i++) {
        if (key.data[i] == '~')
            slc_buffer_octet(&path, '~');
        else
            percent_encode(slc_slice_of(key.data + i, 1), &path);
    }
    char *text = slc_strndup((const char *)path.data, path.bytes);
    slc_buffer_fini(&key);
    slc_buffer_fini(&path);
    return text;
}

static slc_err bind_step(slc_http_agent *agent, slc_error *error)
{
    const bind_state *state = agent->state;
    slc_slice arguments = slc_buffer_slice(&state->arguments);
    slc_err rc = state->e.kind == SLC_DEST_QUEUE
                     ? slc_session_queue_bind(agent->session, state->e.destination, state->e.source,
                                              state->key, arguments, error)
                     : slc_session_exchange_bind(agent->session, state->e.destination,
                                                 state->e.source, state->key, arguments, error);
    if (rc != SLC_OK)
        return rc;
    agent->request->status = 201;
    agent->request->location = location_of(state);
    return SLC_OK;
}

void slc_api_bind(slc_http_request *request)
{
    const json_t *body = slc_body_object(request);
    slc_error error = {0};
    slc_buffer sent = {0};
    if (body == NULL) {
        slc_http_answer(request);
        return;
    }
    bind_state *state = slc_alloc_zero(1, sizeof *state);
    state->e = ends_of(request);
    bool good = slc_body_text(body, "routing_key", (slc_slice){0}, &state->key, &error) &&
                slc_body_table(body, "arguments", &sent, &error);
    if (good && state->key.bytes > 255) {
        (void)slc_error_set(&error, SLC_EINVAL,
                            "'routing_key' has %zu octets; at most 255 are allowed",
                            state->key.bytes);
        good = false;
    }
    slc_table_sorted(slc_buffer_slice(&sent), &state->arguments);
    slc_buffer_fini(&sent);
    if (!good) {
        bind_free(state);
        slc_http_fail_core(request, SLC_EINVAL, &error);
        slc_http_answer(request);
        return;
    }
    slc_http_agent_run(request, bind_step, state, bind_free);
}

static slc_err unbind_step(slc_http_agent *agent, slc_error *error)
{
    slc_http_request *request = agent->request;
    key_search *search = agent->state;
    ends e = ends_of(request);
    if (!agent->started &&
        !(ends_exist(agent->vhost, &e) && key_find(request, agent->vhost, &e, search))) {
        slc_http_not_found(request);
        return SLC_OK;
    }
    agent->started = true;
    slc_slice key = slc_buffer_slice(&search->key);
    slc_slice arguments = slc_buffer_slice(&search->arguments);
    slc_err rc = e.kind == SLC_DEST_QUEUE
                     ? slc_session_queue_unbind(agent->session, e.destination, e.source, key,
                                                arguments, error)
                     : slc_session_exchange_unbind(agent->session, e.destination, e.source, key,
                                                   arguments, error);
    if (rc == SLC_OK)
        request->status = 204;
    return rc;
}

void slc_api_unbind(slc_http_request *request)
{
    slc_http_agent_run(request, unbind_step, slc_alloc_zero(1, sizeof(key_search)),
                       key_search_free);
}
