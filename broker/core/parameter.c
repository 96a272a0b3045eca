// Parameters: one map for all, by the key under which they are stored, so that load order and list order are the same.
#include "core/parameter.h"

#include <stdio.h>

#include "core/event.h"
#include "core/internal.h"
#include "core/json_table.h"
#include "core/policy_impl.h"

enum { VALUE_VERSION = 1, COMPONENT_BYTES_MAX = 64 };

struct slc_parameter_entry {
    slc_parameter parameter; // slices point into key
    slc_slice key;           // owned
    UT_hash_handle hh;       // of broker->parameters by key
};

/* ---- components ---- */

static slc_err limits_check(slc_slice name, const json_t *value, slc_error *error)
{
    char text[160];
    (void)name;
    if (!json_is_object(value))
        return slc_error_set(error, SLC_EINVAL, "Validation failed\n\nlimits not a list %s\n",
                             slc_json_erlang_text(value, text, sizeof text));
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (strcmp(key, "max-queues") != 0 && strcmp(key, "max-connections") != 0)
            return slc_error_set(error, SLC_EINVAL,
                                 "Validation failed\n\nUnrecognised terms [{<<\"%.64s\">>,%s}] in "
                                 "limits\n",
                                 key, slc_json_erlang_text(item, text, sizeof text));
        if (!json_is_integer(item))
            return slc_error_set(error, SLC_EINVAL,
                                 "Validation failed\n\n%s should be a number, actually was %s\n",
                                 key, slc_json_erlang_text(item, text, sizeof text));
    }
    return SLC_OK;
}

static slc_err policy_check(slc_slice name, const json_t *value, slc_error *error)
{
    (void)name;
    return slc_policy_check(value, false, error);
}

static slc_err operator_policy_check(slc_slice name, const json_t *value, slc_error *error)
{
    (void)name;
    return slc_policy_check(value, true, error);
}

static void policy_changed(slc_vhost *vhost, slc_slice name, const json_t *value)
{
    slc_policy_changed(vhost, false, name, value);
}

static void operator_policy_changed(slc_vhost *vhost, slc_slice name, const json_t *value)
{
    slc_policy_changed(vhost, true, name, value);
}

static const struct component {
    const char *name;
    slc_err (*check)(slc_slice name, const json_t *value, slc_error *error);
    void (*changed)(slc_vhost *vhost, slc_slice name, const json_t *value); // NULL: nobody to tell
} components[] = {
    {"policy", policy_check, policy_changed},
    {"operator_policy", operator_policy_check, operator_policy_changed},
    {"vhost-limits", limits_check, NULL},
};

static const struct component *component_find(slc_slice name)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(components); i++) {
        if (slc_slice_is(name, components[i].name))
            return &components[i];
    }
    return NULL;
}

bool slc_parameter_component_known(slc_slice component)
{
    return component_find(component) != NULL;
}

slc_err slc_parameter_check(bool global, slc_slice component, slc_slice name, const json_t *value,
                            slc_error *error)
{
    if (name.bytes == 0 || name.bytes > SLC_PARAMETER_NAME_BYTES_MAX)
        return slc_error_set(
            error, SLC_EINVAL,
            "Validation failed\n\nthe name of a parameter has 1 to %d octets, this "
            "one has %zu\n",
            SLC_PARAMETER_NAME_BYTES_MAX, name.bytes);
    if (!slc_utf8_check(name))
        return slc_error_set(error, SLC_EINVAL,
                             "Validation failed\n\nthe name of a parameter must be UTF-8\n");
    if (global)
        return SLC_OK;
    const struct component *known = component_find(component);
    if (known == NULL) // federation-upstream, shovel, ...: nothing here would act on them
        return slc_error_set(error, SLC_EINVAL, "Validation failed\n\ncomponent %.*s not found\n",
                             SLC_SLICE_FMT(component));
    return known->check(name, value, error);
}

/* ---- keys and values ---- */

static slc_slice parameter_key(const slc_vhost *vhost, slc_slice component, slc_slice name)
{
    size_t bytes = 1 + SLC_ID_BYTES + 1 + component.bytes + name.bytes;
    uint8_t *key = slc_alloc(bytes);
    key[0] = SLC_PARAMETER_KIND;
    if (vhost != NULL)
        memcpy(key + 1, vhost->id.octets, SLC_ID_BYTES);
    else
        memset(key + 1, 0, SLC_ID_BYTES);
    key[1 + SLC_ID_BYTES] = (uint8_t)component.bytes;
    if (component.bytes > 0)
        memcpy(key + 2 + SLC_ID_BYTES, component.data, component.bytes);
    memcpy(key + 2 + SLC_ID_BYTES + component.bytes, name.data, name.bytes);
    return slc_slice_of(key, bytes);
}

void slc_changes_put_parameter(slc_changes *changes, const slc_id *vhost, slc_slice component,
                               slc_slice name, const json_t *value)
{
    slc_vhost of = {0}; // one that may not exist yet
    if (vhost != NULL)
        of.id = *vhost;
    slc_slice key = parameter_key(vhost != NULL ? &of : NULL, component, name);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    SLC_ASSERT(text != NULL);
    size_t bytes = strlen(text);
    uint8_t *stored = slc_alloc(bytes + 1);
    stored[0] = VALUE_VERSION;
    memcpy(stored + 1, text, bytes);
    free(text); // NOLINT: jansson's own allocation
    slc_changes_add_raw(changes, key, slc_slice_of(stored, bytes + 1));
}

void slc_changes_delete_parameters(slc_changes *changes, const slc_vhost *vhost)
{
    slc_parameter_entry *entry, *next;
    HASH_ITER(hh, vhost->broker->parameters, entry, next)
    {
        if (entry->parameter.vhost == vhost)
            slc_changes_add_raw(changes, slc_slice_copy(entry->key), (slc_slice){0});
    }
}

static slc_parameter_entry *entry_find(slc_broker *broker, slc_slice key)
{
    slc_parameter_entry *entry;
    HASH_FIND(hh, broker->parameters, key.data, key.bytes, entry);
    return entry;
}

static void entry_free(slc_broker *broker, slc_parameter_entry *entry)
{
    HASH_DELETE(hh, broker->parameters, entry);
    json_decref(entry->parameter.value);
    slc_free((void *)entry->key.data);
    slc_free(entry);
}

static int entry_order(const slc_parameter_entry *a, const slc_parameter_entry *b)
{
    return slc_slice_compare(a->key, b->key);
}

const slc_parameter *slc_parameter_find(slc_broker *broker, const slc_vhost *vhost,
                                        slc_slice component, slc_slice name)
{
    if (component.bytes > COMPONENT_BYTES_MAX || name.bytes > SLC_PARAMETER_NAME_BYTES_MAX)
        return NULL;
    slc_slice key = parameter_key(vhost, component, name);
    slc_parameter_entry *entry = entry_find(broker, key);
    slc_free((void *)key.data);
    return entry != NULL ? &entry->parameter : NULL;
}

const char *slc_cluster_name(slc_broker *broker, const char *otherwise)
{
    const slc_parameter *p =
        slc_parameter_find(broker, NULL, (slc_slice){0}, slc_slice_str("cluster_name"));
    const char *name = p != NULL ? json_string_value(p->value) : NULL;
    return name != NULL ? name : otherwise;
}

void slc_broker_each_parameter(slc_broker *broker,
                               void (*each)(const slc_parameter *parameter, void *arg), void *arg)
{
    if (!broker->parameters_sorted) {
        HASH_SORT(broker->parameters, entry_order);
        broker->parameters_sorted = true;
    }
    slc_parameter_entry *entry, *next;
    HASH_ITER(hh, broker->parameters, entry, next) each(&entry->parameter, arg);
}

int64_t slc_vhost_limit(slc_vhost *vhost, const char *limit)
{
    const slc_parameter *p = slc_parameter_find(vhost->broker, vhost, slc_slice_str("vhost-limits"),
                                                slc_slice_str("limits"));
    const json_t *value = p != NULL ? json_object_get(p->value, limit) : NULL;
    int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    return number < 0 ? -1 : number;
}

/* ---- applying ---- */

static void entry_put(slc_broker *broker, slc_vhost *vhost, slc_slice key, size_t component_bytes,
                      json_t *value)
{
    slc_parameter_entry *entry = entry_find(broker, key);
    if (entry != NULL) {
        json_decref(entry->parameter.value);
        entry->parameter.value = value;
        return;
    }
    entry = slc_alloc_zero(1, sizeof *entry);
    entry->key = slc_slice_copy(key);
    size_t at = 2 + SLC_ID_BYTES;
    entry->parameter = (slc_parameter){
        .vhost = vhost,
        .component = slc_slice_of(entry->key.data + at, component_bytes),
        .name =
            slc_slice_of(entry->key.data + at + component_bytes, key.bytes - at - component_bytes),
        .value = value,
    };
    HASH_ADD_KEYPTR(hh, broker->parameters, entry->key.data, entry->key.bytes, entry);
    broker->parameters_sorted = false;
}

slc_err slc_parameter_apply(slc_broker *broker, const slc_env_change *change, slc_error *error)
{
    slc_slice key = change->key, stored = change->value;
    size_t at = 2 + SLC_ID_BYTES;
    size_t component_bytes = key.bytes > at ? key.data[at - 1] : 0;
    if (key.bytes <= at + component_bytes)
        return slc_error_set(error, SLC_ECORRUPT, "the key of a parameter makes no sense");
    static const slc_id nobody;
    slc_id id;
    memcpy(id.octets, key.data + 1, SLC_ID_BYTES);
    slc_vhost *vhost = slc_object_find(broker, SLC_OBJECT_VHOST, &id);
    if (vhost == NULL && memcmp(&id, &nobody, sizeof id) != 0)
        return SLC_OK; // of a vhost that is gone
    slc_slice component = slc_slice_of(key.data + at, component_bytes);
    slc_slice name =
        slc_slice_of(key.data + at + component_bytes, key.bytes - at - component_bytes);
    const struct component *known = vhost != NULL ? component_find(component) : NULL;
    if (stored.data == NULL) {
        slc_parameter_entry *entry = entry_find(broker, key);
        if (entry == NULL)
            return SLC_OK;
        entry_free(broker, entry);
        if (known != NULL && known->changed != NULL)
            known->changed(vhost, name, NULL);
        slc_event_parameter(broker, vhost, component, name, NULL);
        return SLC_OK;
    }
    if (stored.bytes < 2 || stored.data[0] != VALUE_VERSION)
        return slc_error_set(error, SLC_EVERSION,
                             "parameter '%.*s' has a version that this version does not read; "
                             "start the version that wrote it",
                             SLC_SLICE_FMT(name));
    json_t *value = json_loadb((const char *)stored.data + 1, stored.bytes - 1,
                               JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (value == NULL)
        return slc_error_set(error, SLC_ECORRUPT, "parameter '%.*s' does not decode",
                             SLC_SLICE_FMT(name));
    entry_put(broker, vhost, key, component_bytes, value);
    if (known != NULL && known->changed != NULL)
        known->changed(vhost, name, value);
    slc_event_parameter(broker, vhost, component, name, value);
    return SLC_OK;
}

void slc_parameters_forget(slc_broker *broker, const slc_vhost *vhost)
{
    slc_parameter_entry *entry, *next;
    HASH_ITER(hh, broker->parameters, entry, next)
    {
        if (entry->parameter.vhost == vhost)
            entry_free(broker, entry);
    }
}

/* ---- setting ---- */

typedef struct parameter_job {
    slc_parameter_done done;
    void *arg;
    bool created;
} parameter_job;

static void job_swept(void *arg)
{
    parameter_job *job = arg;
    slc_error none = {0};
    job->done(SLC_OK, job->created, &none, job->arg);
    slc_free(job);
}

typedef struct parameter_op {
    parameter_job *job;
    slc_slice vhost; // name, owned; empty: nothing to wait for
} parameter_op;

static void parameter_proposed(slc_op *op, slc_err rc)
{
    parameter_op *state = op->done_arg;
    parameter_job *job = state->job;
    slc_vhost *vhost = state->vhost.bytes > 0 ? slc_broker_vhost(op->broker, state->vhost) : NULL;
    slc_free((void *)state->vhost.data);
    slc_free(state);
    if (rc != SLC_OK) {
        slc_error error = {0};
        slc_error_set(&error, rc, "the parameter could not be stored: %s", slc_err_text(rc));
        job->done(rc, false, &error, job->arg);
        slc_free(job);
    } else if (vhost != NULL) {
        slc_policy_wait(vhost, job_swept, job);
    } else {
        job_swept(job);
    }
}

static void parameter_propose(slc_broker *broker, slc_changes *changes, const slc_vhost *vhost,
                              slc_slice component, bool created, slc_parameter_done done, void *arg)
{
    parameter_op *state = slc_alloc_zero(1, sizeof *state);
    state->job = slc_alloc(sizeof *state->job);
    *state->job = (parameter_job){done, arg, created};
    bool policy = slc_slice_is(component, "policy") || slc_slice_is(component, "operator_policy");
    if (vhost != NULL && policy)
        state->vhost = slc_slice_copy(vhost->name);
    slc_op *op = slc_propose(broker, changes, NULL, 0, 0);
    op->done = parameter_proposed;
    op->done_arg = state;
}

void slc_parameter_set(slc_broker *broker, slc_vhost *vhost, slc_slice component, slc_slice name,
                       const json_t *value, slc_parameter_done done, void *arg)
{
    slc_error error = {0};
    slc_err rc = slc_parameter_check(vhost == NULL, component, name, value, &error);
    if (rc != SLC_OK) {
        done(rc, false, &error, arg);
        return;
    }
    bool created = slc_parameter_find(broker, vhost, component, name) == NULL;
    slc_changes changes = {0};
    slc_changes_put_parameter(&changes, vhost != NULL ? &vhost->id : NULL, component, name, value);
    parameter_propose(broker, &changes, vhost, component, created, done, arg);
}

void slc_parameter_clear(slc_broker *broker, slc_vhost *vhost, slc_slice component, slc_slice name,
                         slc_parameter_done done, void *arg)
{
    if (slc_parameter_find(broker, vhost, component, name) == NULL) {
        slc_error error = {0};
        slc_error_set(&error, SLC_ENOTFOUND, "Parameter does not exist");
        done(SLC_ENOTFOUND, false, &error, arg);
        return;
    }
    slc_changes changes = {0};
    slc_changes_add_raw(&changes, parameter_key(vhost, component, name), (slc_slice){0});
    parameter_propose(broker, &changes, vhost, component, false, done, arg);
}
