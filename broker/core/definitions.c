// Definitions are commands of the control plane: each is a list of changes, a change puts or deletes one object.
//
//   key    u8 kind (slc_object_kind), 16 octets id
//   value  msgpack array, first the version of the object's layout:
//            vhost    [1, name] or [1, name, description, tags, default queue type]
//            exchange [1, vhost id, name, type, auto-delete, internal, arguments]
//            queue    [1, vhost id, name, auto-delete, arguments]
//            binding  [1, source id, destination kind, destination id, key, arguments]
//   parameters (kind 8) have natural keys: parameter.h
//   ids, names and tables are msgpack `bin`.
//
// Bindings name their ends by id: a binding whose exchange or queue is gone means nothing, even when the name comes
// back. A delete names everything that goes with the object, so that applying a change never depends on transient state.
#include "core/event.h"
#include "core/internal.h"
#include "core/schedule.h"

#include <msgpack.h>
#include <stdio.h>

slc_id slc_id_new(slc_broker *broker)
{
    slc_id id;
    uint64_t ms = broker->env.wall_ms(broker->env.arg);
    for (int i = 0; i < 8; i++)
        id.octets[i] = (uint8_t)(ms >> (56 - 8 * i));
    broker->env.random(broker->env.arg, id.octets + 8, 8);
    // Objects made in the same millisecond keep their order: the counter comes before the random octets.
    uint32_t serial = broker->id_serial++;
    id.octets[8] = (uint8_t)(serial >> 16);
    id.octets[9] = (uint8_t)(serial >> 8);
    id.octets[10] = (uint8_t)serial;
    return id;
}

static uint64_t id_number(const slc_id *id, int from, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++)
        number = number << 8 | id->octets[from + i];
    return number;
}

uint64_t slc_id_created_ms(const slc_id *id)
{
    return id_number(id, 0, 8);
}

uint64_t slc_id_serial(const slc_id *id)
{
    return id_number(id, 8, 3);
}

const slc_id *slc_destination_id(const slc_destination *dest)
{
    if (dest->kind == SLC_DEST_QUEUE)
        return &((const slc_queue *)dest)->id;
    return (const slc_id *)(const void *)((const slc_exchange *)dest)->id;
}

/* ---- lists of changes ---- */

void slc_changes_add_raw(slc_changes *changes, slc_slice key, slc_slice value)
{
    if (changes->count == changes->capacity) {
        changes->capacity = changes->capacity == 0 ? 8 : changes->capacity * 2;
        changes->items = slc_realloc(changes->items, changes->capacity * sizeof *changes->items);
    }
    changes->items[changes->count++] = (slc_env_change){.key = key, .value = value};
}

static void changes_add(slc_changes *changes, slc_object_kind kind, const slc_id *id,
                        slc_slice value)
{
    uint8_t key[1 + SLC_ID_BYTES];
    key[0] = (uint8_t)kind;
    memcpy(key + 1, id->octets, SLC_ID_BYTES);
    slc_changes_add_raw(changes, slc_slice_copy(slc_slice_of(key, sizeof key)),
                        value.data != NULL ? slc_slice_copy(value) : (slc_slice){0});
}

void slc_changes_clear(slc_changes *changes)
{
    for (uint32_t i = 0; i < changes->count; i++) {
        slc_free((void *)changes->items[i].key.data);
        slc_free((void *)changes->items[i].value.data);
    }
    slc_free(changes->items);
    *changes = (slc_changes){0};
}

static void pack_bin(msgpack_packer *pk, const void *data, size_t bytes)
{
    msgpack_pack_bin(pk, bytes);
    if (bytes > 0)
        msgpack_pack_bin_body(pk, data, bytes);
}

static void pack_bool(msgpack_packer *pk, bool value)
{
    if (value)
        msgpack_pack_true(pk);
    else
        msgpack_pack_false(pk);
}

typedef struct packed {
    msgpack_sbuffer buffer;
    msgpack_packer pk;
} packed;

static void packed_begin(packed *p, size_t fields)
{
    msgpack_sbuffer_init(&p->buffer);
    msgpack_packer_init(&p->pk, &p->buffer, msgpack_sbuffer_write);
    msgpack_pack_array(&p->pk, fields + 1);
    msgpack_pack_uint8(&p->pk, 1);
}

static void packed_put(packed *p, slc_changes *changes, slc_object_kind kind, const slc_id *id)
{
    changes_add(changes, kind, id, slc_slice_of(p->buffer.data, p->buffer.size));
    msgpack_sbuffer_destroy(&p->buffer);
}

void slc_changes_put_vhost(slc_changes *changes, const slc_id *id, slc_slice name)
{
    packed p;
    packed_begin(&p, 1);
    pack_bin(&p.pk, name.data, name.bytes);
    packed_put(&p, changes, SLC_OBJECT_VHOST, id);
}

void slc_changes_put_vhost_with(slc_changes *changes, const slc_id *id, slc_slice name,
                                const slc_vhost_metadata *metadata)
{
    packed p;
    packed_begin(&p, 4);
    pack_bin(&p.pk, name.data, name.bytes);
    pack_bin(&p.pk, metadata->description.data, metadata->description.bytes);
    pack_bin(&p.pk, metadata->tags.data, metadata->tags.bytes);
    pack_bin(&p.pk, metadata->default_queue_type.data, metadata->default_queue_type.bytes);
    packed_put(&p, changes, SLC_OBJECT_VHOST, id);
}

void slc_changes_put_exchange(slc_changes *changes, const slc_id *id, const slc_id *vhost,
                              slc_slice name, slc_slice type, bool auto_delete, bool internal,
                              slc_slice arguments)
{
    packed p;
    packed_begin(&p, 6);
    pack_bin(&p.pk, vhost->octets, SLC_ID_BYTES);
    pack_bin(&p.pk, name.data, name.bytes);
    pack_bin(&p.pk, type.data, type.bytes);
    pack_bool(&p.pk, auto_delete);
    pack_bool(&p.pk, internal);
    pack_bin(&p.pk, arguments.data, arguments.bytes);
    packed_put(&p, changes, SLC_OBJECT_EXCHANGE, id);
}

void slc_changes_put_queue(slc_changes *changes, const slc_id *id, const slc_id *vhost,
                           slc_slice name, bool auto_delete, slc_slice arguments)
{
    packed p;
    packed_begin(&p, 4);
    pack_bin(&p.pk, vhost->octets, SLC_ID_BYTES);
    pack_bin(&p.pk, name.data, name.bytes);
    pack_bool(&p.pk, auto_delete);
    pack_bin(&p.pk, arguments.data, arguments.bytes);
    packed_put(&p, changes, SLC_OBJECT_QUEUE, id);
}

void slc_changes_put_binding(slc_changes *changes, const slc_id *id, const slc_id *source,
                             slc_dest_kind kind, const slc_id *destination, slc_slice key,
                             slc_slice arguments)
{
    packed p;
    packed_begin(&p, 5);
    pack_bin(&p.pk, source->octets, SLC_ID_BYTES);
    msgpack_pack_uint8(&p.pk, kind == SLC_DEST_QUEUE ? 0 : 1);
    pack_bin(&p.pk, destination->octets, SLC_ID_BYTES);
    pack_bin(&p.pk, key.data, key.bytes);
    pack_bin(&p.pk, arguments.data, arguments.bytes);
    packed_put(&p, changes, SLC_OBJECT_BINDING, id);
}

void slc_changes_delete(slc_changes *changes, slc_object_kind kind, const slc_id *id)
{
    changes_add(changes, kind, id, (slc_slice){0});
}

/** An exchange that loses bindings by this plan, and how many. */
typedef struct plan_loser {
    const slc_exchange *exchange;
    uint32_t lost;
    UT_hash_handle hh; // of plan.losers by exchange
} plan_loser;

typedef struct plan {
    plan_loser *losers;
} plan;

static uint32_t plan_lose(plan *p, const slc_exchange *source)
{
    plan_loser *loser;
    HASH_FIND(hh, p->losers, &source, sizeof source, loser);
    if (loser == NULL) {
        loser = slc_alloc_zero(1, sizeof *loser);
        loser->exchange = source;
        HASH_ADD(hh, p->losers, exchange, sizeof loser->exchange, loser);
    }
    return ++loser->lost;
}

/** A durable binding goes: delete it, and put its source on the work list when this was the last one. */
static void plan_binding(plan *p, slc_changes *changes, slc_binding *b, slc_exchange ***work,
                         uint32_t *work_count)
{
    if (b->stored)
        slc_changes_delete(changes, SLC_OBJECT_BINDING, (const slc_id *)(const void *)b->id);
    slc_exchange *source = b->source;
    if (!source->auto_delete)
        return;
    if (plan_lose(p, source) != HASH_COUNT(source->bindings))
        return; // some are left, or (in a cycle) it is on the list already
    *work = slc_realloc(*work, (*work_count + 1) * sizeof **work);
    (*work)[(*work_count)++] = source;
}

/** The closure of what goes when dest goes. A transient exchange on the way is removed in memory when its binding goes; here it
 *  only carries the plan on to the durable ones before it. */
static void plan_run(plan *p, slc_changes *changes, slc_exchange **work, uint32_t work_count)
{
    while (work_count > 0) {
        slc_exchange *x = work[--work_count];
        if (x->dest.durable)
            slc_changes_delete(changes, SLC_OBJECT_EXCHANGE, slc_destination_id(&x->dest));
        slc_binding *b;
        DL_FOREACH2(x->dest.bindings_in, b, in_next)
        {
            plan_binding(p, changes, b, &work, &work_count);
        }
    }
    slc_free(work);
    plan_loser *loser, *next;
    HASH_ITER(hh, p->losers, loser, next)
    {
        HASH_DELETE(hh, p->losers, loser);
        slc_free(loser);
    }
}

void slc_changes_delete_destination(slc_changes *changes, slc_broker *broker, slc_destination *dest)
{
    (void)broker;
    plan p = {0};
    slc_exchange **work = NULL;
    uint32_t work_count = 0;
    if (dest->durable)
        slc_changes_delete(changes,
                           dest->kind == SLC_DEST_QUEUE ? SLC_OBJECT_QUEUE : SLC_OBJECT_EXCHANGE,
                           slc_destination_id(dest));
    slc_binding *b, *next;
    if (dest->kind == SLC_DEST_EXCHANGE) {
        HASH_ITER(hh, ((slc_exchange *)dest)->bindings, b, next)
        {
            if (b->stored)
                slc_changes_delete(changes, SLC_OBJECT_BINDING,
                                   (const slc_id *)(const void *)b->id);
        }
    }
    DL_FOREACH2(dest->bindings_in, b, in_next)
    {
        plan_binding(&p, changes, b, &work, &work_count);
    }
    plan_run(&p, changes, work, work_count);
}

void slc_changes_delete_binding(slc_changes *changes, slc_broker *broker, slc_binding *binding)
{
    (void)broker;
    plan p = {0};
    slc_exchange **work = NULL;
    uint32_t work_count = 0;
    plan_binding(&p, changes, binding, &work, &work_count);
    plan_run(&p, changes, work, work_count);
}

/* ---- proposals ---- */

uint64_t slc_touch(const slc_vhost *vhost, slc_dest_kind kind, slc_slice name)
{
    uint64_t high = slc_hash(name.data, name.bytes);
    uint64_t low = slc_hash(vhost->name.data, vhost->name.bytes);
    return (high << 32 | low << 1 | (kind == SLC_DEST_QUEUE)) | 1ull << 63;
}

bool slc_op_conflict(const slc_broker *broker, uint64_t touch1, uint64_t touch2)
{
    if (broker->imports != NULL)
        return true; // an import wants to see the definitions with nothing under way
    const slc_op *op;
    DL_FOREACH(broker->ops, op)
    {
        for (int i = 0; i < 2; i++) {
            if (op->touches[i] != 0 && (op->touches[i] == touch1 || op->touches[i] == touch2))
                return true;
        }
    }
    return false;
}

uint32_t slc_ops_making(const slc_broker *broker, const slc_vhost *vhost, slc_object_kind kind)
{
    uint32_t count = 0;
    const slc_op *op;
    DL_FOREACH(broker->ops, op)
    {
        if (vhost == NULL || memcmp(&op->vhost, &vhost->id, sizeof op->vhost) == 0)
            count += op->makes[kind];
    }
    return count;
}

static void op_count(slc_op *op, const slc_env_change *change)
{
    if (change->value.data == NULL || change->key.bytes != 1 + SLC_ID_BYTES)
        return;
    slc_object_kind kind = (slc_object_kind)change->key.data[0];
    slc_id id;
    memcpy(id.octets, change->key.data + 1, SLC_ID_BYTES);
    if (kind >= SLC_OBJECT_VHOST && kind <= SLC_OBJECT_BINDING &&
        slc_object_find(op->broker, kind, &id) == NULL)
        op->makes[kind]++;
}

static void op_proposed(slc_err rc, void *arg)
{
    slc_op *op = arg;
    slc_broker *broker = op->broker;
    DL_DELETE(broker->ops, op);
    if (op->done != NULL)
        op->done(op, rc);
    if (op->session != NULL) {
        slc_session *s = op->session;
        s->op = NULL;
        s->op_finished = true;
        s->op_rc = rc;
        s->op_result = op->result;
    }
    slc_free(op);
    broker->resume_due = true;
    broker->orphans_due = broker->orphans_due || broker->orphans_later;
    broker->orphans_later = false;
}

slc_op *slc_propose(slc_broker *broker, slc_changes *changes, slc_session *session, uint64_t touch1,
                    uint64_t touch2)
{
    SLC_ASSERT(changes->count > 0);
    slc_op *op = slc_alloc_zero(1, sizeof *op);
    op->broker = broker;
    op->serial = ++broker->last_op_serial;
    op->session = session;
    op->touches[0] = touch1;
    op->touches[1] = touch2;
    DL_APPEND(broker->ops, op);
    if (session != NULL) {
        SLC_ASSERT(session->op == NULL);
        session->op = op;
        op->vhost = session->client->vhost->id;
    }
    for (uint32_t i = 0; i < changes->count; i++)
        op_count(op, &changes->items[i]);
    broker->env.propose(broker->env.arg, changes->items, changes->count, op_proposed, op);
    slc_changes_clear(changes);
    return op;
}

/* ---- applying ---- */

typedef struct unpacked {
    const msgpack_object *fields;
    uint32_t count;
} unpacked;

static bool field_bin(const unpacked *u, uint32_t i, slc_slice *out)
{
    if (i >= u->count || u->fields[i].type != MSGPACK_OBJECT_BIN)
        return false;
    *out = slc_slice_of(u->fields[i].via.bin.ptr, u->fields[i].via.bin.size);
    return true;
}

static bool field_id(const unpacked *u, uint32_t i, slc_id *out)
{
    slc_slice bin;
    if (!field_bin(u, i, &bin) || bin.bytes != SLC_ID_BYTES)
        return false;
    memcpy(out->octets, bin.data, SLC_ID_BYTES);
    return true;
}

static bool field_bool(const unpacked *u, uint32_t i, bool *out)
{
    if (i >= u->count || u->fields[i].type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *out = u->fields[i].via.boolean;
    return true;
}

static bool field_uint(const unpacked *u, uint32_t i, uint64_t *out)
{
    if (i >= u->count || u->fields[i].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    *out = u->fields[i].via.u64;
    return true;
}

static bool apply_vhost(slc_broker *broker, const slc_id *id, const unpacked *u)
{
    slc_slice name;
    if (!field_bin(u, 1, &name))
        return false;
    slc_vhost *vhost = slc_broker_vhost(broker, name);
    bool is_new = vhost == NULL;
    if (is_new)
        vhost = slc_vhost_new(broker, name, id);
    slc_vhost_metadata metadata = {0};
    if (u->count > 2 &&
        (!field_bin(u, 2, &metadata.description) || !field_bin(u, 3, &metadata.tags) ||
         !field_bin(u, 4, &metadata.default_queue_type)))
        return false;
    bool same = slc_vhost_set_metadata(vhost, &metadata);
    if (is_new || !same)
        slc_event_vhost(vhost, is_new ? "created" : "updated");
    return true;
}

static bool apply_exchange(slc_broker *broker, const slc_id *id, const unpacked *u)
{
    slc_id vhost_id;
    slc_slice name, type, arguments;
    bool auto_delete, internal;
    if (!field_id(u, 1, &vhost_id) || !field_bin(u, 2, &name) || !field_bin(u, 3, &type) ||
        !field_bool(u, 4, &auto_delete) || !field_bool(u, 5, &internal) ||
        !field_bin(u, 6, &arguments))
        return false;
    const slc_exchange_kind *kind = slc_exchange_kind_find(type);
    if (kind == NULL || slc_table_check(arguments, NULL) != SLC_OK)
        return false;
    if (kind->check_arguments != NULL && kind->check_arguments(arguments, NULL) != SLC_OK)
        return false;
    slc_vhost *vhost = slc_object_find(broker, SLC_OBJECT_VHOST, &vhost_id);
    if (vhost == NULL || slc_vhost_exchange(vhost, name) != NULL)
        return true; // of a vhost that is gone
    slc_exchange *x = slc_exchange_new(vhost, name, kind, true, auto_delete, internal, arguments);
    memcpy(x->id, id->octets, SLC_ID_BYTES);
    slc_object_add(broker, SLC_OBJECT_EXCHANGE, id, x);
    slc_vhost_add_exchange(vhost, x);
    if (broker->started && slc_exchange_schedule(x) != NULL)
        slc_schedule_enter_store(slc_exchange_schedule(x), x->id);
    return true;
}

static bool apply_queue(slc_broker *broker, const slc_id *id, const unpacked *u)
{
    slc_id vhost_id;
    slc_slice name, arguments;
    bool auto_delete;
    if (!field_id(u, 1, &vhost_id) || !field_bin(u, 2, &name) || !field_bool(u, 3, &auto_delete) ||
        !field_bin(u, 4, &arguments))
        return false;
    if (slc_table_check(arguments, NULL) != SLC_OK)
        return false;
    slc_vhost *vhost = slc_object_find(broker, SLC_OBJECT_VHOST, &vhost_id);
    if (vhost == NULL)
        return true;
    slc_queue *queue = slc_vhost_queue(vhost, name);
    if (queue != NULL) {
        if (memcmp(&queue->id, id, sizeof *id) == 0)
            slc_queue_set_arguments(queue, arguments);
        return true;
    }
    queue = slc_queue_new(vhost, name, id, true, auto_delete, NULL, arguments);
    if (broker->started)
        slc_queue_enter_store(queue);
    return true;
}

static bool apply_binding(slc_broker *broker, const slc_id *id, const unpacked *u)
{
    slc_id source_id, dest_id;
    uint64_t kind;
    slc_slice key, arguments;
    if (!field_id(u, 1, &source_id) || !field_uint(u, 2, &kind) || kind > 1 ||
        !field_id(u, 3, &dest_id) || !field_bin(u, 4, &key) || key.bytes > SLC_NAME_MAX ||
        !field_bin(u, 5, &arguments))
        return false;
    if (slc_table_check(arguments, NULL) != SLC_OK)
        return false;
    slc_exchange *source = slc_object_find(broker, SLC_OBJECT_EXCHANGE, &source_id);
    slc_destination *dest =
        slc_object_find(broker, kind == 0 ? SLC_OBJECT_QUEUE : SLC_OBJECT_EXCHANGE, &dest_id);
    if (source == NULL || dest == NULL)
        return true; // one end is gone, so is the binding
    if (slc_vhost_bind(source, dest, key, arguments, NULL) != SLC_OK)
        return false;
    slc_binding *binding = slc_binding_find(source, dest, key, arguments);
    SLC_ASSERT(binding != NULL);
    if (!binding->stored) {
        binding->stored = true;
        memcpy(binding->id, id->octets, SLC_ID_BYTES);
        slc_object_add(broker, SLC_OBJECT_BINDING, id, binding);
    }
    return true;
}

static void apply_delete(slc_broker *broker, slc_object_kind kind, const slc_id *id)
{
    void *pointer = slc_object_find(broker, kind, id);
    if (pointer == NULL)
        return; // it went with something else
    switch (kind) {
    case SLC_OBJECT_VHOST:
        slc_vhost_free(pointer);
        break;
    case SLC_OBJECT_EXCHANGE:
        slc_vhost_delete_exchange(pointer);
        break;
    case SLC_OBJECT_QUEUE:
        slc_queue_delete(pointer);
        break;
    case SLC_OBJECT_BINDING:
        slc_vhost_unbind(pointer);
        break;
    }
}

static bool apply_put(slc_broker *broker, slc_object_kind kind, const slc_id *id, const unpacked *u)
{
    switch (kind) {
    case SLC_OBJECT_VHOST:
        return apply_vhost(broker, id, u);
    case SLC_OBJECT_EXCHANGE:
        return apply_exchange(broker, id, u);
    case SLC_OBJECT_QUEUE:
        return apply_queue(broker, id, u);
    case SLC_OBJECT_BINDING:
        return apply_binding(broker, id, u);
    }
    return false;
}

slc_err slc_broker_apply(slc_broker *broker, const slc_env_change *change, slc_error *error)
{
    slc_slice key = change->key;
    if (key.bytes > 0 && key.data[0] == SLC_PARAMETER_KIND)
        return slc_parameter_apply(broker, change, error);
    if (key.bytes != 1 + SLC_ID_BYTES || key.data[0] < SLC_OBJECT_VHOST ||
        key.data[0] > SLC_OBJECT_BINDING)
        return slc_error_set(error, SLC_EVERSION,
                             "the definitions hold an object of kind %u (key of %zu octets) that "
                             "this version does not "
                             "know; start the version that wrote them",
                             key.bytes > 0 ? key.data[0] : 0u, key.bytes);
    slc_object_kind kind = (slc_object_kind)key.data[0];
    slc_id id;
    memcpy(id.octets, key.data + 1, SLC_ID_BYTES);
    if (change->value.data == NULL) {
        apply_delete(broker, kind, &id);
        return SLC_OK;
    }
    msgpack_unpacked result;
    msgpack_unpacked_init(&result);
    size_t offset = 0;
    bool read = msgpack_unpack_next(&result, (const char *)change->value.data, change->value.bytes,
                                    &offset) == MSGPACK_UNPACK_SUCCESS &&
                result.data.type == MSGPACK_OBJECT_ARRAY;
    unpacked u = {0};
    if (read)
        u = (unpacked){result.data.via.array.ptr, result.data.via.array.size};
    uint64_t version = 0;
    slc_err rc = SLC_OK;
    if (!field_uint(&u, 0, &version))
        rc = slc_error_set(error, SLC_ECORRUPT, "a definition of kind %u does not decode",
                           (unsigned)kind);
    else if (version != 1)
        rc = slc_error_set(error, SLC_EVERSION,
                           "a definition of kind %u has version %llu, this version reads 1; start "
                           "the version that wrote it",
                           (unsigned)kind, (unsigned long long)version);
    else if (!apply_put(broker, kind, &id, &u))
        rc = slc_error_set(error, SLC_ECORRUPT, "a definition of kind %u does not make sense",
                           (unsigned)kind);
    msgpack_unpacked_destroy(&result);
    return rc;
}
