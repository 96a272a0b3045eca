// What an import stages of queues, exchanges and bindings; what is not durable is made from the file once more, when the rest is there.
#include "base/log.h"
#include "core/definitions_import.h"
#include "core/json_table.h"

/* ---- queues, exchanges ---- */

static slc_slice dest_key(const slc_id *vhost, slc_dest_kind kind, slc_slice name)
{
    uint8_t *key = slc_alloc(SLC_ID_BYTES + 1 + name.bytes);
    memcpy(key, vhost->octets, SLC_ID_BYTES);
    key[SLC_ID_BYTES] = (uint8_t)kind;
    if (name.bytes > 0)
        memcpy(key + SLC_ID_BYTES + 1, name.data, name.bytes);
    return slc_slice_of(key, SLC_ID_BYTES + 1 + name.bytes);
}

slc_staged_dest *slc_import_dest_stage(slc_import *job, const slc_staged_vhost *vhost,
                                       slc_dest_kind kind, slc_slice name, const slc_id *id,
                                       slc_destination *existing, bool durable)
{
    slc_staged_dest *dest = slc_alloc_zero(1, sizeof *dest);
    dest->key = dest_key(&vhost->id, kind, name);
    dest->id = *id;
    dest->existing = existing;
    dest->durable = durable;
    HASH_ADD_KEYPTR(hh, job->dests, dest->key.data, dest->key.bytes, dest);
    return dest;
}

static slc_staged_dest *dest_find(slc_import *job, const slc_staged_vhost *vhost,
                                  slc_dest_kind kind, slc_slice name)
{
    slc_slice key = dest_key(&vhost->id, kind, name);
    slc_staged_dest *dest;
    HASH_FIND(hh, job->dests, key.data, key.bytes, dest);
    slc_free((void *)key.data);
    if (dest != NULL || vhost->existing == NULL)
        return dest;
    slc_destination *existing = NULL;
    if (kind == SLC_DEST_QUEUE) {
        slc_queue *queue = slc_vhost_queue(vhost->existing, name);
        existing = queue != NULL ? &queue->dest : NULL;
    } else {
        slc_exchange *x = slc_vhost_exchange(vhost->existing, name);
        existing = x != NULL ? &x->dest : NULL;
    }
    return existing != NULL
               ? slc_import_dest_stage(job, vhost, kind, name, slc_destination_id(existing),
                                       existing, existing->durable)
               : NULL;
}

static void late_add(slc_import *job, const slc_staged_vhost *vhost, const json_t *item,
                     void (*make)(slc_vhost *vhost, const json_t *item))
{
    if (job->late_count == job->late_capacity) {
        job->late_capacity = job->late_capacity == 0 ? 8 : 2 * job->late_capacity;
        job->late = slc_realloc(job->late, job->late_capacity * sizeof *job->late);
    }
    job->late[job->late_count++] = (slc_late_item){make, item, vhost->name};
}

static bool flag(const json_t *item, const char *key)
{
    const json_t *value = json_object_get(item, key);
    const char *text = json_string_value(value);
    return json_is_true(value) || (text != NULL && strcmp(text, "true") == 0);
}

static slc_slice text_of(const json_t *item, const char *key)
{
    return slc_json_string_slice(json_object_get(item, key));
}

static slc_buffer arguments_again(const json_t *item)
{
    slc_buffer arguments = {0};
    slc_err rc = slc_table_from_json(json_object_get(item, "arguments"), &arguments, NULL);
    SLC_ASSERT(rc == SLC_OK); // it was checked
    return arguments;
}

static void late_queue(slc_vhost *vhost, const json_t *item)
{
    slc_slice name = text_of(item, "name");
    if (slc_vhost_queue(vhost, name) != NULL)
        return;
    slc_buffer arguments = arguments_again(item);
    slc_id id = slc_id_new(vhost->broker);
    slc_queue_new(vhost, name, &id, false, flag(item, "auto_delete"), NULL,
                  slc_buffer_slice(&arguments));
    slc_buffer_fini(&arguments);
}

static void late_exchange(slc_vhost *vhost, const json_t *item)
{
    slc_slice name = text_of(item, "name");
    if (slc_vhost_exchange(vhost, name) != NULL)
        return;
    slc_buffer arguments = arguments_again(item);
    slc_vhost_add_exchange(
        vhost, slc_exchange_new(vhost, name, slc_exchange_kind_find(text_of(item, "type")), false,
                                flag(item, "auto_delete"), flag(item, "internal"),
                                slc_buffer_slice(&arguments)));
    slc_buffer_fini(&arguments);
}

static void late_binding(slc_vhost *vhost, const json_t *item)
{
    const char *type = json_string_value(json_object_get(item, "destination_type"));
    slc_exchange *source = slc_vhost_exchange(vhost, text_of(item, "source"));
    slc_destination *dest = NULL;
    if (strcmp(type, "queue") == 0) {
        slc_queue *queue = slc_vhost_queue(vhost, text_of(item, "destination"));
        dest = queue != NULL ? &queue->dest : NULL;
    } else {
        slc_exchange *x = slc_vhost_exchange(vhost, text_of(item, "destination"));
        dest = x != NULL ? &x->dest : NULL;
    }
    if (source == NULL || dest == NULL)
        return;
    slc_buffer arguments = arguments_again(item);
    slc_error error = {0};
    if (slc_vhost_bind(source, dest, text_of(item, "routing_key"), slc_buffer_slice(&arguments),
                       &error) != SLC_OK)
        slc_log(SLC_LOG_WARN, "default", "definitions.binding.refused", SLC_NO_FIELDS,
                "import of definitions: %s", error.text);
    slc_buffer_fini(&arguments);
}

void slc_import_queue(slc_import *job, const json_t *item)
{
    slc_slice name;
    if (!slc_import_name(job, item, "name", "queue", 1, &name))
        return;
    slc_staged_vhost *vhost = slc_import_vhost_of(job, item, "queue", name);
    bool durable, auto_delete;
    if (vhost == NULL || !slc_import_bool(job, item, "durable", "queue", name, true, &durable) ||
        !slc_import_bool(job, item, "auto_delete", "queue", name, false, &auto_delete))
        return;
    slc_buffer arguments = {0};
    slc_error error = {0};
    if (!slc_import_arguments(job, item, "queue", name, &arguments))
        goto free_arguments;
    if (dest_find(job, vhost, SLC_DEST_QUEUE, name) != NULL)
        goto free_arguments; // it stays as it is
    if (slc_check_queue_arguments(slc_import_vhost_pointer(vhost), name,
                                  slc_buffer_slice(&arguments), &error) != SLC_OK) {
        slc_import_wrong(job, "queue", name, "%s", error.text);
        goto free_arguments;
    }
    slc_id id = slc_id_new(job->broker);
    slc_import_dest_stage(job, vhost, SLC_DEST_QUEUE, name, &id, NULL, durable);
    job->made++;
    if (durable)
        slc_changes_put_queue(&job->changes, &id, &vhost->id, name, auto_delete,
                              slc_buffer_slice(&arguments));
    else
        late_add(job, vhost, item, late_queue);
free_arguments:
    slc_buffer_fini(&arguments);
}

void slc_import_exchange(slc_import *job, const json_t *item)
{
    slc_slice name, type;
    if (!slc_import_name(job, item, "name", "exchange", 1, &name) ||
        !slc_import_name(job, item, "type", "exchange", 1, &type))
        return;
    slc_staged_vhost *vhost = slc_import_vhost_of(job, item, "exchange", name);
    bool durable, auto_delete, internal;
    if (vhost == NULL || !slc_import_bool(job, item, "durable", "exchange", name, true, &durable) ||
        !slc_import_bool(job, item, "auto_delete", "exchange", name, false, &auto_delete) ||
        !slc_import_bool(job, item, "internal", "exchange", name, false, &internal))
        return;
    slc_buffer arguments = {0};
    if (!slc_import_arguments(job, item, "exchange", name, &arguments))
        goto free_arguments;
    if (dest_find(job, vhost, SLC_DEST_EXCHANGE, name) != NULL)
        goto free_arguments;
    const slc_exchange_kind *kind = slc_exchange_kind_find(type);
    if (kind == NULL) {
        slc_import_wrong(job, "exchange", name, "unknown exchange type '%.*s'",
                         SLC_SLICE_FMT(type));
        goto free_arguments;
    }
    slc_value alternate;
    if (slc_table_find(slc_buffer_slice(&arguments), slc_slice_str("alternate-exchange"),
                       &alternate) &&
        alternate.type != SLC_TYPE_LONGSTR) {
        slc_import_wrong(job, "exchange", name, "invalid type '%s' for arg 'alternate-exchange'",
                         slc_value_type_name(alternate.type));
        goto free_arguments;
    }
    slc_id id = slc_id_new(job->broker);
    slc_staged_dest *dest =
        slc_import_dest_stage(job, vhost, SLC_DEST_EXCHANGE, name, &id, NULL, durable);
    dest->made =
        slc_exchange_new((slc_vhost *)(uintptr_t)slc_import_vhost_pointer(vhost), name, kind,
                         durable, auto_delete, internal, slc_buffer_slice(&arguments));
    job->made++;
    if (durable)
        slc_changes_put_exchange(&job->changes, &id, &vhost->id, name, type, auto_delete, internal,
                                 slc_buffer_slice(&arguments));
    else
        late_add(job, vhost, item, late_exchange);
free_arguments:
    slc_buffer_fini(&arguments);
}

/* ---- bindings ---- */

/** False: the file has it already. */
static bool binding_note(slc_import *job, const slc_staged_dest *source,
                         const slc_staged_dest *dest, slc_slice key, slc_slice arguments)
{
    slc_buffer id = {0};
    slc_buffer_put(&id, source->key.data, source->key.bytes);
    slc_buffer_octet(&id, 0);
    slc_buffer_put(&id, dest->key.data, dest->key.bytes);
    slc_buffer_octet(&id, 0);
    slc_buffer_octet(&id, (uint8_t)key.bytes);
    slc_buffer_put(&id, key.data, key.bytes);
    slc_table_sorted(arguments, &id);
    slc_staged_binding *binding;
    HASH_FIND(hh, job->bindings, id.data, id.bytes, binding);
    if (binding != NULL) {
        slc_buffer_fini(&id);
        return false;
    }
    binding = slc_alloc_zero(1, sizeof *binding);
    binding->key = slc_buffer_slice(&id); // takes the buffer's memory
    HASH_ADD_KEYPTR(hh, job->bindings, binding->key.data, binding->key.bytes, binding);
    return true;
}

void slc_import_binding(slc_import *job, const json_t *item)
{
    slc_slice source_name, dest_name, type, key = {0};
    if (!slc_import_name(job, item, "source", "binding of exchange", 0, &source_name) ||
        !slc_import_name(job, item, "destination", "binding of exchange", 1, &dest_name) ||
        !slc_import_name(job, item, "destination_type", "binding of exchange", 1, &type) ||
        !slc_import_name(job, item, "routing_key", "binding of exchange", 0, &key))
        return;
    const char *what = "binding of exchange";
    bool to_queue = slc_slice_is(type, "queue");
    if (!to_queue && !slc_slice_is(type, "exchange")) {
        slc_import_wrong(job, what, source_name,
                         "'destination_type' is '%.*s'; it must be queue or exchange",
                         SLC_SLICE_FMT(type));
        return;
    }
    slc_staged_vhost *vhost = slc_import_vhost_of(job, item, what, source_name);
    if (vhost == NULL || source_name.bytes == 0)
        return; // those of the default exchange are there by themselves
    slc_buffer arguments = {0};
    slc_error error = {0};
    if (!slc_import_arguments(job, item, what, source_name, &arguments))
        goto free_arguments;
    slc_staged_dest *source = dest_find(job, vhost, SLC_DEST_EXCHANGE, source_name);
    slc_staged_dest *dest =
        dest_find(job, vhost, to_queue ? SLC_DEST_QUEUE : SLC_DEST_EXCHANGE, dest_name);
    if (source == NULL || dest == NULL) {
        job->left_out++;
        slc_log(SLC_LOG_WARN, "default", "definitions.binding.left_out", SLC_NO_FIELDS,
                "import of definitions: the binding from exchange '%.*s' to %.*s '%.*s' in vhost "
                "'%.*s' is left out, %s is neither in this broker nor in the file",
                SLC_SLICE_FMT(source_name), SLC_SLICE_FMT(type), SLC_SLICE_FMT(dest_name),
                SLC_SLICE_FMT(vhost->name), source == NULL ? "its source" : "its destination");
        goto free_arguments;
    }
    const slc_exchange *x = source->made != NULL ? source->made : (slc_exchange *)source->existing;
    slc_slice table = slc_buffer_slice(&arguments);
    if (x->kind->check != NULL && x->kind->check(x, key, table, &error) != SLC_OK) {
        slc_import_wrong(job, what, source_name, "%s", error.text);
        goto free_arguments;
    }
    if (source->existing != NULL && dest->existing != NULL &&
        slc_binding_find((slc_exchange *)source->existing, dest->existing, key, table) != NULL)
        goto free_arguments;
    if (!binding_note(job, source, dest, key, table))
        goto free_arguments;
    job->made++;
    if (source->durable && dest->durable) {
        slc_id id = slc_id_new(job->broker);
        slc_changes_put_binding(&job->changes, &id, &source->id,
                                to_queue ? SLC_DEST_QUEUE : SLC_DEST_EXCHANGE, &dest->id, key,
                                table);
    } else {
        late_add(job, vhost, item, late_binding);
    }
free_arguments:
    slc_buffer_fini(&arguments);
}
