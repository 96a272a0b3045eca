/** Users: who may log in, and what they may do.
 *
 *  Users, permissions and topic permissions are objects of the control plane (first octet of the key 5, 6, 7). What is
 *  asked (slc_auth_user_put and its kin) is proposed; it counts once slc_auth_apply has seen it, on this node and at every
 *  start.
 *
 *      options.propose ◄── slc_auth_user_put ...         slc_auth_check ──► known pair: SLC_OK at once
 *             │                                                │
 *             ▼                                                ▼ unknown pair
 *      slc_auth_apply ──► users, permissions            worker thread: argon2id ──► done, later on the loop
 *             │
 *             ▼
 *      options.changed (cached decisions are void)
 *
 *  A password costs about 75 ms of a worker (argon2id, 19 MiB, 2 passes) the first time; the pair is then known for
 *  auth.cache_ttl, as an HMAC under a key of this process. Many checks of one pair at a time share one computation.
 *  Refusals are late by auth.failure_delay, and a peer address (of IPv6: its network of 64 bits) that failed too often in a
 *  minute is refused unread.
 *
 *  Owner: the caller. Thread: the loop, all of it; callbacks come on it, and never inside the call that caused them.
 *  @spec amqp-semantics 4.2, 6.3, 6.4; operations 5
 */
#ifndef SLC_AUTH_AUTH_H
#define SLC_AUTH_AUTH_H

#include <stdint.h>
#include <uv.h>

#include "auth/credentials.h"
#include "base/error.h"
#include "base/records.h"

enum {
    SLC_AUTH_NAME_BYTES_MAX = 255,
    SLC_AUTH_PASSWORD_BYTES_MAX = 1024, // longer ones are refused
    SLC_AUTH_HASH_BYTES_MAX = 256,
    SLC_AUTH_PATTERN_BYTES_MAX = 4096, // of one permission pattern
    SLC_AUTH_TAGS_BYTES_MAX = 1024,
};

typedef struct slc_auth slc_auth;

/** How a password is kept. The names are those of RabbitMQ's hashing_algorithm and password_hashing_module. */
typedef enum slc_auth_hashing {
    SLC_AUTH_ARGON2ID, // "argon2id": a PHC string
    SLC_AUTH_SHA256, // "rabbit_password_hashing_sha256": 4 octets of salt, digest of salt and password
    SLC_AUTH_SHA512, // "rabbit_password_hashing_sha512"
    SLC_AUTH_MD5,    // "rabbit_password_hashing_md5": imported ones only
} slc_auth_hashing;

const char *slc_auth_hashing_name(slc_auth_hashing hashing);
/** Also SHA-256 of an empty name, which old exports leave out. */
bool slc_auth_hashing_find(slc_slice name, slc_auth_hashing *out);

struct slc_auth_event;

typedef struct slc_auth_options {
    uv_loop_t *loop;
    uint32_t cache_ttl_ms;               // 0: every login is computed
    uint32_t failure_delay_ms;           // least time until a refusal
    uint32_t max_failures_per_minute;    // of one address; 0: any number
    slc_auth_hashing hashing;            // of new passwords; not MD5
    slc_credentials_options credentials; // what new passwords must be like; copied
    /** Users who may only come from this machine; NULL: nobody. */
    bool (*loopback_only)(void *arg, slc_slice user);
    /** As slc_env.propose. NULL in tests without a control plane: applied at once. */
    void (*propose)(void *arg, const slc_change *changes, uint32_t count,
                    void (*done)(slc_err rc, void *done_arg), void *done_arg);
    /** As slc_broker_actor and slc_broker_act_as: what is asked is proposed later, on behalf of the same. Both or none. */
    const char *(*actor)(void *arg);
    void (*act_as)(void *arg, const char *user);
    /** A permission or a user changed: decisions that were kept are void. NULL: nobody keeps any. */
    void (*changed)(void *arg);
    /** The user is gone: their connections have to go. NULL: as above. */
    void (*user_deleted)(void *arg, slc_slice user);
    /** Something changed, in RabbitMQ's words. Also while the definitions are loaded at the start. NULL: as above. */
    void (*event)(void *arg, const struct slc_auth_event *event);
    /** It exists and nobody deletes it. Asked when a permission is about to be proposed: the one who asked for it looked some time
     *  ago. NULL: every vhost is there. */
    bool (*vhost_stays)(void *arg, slc_slice vhost);
    void *arg;
} slc_auth_options;

slc_auth *slc_auth_new(const slc_auth_options *options);
/** Checks under way are dropped; a computation that runs is waited for by the loop, which has to run until its handles are
 *  closed. */
void slc_auth_free(slc_auth *auth);
/** Reload: ttl, delay, failures, hashing, credentials. */
void slc_auth_set(slc_auth *auth, const slc_auth_options *options);

/** From and to the base64 of password_hash in definitions. out: SLC_AUTH_HASH_BYTES_MAX octets; false: no base64, too long. */
bool slc_auth_hash_decode(slc_slice base64, uint8_t *out, size_t *bytes);

/* ---- logging in ---- */

typedef struct slc_auth_ticket slc_auth_ticket;

/** The answer that came later: SLC_OK, or SLC_EACCESS with the reason for the log, which the peer must not see. */
typedef void (*slc_auth_checked)(slc_err rc, const slc_error *error, void *arg);

/** May this peer log in as user?
 *
 *  @param address  of the peer, for the limit of failures; "" for none (a unix socket).
 *  @param loopback the peer is on this machine.
 *  @return SLC_OK: the pair is known and good, done is not called. SLC_EPENDING: done is called once, later, unless the
 *          ticket is cancelled before; *ticket is valid until then. Nothing else. */
SLC_MUST_USE slc_err slc_auth_check(slc_auth *auth, slc_slice user, slc_slice password,
                                    const char *address, bool loopback, slc_auth_checked done,
                                    void *arg, slc_auth_ticket **ticket);
/** Nobody waits for the answer any more (the peer went): done is not called. */
void slc_auth_cancel(slc_auth_ticket *ticket);

/** For a peer whose certificate proved who it is: the user must exist. SLC_EACCESS as above. */
SLC_MUST_USE slc_err slc_auth_check_external(const slc_auth *auth, slc_slice user, bool loopback,
                                             slc_error *error);

typedef struct slc_auth_counts {
    uint64_t attempts, failed, cached, computed, limited;
    uint32_t waiting;   // pairs that are not computed yet
    uint32_t addresses; // that failed within a minute and are remembered
} slc_auth_counts;
void slc_auth_counts_get(const slc_auth *auth, slc_auth_counts *out);

/* ---- users ---- */

typedef enum slc_auth_tag {
    SLC_AUTH_TAG_MANAGEMENT = 1, // implied by the three below
    SLC_AUTH_TAG_POLICYMAKER = 2,
    SLC_AUTH_TAG_MONITORING = 4,
    SLC_AUTH_TAG_ADMINISTRATOR = 8, // implies monitoring and management
    SLC_AUTH_TAG_IMPERSONATOR = 16,
} slc_auth_tag;

typedef struct slc_auth_user {
    slc_slice name;
    slc_slice tags;          // as they were set, separated by commas
    uint32_t tag_bits;       // slc_auth_tag, with what they imply
    slc_slice password_hash; // octets (not base64); bytes 0: cannot log in with a password
    slc_auth_hashing hashing;
    int64_t max_connections, max_channels; // -1: no limit
    bool max_connections_set, max_channels_set;
} slc_auth_user;

/** NULL: there is none. Valid until the next turn. */
const slc_auth_user *slc_auth_user_find(const slc_auth *auth, slc_slice name);
/** In order of names. */
void slc_auth_each_user(const slc_auth *auth, void (*each)(const slc_auth_user *user, void *arg),
                        void *arg);
uint32_t slc_auth_user_count(const slc_auth *auth);

/* ---- permissions ---- */

typedef enum slc_auth_access {
    SLC_AUTH_CONFIGURE,
    SLC_AUTH_WRITE,
    SLC_AUTH_READ,
} slc_auth_access;

typedef struct slc_auth_permission {
    slc_slice user, vhost;
    slc_slice exchange;               // topic permissions only
    slc_slice configure, write, read; // configure: not of topic permissions
} slc_auth_permission;

const slc_auth_permission *slc_auth_permission_find(const slc_auth *auth, slc_slice user,
                                                    slc_slice vhost);
/** user, vhost: bytes 0 means any. In order of their keys. */
void slc_auth_each_permission(const slc_auth *auth, slc_slice user, slc_slice vhost,
                              void (*each)(const slc_auth_permission *permission, void *arg),
                              void *arg);
void slc_auth_each_topic_permission(const slc_auth *auth, slc_slice user, slc_slice vhost,
                                    void (*each)(const slc_auth_permission *permission, void *arg),
                                    void *arg);

/** user.created user.deleted user.password.changed user.password.cleared user.tags.set user.limits.set user.limits.cleared
 *  permission.created permission.deleted topic.permission.created topic.permission.deleted. What is set again to what it was makes
 *  none, and with a user go no permission.deleted; with a vhost they do. */
typedef struct slc_auth_event {
    const char *name;
    const slc_auth_user *user;             // of user.*; of a deleted one the last record
    const slc_auth_permission *permission; // of the others
    bool deleted;
} slc_auth_event;

/** There is a record for (user, vhost), whatever it allows. */
bool slc_auth_may_enter(const slc_auth *auth, slc_slice user, slc_slice vhost);
/** The pattern of that access matches name (the default exchange is amq.default). A pattern that needs too much work is
 *  refused and logged. */
bool slc_auth_may(const slc_auth *auth, slc_slice user, slc_slice vhost, slc_auth_access access,
                  slc_slice name);
/** False while there is no topic permission at all, so that nobody need ask. */
bool slc_auth_has_topics(const slc_auth *auth);
/** True when no topic permission exists for (user, vhost, exchange). {username}, {vhost} and {client_id} in the pattern
 *  stand for themselves taken literally. access is WRITE or READ. */
bool slc_auth_may_topic(const slc_auth *auth, slc_slice user, slc_slice vhost, slc_slice exchange,
                        slc_auth_access access, slc_slice key, slc_slice client_id);

/* ---- changes: done runs once, later on the loop. They are worked off one after the other. ---- */

/** What a new password must be like (credential_validator.*): SLC_EPRECONDITION, and a line of the log. For whoever makes users by
 *  slc_auth_changes_user, which sees hashes only. */
SLC_MUST_USE slc_err slc_auth_password_allowed(const slc_auth *auth, slc_slice user,
                                               slc_slice password, slc_error *error);

/** SLC_OK: durable and in force. SLC_EINVAL: a value breaks a rule that error names. SLC_EPRECONDITION: the password is not allowed. SLC_ENOTFOUND, SLC_EEXIST: the user.
 *  SLC_ENOSPC: the control plane is full. */
typedef void (*slc_auth_done)(slc_err rc, const slc_error *error, void *arg);

typedef enum slc_auth_put {
    SLC_AUTH_PUT_CREATE =
        1, // SLC_EEXIST when there is one of this name; without it and UPSERT: must exist
    SLC_AUTH_PUT_UPSERT = 2,   // create or change
    SLC_AUTH_PUT_TAGS = 4,     // .tags
    SLC_AUTH_PUT_PASSWORD = 8, // .password; it is hashed on a worker
    SLC_AUTH_PUT_HASH = 16,    // .password_hash, .hashing; bytes 0: no password
    SLC_AUTH_PUT_MAX_CONNECTIONS = 32,
    SLC_AUTH_PUT_MAX_CHANNELS = 64,
    SLC_AUTH_CLEAR_MAX_CONNECTIONS = 128,
    SLC_AUTH_CLEAR_MAX_CHANNELS = 256,
} slc_auth_put;

typedef struct slc_auth_user_change {
    uint32_t put; // slc_auth_put
    slc_slice name;
    slc_slice tags; // separated by commas, blanks around them are dropped
    slc_slice password;
    slc_slice password_hash; // octets (not base64)
    slc_auth_hashing hashing;
    int64_t max_connections, max_channels; // negative: no limit
} slc_auth_user_change;

/** change is copied; done may be NULL in all of these. */
void slc_auth_user_put(slc_auth *auth, const slc_auth_user_change *change, slc_auth_done done,
                       void *arg);
/** With their permissions; all of the names or, when one is unknown, none. */
void slc_auth_users_delete(slc_auth *auth, const slc_slice *names, uint32_t count,
                           slc_auth_done done, void *arg);
/** configure NULL data: a topic permission for .exchange. SLC_ENOTFOUND: there is no such user, or no such vhost (any more). */
void slc_auth_permission_put(slc_auth *auth, const slc_auth_permission *permission, bool topic,
                             slc_auth_done done, void *arg);
/** topic: those for exchange, or for all exchanges when exchange.data is NULL. SLC_ENOTFOUND: none. */
void slc_auth_permission_delete(slc_auth *auth, slc_slice user, slc_slice vhost, bool topic,
                                slc_slice exchange, slc_auth_done done, void *arg);

/* ---- the control plane ---- */

enum {
    SLC_AUTH_OBJECT_FIRST = 5, // first octet of the keys that slc_auth_apply takes
    SLC_AUTH_OBJECT_LAST = 7,
};

/** Whether the key is of an object of ours. */
static inline bool slc_auth_owns(slc_slice key)
{
    return key.bytes > 0 && key.data[0] >= SLC_AUTH_OBJECT_FIRST &&
           key.data[0] <= SLC_AUTH_OBJECT_LAST;
}

/** A committed change. SLC_EVERSION, SLC_ECORRUPT: it cannot be read, error says so. */
SLC_MUST_USE slc_err slc_auth_apply(slc_auth *auth, const slc_change *change, slc_error *error);

/** Changes for the caller's proposal, keys and values owned by it. */
typedef struct slc_auth_changes {
    slc_change *items;
    uint32_t count, capacity;
} slc_auth_changes;
/** Everything that goes with a vhost, what is proposed and not applied yet too. */
void slc_auth_changes_drop_vhost(const slc_auth *auth, slc_slice vhost, slc_auth_changes *changes);
/** All rights for user, who created the vhost. */
void slc_auth_changes_grant(slc_slice user, slc_slice vhost, slc_auth_changes *changes);
/** What slc_auth_user_put with these values would propose, but for SLC_AUTH_PUT_PASSWORD, which is not allowed. Errors as there. */
SLC_MUST_USE slc_err slc_auth_changes_user(const slc_auth *auth, const slc_auth_user_change *change,
                                           slc_auth_changes *changes, slc_error *error);
/** The same of slc_auth_permission_put; that user and vhost exist is the caller's to check. */
SLC_MUST_USE slc_err slc_auth_changes_permission(const slc_auth_permission *permission, bool topic,
                                                 slc_auth_changes *changes, slc_error *error);
void slc_auth_changes_fini(slc_auth_changes *changes);

/** Nobody changes users or permissions from when held runs, later on the loop, until the release: what the caller proposes itself
 *  is worked out from what holds then. One hold at a time. */
void slc_auth_hold(slc_auth *auth, void (*held)(void *arg), void *arg);
/** End the hold; one whose held has not run is taken back. */
void slc_auth_release(slc_auth *auth);

/** At the first start (nobody exists): this administrator with these rights on vhost. Blocks for one hash. done as above. */
typedef struct slc_auth_first {
    const char *user, *password, *tags, *vhost, *configure, *write, *read;
} slc_auth_first;
void slc_auth_first_user(slc_auth *auth, const slc_auth_first *first, slc_auth_done done,
                         void *arg);

#endif
