/** Definitions as a file: RabbitMQ's JSON, out and in.
 *
 *      export: one text, of the whole broker or of one vhost (then without users and without `vhost` keys)
 *      import: parse ──> wait until no change of definitions or users is under way ──> check every object, collect what is wrong
 *                   ──> one proposal, all or nothing ──> done
 *
 *  Import merges. Queues, exchanges and bindings that exist stay as they are, also when the file says something else; policies,
 *  parameters and what users have are replaced. Unknown sections and keys are ignored. A binding whose exchange or queue is
 *  neither here nor in the file is left out and logged: RabbitMQ's command line exports those of exclusive queues. What is not
 *  durable is made in memory after the rest is stored.
 *
 *  Thread: the loop.  @spec management-api 6
 */
#ifndef SLC_CORE_DEFINITIONS_FILE_H
#define SLC_CORE_DEFINITIONS_FILE_H

#include <jansson.h>

#include "base/table.h"
#include "core/broker.h"

/** Sections that another module owns, in the order in which they are imported. */
typedef enum slc_definitions_section {
    SLC_DEFINITIONS_USERS,
    SLC_DEFINITIONS_PERMISSIONS,
    SLC_DEFINITIONS_TOPIC_PERMISSIONS,
    SLC_DEFINITIONS_SECTIONS,
} slc_definitions_section;

/** Where an import collects changes of the control plane. */
typedef struct slc_definitions_sink {
    /** Both are copied; value.data NULL deletes. */
    void (*put)(struct slc_definitions_sink *sink, slc_slice key, slc_slice value);
    /** This file puts the key. */
    bool (*has)(struct slc_definitions_sink *sink, slc_slice key);
    /** The id (SLC_UUID_BYTES octets) of a vhost that exists or that this file makes; NULL: neither. */
    const uint8_t *(*vhost_id)(struct slc_definitions_sink *sink, slc_slice name);
} slc_definitions_sink;

typedef struct slc_definitions_users {
    /** Append the section's objects, with commas between them. */
    void (*export_section)(slc_definitions_section section, slc_buffer *out, void *arg);
    /** One object of the section. version: the file's rabbit_version or "". Not SLC_OK: error says what is wrong with it. */
    slc_err (*import_item)(slc_definitions_section section, const json_t *item, const char *version,
                           slc_definitions_sink *sink, slc_error *error, void *arg);
    /** Before the first item of a file: nobody else changes users from when held runs (later) until the release. */
    void (*hold)(const json_t *root, void (*held)(void *held_arg), void *held_arg, void *arg);
    /** After the last; also takes a hold back whose held has not run. */
    void (*release)(void *arg);
    void *arg;
} slc_definitions_users;

/** users is borrowed for the broker's life. Without it the sections are exported empty, and a file that has them is imported
 *  without them, with a warning in the log. */
void slc_definitions_set_users(slc_broker *broker, const slc_definitions_users *users);

/** Append the JSON text. vhost NULL: everything. product and version are ours; the file says that RabbitMQ 3.10 reads it. */
void slc_definitions_export(slc_broker *broker, slc_vhost *vhost, const char *product,
                            const char *version, slc_buffer *out);

/** report: what was wrong, a line each (at most 20, then how many more), "" when all is well. */
typedef void (*slc_definitions_done)(slc_err rc, const char *report, void *arg);

/** root is borrowed for the call (a reference is taken). vhost: name of the vhost that everything in the file goes to; bytes 0: the
 *  file says. done runs once, in a later turn. SLC_EINVAL: the file is wrong and nothing was changed. */
void slc_definitions_import(slc_broker *broker, json_t *root, slc_slice vhost,
                            slc_definitions_done done, void *arg);
/** Parse a text: SLC_EINVAL with line and column. The caller's to decref. */
SLC_MUST_USE slc_err slc_definitions_parse(slc_slice text, json_t **root, slc_error *error);

#endif
