#include "core/event.h"
#include "core/internal.h"
#include "core/system_message.h"

#include <stdio.h>

slc_slice slc_slice_copy(slc_slice slice)
{
    uint8_t *data = slc_alloc(slice.bytes + 1);
    if (slice.bytes > 0)
        memcpy(data, slice.data, slice.bytes);
    data[slice.bytes] = 0;
    return slc_slice_of(data, slice.bytes);
}

slc_slice slc_name_keep(slc_slice name, uint8_t *here, size_t room)
{
    if (name.bytes >= room)
        return slc_slice_copy(name);
    if (name.bytes > 0)
        memcpy(here, name.data, name.bytes);
    here[name.bytes] = 0;
    return slc_slice_of(here, name.bytes);
}

void slc_name_drop(slc_slice name, const uint8_t *here)
{
    if (name.data != here)
        slc_free((void *)name.data);
}

slc_slice slc_generated_name(slc_broker *broker, const char *prefix)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[22];
    broker->env.random(broker->env.arg, random, sizeof random);
    size_t prefix_bytes = strlen(prefix);
    char *name = slc_alloc(prefix_bytes + sizeof random + 1);
    memcpy(name, prefix, prefix_bytes);
    for (size_t i = 0; i < sizeof random; i++)
        name[prefix_bytes + i] = digits[random[i] & 63];
    name[prefix_bytes + sizeof random] = 0;
    return slc_slice_of(name, prefix_bytes + sizeof random);
}

const char *slc_resource_text(const slc_vhost *vhost, slc_dest_kind kind, slc_slice name,
                              char *text, size_t bytes)
{
    snprintf(text, bytes, "%s '%.*s' in vhost '%.*s'",
             kind == SLC_DEST_QUEUE ? "queue" : "exchange", SLC_SLICE_FMT(name),
             SLC_SLICE_FMT(vhost->name));
    return text;
}

/* ---- stored objects by id ---- */

void slc_object_add(slc_broker *broker, slc_object_kind kind, const slc_id *id, void *pointer)
{
    slc_object *object = slc_alloc_zero(1, sizeof *object);
    object->id = *id;
    object->kind = kind;
    object->pointer = pointer;
    HASH_ADD(hh, broker->objects, id, sizeof object->id, object);
}

void *slc_object_find(const slc_broker *broker, slc_object_kind kind, const slc_id *id)
{
    slc_object *object;
    HASH_FIND(hh, broker->objects, id, sizeof *id, object);
    return object != NULL && object->kind == kind ? object->pointer : NULL;
}

void slc_object_remove(slc_broker *broker, const slc_id *id)
{
    slc_object *object;
    HASH_FIND(hh, broker->objects, id, sizeof *id, object);
    SLC_ASSERT(object != NULL);
    HASH_DELETE(hh, broker->objects, object);
    slc_free(object);
}

/* ---- the vhost and what is in it ---- */

const slc_predeclared slc_predeclared_exchanges[] = {
    {"amq.direct", "direct", false},       {"amq.fanout", "fanout", false},
    {"amq.headers", "headers", false},     {"amq.match", "headers", false},
    {"amq.rabbitmq.trace", "topic", true}, {"amq.topic", "topic", false},
};
const uint32_t slc_predeclared_count = SLC_ARRAY_COUNT(slc_predeclared_exchanges);

slc_vhost *slc_vhost_new(slc_broker *broker, slc_slice name, const slc_id *id)
{
    slc_vhost *vhost = slc_alloc_zero(1, sizeof *vhost);
    vhost->broker = broker;
    vhost->id = *id;
    vhost->name = slc_slice_copy(name);
    vhost->topology_version = 1;
    vhost->default_exchange =
        slc_exchange_new(vhost, slc_slice_str(""), slc_exchange_kind_find(slc_slice_str("direct")),
                         true, false, false, (slc_slice){0});
    HASH_ADD_KEYPTR(hh, broker->vhosts, vhost->name.data, vhost->name.bytes, vhost);
    slc_object_add(broker, SLC_OBJECT_VHOST, id, vhost);
    return vhost;
}

void slc_vhost_free(slc_vhost *vhost)
{
    slc_exchange *x, *next_x;
    slc_queue *q, *next_q;
    HASH_ITER(hh, vhost->exchanges, x, next_x)
    x->auto_delete = false; // no cascade: everything goes
    HASH_ITER(hh, vhost->queues, q, next_q) slc_queue_delete(q);
    while ((x = vhost->exchanges) != NULL)
        slc_vhost_delete_exchange(x);
    slc_trash_empty(vhost->broker, UINT64_MAX); // it points to the queues
    slc_vhost_trace(vhost, false);
    slc_event_vhost(vhost, "deleted");
    slc_system_forget(vhost);
    slc_exchange_free(vhost->default_exchange);
    slc_parameters_forget(vhost->broker, vhost);
    slc_policies_fini(&vhost->policies);
    HASH_DELETE(hh, vhost->broker->vhosts, vhost);
    slc_object_remove(vhost->broker, &vhost->id);
    slc_free(vhost->doomed);
    slc_vhost_metadata_fini(vhost);
    slc_free((void *)vhost->name.data);
    slc_free(vhost);
}

slc_vhost *slc_broker_vhost(const slc_broker *broker, slc_slice name)
{
    slc_vhost *vhost;
    HASH_FIND(hh, broker->vhosts, name.data, name.bytes, vhost);
    return vhost;
}

const slc_stats *slc_vhost_stats(const slc_vhost *vhost)
{
    return &vhost->stats;
}

slc_slice slc_vhost_name(const slc_vhost *vhost)
{
    return vhost->name;
}

slc_exchange *slc_vhost_exchange(const slc_vhost *vhost, slc_slice name)
{
    slc_exchange *exchange;
    HASH_FIND(hh, vhost->exchanges, name.data, name.bytes, exchange);
    return exchange;
}

slc_queue *slc_vhost_queue(const slc_vhost *vhost, slc_slice name)
{
    slc_queue *queue;
    HASH_FIND(hh, vhost->queues, name.data, name.bytes, queue);
    return queue;
}

void slc_vhost_add_exchange(slc_vhost *vhost, slc_exchange *exchange)
{
    HASH_ADD_KEYPTR(hh, vhost->exchanges, exchange->dest.name.data, exchange->dest.name.bytes,
                    exchange);
    vhost->topology_version++;
    slc_policy_attach(vhost, &exchange->dest);
    slc_event_exchange(exchange, true);
}

void slc_vhost_routes_changed(slc_vhost *vhost)
{
    vhost->topology_version++;
}

void slc_vhost_delete_exchange(slc_exchange *exchange)
{
    slc_vhost *vhost = exchange->vhost;
    slc_broker *broker = vhost->broker;
    // One that follows its last binding may do so in the same change as what took that, such as the end of a queue.
    char actor[sizeof broker->actor];
    memcpy(actor, broker->actor, sizeof actor);
    if (exchange->unbound_by != NULL && exchange->bindings == NULL)
        slc_broker_act_as(broker, exchange->unbound_by);
    slc_policy_leaving(vhost, &exchange->dest);
    HASH_DELETE(hh, vhost->exchanges, exchange);
    vhost->topology_version++;
    exchange->auto_delete = false; // it is on its way out already
    while (exchange->bindings != NULL)
        slc_vhost_unbind(exchange->bindings);
    while (exchange->dest.bindings_in != NULL)
        slc_vhost_unbind(exchange->dest.bindings_in);
    if (exchange->dest.durable)
        slc_object_remove(broker, slc_destination_id(&exchange->dest));
    slc_event_exchange(exchange, false);
    slc_exchange_free(exchange);
    memcpy(broker->actor, actor, sizeof actor);
}

slc_err slc_vhost_bind(slc_exchange *source, slc_destination *dest, slc_slice key,
                       slc_slice arguments, slc_error *error)
{
    slc_binding *binding;
    slc_err rc = slc_binding_add(source, dest, key, arguments, &binding, error);
    if (rc == SLC_EEXIST)
        return SLC_OK;
    if (rc == SLC_OK) {
        source->vhost->topology_version++;
        source->vhost->broker->totals.bindings++;
        slc_event_binding(binding, true);
        if (source->kind->bound != NULL)
            source->kind->bound(source, binding);
    }
    return rc;
}

/** Delete a transient exchange that lost its last binding, and those that lose theirs by that. A list, not a recursion: a
 *  client decides how long the chain is. */
static void exchange_doom(slc_exchange *exchange)
{
    slc_vhost *vhost = exchange->vhost;
    if (vhost->doomed_count == vhost->doomed_capacity) {
        vhost->doomed_capacity = vhost->doomed_capacity == 0 ? 8 : 2 * vhost->doomed_capacity;
        vhost->doomed =
            slc_realloc(vhost->doomed, vhost->doomed_capacity * sizeof(vhost->doomed[0]));
    }
    vhost->doomed[vhost->doomed_count++] = exchange;
    if (vhost->removing_doomed)
        return; // whoever removes takes it too
    vhost->removing_doomed = true;
    while (vhost->doomed_count > 0)
        slc_vhost_delete_exchange(vhost->doomed[--vhost->doomed_count]);
    vhost->removing_doomed = false;
}

void slc_vhost_unbind(slc_binding *binding)
{
    slc_exchange *source = binding->source;
    slc_vhost *vhost = source->vhost;
    slc_broker *broker = vhost->broker;
    if (binding->stored)
        slc_object_remove(broker, (const slc_id *)(const void *)binding->id);
    slc_event_binding(binding, false);
    slc_binding_remove(binding);
    vhost->topology_version++;
    broker->totals.bindings--;
    if (!source->auto_delete || source->bindings != NULL)
        return;
    if (source->dest.durable) {
        broker->orphans_due = true; // needs a durable command: the next turn proposes it
        slc_free(source->unbound_by);
        source->unbound_by = slc_strdup(slc_broker_actor(broker));
    } else {
        exchange_doom(source);
    }
}
