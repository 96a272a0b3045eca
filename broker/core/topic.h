/** The trie of a topic exchange: which bindings match a routing key.
 *
 *  A node is a prefix of binding keys, in words; an edge is a literal word, `*` or `#`. All literal
 * edges of the trie are in one hash table keyed by (parent, word), so that a node costs some 64
 * octets and its word, and a lookup about two cache lines.
 *
 *  Matching walks the key once, word by word, with the set of nodes reached so far. A node has one
 * parent, so it enters a set at most once; a `#` node takes any word from where it was first
 * reached, so it is entered once per key and stays. Cost is therefore at most (words of the key) x
 * (nodes reached), however many `#` the bindings have; there is no recursion.
 *
 *  Owner: the exchange. Bindings are borrowed while they are in. Thread: the loop. @spec
 * amqp-semantics 8.3
 */
#ifndef SLC_CORE_TOPIC_H
#define SLC_CORE_TOPIC_H

#include "core/topology.h"

typedef struct slc_topic slc_topic;

slc_topic *slc_topic_new(void);
/** No binding may be left. */
void slc_topic_free(slc_topic *topic);

/** Uses kind_prev, kind_next and kind_data of the binding. */
void slc_topic_add(slc_topic *topic, slc_binding *binding);
void slc_topic_remove(slc_topic *topic, slc_binding *binding);

/** slc_route_to for each binding that matches key, once each; allocates nothing once it has seen a
 * key as wide as this. */
void slc_topic_route(slc_topic *topic, slc_slice key, slc_route *route);

/** How many words of pattern are `#`. */
uint32_t slc_topic_hash_words(slc_slice pattern);

/** Nodes alive, the root included: 1 when there is no binding with words. For tests. */
uint32_t slc_topic_nodes(const slc_topic *topic);

#endif
