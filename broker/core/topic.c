/* See topic.h. */
#include "core/topic.h"

#include <utlist.h>

#include "base/alloc.h"
#include "base/map.h"

/* ---- words ---- */

/** The words of a key: none of the empty string, else one more than it has dots; a word may be
 * empty. */
typedef struct words {
    const uint8_t *at;
    const uint8_t *end;
    bool more;
} words;

static words words_of(slc_slice key)
{
    if (key.bytes == 0)
        return (words){0};
    return (words){.at = key.data, .end = key.data + key.bytes, .more = true};
}

static bool words_next(words *w, slc_slice *word)
{
    if (!w->more)
        return false;
    // Words are a few octets: a plain loop beats memchr.
    const uint8_t *begin = w->at;
    const uint8_t *at = begin;
    while (at < w->end && *at != '.')
        at++;
    *word = slc_slice_of(begin, (size_t)(at - begin));
    w->more = at < w->end;
    if (w->more)
        w->at = at + 1;
    return true;
}

static bool word_is(slc_slice word, char wildcard)
{
    return word.bytes == 1 && word.data[0] == (uint8_t)wildcard;
}

uint32_t slc_topic_hash_words(slc_slice pattern)
{
    words all = words_of(pattern);
    slc_slice word;
    uint32_t count = 0;
    while (words_next(&all, &word))
        count += word_is(word, '#');
    return count;
}

/* When a later word does not fit it is enough to let the last `#` take one more word: what an
 * earlier `#` could give, the last one can give too. So this is words x words at worst, without a
 * stack. */
bool slc_topic_match(slc_slice pattern, slc_slice key)
{
    words p = words_of(pattern), k = words_of(key);
    words after_hash = {0}, hash_from = {0};
    bool have_hash = false;
    for (;;) {
        words p_next = p, k_next = k;
        slc_slice want, word;
        bool have_want = words_next(&p_next, &want);
        if (have_want && word_is(want, '#')) {
            have_hash = true;
            after_hash = p = p_next;
            hash_from = k;
            continue;
        }
        if (!words_next(&k_next, &word))
            return !have_want;
        if (have_want && (word_is(want, '*') || slc_slice_equal(want, word))) {
            p = p_next;
            k = k_next;
            continue;
        }
        if (!have_hash)
            return false;
        (void)words_next(&hash_from, &word);
        p = after_hash;
        k = hash_from;
    }
}

/* ---- the trie ---- */

typedef struct topic_node topic_node;
struct topic_node {
    topic_node *parent;    // NULL: the root
    topic_node *star;      // after the word `*`
    topic_node *hash;      // after the word `#`
    slc_binding *bindings; // whose key ends here; DL list by kind_prev/kind_next
    uint64_t reached;      // of a `#` node: serial of the last routing that reached it
    uint32_t id;           // mixed into the hash of its literal children
    uint32_t literals;     // literal children, which are in the table
    uint32_t slot_hash;    // of a literal child
    uint8_t edge;          // '*', '#' or 0: a literal word
    uint8_t word_bytes;
    uint8_t word[]; // of a literal child
};

typedef struct topic_slot {
    uint32_t hash; // saves touching nodes of other words
    topic_node *node;
} topic_slot;

typedef struct topic_set {
    topic_node **nodes;
    uint32_t count, capacity;
} topic_set;

struct slc_topic {
    topic_node *root;
    uint32_t nodes;
    uint32_t last_id;

    topic_slot *slots; // open addressing, linear; NULL: no literal edge
    uint32_t slot_mask;
    uint32_t slots_used;

    uint64_t serial;   // of the last routing
    topic_set sets[2]; // reached after the words so far, and after the next one
    topic_set staying; // `#` nodes reached that have children
};

enum { SLOTS_MIN = 16 };

/* Keeping the parent's id out of the seeded hash lets all nodes reached share one hash of the word.
 * slc_hash has the seed of the process, so a peer cannot choose words that collide. */
static uint32_t slot_hash_of(const topic_node *parent, uint32_t word_hash)
{
    uint64_t mixed = (((uint64_t)parent->id << 32) | word_hash) * UINT64_C(0x9E3779B97F4A7C15);
    mixed ^= mixed >> 32;
    return (uint32_t)((mixed * UINT64_C(0xD6E8FEB86659FD93)) >> 32);
}

static topic_node *literal_find(const slc_topic *t, const topic_node *parent, slc_slice word,
                                uint32_t word_hash)
{
    uint32_t hash = slot_hash_of(parent, word_hash);
    for (uint32_t i = hash & t->slot_mask; t->slots[i].node != NULL; i = (i + 1) & t->slot_mask) {
        topic_node *node = t->slots[i].node;
        if (t->slots[i].hash == hash && node->parent == parent && node->word_bytes == word.bytes &&
            memcmp(node->word, word.data, word.bytes) == 0)
            return node;
    }
    return NULL;
}

static void slots_place(topic_slot *slots, uint32_t mask, topic_node *node)
{
    uint32_t i = node->slot_hash & mask;
    while (slots[i].node != NULL)
        i = (i + 1) & mask;
    slots[i] = (topic_slot){.hash = node->slot_hash, .node = node};
}

static void slots_resize(slc_topic *t, uint32_t count)
{
    topic_slot *slots = slc_alloc_zero(count, sizeof *slots);
    for (uint32_t i = 0; t->slots != NULL && i <= t->slot_mask; i++) {
        if (t->slots[i].node != NULL)
            slots_place(slots, count - 1, t->slots[i].node);
    }
    slc_free(t->slots);
    t->slots = slots;
    t->slot_mask = count - 1;
}

static void literal_insert(slc_topic *t, topic_node *node)
{
    if (t->slots == NULL)
        slots_resize(t, SLOTS_MIN);
    else if (t->slots_used >= (t->slot_mask + 1) / 2)
        slots_resize(t, (t->slot_mask + 1) * 2);
    slots_place(t->slots, t->slot_mask, node);
    t->slots_used++;
    node->parent->literals++;
}

/* Without tombstones: what stands behind the hole and may stand in it moves up. */
static void literal_erase(slc_topic *t, topic_node *node)
{
    uint32_t hole = node->slot_hash & t->slot_mask;
    while (t->slots[hole].node != node)
        hole = (hole + 1) & t->slot_mask;
    for (uint32_t i = (hole + 1) & t->slot_mask; t->slots[i].node != NULL;
         i = (i + 1) & t->slot_mask) {
        uint32_t home = t->slots[i].hash & t->slot_mask;
        if (((i - home) & t->slot_mask) >= ((i - hole) & t->slot_mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = (topic_slot){0};
    t->slots_used--;
    node->parent->literals--;
    if (t->slot_mask + 1 > SLOTS_MIN && t->slots_used < (t->slot_mask + 1) / 16)
        slots_resize(t, (t->slot_mask + 1) / 4);
}

static topic_node *node_new(slc_topic *t, topic_node *parent, uint8_t edge, slc_slice word)
{
    topic_node *node = slc_alloc_zero(1, sizeof *node + word.bytes);
    node->parent = parent;
    node->id = ++t->last_id;
    node->edge = edge;
    node->word_bytes = (uint8_t)word.bytes;
    if (word.bytes > 0)
        memcpy(node->word, word.data, word.bytes);
    t->nodes++;
    return node;
}

static topic_node *child_ensure(slc_topic *t, topic_node *parent, slc_slice word)
{
    if (word_is(word, '*')) {
        if (parent->star == NULL)
            parent->star = node_new(t, parent, '*', (slc_slice){0});
        return parent->star;
    }
    if (word_is(word, '#')) {
        if (parent->hash == NULL)
            parent->hash = node_new(t, parent, '#', (slc_slice){0});
        return parent->hash;
    }
    uint32_t word_hash = slc_hash(word.data, word.bytes);
    topic_node *child = parent->literals > 0 ? literal_find(t, parent, word, word_hash) : NULL;
    if (child == NULL) {
        child = node_new(t, parent, 0, word);
        child->slot_hash = slot_hash_of(parent, word_hash);
        literal_insert(t, child);
    }
    return child;
}

/** Free node and its ancestors as far as nothing needs them. */
static void node_prune(slc_topic *t, topic_node *node)
{
    while (node->parent != NULL && node->bindings == NULL && node->star == NULL &&
           node->hash == NULL && node->literals == 0) {
        topic_node *parent = node->parent;
        if (node->edge == '*')
            parent->star = NULL;
        else if (node->edge == '#')
            parent->hash = NULL;
        else
            literal_erase(t, node);
        slc_free(node);
        t->nodes--;
        node = parent;
    }
}

slc_topic *slc_topic_new(void)
{
    slc_topic *t = slc_alloc_zero(1, sizeof *t);
    t->root = node_new(t, NULL, 0, (slc_slice){0});
    return t;
}

void slc_topic_free(slc_topic *topic)
{
    if (topic == NULL)
        return;
    SLC_ASSERT(topic->nodes == 1);
    SLC_ASSERT(topic->root->bindings == NULL);
    slc_free(topic->root);
    slc_free(topic->slots);
    slc_free(topic->sets[0].nodes);
    slc_free(topic->sets[1].nodes);
    slc_free(topic->staying.nodes);
    slc_free(topic);
}

void slc_topic_add(slc_topic *topic, slc_binding *binding)
{
    topic_node *node = topic->root;
    words all = words_of(binding->key);
    slc_slice word;
    while (words_next(&all, &word))
        node = child_ensure(topic, node, word);
    DL_APPEND2(node->bindings, binding, kind_prev, kind_next);
    binding->kind_data = node;
}

void slc_topic_remove(slc_topic *topic, slc_binding *binding)
{
    topic_node *node = binding->kind_data;
    DL_DELETE2(node->bindings, binding, kind_prev, kind_next);
    node_prune(topic, node);
}

uint32_t slc_topic_nodes(const slc_topic *topic)
{
    return topic->nodes;
}

/* ---- matching ---- */

static void set_put(topic_set *set, topic_node *node)
{
    if (set->count == set->capacity) {
        set->capacity = set->capacity == 0 ? 16 : set->capacity * 2;
        set->nodes = slc_realloc(set->nodes, set->capacity * sizeof(set->nodes[0]));
    }
    set->nodes[set->count++] = node;
}

static void node_emit(const topic_node *node, slc_route *route)
{
    for (slc_binding *b = node->bindings; b != NULL; b = b->kind_next)
        slc_route_to(route, b);
}

/** The words so far lead to node. It may be the end of a key, and `#` below it matches no word at
 * all. A `#` node matches whatever follows, so its bindings match here and now. */
static void node_reach(slc_topic *t, topic_set *set, topic_node *node, slc_route *route)
{
    set_put(set, node);
    for (topic_node *h = node->hash; h != NULL && h->reached != t->serial; h = h->hash) {
        h->reached = t->serial;
        node_emit(h, route);
        if (h->star != NULL || h->literals > 0)
            set_put(&t->staying, h);
    }
}

static void node_step(slc_topic *t, topic_set *next, const topic_node *node, slc_slice word,
                      uint32_t word_hash, slc_route *route)
{
    if (node->star != NULL)
        node_reach(t, next, node->star, route);
    if (node->literals > 0) {
        topic_node *child = literal_find(t, node, word, word_hash);
        if (child != NULL)
            node_reach(t, next, child, route);
    }
}

void slc_topic_route(slc_topic *topic, slc_slice key, slc_route *route)
{
    topic_set *now = &topic->sets[0], *next = &topic->sets[1];
    topic->serial++;
    topic->staying.count = 0;
    now->count = 0;
    node_reach(topic, now, topic->root, route);

    words all = words_of(key);
    slc_slice word;
    while (words_next(&all, &word)) {
        uint32_t word_hash = slc_hash(word.data, word.bytes);
        uint32_t staying =
            topic->staying.count; // those that join now take words from the next one on
        next->count = 0;
        for (uint32_t i = 0; i < now->count; i++)
            node_step(topic, next, now->nodes[i], word, word_hash, route);
        for (uint32_t i = 0; i < staying; i++)
            node_step(topic, next, topic->staying.nodes[i], word, word_hash, route);
        topic_set *before = now;
        now = next;
        next = before;
        if (now->count == 0 && topic->staying.count == 0)
            return;
    }
    for (uint32_t i = 0; i < now->count; i++)
        node_emit(now->nodes[i], route);
}
