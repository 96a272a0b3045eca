/** What the files of an import share: definitions_import.c runs it from the file to the end, import_settings.c checks and stages
 *  vhosts, parameters and policies, import_topology.c queues, exchanges and bindings.
 *
 *  Staged: checked and not yet there. What a file makes is met by what comes later in it as if it were there.
 *  Thread: the loop.
 */
#ifndef SLC_CORE_DEFINITIONS_IMPORT_H
#define SLC_CORE_DEFINITIONS_IMPORT_H

#include <jansson.h>

#include "core/definitions_file.h"
#include "core/internal.h"

/** A vhost that is there or will be. */
typedef struct slc_staged_vhost {
    slc_slice name; // owned
    slc_id id;
    slc_vhost *existing; // NULL: this file makes it
    slc_vhost stand_in;  // for what asks for a vhost by pointer; of a new one
    UT_hash_handle hh;
} slc_staged_vhost;

/** A queue or exchange that is there or will be. */
typedef struct slc_staged_dest {
    slc_slice key; // owned: vhost id, kind, name
    slc_id id;
    bool durable;
    slc_destination *existing; // NULL: this file makes it
    slc_exchange *made;        // a new exchange, to ask its kind about bindings; owned
    UT_hash_handle hh;
} slc_staged_dest;

typedef struct slc_staged_binding {
    slc_slice key; // owned: both ids, key, sorted arguments
    UT_hash_handle hh;
} slc_staged_binding;

/** A key of the users' that this file puts. */
typedef struct slc_staged_key {
    slc_slice key; // owned
    UT_hash_handle hh;
} slc_staged_key;

/** What is not durable: made when the rest is there. */
typedef struct slc_late_item {
    void (*make)(slc_vhost *vhost, const json_t *item);
    const json_t *item;
    slc_slice vhost; // of the staged one
} slc_late_item;

typedef struct slc_import {
    slc_definitions_sink sink; // first
    slc_broker *broker;
    json_t *root;
    slc_slice only; // owned
    slc_definitions_done done;
    void *arg;
    bool hold_asked, held; // of users
    bool proposed;
    char actor[256]; // who imports

    slc_changes changes;
    slc_staged_vhost *vhosts;
    slc_staged_dest *dests;
    slc_staged_binding *bindings;
    slc_staged_key *keys;
    slc_late_item *late;
    uint32_t late_count, late_capacity;
    uint32_t vhosts_made;
    uint32_t made, left_out; // objects; bindings without an end
    slc_buffer report;
    uint32_t wrong;

    // of the item at hand
    const char *section;
    size_t index;
    struct slc_import *prev, *next;
} slc_import;

/* definitions_import.c */
/** A line for the report about the item at hand. */
void slc_import_wrong(slc_import *job, const char *what, slc_slice name, const char *format, ...)
    SLC_PRINTF(4, 5);
/** Fields of an item. False: said what is wrong. */
bool slc_import_name(slc_import *job, const json_t *item, const char *key, const char *what,
                     size_t min, slc_slice *out);
/** true, false, "true", "false"; absent: fallback. */
bool slc_import_bool(slc_import *job, const json_t *item, const char *key, const char *what,
                     slc_slice name, bool fallback, bool *out);
bool slc_import_arguments(slc_import *job, const json_t *item, const char *what, slc_slice name,
                          slc_buffer *out);

/* import_settings.c */
/** NULL: it is not there and not in the file. */
slc_staged_vhost *slc_import_vhost_find(slc_import *job, slc_slice name);
/** The vhost of an item; NULL: said what is wrong. */
slc_staged_vhost *slc_import_vhost_of(slc_import *job, const json_t *item, const char *what,
                                      slc_slice name);
const slc_vhost *slc_import_vhost_pointer(const slc_staged_vhost *staged);
void slc_import_vhost(slc_import *job, const json_t *item);
void slc_import_parameter(slc_import *job, const json_t *item);
void slc_import_global(slc_import *job, const json_t *item);
void slc_import_policy(slc_import *job, const json_t *item);

/* import_topology.c */
slc_staged_dest *slc_import_dest_stage(slc_import *job, const slc_staged_vhost *vhost,
                                       slc_dest_kind kind, slc_slice name, const slc_id *id,
                                       slc_destination *existing, bool durable);
void slc_import_queue(slc_import *job, const json_t *item);
void slc_import_exchange(slc_import *job, const json_t *item);
void slc_import_binding(slc_import *job, const json_t *item);

#endif
