// Queues: lists, one queue, purge and delete.
#include <assert.h>

#include "base/alloc.h"
#include "base/map.h"
#include "core/policy.h"
#include "http/api.h"

// name, how it is written. The second table is written only when columns= asks for it.
#define QUEUE_FIELDS(X)                                                                            \
    X(name, slc_json_put_slice(w, "name", q->name))                                                \
    X(vhost, slc_json_put_slice(w, "vhost", slc_vhost_name(q->vhost)))                             \
    X(type, slc_json_put_text(w, "type", q->quorum ? "quorum" : "classic"))                        \
    X(durable, slc_json_put_bool(w, "durable", q->durable))                                        \
    X(auto_delete, slc_json_put_bool(w, "auto_delete", q->auto_delete))                            \
    X(exclusive, slc_json_put_bool(w, "exclusive", q->exclusive))                                  \
    X(arguments, (slc_json_key(w, "arguments"), slc_json_table(w, q->arguments, api->select.raw))) \
    X(node, slc_json_put_text(w, "node", api->options->node))                                      \
    X(state, slc_json_put_text(w, "state", "running"))                                             \
    X(policy, queue_policy(w, "policy", q->dest->policy_held))                                     \
    X(operator_policy, queue_policy(w, "operator_policy", q->dest->operator_policy_held))          \
    X(effective_policy_definition, queue_effective(w, q))                                          \
    X(messages, slc_json_put_u64(w, "messages", q->ready + q->unacked))                            \
    X(messages_ready, slc_json_put_u64(w, "messages_ready", q->ready))                             \
    X(messages_unacknowledged, slc_json_put_u64(w, "messages_unacknowledged", q->unacked))         \
    X(messages_ready_ram, slc_json_put_u64(w, "messages_ready_ram", q->in_memory))                 \
    X(messages_unacknowledged_ram, slc_json_put_u64(w, "messages_unacknowledged_ram", q->unacked)) \
    X(messages_ram, slc_json_put_u64(w, "messages_ram", q->in_memory + q->unacked))                \
    X(messages_persistent, slc_json_put_u64(w, "messages_persistent", q->persistent))              \
    X(messages_paged_out, slc_json_put_u64(w, "messages_paged_out", q->ready - q->in_memory))      \
    X(message_bytes, slc_json_put_u64(w, "message_bytes", q->ready_bytes + q->unacked_bytes))      \
    X(message_bytes_ready, slc_json_put_u64(w, "message_bytes_ready", q->ready_bytes))             \
    X(message_bytes_unacknowledged,                                                                \
      slc_json_put_u64(w, "message_bytes_unacknowledged", q->unacked_bytes))                       \
    X(message_bytes_ram,                                                                           \
      slc_json_put_u64(w, "message_bytes_ram", q->in_memory_bytes + q->unacked_bytes))             \
    X(message_bytes_persistent,                                                                    \
      slc_json_put_u64(w, "message_bytes_persistent", q->persistent_bytes))                        \
    X(message_bytes_paged_out,                                                                     \
      slc_json_put_u64(w, "message_bytes_paged_out", q->ready_bytes - q->in_memory_bytes))         \
    X(consumers, slc_json_put_u64(w, "consumers", q->consumers))                                   \
    X(exclusive_consumer_tag, queue_exclusive_tag(w, q))                                           \
    X(single_active_consumer_tag, queue_active_tag(w, q))                                          \
    X(owner_pid_details, queue_owner(api, q))                                                      \
    X(memory, slc_json_put_u64(w, "memory", q->memory_bytes))                                      \
    X(messages_details, queue_rate_put(api, q, QUEUE_MESSAGES_RATE))                               \
    X(messages_ready_details, queue_rate_put(api, q, QUEUE_READY_RATE))                            \
    X(messages_unacknowledged_details, queue_rate_put(api, q, QUEUE_UNACKED_RATE))                 \
    X(message_stats, slc_api_message_stats(api, queue_rated(api, q), true))                        \
    X(consumer_capacity, slc_json_put_double(w, "consumer_capacity", q->consumer_capacity))        \
    X(consumer_utilisation, slc_json_put_double(w, "consumer_utilisation", q->consumer_capacity))  \
    X(head_message_timestamp, queue_head_timestamp(w, q))                                          \
    X(disk_reads, slc_json_put_u64(w, "disk_reads", q->disk_reads))                                \
    X(disk_writes, slc_json_put_u64(w, "disk_writes", q->disk_writes))                             \
    X(idle_since, slc_api_idle_since(w, q->idle_since_ms))                                         \
    X(recoverable_slaves, queue_slaves(w, q))                                                      \
    X(leader, queue_leader(api, q))                                                                \
    X(members, queue_members(api, q, "members"))                                                   \
    X(online, queue_members(api, q, "online"))                                                     \
    X(open_files, queue_open_files(api, q))                                                        \
    X(messages_dlx, queue_zero(w, q, "messages_dlx"))                                              \
    X(message_bytes_dlx, queue_zero(w, q, "message_bytes_dlx"))                                    \
    X(consumer_details, queue_consumers(api, q))                                                   \
    X(incoming, queue_none(api, "incoming"))                                                       \
    X(deliveries, queue_none(api, "deliveries"))
#define QUEUE_FIELDS_OURS(X)                                                                       \
    X(pid, queue_pid(api, q))                                                                      \
    X(owner_pid, queue_owner_pid(api, q))                                                          \
    X(exclusive_consumer_pid, queue_exclusive_pid(api, q))                                         \
    X(publish_count, slc_json_put_u64(w, "publish_count", q->stats.published))                     \
    X(deliver_count, slc_json_put_u64(w, "deliver_count", queue_handed_out(&q->stats)))            \
    X(ack_count, slc_json_put_u64(w, "ack_count", q->stats.acked))

enum queue_field {
#define X(name, statement) QUEUE_##name,
    QUEUE_FIELDS(X) QUEUE_FIELDS_OURS(X) QUEUE_FIELD_COUNT,
    QUEUE_FIELD_DEFAULT = QUEUE_pid,
#undef X
};
static const char *const queue_fields[] = {
#define X(name, statement) #name,
    QUEUE_FIELDS(X) QUEUE_FIELDS_OURS(X)
#undef X
};
static_assert(SLC_ARRAY_COUNT(queue_fields) == QUEUE_FIELD_COUNT, "a name for each field");

static void queue_policy(slc_json *w, const char *key, const slc_policy *policy)
{
    slc_json_key(w, key);
    if (policy != NULL)
        slc_json_slice(w, slc_policy_name(policy));
    else
        slc_json_null(w);
}

static void queue_effective(slc_json *w, const slc_queue_info *q)
{
    slc_buffer table = {0};
    slc_policy_effective(q->dest->policy, q->dest->operator_policy, &table);
    slc_json_key(w, "effective_policy_definition");
    slc_json_table(w, slc_buffer_slice(&table), false);
    slc_buffer_fini(&table);
}

static void queue_exclusive_tag(slc_json *w, const slc_queue_info *q)
{
    if (q->exclusive_consumer_tag.bytes > 0)
        slc_json_put_slice(w, "exclusive_consumer_tag", q->exclusive_consumer_tag);
    else
        slc_json_put_null(w, "exclusive_consumer_tag");
}

static void queue_active_tag(slc_json *w, const slc_queue_info *q)
{
    if (q->active_consumer_tag.bytes > 0)
        slc_json_put_slice(w, "single_active_consumer_tag", q->active_consumer_tag);
    else
        slc_json_put_null(w, "single_active_consumer_tag");
}

static void queue_owner(slc_api *api, const slc_queue_info *q)
{
    if (q->owner == NULL)
        return; // RabbitMQ has the key for exclusive queues only
    slc_json_key(&api->w, "owner_pid_details");
    slc_api_connection_details(api, q->owner);
}

static uint64_t queue_handed_out(const slc_stats *s)
{
    return s->delivered + s->delivered_no_ack + s->got + s->got_no_ack;
}

static void queue_head_timestamp(slc_json *w, const slc_queue_info *q)
{
    uint64_t timestamp;
    if (slc_queue_head_timestamp(q, &timestamp))
        slc_json_put_u64(w, "head_message_timestamp", timestamp);
    else
        slc_json_put_null(w, "head_message_timestamp");
}

static void queue_pid(slc_api *api, const slc_queue_info *q)
{
    // No connection has that number: theirs count from 1, this is a time.
    slc_json_key(&api->w, "pid");
    slc_api_pid_of(api, q->created_ms, q->created_serial);
}

static void queue_owner_pid(slc_api *api, const slc_queue_info *q)
{
    slc_json_key(&api->w, "owner_pid");
    if (q->owner != NULL)
        slc_api_pid(api, q->owner, 0);
    else
        slc_json_null(&api->w);
}

/* ---- what only a quorum queue has, or only one queue by itself ---- */

static void queue_slaves(slc_json *w, const slc_queue_info *q)
{
    if (!q->quorum)
        slc_json_put_null(w, "recoverable_slaves");
}

static void queue_leader(slc_api *api, const slc_queue_info *q)
{
    if (q->quorum)
        slc_json_put_text(&api->w, "leader", api->options->node);
}

static void queue_members(slc_api *api, const slc_queue_info *q, const char *key)
{
    if (!q->quorum)
        return;
    slc_json_key(&api->w, key);
    slc_json_open(&api->w, '[');
    slc_json_text(&api->w, api->options->node);
    slc_json_close(&api->w, ']');
}

static void queue_open_files(slc_api *api, const slc_queue_info *q)
{
    if (!q->quorum)
        return;
    slc_json_key(&api->w, "open_files");
    slc_json_open(&api->w, '{');
    slc_json_put_u64(&api->w, api->options->node, 0);
    slc_json_close(&api->w, '}');
}

static void queue_zero(slc_json *w, const slc_queue_info *q, const char *key)
{
    if (q->quorum)
        slc_json_put_u64(w, key, 0);
}

static void queue_consumers(slc_api *api, const slc_queue_info *q)
{
    if (!api->want_one)
        return;
    slc_json_key(&api->w, "consumer_details");
    slc_api_consumers_put(api, q->vhost, q->name, NULL, 0);
}

static void queue_none(slc_api *api, const char *key)
{
    if (api->want_one)
        slc_api_none(&api->w, key);
}

/* ---- rates ---- */

// Behind those of message_stats.
enum {
    QUEUE_MESSAGES_RATE = SLC_API_STATS,
    QUEUE_READY_RATE,
    QUEUE_UNACKED_RATE,
    QUEUE_RATES,
};

// Several fields of a queue ask for them: looked up once.
static const slc_api_rated *queue_rated(slc_api *api, const slc_queue_info *q)
{
    slc_api_rated *r = &api->rated;
    if (r->of == q->name.data)
        return r;
    r->of = q->name.data;
    slc_api_stats_counters(r, &q->stats);
    r->counters[QUEUE_MESSAGES_RATE] = (slc_api_counter){"messages", q->ready + q->unacked};
    r->counters[QUEUE_READY_RATE] = (slc_api_counter){"messages_ready", q->ready};
    r->counters[QUEUE_UNACKED_RATE] = (slc_api_counter){"messages_unacknowledged", q->unacked};
    r->count = QUEUE_RATES;
    r->past = NULL;
    memset(r->rates, 0, sizeof r->rates);
    // A queue that nothing has happened to since the start has no rates, and needs no memory for them.
    if (memcmp(&q->stats, &(slc_stats){0}, sizeof q->stats) != 0)
        slc_api_rated_look(api, r, 'q', slc_vhost_name(q->vhost), q->name, SLC_API_MSG_RATES,
                           UINT64_MAX);
    return r;
}

static void queue_rate_put(slc_api *api, const slc_queue_info *q, uint32_t which)
{
    slc_api_rated_put(api, queue_rated(api, q), which, SLC_API_LENGTHS, false);
}

/* ---- exclusive consumers of one vhost, by queue: gathered only when the column is asked for ---- */

typedef struct exclusive_consumer {
    slc_slice queue;
    const slc_session *session;
    UT_hash_handle hh;
} exclusive_consumer;

static void exclusive_gather(const slc_consumer_info *consumer, void *arg)
{
    exclusive_consumer **map = arg;
    if (!consumer->exclusive)
        return;
    exclusive_consumer *entry = slc_alloc(sizeof *entry);
    entry->queue = consumer->queue;
    entry->session = consumer->session;
    HASH_ADD_KEYPTR(hh, *map, entry->queue.data, entry->queue.bytes, entry);
}

static void exclusive_free(exclusive_consumer *map)
{
    exclusive_consumer *entry, *next;
    HASH_ITER(hh, map, entry, next)
    {
        HASH_DEL(map, entry);
        slc_free(entry);
    }
}

static void queue_exclusive_pid(slc_api *api, const slc_queue_info *q)
{
    exclusive_consumer *map = api->extra;
    exclusive_consumer *entry = NULL;
    HASH_FIND(hh, map, q->name.data, q->name.bytes, entry);
    slc_json_key(&api->w, "exclusive_consumer_pid");
    if (entry != NULL)
        slc_api_pid(api, slc_session_client(entry->session), slc_session_number(entry->session));
    else
        slc_json_null(&api->w);
}

/* ---- lists ---- */

static void queue_write(slc_api *api, const slc_queue_info *q)
{
    slc_json *w = &api->w;
    for (uint32_t i = 0; i < api->select.count; i++) {
        switch ((enum queue_field)api->select.fields[i]) {
#define X(name, statement)                                                                         \
    case QUEUE_##name:                                                                             \
        statement;                                                                                 \
        break;
            QUEUE_FIELDS(X)
            QUEUE_FIELDS_OURS(X)
#undef X
        case QUEUE_FIELD_COUNT:
            SLC_ASSERT(!"a field");
        }
    }
}

static void queue_each(const slc_queue_info *queue, void *arg)
{
    slc_api *api = arg;
    if (api->want_one) {
        if (!slc_slice_equal(queue->name, api->want))
            return;
        api->found = true;
    }
    slc_json_open(&api->w, '{');
    queue_write(api, queue);
    slc_json_close(&api->w, '}');
}

static void queues_each_vhost(slc_vhost *vhost, void *arg)
{
    slc_api *api = arg;
    exclusive_consumer *map = NULL;
    slc_vhost_each_consumer(vhost, exclusive_gather, &map);
    api->extra = map;
    slc_vhost_each_queue(vhost, queue_each, api);
    api->extra = NULL;
    exclusive_free(map);
}

static slc_api queues_begin(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_api_select_init(&api.select, request, queue_fields, QUEUE_FIELD_COUNT, QUEUE_FIELD_DEFAULT,
                        "name vhost type durable auto_delete exclusive arguments node state");
    return api;
}

/* A list of many queues is written in slices, between which others have the loop: first the names of all, then so many queues at
 * a time. Those that are gone by then are left out, new ones are not in it. */

enum { QUEUES_SLICE = 128 };

typedef struct queue_slices {
    slc_api api;
    slc_buffer names; // of vhost and queue in turn, each with an octet of its length before it
    size_t at;
} queue_slices;

static void name_keep(const slc_queue_info *queue, void *arg)
{
    slc_buffer *names = arg;
    slc_slice vhost = slc_vhost_name(queue->vhost);
    slc_buffer_octet(names, (uint8_t)vhost.bytes);
    slc_buffer_put(names, vhost.data, vhost.bytes);
    slc_buffer_octet(names, (uint8_t)queue->name.bytes);
    slc_buffer_put(names, queue->name.data, queue->name.bytes);
}

static void names_each_vhost(slc_vhost *vhost, void *arg)
{
    slc_api *api = arg;
    slc_vhost_each_queue(vhost, name_keep, &((queue_slices *)api->extra)->names);
}

static slc_slice name_next(queue_slices *slices)
{
    const uint8_t *at = slices->names.data + slices->at;
    slices->at += 1u + at[0];
    return slc_slice_of(at + 1, at[0]);
}

static void queues_go_on(slc_http_request *request)
{
    queue_slices *slices = request->progress;
    slc_api *api = &slices->api;
    api->rated.of = NULL; // another queue may be where that one was
    for (uint32_t i = 0; i < QUEUES_SLICE && slices->at < slices->names.bytes; i++) {
        slc_vhost *vhost = slc_broker_vhost(api->broker, name_next(slices));
        slc_slice name = name_next(slices);
        slc_queue_info queue;
        if (vhost != NULL && slc_vhost_find_queue(vhost, name, &queue))
            queue_each(&queue, api);
    }
    if (slices->at < slices->names.bytes) {
        slc_http_later(request);
        return;
    }
    slc_json_close(&api->w, ']');
    slc_buffer_fini(&slices->names);
    slc_free(slices);
    request->go_on = NULL;
    request->progress = NULL;
    slc_http_answer(request);
}

static bool selected(const slc_api *api, enum queue_field field)
{
    for (uint32_t i = 0; i < api->select.count; i++) {
        if (api->select.fields[i] == field)
            return true;
    }
    return false;
}

void slc_api_queues(slc_http_request *request)
{
    slc_api api = queues_begin(request);
    slc_json_open(&api.w, '[');
    if (selected(&api,
                 QUEUE_exclusive_consumer_pid)) { // which wants the consumers of a whole vhost
        if (!slc_api_each_vhost(&api, queues_each_vhost))
            return;
        slc_json_close(&api.w, ']');
        slc_api_end(&api);
        return;
    }
    queue_slices *slices = slc_alloc_zero(1, sizeof *slices);
    api.extra = slices;
    if (!slc_api_each_vhost(&api, names_each_vhost)) {
        slc_free(slices);
        return;
    }
    slices->api = api;
    request->progress = slices;
    request->go_on = queues_go_on;
    queues_go_on(request);
}

static void queue_of_vhost(slc_vhost *vhost, void *arg)
{
    slc_api *api = arg;
    exclusive_consumer *map = NULL;
    slc_queue_info one;
    if (!slc_vhost_find_queue(vhost, api->want, &one))
        return;
    if (selected(api, QUEUE_exclusive_consumer_pid))
        slc_vhost_each_consumer(vhost, exclusive_gather, &map);
    api->extra = map;
    queue_each(&one, api);
    exclusive_free(map);
}

void slc_api_queue(slc_http_request *request)
{
    slc_api api = queues_begin(request);
    api.want_one = true;
    api.want = request->vars[1];
    if (slc_api_each_vhost(&api, queue_of_vhost))
        slc_api_end(&api);
}

/* ---- changes ---- */

void slc_api_queue_purge(slc_http_request *request)
{
    slc_broker *broker = slc_http_options_of(request->http)->broker;
    slc_vhost *vhost = slc_broker_vhost(broker, request->vars[0]);
    slc_error error = {0};
    slc_err rc = SLC_ENOTFOUND;
    if (vhost != NULL)
        rc = slc_vhost_queue_purge(vhost, request->vars[1], &request->messages, &error);
    if (rc == SLC_OK) {
        request->status = 204;
        request->messages_known = true;
    } else if (rc == SLC_ENOTFOUND) {
        slc_http_not_found(request);
    } else {
        slc_http_fail(request, 400, "bad_request", "%s",
                      error.text[0] ? error.text : slc_err_text(rc));
    }
    slc_http_answer(request);
}

static void queue_deleted(slc_err rc, const slc_error *error, uint64_t ready, void *arg)
{
    slc_http_request *request = arg;
    const char *text = error != NULL && error->text[0] ? error->text : slc_err_text(rc);
    switch (rc) {
    case SLC_OK:
        request->status = 204;
        request->messages = ready;
        request->messages_known = true;
        break;
    case SLC_ENOTFOUND:
        slc_http_not_found(request);
        break;
    case SLC_ENOSPC:
        slc_http_fail(request, 503, "unavailable", "%s", text);
        break;
    default:
        slc_http_fail(request, 400, "bad_request", "%s", text);
    }
    slc_http_answer(request);
}

void slc_api_queue_delete(slc_http_request *request)
{
    slc_broker *broker = slc_http_options_of(request->http)->broker;
    slc_vhost *vhost = slc_broker_vhost(broker, request->vars[0]);
    if (vhost == NULL) {
        queue_deleted(SLC_ENOTFOUND, NULL, 0, request);
        return;
    }
    slc_vhost_queue_delete(vhost, request->vars[1], slc_path_flag(&request->path, "if-unused"),
                           slc_path_flag(&request->path, "if-empty"), queue_deleted, request);
}

/* ---- actions: there is nothing to synchronise ---- */

void slc_api_queue_action(slc_http_request *request)
{
    static const char *const keys[] = {"action"};
    const json_t *body = slc_api_body(request);
    if (body == NULL || !slc_api_need(request, body, keys, 1))
        return;
    slc_vhost *vhost = slc_api_vhost_named(request, request->vars[0]);
    if (vhost == NULL)
        return;
    slc_slice action = slc_api_text(body, keys[0]);
    if (!slc_vhost_find_queue(vhost, request->vars[1], NULL))
        slc_http_not_found(request);
    else if (slc_slice_is(action, "sync") || slc_slice_is(action, "cancel_sync"))
        request->status = 204;
    else
        slc_http_fail(request, 400, "bad_request",
                      "unknown action '%.*s': sync or cancel_sync is expected",
                      SLC_SLICE_FMT(action));
    slc_http_answer(request);
}
