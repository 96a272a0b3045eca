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
    X(message_stats, exchange_message_stats(api, e))                                               \
    X(incoming, exchange_none(api, "incoming"))                                                    \
    X(outgoing, exchange_none(api, "outgoing"))

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
    if (e->dest.policy_held != NULL) // as RabbitMQ: absent where there is none
        slc_json_put_slice(w, "policy", slc_policy_name(e->dest.policy_held));
}

static void exchange_message_stats(slc_api *api, const slc_exchange *e)
{
    slc_api_rated *r = &api->rated;
    if (e->messages_in == 0 || api->options->rates_off)
        return;
    r->counters[0] = (slc_api_counter){"publish_in", e->messages_in};
    r->counters[1] = (slc_api_counter){"publish_out", e->messages_out};
    r->count = 2;
    slc_api_rated_look(api, r, 'x', slc_vhost_name(e->vhost), e->dest.name, SLC_API_MSG_RATES,
                       UINT64_MAX);
    slc_json_key(&api->w, "message_stats");
    slc_json_open(&api->w, '{');
    for (uint32_t i = 0; i < r->count; i++)
        slc_api_rated_put(api, r, i, SLC_API_MSG_RATES, true);
    slc_json_close(&api->w, '}');
}

static void exchange_none(slc_api *api, const char *key)
{
    if (api->want_one)
        slc_api_none(&api->w, key);
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
                        EXCHANGE_FIELD_COUNT, NULL);
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

static void binding_properties_key(slc_json *w, const slc_binding_info *b)
{
    slc_buffer text = {0};
    slc_api_properties_key(b->key, b->arguments, &text);
    slc_json_put_slice(w, "properties_key", slc_buffer_slice(&text));
    slc_buffer_fini(&text);
}

void slc_api_binding_write(slc_api *api, const slc_binding_info *b)
{
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

static void binding_each(const slc_binding_info *b, void *arg)
{
    slc_api *api = arg;
    if (api->want_one) { // the bindings of one queue
        if (b->destination_kind != SLC_DEST_QUEUE || !slc_slice_equal(b->destination, api->want))
            return;
        api->found = true;
    }
    slc_api_binding_write(api, b);
}

static void default_binding_each(const slc_binding_info *b, void *arg)
{
    if (b->source.bytes == 0)
        slc_api_binding_write(arg, b);
}

void slc_api_default_bindings(slc_api *api, slc_vhost *vhost)
{
    slc_vhost_each_binding(vhost, default_binding_each, api);
}

slc_api slc_api_bindings_begin(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_api_select_init(&api.select, request, binding_fields, BINDING_FIELD_COUNT,
                        BINDING_FIELD_COUNT, NULL);
    return api;
}

static void bindings_each_vhost(slc_vhost *vhost, void *arg)
{
    slc_api *api = arg;
    api->vhost = vhost;
    slc_vhost_each_binding(vhost, binding_each, api);
}

static void bindings_answer(slc_http_request *request, bool of_queue)
{
    slc_api api = slc_api_bindings_begin(request);
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
    slc_api_tags_put(w, metadata->tags);
    slc_json_key(w, "metadata");
    slc_json_open(w, '{');
    slc_json_put_slice(w, "description", metadata->description);
    slc_api_tags_put(w, metadata->tags);
    slc_json_close(w, '}');
    slc_json_put_slice(w, "default_queue_type",
                       metadata->default_queue_type.bytes > 0 ? metadata->default_queue_type
                                                              : slc_slice_str("undefined"));
    slc_json_put_bool(w, "tracing", slc_vhost_traced(vhost));
    slc_json_key(w, "cluster_state");
    slc_json_open(w, '{');
    slc_json_key(w, api->options->node);
    slc_json_text(w, "running");
    slc_json_close(w, '}');
    slc_api_rated *r = &api->rated;
    slc_api_stats_counters(r, slc_vhost_stats(vhost));
    r->counters[SLC_API_STATS] = (slc_api_counter){"messages", totals.ready + totals.unacked};
    r->counters[SLC_API_STATS + 1] = (slc_api_counter){"messages_ready", totals.ready};
    r->counters[SLC_API_STATS + 2] = (slc_api_counter){"messages_unacknowledged", totals.unacked};
    r->count = SLC_API_STATS + 3;
    slc_api_rated_look(api, r, 'v', slc_vhost_name(vhost), (slc_slice){0}, SLC_API_MSG_RATES,
                       UINT64_MAX);
    for (uint32_t i = SLC_API_STATS; i < r->count; i++)
        slc_api_rated_put(api, r, i, SLC_API_LENGTHS, true);
    slc_api_message_stats(api, r, false);
    slc_json_close(w, '}');
}

void slc_api_vhosts(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    slc_api_each_listed_vhost(&api, vhost_each);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_vhost(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    if (slc_api_each_vhost(&api, vhost_each))
        slc_api_end(&api);
}
