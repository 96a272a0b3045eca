// Exchanges, bindings and vhosts.
#include "base/alloc.h"
#include "core/policy.h"
#include "http/api.h"

/* ---- exchanges ---- */

#define EXCHANGE_FIELDS(X)                                                                         \
    X(name, slc_json_put_slice(w, "name", e->dest.name))                                           \
    X(vhost, slc_json_put_slice(w, "vhost", slc_vhost_name(e->vhost)))                             \
    X(type, slc_json_put_text(w, "type", e->kind->name))                                           \
    X(durable, slc_json_put_bool(w, "durable", e->dest.durable))                                   \
    X(auto_delete, slc_json_put_bool(w, "auto_delete", e->auto_delete))                            \
    X(internal, slc_json_put_bool(w, "internal", e->internal))                                     \
    X(arguments, (slc_json_key(w, "arguments"), slc_json_table(w, e->arguments, api->select.raw))) \
    X(messages_delayed, exchange_messages_delayed(w, e))                                           \
    X(policy, exchange_policy(w, e))                                                               \
    X(message_stats, exchange_message_stats(w, e))

enum exchange_field {
#define X(name, statement) EXCHANGE_##name,
    EXCHANGE_FIELDS(X) EXCHANGE_FIELD_COUNT
#undef X
};
static const char *const exchange_fields[] = {
#define X(name, statement) #name,
    EXCHANGE_FIELDS(X)
#undef X
};

static void exchange_messages_delayed(slc_json *w, const slc_exchange *e)
{
    uint64_t count;
    if (slc_exchange_messages_delayed(e, &count)) // other kinds do not have the key
        slc_json_put_u64(w, "messages_delayed", count);
}

static void exchange_policy(slc_json *w, const slc_exchange *e)
{
    slc_json_key(w, "policy");
    if (e->dest.policy_held != NULL)
        slc_json_slice(w, slc_policy_name(e->dest.policy_held));
    else
        slc_json_null(w);
}

static void exchange_message_stats(slc_json *w, const slc_exchange *e)
{
    if (e->messages_in == 0)
        return;
    slc_json_key(w, "message_stats");
    slc_json_open(w, '{');
    slc_json_put_u64(w, "publish_in", e->messages_in);
    slc_json_close(w, '}');
}

static void exchange_each(const slc_exchange *e, void *arg)
{
    slc_api *api = arg;
    if (api->want_one) {
        if (!slc_slice_equal(e->dest.name, api->want))
            return;
        api->found = true;
    }
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    for (uint32_t i = 0; i < api->select.count; i++) {
        switch ((enum exchange_field)api->select.fields[i]) {
#define X(name, statement)                                                                         \
    case EXCHANGE_##name:                                                                          \
        statement;                                                                                 \
        break;
            EXCHANGE_FIELDS(X)
#undef X
        case EXCHANGE_FIELD_COUNT:
            SLC_ASSERT(!"a field");
        }
    }
    slc_json_close(w, '}');
}

static void exchanges_each_vhost(slc_vhost *vhost, void *arg)
{
    slc_vhost_each_exchange(vhost, exchange_each, arg);
}

static slc_api exchanges_begin(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_api_select_init(&api.select, request, exchange_fields, EXCHANGE_FIELD_COUNT,
                        EXCHANGE_FIELD_COUNT);
    return api;
}

void slc_api_exchanges(slc_http_request *request)
{
    slc_api api = exchanges_begin(request);
    slc_json_open(&api.w, '[');
    if (!slc_api_each_vhost(&api, exchanges_each_vhost))
        return;
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_exchange(slc_http_request *request)
{
    slc_api api = exchanges_begin(request);
    api.want_one = true;
    api.want = request->vars[1];
    if (slc_slice_is(api.want, "amq.default"))
        api.want = slc_slice_of(NULL, 0); // a path cannot hold an empty name
    if (slc_api_each_vhost(&api, exchanges_each_vhost))
        slc_api_end(&api);
}

/* ---- bindings ---- */

#define BINDING_FIELDS(X)                                                                          \
    X(source, slc_json_put_slice(w, "source", b->source))                                          \
    X(vhost, slc_json_put_slice(w, "vhost", slc_vhost_name(api->vhost)))                           \
    X(destination, slc_json_put_slice(w, "destination", b->destination))                           \
    X(destination_type,                                                                            \
      slc_json_put_text(w, "destination_type",                                                     \
                        b->destination_kind == SLC_DEST_QUEUE ? "queue" : "exchange"))             \
    X(routing_key, slc_json_put_slice(w, "routing_key", b->key))                                   \
    X(arguments, (slc_json_key(w, "arguments"), slc_json_table(w, b->arguments, api->select.raw))) \
    X(properties_key, binding_properties_key(w, b))

enum binding_field {
#define X(name, statement) BINDING_##name,
    BINDING_FIELDS(X) BINDING_FIELD_COUNT
#undef X
};
static const char *const binding_fields[] = {
#define X(name, statement) #name,
    BINDING_FIELDS(X)
#undef X
};

// FNV-1a: stable over restarts, which the seeded hash of our maps is not.
static uint32_t octets_hash(slc_slice octets)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < octets.bytes; i++)
        hash = (hash ^ octets.data[i]) * 16777619u;
    return hash;
}

// "~"; "a.%2A"; "a.b~4gSN_A": the percent-encoded key, and a hash of the arguments, whose keys are sorted.
static void binding_properties_key(slc_json *w, const slc_binding_info *b)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char base64url[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t text[255 * 3 + 8];
    size_t n = 0;
    for (size_t i = 0; i < b->key.bytes && i < 255; i++) {
        uint8_t c = b->key.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_';
        if (plain) {
            text[n++] = c;
        } else {
            text[n++] = '%';
            text[n++] = (uint8_t)hex[c >> 4];
            text[n++] = (uint8_t)hex[c & 15];
        }
    }
    if (n == 0 || b->arguments.bytes > 0)
        text[n++] = '~';
    if (b->arguments.bytes > 0) {
        uint64_t bits = (uint64_t)octets_hash(b->arguments) << 4;
        for (int shift = 30; shift >= 0; shift -= 6)
            text[n++] = (uint8_t)base64url[bits >> shift & 63];
    }
    slc_json_put_slice(w, "properties_key", slc_slice_of(text, n));
}

static void binding_each(const slc_binding_info *b, void *arg)
{
    slc_api *api = arg;
    if (api->want_one) { // the bindings of one queue
        if (b->destination_kind != SLC_DEST_QUEUE || !slc_slice_equal(b->destination, api->want))
            return;
        api->found = true;
    }
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    for (uint32_t i = 0; i < api->select.count; i++) {
        switch ((enum binding_field)api->select.fields[i]) {
#define X(name, statement)                                                                         \
    case BINDING_##name:                                                                           \
        statement;                                                                                 \
        break;
            BINDING_FIELDS(X)
#undef X
        case BINDING_FIELD_COUNT:
            SLC_ASSERT(!"a field");
        }
    }
    slc_json_close(w, '}');
}

static void bindings_each_vhost(slc_vhost *vhost, void *arg)
{
    slc_api *api = arg;
    api->vhost = vhost;
    slc_vhost_each_binding(vhost, binding_each, api);
}

static void bindings_answer(slc_http_request *request, bool of_queue)
{
    slc_api api = slc_api_begin(request);
    slc_api_select_init(&api.select, request, binding_fields, BINDING_FIELD_COUNT,
                        BINDING_FIELD_COUNT);
    api.want_one = of_queue; // every queue has its default binding: none found means no such queue
    if (of_queue)
        api.want = request->vars[1];
    slc_json_open(&api.w, '[');
    if (!slc_api_each_vhost(&api, bindings_each_vhost))
        return;
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_bindings(slc_http_request *request)
{
    bindings_answer(request, false);
}

void slc_api_queue_bindings(slc_http_request *request)
{
    bindings_answer(request, true);
}

/* ---- vhosts ---- */

typedef struct vhost_totals {
    uint64_t ready, unacked;
} vhost_totals;

static void vhost_add_queue(const slc_queue_info *queue, void *arg)
{
    vhost_totals *totals = arg;
    totals->ready += queue->ready;
    totals->unacked += queue->unacked;
}

static void vhost_each(slc_vhost *vhost, void *arg)
{
    slc_api *api = arg;
    vhost_totals totals = {0};
    slc_vhost_each_queue(vhost, vhost_add_queue, &totals);
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    const slc_vhost_metadata *metadata = slc_vhost_metadata_of(vhost);
    slc_json_put_slice(w, "name", slc_vhost_name(vhost));
    slc_json_put_slice(w, "description", metadata->description);
    slc_json_key(w, "tags");
    slc_json_open(w, '[');
    for (size_t at = 0; at < metadata->tags.bytes;) {
        const uint8_t *comma = memchr(metadata->tags.data + at, ',', metadata->tags.bytes - at);
        size_t end = comma != NULL ? (size_t)(comma - metadata->tags.data) : metadata->tags.bytes;
        slc_json_slice(w, slc_slice_of(metadata->tags.data + at, end - at));
        at = end + 1;
    }
    slc_json_close(w, ']');
    slc_json_put_slice(w, "default_queue_type",
                       metadata->default_queue_type.bytes > 0 ? metadata->default_queue_type
                                                              : slc_slice_str("undefined"));
    slc_json_put_bool(w, "tracing", slc_vhost_traced(vhost));
    slc_json_key(w, "cluster_state");
    slc_json_open(w, '{');
    slc_json_key(w, api->options->node);
    slc_json_text(w, "running");
    slc_json_close(w, '}');
    slc_json_put_u64(w, "messages", totals.ready + totals.unacked);
    slc_json_put_u64(w, "messages_ready", totals.ready);
    slc_json_put_u64(w, "messages_unacknowledged", totals.unacked);
    slc_json_close(w, '}');
}

void slc_api_vhosts(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    slc_broker_each_vhost(api.broker, vhost_each, &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_vhost(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    if (slc_api_each_vhost(&api, vhost_each))
        slc_api_end(&api);
}
