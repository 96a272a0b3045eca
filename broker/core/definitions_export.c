// The JSON text is written as it goes: a tree of 100,000 queues would cost many times their text.
#include <stdio.h>

#include "core/definitions_file.h"
#include "core/internal.h"
#include "core/json_table.h"

typedef struct export
{
    slc_buffer *out;
    const slc_vhost *only; // NULL: all
    slc_vhost *at;
    bool some; // an object of the section was written
}
export;

static void put_key(export *e, const char *key, bool first)
{
    slc_buffer_format(e->out, "%s\"%s\":", first ? "" : ",", key);
}

static void put_text(export *e, const char *key, slc_slice value, bool first)
{
    put_key(e, key, first);
    slc_json_string(value, e->out);
}

static void put_bool(export *e, const char *key, bool value)
{
    put_key(e, key, false);
    slc_buffer_text(e->out, value ? "true" : "false");
}

/** Binary and text that is not UTF-8 cannot be told from other text in JSON; RabbitMQ writes them so too. */
static void put_table(export *e, const char *key, slc_slice content)
{
    put_key(e, key, false);
    slc_table_json(content, e->out);
}

static void object_begin(export *e)
{
    slc_buffer_text(e->out, e->some ? ",{" : "{");
    e->some = true;
}

static void put_vhost(export *e, const slc_vhost *vhost)
{
    if (e->only == NULL)
        put_text(e, "vhost", vhost->name, false);
}

static void put_json(export *e, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    SLC_ASSERT(text != NULL);
    slc_buffer_text(e->out, text);
    free(text); // NOLINT: jansson's own allocation
}

static void section_begin(export *e, const char *name)
{
    put_key(e, name, false);
    slc_buffer_text(e->out, "[");
    e->some = false;
}

static void section_end(export *e)
{
    slc_buffer_text(e->out, "]");
}

static void users_section(export *e, slc_broker *broker, const char *name,
                          slc_definitions_section section)
{
    section_begin(e, name);
    const slc_definitions_users *users = broker->definitions_users;
    if (users != NULL)
        users->export_section(section, e->out, users->arg);
    section_end(e);
}

/* ---- parameters and policies ---- */

static void parameter_each(const slc_parameter *p, void *arg)
{
    export *e = arg;
    if (p->vhost == NULL || slc_slice_is(p->component, "policy") ||
        (e->only != NULL && p->vhost != e->only))
        return;
    object_begin(e);
    put_key(e, "value", true);
    put_json(e, p->value);
    put_vhost(e, p->vhost);
    put_text(e, "component", p->component, false);
    put_text(e, "name", p->name, false);
    slc_buffer_text(e->out, "}");
}

static void global_each(const slc_parameter *p, void *arg)
{
    export *e = arg;
    if (p->vhost != NULL)
        return;
    object_begin(e);
    put_text(e, "name", p->name, true);
    put_key(e, "value", false);
    put_json(e, p->value);
    slc_buffer_text(e->out, "}");
}

static void policy_each(const slc_parameter *p, void *arg)
{
    export *e = arg;
    if (p->vhost == NULL || !slc_slice_is(p->component, "policy") ||
        (e->only != NULL && p->vhost != e->only))
        return;
    object_begin(e);
    put_text(e, "name", p->name, true);
    put_vhost(e, p->vhost);
    const json_t *apply_to = json_object_get(p->value, "apply-to");
    const json_t *priority = json_object_get(p->value, "priority");
    put_key(e, "pattern", false);
    put_json(e, json_object_get(p->value, "pattern"));
    put_text(e, "apply-to",
             apply_to != NULL ? slc_json_string_slice(apply_to) : slc_slice_str("all"), false);
    put_key(e, "definition", false);
    put_json(e, json_object_get(p->value, "definition"));
    put_key(e, "priority", false);
    if (priority != NULL)
        put_json(e, priority);
    else
        slc_buffer_text(e->out, "0");
    slc_buffer_text(e->out, "}");
}

/* ---- topology ---- */

static void queue_put(export *e, const slc_queue *q)
{
    if (q->owner != NULL)
        return; // it goes with its connection
    object_begin(e);
    put_text(e, "name", q->dest.name, true);
    put_vhost(e, q->vhost);
    put_bool(e, "durable", q->dest.durable);
    put_bool(e, "auto_delete", q->auto_delete);
    put_table(e, "arguments", q->arguments);
    slc_buffer_text(e->out, "}");
}

static bool is_predeclared(slc_slice name)
{
    return name.bytes == 0 || (name.bytes >= 4 && memcmp(name.data, "amq.", 4) == 0);
}

static void exchange_put(export *e, const slc_exchange *x)
{
    if (is_predeclared(x->dest.name))
        return;
    object_begin(e);
    put_text(e, "name", x->dest.name, true);
    put_vhost(e, x->vhost);
    put_text(e, "type", slc_slice_str(x->kind->name), false);
    put_bool(e, "durable", x->dest.durable);
    put_bool(e, "auto_delete", x->auto_delete);
    put_bool(e, "internal", x->internal);
    put_table(e, "arguments", x->arguments);
    slc_buffer_text(e->out, "}");
}

static void binding_put(export *e, const slc_vhost *vhost, const slc_binding *b)
{
    bool queue = b->destination->kind == SLC_DEST_QUEUE;
    if (queue && ((const slc_queue *)b->destination)->owner != NULL)
        return;
    object_begin(e);
    put_text(e, "source", b->source->dest.name, true);
    put_vhost(e, vhost);
    put_text(e, "destination", b->destination->name, false);
    put_text(e, "destination_type", slc_slice_str(queue ? "queue" : "exchange"), false);
    put_text(e, "routing_key", b->key, false);
    put_table(e, "arguments", b->arguments);
    slc_buffer_text(e->out, "}");
}

/** each runs for every vhost that is exported. */
static void vhosts_walk(export *e, slc_broker *broker, void (*each)(export *e, slc_vhost *vhost))
{
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next)
    {
        if (e->only == NULL || e->only == vhost)
            each(e, vhost);
    }
}

/** RabbitMQ 3.10 reads what stands beside the name, later ones what is in `metadata`. */
static void metadata_put(export *e, const slc_vhost_metadata *m, bool first)
{
    put_text(e, "description", m->description, first);
    put_key(e, "tags", false);
    slc_tags_json(m->tags, e->out);
    if (m->default_queue_type.bytes > 0)
        put_text(e, "default_queue_type", m->default_queue_type, false);
}

static void vhost_put(export *e, slc_vhost *vhost)
{
    const slc_vhost_metadata *m = &vhost->metadata;
    object_begin(e);
    put_text(e, "name", vhost->name, true);
    if (m->description.bytes + m->tags.bytes + m->default_queue_type.bytes > 0) {
        metadata_put(e, m, false);
        put_key(e, "metadata", false);
        slc_buffer_text(e->out, "{");
        metadata_put(e, m, true);
        slc_buffer_text(e->out, "}");
    }
    slc_buffer_text(e->out, "}");
}

static void vhost_queues(export *e, slc_vhost *vhost)
{
    slc_queue *q, *next;
    HASH_ITER(hh, vhost->queues, q, next) queue_put(e, q);
}

static void vhost_exchanges(export *e, slc_vhost *vhost)
{
    slc_exchange *x, *next;
    HASH_ITER(hh, vhost->exchanges, x, next) exchange_put(e, x);
}

static void vhost_bindings(export *e, slc_vhost *vhost)
{
    slc_exchange *x, *next;
    HASH_ITER(hh, vhost->exchanges, x, next)
    {
        slc_binding *b, *next_binding;
        HASH_ITER(hh, x->bindings, b, next_binding) binding_put(e, vhost, b);
    }
}

void slc_definitions_export(slc_broker *broker, slc_vhost *vhost, const char *product,
                            const char *version, slc_buffer *out)
{
    export e = {.out = out, .only = vhost};
    slc_buffer_text(out, "{");
    // Readers compare this one; what we write is what 3.10 writes.
    put_text(&e, "rabbit_version", slc_slice_str("3.10.8"), true);
    if (vhost == NULL)
        put_text(&e, "rabbitmq_version", slc_slice_str("3.10.8"), false);
    put_text(&e, "product_name", slc_slice_str(product), false);
    put_text(&e, "product_version", slc_slice_str(version), false);
    if (vhost == NULL) {
        users_section(&e, broker, "users", SLC_DEFINITIONS_USERS);
        section_begin(&e, "vhosts");
        vhosts_walk(&e, broker, vhost_put);
        section_end(&e);
        users_section(&e, broker, "permissions", SLC_DEFINITIONS_PERMISSIONS);
        users_section(&e, broker, "topic_permissions", SLC_DEFINITIONS_TOPIC_PERMISSIONS);
    }
    section_begin(&e, "parameters");
    slc_broker_each_parameter(broker, parameter_each, &e);
    section_end(&e);
    if (vhost == NULL) {
        section_begin(&e, "global_parameters");
        slc_broker_each_parameter(broker, global_each, &e);
        section_end(&e);
    }
    section_begin(&e, "policies");
    slc_broker_each_parameter(broker, policy_each, &e);
    section_end(&e);
    section_begin(&e, "queues");
    vhosts_walk(&e, broker, vhost_queues);
    section_end(&e);
    section_begin(&e, "exchanges");
    vhosts_walk(&e, broker, vhost_exchanges);
    section_end(&e);
    section_begin(&e, "bindings");
    vhosts_walk(&e, broker, vhost_bindings);
    section_end(&e);
    slc_buffer_text(out, "}");
}
