/** What the files of auth/ share; nobody else includes it, but for unit tests. */
#ifndef SLC_AUTH_AUTH_IMPL_H
#define SLC_AUTH_AUTH_IMPL_H

#include <utlist.h>

#include "auth/auth.h"
#include "auth/pattern.h"
#include "base/alloc.h"
#include "base/map.h"

enum {
    AUTH_KIND_USER = 5,
    AUTH_KIND_PERMISSION = 6,
    AUTH_KIND_TOPIC = 7,
    AUTH_KEY_BYTES_MAX = 511,
    AUTH_MAC_BYTES = 32,
    AUTH_TICK_NEVER = 0,
};

typedef struct auth_user {
    slc_auth_user info; // slices owned
    uint64_t serial;    // another with every change
    UT_hash_handle hh;  // of auth->users by name
} auth_user;

typedef struct auth_permission {
    slc_auth_permission info; // slices owned
    slc_slice key;            // owned: that of the control plane
    slc_pattern *patterns
        [3]; // by slc_auth_access; NULL: it does not compile (an older PCRE2 took it), nothing matches
    UT_hash_handle hh; // of auth->permissions or ->topics by key
} auth_permission;

typedef struct auth_mutation auth_mutation;
typedef struct auth_job auth_job;
typedef struct auth_known auth_known;
typedef struct auth_address auth_address;

struct slc_auth {
    slc_auth_options options;
    slc_credentials credentials;
    uint32_t refs; // handles that are not closed, works that run, and one of the owner
    bool freed;

    auth_user *users;
    auth_permission *permissions, *topics;
    uint64_t last_serial;

    // change.c
    auth_mutation *mutations; // DL; the first is under way when `mutating`
    bool mutating;
    uv_timer_t turn; // starts the first of them, on an empty stack

    // check.c
    uint8_t mac_key[AUTH_MAC_BYTES];
    auth_known *known;      // by mac, oldest first
    auth_address *failures; // by address, oldest first
    auth_job *jobs;         // by mac: waiting and running
    auth_job *queue;        // DL: those that wait
    uint32_t queued, running, running_max;
    slc_auth_ticket *delayed; // DL by due time
    uv_timer_t timer;         // of the first of them
    slc_auth_counts counts;
};

/* auth.c */
auth_user *auth_user_find(const slc_auth *auth, slc_slice name);
slc_slice auth_copy(slc_slice slice);
void auth_drop(slc_slice *slice);
/** Length-prefixed names behind the kind; when that is too long, a digest of them. out: AUTH_KEY_BYTES_MAX octets. */
slc_slice auth_key(uint8_t kind, const slc_slice *names, uint32_t count, uint8_t *out);
void auth_unref(slc_auth *auth);

/* encode.c: the layout of the objects is drawn there */
void auth_changes_put_user(slc_auth_changes *changes, const slc_auth_user *user);
void auth_changes_put_permission(slc_auth_changes *changes, const slc_auth_permission *permission,
                                 bool topic);
void auth_changes_delete(slc_auth_changes *changes, slc_slice key);
bool auth_decode_user(slc_slice value, slc_auth_user *out);
bool auth_decode_permission(slc_slice value, bool topic, slc_auth_permission *out);
/** 0: it does not decode. */
uint64_t auth_decode_version(slc_slice value);
uint32_t auth_tag_bits(slc_slice tags);

/* change.c */
void auth_mutations_init(slc_auth *auth);
/** Deletes a permission that is proposed for the vhost. */
void auth_mutation_drop_vhost(const slc_auth *auth, slc_slice vhost, slc_auth_changes *changes);
void auth_mutations_fini(slc_auth *auth);

/* check.c */
void auth_checks_init(slc_auth *auth);
void auth_checks_fini(slc_auth *auth);

#endif
