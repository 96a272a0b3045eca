#include "auth/auth_impl.h"

#include <sodium.h>
#include <stdio.h>

#include "auth/password.h"
#include "base/log.h"

slc_slice auth_copy(slc_slice slice)
{
    uint8_t *data = slc_alloc(slice.bytes + 1);
    if (slice.bytes > 0)
        memcpy(data, slice.data, slice.bytes);
    data[slice.bytes] = 0;
    return slc_slice_of(data, slice.bytes);
}

void auth_drop(slc_slice *slice)
{
    slc_free((void *)(uintptr_t)slice->data);
    *slice = (slc_slice){0};
}

slc_slice auth_key(uint8_t kind, const slc_slice *names, uint32_t count, uint8_t *out)
{
    uint8_t whole[1 + 3 * (1 + SLC_AUTH_NAME_BYTES_MAX)];
    size_t at = 0;
    whole[at++] = kind;
    for (uint32_t i = 0; i < count; i++) {
        SLC_ASSERT(names[i].bytes <= SLC_AUTH_NAME_BYTES_MAX);
        whole[at++] = (uint8_t)names[i].bytes;
        if (names[i].bytes > 0)
            memcpy(whole + at, names[i].data, names[i].bytes);
        at += names[i].bytes;
    }
    if (at <= AUTH_KEY_BYTES_MAX) {
        memcpy(out, whole, at);
        return slc_slice_of(out, at);
    }
    out[0] = kind;
    out[1] = 0; // the first name of a key in full is a user's and never empty
    crypto_hash_sha256(out + 2, whole, at);
    return slc_slice_of(out, 2 + crypto_hash_sha256_BYTES);
}

/* ---- life ---- */

slc_auth *slc_auth_new(const slc_auth_options *options)
{
    slc_password_init();
    slc_auth *auth = slc_alloc_zero(1, sizeof *auth);
    auth->options = *options;
    auth->refs = 1;
    slc_credentials_init(&auth->credentials, &options->credentials);
    auth_mutations_init(auth);
    auth_checks_init(auth);
    return auth;
}

void slc_auth_set(slc_auth *auth, const slc_auth_options *options)
{
    auth->options.cache_ttl_ms = options->cache_ttl_ms;
    auth->options.failure_delay_ms = options->failure_delay_ms;
    auth->options.max_failures_per_minute = options->max_failures_per_minute;
    auth->options.hashing = options->hashing;
    slc_credentials_fini(&auth->credentials);
    slc_credentials_init(&auth->credentials, &options->credentials);
}

static void user_free(slc_auth *auth, auth_user *user)
{
    HASH_DELETE(hh, auth->users, user);
    auth_drop(&user->info.name);
    auth_drop(&user->info.tags);
    auth_drop(&user->info.password_hash);
    slc_free(user);
}

static void permission_free(auth_permission **map, auth_permission *p)
{
    HASH_DELETE(hh, *map, p);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(p->patterns); i++)
        slc_pattern_free(p->patterns[i]);
    auth_drop(&p->key);
    auth_drop(&p->info.user);
    auth_drop(&p->info.vhost);
    auth_drop(&p->info.exchange);
    auth_drop(&p->info.configure);
    auth_drop(&p->info.write);
    auth_drop(&p->info.read);
    slc_free(p);
}

void auth_unref(slc_auth *auth)
{
    SLC_ASSERT(auth->refs > 0);
    if (--auth->refs > 0)
        return;
    while (auth->users != NULL)
        user_free(auth, auth->users);
    while (auth->permissions != NULL)
        permission_free(&auth->permissions, auth->permissions);
    while (auth->topics != NULL)
        permission_free(&auth->topics, auth->topics);
    slc_credentials_fini(&auth->credentials);
    sodium_memzero(auth->mac_key, sizeof auth->mac_key);
    slc_free(auth);
}

void slc_auth_free(slc_auth *auth)
{
    if (auth == NULL)
        return;
    auth->freed = true;
    auth_mutations_fini(auth);
    auth_checks_fini(auth);
    auth_unref(auth);
}

/* ---- asking ---- */

auth_user *auth_user_find(const slc_auth *auth, slc_slice name)
{
    auth_user *user;
    HASH_FIND(hh, auth->users, name.data, name.bytes, user);
    return user;
}

const slc_auth_user *slc_auth_user_find(const slc_auth *auth, slc_slice name)
{
    const auth_user *user = auth_user_find(auth, name);
    return user != NULL ? &user->info : NULL;
}

uint32_t slc_auth_user_count(const slc_auth *auth)
{
    return HASH_COUNT(auth->users);
}

static int user_order(const auth_user *a, const auth_user *b)
{
    return slc_slice_compare(a->info.name, b->info.name);
}

void slc_auth_each_user(const slc_auth *auth, void (*each)(const slc_auth_user *user, void *arg),
                        void *arg)
{
    auth_user *map = auth->users;
    HASH_SRT(hh, map, user_order);
    ((slc_auth *)(uintptr_t)auth)->users = map; // the order is no part of what auth is
    for (const auth_user *user = map; user != NULL; user = user->hh.next)
        each(&user->info, arg);
}

static auth_permission *permission_find(auth_permission *map, uint8_t kind, slc_slice user,
                                        slc_slice vhost, slc_slice exchange)
{
    if (user.bytes > SLC_AUTH_NAME_BYTES_MAX || vhost.bytes > SLC_AUTH_NAME_BYTES_MAX ||
        exchange.bytes > SLC_AUTH_NAME_BYTES_MAX)
        return NULL;
    slc_slice names[] = {user, vhost, exchange};
    uint8_t buffer[AUTH_KEY_BYTES_MAX];
    slc_slice key = auth_key(kind, names, kind == AUTH_KIND_TOPIC ? 3 : 2, buffer);
    auth_permission *p;
    HASH_FIND(hh, map, key.data, key.bytes, p);
    return p;
}

const slc_auth_permission *slc_auth_permission_find(const slc_auth *auth, slc_slice user,
                                                    slc_slice vhost)
{
    const auth_permission *p =
        permission_find(auth->permissions, AUTH_KIND_PERMISSION, user, vhost, (slc_slice){0});
    return p != NULL ? &p->info : NULL;
}

static int permission_order(const auth_permission *a, const auth_permission *b)
{
    int order = slc_slice_compare(a->info.vhost, b->info.vhost);
    if (order == 0)
        order = slc_slice_compare(a->info.user, b->info.user);
    return order != 0 ? order : slc_slice_compare(a->info.exchange, b->info.exchange);
}

static void each_permission(auth_permission **map, slc_slice user, slc_slice vhost,
                            void (*each)(const slc_auth_permission *permission, void *arg),
                            void *arg)
{
    HASH_SRT(hh, *map, permission_order);
    for (const auth_permission *p = *map; p != NULL; p = p->hh.next) {
        if ((user.bytes == 0 || slc_slice_equal(user, p->info.user)) &&
            (vhost.bytes == 0 || slc_slice_equal(vhost, p->info.vhost)))
            each(&p->info, arg);
    }
}

void slc_auth_each_permission(const slc_auth *auth, slc_slice user, slc_slice vhost,
                              void (*each)(const slc_auth_permission *permission, void *arg),
                              void *arg)
{
    each_permission(&((slc_auth *)(uintptr_t)auth)->permissions, user, vhost, each, arg);
}

void slc_auth_each_topic_permission(const slc_auth *auth, slc_slice user, slc_slice vhost,
                                    void (*each)(const slc_auth_permission *permission, void *arg),
                                    void *arg)
{
    each_permission(&((slc_auth *)(uintptr_t)auth)->topics, user, vhost, each, arg);
}

/* ---- deciding ---- */

bool slc_auth_may_enter(const slc_auth *auth, slc_slice user, slc_slice vhost)
{
    return slc_auth_permission_find(auth, user, vhost) != NULL;
}

static bool pattern_allows(const slc_pattern *pattern, const slc_auth_permission *p, slc_slice text,
                           slc_slice name)
{
    if (pattern == NULL)
        return false;
    switch (slc_pattern_match(pattern, name)) {
    case SLC_PATTERN_YES:
        return true;
    case SLC_PATTERN_NO:
        return false;
    case SLC_PATTERN_LIMIT:
        break;
    }
    slc_log(
        SLC_LOG_WARN, "auth", "auth.pattern_limit",
        SLC_FIELDS(SLC_F_STR("user", (const char *)p->user.data),
                   SLC_F_STR("vhost", (const char *)p->vhost.data)),
        "refusing user '%.*s' in vhost '%.*s': the permission pattern '%.*s' takes too much work "
        "on '%.*s'; make it simpler",
        SLC_SLICE_FMT(p->user), SLC_SLICE_FMT(p->vhost), SLC_SLICE_FMT(text), SLC_SLICE_FMT(name));
    return false;
}

static slc_slice pattern_text(const slc_auth_permission *p, slc_auth_access access)
{
    return access == SLC_AUTH_CONFIGURE ? p->configure
           : access == SLC_AUTH_WRITE   ? p->write
                                        : p->read;
}

bool slc_auth_may(const slc_auth *auth, slc_slice user, slc_slice vhost, slc_auth_access access,
                  slc_slice name)
{
    const auth_permission *p =
        permission_find(auth->permissions, AUTH_KIND_PERMISSION, user, vhost, (slc_slice){0});
    if (p == NULL)
        return false;
    if (name.bytes == 0)
        name = slc_slice_str("amq.default");
    return pattern_allows(p->patterns[access], &p->info, pattern_text(&p->info, access), name);
}

static void expand_literal(char *out, size_t *at, slc_slice value)
{
    for (size_t i = 0; i < value.bytes; i++) {
        uint8_t c = value.data[i];
        bool plain = c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z') || c == '_';
        if (c == 0) { // no escape of a NUL octet is the octet itself
            memcpy(out + *at, "\\x00", 4);
            *at += 4;
            continue;
        }
        if (!plain)
            out[(*at)++] = '\\';
        out[(*at)++] = (char)c;
    }
}

/** The pattern with its variables filled in; on the heap. client_id.data NULL: {client_id} stays. */
static slc_slice expand(slc_slice text, slc_slice user, slc_slice vhost, slc_slice client_id)
{
    const struct {
        const char *name;
        slc_slice value;
    } variables[] = {{"{username}", user}, {"{vhost}", vhost}, {"{client_id}", client_id}};
    size_t longest = user.bytes + vhost.bytes + client_id.bytes;
    char *out = slc_alloc(text.bytes * (1 + 4 * longest) + 1);
    size_t at = 0;
    for (size_t i = 0; i < text.bytes;) {
        bool found = false;
        for (size_t k = 0; k < SLC_ARRAY_COUNT(variables) && !found; k++) {
            size_t bytes = strlen(variables[k].name);
            found = variables[k].value.data != NULL && text.bytes - i >= bytes &&
                    memcmp(text.data + i, variables[k].name, bytes) == 0;
            if (found) {
                expand_literal(out, &at, variables[k].value);
                i += bytes;
            }
        }
        if (!found)
            out[at++] = (char)text.data[i++];
    }
    return slc_slice_of(out, at);
}

static bool has_client_id(slc_slice text)
{
    return text.bytes > 0 && memmem(text.data, text.bytes, "{client_id}", 11) != NULL;
}

bool slc_auth_has_topics(const slc_auth *auth)
{
    return auth->topics != NULL;
}

bool slc_auth_may_topic(const slc_auth *auth, slc_slice user, slc_slice vhost, slc_slice exchange,
                        slc_auth_access access, slc_slice key, slc_slice client_id)
{
    SLC_ASSERT(access != SLC_AUTH_CONFIGURE);
    if (auth->topics == NULL)
        return true;
    const auth_permission *p =
        permission_find(auth->topics, AUTH_KIND_TOPIC, user, vhost, exchange);
    if (p == NULL)
        return true;
    slc_slice text = pattern_text(&p->info, access);
    if (client_id.data == NULL || !has_client_id(text))
        return pattern_allows(p->patterns[access], &p->info, text, key);
    slc_slice own = expand(text, user, vhost, client_id);
    slc_pattern *pattern = NULL;
    bool may = slc_pattern_new(own, &pattern, NULL) == SLC_OK &&
               pattern_allows(pattern, &p->info, text, key);
    slc_pattern_free(pattern);
    auth_drop(&own);
    return may;
}

/* ---- the control plane ---- */

static void event(const slc_auth *auth, const char *name, const slc_auth_user *user,
                  const slc_auth_permission *permission, bool deleted)
{
    if (auth->options.event != NULL)
        auth->options.event(auth->options.arg, &(slc_auth_event){name, user, permission, deleted});
}

/** What of a user is not as it was. */
typedef struct user_difference {
    bool created, password, tags, limits;
} user_difference;

static user_difference difference(const slc_auth_user *old, const slc_auth_user *user)
{
    if (old == NULL)
        return (user_difference){
            .created = true,
            .tags = user->tags.bytes > 0,
            .limits = user->max_connections_set || user->max_channels_set,
        };
    return (user_difference){
        .password = old->hashing != user->hashing ||
                    !slc_slice_equal(old->password_hash, user->password_hash),
        .tags = !slc_slice_equal(old->tags, user->tags),
        .limits = old->max_connections_set != user->max_connections_set ||
                  old->max_channels_set != user->max_channels_set ||
                  old->max_connections != user->max_connections ||
                  old->max_channels != user->max_channels,
    };
}

static void user_events(const slc_auth *auth, const slc_auth_user *user, user_difference differs)
{
    if (differs.created)
        event(auth, "user.created", user, NULL, false);
    if (differs.password)
        event(auth,
              user->password_hash.bytes > 0 ? "user.password.changed" : "user.password.cleared",
              user, NULL, false);
    if (differs.tags)
        event(auth, "user.tags.set", user, NULL, false);
    if (differs.limits)
        event(auth,
              user->max_connections_set || user->max_channels_set ? "user.limits.set"
                                                                  : "user.limits.cleared",
              user, NULL, false);
}

static void apply_user(slc_auth *auth, const slc_auth_user *decoded)
{
    auth_user *user = auth_user_find(auth, decoded->name);
    user_difference differs = difference(user != NULL ? &user->info : NULL, decoded);
    if (user != NULL)
        user_free(auth, user);
    user = slc_alloc_zero(1, sizeof *user);
    user->info = *decoded;
    user->info.name = auth_copy(decoded->name);
    user->info.tags = auth_copy(decoded->tags);
    user->info.password_hash = auth_copy(decoded->password_hash);
    user->serial = ++auth->last_serial;
    HASH_ADD_KEYPTR(hh, auth->users, user->info.name.data, user->info.name.bytes, user);
    user_events(auth, &user->info, differs);
}

static void compile(auth_permission *p, slc_auth_access access, bool topic)
{
    slc_error error = {0};
    slc_slice text = pattern_text(&p->info, access);
    slc_slice used =
        topic ? expand(text, p->info.user, p->info.vhost, (slc_slice){0}) : auth_copy(text);
    if (slc_pattern_new(used, &p->patterns[access], &error) != SLC_OK)
        slc_log(SLC_LOG_ERROR, "auth", "auth.pattern_invalid",
                SLC_FIELDS(SLC_F_STR("user", (const char *)p->info.user.data),
                           SLC_F_STR("vhost", (const char *)p->info.vhost.data)),
                "a permission of user '%.*s' in vhost '%.*s' allows nothing: %s",
                SLC_SLICE_FMT(p->info.user), SLC_SLICE_FMT(p->info.vhost), error.text);
    auth_drop(&used);
}

static void apply_permission(slc_auth *auth, slc_slice key, const slc_auth_permission *d,
                             bool topic)
{
    auth_permission **map = topic ? &auth->topics : &auth->permissions;
    auth_permission *p;
    HASH_FIND(hh, *map, key.data, key.bytes, p);
    if (p != NULL)
        permission_free(map, p);
    p = slc_alloc_zero(1, sizeof *p);
    p->key = auth_copy(key);
    p->info = (slc_auth_permission){
        .user = auth_copy(d->user),
        .vhost = auth_copy(d->vhost),
        .exchange = auth_copy(d->exchange),
        .configure = auth_copy(d->configure),
        .write = auth_copy(d->write),
        .read = auth_copy(d->read),
    };
    if (!topic)
        compile(p, SLC_AUTH_CONFIGURE, false);
    compile(p, SLC_AUTH_WRITE, topic);
    compile(p, SLC_AUTH_READ, topic);
    HASH_ADD_KEYPTR(hh, *map, p->key.data, p->key.bytes, p);
    event(auth, topic ? "topic.permission.created" : "permission.created", NULL, &p->info, false);
}

static void apply_delete(slc_auth *auth, slc_slice key)
{
    if (key.data[0] == AUTH_KIND_USER) {
        auth_user *user = auth_user_find(auth, slc_slice_of(key.data + 2, key.bytes - 2));
        if (user == NULL)
            return;
        slc_slice name = auth_copy(user->info.name);
        event(auth, "user.deleted", &user->info, NULL, true);
        user_free(auth, user);
        if (auth->options.user_deleted != NULL)
            auth->options.user_deleted(auth->options.arg, name);
        auth_drop(&name);
        return;
    }
    bool topic = key.data[0] == AUTH_KIND_TOPIC;
    auth_permission **map = topic ? &auth->topics : &auth->permissions;
    auth_permission *p;
    HASH_FIND(hh, *map, key.data, key.bytes, p);
    if (p == NULL)
        return;
    if (auth_user_find(auth, p->info.user) != NULL) // else they go with the user
        event(auth, topic ? "topic.permission.deleted" : "permission.deleted", NULL, &p->info,
              true);
    permission_free(map, p);
}

static slc_err apply_put(slc_auth *auth, const slc_change *change, slc_error *error)
{
    uint8_t kind = change->key.data[0];
    uint64_t version = auth_decode_version(change->value);
    if (version > 1)
        return slc_error_set(
            error, SLC_EVERSION,
            "a definition of kind %u has version %llu, this version reads 1; start "
            "the version that wrote it",
            kind, (unsigned long long)version);
    slc_auth_user user;
    slc_auth_permission permission;
    if (version == 1 && kind == AUTH_KIND_USER && auth_decode_user(change->value, &user)) {
        apply_user(auth, &user);
        return SLC_OK;
    }
    bool topic = kind == AUTH_KIND_TOPIC;
    if (version == 1 && kind != AUTH_KIND_USER &&
        auth_decode_permission(change->value, topic, &permission)) {
        apply_permission(auth, change->key, &permission, topic);
        return SLC_OK;
    }
    return slc_error_set(error, SLC_ECORRUPT, "a definition of kind %u does not decode", kind);
}

slc_err slc_auth_apply(slc_auth *auth, const slc_change *change, slc_error *error)
{
    slc_slice key = change->key;
    if (key.bytes < 3 || key.bytes > AUTH_KEY_BYTES_MAX || key.data[0] < SLC_AUTH_OBJECT_FIRST ||
        key.data[0] > SLC_AUTH_OBJECT_LAST ||
        (key.data[0] == AUTH_KIND_USER && key.data[1] != key.bytes - 2))
        return slc_error_set(error, SLC_ECORRUPT,
                             "the definitions hold a user or permission with a key of %zu octets "
                             "that does not decode",
                             key.bytes);
    slc_err rc = SLC_OK;
    if (change->value.data == NULL)
        apply_delete(auth, key);
    else
        rc = apply_put(auth, change, error);
    if (auth->options.changed != NULL)
        auth->options.changed(auth->options.arg);
    return rc;
}

/* ---- changes that go with a vhost ---- */

void slc_auth_changes_drop_vhost(const slc_auth *auth, slc_slice vhost, slc_auth_changes *changes)
{
    auth_permission *const maps[] = {auth->permissions, auth->topics};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(maps); i++) {
        for (const auth_permission *p = maps[i]; p != NULL; p = p->hh.next) {
            if (slc_slice_equal(p->info.vhost, vhost))
                auth_changes_delete(changes, p->key);
        }
    }
    auth_mutation_drop_vhost(auth, vhost, changes);
}

void slc_auth_changes_grant(slc_slice user, slc_slice vhost, slc_auth_changes *changes)
{
    slc_slice all = slc_slice_str(".*");
    slc_auth_permission p = {
        .user = user, .vhost = vhost, .configure = all, .write = all, .read = all};
    auth_changes_put_permission(changes, &p, false);
}
