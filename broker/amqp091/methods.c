/* Methods of channels: decode, call core, answer. @spec amqp-semantics 5, 7-9, 12, 16, 21
 *
 * A call that returns SLC_EPENDING leaves its frame in the input: the same method is decoded and called again when core says
 * resume. So nothing may be answered or changed here before the call has its final result.
 */
#include <inttypes.h>

#include "amqp091/amqp_impl.h"

typedef struct method_call {
    amqp_conn *c;
    amqp_channel *ch;
    uint32_t id;
    const slc_amqp_method *in;
    slc_amqp_method out; // the answer; id 0: none
    slc_error *error;
    bool nowait;
} method_call;

typedef slc_err (*method_fn)(method_call *call);

/* ---- exchanges ---- */

static slc_err do_exchange_declare(method_call *m)
{
    const slc_amqp_exchange_declare *in = &m->in->exchange_declare;
    slc_exchange_declare declare = {
        .name = in->exchange,
        .type = in->type,
        .passive = in->passive,
        .durable = in->durable,
        .auto_delete = in->auto_delete,
        .internal = in->internal,
        .arguments = in->arguments,
    };
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_EXCHANGE_DECLARE_OK;
    return slc_session_exchange_declare(m->ch->session, &declare, m->error);
}

static slc_err do_exchange_delete(method_call *m)
{
    const slc_amqp_exchange_delete *in = &m->in->exchange_delete;
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_EXCHANGE_DELETE_OK;
    return slc_session_exchange_delete(m->ch->session, in->exchange, in->if_unused, m->error);
}

static slc_err do_exchange_bind(method_call *m)
{
    const slc_amqp_exchange_bind *in = &m->in->exchange_bind;
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_EXCHANGE_BIND_OK;
    return slc_session_exchange_bind(m->ch->session, in->destination, in->source, in->routing_key,
                                     in->arguments, m->error);
}

static slc_err do_exchange_unbind(method_call *m)
{
    const slc_amqp_exchange_unbind *in = &m->in->exchange_unbind;
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_EXCHANGE_UNBIND_OK;
    return slc_session_exchange_unbind(m->ch->session, in->destination, in->source, in->routing_key,
                                       in->arguments, m->error);
}

/* ---- queues ---- */

static slc_err do_queue_declare(method_call *m)
{
    const slc_amqp_queue_declare *in = &m->in->queue_declare;
    slc_queue_declare declare = {
        .name = in->queue,
        .passive = in->passive,
        .durable = in->durable,
        .exclusive = in->exclusive,
        .auto_delete = in->auto_delete,
        .arguments = in->arguments,
    };
    slc_queue_declared declared = {0};
    slc_err rc = slc_session_queue_declare(m->ch->session, &declare, &declared, m->error);
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_QUEUE_DECLARE_OK;
    m->out.queue_declare_ok = (slc_amqp_queue_declare_ok){
        .queue = declared.name,
        .message_count = declared.ready,
        .consumer_count = declared.consumers,
    };
    return rc;
}

static slc_err do_queue_bind(method_call *m)
{
    const slc_amqp_queue_bind *in = &m->in->queue_bind;
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_QUEUE_BIND_OK;
    return slc_session_queue_bind(m->ch->session, in->queue, in->exchange, in->routing_key,
                                  in->arguments, m->error);
}

static slc_err do_queue_unbind(method_call *m)
{
    const slc_amqp_queue_unbind *in = &m->in->queue_unbind;
    m->out.id = SLC_AMQP_QUEUE_UNBIND_OK;
    return slc_session_queue_unbind(m->ch->session, in->queue, in->exchange, in->routing_key,
                                    in->arguments, m->error);
}

static slc_err do_queue_purge(method_call *m)
{
    uint32_t purged = 0;
    slc_err rc =
        slc_session_queue_purge(m->ch->session, m->in->queue_purge.queue, &purged, m->error);
    m->nowait = m->in->queue_purge.nowait;
    m->out.id = SLC_AMQP_QUEUE_PURGE_OK;
    m->out.queue_purge_ok.message_count = purged;
    return rc;
}

static slc_err do_queue_delete(method_call *m)
{
    const slc_amqp_queue_delete *in = &m->in->queue_delete;
    uint32_t ready = 0;
    slc_err rc = slc_session_queue_delete(m->ch->session, in->queue, in->if_unused, in->if_empty,
                                          &ready, m->error);
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_QUEUE_DELETE_OK;
    m->out.queue_delete_ok.message_count = ready;
    return rc;
}

/* ---- consuming ---- */

static slc_err do_qos(method_call *m)
{
    const slc_amqp_basic_qos *in = &m->in->basic_qos;
    if (in->prefetch_size != 0)
        return slc_error_set(m->error, SLC_ENOTIMPL, "prefetch_size!=0 (%" PRIu32 ")",
                             in->prefetch_size);
    slc_session_qos(m->ch->session, in->prefetch_count, in->global);
    m->out.id = SLC_AMQP_BASIC_QOS_OK;
    return SLC_OK;
}

static slc_err do_consume(method_call *m)
{
    const slc_amqp_basic_consume *in = &m->in->basic_consume;
    const slc_consumer *consumer = NULL;
    slc_consume consume = {
        .queue = in->queue,
        .tag = in->consumer_tag,
        .no_ack = in->no_ack,
        .exclusive = in->exclusive,
        .arguments = in->arguments,
    };
    slc_err rc = slc_session_consume(m->ch->session, &consume, &consumer, m->error);
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_BASIC_CONSUME_OK;
    if (rc == SLC_OK)
        m->out.basic_consume_ok.consumer_tag = slc_consumer_tag(consumer);
    return rc;
}

static slc_err do_cancel(method_call *m)
{
    const slc_amqp_basic_cancel *in = &m->in->basic_cancel;
    m->nowait = in->nowait;
    m->out.id = SLC_AMQP_BASIC_CANCEL_OK;
    m->out.basic_cancel_ok.consumer_tag = in->consumer_tag;
    return slc_session_cancel(m->ch->session, in->consumer_tag, m->error);
}

static slc_err do_get(method_call *m)
{
    slc_got got = {0};
    // Bodies go out by reference, so many gets of a client that does not read would hold many messages.
    if (slc_conn_hold(m->c->io))
        return SLC_EPENDING;
    slc_err rc = slc_session_get(m->ch->session, m->in->basic_get.queue, m->in->basic_get.no_ack,
                                 &got, m->error);
    if (rc != SLC_OK)
        return rc;
    if (got.message == NULL) {
        m->out.id = SLC_AMQP_BASIC_GET_EMPTY;
        return SLC_OK;
    }
    slc_amqp_method ok = {
        .id = SLC_AMQP_BASIC_GET_OK,
        .basic_get_ok = {.delivery_tag = got.delivery_tag,
                         .redelivered = got.redelivered,
                         .exchange = slc_message_exchange(got.message),
                         .routing_key = slc_message_key(got.message),
                         .message_count = got.ready},
    };
    slc_amqp_send_content(m->c, m->ch->number, &ok, got.message);
    slc_message_unref(got.message);
    return SLC_OK;
}

static slc_err do_ack(method_call *m)
{
    const slc_amqp_basic_ack *in = &m->in->basic_ack;
    return slc_session_settle(m->ch->session, in->delivery_tag, in->multiple, SLC_SETTLE_ACK,
                              m->error);
}

static slc_err do_nack(method_call *m)
{
    const slc_amqp_basic_nack *in = &m->in->basic_nack;
    return slc_session_settle(m->ch->session, in->delivery_tag, in->multiple,
                              in->requeue ? SLC_SETTLE_NACK : SLC_SETTLE_REJECT, m->error);
}

static slc_err do_reject(method_call *m)
{
    const slc_amqp_basic_reject *in = &m->in->basic_reject;
    return slc_session_settle(m->ch->session, in->delivery_tag, false,
                              in->requeue ? SLC_SETTLE_REQUEUE : SLC_SETTLE_REJECT, m->error);
}

static slc_err recover(method_call *m, bool requeue)
{
    if (!requeue)
        return slc_error_set(m->error, SLC_ENOTIMPL, "requeue=false");
    slc_session_recover(m->ch->session);
    return SLC_OK;
}

static slc_err do_recover(method_call *m)
{
    m->out.id = SLC_AMQP_BASIC_RECOVER_OK;
    return recover(m, m->in->basic_recover.requeue);
}

static slc_err do_recover_async(method_call *m)
{
    return recover(m, m->in->basic_recover_async.requeue);
}

/* ---- modes, channel ---- */

static slc_err do_confirm_select(method_call *m)
{
    m->nowait = m->in->confirm_select.nowait;
    m->out.id = SLC_AMQP_CONFIRM_SELECT_OK;
    return slc_session_confirm_select(m->ch->session, m->error);
}

static slc_err do_tx_select(method_call *m)
{
    m->out.id = SLC_AMQP_TX_SELECT_OK;
    return slc_session_tx_select(m->ch->session, m->error);
}

static slc_err do_tx_commit(method_call *m)
{
    m->out.id = SLC_AMQP_TX_COMMIT_OK;
    return slc_session_tx_commit(m->ch->session, m->error);
}

static slc_err do_tx_rollback(method_call *m)
{
    m->out.id = SLC_AMQP_TX_ROLLBACK_OK;
    return slc_session_tx_rollback(m->ch->session, m->error);
}

static slc_err do_channel_open(method_call *m)
{
    return slc_error_set(m->error, SLC_ECHANNEL, "second 'channel.open' seen");
}

static slc_err do_channel_flow(method_call *m)
{
    if (!m->in->channel_flow.active)
        return slc_error_set(m->error, SLC_ENOTIMPL, "active=false");
    m->out.id = SLC_AMQP_CHANNEL_FLOW_OK;
    m->out.channel_flow_ok.active = true;
    return SLC_OK;
}

static slc_err do_access_request(method_call *m)
{
    m->out.id = SLC_AMQP_ACCESS_REQUEST_OK;
    m->out.access_request_ok.ticket = 1;
    return SLC_OK;
}

static slc_err do_nothing(method_call *m)
{
    (void)m;
    return SLC_OK;
}

static slc_err do_unimplemented(method_call *m)
{
    return slc_error_set(m->error, SLC_ECOMMAND, "unimplemented method");
}

static method_fn method_find(uint32_t id)
{
    switch (id) {
    case SLC_AMQP_CHANNEL_OPEN:
        return do_channel_open;
    case SLC_AMQP_CHANNEL_FLOW:
        return do_channel_flow;
    case SLC_AMQP_ACCESS_REQUEST:
        return do_access_request;
    case SLC_AMQP_EXCHANGE_DECLARE:
        return do_exchange_declare;
    case SLC_AMQP_EXCHANGE_DELETE:
        return do_exchange_delete;
    case SLC_AMQP_EXCHANGE_BIND:
        return do_exchange_bind;
    case SLC_AMQP_EXCHANGE_UNBIND:
        return do_exchange_unbind;
    case SLC_AMQP_QUEUE_DECLARE:
        return do_queue_declare;
    case SLC_AMQP_QUEUE_BIND:
        return do_queue_bind;
    case SLC_AMQP_QUEUE_UNBIND:
        return do_queue_unbind;
    case SLC_AMQP_QUEUE_PURGE:
        return do_queue_purge;
    case SLC_AMQP_QUEUE_DELETE:
        return do_queue_delete;
    case SLC_AMQP_BASIC_QOS:
        return do_qos;
    case SLC_AMQP_BASIC_CONSUME:
        return do_consume;
    case SLC_AMQP_BASIC_CANCEL:
        return do_cancel;
    case SLC_AMQP_BASIC_CANCEL_OK: // the answer to our own basic.cancel, from clients that give one
        return do_nothing;
    case SLC_AMQP_BASIC_GET:
        return do_get;
    case SLC_AMQP_BASIC_ACK:
        return do_ack;
    case SLC_AMQP_BASIC_NACK:
        return do_nack;
    case SLC_AMQP_BASIC_REJECT:
        return do_reject;
    case SLC_AMQP_BASIC_RECOVER:
        return do_recover;
    case SLC_AMQP_BASIC_RECOVER_ASYNC:
        return do_recover_async;
    case SLC_AMQP_CONFIRM_SELECT:
        return do_confirm_select;
    case SLC_AMQP_TX_SELECT:
        return do_tx_select;
    case SLC_AMQP_TX_COMMIT:
        return do_tx_commit;
    case SLC_AMQP_TX_ROLLBACK:
        return do_tx_rollback;
    default: // of class connection, or what only a broker sends
        return do_unimplemented;
    }
}

/** channel.open, or the 504 that everything else gets on a number that is not open. */
static void channel_open(amqp_conn *c, uint16_t number, const slc_amqp_method *method)
{
    uint32_t count = HASH_COUNT(c->channels);
    if (method->id != SLC_AMQP_CHANNEL_OPEN) {
        slc_amqp_conn_error(c, SLC_AMQP_CHANNEL_ERROR, method->id, "expected 'channel.open'");
        return;
    }
    if (c->channel_max != 0 && count >= c->channel_max) {
        slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, method->id,
                            "number of channels opened (%" PRIu32
                            ") has reached the negotiated channel_max (%" PRIu32 ")",
                            count, c->channel_max);
        return;
    }
    const slc_auth_user *user = slc_auth_user_find(c->server->auth, slc_slice_str(c->user));
    if (user != NULL && user->max_channels >= 0) {
        uint32_t open = 0;
        (void)slc_broker_count_clients(c->server->broker, NULL, c->user, &open);
        if (open >= (uint64_t)user->max_channels) {
            slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, method->id,
                                "number of channels opened for user '%s' has reached the maximum "
                                "allowed user limit of (%" PRId64 ")",
                                c->user, user->max_channels);
            return;
        }
    }
    uint32_t node_max = c->server->settings.channels_max;
    if (node_max != 0) {
        slc_broker_totals totals;
        slc_broker_total(c->server->broker, &totals);
        if (totals.sessions >= node_max) {
            slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, method->id,
                                "number of channels opened on node '%s' has reached the maximum "
                                "allowed limit of (%" PRIu32 ")",
                                c->server->settings.node, node_max);
            return;
        }
    }
    (void)slc_amqp_channel_new(c, number);
    slc_amqp_method ok = {.id = SLC_AMQP_CHANNEL_OPEN_OK};
    slc_amqp_send(c, number, &ok);
}

static amqp_verdict channel_wait(amqp_conn *c)
{
    // slc_conn_hold has paused for a reason of its own, and resumes by itself.
    if (!slc_conn_paused(c->io))
        slc_conn_pause(c->io, SLC_PAUSE_PENDING);
    return AMQP_WAIT;
}

static amqp_verdict channel_close(amqp_channel *ch)
{
    amqp_conn *c = ch->conn;
    uint16_t number = ch->number;
    if (slc_session_close(ch->session) == SLC_EPENDING)
        return channel_wait(c);
    ch->session = NULL;
    slc_amqp_channel_free(ch);
    slc_amqp_send_empty(c, number, SLC_AMQP_CHANNEL_CLOSE_OK);
    return AMQP_TAKEN;
}

/** We sent channel.close: everything is dropped but the two methods that end it. @spec 3.3 */
static void channel_closing(amqp_channel *ch, uint32_t id)
{
    if (id == SLC_AMQP_CHANNEL_CLOSE_OK)
        slc_amqp_channel_free(ch);
    else if (id == SLC_AMQP_CHANNEL_CLOSE)
        slc_amqp_send_empty(ch->conn, ch->number, SLC_AMQP_CHANNEL_CLOSE_OK);
}

/** Of classes exchange and queue: what it makes or deletes is the user's doing. */
static bool is_topology(uint32_t id)
{
    return id >> 16 == SLC_AMQP_EXCHANGE_DECLARE >> 16 || id >> 16 == SLC_AMQP_QUEUE_DECLARE >> 16;
}

amqp_verdict slc_amqp_channel_method(amqp_conn *c, uint16_t number, slc_slice payload)
{
    amqp_channel *ch = slc_amqp_channel_find(c, number);
    uint32_t id = slc_amqp_method_peek(payload);
    slc_error *error = &c->server->error;
    slc_amqp_method method;
    slc_err rc;
    error->text[0] = '\0';
    if (ch != NULL && ch->session == NULL) {
        channel_closing(ch, id);
        return AMQP_TAKEN;
    }
    if (id == SLC_AMQP_BASIC_ACK && ch != NULL && slc_amqp_fast_ack(payload, &method.basic_ack)) {
        rc = slc_session_settle(ch->session, method.basic_ack.delivery_tag,
                                method.basic_ack.multiple, SLC_SETTLE_ACK, error);
        if (rc == SLC_EPENDING)
            return channel_wait(c);
        if (rc != SLC_OK)
            slc_amqp_core_error(ch, rc, id, error);
        return AMQP_TAKEN;
    }
    rc = slc_amqp_method_decode(payload, &method, error);
    if (rc != SLC_OK) {
        slc_amqp_conn_error(c, slc_amqp_code_of(rc), id, "%s", error->text);
        return AMQP_TAKEN;
    }
    if (ch == NULL) {
        channel_open(c, number, &method);
        return AMQP_TAKEN;
    }
    if (id == SLC_AMQP_CHANNEL_CLOSE)
        return channel_close(ch);
    method_call call = {.c = c, .ch = ch, .id = id, .in = &method, .error = error};
    if (is_topology(id))
        slc_broker_act_as(c->server->broker, c->user);
    rc = method_find(id)(&call);
    if (is_topology(id))
        slc_broker_act_as(c->server->broker, NULL);
    if (rc == SLC_EPENDING)
        return channel_wait(c);
    if (rc != SLC_OK)
        slc_amqp_core_error(ch, rc, id, error);
    else if (call.out.id != 0 && !call.nowait)
        slc_amqp_send(c, number, &call.out);
    return AMQP_TAKEN;
}
