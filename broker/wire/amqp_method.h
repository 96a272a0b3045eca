/** AMQP 0-9-1 methods, with RabbitMQ's extensions: structs, ids, names and codec from one table.
 *
 *      payload of a method frame = class u16, method u16, arguments
 *
 *  Each method, say `queue.declare`, has a struct slc_amqp_queue_declare, an id
 *  SLC_AMQP_QUEUE_DECLARE = 50 << 16 | 10 and a member queue_declare of slc_amqp_method. Strings
 *  and tables are slices: after a decode they point into the payload, for an encode they are
 *  borrowed. A table is its content without the length (base/table.h); decode checks it.
 *  Adjacent bits share octets from the low bit up. Nothing is allocated. Thread: any.
 *  Spec: amqp-semantics 1.2, 1.3, 21. The busy methods also have a shorter way: amqp_fast.h.
 */
#ifndef SLC_WIRE_AMQP_METHOD_H
#define SLC_WIRE_AMQP_METHOD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/** M(name, NAME, "name on the wire", class, method, content, fields)
 *      content: 1 when a content header and a body follow.
 *  F(TYPE, name)
 *      TYPE: OCTET u8, SHORT u16, LONG u32, LONGLONG u64, SHORTSTR, LONGSTR, TABLE, BIT.
 *  Fields that 0-9-1 reserves keep their place, under the names that 0-8 gave them. */
#define SLC_AMQP_METHOD_TABLE(M, F)                                                                \
    M(connection_start, CONNECTION_START, "connection.start", 10, 10, 0,                           \
      F(OCTET, version_major) F(OCTET, version_minor) F(TABLE, server_properties)                  \
          F(LONGSTR, mechanisms) F(LONGSTR, locales))                                              \
    M(connection_start_ok, CONNECTION_START_OK, "connection.start-ok", 10, 11, 0,                  \
      F(TABLE, client_properties) F(SHORTSTR, mechanism) F(LONGSTR, response) F(SHORTSTR, locale)) \
    M(connection_secure, CONNECTION_SECURE, "connection.secure", 10, 20, 0, F(LONGSTR, challenge)) \
    M(connection_secure_ok, CONNECTION_SECURE_OK, "connection.secure-ok", 10, 21, 0,               \
      F(LONGSTR, response))                                                                        \
    M(connection_tune, CONNECTION_TUNE, "connection.tune", 10, 30, 0,                              \
      F(SHORT, channel_max) F(LONG, frame_max) F(SHORT, heartbeat))                                \
    M(connection_tune_ok, CONNECTION_TUNE_OK, "connection.tune-ok", 10, 31, 0,                     \
      F(SHORT, channel_max) F(LONG, frame_max) F(SHORT, heartbeat))                                \
    M(connection_open, CONNECTION_OPEN, "connection.open", 10, 40, 0,                              \
      F(SHORTSTR, virtual_host) F(SHORTSTR, capabilities) F(BIT, insist))                          \
    M(connection_open_ok, CONNECTION_OPEN_OK, "connection.open-ok", 10, 41, 0,                     \
      F(SHORTSTR, known_hosts))                                                                    \
    M(connection_close, CONNECTION_CLOSE, "connection.close", 10, 50, 0,                           \
      F(SHORT, reply_code) F(SHORTSTR, reply_text) F(SHORT, class_id) F(SHORT, method_id))         \
    M(connection_close_ok, CONNECTION_CLOSE_OK, "connection.close-ok", 10, 51, 0, )                \
    M(connection_blocked, CONNECTION_BLOCKED, "connection.blocked", 10, 60, 0,                     \
      F(SHORTSTR, reason))                                                                         \
    M(connection_unblocked, CONNECTION_UNBLOCKED, "connection.unblocked", 10, 61, 0, )             \
    M(connection_update_secret, CONNECTION_UPDATE_SECRET, "connection.update-secret", 10, 70, 0,   \
      F(LONGSTR, new_secret) F(SHORTSTR, reason))                                                  \
    M(connection_update_secret_ok, CONNECTION_UPDATE_SECRET_OK, "connection.update-secret-ok", 10, \
      71, 0, )                                                                                     \
    M(channel_open, CHANNEL_OPEN, "channel.open", 20, 10, 0, F(SHORTSTR, out_of_band))             \
    M(channel_open_ok, CHANNEL_OPEN_OK, "channel.open-ok", 20, 11, 0, F(LONGSTR, channel_id))      \
    M(channel_flow, CHANNEL_FLOW, "channel.flow", 20, 20, 0, F(BIT, active))                       \
    M(channel_flow_ok, CHANNEL_FLOW_OK, "channel.flow-ok", 20, 21, 0, F(BIT, active))              \
    M(channel_close, CHANNEL_CLOSE, "channel.close", 20, 40, 0,                                    \
      F(SHORT, reply_code) F(SHORTSTR, reply_text) F(SHORT, class_id) F(SHORT, method_id))         \
    M(channel_close_ok, CHANNEL_CLOSE_OK, "channel.close-ok", 20, 41, 0, )                         \
    M(access_request, ACCESS_REQUEST, "access.request", 30, 10, 0,                                 \
      F(SHORTSTR, realm) F(BIT, exclusive) F(BIT, passive) F(BIT, active) F(BIT, write)            \
          F(BIT, read))                                                                            \
    M(access_request_ok, ACCESS_REQUEST_OK, "access.request-ok", 30, 11, 0, F(SHORT, ticket))      \
    M(exchange_declare, EXCHANGE_DECLARE, "exchange.declare", 40, 10, 0,                           \
      F(SHORT, ticket) F(SHORTSTR, exchange) F(SHORTSTR, type) F(BIT, passive) F(BIT, durable)     \
          F(BIT, auto_delete) F(BIT, internal) F(BIT, nowait) F(TABLE, arguments))                 \
    M(exchange_declare_ok, EXCHANGE_DECLARE_OK, "exchange.declare-ok", 40, 11, 0, )                \
    M(exchange_delete, EXCHANGE_DELETE, "exchange.delete", 40, 20, 0,                              \
      F(SHORT, ticket) F(SHORTSTR, exchange) F(BIT, if_unused) F(BIT, nowait))                     \
    M(exchange_delete_ok, EXCHANGE_DELETE_OK, "exchange.delete-ok", 40, 21, 0, )                   \
    M(exchange_bind, EXCHANGE_BIND, "exchange.bind", 40, 30, 0,                                    \
      F(SHORT, ticket) F(SHORTSTR, destination) F(SHORTSTR, source) F(SHORTSTR, routing_key)       \
          F(BIT, nowait) F(TABLE, arguments))                                                      \
    M(exchange_bind_ok, EXCHANGE_BIND_OK, "exchange.bind-ok", 40, 31, 0, )                         \
    M(exchange_unbind, EXCHANGE_UNBIND, "exchange.unbind", 40, 40, 0,                              \
      F(SHORT, ticket) F(SHORTSTR, destination) F(SHORTSTR, source) F(SHORTSTR, routing_key)       \
          F(BIT, nowait) F(TABLE, arguments))                                                      \
    M(exchange_unbind_ok, EXCHANGE_UNBIND_OK, "exchange.unbind-ok", 40, 51, 0, )                   \
    M(queue_declare, QUEUE_DECLARE, "queue.declare", 50, 10, 0,                                    \
      F(SHORT, ticket) F(SHORTSTR, queue) F(BIT, passive) F(BIT, durable) F(BIT, exclusive)        \
          F(BIT, auto_delete) F(BIT, nowait) F(TABLE, arguments))                                  \
    M(queue_declare_ok, QUEUE_DECLARE_OK, "queue.declare-ok", 50, 11, 0,                           \
      F(SHORTSTR, queue) F(LONG, message_count) F(LONG, consumer_count))                           \
    M(queue_bind, QUEUE_BIND, "queue.bind", 50, 20, 0,                                             \
      F(SHORT, ticket) F(SHORTSTR, queue) F(SHORTSTR, exchange) F(SHORTSTR, routing_key)           \
          F(BIT, nowait) F(TABLE, arguments))                                                      \
    M(queue_bind_ok, QUEUE_BIND_OK, "queue.bind-ok", 50, 21, 0, )                                  \
    M(queue_purge, QUEUE_PURGE, "queue.purge", 50, 30, 0,                                          \
      F(SHORT, ticket) F(SHORTSTR, queue) F(BIT, nowait))                                          \
    M(queue_purge_ok, QUEUE_PURGE_OK, "queue.purge-ok", 50, 31, 0, F(LONG, message_count))         \
    M(queue_delete, QUEUE_DELETE, "queue.delete", 50, 40, 0,                                       \
      F(SHORT, ticket) F(SHORTSTR, queue) F(BIT, if_unused) F(BIT, if_empty) F(BIT, nowait))       \
    M(queue_delete_ok, QUEUE_DELETE_OK, "queue.delete-ok", 50, 41, 0, F(LONG, message_count))      \
    M(queue_unbind, QUEUE_UNBIND, "queue.unbind", 50, 50, 0,                                       \
      F(SHORT, ticket) F(SHORTSTR, queue) F(SHORTSTR, exchange) F(SHORTSTR, routing_key)           \
          F(TABLE, arguments))                                                                     \
    M(queue_unbind_ok, QUEUE_UNBIND_OK, "queue.unbind-ok", 50, 51, 0, )                            \
    M(basic_qos, BASIC_QOS, "basic.qos", 60, 10, 0,                                                \
      F(LONG, prefetch_size) F(SHORT, prefetch_count) F(BIT, global))                              \
    M(basic_qos_ok, BASIC_QOS_OK, "basic.qos-ok", 60, 11, 0, )                                     \
    M(basic_consume, BASIC_CONSUME, "basic.consume", 60, 20, 0,                                    \
      F(SHORT, ticket) F(SHORTSTR, queue) F(SHORTSTR, consumer_tag) F(BIT, no_local)               \
          F(BIT, no_ack) F(BIT, exclusive) F(BIT, nowait) F(TABLE, arguments))                     \
    M(basic_consume_ok, BASIC_CONSUME_OK, "basic.consume-ok", 60, 21, 0,                           \
      F(SHORTSTR, consumer_tag))                                                                   \
    M(basic_cancel, BASIC_CANCEL, "basic.cancel", 60, 30, 0,                                       \
      F(SHORTSTR, consumer_tag) F(BIT, nowait))                                                    \
    M(basic_cancel_ok, BASIC_CANCEL_OK, "basic.cancel-ok", 60, 31, 0, F(SHORTSTR, consumer_tag))   \
    M(basic_publish, BASIC_PUBLISH, "basic.publish", 60, 40, 1,                                    \
      F(SHORT, ticket) F(SHORTSTR, exchange) F(SHORTSTR, routing_key) F(BIT, mandatory)            \
          F(BIT, immediate))                                                                       \
    M(basic_return, BASIC_RETURN, "basic.return", 60, 50, 1,                                       \
      F(SHORT, reply_code) F(SHORTSTR, reply_text) F(SHORTSTR, exchange) F(SHORTSTR, routing_key)) \
    M(basic_deliver, BASIC_DELIVER, "basic.deliver", 60, 60, 1,                                    \
      F(SHORTSTR, consumer_tag) F(LONGLONG, delivery_tag) F(BIT, redelivered)                      \
          F(SHORTSTR, exchange) F(SHORTSTR, routing_key))                                          \
    M(basic_get, BASIC_GET, "basic.get", 60, 70, 0,                                                \
      F(SHORT, ticket) F(SHORTSTR, queue) F(BIT, no_ack))                                          \
    M(basic_get_ok, BASIC_GET_OK, "basic.get-ok", 60, 71, 1,                                       \
      F(LONGLONG, delivery_tag) F(BIT, redelivered) F(SHORTSTR, exchange) F(SHORTSTR, routing_key) \
          F(LONG, message_count))                                                                  \
    M(basic_get_empty, BASIC_GET_EMPTY, "basic.get-empty", 60, 72, 0, F(SHORTSTR, cluster_id))     \
    M(basic_ack, BASIC_ACK, "basic.ack", 60, 80, 0, F(LONGLONG, delivery_tag) F(BIT, multiple))    \
    M(basic_reject, BASIC_REJECT, "basic.reject", 60, 90, 0,                                       \
      F(LONGLONG, delivery_tag) F(BIT, requeue))                                                   \
    M(basic_recover_async, BASIC_RECOVER_ASYNC, "basic.recover-async", 60, 100, 0,                 \
      F(BIT, requeue))                                                                             \
    M(basic_recover, BASIC_RECOVER, "basic.recover", 60, 110, 0, F(BIT, requeue))                  \
    M(basic_recover_ok, BASIC_RECOVER_OK, "basic.recover-ok", 60, 111, 0, )                        \
    M(basic_nack, BASIC_NACK, "basic.nack", 60, 120, 0,                                            \
      F(LONGLONG, delivery_tag) F(BIT, multiple) F(BIT, requeue))                                  \
    M(confirm_select, CONFIRM_SELECT, "confirm.select", 85, 10, 0, F(BIT, nowait))                 \
    M(confirm_select_ok, CONFIRM_SELECT_OK, "confirm.select-ok", 85, 11, 0, )                      \
    M(tx_select, TX_SELECT, "tx.select", 90, 10, 0, )                                              \
    M(tx_select_ok, TX_SELECT_OK, "tx.select-ok", 90, 11, 0, )                                     \
    M(tx_commit, TX_COMMIT, "tx.commit", 90, 20, 0, )                                              \
    M(tx_commit_ok, TX_COMMIT_OK, "tx.commit-ok", 90, 21, 0, )                                     \
    M(tx_rollback, TX_ROLLBACK, "tx.rollback", 90, 30, 0, )                                        \
    M(tx_rollback_ok, TX_ROLLBACK_OK, "tx.rollback-ok", 90, 31, 0, )

#define SLC_AMQP_C_OCTET    uint8_t
#define SLC_AMQP_C_SHORT    uint16_t
#define SLC_AMQP_C_LONG     uint32_t
#define SLC_AMQP_C_LONGLONG uint64_t
#define SLC_AMQP_C_SHORTSTR slc_slice
#define SLC_AMQP_C_LONGSTR  slc_slice
#define SLC_AMQP_C_TABLE    slc_slice
#define SLC_AMQP_C_BIT      bool

// clang-format off
#define SLC_AMQP_FIELD_NONE(TYPE, name)
#define SLC_AMQP_FIELD_MEMBER(TYPE, name) SLC_AMQP_C_##TYPE name;

/** SLC_AMQP_QUEUE_DECLARE = 50 << 16 | 10, ... */
typedef enum slc_amqp_method_id {
#define SLC_AMQP_ENUM(name, NAME, text, class_, method_, content, ...)                             \
    SLC_AMQP_##NAME = class_ << 16 | method_,
    SLC_AMQP_METHOD_TABLE(SLC_AMQP_ENUM, SLC_AMQP_FIELD_NONE)
#undef SLC_AMQP_ENUM
} slc_amqp_method_id;

/** A method without arguments has a struct without members (zero octets in gcc and clang). */
#define SLC_AMQP_STRUCT(name, NAME, text, class_, method_, content, ...)                           \
    typedef struct slc_amqp_##name { __VA_ARGS__ } slc_amqp_##name;
SLC_AMQP_METHOD_TABLE(SLC_AMQP_STRUCT, SLC_AMQP_FIELD_MEMBER)
#undef SLC_AMQP_STRUCT

typedef struct slc_amqp_method {
    uint32_t id; // an slc_amqp_method_id; class << 16 | method
    union {
#define SLC_AMQP_UNION(name, NAME, text, class_, method_, content, ...) slc_amqp_##name name;
        SLC_AMQP_METHOD_TABLE(SLC_AMQP_UNION, SLC_AMQP_FIELD_NONE)
#undef SLC_AMQP_UNION
    };
} slc_amqp_method;
// clang-format on

/** Class and method of a payload; 0 when it is shorter than 4 octets. */
uint32_t slc_amqp_method_peek(slc_slice payload);

/** Decode the payload of a method frame.
 *
 *  @param out  its id is set in every case (0 when the payload is shorter than 4 octets); its
 *              fields count only after SLC_OK.
 *  @return SLC_OK; SLC_ECOMMAND: unknown class or method (503); SLC_EFRAME: arguments too short
 *          or too long, `cannot decode <<...>>`, or `Malformed UTF-8 in shortstr` of a method
 *          without content (501); SLC_ESYNTAX: a table is malformed or has an unknown type (502).
 *          error has the text for the close.
 */
SLC_MUST_USE slc_err slc_amqp_method_decode(slc_slice payload, slc_amqp_method *out,
                                            slc_error *error);

/** Octets that slc_amqp_method_encode writes; 0 for an unknown id. */
size_t slc_amqp_method_bytes(const slc_amqp_method *method);
/** Class, method, arguments. Returns octets written; 0 when cap is too small, the id is unknown
 *  or a short string has more than 255 octets (names come from peers; nothing is cut). */
size_t slc_amqp_method_encode(const slc_amqp_method *method, uint8_t *out, size_t cap);

/** A whole method frame: head, payload, end octet. Returns octets written, 0 as above. */
size_t slc_amqp_method_frame_encode(uint16_t channel, const slc_amqp_method *method, uint8_t *out,
                                    size_t cap);
size_t slc_amqp_method_frame_bytes(const slc_amqp_method *method);

/** "queue.declare"; NULL for an unknown id. */
const char *slc_amqp_method_name(uint32_t id);
/** Do a content header and a body follow? */
bool slc_amqp_method_has_content(uint32_t id);
/** Every id in the table's order; index from 0; 0 past the end. */
uint32_t slc_amqp_method_at(uint32_t index);

#endif
