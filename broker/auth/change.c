// Changes of users and permissions, one after the other: each is worked out from what the one before it made, so that two
// which come at the same moment do not undo each other.
//
//     slc_auth_user_put ... ──> queue ──turn──> (password: worker) ──> checks ──> propose ──> applied ──> done, next
//     slc_auth_hold ──────────> queue ──turn──> held; the next one waits for slc_auth_release
#include <sodium.h>
#include <stdio.h>

#include "auth/auth_impl.h"
#include "auth/password.h"
#include "base/log.h"

typedef enum mutation_kind {
    MUTATION_USER,
    MUTATION_USERS_DELETE,
    MUTATION_PERMISSION,
    MUTATION_PERMISSION_DELETE,
    MUTATION_HOLD,
} mutation_kind;

struct auth_mutation {
    slc_auth *auth;
    mutation_kind kind;
    slc_auth_user_change user; // slices owned
    slc_slice *names;          // to delete; owned
    uint32_t name_count;
    slc_auth_permission permission; // slices owned
    bool topic, all_exchanges;
    void (*held)(void *arg);
    slc_auth_done done;
    void *arg;

    uv_work_t work;
    slc_auth_hashing hashing; // of the password that is hashed
    uint8_t hash[SLC_AUTH_HASH_BYTES_MAX];
    size_t hash_bytes;
    slc_err hash_rc;

    char actor[256]; // who asked
    slc_error error;
    auth_mutation *prev, *next;
};

static void mutation_free(auth_mutation *m)
{
    if (m->user.password.bytes > 0)
        sodium_memzero((void *)(uintptr_t)m->user.password.data, m->user.password.bytes);
    auth_drop(&m->user.name);
    auth_drop(&m->user.tags);
    auth_drop(&m->user.password);
    auth_drop(&m->user.password_hash);
    for (uint32_t i = 0; i < m->name_count; i++)
        auth_drop(&m->names[i]);
    slc_free(m->names);
    auth_drop(&m->permission.user);
    auth_drop(&m->permission.vhost);
    auth_drop(&m->permission.exchange);
    auth_drop(&m->permission.configure);
    auth_drop(&m->permission.write);
    auth_drop(&m->permission.read);
    slc_free(m);
}

static void turn_cb(uv_timer_t *timer);

static void mutations_wake(slc_auth *auth)
{
    if (auth->mutations != NULL && !auth->mutating && !auth->freed)
        uv_timer_start(&auth->turn, turn_cb, 0, 0);
}

static void mutation_end(auth_mutation *m, slc_err rc)
{
    slc_auth *auth = m->auth;
    DL_DELETE(auth->mutations, m);
    auth->mutating = false;
    if (m->done != NULL && !auth->freed)
        m->done(rc, rc == SLC_OK ? NULL : &m->error, m->arg);
    mutation_free(m);
    mutations_wake(auth);
}

/* ---- rules ---- */

static slc_err name_check(const char *what, slc_slice name, bool may_be_empty, slc_error *error)
{
    if (name.bytes == 0 && !may_be_empty)
        return slc_error_set(error, SLC_EINVAL, "the name of a %s may not be empty", what);
    if (name.bytes > SLC_AUTH_NAME_BYTES_MAX)
        return slc_error_set(error, SLC_EINVAL, "the name of a %s has %zu octets, at most %d", what,
                             name.bytes, SLC_AUTH_NAME_BYTES_MAX);
    if (name.bytes > 0 && memchr(name.data, 0, name.bytes) != NULL)
        return slc_error_set(error, SLC_EINVAL, "the name of a %s may not hold a NUL octet", what);
    return SLC_OK;
}

slc_err slc_auth_password_allowed(const slc_auth *auth, slc_slice user, slc_slice password,
                                  slc_error *error)
{
    slc_err rc = slc_credentials_check(&auth->credentials, password, error);
    if (rc != SLC_OK)
        slc_log(SLC_LOG_ERROR, "auth", "auth.password_refused", SLC_NO_FIELDS,
                "Credential validation for '%.*s' failed!", SLC_SLICE_FMT(user));
    return rc;
}

static slc_err user_check(const slc_auth *auth, const slc_auth_user_change *c, slc_error *error)
{
    slc_err rc = name_check("user", c->name, false, error);
    if (rc != SLC_OK)
        return rc;
    if ((c->put & SLC_AUTH_PUT_TAGS) != 0 && c->tags.bytes > SLC_AUTH_TAGS_BYTES_MAX)
        return slc_error_set(error, SLC_EINVAL, "user '%.*s': tags have %zu octets, at most %d",
                             SLC_SLICE_FMT(c->name), c->tags.bytes, SLC_AUTH_TAGS_BYTES_MAX);
    if ((c->put & SLC_AUTH_PUT_PASSWORD) != 0 && c->password.bytes == 0)
        return slc_error_set(
            error, SLC_EINVAL,
            "user '%.*s': the password is empty; with an empty one nobody can log in",
            SLC_SLICE_FMT(c->name));
    if ((c->put & SLC_AUTH_PUT_PASSWORD) != 0 && c->password.bytes > SLC_AUTH_PASSWORD_BYTES_MAX)
        return slc_error_set(error, SLC_EINVAL, "user '%.*s': the password has more than %d octets",
                             SLC_SLICE_FMT(c->name), SLC_AUTH_PASSWORD_BYTES_MAX);
    if ((c->put & SLC_AUTH_PUT_PASSWORD) != 0)
        return slc_auth_password_allowed(auth, c->name, c->password, error);
    if ((c->put & SLC_AUTH_PUT_HASH) != 0)
        return slc_password_hash_check(c->hashing, c->password_hash, error);
    return SLC_OK;
}

static slc_err permission_check(const slc_auth_permission *p, slc_error *error)
{
    const slc_slice texts[] = {p->configure, p->write, p->read};
    slc_err rc = name_check("user", p->user, false, error);
    if (rc == SLC_OK)
        rc = name_check("vhost", p->vhost, false, error);
    if (rc == SLC_OK)
        rc = name_check("exchange", p->exchange, true, error);
    for (size_t i = 0; rc == SLC_OK && i < SLC_ARRAY_COUNT(texts); i++) {
        slc_pattern *pattern = NULL;
        if (texts[i].bytes > SLC_AUTH_PATTERN_BYTES_MAX)
            return slc_error_set(error, SLC_EINVAL,
                                 "a permission pattern has %zu octets, at most %d", texts[i].bytes,
                                 SLC_AUTH_PATTERN_BYTES_MAX);
        rc = slc_pattern_new(texts[i], &pattern, error);
        slc_pattern_free(pattern);
    }
    return rc;
}

/* ---- from a mutation to changes ---- */

static slc_err no_user(slc_slice name, slc_error *error)
{
    return slc_error_set(error, SLC_ENOTFOUND, "User \"%.*s\" does not exist", SLC_SLICE_FMT(name));
}

/** hash, hashing: of a password that is put. */
static slc_err user_changes(const slc_auth *auth, const slc_auth_user_change *c, slc_slice hash,
                            slc_auth_hashing hashing, slc_auth_changes *changes, slc_error *error)
{
    const slc_auth_user *old = slc_auth_user_find(auth, c->name);
    if (old != NULL && (c->put & SLC_AUTH_PUT_CREATE) != 0)
        return slc_error_set(error, SLC_EEXIST, "User \"%.*s\" already exists",
                             SLC_SLICE_FMT(c->name));
    if (old == NULL && (c->put & (SLC_AUTH_PUT_CREATE | SLC_AUTH_PUT_UPSERT)) == 0)
        return no_user(c->name, error);
    slc_auth_user user = {.name = c->name, .max_connections = -1, .max_channels = -1};
    if (old != NULL)
        user = *old;
    if ((c->put & SLC_AUTH_PUT_TAGS) != 0)
        user.tags = c->tags;
    if ((c->put & SLC_AUTH_PUT_PASSWORD) != 0) {
        user.password_hash = hash;
        user.hashing = hashing;
    }
    if ((c->put & SLC_AUTH_PUT_HASH) != 0) {
        user.password_hash = c->password_hash;
        user.hashing = c->hashing;
    }
    if ((c->put & (SLC_AUTH_PUT_MAX_CONNECTIONS | SLC_AUTH_CLEAR_MAX_CONNECTIONS)) != 0) {
        user.max_connections_set = (c->put & SLC_AUTH_PUT_MAX_CONNECTIONS) != 0;
        user.max_connections = user.max_connections_set ? c->max_connections : -1;
    }
    if ((c->put & (SLC_AUTH_PUT_MAX_CHANNELS | SLC_AUTH_CLEAR_MAX_CHANNELS)) != 0) {
        user.max_channels_set = (c->put & SLC_AUTH_PUT_MAX_CHANNELS) != 0;
        user.max_channels = user.max_channels_set ? c->max_channels : -1;
    }
    auth_changes_put_user(changes, &user);
    return SLC_OK;
}

static slc_err users_delete_changes(auth_mutation *m, slc_auth_changes *changes)
{
    for (uint32_t i = 0; i < m->name_count; i++) {
        if (auth_user_find(m->auth, m->names[i]) == NULL)
            return no_user(m->names[i], &m->error);
    }
    for (uint32_t i = 0; i < m->name_count; i++) {
        uint8_t key[AUTH_KEY_BYTES_MAX];
        auth_changes_delete(changes, auth_key(AUTH_KIND_USER, &m->names[i], 1, key));
        auth_permission *const maps[] = {m->auth->permissions, m->auth->topics};
        for (size_t k = 0; k < SLC_ARRAY_COUNT(maps); k++) {
            for (const auth_permission *p = maps[k]; p != NULL; p = p->hh.next) {
                if (slc_slice_equal(p->info.user, m->names[i]))
                    auth_changes_delete(changes, p->key);
            }
        }
    }
    return SLC_OK;
}

static slc_err permission_delete_changes(auth_mutation *m, slc_auth_changes *changes)
{
    const slc_auth_permission *want = &m->permission;
    if (auth_user_find(m->auth, want->user) == NULL)
        return no_user(want->user, &m->error);
    const auth_permission *p = m->topic ? m->auth->topics : m->auth->permissions;
    for (; p != NULL; p = p->hh.next) {
        if (slc_slice_equal(p->info.user, want->user) &&
            slc_slice_equal(p->info.vhost, want->vhost) &&
            (!m->topic || m->all_exchanges || slc_slice_equal(p->info.exchange, want->exchange)))
            auth_changes_delete(changes, p->key);
    }
    if (changes->count == 0)
        return slc_error_set(&m->error, SLC_ENOTFOUND,
                             "user '%.*s' has no such permission in vhost '%.*s'",
                             SLC_SLICE_FMT(want->user), SLC_SLICE_FMT(want->vhost));
    return SLC_OK;
}

static slc_err permission_changes(auth_mutation *m, slc_auth_changes *changes)
{
    const slc_auth_options *options = &m->auth->options;
    const slc_auth_permission *p = &m->permission;
    if (auth_user_find(m->auth, p->user) == NULL)
        return no_user(p->user, &m->error);
    if (options->vhost_stays != NULL && !options->vhost_stays(options->arg, p->vhost))
        return slc_error_set(&m->error, SLC_ENOTFOUND, "vhost '%.*s' does not exist",
                             SLC_SLICE_FMT(p->vhost));
    auth_changes_put_permission(changes, p, m->topic);
    return SLC_OK;
}

void auth_mutation_drop_vhost(const slc_auth *auth, slc_slice vhost, slc_auth_changes *changes)
{
    // It will be there when the deletion of the vhost is applied. Those behind it find no vhost when their turn comes.
    const auth_mutation *m = auth->mutations;
    if (!auth->mutating || m->kind != MUTATION_PERMISSION ||
        !slc_slice_equal(m->permission.vhost, vhost))
        return;
    slc_auth_changes put = {0};
    auth_changes_put_permission(&put, &m->permission, m->topic);
    auth_changes_delete(changes, put.items[0].key);
    slc_auth_changes_fini(&put);
}

static slc_err mutation_changes(auth_mutation *m, slc_auth_changes *changes)
{
    switch (m->kind) {
    case MUTATION_USER:
        return user_changes(m->auth, &m->user, slc_slice_of(m->hash, m->hash_bytes), m->hashing,
                            changes, &m->error);
    case MUTATION_USERS_DELETE:
        return users_delete_changes(m, changes);
    case MUTATION_PERMISSION:
        return permission_changes(m, changes);
    case MUTATION_PERMISSION_DELETE:
        return permission_delete_changes(m, changes);
    case MUTATION_HOLD:
        break;
    }
    return SLC_EINTERNAL;
}

static void mutation_proposed(slc_err rc, void *arg)
{
    auth_mutation *m = arg;
    if (rc != SLC_OK)
        slc_error_set(&m->error, rc, "cannot store the change: %s", slc_err_text(rc));
    mutation_end(m, rc);
}

static void mutation_propose(auth_mutation *m)
{
    slc_auth *auth = m->auth;
    slc_auth_changes changes = {0};
    slc_err rc = mutation_changes(m, &changes);
    if (rc != SLC_OK || changes.count == 0) {
        slc_auth_changes_fini(&changes);
        mutation_end(m, rc);
        return;
    }
    if (auth->options.propose != NULL) {
        if (auth->options.act_as != NULL)
            auth->options.act_as(auth->options.arg, m->actor);
        auth->options.propose(auth->options.arg, changes.items, changes.count, mutation_proposed,
                              m);
        if (auth->options.act_as != NULL)
            auth->options.act_as(auth->options.arg, NULL);
        slc_auth_changes_fini(&changes);
        return;
    }
    for (uint32_t i = 0; rc == SLC_OK && i < changes.count; i++)
        rc = slc_auth_apply(auth, &changes.items[i], &m->error);
    slc_auth_changes_fini(&changes);
    mutation_end(m, rc);
}

static void hash_work(uv_work_t *work)
{
    auth_mutation *m = SLC_CONTAINER_OF(work, auth_mutation, work);
    m->hash_rc = slc_password_hash(m->hashing, m->user.password, m->hash, &m->hash_bytes);
}

static void hash_done(uv_work_t *work, int status)
{
    auth_mutation *m = SLC_CONTAINER_OF(work, auth_mutation, work);
    slc_auth *auth = m->auth;
    if (auth->freed || status != 0 || m->hash_rc != SLC_OK) {
        slc_err rc = m->hash_rc != SLC_OK ? m->hash_rc : SLC_ECLOSED;
        slc_error_set(&m->error, rc, "the password cannot be hashed: %s", slc_err_text(rc));
        mutation_end(m, rc);
    } else {
        mutation_propose(m);
    }
    auth_unref(auth);
}

static void turn_cb(uv_timer_t *timer)
{
    slc_auth *auth = timer->data;
    auth_mutation *m = auth->mutations;
    if (m == NULL || auth->mutating)
        return;
    auth->mutating = true;
    if (m->kind == MUTATION_HOLD) {
        m->held(m->arg);
        return;
    }
    slc_err rc = SLC_OK;
    if (m->kind == MUTATION_USER)
        rc = user_check(m->auth, &m->user, &m->error);
    else if (m->kind == MUTATION_PERMISSION)
        rc = permission_check(&m->permission, &m->error);
    if (rc != SLC_OK) {
        mutation_end(m, rc);
        return;
    }
    if (m->kind != MUTATION_USER || (m->user.put & SLC_AUTH_PUT_PASSWORD) == 0) {
        mutation_propose(m);
        return;
    }
    m->hashing = auth->options.hashing;
    m->hash_rc = SLC_EINTERNAL;
    auth->refs++;
    int code = uv_queue_work(auth->options.loop, &m->work, hash_work, hash_done);
    SLC_ASSERT(code == 0); // it fails for a NULL function only
}

/* ---- what is asked ---- */

static auth_mutation *mutation_new(slc_auth *auth, mutation_kind kind, slc_auth_done done,
                                   void *arg)
{
    auth_mutation *m = slc_alloc_zero(1, sizeof *m);
    m->auth = auth;
    m->kind = kind;
    m->done = done;
    m->arg = arg;
    if (auth->options.actor != NULL)
        snprintf(m->actor, sizeof m->actor, "%s", auth->options.actor(auth->options.arg));
    DL_APPEND(auth->mutations, m);
    mutations_wake(auth);
    return m;
}

/** Blanks around the tags and empty tags are dropped, and so is a tag that came before. */
static slc_slice tags_clean(slc_slice tags)
{
    uint8_t *out = slc_alloc(tags.bytes + 2);
    size_t bytes = 0;
    for (size_t at = 0; at < tags.bytes;) {
        const uint8_t *comma = memchr(tags.data + at, ',', tags.bytes - at);
        size_t next = comma != NULL ? (size_t)(comma - tags.data) : tags.bytes;
        size_t end = next;
        while (at < end && (tags.data[at] == ' ' || tags.data[at] == '\t'))
            at++;
        while (end > at && (tags.data[end - 1] == ' ' || tags.data[end - 1] == '\t'))
            end--;
        bool known = at == end;
        for (size_t k = 0; k < bytes && !known;) {
            const uint8_t *stop = memchr(out + k, ',', bytes - k);
            size_t one = stop != NULL ? (size_t)(stop - out) - k : bytes - k;
            known = one == end - at && memcmp(out + k, tags.data + at, one) == 0;
            k += one + 1;
        }
        if (!known) {
            if (bytes > 0)
                out[bytes++] = ',';
            memcpy(out + bytes, tags.data + at, end - at);
            bytes += end - at;
        }
        at = next + 1;
    }
    out[bytes] = 0;
    return slc_slice_of(out, bytes);
}

void slc_auth_user_put(slc_auth *auth, const slc_auth_user_change *change, slc_auth_done done,
                       void *arg)
{
    auth_mutation *m = mutation_new(auth, MUTATION_USER, done, arg);
    m->user = *change;
    m->user.name = auth_copy(change->name);
    m->user.tags = tags_clean(change->tags);
    m->user.password = auth_copy(change->password);
    m->user.password_hash = auth_copy(change->password_hash);
}

void slc_auth_users_delete(slc_auth *auth, const slc_slice *names, uint32_t count,
                           slc_auth_done done, void *arg)
{
    auth_mutation *m = mutation_new(auth, MUTATION_USERS_DELETE, done, arg);
    m->name_count = count;
    m->names = count > 0 ? slc_alloc(count * sizeof *m->names) : NULL;
    for (uint32_t i = 0; i < count; i++)
        m->names[i] = auth_copy(names[i]);
}

static auth_mutation *permission_mutation(slc_auth *auth, mutation_kind kind,
                                          const slc_auth_permission *p, slc_auth_done done,
                                          void *arg)
{
    auth_mutation *m = mutation_new(auth, kind, done, arg);
    m->permission = (slc_auth_permission){
        .user = auth_copy(p->user),
        .vhost = auth_copy(p->vhost),
        .exchange = auth_copy(p->exchange),
        .configure = auth_copy(p->configure),
        .write = auth_copy(p->write),
        .read = auth_copy(p->read),
    };
    return m;
}

void slc_auth_permission_put(slc_auth *auth, const slc_auth_permission *permission, bool topic,
                             slc_auth_done done, void *arg)
{
    permission_mutation(auth, MUTATION_PERMISSION, permission, done, arg)->topic = topic;
}

void slc_auth_permission_delete(slc_auth *auth, slc_slice user, slc_slice vhost, bool topic,
                                slc_slice exchange, slc_auth_done done, void *arg)
{
    slc_auth_permission p = {.user = user, .vhost = vhost, .exchange = exchange};
    auth_mutation *m = permission_mutation(auth, MUTATION_PERMISSION_DELETE, &p, done, arg);
    m->topic = topic;
    m->all_exchanges = exchange.data == NULL;
}

/* ---- changes that another proposes ---- */

void slc_auth_hold(slc_auth *auth, void (*held)(void *arg), void *arg)
{
    mutation_new(auth, MUTATION_HOLD, NULL, arg)->held = held;
}

void slc_auth_release(slc_auth *auth)
{
    auth_mutation *m;
    DL_FOREACH(auth->mutations, m)
    {
        if (m->kind == MUTATION_HOLD)
            break;
    }
    SLC_ASSERT(m != NULL);
    if (m == auth->mutations && auth->mutating) {
        mutation_end(m, SLC_OK);
        return;
    }
    DL_DELETE(auth->mutations, m); // its turn did not come
    mutation_free(m);
}

slc_err slc_auth_changes_user(const slc_auth *auth, const slc_auth_user_change *change,
                              slc_auth_changes *changes, slc_error *error)
{
    SLC_ASSERT((change->put & SLC_AUTH_PUT_PASSWORD) == 0);
    slc_err rc = user_check(auth, change, error);
    if (rc != SLC_OK)
        return rc;
    slc_auth_user_change clean = *change;
    clean.tags = tags_clean(change->tags);
    rc = user_changes(auth, &clean, (slc_slice){0}, SLC_AUTH_ARGON2ID, changes, error);
    auth_drop(&clean.tags);
    return rc;
}

slc_err slc_auth_changes_permission(const slc_auth_permission *permission, bool topic,
                                    slc_auth_changes *changes, slc_error *error)
{
    slc_err rc = permission_check(permission, error);
    if (rc == SLC_OK)
        auth_changes_put_permission(changes, permission, topic);
    return rc;
}

/* ---- the first user ---- */

typedef struct first_user {
    slc_auth *auth;
    slc_auth_done done;
    void *arg;
} first_user;

static void first_proposed(slc_err rc, void *arg)
{
    first_user *first = arg;
    slc_error error = {0};
    if (rc != SLC_OK)
        slc_error_set(&error, rc, "cannot store the first user: %s", slc_err_text(rc));
    if (first->done != NULL)
        first->done(rc, rc == SLC_OK ? NULL : &error, first->arg);
    slc_free(first);
}

void slc_auth_first_user(slc_auth *auth, const slc_auth_first *first, slc_auth_done done, void *arg)
{
    uint8_t hash[SLC_AUTH_HASH_BYTES_MAX];
    size_t bytes = 0;
    first_user *f = slc_alloc(sizeof *f);
    *f = (first_user){auth, done, arg};
    slc_err rc = slc_auth_password_allowed(auth, slc_slice_str(first->user),
                                           slc_slice_str(first->password), NULL);
    if (rc == SLC_OK)
        rc = slc_password_hash_first(auth->options.hashing, slc_slice_str(first->password), hash,
                                     &bytes);
    if (rc != SLC_OK) {
        first_proposed(rc, f);
        return;
    }
    slc_auth_changes changes = {0};
    slc_slice tags = tags_clean(slc_slice_str(first->tags));
    slc_auth_user user = {
        .name = slc_slice_str(first->user),
        .tags = tags,
        .password_hash = slc_slice_of(hash, bytes),
        .hashing = auth->options.hashing,
    };
    slc_auth_permission permission = {
        .user = user.name,
        .vhost = slc_slice_str(first->vhost),
        .configure = slc_slice_str(first->configure),
        .write = slc_slice_str(first->write),
        .read = slc_slice_str(first->read),
    };
    auth_changes_put_user(&changes, &user);
    auth_changes_put_permission(&changes, &permission, false);
    if (auth->options.propose != NULL) {
        auth->options.propose(auth->options.arg, changes.items, changes.count, first_proposed, f);
    } else {
        for (uint32_t i = 0; rc == SLC_OK && i < changes.count; i++)
            rc = slc_auth_apply(auth, &changes.items[i], NULL);
        first_proposed(rc, f);
    }
    slc_auth_changes_fini(&changes);
    auth_drop(&tags);
}

/* ---- life ---- */

static void turn_closed(uv_handle_t *handle)
{
    auth_unref(handle->data);
}

void auth_mutations_init(slc_auth *auth)
{
    uv_timer_init(auth->options.loop, &auth->turn);
    auth->turn.data = auth;
    auth->refs++;
}

void auth_mutations_fini(slc_auth *auth)
{
    auth_mutation *m, *next;
    DL_FOREACH_SAFE(auth->mutations, m, next)
    {
        if (m == auth->mutations && auth->mutating && m->kind != MUTATION_HOLD)
            continue; // its worker or its proposal comes back to it
        DL_DELETE(auth->mutations, m);
        mutation_free(m);
    }
    uv_close((uv_handle_t *)&auth->turn, turn_closed);
}
