/** Exchanges, bindings and the way of a message through them.
 *
 *  An exchange has a kind: an operation table (exchange_direct.c, _fanout.c, _topic.c, ...). A new kind is a new file
 *  and one line in the table of exchange.c. A binding ties a source exchange to a destination (a queue or an exchange); its
 *  identity is (source, destination, key, arguments with keys sorted). This module knows queues only as destinations.
 *
 *  Owner: the vhost owns exchanges; a binding is owned by its source. Everything here changes memory only: what is durable is
 *  decided above (definitions.h). Thread: the loop. Iteration is in insertion order. @spec amqp-semantics 7, 8
 */
#ifndef SLC_CORE_TOPOLOGY_H
#define SLC_CORE_TOPOLOGY_H

#include <stdint.h>

#include "base/error.h"
#include "base/map.h"
#include "base/slice.h"

typedef struct slc_vhost slc_vhost;
typedef struct slc_queue slc_queue;
typedef struct slc_exchange slc_exchange;
typedef struct slc_binding slc_binding;
typedef struct slc_exchange_kind slc_exchange_kind;
typedef struct slc_message slc_message;

typedef enum slc_dest_kind {
    SLC_DEST_QUEUE,
    SLC_DEST_EXCHANGE,
} slc_dest_kind;

/** What a binding can lead to; first member of slc_queue and of slc_exchange. */
typedef struct slc_destination {
    slc_dest_kind kind;
    slc_slice name;           // owned by the object around it
    uint64_t route_mark;      // serial of the last routing that reached it
    slc_binding *bindings_in; // DL list by in_prev/in_next: all bindings that lead here
    uint32_t bindings_in_count;
    bool durable;
    // What the policies say that apply to it: table content, borrowed from the vhost's policies; bytes 0: none.
    slc_slice policy, operator_policy;
    struct slc_policy *policy_held, *operator_policy_held; // whose tables these are; core/policy.h
} slc_destination;

struct slc_binding {
    slc_exchange *source;
    slc_destination *destination;
    slc_slice key;       // owned, in this allocation
    slc_slice arguments; // table content, keys sorted; owned, in this allocation
    slc_slice
        identity; // destination kind, destination name, key, arguments: the map key; in this allocation
    bool durable;                   // both sides durable: it is in the definitions
    slc_binding *in_prev, *in_next; // of destination->bindings_in
    slc_binding *kind_prev,
        *kind_next; // free for the kind's index (such as all bindings of one key)
    void
        *kind_data; // free for the kind (such as compiled header arguments); freed by kind->removed
    uint8_t id[16]; // of the stored definition, when `stored`; set by definitions.c
    bool stored;
    UT_hash_handle hh; // of source->bindings by identity
};

struct slc_exchange {
    slc_destination dest; // first
    slc_vhost *vhost;
    const slc_exchange_kind *kind;
    bool auto_delete;
    bool internal;
    bool had_binding; // auto-delete needs at least one binding to have existed
    char *
        unbound_by; // whose doing the end of its last binding was, until it follows; NULL: nobody's
    slc_slice arguments; // table content as declared; owned
    // Name of the alternate exchange; bytes 0: none; points into the arguments or the policy.
    slc_slice alternate;
    slc_binding
        *bindings;  // map by identity: bindings with this exchange as source, in insertion order
    void *index;    // the kind's
    uint8_t id[16]; // of the stored definition, when durable; set by definitions.c
    bool alternate_missing; // already in the log; routing warns again when it came and went
    // Counted by the caller of routing, which may cache routes: messages, and copies of them for queues.
    uint64_t messages_in, messages_out;
    UT_hash_handle hh; // of vhost->exchanges by name
};

/** What a message shows to routing. */
typedef struct slc_route_input {
    slc_slice key;
    const slc_slice
        *more_keys; // of the CC and BCC headers: what is bound with one of them matches, too
    uint32_t more_key_count;
    slc_slice headers; // table content of the headers property, checked; bytes 0: none
    slc_message *
        message; // the whole of it, borrowed; NULL: kinds that need more than key and headers see none
} slc_route_input;

/** Where it goes: each queue once. Reused between calls; starts zeroed. */
typedef struct slc_route {
    slc_destination **queues; // destinations of kind queue
    uint32_t count;
    uint32_t capacity;
    bool cacheable; // depends on exchange and key only, until the vhost's topology_version changes

    /* routing's own, while slc_route_message runs */
    bool matched; // the exchange at hand has a matching binding
    uint64_t
        first; // serial of the first key: a queue with this route_mark or a later one was reached
    uint64_t serial; // of the key at hand; an exchange with this route_mark was reached by it
    slc_exchange **pending; // exchanges reached, in order: a queue
    uint32_t pending_count, pending_capacity;
} slc_route;

struct slc_exchange_kind {
    const char *name;        // "topic"
    const char *description; // for lists, as RabbitMQ and its plugins have it
    bool
        by_key_only; // routing depends on nothing but the key; route may say otherwise (route->cacheable = false)
    const char *const *
        compared; // arguments that a redeclaration must repeat, NULL at the end; NULL: none of its own
    /** May an exchange have these arguments? SLC_EPRECONDITION. NULL: any. */
    slc_err (*check_arguments)(slc_slice arguments, slc_error *error);
    /** May this binding exist? SLC_EPRECONDITION with the text of amqp-semantics 8.3-8.5. NULL: always. */
    slc_err (*check)(const slc_exchange *exchange, slc_slice key, slc_slice arguments,
                     slc_error *error);
    void (*init)(slc_exchange *exchange); // NULL: nothing; may set exchange->index
    void (*fini)(slc_exchange *exchange); // bindings are already removed
    void (*added)(slc_exchange *exchange, slc_binding *binding);
    void (*removed)(slc_exchange *exchange, slc_binding *binding);
    /** The binding is new and in the vhost: may publish to it. NULL: nothing. */
    void (*bound)(slc_exchange *exchange, slc_binding *binding);
    /** Call slc_route_to for each matching binding. */
    void (*route)(slc_exchange *exchange, const slc_route_input *input, slc_route *route);
};

/** NULL: unknown type. */
const slc_exchange_kind *slc_exchange_kind_find(slc_slice name);
/** All of them in the order of their names, from 0; NULL behind the last. */
const slc_exchange_kind *slc_exchange_kind_at(size_t index);

/** In memory only; not entered anywhere (the caller adds it to the vhost). arguments are checked and copied;
 *  alternate-exchange was checked to be a longstr. */
slc_exchange *slc_exchange_new(slc_vhost *vhost, slc_slice name, const slc_exchange_kind *kind,
                               bool durable, bool auto_delete, bool internal, slc_slice arguments);
/** What a policy says about it may have changed: take its alternate exchange anew (an argument wins over a policy). */
void slc_exchange_settings_changed(slc_exchange *exchange);
/** All bindings from and to it must be gone. */
void slc_exchange_free(slc_exchange *exchange);

/** NULL when there is none. arguments need not be sorted. */
slc_binding *slc_binding_find(const slc_exchange *source, const slc_destination *destination,
                              slc_slice key, slc_slice arguments);
/** Check of kind rules first (SLC_EPRECONDITION); SLC_EEXIST leaves *out at the existing one. key <= 255 bytes. */
SLC_MUST_USE slc_err slc_binding_add(slc_exchange *source, slc_destination *destination,
                                     slc_slice key, slc_slice arguments, slc_binding **out,
                                     slc_error *error);
void slc_binding_remove(slc_binding *binding);

/** Walk from exchange: its kind's rule, exchange to exchange (breadth first, each exchange once), alternate exchanges
 *  (an exchange that yields no destination passes the message to its alternate). route->count is reset.
 *  @spec amqp-semantics 7.6, 8.7 */
void slc_route_message(slc_exchange *exchange, const slc_route_input *input, slc_route *route);
/** For a kind that stands in for another: ask that with each key, if it looks at them. */
void slc_route_by_kind(const slc_exchange_kind *kind, slc_exchange *exchange,
                       const slc_route_input *input, slc_route *route);
/** Begin with no queue at all, for slc_route_to_queue alone. */
void slc_route_begin(slc_route *route);
/** For kinds: the binding matches. A destination reached before is not entered twice. */
void slc_route_to(slc_route *route, slc_binding *binding);
/** For a kind that has a queue without a binding. */
void slc_route_to_queue(slc_route *route, slc_destination *queue);
void slc_route_fini(slc_route *route);

/** What routes looked up before no longer holds in this vhost; implemented by vhost.c. */
void slc_vhost_routes_changed(slc_vhost *vhost);
/** Messages that wait in an x-delayed-message exchange; false: it is of another kind. */
bool slc_exchange_messages_delayed(const slc_exchange *exchange, uint64_t *count);
enum { SLC_DELAYED_LIST_MAX = 1000 };
/** One of them. What else is known of it was read, unless it went meanwhile or is damaged. */
typedef struct slc_delayed_message {
    uint64_t position, due_ms; // wall clock
    bool known;
    uint64_t body_bytes;
    slc_slice key, message_id;
} slc_delayed_message;
typedef void (*slc_delayed_listed)(const slc_delayed_message *messages, uint32_t count, void *arg);
/** The next of them in order of time, up to max (1 to SLC_DELAYED_LIST_MAX): done is called once, inside this call or later. Soon after
 *  a start only those that were read back already. False: it is of another kind, done is not called. */
bool slc_exchange_list_delayed(const slc_exchange *exchange, uint32_t max, slc_delayed_listed done,
                               void *arg);
/** Take one of them out, for ever. SLC_ENOTFOUND: none waits there (any more), or it is of another kind. */
SLC_MUST_USE slc_err slc_exchange_cancel_delayed(const slc_exchange *exchange, uint64_t position);

/** What routes looked up before no longer holds in this vhost; implemented by vhost.c. */
void slc_vhost_routes_changed(slc_vhost *vhost);
/** For slc_route_message: the exchange of that name or NULL; implemented by vhost.c. */
slc_exchange *slc_vhost_exchange(const slc_vhost *vhost, slc_slice name);

/** Words separated by dots; `*` one word, `#` zero or more. The reference for the trie; used by tests and permissions. */
bool slc_topic_match(slc_slice pattern, slc_slice key);

#endif
