// Vhosts: made, changed and deleted by operators.
//
//     put ──> proposal (vhost, its predeclared exchanges) ──> applied ──> done
//     delete ──> doomed: nobody gets in, its clients are told to close
//                  └──the last client is gone──> proposal (the vhost and all that is in it) ──> applied ──> done
//
// @spec amqp-semantics 6.2, 9.2; management-api 4
#include "core/internal.h"
#include "core/system_message.h"

#include <stdio.h>

#include "core/parameter.h"

/** An operator who waits. */
typedef struct vhost_wish {
    slc_vhost_done done;
    void *arg;
    bool created;
    char actor[256]; // of a deletion, which is proposed later
} vhost_wish;

static void wish_done(slc_op *op, slc_err rc)
{
    vhost_wish *wish = op->done_arg;
    slc_error error = {0};
    if (rc != SLC_OK)
        slc_error_set(&error, rc, "cannot store the definition of the vhost: %s", slc_err_text(rc));
    if (wish->done != NULL)
        wish->done(rc, wish->created, rc == SLC_OK ? NULL : &error, wish->arg);
    slc_free(wish);
}

static void wish_propose(slc_broker *broker, slc_changes *changes, uint64_t touch, bool created,
                         slc_vhost_done done, void *arg)
{
    vhost_wish *wish = slc_alloc(sizeof *wish);
    *wish = (vhost_wish){.done = done, .arg = arg, .created = created};
    slc_op *op = slc_propose(broker, changes, NULL, touch, 0);
    op->done = wish_done;
    op->done_arg = wish;
}

static void refuse(slc_vhost_done done, void *arg, const slc_error *error)
{
    if (done != NULL)
        done(error->code, false, error, arg);
}

/** Not slc_touch: the vhost itself, no name in it. */
static uint64_t vhost_touch(slc_slice name)
{
    return (uint64_t)slc_hash(name.data, name.bytes) << 8 | 3ull << 62;
}

static void put_predeclared(slc_broker *broker, slc_changes *changes, const slc_id *vhost)
{
    for (uint32_t i = 0; i < slc_predeclared_count; i++) {
        const slc_predeclared *x = &slc_predeclared_exchanges[i];
        slc_id id = slc_id_new(broker);
        slc_changes_put_exchange(changes, &id, vhost, slc_slice_str(x->name),
                                 slc_slice_str(x->type), false, x->internal, (slc_slice){0});
    }
}

typedef struct vhost_beginning {
    slc_vhost_begin begin; // first
    slc_changes *changes;
    const slc_id *id;
} vhost_beginning;

static void begin_parameter(slc_vhost_begin *begin, const char *component, const char *name,
                            const json_t *value)
{
    const vhost_beginning *b = (const vhost_beginning *)begin;
    slc_changes_put_parameter(b->changes, b->id, slc_slice_str(component), slc_slice_str(name),
                              value);
}

static void begin_put(slc_vhost_begin *begin, slc_slice key, slc_slice value)
{
    slc_changes_add_raw(((vhost_beginning *)begin)->changes, slc_slice_copy(key),
                        slc_slice_copy(value));
}

void slc_vhost_begins(slc_broker *broker, slc_changes *changes, slc_slice name, const slc_id *id)
{
    slc_system_exchanges(broker, changes, NULL, name, id);
    vhost_beginning b = {{begin_parameter, begin_put}, changes, id};
    if (broker->vhost_new != NULL)
        broker->vhost_new(name, &b.begin, broker->vhost_new_arg);
}

slc_err slc_vhost_metadata_check(const slc_vhost_metadata *metadata, slc_error *error)
{
    static const char *const types[] = {"", "undefined", "classic", "quorum", "stream"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(types); i++) {
        if (slc_slice_is(metadata->default_queue_type, types[i]))
            return SLC_OK;
    }
    return slc_error_set(error, SLC_EINVAL,
                         "default_queue_type '%.*s' is not one of classic, quorum, stream",
                         SLC_SLICE_FMT(metadata->default_queue_type));
}

void slc_broker_vhost_put(slc_broker *broker, slc_slice name, const slc_vhost_metadata *metadata,
                          const slc_env_change *extra, uint32_t extra_count, slc_vhost_done done,
                          void *arg)
{
    slc_error error = {0};
    slc_vhost *vhost = slc_broker_vhost(broker, name);
    if (name.bytes == 0 || name.bytes > SLC_NAME_MAX) {
        slc_error_set(&error, SLC_EINVAL, "a vhost's name has %zu octets; 1 to %d are allowed",
                      name.bytes, SLC_NAME_MAX);
        refuse(done, arg, &error);
        return;
    }
    if (slc_vhost_metadata_check(metadata, &error) != SLC_OK) {
        refuse(done, arg, &error);
        return;
    }
    uint64_t touch = vhost_touch(name);
    if (slc_op_conflict(broker, touch, 0) || (vhost != NULL && vhost->doomed_by != NULL)) {
        slc_error_set(&error, SLC_EBUSY, "vhost '%.*s' is being created or deleted; try again",
                      SLC_SLICE_FMT(name));
        refuse(done, arg, &error);
        return;
    }
    uint32_t limit = broker->limits.vhosts;
    if (vhost == NULL && limit != 0 &&
        HASH_COUNT(broker->vhosts) + slc_ops_making(broker, NULL, SLC_OBJECT_VHOST) >= limit) {
        slc_error_set(&error, SLC_ELIMIT,
                      "cannot create vhost '%.*s': vhost limit of %u is reached",
                      SLC_SLICE_FMT(name), limit);
        refuse(done, arg, &error);
        return;
    }
    slc_changes changes = {0};
    slc_id id = vhost != NULL ? vhost->id : slc_id_new(broker);
    slc_changes_put_vhost_with(&changes, &id, name, metadata);
    if (vhost == NULL) {
        put_predeclared(broker, &changes, &id);
        slc_vhost_begins(broker, &changes, name, &id);
    }
    for (uint32_t i = 0; i < extra_count; i++)
        slc_changes_add_raw(&changes, slc_slice_copy(extra[i].key),
                            extra[i].value.data != NULL ? slc_slice_copy(extra[i].value)
                                                        : (slc_slice){0});
    wish_propose(broker, &changes, touch, vhost == NULL, done, arg);
}

/* ---- deleting ---- */

static void add_drop(void *sink, slc_slice key)
{
    slc_changes_add_raw(sink, slc_slice_copy(key), (slc_slice){0});
}

static void propose_delete(slc_vhost *vhost)
{
    slc_broker *broker = vhost->broker;
    vhost_wish *wish = vhost->doomed_by;
    slc_changes changes = {0};
    // The vhost first: with it goes all that is in it, and the rest finds nothing left to do but in the stored state.
    slc_changes_delete(&changes, SLC_OBJECT_VHOST, &vhost->id);
    slc_exchange *x, *next_x;
    HASH_ITER(hh, vhost->exchanges, x, next_x)
    {
        slc_binding *b, *next_b;
        HASH_ITER(hh, x->bindings, b, next_b)
        {
            if (b->stored)
                slc_changes_delete(&changes, SLC_OBJECT_BINDING,
                                   (const slc_id *)(const void *)b->id);
        }
        if (x->dest.durable)
            slc_changes_delete(&changes, SLC_OBJECT_EXCHANGE, slc_destination_id(&x->dest));
    }
    slc_queue *q, *next_q;
    HASH_ITER(hh, vhost->queues, q, next_q)
    {
        if (q->dest.durable)
            slc_changes_delete(&changes, SLC_OBJECT_QUEUE, &q->id);
    }
    slc_changes_delete_parameters(&changes, vhost);
    if (broker->vhost_gone != NULL)
        broker->vhost_gone(vhost->name, add_drop, &changes, broker->vhost_gone_arg);
    slc_broker_act_as(broker, wish->actor);
    slc_op *op = slc_propose(broker, &changes, NULL, vhost_touch(vhost->name), 0);
    slc_broker_act_as(broker, NULL);
    op->done = wish_done;
    op->done_arg = wish;
    vhost->delete_proposed = true;
}

static bool vhost_has_clients(const slc_vhost *vhost)
{
    const slc_client *client;
    DL_FOREACH(vhost->broker->clients, client)
    {
        if (client->vhost == vhost)
            return true;
    }
    return false;
}

void slc_broker_delete_doomed(slc_broker *broker)
{
    broker->vhosts_doomed = false;
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next)
    {
        if (vhost->doomed_by == NULL || vhost->delete_proposed)
            continue;
        if (vhost->doomed_serial == 0 && !vhost_has_clients(vhost))
            vhost->doomed_serial = broker->last_op_serial + 1;
        // What its clients proposed is applied first, so that it is named in the proposal.
        if (vhost->doomed_serial == 0 ||
            (broker->ops != NULL && broker->ops->serial < vhost->doomed_serial))
            broker->vhosts_doomed = true;
        else
            propose_delete(vhost);
    }
}

void slc_broker_vhost_delete(slc_broker *broker, slc_slice name, slc_vhost_done done, void *arg)
{
    slc_error error = {0};
    slc_vhost *vhost = slc_broker_vhost(broker, name);
    if (vhost == NULL || vhost->doomed_by != NULL) {
        slc_error_set(&error, SLC_ENOTFOUND, "vhost '%.*s' does not exist", SLC_SLICE_FMT(name));
        refuse(done, arg, &error);
        return;
    }
    vhost_wish *wish = slc_alloc(sizeof *wish);
    *wish = (vhost_wish){.done = done, .arg = arg};
    snprintf(wish->actor, sizeof wish->actor, "%s", slc_broker_actor(broker));
    vhost->doomed_by = wish;
    broker->vhosts_doomed = true;
    char reason[400];
    snprintf(reason, sizeof reason, "vhost '%.*s' is deleted", SLC_SLICE_FMT(name));
    slc_client *client;
    DL_FOREACH(broker->clients, client)
    {
        if (client->vhost == vhost)
            client->ops->close(client, reason);
    }
}

bool slc_vhost_is_doomed(const slc_vhost *vhost)
{
    return vhost->doomed_by != NULL;
}

/* ---- what a vhost says of itself ---- */

const slc_vhost_metadata *slc_vhost_metadata_of(const slc_vhost *vhost)
{
    return &vhost->metadata;
}

/** True: it was that before. */
static bool metadata_slice(slc_slice *slice, slc_slice value)
{
    bool same = slc_slice_equal(*slice, value);
    slc_free((void *)slice->data);
    *slice = slc_slice_copy(value);
    return same;
}

bool slc_vhost_set_metadata(slc_vhost *vhost, const slc_vhost_metadata *metadata)
{
    bool same = metadata_slice(&vhost->metadata.description, metadata->description);
    same &= metadata_slice(&vhost->metadata.tags, metadata->tags);
    same &= metadata_slice(&vhost->metadata.default_queue_type, metadata->default_queue_type);
    return same;
}

void slc_vhost_metadata_fini(slc_vhost *vhost)
{
    slc_free((void *)vhost->metadata.description.data);
    slc_free((void *)vhost->metadata.tags.data);
    slc_free((void *)vhost->metadata.default_queue_type.data);
}

/* ---- limits and defaults of what is declared ---- */

slc_slice slc_vhost_arguments(const slc_vhost *vhost, const slc_queue_declare *declare,
                              slc_table_builder *builder)
{
    slc_slice type = vhost->metadata.default_queue_type;
    if (type.bytes == 0 || slc_slice_is(type, "undefined"))
        type = slc_slice_str(vhost->broker->limits.default_queue_type != NULL
                                 ? vhost->broker->limits.default_queue_type
                                 : "");
    // The other types are durable, shared and stay: a declare that wants something else means a classic queue.
    if (type.bytes == 0 || slc_slice_is(type, "classic") || declare->exclusive ||
        declare->auto_delete || !declare->durable ||
        slc_table_find(declare->arguments, slc_slice_str("x-queue-type"), NULL))
        return declare->arguments;
    slc_table_iter iter = slc_table_iter_of(declare->arguments);
    slc_slice key;
    slc_value value;
    while (slc_table_next(&iter, &key, &value))
        slc_table_put_value(builder, key, &value);
    slc_table_put_longstr(builder, "x-queue-type", type);
    return slc_table_builder_content(builder);
}

slc_err slc_check_queue_limits(slc_vhost *vhost, slc_slice name, slc_error *error)
{
    slc_broker *broker = vhost->broker;
    int64_t limit = slc_vhost_limit(vhost, "max-queues");
    if (limit >= 0 &&
        (uint64_t)HASH_COUNT(vhost->queues) + slc_ops_making(broker, vhost, SLC_OBJECT_QUEUE) >=
            (uint64_t)limit)
        return slc_error_set(
            error, SLC_EPRECONDITION,
            "cannot declare queue '%.*s': queue limit in vhost '%.*s' (%lld) is reached",
            SLC_SLICE_FMT(name), SLC_SLICE_FMT(vhost->name), (long long)limit);
    slc_vhost *each, *next;
    if (broker->limits.queues == 0)
        return SLC_OK;
    uint64_t total = slc_ops_making(broker, NULL, SLC_OBJECT_QUEUE);
    HASH_ITER(hh, broker->vhosts, each, next) total += HASH_COUNT(each->queues);
    if (total >= broker->limits.queues)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "cannot declare queue '%.*s': queue limit in cluster (%u) is reached",
                             SLC_SLICE_FMT(name), broker->limits.queues);
    return SLC_OK;
}

slc_err slc_check_exchange_limit(slc_vhost *vhost, slc_slice name, slc_error *error)
{
    slc_broker *broker = vhost->broker;
    slc_vhost *each, *next;
    if (broker->limits.exchanges == 0)
        return SLC_OK;
    // As RabbitMQ and our lists count them: with the default exchange, which is no object here.
    uint64_t total = slc_ops_making(broker, NULL, SLC_OBJECT_EXCHANGE) +
                     slc_ops_making(broker, NULL, SLC_OBJECT_VHOST);
    HASH_ITER(hh, broker->vhosts, each, next) total += HASH_COUNT(each->exchanges) + 1;
    char text[640];
    if (total >= broker->limits.exchanges)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "cannot declare %s: exchange limit of %u is reached",
                             slc_resource_text(vhost, SLC_DEST_EXCHANGE, name, text, sizeof text),
                             broker->limits.exchanges);
    return SLC_OK;
}

uint32_t slc_broker_count_clients(const slc_broker *broker, const slc_vhost *vhost,
                                  const char *user, uint32_t *sessions)
{
    uint32_t count = 0;
    const slc_client *client;
    DL_FOREACH(broker->clients, client)
    {
        if (client->hidden || (vhost != NULL && client->vhost != vhost) ||
            (user != NULL && strcmp(client->info.user, user) != 0))
            continue;
        count++;
        if (sessions != NULL)
            *sessions += client->session_count;
    }
    return count;
}

void slc_broker_close_user(slc_broker *broker, slc_slice user, const char *reason)
{
    slc_client *client;
    DL_FOREACH(broker->clients, client)
    {
        if (slc_slice_is(user, client->info.user))
            client->ops->close(client, reason);
    }
}

void slc_broker_impersonator(slc_broker *broker, slc_slice user, bool may)
{
    slc_client *client;
    DL_FOREACH(broker->clients, client)
    {
        if (!client->hidden && slc_slice_is(user, client->info.user))
            client->info.impersonator = may;
    }
}

void slc_broker_set_limits(slc_broker *broker, const slc_broker_limits *limits)
{
    slc_free(broker->default_queue_type);
    broker->limits = *limits;
    broker->default_queue_type =
        limits->default_queue_type != NULL ? slc_strdup(limits->default_queue_type) : NULL;
    broker->limits.default_queue_type = broker->default_queue_type;
}

void slc_broker_on_vhost_gone(slc_broker *broker, slc_vhost_gone gone, void *arg)
{
    broker->vhost_gone = gone;
    broker->vhost_gone_arg = arg;
}
