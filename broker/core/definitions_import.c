// One import at a time. While one waits or is under way no session proposes anything (slc_op_conflict), so what was checked is what
// is there when the proposal is applied.
//
//   waiting ──no proposal under way, users held──> checked ──wrong──> done(report)
//                                                     └──right──> proposed ──durable, applied──> the rest in memory ──> done
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "core/definitions_file.h"
#include "core/internal.h"
#include "core/json_table.h"

enum { REPORT_LINES = 20 };

/** A vhost that is there or will be. */
typedef struct staged_vhost {
    slc_slice name; // owned
    slc_id id;
    slc_vhost *existing; // NULL: this file makes it
    slc_vhost stand_in;  // for what asks for a vhost by pointer; of a new one
    UT_hash_handle hh;
} staged_vhost;

/** A queue or exchange that is there or will be. */
typedef struct staged_dest {
    slc_slice key; // owned: vhost id, kind, name
    slc_id id;
    bool durable;
    slc_destination *existing; // NULL: this file makes it
    slc_exchange *made;        // a new exchange, to ask its kind about bindings; owned
    UT_hash_handle hh;
} staged_dest;

typedef struct staged_binding {
    slc_slice key; // owned: both ids, key, sorted arguments
    UT_hash_handle hh;
} staged_binding;

/** A key of the users' that this file puts. */
typedef struct staged_key {
    slc_slice key; // owned
    UT_hash_handle hh;
} staged_key;

/** What is not durable: made when the rest is there. */
typedef struct late_item {
    void (*make)(slc_vhost *vhost, const json_t *item);
    const json_t *item;
    slc_slice vhost; // of the staged one
} late_item;

typedef struct slc_import {
    slc_definitions_sink sink; // first
    slc_broker *broker;
    json_t *root;
    slc_slice only; // owned
    slc_definitions_done done;
    void *arg;
    bool hold_asked, held; // of users
    bool proposed;

    slc_changes changes;
    staged_vhost *vhosts;
    staged_dest *dests;
    staged_binding *bindings;
    staged_key *keys;
    late_item *late;
    uint32_t late_count, late_capacity;
    uint32_t vhosts_made;
    uint32_t made, left_out; // objects; bindings without an end
    slc_buffer report;
    uint32_t wrong;

    // of the item at hand
    const char *section;
    size_t index;
    struct slc_import *prev, *next;
} slc_import;

/* ---- what is wrong ---- */

static void import_wrong(slc_import *job, const char *what, slc_slice name, const char *format, ...)
    SLC_PRINTF(4, 5);

static void import_wrong(slc_import *job, const char *what, slc_slice name, const char *format, ...)
{
    if (++job->wrong > REPORT_LINES)
        return;
    char text[SLC_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t end = strlen(text);
    while (end > 0 && text[end - 1] == '\n')
        text[--end] = '\0';
    for (char *at = strstr(text, "\n\n"); at != NULL; at = strstr(at, "\n\n"))
        memcpy(at, ": ", 2); // RabbitMQ's texts have empty lines; one line is one mistake here
    slc_buffer_format(&job->report, "%s%s[%zu] (%s '%.*s'): %s", job->wrong > 1 ? "\n" : "",
                      job->section, job->index, what, SLC_SLICE_FMT(name), text);
}

static bool name_of(slc_import *job, const json_t *item, const char *key, const char *what,
                    size_t min, slc_slice *out)
{
    const json_t *value = json_object_get(item, key);
    if (!json_is_string(value)) {
        import_wrong(job, what, (slc_slice){0}, "'%s' must be there and be a string", key);
        return false;
    }
    *out = slc_json_string_slice(value);
    if (out->bytes < min || out->bytes > SLC_NAME_MAX) {
        import_wrong(job, what, *out, "'%s' has %zu octets; it must have %zu to %d", key,
                     out->bytes, min, SLC_NAME_MAX);
        return false;
    }
    return true;
}

/** true, false, "true", "false"; absent: fallback. */
static bool bool_of(slc_import *job, const json_t *item, const char *key, const char *what,
                    slc_slice name, bool fallback, bool *out)
{
    const json_t *value = json_object_get(item, key);
    const char *text = json_string_value(value);
    *out = fallback;
    if (value == NULL || json_is_null(value))
        return true;
    if (json_is_boolean(value))
        *out = json_is_true(value);
    else if (text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
        *out = text[0] == 't';
    else {
        char shown[80];
        import_wrong(job, what, name, "'%s' is %s; it must be true or false", key,
                     slc_json_erlang_text(value, shown, sizeof shown));
        return false;
    }
    return true;
}

static bool arguments_of(slc_import *job, const json_t *item, const char *what, slc_slice name,
                         slc_buffer *out)
{
    slc_error error = {0};
    if (slc_table_from_json(json_object_get(item, "arguments"), out, &error) == SLC_OK)
        return true;
    import_wrong(job, what, name, "'arguments' cannot be used: %s", error.text);
    return false;
}

/* ---- vhosts ---- */

static staged_vhost *vhost_stage(slc_import *job, slc_slice name, slc_vhost *existing)
{
    staged_vhost *staged = slc_alloc_zero(1, sizeof *staged);
    staged->name = slc_slice_copy(name);
    staged->existing = existing;
    staged->id = existing != NULL ? existing->id : slc_id_new(job->broker);
    staged->stand_in.broker = job->broker;
    staged->stand_in.id = staged->id;
    staged->stand_in.name = staged->name;
    HASH_ADD_KEYPTR(hh, job->vhosts, staged->name.data, staged->name.bytes, staged);
    return staged;
}

/** NULL: it is not there and not in the file. */
static staged_vhost *vhost_find(slc_import *job, slc_slice name)
{
    staged_vhost *staged;
    HASH_FIND(hh, job->vhosts, name.data, name.bytes, staged);
    if (staged != NULL)
        return staged;
    slc_vhost *existing = slc_broker_vhost(job->broker, name);
    return existing != NULL ? vhost_stage(job, name, existing) : NULL;
}

static const slc_vhost *vhost_pointer(const staged_vhost *staged)
{
    return staged->existing != NULL ? staged->existing : &staged->stand_in;
}

/** True: said that it is on its way out. */
static bool vhost_doomed(slc_import *job, const staged_vhost *staged, const char *what,
                         slc_slice name)
{
    if (staged->existing == NULL || staged->existing->doomed_by == NULL)
        return false;
    import_wrong(job, what, name, "vhost '%.*s' is being deleted", SLC_SLICE_FMT(staged->name));
    return true;
}

/** The vhost of an item; NULL: said what is wrong. */
static staged_vhost *vhost_of(slc_import *job, const json_t *item, const char *what, slc_slice name)
{
    slc_slice vhost = job->only;
    if (vhost.bytes == 0) {
        const json_t *value = json_object_get(item, "vhost");
        if (!json_is_string(value)) {
            import_wrong(job, what, name, "'vhost' must be there and be a string");
            return NULL;
        }
        vhost = slc_json_string_slice(value);
    }
    staged_vhost *staged = vhost_find(job, vhost);
    if (staged == NULL)
        import_wrong(job, what, name,
                     "its vhost '%.*s' is not in this broker and not in the section vhosts",
                     SLC_SLICE_FMT(vhost));
    else if (vhost_doomed(job, staged, what, name))
        return NULL;
    return staged;
}

static staged_dest *dest_stage(slc_import *job, const staged_vhost *vhost, slc_dest_kind kind,
                               slc_slice name, const slc_id *id, slc_destination *existing,
                               bool durable);

/** What the item says of its vhost, over what is in metadata; RabbitMQ's versions have it in `metadata`, beside the name, or both.
 *  False: said what is wrong. tags holds those of metadata. */
static bool metadata_of(slc_import *job, const json_t *item, slc_slice name,
                        slc_vhost_metadata *metadata, slc_buffer *tags)
{
    const json_t *inner = json_object_get(item, "metadata");
    static const char *const keys[] = {"description", "default_queue_type", "tags"};
    slc_slice *const texts[] = {&metadata->description, &metadata->default_queue_type};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(keys); i++) {
        const json_t *value = json_object_get(item, keys[i]);
        if (value == NULL || json_is_null(value))
            value = json_object_get(inner, keys[i]);
        if (value == NULL || json_is_null(value))
            continue;
        bool good = i < SLC_ARRAY_COUNT(texts) ? json_is_string(value) : slc_json_tags(value, tags);
        if (!good) {
            char text[80];
            import_wrong(job, "vhost", name, "'%s' is %s; it must be %s", keys[i],
                         slc_json_erlang_text(value, text, sizeof text),
                         i < SLC_ARRAY_COUNT(texts) ? "a string" : "a list of strings");
            return false;
        }
        if (i < SLC_ARRAY_COUNT(texts))
            *texts[i] = slc_json_string_slice(value);
        else
            metadata->tags = slc_buffer_slice(tags);
    }
    slc_error error = {0};
    if (slc_vhost_metadata_check(metadata, &error) != SLC_OK) {
        import_wrong(job, "vhost", name, "%s", error.text);
        return false;
    }
    return true;
}

static void vhost_make(slc_import *job, slc_slice name, const slc_vhost_metadata *metadata)
{
    slc_broker *broker = job->broker;
    uint32_t limit = broker->limits.vhosts;
    if (limit != 0 && HASH_COUNT(broker->vhosts) + job->vhosts_made >= limit) {
        import_wrong(job, "vhost", name, "cannot create it: vhost limit of %u is reached", limit);
        return;
    }
    job->vhosts_made++;
    staged_vhost *staged = vhost_stage(job, name, NULL);
    slc_changes_put_vhost_with(&job->changes, &staged->id, name, metadata);
    for (uint32_t i = 0; i < slc_predeclared_count; i++) {
        const slc_predeclared *x = &slc_predeclared_exchanges[i];
        slc_slice type = slc_slice_str(x->type);
        slc_id id = slc_id_new(broker);
        slc_changes_put_exchange(&job->changes, &id, &staged->id, slc_slice_str(x->name), type,
                                 false, x->internal, (slc_slice){0});
        staged_dest *dest =
            dest_stage(job, staged, SLC_DEST_EXCHANGE, slc_slice_str(x->name), &id, NULL, true);
        dest->made = slc_exchange_new(&staged->stand_in, slc_slice_str(x->name),
                                      slc_exchange_kind_find(type), true, false, x->internal,
                                      (slc_slice){0});
    }
    slc_vhost_begins(broker, &job->changes, name, &staged->id);
}

static void import_vhost(slc_import *job, const json_t *item)
{
    slc_slice name;
    if (!name_of(job, item, "name", "vhost", 1, &name))
        return;
    staged_vhost *staged = vhost_find(job, name);
    if (staged != NULL && staged->existing == NULL)
        return; // the file has it twice
    if (staged != NULL && vhost_doomed(job, staged, "vhost", name))
        return;
    slc_vhost_metadata metadata = {0};
    if (staged != NULL)
        metadata = *slc_vhost_metadata_of(staged->existing);
    slc_vhost_metadata before = metadata;
    slc_buffer tags = {0};
    if (metadata_of(job, item, name, &metadata, &tags)) {
        job->made++;
        if (staged == NULL)
            vhost_make(job, name, &metadata);
        else if (slc_slice_equal(before.description, metadata.description) &&
                 slc_slice_equal(before.tags, metadata.tags) &&
                 slc_slice_equal(before.default_queue_type, metadata.default_queue_type))
            job->made--;
        else
            slc_changes_put_vhost_with(&job->changes, &staged->id, name, &metadata);
    }
    slc_buffer_fini(&tags);
}

/* ---- parameters, policies ---- */

/** Old files have [["max-length",10]] where an object is meant. A new reference. */
static json_t *object_of_pairs(json_t *value)
{
    if (!json_is_array(value) || json_array_size(value) == 0)
        return json_incref(value);
    json_t *object = json_object();
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *pair = json_array_get(value, i);
        const char *key = json_string_value(json_array_get(pair, 0));
        if (json_array_size(pair) != 2 || key == NULL) {
            json_decref(object);
            return json_incref(value);
        }
        json_object_set(object, key, json_array_get(pair, 1));
    }
    return object;
}

static void parameter_put(slc_import *job, const staged_vhost *vhost, slc_slice component,
                          slc_slice name, const json_t *value, const char *what)
{
    slc_error error = {0};
    if (slc_parameter_check(vhost == NULL, component, name, value, &error) != SLC_OK) {
        import_wrong(job, what, name, "%s", error.text);
        return;
    }
    slc_changes_put_parameter(&job->changes, vhost != NULL ? &vhost->id : NULL, component, name,
                              value);
    job->made++;
}

static void import_parameter(slc_import *job, const json_t *item)
{
    slc_slice name, component;
    if (!name_of(job, item, "name", "parameter", 1, &name) ||
        !name_of(job, item, "component", "parameter", 1, &component))
        return;
    staged_vhost *vhost = vhost_of(job, item, "parameter", name);
    json_t *value = json_object_get(item, "value");
    if (vhost == NULL)
        return;
    if (value == NULL) {
        import_wrong(job, "parameter", name, "'value' must be there");
        return;
    }
    value = object_of_pairs(value);
    json_t *definition = json_object_get(value, "definition");
    if (json_is_array(definition)) {
        json_t *copy = json_copy(value); // the file stays as it is
        json_object_set_new(copy, "definition", object_of_pairs(definition));
        json_decref(value);
        value = copy;
    }
    parameter_put(job, vhost, component, name, value, "parameter");
    json_decref(value);
}

static void import_global(slc_import *job, const json_t *item)
{
    slc_slice name;
    const json_t *value = json_object_get(item, "value");
    if (!name_of(job, item, "name", "global parameter", 1, &name))
        return;
    if (value == NULL)
        import_wrong(job, "global parameter", name, "'value' must be there");
    else
        parameter_put(job, NULL, (slc_slice){0}, name, value, "global parameter");
}

static void import_policy(slc_import *job, const json_t *item)
{
    slc_slice name;
    if (!name_of(job, item, "name", "policy", 1, &name))
        return;
    staged_vhost *vhost = vhost_of(job, item, "policy", name);
    if (vhost == NULL)
        return;
    json_t *value = json_object();
    static const char *const keys[] = {"pattern", "definition", "priority", "apply-to"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(keys); i++) {
        json_t *field = json_object_get(item, keys[i]);
        if (field != NULL)
            json_object_set_new(value, keys[i], object_of_pairs(field));
    }
    if (json_object_get(value, "priority") == NULL)
        json_object_set_new(value, "priority", json_integer(0));
    if (json_object_get(value, "apply-to") == NULL)
        json_object_set_new(value, "apply-to", json_string("all"));
    parameter_put(job, vhost, slc_slice_str("policy"), name, value, "policy");
    json_decref(value);
}

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

static staged_dest *dest_stage(slc_import *job, const staged_vhost *vhost, slc_dest_kind kind,
                               slc_slice name, const slc_id *id, slc_destination *existing,
                               bool durable)
{
    staged_dest *dest = slc_alloc_zero(1, sizeof *dest);
    dest->key = dest_key(&vhost->id, kind, name);
    dest->id = *id;
    dest->existing = existing;
    dest->durable = durable;
    HASH_ADD_KEYPTR(hh, job->dests, dest->key.data, dest->key.bytes, dest);
    return dest;
}

static staged_dest *dest_find(slc_import *job, const staged_vhost *vhost, slc_dest_kind kind,
                              slc_slice name)
{
    slc_slice key = dest_key(&vhost->id, kind, name);
    staged_dest *dest;
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
    return existing != NULL ? dest_stage(job, vhost, kind, name, slc_destination_id(existing),
                                         existing, existing->durable)
                            : NULL;
}

static void late_add(slc_import *job, const staged_vhost *vhost, const json_t *item,
                     void (*make)(slc_vhost *vhost, const json_t *item))
{
    if (job->late_count == job->late_capacity) {
        job->late_capacity = job->late_capacity == 0 ? 8 : 2 * job->late_capacity;
        job->late = slc_realloc(job->late, job->late_capacity * sizeof *job->late);
    }
    job->late[job->late_count++] = (late_item){make, item, vhost->name};
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

static void import_queue(slc_import *job, const json_t *item)
{
    slc_slice name;
    if (!name_of(job, item, "name", "queue", 1, &name))
        return;
    staged_vhost *vhost = vhost_of(job, item, "queue", name);
    bool durable, auto_delete;
    if (vhost == NULL || !bool_of(job, item, "durable", "queue", name, true, &durable) ||
        !bool_of(job, item, "auto_delete", "queue", name, false, &auto_delete))
        return;
    slc_buffer arguments = {0};
    slc_error error = {0};
    if (!arguments_of(job, item, "queue", name, &arguments))
        goto free_arguments;
    if (dest_find(job, vhost, SLC_DEST_QUEUE, name) != NULL)
        goto free_arguments; // it stays as it is
    if (slc_check_queue_arguments(vhost_pointer(vhost), name, slc_buffer_slice(&arguments),
                                  &error) != SLC_OK) {
        import_wrong(job, "queue", name, "%s", error.text);
        goto free_arguments;
    }
    slc_id id = slc_id_new(job->broker);
    dest_stage(job, vhost, SLC_DEST_QUEUE, name, &id, NULL, durable);
    job->made++;
    if (durable)
        slc_changes_put_queue(&job->changes, &id, &vhost->id, name, auto_delete,
                              slc_buffer_slice(&arguments));
    else
        late_add(job, vhost, item, late_queue);
free_arguments:
    slc_buffer_fini(&arguments);
}

static void import_exchange(slc_import *job, const json_t *item)
{
    slc_slice name, type;
    if (!name_of(job, item, "name", "exchange", 1, &name) ||
        !name_of(job, item, "type", "exchange", 1, &type))
        return;
    staged_vhost *vhost = vhost_of(job, item, "exchange", name);
    bool durable, auto_delete, internal;
    if (vhost == NULL || !bool_of(job, item, "durable", "exchange", name, true, &durable) ||
        !bool_of(job, item, "auto_delete", "exchange", name, false, &auto_delete) ||
        !bool_of(job, item, "internal", "exchange", name, false, &internal))
        return;
    slc_buffer arguments = {0};
    if (!arguments_of(job, item, "exchange", name, &arguments))
        goto free_arguments;
    if (dest_find(job, vhost, SLC_DEST_EXCHANGE, name) != NULL)
        goto free_arguments;
    const slc_exchange_kind *kind = slc_exchange_kind_find(type);
    if (kind == NULL) {
        import_wrong(job, "exchange", name, "unknown exchange type '%.*s'", SLC_SLICE_FMT(type));
        goto free_arguments;
    }
    slc_value alternate;
    if (slc_table_find(slc_buffer_slice(&arguments), slc_slice_str("alternate-exchange"),
                       &alternate) &&
        alternate.type != SLC_TYPE_LONGSTR) {
        import_wrong(job, "exchange", name, "invalid type '%s' for arg 'alternate-exchange'",
                     slc_value_type_name(alternate.type));
        goto free_arguments;
    }
    slc_id id = slc_id_new(job->broker);
    staged_dest *dest = dest_stage(job, vhost, SLC_DEST_EXCHANGE, name, &id, NULL, durable);
    dest->made = slc_exchange_new((slc_vhost *)(uintptr_t)vhost_pointer(vhost), name, kind, durable,
                                  auto_delete, internal, slc_buffer_slice(&arguments));
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
static bool binding_note(slc_import *job, const staged_dest *source, const staged_dest *dest,
                         slc_slice key, slc_slice arguments)
{
    slc_buffer id = {0};
    slc_buffer_put(&id, source->key.data, source->key.bytes);
    slc_buffer_octet(&id, 0);
    slc_buffer_put(&id, dest->key.data, dest->key.bytes);
    slc_buffer_octet(&id, 0);
    slc_buffer_octet(&id, (uint8_t)key.bytes);
    slc_buffer_put(&id, key.data, key.bytes);
    slc_table_sorted(arguments, &id);
    staged_binding *binding;
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

static void import_binding(slc_import *job, const json_t *item)
{
    slc_slice source_name, dest_name, type, key = {0};
    if (!name_of(job, item, "source", "binding of exchange", 0, &source_name) ||
        !name_of(job, item, "destination", "binding of exchange", 1, &dest_name) ||
        !name_of(job, item, "destination_type", "binding of exchange", 1, &type) ||
        !name_of(job, item, "routing_key", "binding of exchange", 0, &key))
        return;
    const char *what = "binding of exchange";
    bool to_queue = slc_slice_is(type, "queue");
    if (!to_queue && !slc_slice_is(type, "exchange")) {
        import_wrong(job, what, source_name,
                     "'destination_type' is '%.*s'; it must be queue or exchange",
                     SLC_SLICE_FMT(type));
        return;
    }
    staged_vhost *vhost = vhost_of(job, item, what, source_name);
    if (vhost == NULL || source_name.bytes == 0)
        return; // those of the default exchange are there by themselves
    slc_buffer arguments = {0};
    slc_error error = {0};
    if (!arguments_of(job, item, what, source_name, &arguments))
        goto free_arguments;
    staged_dest *source = dest_find(job, vhost, SLC_DEST_EXCHANGE, source_name);
    staged_dest *dest =
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
        import_wrong(job, what, source_name, "%s", error.text);
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

/* ---- users: another module's ---- */

static bool sink_has(slc_definitions_sink *sink, slc_slice key)
{
    staged_key *staged;
    HASH_FIND(hh, ((slc_import *)sink)->keys, key.data, key.bytes, staged);
    return staged != NULL;
}

static void sink_put(slc_definitions_sink *sink, slc_slice key, slc_slice value)
{
    slc_import *job = (slc_import *)sink;
    if (!sink_has(sink, key)) {
        staged_key *staged = slc_alloc_zero(1, sizeof *staged);
        staged->key = slc_slice_copy(key);
        HASH_ADD_KEYPTR(hh, job->keys, staged->key.data, staged->key.bytes, staged);
    }
    slc_changes_add_raw(&job->changes, slc_slice_copy(key),
                        value.data != NULL ? slc_slice_copy(value) : (slc_slice){0});
}

static const uint8_t *sink_vhost_id(slc_definitions_sink *sink, slc_slice name)
{
    staged_vhost *staged = vhost_find((slc_import *)sink, name);
    bool there =
        staged != NULL && (staged->existing == NULL || staged->existing->doomed_by == NULL);
    return there ? staged->id.octets : NULL;
}

static void import_user_item(slc_import *job, slc_definitions_section section, const json_t *item)
{
    const slc_definitions_users *users = job->broker->definitions_users;
    const char *name = json_string_value(
        json_object_get(item, section == SLC_DEFINITIONS_USERS ? "name" : "user"));
    const char *version = json_string_value(json_object_get(job->root, "rabbit_version"));
    slc_error error = {0};
    if (users->import_item(section, item, version != NULL ? version : "", &job->sink, &error,
                           users->arg) != SLC_OK)
        import_wrong(job, "user", slc_slice_str(name != NULL ? name : ""), "%s", error.text);
    else
        job->made++;
}

/* ---- the whole file ---- */

static const struct {
    const char *name;
    void (*import)(slc_import *job, const json_t *item); // NULL: of users
    slc_definitions_section section;
    bool whole_only; // not of a file for one vhost
} sections[] = {
    // Before the users' own order: permissions name vhosts, and users name nothing.
    {"vhosts", import_vhost, 0, true},
    {"users", NULL, SLC_DEFINITIONS_USERS, true},
    {"permissions", NULL, SLC_DEFINITIONS_PERMISSIONS, true},
    {"topic_permissions", NULL, SLC_DEFINITIONS_TOPIC_PERMISSIONS, true},
    {"parameters", import_parameter, 0, false},
    {"global_parameters", import_global, 0, true},
    {"policies", import_policy, 0, false},
    {"queues", import_queue, 0, false},
    {"exchanges", import_exchange, 0, false},
    {"bindings", import_binding, 0, false},
};

static void import_section(slc_import *job, size_t number)
{
    const json_t *list = json_object_get(job->root, sections[number].name);
    job->section = sections[number].name;
    job->index = 0;
    if (list == NULL || json_is_null(list) || (sections[number].whole_only && job->only.bytes > 0))
        return;
    if (!json_is_array(list)) {
        import_wrong(job, "section", slc_slice_str(job->section), "it must be a list");
        return;
    }
    if (sections[number].import == NULL && job->broker->definitions_users == NULL) {
        if (json_array_size(list) > 0)
            slc_log(SLC_LOG_WARN, "default", "definitions.users.left_out", SLC_NO_FIELDS,
                    "import of definitions: the %zu entries of section %s are left out, this "
                    "broker keeps no users",
                    json_array_size(list), job->section);
        return;
    }
    for (job->index = 0; job->index < json_array_size(list); job->index++) {
        const json_t *item = json_array_get(list, job->index);
        if (!json_is_object(item))
            import_wrong(job, "entry", (slc_slice){0}, "it must be an object");
        else if (sections[number].import != NULL)
            sections[number].import(job, item);
        else
            import_user_item(job, sections[number].section, item);
    }
}

static void job_free(slc_import *job)
{
    staged_vhost *vhost, *next_vhost;
    staged_dest *dest, *next_dest;
    staged_binding *binding, *next_binding;
    staged_key *key, *next_key;
    if (job->hold_asked)
        job->broker->definitions_users->release(job->broker->definitions_users->arg);
    HASH_ITER(hh, job->keys, key, next_key)
    {
        HASH_DELETE(hh, job->keys, key);
        slc_free((void *)key->key.data);
        slc_free(key);
    }
    HASH_ITER(hh, job->bindings, binding, next_binding)
    {
        HASH_DELETE(hh, job->bindings, binding);
        slc_free((void *)binding->key.data);
        slc_free(binding);
    }
    HASH_ITER(hh, job->dests, dest, next_dest)
    {
        HASH_DELETE(hh, job->dests, dest);
        slc_exchange_free(dest->made);
        slc_free((void *)dest->key.data);
        slc_free(dest);
    }
    HASH_ITER(hh, job->vhosts, vhost, next_vhost)
    {
        HASH_DELETE(hh, job->vhosts, vhost);
        slc_free((void *)vhost->name.data);
        slc_free(vhost);
    }
    slc_changes_clear(&job->changes);
    slc_buffer_fini(&job->report);
    json_decref(job->root);
    slc_free(job->late);
    slc_free((void *)job->only.data);
    slc_free(job);
}

void slc_imports_free(slc_broker *broker)
{
    while (broker->imports != NULL) {
        slc_import *job = broker->imports;
        DL_DELETE(broker->imports, job);
        job_free(job);
    }
}

static void job_end(slc_import *job, slc_err rc)
{
    slc_broker *broker = job->broker;
    DL_DELETE(broker->imports, job);
    broker->resume_due = true; // who met it waits for no proposal of its own
    broker->orphans_due = broker->orphans_due || broker->orphans_later;
    broker->orphans_later = false;
    if (job->wrong > REPORT_LINES)
        slc_buffer_format(&job->report, "\nand %u more", job->wrong - REPORT_LINES);
    slc_buffer_octet(&job->report, 0);
    job->done(rc, (const char *)job->report.data, job->arg);
    job_free(job);
}

static void job_proposed(slc_op *op, slc_err rc)
{
    slc_import *job = op->done_arg;
    if (rc != SLC_OK) {
        slc_buffer_format(&job->report,
                          "the definitions could not be stored, nothing was changed: %s",
                          slc_err_text(rc));
        job_end(job, rc);
        return;
    }
    for (uint32_t i = 0; i < job->late_count; i++) {
        slc_vhost *vhost = slc_broker_vhost(job->broker, job->late[i].vhost);
        if (vhost != NULL)
            job->late[i].make(vhost, job->late[i].item);
    }
    slc_log(SLC_LOG_INFO, "default", "definitions.imported",
            SLC_FIELDS(SLC_F_U64("objects", job->made), SLC_F_U64("left_out", job->left_out)),
            "definitions imported: %u objects made or set, %u bindings left out", job->made,
            job->left_out);
    job_end(job, SLC_OK);
}

static void import_held(void *arg)
{
    ((slc_import *)arg)->held = true;
}

void slc_import_turn(slc_broker *broker)
{
    slc_import *job = broker->imports;
    const slc_definitions_users *users = broker->definitions_users;
    if (job->proposed || broker->ops != NULL)
        return;
    if (users != NULL && !job->held) {
        if (!job->hold_asked)
            users->hold(job->root, import_held, job, users->arg);
        job->hold_asked = true;
        return;
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(sections) && (i > 0 || job->wrong == 0); i++)
        import_section(job, i);
    if (job->wrong > 0) {
        job_end(job, SLC_EINVAL);
        return;
    }
    if (job->changes.count == 0) {
        slc_op nothing = {.broker = broker, .done_arg = job};
        job_proposed(&nothing, SLC_OK);
        return;
    }
    job->proposed = true;
    slc_op *op = slc_propose(broker, &job->changes, NULL, 0, 0);
    op->done = job_proposed;
    op->done_arg = job;
}

void slc_definitions_import(slc_broker *broker, json_t *root, slc_slice vhost,
                            slc_definitions_done done, void *arg)
{
    slc_import *job = slc_alloc_zero(1, sizeof *job);
    job->sink = (slc_definitions_sink){sink_put, sink_has, sink_vhost_id};
    job->broker = broker;
    job->root = json_incref(root);
    job->only = slc_slice_copy(vhost);
    job->done = done;
    job->arg = arg;
    job->section = "file";
    if (!json_is_object(root))
        import_wrong(job, "file", (slc_slice){0}, "it must be an object");
    else if (vhost.bytes > 0 && slc_broker_vhost(broker, vhost) == NULL)
        import_wrong(job, "vhost", vhost, "there is no such vhost");
    DL_APPEND(broker->imports, job);
}

slc_err slc_definitions_parse(slc_slice text, json_t **root, slc_error *error)
{
    json_error_t where;
    json_t *parsed = json_loadb((const char *)text.data, text.bytes, JSON_ALLOW_NUL, &where);
    if (parsed == NULL)
        return slc_error_set(error, SLC_EINVAL, "this is not JSON, line %d column %d: %s",
                             where.line, where.column, where.text);
    if (!json_is_object(parsed)) {
        json_decref(parsed);
        return slc_error_set(error, SLC_EINVAL, "the definitions must be a JSON object");
    }
    *root = parsed;
    return SLC_OK;
}

void slc_definitions_set_users(slc_broker *broker, const slc_definitions_users *users)
{
    broker->definitions_users = users;
}
