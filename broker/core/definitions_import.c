// One import at a time. While one waits or is under way no session proposes anything (slc_op_conflict), so what was checked is what
// is there when the proposal is applied.
//
//   waiting ──no proposal under way, users held──> checked ──wrong──> done(report)
//                                                     └──right──> proposed ──durable, applied──> the rest in memory ──> done
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "core/definitions_import.h"
#include "core/json_table.h"

enum { REPORT_LINES = 20 };

/* ---- what is wrong ---- */

void slc_import_wrong(slc_import *job, const char *what, slc_slice name, const char *format, ...)
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

bool slc_import_name(slc_import *job, const json_t *item, const char *key, const char *what,
                     size_t min, slc_slice *out)
{
    const json_t *value = json_object_get(item, key);
    if (!json_is_string(value)) {
        slc_import_wrong(job, what, (slc_slice){0}, "'%s' must be there and be a string", key);
        return false;
    }
    *out = slc_json_string_slice(value);
    if (out->bytes < min || out->bytes > SLC_NAME_MAX) {
        slc_import_wrong(job, what, *out, "'%s' has %zu octets; it must have %zu to %d", key,
                         out->bytes, min, SLC_NAME_MAX);
        return false;
    }
    return true;
}

bool slc_import_bool(slc_import *job, const json_t *item, const char *key, const char *what,
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
        slc_import_wrong(job, what, name, "'%s' is %s; it must be true or false", key,
                         slc_json_erlang_text(value, shown, sizeof shown));
        return false;
    }
    return true;
}

bool slc_import_arguments(slc_import *job, const json_t *item, const char *what, slc_slice name,
                          slc_buffer *out)
{
    slc_error error = {0};
    if (slc_table_from_json(json_object_get(item, "arguments"), out, &error) == SLC_OK)
        return true;
    slc_import_wrong(job, what, name, "'arguments' cannot be used: %s", error.text);
    return false;
}

/* ---- users: another module's ---- */

static bool sink_has(slc_definitions_sink *sink, slc_slice key)
{
    slc_staged_key *staged;
    HASH_FIND(hh, ((slc_import *)sink)->keys, key.data, key.bytes, staged);
    return staged != NULL;
}

static void sink_put(slc_definitions_sink *sink, slc_slice key, slc_slice value)
{
    slc_import *job = (slc_import *)sink;
    if (!sink_has(sink, key)) {
        slc_staged_key *staged = slc_alloc_zero(1, sizeof *staged);
        staged->key = slc_slice_copy(key);
        HASH_ADD_KEYPTR(hh, job->keys, staged->key.data, staged->key.bytes, staged);
    }
    slc_changes_add_raw(&job->changes, slc_slice_copy(key),
                        value.data != NULL ? slc_slice_copy(value) : (slc_slice){0});
}

static const uint8_t *sink_vhost_id(slc_definitions_sink *sink, slc_slice name)
{
    slc_staged_vhost *staged = slc_import_vhost_find((slc_import *)sink, name);
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
        slc_import_wrong(job, "user", slc_slice_str(name != NULL ? name : ""), "%s", error.text);
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
    {"vhosts", slc_import_vhost, 0, true},
    {"users", NULL, SLC_DEFINITIONS_USERS, true},
    {"permissions", NULL, SLC_DEFINITIONS_PERMISSIONS, true},
    {"topic_permissions", NULL, SLC_DEFINITIONS_TOPIC_PERMISSIONS, true},
    {"parameters", slc_import_parameter, 0, false},
    {"global_parameters", slc_import_global, 0, true},
    {"policies", slc_import_policy, 0, false},
    {"queues", slc_import_queue, 0, false},
    {"exchanges", slc_import_exchange, 0, false},
    {"bindings", slc_import_binding, 0, false},
};

static void import_section(slc_import *job, size_t number)
{
    const json_t *list = json_object_get(job->root, sections[number].name);
    job->section = sections[number].name;
    job->index = 0;
    if (list == NULL || json_is_null(list) || (sections[number].whole_only && job->only.bytes > 0))
        return;
    if (!json_is_array(list)) {
        slc_import_wrong(job, "section", slc_slice_str(job->section), "it must be a list");
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
            slc_import_wrong(job, "entry", (slc_slice){0}, "it must be an object");
        else if (sections[number].import != NULL)
            sections[number].import(job, item);
        else
            import_user_item(job, sections[number].section, item);
    }
}

static void job_free(slc_import *job)
{
    slc_staged_vhost *vhost, *next_vhost;
    slc_staged_dest *dest, *next_dest;
    slc_staged_binding *binding, *next_binding;
    slc_staged_key *key, *next_key;
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
    slc_buffer report = job->report;
    slc_definitions_done done = job->done;
    void *arg = job->arg;
    job->report = (slc_buffer){0};
    // Let go of the file first: who gave it may let go of it in another thread, the http thread, once it has its answer.
    job_free(job);
    done(rc, (const char *)report.data, arg);
    slc_buffer_fini(&report);
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
    slc_broker_act_as(broker, job->actor);
    slc_op *op = slc_propose(broker, &job->changes, NULL, 0, 0);
    slc_broker_act_as(broker, NULL);
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
    snprintf(job->actor, sizeof job->actor, "%s", slc_broker_actor(broker));
    if (!json_is_object(root))
        slc_import_wrong(job, "file", (slc_slice){0}, "it must be an object");
    else if (vhost.bytes > 0 && slc_broker_vhost(broker, vhost) == NULL)
        slc_import_wrong(job, "vhost", vhost, "there is no such vhost");
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
