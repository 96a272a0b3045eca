// What an import stages of vhosts, parameters and policies.
#include "core/definitions_import.h"
#include "core/json_table.h"

/* ---- vhosts ---- */

static slc_staged_vhost *vhost_stage(slc_import *job, slc_slice name, slc_vhost *existing)
{
    slc_staged_vhost *staged = slc_alloc_zero(1, sizeof *staged);
    staged->name = slc_slice_copy(name);
    staged->existing = existing;
    staged->id = existing != NULL ? existing->id : slc_id_new(job->broker);
    staged->stand_in.broker = job->broker;
    staged->stand_in.id = staged->id;
    staged->stand_in.name = staged->name;
    HASH_ADD_KEYPTR(hh, job->vhosts, staged->name.data, staged->name.bytes, staged);
    return staged;
}

slc_staged_vhost *slc_import_vhost_find(slc_import *job, slc_slice name)
{
    slc_staged_vhost *staged;
    HASH_FIND(hh, job->vhosts, name.data, name.bytes, staged);
    if (staged != NULL)
        return staged;
    slc_vhost *existing = slc_broker_vhost(job->broker, name);
    return existing != NULL ? vhost_stage(job, name, existing) : NULL;
}

const slc_vhost *slc_import_vhost_pointer(const slc_staged_vhost *staged)
{
    return staged->existing != NULL ? staged->existing : &staged->stand_in;
}

/** True: said that it is on its way out. */
static bool vhost_doomed(slc_import *job, const slc_staged_vhost *staged, const char *what,
                         slc_slice name)
{
    if (staged->existing == NULL || staged->existing->doomed_by == NULL)
        return false;
    slc_import_wrong(job, what, name, "vhost '%.*s' is being deleted", SLC_SLICE_FMT(staged->name));
    return true;
}

slc_staged_vhost *slc_import_vhost_of(slc_import *job, const json_t *item, const char *what,
                                      slc_slice name)
{
    slc_slice vhost = job->only;
    if (vhost.bytes == 0) {
        const json_t *value = json_object_get(item, "vhost");
        if (!json_is_string(value)) {
            slc_import_wrong(job, what, name, "'vhost' must be there and be a string");
            return NULL;
        }
        vhost = slc_json_string_slice(value);
    }
    slc_staged_vhost *staged = slc_import_vhost_find(job, vhost);
    if (staged == NULL)
        slc_import_wrong(job, what, name,
                         "its vhost '%.*s' is not in this broker and not in the section vhosts",
                         SLC_SLICE_FMT(vhost));
    else if (vhost_doomed(job, staged, what, name))
        return NULL;
    return staged;
}

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
            slc_import_wrong(job, "vhost", name, "'%s' is %s; it must be %s", keys[i],
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
        slc_import_wrong(job, "vhost", name, "%s", error.text);
        return false;
    }
    return true;
}

static void vhost_make(slc_import *job, slc_slice name, const slc_vhost_metadata *metadata)
{
    slc_broker *broker = job->broker;
    uint32_t limit = broker->limits.vhosts;
    if (limit != 0 && HASH_COUNT(broker->vhosts) + job->vhosts_made >= limit) {
        slc_import_wrong(job, "vhost", name, "cannot create it: vhost limit of %u is reached",
                         limit);
        return;
    }
    job->vhosts_made++;
    slc_staged_vhost *staged = vhost_stage(job, name, NULL);
    slc_changes_put_vhost_with(&job->changes, &staged->id, name, metadata);
    for (uint32_t i = 0; i < slc_predeclared_count; i++) {
        const slc_predeclared *x = &slc_predeclared_exchanges[i];
        slc_slice type = slc_slice_str(x->type);
        slc_id id = slc_id_new(broker);
        slc_changes_put_exchange(&job->changes, &id, &staged->id, slc_slice_str(x->name), type,
                                 false, x->internal, (slc_slice){0});
        slc_staged_dest *dest = slc_import_dest_stage(job, staged, SLC_DEST_EXCHANGE,
                                                      slc_slice_str(x->name), &id, NULL, true);
        dest->made = slc_exchange_new(&staged->stand_in, slc_slice_str(x->name),
                                      slc_exchange_kind_find(type), true, false, x->internal,
                                      (slc_slice){0});
    }
    slc_vhost_begins(broker, &job->changes, name, &staged->id);
}

void slc_import_vhost(slc_import *job, const json_t *item)
{
    slc_slice name;
    if (!slc_import_name(job, item, "name", "vhost", 1, &name))
        return;
    slc_staged_vhost *staged = slc_import_vhost_find(job, name);
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

static void parameter_put(slc_import *job, const slc_staged_vhost *vhost, slc_slice component,
                          slc_slice name, const json_t *value, const char *what)
{
    slc_error error = {0};
    if (slc_parameter_check(vhost == NULL, component, name, value, &error) != SLC_OK) {
        slc_import_wrong(job, what, name, "%s", error.text);
        return;
    }
    slc_changes_put_parameter(&job->changes, vhost != NULL ? &vhost->id : NULL, component, name,
                              value);
    job->made++;
}

void slc_import_parameter(slc_import *job, const json_t *item)
{
    slc_slice name, component;
    if (!slc_import_name(job, item, "name", "parameter", 1, &name) ||
        !slc_import_name(job, item, "component", "parameter", 1, &component))
        return;
    slc_staged_vhost *vhost = slc_import_vhost_of(job, item, "parameter", name);
    json_t *value = json_object_get(item, "value");
    if (vhost == NULL)
        return;
    if (value == NULL) {
        slc_import_wrong(job, "parameter", name, "'value' must be there");
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

void slc_import_global(slc_import *job, const json_t *item)
{
    slc_slice name;
    const json_t *value = json_object_get(item, "value");
    if (!slc_import_name(job, item, "name", "global parameter", 1, &name))
        return;
    if (value == NULL)
        slc_import_wrong(job, "global parameter", name, "'value' must be there");
    else
        parameter_put(job, NULL, (slc_slice){0}, name, value, "global parameter");
}

void slc_import_policy(slc_import *job, const json_t *item)
{
    slc_slice name;
    if (!slc_import_name(job, item, "name", "policy", 1, &name))
        return;
    slc_staged_vhost *vhost = slc_import_vhost_of(job, item, "policy", name);
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
