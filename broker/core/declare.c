// Declaring, binding and deleting, in the order of checks of amqp-semantics 7.2, 7.3, 8.2, 9.1, 9.2, 9.6.
//
// A durable change goes through the control plane: the first call proposes and waits, the call after the resume finds the
// change applied (a declare then looks again, so that it answers for what is there now).
#include "core/internal.h"
#include "core/permission.h"

static bool is_reserved(slc_slice name)
{
    return name.bytes >= 4 && memcmp(name.data, "amq.", 4) == 0;
}

/** RabbitMQ drops CR and LF from names. The copy, in buffer (SLC_NAME_MAX octets). */
static slc_slice clean_name(slc_slice name, uint8_t *buffer)
{
    if (name.bytes == 0 || (memchr(name.data, '\r', name.bytes) == NULL &&
                            memchr(name.data, '\n', name.bytes) == NULL))
        return name;
    size_t bytes = 0;
    for (size_t i = 0; i < name.bytes && i < SLC_NAME_MAX; i++) {
        if (name.data[i] != '\r' && name.data[i] != '\n')
            buffer[bytes++] = name.data[i];
    }
    return slc_slice_of(buffer, bytes);
}

static slc_err wait_for_op(slc_session *s)
{
    return slc_session_wait(s, SLC_WAIT_OP);
}

/** The outcome of a proposal that this call waited for. */
static slc_err proposed_error(slc_err rc, const char *what, slc_slice name, slc_error *error)
{
    if (rc == SLC_OK)
        return SLC_OK;
    return slc_error_set(error, SLC_EPRECONDITION, "cannot store the definition of %s '%.*s': %s",
                         what, SLC_SLICE_FMT(name), slc_err_text(rc));
}

static slc_err inequivalent_bool(const char *key, const char *resource, bool received, bool current,
                                 slc_error *error)
{
    return slc_error_set(error, SLC_EPRECONDITION,
                         "inequivalent arg '%s' for %s: received '%s' but current is '%s'", key,
                         resource, received ? "true" : "false", current ? "true" : "false");
}

/* ---- exchanges ---- */

static slc_err exchange_compare(const slc_exchange *x, const slc_exchange_declare *d,
                                const slc_exchange_kind *kind, slc_error *error)
{
    char name[640];
    slc_resource_text(x->vhost, SLC_DEST_EXCHANGE, x->dest.name, name, sizeof name);
    if (x->kind != kind)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "inequivalent arg 'type' for %s: received '%s' but current is '%s'",
                             name, kind->name, x->kind->name);
    if (x->dest.durable != d->durable)
        return inequivalent_bool("durable", name, d->durable, x->dest.durable, error);
    if (x->auto_delete != d->auto_delete)
        return inequivalent_bool("auto_delete", name, d->auto_delete, x->auto_delete, error);
    if (x->internal != d->internal)
        return inequivalent_bool("internal", name, d->internal, x->internal, error);
    slc_err rc =
        slc_compare_argument("alternate-exchange", x->arguments, d->arguments, name, error);
    for (const char *const *key = kind->compared; rc == SLC_OK && key != NULL && *key != NULL;
         key++)
        rc = slc_compare_argument(*key, x->arguments, d->arguments, name, error);
    return rc;
}

slc_err slc_session_exchange_declare(slc_session *session, const slc_exchange_declare *declare,
                                     slc_error *error)
{
    slc_vhost *vhost = session->client->vhost;
    uint8_t clean[SLC_NAME_MAX];
    slc_slice name = clean_name(declare->name, clean);
    char resource[640];
    slc_resource_text(vhost, SLC_DEST_EXCHANGE, name, resource, sizeof resource);
    slc_err rc;
    if (slc_session_finished(session, &rc, NULL) && rc != SLC_OK)
        return proposed_error(rc, "exchange", name, error);
    const slc_exchange_kind *kind = slc_exchange_kind_find(declare->type);
    if (!declare->passive && kind == NULL)
        return slc_error_set(
            error, session->broker->unknown_type_ends_connection ? SLC_ECOMMAND : SLC_EPRECONDITION,
            "unknown exchange type '%.*s'", SLC_SLICE_FMT(declare->type));
    if (name.bytes == 0)
        return slc_error_set(error, SLC_EACCESS, "operation not permitted on the default exchange");
    rc = declare->passive
             ? slc_session_may_any(session, SLC_DEST_EXCHANGE, name, error)
             : slc_session_may(session, SLC_ACCESS_CONFIGURE, SLC_DEST_EXCHANGE, name, error);
    if (rc != SLC_OK)
        return rc;
    slc_exchange *x = slc_vhost_exchange(vhost, name);
    if (declare->passive)
        return x != NULL ? SLC_OK : slc_error_set(error, SLC_ENOTFOUND, "no %s", resource);
    if (x != NULL)
        return exchange_compare(x, declare, kind, error);
    if (is_reserved(name))
        return slc_error_set(error, SLC_EACCESS,
                             "exchange name '%.*s' contains reserved prefix 'amq.*'",
                             SLC_SLICE_FMT(name));
    slc_value alternate;
    bool has_alternate =
        slc_table_find(declare->arguments, slc_slice_str("alternate-exchange"), &alternate);
    if (has_alternate && alternate.type != SLC_TYPE_LONGSTR)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "invalid type '%s' for arg 'alternate-exchange' in %s",
                             slc_value_type_name(alternate.type), resource);
    if (has_alternate) {
        rc = slc_session_may(session, SLC_ACCESS_READ, SLC_DEST_EXCHANGE, name, error);
        if (rc == SLC_OK)
            rc = slc_session_may(session, SLC_ACCESS_WRITE, SLC_DEST_EXCHANGE, alternate.bytes,
                                 error);
    }
    if (rc != SLC_OK)
        return rc;
    // Also a transient one waits: a durable one of this name that is on its way would never be seen again but at a restart.
    uint64_t touch = slc_touch(vhost, SLC_DEST_EXCHANGE, name);
    if (slc_op_conflict(session->broker, touch, 0))
        return slc_session_wait(session, SLC_WAIT_CONFLICT);
    rc = slc_check_exchange_limit(vhost, name, error);
    if (rc != SLC_OK)
        return rc;
    if (kind->check_arguments != NULL) {
        rc = kind->check_arguments(declare->arguments, error);
        if (rc != SLC_OK)
            return rc;
    }
    if (!declare->durable) {
        slc_vhost_add_exchange(vhost,
                               slc_exchange_new(vhost, name, kind, false, declare->auto_delete,
                                                declare->internal, declare->arguments));
        return SLC_OK;
    }
    slc_changes changes = {0};
    slc_id id = slc_id_new(session->broker);
    slc_changes_put_exchange(&changes, &id, &vhost->id, name, slc_slice_str(kind->name),
                             declare->auto_delete, declare->internal, declare->arguments);
    slc_propose(session->broker, &changes, session, touch, 0);
    return wait_for_op(session);
}

slc_err slc_session_exchange_delete(slc_session *session, slc_slice raw_name, bool if_unused,
                                    slc_error *error)
{
    slc_vhost *vhost = session->client->vhost;
    uint8_t clean[SLC_NAME_MAX];
    slc_slice name = clean_name(raw_name, clean);
    char resource[640];
    slc_resource_text(vhost, SLC_DEST_EXCHANGE, name, resource, sizeof resource);
    slc_err rc;
    if (slc_session_finished(session, &rc, NULL))
        return proposed_error(rc, "exchange", name, error);
    if (name.bytes == 0)
        return slc_error_set(error, SLC_EACCESS, "operation not permitted on the default exchange");
    if (is_reserved(name))
        return slc_error_set(error, SLC_EACCESS, "deletion of system %s not allowed", resource);
    rc = slc_session_may(session, SLC_ACCESS_CONFIGURE, SLC_DEST_EXCHANGE, name, error);
    if (rc != SLC_OK)
        return rc;
    slc_exchange *x = slc_vhost_exchange(vhost, name);
    if (x == NULL)
        return SLC_OK;
    if (if_unused && x->bindings != NULL)
        return slc_error_set(error, SLC_EPRECONDITION, "%s in use", resource);
    slc_changes changes = {0};
    uint64_t touch = slc_touch(vhost, SLC_DEST_EXCHANGE, name);
    if (x->dest.durable && slc_op_conflict(session->broker, touch, 0))
        return slc_session_wait(session, SLC_WAIT_CONFLICT);
    slc_changes_delete_destination(&changes, session->broker, &x->dest);
    if (changes.count == 0) { // transient, and nothing durable goes with it
        slc_vhost_delete_exchange(x);
        return SLC_OK;
    }
    if (!x->dest.durable)
        slc_vhost_delete_exchange(x);
    slc_propose(session->broker, &changes, session, touch, 0);
    return wait_for_op(session);
}

/* ---- bindings ---- */

/** Both ends; SLC_ENOTFOUND names the source when both are missing. */
static slc_err binding_ends(slc_session *s, slc_slice source_name, slc_dest_kind kind,
                            slc_slice dest_name, slc_slice key, slc_exchange **source,
                            slc_destination **dest, slc_error *error)
{
    slc_vhost *vhost = s->client->vhost;
    slc_err rc = slc_session_may(s, SLC_ACCESS_WRITE, kind, dest_name, error);
    if (rc != SLC_OK)
        return rc;
    if (source_name.bytes == 0 || (kind == SLC_DEST_EXCHANGE && dest_name.bytes == 0))
        return slc_error_set(error, SLC_EACCESS, "operation not permitted on the default exchange");
    rc = slc_session_may(s, SLC_ACCESS_READ, SLC_DEST_EXCHANGE, source_name, error);
    if (rc != SLC_OK)
        return rc;
    char text[640];
    *source = slc_vhost_exchange(vhost, source_name);
    if (*source != NULL)
        rc = slc_session_may_topic(s, SLC_ACCESS_READ, *source, key, error);
    if (rc != SLC_OK)
        return rc;
    if (*source == NULL)
        return slc_error_set(
            error, SLC_ENOTFOUND, "no %s",
            slc_resource_text(vhost, SLC_DEST_EXCHANGE, source_name, text, sizeof text));
    if (kind == SLC_DEST_EXCHANGE) {
        slc_exchange *x = slc_vhost_exchange(vhost, dest_name);
        *dest = x != NULL ? &x->dest : NULL;
    } else {
        slc_queue *q = slc_vhost_queue(vhost, dest_name);
        *dest = q != NULL ? &q->dest : NULL;
    }
    if (*dest == NULL)
        return slc_error_set(error, SLC_ENOTFOUND, "no %s",
                             slc_resource_text(vhost, kind, dest_name, text, sizeof text));
    return SLC_OK;
}

static slc_err locked_check(const slc_session *s, const slc_destination *dest, slc_error *error)
{
    if (dest->kind != SLC_DEST_QUEUE)
        return SLC_OK;
    const slc_queue *queue = (const slc_queue *)dest;
    if (queue->owner == NULL || queue->owner == s->client)
        return SLC_OK;
    char text[640];
    return slc_error_set(
        error, SLC_ELOCKED,
        "cannot obtain exclusive access to locked %s. It could be originally declared on another "
        "connection or the exclusive property value does not match that of the original "
        "declaration.",
        slc_resource_text(queue->vhost, SLC_DEST_QUEUE, dest->name, text, sizeof text));
}

static slc_err session_bind(slc_session *s, slc_slice source_name, slc_dest_kind kind,
                            slc_slice dest_name, slc_slice key, slc_slice arguments,
                            slc_error *error)
{
    slc_broker *broker = s->broker;
    slc_err rc;
    if (slc_session_finished(s, &rc, NULL) && rc != SLC_OK)
        return proposed_error(rc, "binding of exchange", source_name, error);
    slc_exchange *source;
    slc_destination *dest;
    rc = binding_ends(s, source_name, kind, dest_name, key, &source, &dest, error);
    if (rc != SLC_OK)
        return rc;
    if (source->kind->check != NULL) {
        rc = source->kind->check(source, key, arguments, error);
        if (rc != SLC_OK)
            return rc;
    }
    rc = locked_check(s, dest, error);
    if (rc != SLC_OK)
        return rc;
    if (slc_binding_find(source, dest, key, arguments) != NULL)
        return SLC_OK;
    if (!source->dest.durable || !dest->durable)
        return slc_vhost_bind(source, dest, key, arguments, error);
    uint64_t touch_source = slc_touch(s->client->vhost, SLC_DEST_EXCHANGE, source_name);
    uint64_t touch_dest = slc_touch(s->client->vhost, kind, dest_name);
    if (slc_op_conflict(broker, touch_source, touch_dest))
        return slc_session_wait(s, SLC_WAIT_CONFLICT);
    slc_changes changes = {0};
    slc_id id = slc_id_new(broker);
    slc_changes_put_binding(&changes, &id, slc_destination_id(&source->dest), kind,
                            slc_destination_id(dest), key, arguments);
    slc_propose(broker, &changes, s, touch_source, touch_dest);
    return wait_for_op(s);
}

static slc_err session_unbind(slc_session *s, slc_slice source_name, slc_dest_kind kind,
                              slc_slice dest_name, slc_slice key, slc_slice arguments,
                              slc_error *error)
{
    slc_broker *broker = s->broker;
    slc_err rc;
    if (slc_session_finished(s, &rc, NULL))
        return proposed_error(rc, "binding of exchange", source_name, error);
    slc_exchange *source;
    slc_destination *dest;
    rc = binding_ends(s, source_name, kind, dest_name, key, &source, &dest, error);
    if (rc == SLC_ENOTFOUND)
        return SLC_OK; // nothing to remove
    if (rc != SLC_OK)
        return rc;
    slc_binding *binding = slc_binding_find(source, dest, key, arguments);
    if (binding == NULL)
        return SLC_OK;
    rc = locked_check(s, dest, error);
    if (rc != SLC_OK)
        return rc;
    uint64_t touch_source = slc_touch(s->client->vhost, SLC_DEST_EXCHANGE, source_name);
    uint64_t touch_dest = slc_touch(s->client->vhost, kind, dest_name);
    if (binding->stored && slc_op_conflict(broker, touch_source, touch_dest))
        return slc_session_wait(s, SLC_WAIT_CONFLICT);
    slc_changes changes = {0};
    slc_changes_delete_binding(&changes, broker, binding);
    if (!binding->stored)
        slc_vhost_unbind(binding);
    if (changes.count == 0)
        return SLC_OK;
    slc_propose(broker, &changes, s, touch_source, touch_dest);
    return wait_for_op(s);
}

slc_err slc_session_exchange_bind(slc_session *session, slc_slice destination, slc_slice source,
                                  slc_slice key, slc_slice arguments, slc_error *error)
{
    uint8_t clean_dest[SLC_NAME_MAX], clean_source[SLC_NAME_MAX];
    return session_bind(session, clean_name(source, clean_source), SLC_DEST_EXCHANGE,
                        clean_name(destination, clean_dest), key, arguments, error);
}

slc_err slc_session_exchange_unbind(slc_session *session, slc_slice destination, slc_slice source,
                                    slc_slice key, slc_slice arguments, slc_error *error)
{
    uint8_t clean_dest[SLC_NAME_MAX], clean_source[SLC_NAME_MAX];
    return session_unbind(session, clean_name(source, clean_source), SLC_DEST_EXCHANGE,
                          clean_name(destination, clean_dest), key, arguments, error);
}

/** queue.bind's shortcuts: no queue name means the last declared one; then no key means its name. */
static slc_err queue_shortcut(const slc_session *s, slc_slice *queue, slc_slice *key,
                              slc_error *error)
{
    if (queue->bytes > 0)
        return SLC_OK;
    if (s->last_queue.bytes == 0)
        return slc_error_set(error, SLC_ENOTFOUND, "no previously declared queue");
    *queue = s->last_queue;
    if (key != NULL && key->bytes == 0)
        *key = s->last_queue;
    return SLC_OK;
}

slc_err slc_session_queue_bind(slc_session *session, slc_slice queue, slc_slice exchange,
                               slc_slice key, slc_slice arguments, slc_error *error)
{
    uint8_t clean_queue[SLC_NAME_MAX], clean_source[SLC_NAME_MAX];
    slc_err rc = queue_shortcut(session, &queue, &key, error);
    if (rc != SLC_OK)
        return rc;
    return session_bind(session, clean_name(exchange, clean_source), SLC_DEST_QUEUE,
                        clean_name(queue, clean_queue), key, arguments, error);
}

slc_err slc_session_queue_unbind(slc_session *session, slc_slice queue, slc_slice exchange,
                                 slc_slice key, slc_slice arguments, slc_error *error)
{
    uint8_t clean_queue[SLC_NAME_MAX], clean_source[SLC_NAME_MAX];
    slc_err rc = queue_shortcut(session, &queue, &key, error);
    if (rc != SLC_OK)
        return rc;
    return session_unbind(session, clean_name(exchange, clean_source), SLC_DEST_QUEUE,
                          clean_name(queue, clean_queue), key, arguments, error);
}

/* ---- queues ---- */

static slc_err queue_found(slc_session *s, slc_queue *queue, slc_queue_declared *out)
{
    if (s->last_queue.data != queue->dest.name.data) {
        slc_free((void *)s->last_queue.data);
        s->last_queue = slc_slice_copy(queue->dest.name);
    }
    queue->active_ms = s->broker->env.wall_ms(s->broker->env.arg);
    if (!queue->settings.quorum) // it is not renewed by that, as in RabbitMQ
        slc_queue_used(queue);
    *out = (slc_queue_declared){
        .name = queue->dest.name,
        .ready = (uint32_t)queue->ready,
        .consumers = queue->consumer_count,
    };
    return SLC_OK;
}

/** What no setting makes equal: SLC_ELOCKED. */
static slc_err queue_compare_owner(const slc_session *s, const slc_queue *queue,
                                   const slc_queue_declare *d, slc_error *error)
{
    char name[640];
    slc_resource_text(queue->vhost, SLC_DEST_QUEUE, queue->dest.name, name, sizeof name);
    const slc_client *owner = d->exclusive ? s->client : NULL;
    if (queue->owner != owner)
        return slc_error_set(
            error, SLC_ELOCKED,
            "cannot obtain exclusive access to locked %s. It could be originally declared on "
            "another "
            "connection or the exclusive property value does not match that of the original "
            "declaration.",
            name);
    return SLC_OK;
}

static slc_err queue_compare_flags(const slc_queue *queue, const slc_queue_declare *d,
                                   slc_error *error)
{
    char name[640];
    slc_resource_text(queue->vhost, SLC_DEST_QUEUE, queue->dest.name, name, sizeof name);
    if (!d->exclusive && queue->dest.durable != d->durable)
        return inequivalent_bool("durable", name, d->durable, queue->dest.durable, error);
    if (queue->auto_delete != d->auto_delete)
        return inequivalent_bool("auto_delete", name, d->auto_delete, queue->auto_delete, error);
    return SLC_OK;
}

static slc_err queue_declare_passive(slc_session *s, slc_slice name, slc_queue_declared *out,
                                     slc_error *error)
{
    slc_vhost *vhost = s->client->vhost;
    slc_err may = slc_session_may_any(s, SLC_DEST_QUEUE, name, error);
    if (may != SLC_OK)
        return may;
    slc_queue *queue = slc_vhost_queue(vhost, name);
    char text[640];
    if (queue == NULL)
        return slc_error_set(error, SLC_ENOTFOUND, "no %s",
                             slc_resource_text(vhost, SLC_DEST_QUEUE, name, text, sizeof text));
    slc_err rc = locked_check(s, &queue->dest, error);
    return rc == SLC_OK ? queue_found(s, queue, out) : rc;
}

/** Asks whether somebody still waits for an answer there. */
static slc_err reply_declare(slc_session *session, slc_slice name, slc_queue_declared *out,
                             slc_error *error)
{
    char text[640];
    if (!slc_reply_to_alive(session, name))
        return slc_error_set(
            error, SLC_ENOTFOUND, "no %s",
            slc_resource_text(session->client->vhost, SLC_DEST_QUEUE, name, text, sizeof text));
    *out = (slc_queue_declared){.name = name, .ready = 0, .consumers = 1};
    return SLC_OK;
}

/** The dead letter exchange that arguments name, and their values. */
static slc_err queue_arguments_check(slc_session *s, slc_slice name, const slc_queue_declare *d,
                                     slc_error *error)
{
    slc_vhost *vhost = s->client->vhost;
    static const char dlx[] = "x-dead-letter-exchange";
    slc_value value;
    slc_err rc = SLC_OK;
    // A wrong type is refused with the other arguments.
    if (slc_table_find(d->arguments, slc_slice_str(dlx), &value) &&
        value.type == SLC_TYPE_LONGSTR) {
        rc = slc_session_may(s, SLC_ACCESS_READ, SLC_DEST_QUEUE, name, error);
        if (rc == SLC_OK)
            rc = slc_session_may(s, SLC_ACCESS_WRITE, SLC_DEST_EXCHANGE, value.bytes, error);
    }
    return rc == SLC_OK ? slc_check_queue_arguments(vhost, name, d->arguments, error) : rc;
}

/** It gets other arguments. */
static slc_err queue_update(slc_session *session, slc_queue *queue, const slc_queue_declare *d,
                            slc_error *error)
{
    slc_err rc = slc_compare_fixed_arguments(queue, d->arguments, error);
    if (rc == SLC_OK)
        rc = queue_arguments_check(session, queue->dest.name, d, error);
    if (rc != SLC_OK)
        return rc;
    if (!queue->dest.durable) {
        slc_queue_set_arguments(queue, d->arguments);
        return SLC_OK;
    }
    uint64_t touch = slc_touch(queue->vhost, SLC_DEST_QUEUE, queue->dest.name);
    if (slc_op_conflict(session->broker, touch, 0))
        return slc_session_wait(session, SLC_WAIT_CONFLICT);
    slc_changes changes = {0};
    slc_changes_put_queue(&changes, &queue->id, &queue->vhost->id, queue->dest.name,
                          queue->auto_delete, d->arguments);
    slc_propose(session->broker, &changes, session, touch, 0);
    return wait_for_op(session); // and then it is found with these
}

/** One that exists. @spec amqp-semantics 9.2 */
static slc_err queue_declare_again(slc_session *session, slc_queue *queue,
                                   const slc_queue_declare *d, slc_queue_declared *out,
                                   slc_error *error)
{
    slc_on_mismatch on_mismatch = session->broker->on_mismatch;
    slc_err rc = queue_compare_owner(session, queue, d, error);
    if (rc == SLC_OK && on_mismatch != SLC_MISMATCH_IGNORE) {
        rc = queue_compare_flags(queue, d, error);
        if (rc == SLC_OK)
            rc = slc_compare_queue_arguments(queue, d->arguments, error);
        else
            on_mismatch = SLC_MISMATCH_ERROR;
    }
    if (rc == SLC_EPRECONDITION && on_mismatch == SLC_MISMATCH_UPDATE)
        rc = queue_update(session, queue, d, error);
    return rc == SLC_OK ? queue_found(session, queue, out) : rc;
}

/** Of a queue that does not exist yet, nor is on its way; first whether there is room for it. */
static slc_err queue_new_check(slc_session *s, slc_slice name, const slc_queue_declare *d,
                               slc_error *error)
{
    slc_vhost *vhost = s->client->vhost;
    slc_err rc = slc_check_queue_limits(vhost, name, error);
    if (rc == SLC_OK)
        rc = queue_arguments_check(s, name, d, error);
    if (rc == SLC_OK)
        rc = slc_check_queue_type(vhost, name, d->arguments, d->durable, d->exclusive,
                                  d->auto_delete, error);
    return rc;
}

static slc_err queue_declare(slc_session *session, const slc_queue_declare *declare,
                             slc_queue_declared *out, slc_error *error)
{
    slc_broker *broker = session->broker;
    slc_vhost *vhost = session->client->vhost;
    uint8_t clean[SLC_NAME_MAX];
    slc_slice name = clean_name(declare->name, clean);
    slc_err rc = SLC_OK;
    bool finished = slc_session_finished(session, &rc, NULL);
    if (slc_slice_is(name, SLC_REPLY_TO) || slc_reply_to_is_name(name))
        return reply_declare(session, name, out, error);
    if (declare->passive)
        return queue_declare_passive(session, name, out, error);
    slc_slice generated = session->declaring; // of the call that waited
    session->declaring = (slc_slice){0};
    if (finished && rc != SLC_OK) {
        slc_free((void *)generated.data);
        return proposed_error(rc, "queue", name, error);
    }
    if (name.bytes == 0) {
        if (generated.bytes == 0)
            generated = slc_generated_name(broker, "amq.gen-");
        name = generated;
    } else if (is_reserved(name)) {
        return slc_error_set(error, SLC_EACCESS,
                             "queue name '%.*s' contains reserved prefix 'amq.*'",
                             SLC_SLICE_FMT(name));
    }
    rc = slc_session_may(session, SLC_ACCESS_CONFIGURE, SLC_DEST_QUEUE, name, error);
    if (rc != SLC_OK) {
        slc_free((void *)generated.data);
        return rc;
    }
    slc_queue *queue = slc_vhost_queue(vhost, name);
    if (queue != NULL) {
        rc = queue_declare_again(session, queue, declare, out, error);
        slc_free((void *)generated.data);
        return rc;
    }
    // Also a transient one waits: a durable one of this name that is on its way would never be seen again but at a restart.
    uint64_t touch = slc_touch(vhost, SLC_DEST_QUEUE, name);
    if (slc_op_conflict(broker, touch, 0)) {
        session->declaring = generated;
        return slc_session_wait(session, SLC_WAIT_CONFLICT);
    }
    rc = queue_new_check(session, name, declare, error);
    if (rc != SLC_OK) {
        slc_free((void *)generated.data);
        return rc;
    }
    slc_id id = slc_id_new(broker);
    if (declare->exclusive || !declare->durable) {
        queue = slc_queue_new(vhost, name, &id, false, declare->auto_delete,
                              declare->exclusive ? session->client : NULL, declare->arguments);
        slc_free((void *)generated.data);
        return queue_found(session, queue, out);
    }
    session->declaring = generated;
    slc_changes changes = {0};
    slc_changes_put_queue(&changes, &id, &vhost->id, name, declare->auto_delete,
                          declare->arguments);
    slc_propose(broker, &changes, session, touch, 0);
    return wait_for_op(session);
}

slc_err slc_session_queue_declare(slc_session *session, const slc_queue_declare *declare,
                                  slc_queue_declared *out, slc_error *error)
{
    slc_table_builder builder = {0};
    slc_queue_declare complete = *declare;
    if (!declare->passive)
        complete.arguments = slc_vhost_arguments(session->client->vhost, declare, &builder);
    slc_err rc = queue_declare(session, &complete, out, error);
    session->broker->totals.queues_declared += rc == SLC_OK && !declare->passive;
    slc_table_builder_fini(&builder);
    return rc;
}

slc_err slc_session_queue_delete(slc_session *session, slc_slice raw_name, bool if_unused,
                                 bool if_empty, uint32_t *ready_out, slc_error *error)
{
    slc_broker *broker = session->broker;
    slc_vhost *vhost = session->client->vhost;
    uint8_t clean[SLC_NAME_MAX];
    slc_slice name = clean_name(raw_name, clean);
    slc_err rc = queue_shortcut(session, &name, NULL, error);
    uint64_t result = 0;
    slc_err proposed;
    if (slc_session_finished(session, &proposed, &result)) {
        *ready_out = (uint32_t)result;
        return proposed_error(proposed, "queue", name, error);
    }
    if (rc != SLC_OK)
        return rc;
    *ready_out = 0;
    rc = slc_session_may(session, SLC_ACCESS_CONFIGURE, SLC_DEST_QUEUE, name, error);
    if (rc != SLC_OK)
        return rc;
    slc_queue *queue = slc_vhost_queue(vhost, name);
    if (queue == NULL)
        return SLC_OK;
    rc = locked_check(session, &queue->dest, error);
    if (rc != SLC_OK)
        return rc;
    char text[640];
    slc_resource_text(vhost, SLC_DEST_QUEUE, name, text, sizeof text);
    if (if_empty && queue->ready > 0)
        return slc_error_set(error, SLC_EPRECONDITION, "%s not empty", text);
    if (if_unused && queue->consumers != NULL)
        return slc_error_set(error, SLC_EPRECONDITION, "%s in use", text);
    uint64_t touch = slc_touch(vhost, SLC_DEST_QUEUE, name);
    if (queue->dest.durable && slc_op_conflict(broker, touch, 0))
        return slc_session_wait(session, SLC_WAIT_CONFLICT);
    *ready_out = (uint32_t)queue->ready;
    slc_changes changes = {0};
    slc_changes_delete_destination(&changes, broker, &queue->dest);
    if (!queue->dest.durable)
        slc_queue_delete(queue);
    if (changes.count == 0)
        return SLC_OK;
    slc_op *op = slc_propose(broker, &changes, session, touch, 0);
    op->result = *ready_out;
    return wait_for_op(session);
}

slc_err slc_session_queue_purge(slc_session *session, slc_slice raw_name, uint32_t *purged_out,
                                slc_error *error)
{
    uint8_t clean[SLC_NAME_MAX];
    slc_slice name = clean_name(raw_name, clean);
    slc_err rc = queue_shortcut(session, &name, NULL, error);
    if (rc != SLC_OK)
        return rc;
    rc = slc_session_may(session, SLC_ACCESS_READ, SLC_DEST_QUEUE, name, error);
    if (rc != SLC_OK)
        return rc;
    char text[640];
    slc_queue *queue = slc_vhost_queue(session->client->vhost, name);
    if (queue == NULL)
        return slc_error_set(
            error, SLC_ENOTFOUND, "no %s",
            slc_resource_text(session->client->vhost, SLC_DEST_QUEUE, name, text, sizeof text));
    rc = locked_check(session, &queue->dest, error);
    if (rc != SLC_OK)
        return rc;
    *purged_out = (uint32_t)slc_queue_purge(queue);
    return SLC_OK;
}
