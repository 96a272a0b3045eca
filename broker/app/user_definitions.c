#include "app/user_definitions.h"

#include <stdio.h>

#include "auth/password.h"
#include "base/alloc.h"
#include "core/json_table.h"
#include "http/json.h"

/** A user whom the file gives a password in clear. */
typedef struct clear_password {
    const json_t *item;
    slc_slice text; // of the item
    uint8_t hash[SLC_AUTH_HASH_BYTES_MAX];
    size_t bytes; // 0: it could not be hashed
} clear_password;

struct slc_user_definitions {
    uv_loop_t *loop;
    slc_auth *auth;
    slc_auth_hashing hashing;
    slc_definitions_users ops;

    // of the file at hand
    json_t *root;
    slc_auth_hashing used; // for clear
    clear_password *clear;
    uint32_t clear_count;
    void (*held)(void *arg);
    void *held_arg;
    bool released; // while the worker ran
    bool holding;  // auth was asked
    bool working;
    uv_work_t work;
};

/* ---- out ---- */

typedef struct out_list {
    slc_buffer *out;
    bool some;
} out_list;

static void put_text(slc_buffer *out, const char *key, slc_slice value, bool first)
{
    slc_buffer_format(out, "%s\"%s\":", first ? "" : ",", key);
    slc_json_string(value, out);
}

static void object_begin(out_list *list)
{
    slc_buffer_text(list->out, list->some ? ",{" : "{");
    list->some = true;
}

static void put_user(const slc_auth_user *user, void *arg)
{
    out_list *list = arg;
    slc_buffer *out = list->out;
    slc_buffer hash = {0};
    slc_base64_encode(user->password_hash, &hash);
    object_begin(list);
    put_text(out, "name", user->name, true);
    put_text(out, "password_hash", slc_buffer_slice(&hash), false);
    put_text(out, "hashing_algorithm", slc_slice_str(slc_auth_hashing_name(user->hashing)), false);
    slc_buffer_text(out, ",\"tags\":");
    slc_tags_json(user->tags, out);
    slc_buffer_text(out, ",\"limits\":{");
    if (user->max_connections_set)
        slc_buffer_format(out, "\"max-connections\":%lld", (long long)user->max_connections);
    if (user->max_channels_set)
        slc_buffer_format(out, "%s\"max-channels\":%lld", user->max_connections_set ? "," : "",
                          (long long)user->max_channels);
    slc_buffer_text(out, "}}");
    slc_buffer_fini(&hash);
}

static void put_permission(const slc_auth_permission *p, void *arg)
{
    out_list *list = arg;
    object_begin(list);
    put_text(list->out, "user", p->user, true);
    put_text(list->out, "vhost", p->vhost, false);
    put_text(list->out, "configure", p->configure, false);
    put_text(list->out, "write", p->write, false);
    put_text(list->out, "read", p->read, false);
    slc_buffer_text(list->out, "}");
}

static void put_topic_permission(const slc_auth_permission *p, void *arg)
{
    out_list *list = arg;
    object_begin(list);
    put_text(list->out, "user", p->user, true);
    put_text(list->out, "vhost", p->vhost, false);
    put_text(list->out, "exchange", p->exchange, false);
    put_text(list->out, "write", p->write, false);
    put_text(list->out, "read", p->read, false);
    slc_buffer_text(list->out, "}");
}

static void users_export(slc_definitions_section section, slc_buffer *out, void *arg)
{
    const slc_user_definitions *u = arg;
    out_list list = {.out = out};
    slc_slice any = {0};
    switch (section) {
    case SLC_DEFINITIONS_USERS:
        slc_auth_each_user(u->auth, put_user, &list);
        break;
    case SLC_DEFINITIONS_PERMISSIONS:
        slc_auth_each_permission(u->auth, any, any, put_permission, &list);
        break;
    case SLC_DEFINITIONS_TOPIC_PERMISSIONS:
        slc_auth_each_topic_permission(u->auth, any, any, put_topic_permission, &list);
        break;
    case SLC_DEFINITIONS_SECTIONS:
        break;
    }
}

/* ---- in: fields ---- */

/** key must be there and be a string. */
static slc_err text_of(const json_t *item, const char *key, slc_slice *out, slc_error *error)
{
    const json_t *value = json_object_get(item, key);
    char text[80];
    if (value == NULL)
        return slc_error_set(error, SLC_EINVAL, "'%s' must be there", key);
    if (!json_is_string(value))
        return slc_error_set(error, SLC_EINVAL, "'%s' is %s; it must be a string", key,
                             slc_json_erlang_text(value, text, sizeof text));
    *out = slc_json_string_slice(value);
    return SLC_OK;
}

/** A list of strings, or one with commas; before RabbitMQ 3.0 `administrator` instead. */
static slc_err tags_of(const json_t *item, slc_buffer *out, slc_error *error)
{
    const json_t *value = json_object_get(item, "tags");
    char text[80];
    if (value == NULL && json_is_boolean(json_object_get(item, "administrator"))) {
        slc_buffer_text(out, json_is_true(json_object_get(item, "administrator")) ? "administrator"
                                                                                  : "");
        return SLC_OK;
    }
    if (value == NULL)
        return slc_error_set(error, SLC_EINVAL, "'tags' must be there");
    if (slc_json_tags(value, out))
        return SLC_OK;
    return slc_error_set(error, SLC_EINVAL,
                         "'tags' is %s; it must be a list of strings, or one with commas",
                         slc_json_erlang_text(value, text, sizeof text));
}

static slc_err limits_of(const json_t *item, slc_auth_user_change *change, slc_error *error)
{
    const json_t *limits = json_object_get(item, "limits");
    char text[80];
    if (limits == NULL || json_is_null(limits) ||
        (json_is_array(limits) && json_array_size(limits) == 0))
        return SLC_OK;
    if (!json_is_object(limits))
        return slc_error_set(error, SLC_EINVAL, "'limits' is %s; it must be an object",
                             slc_json_erlang_text(limits, text, sizeof text));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)limits, key, value)
    {
        bool connections = strcmp(key, "max-connections") == 0;
        if (!connections && strcmp(key, "max-channels") != 0)
            return slc_error_set(error, SLC_EINVAL,
                                 "'limits' has '%.64s'; there are max-connections and max-channels",
                                 key);
        if (!json_is_integer(value))
            return slc_error_set(error, SLC_EINVAL, "the limit '%s' is %s; it must be an integer",
                                 key, slc_json_erlang_text(value, text, sizeof text));
        change->put |= connections ? SLC_AUTH_PUT_MAX_CONNECTIONS : SLC_AUTH_PUT_MAX_CHANNELS;
        *(connections ? &change->max_connections : &change->max_channels) =
            json_integer_value(value);
    }
    return SLC_OK;
}

/** Exports did not name it before 3.6, when it was MD5. */
static slc_err hashing_of(const json_t *item, const char *version, slc_auth_hashing *out,
                          slc_error *error)
{
    const json_t *value = json_object_get(item, "hashing_algorithm");
    int major = 0, minor = 0;
    *out = SLC_AUTH_SHA256;
    if (value == NULL || json_is_null(value)) {
        if (sscanf(version, "%d.%d", &major, &minor) == 2 &&
            (major < 3 || (major == 3 && minor < 6)))
            *out = SLC_AUTH_MD5;
        return SLC_OK;
    }
    char text[80];
    if (json_is_string(value) && json_string_length(value) > 0 &&
        slc_auth_hashing_find(slc_json_string_slice(value), out))
        return SLC_OK;
    return slc_error_set(error, SLC_EINVAL,
                         "'hashing_algorithm' is %s; it must be argon2id or "
                         "rabbit_password_hashing_sha256, ..._sha512 or ..._md5",
                         slc_json_erlang_text(value, text, sizeof text));
}

/** The password of a user, whatever way the file has it. hash: SLC_AUTH_HASH_BYTES_MAX octets. */
static slc_err password_of(const slc_user_definitions *u, const json_t *item, const char *version,
                           slc_auth_user_change *change, uint8_t *hash, slc_error *error)
{
    static const char refused[] = "credential_validation_failed";
    const json_t *clear = json_object_get(item, "password");
    const json_t *encoded = json_object_get(item, "password_hash");
    size_t bytes = 0;
    change->put |=
        SLC_AUTH_PUT_HASH; // as RabbitMQ: with neither it is a user whom no password lets in
    if (clear != NULL && encoded != NULL)
        return slc_error_set(error, SLC_EINVAL,
                             "both 'password' and 'password_hash' are there; one is allowed");
    for (uint32_t i = 0; clear != NULL && i < u->clear_count; i++) {
        if (u->clear[i].item != item)
            continue;
        if (slc_auth_password_allowed(u->auth, change->name, u->clear[i].text, NULL) != SLC_OK)
            return slc_error_set(error, SLC_EINVAL, refused);
        if (u->clear[i].bytes == 0)
            return slc_error_set(error, SLC_EINVAL, "'password' cannot be hashed");
        change->hashing = u->used;
        change->password_hash = slc_slice_of(u->clear[i].hash, u->clear[i].bytes);
        return SLC_OK;
    }
    if (clear != NULL)
        return slc_error_set(error, SLC_EINVAL, "'password' must be a string of 1 to %d octets",
                             SLC_AUTH_PASSWORD_BYTES_MAX);
    if (encoded == NULL) // as RabbitMQ 3.10: a new one has an empty password for the validator
        return slc_auth_user_find(u->auth, change->name) != NULL ||
                       slc_auth_password_allowed(u->auth, change->name, (slc_slice){0}, NULL) ==
                           SLC_OK
                   ? SLC_OK
                   : slc_error_set(error, SLC_EINVAL, refused);
    slc_slice text;
    slc_err rc = text_of(item, "password_hash", &text, error);
    if (rc == SLC_OK)
        rc = hashing_of(item, version, &change->hashing, error);
    if (rc != SLC_OK)
        return rc;
    if (!slc_auth_hash_decode(text, hash, &bytes))
        return slc_error_set(error, SLC_EINVAL,
                             "'password_hash' is not the base64 of at most %d octets",
                             SLC_AUTH_HASH_BYTES_MAX);
    change->password_hash = slc_slice_of(hash, bytes);
    return SLC_OK;
}

/* ---- in: objects ---- */

static void changes_hand_over(slc_auth_changes *changes, slc_definitions_sink *sink)
{
    for (uint32_t i = 0; i < changes->count; i++)
        sink->put(sink, changes->items[i].key, changes->items[i].value);
    slc_auth_changes_fini(changes);
}

static slc_err user_import(const slc_user_definitions *u, const json_t *item, const char *version,
                           slc_definitions_sink *sink, slc_error *error)
{
    slc_auth_user_change change = {.put = SLC_AUTH_PUT_UPSERT | SLC_AUTH_PUT_TAGS};
    uint8_t hash[SLC_AUTH_HASH_BYTES_MAX];
    slc_buffer tags = {0};
    slc_err rc = text_of(item, "name", &change.name, error);
    if (rc == SLC_OK)
        rc = tags_of(item, &tags, error);
    if (rc == SLC_OK)
        rc = limits_of(item, &change, error);
    if (rc == SLC_OK)
        rc = password_of(u, item, version, &change, hash, error);
    if (rc == SLC_OK) {
        slc_auth_changes changes = {0};
        change.tags = slc_buffer_slice(&tags);
        rc = slc_auth_changes_user(u->auth, &change, &changes, error);
        changes_hand_over(&changes, sink);
    }
    slc_buffer_fini(&tags);
    return rc;
}

static bool user_known(const slc_user_definitions *u, slc_slice name, slc_definitions_sink *sink)
{
    if (slc_auth_user_find(u->auth, name) != NULL)
        return true;
    slc_auth_changes changes = {0};
    slc_auth_user_change change = {.put = SLC_AUTH_PUT_UPSERT, .name = name};
    bool known = slc_auth_changes_user(u->auth, &change, &changes, NULL) == SLC_OK &&
                 sink->has(sink, changes.items[0].key);
    slc_auth_changes_fini(&changes);
    return known;
}

static slc_err permission_import(const slc_user_definitions *u, const json_t *item, bool topic,
                                 slc_definitions_sink *sink, slc_error *error)
{
    slc_auth_permission p = {0};
    const struct {
        const char *key;
        slc_slice *to;
    } fields[] = {{"user", &p.user},
                  {"vhost", &p.vhost},
                  {topic ? "exchange" : "configure", topic ? &p.exchange : &p.configure},
                  {"write", &p.write},
                  {"read", &p.read}};
    slc_err rc = SLC_OK;
    for (size_t i = 0; rc == SLC_OK && i < SLC_ARRAY_COUNT(fields); i++)
        rc = text_of(item, fields[i].key, fields[i].to, error);
    if (rc != SLC_OK)
        return rc;
    if (sink->vhost_id(sink, p.vhost) == NULL)
        return slc_error_set(error, SLC_EINVAL,
                             "its vhost '%.*s' is not in this broker and not in the section vhosts",
                             SLC_SLICE_FMT(p.vhost));
    if (!user_known(u, p.user, sink))
        return slc_error_set(error, SLC_EINVAL,
                             "there is no such user in this broker nor in the section users");
    slc_auth_changes changes = {0};
    rc = slc_auth_changes_permission(&p, topic, &changes, error);
    changes_hand_over(&changes, sink);
    return rc;
}

static slc_err users_import(slc_definitions_section section, const json_t *item,
                            const char *version, slc_definitions_sink *sink, slc_error *error,
                            void *arg)
{
    const slc_user_definitions *u = arg;
    if (section == SLC_DEFINITIONS_USERS)
        return user_import(u, item, version, sink, error);
    return permission_import(u, item, section == SLC_DEFINITIONS_TOPIC_PERMISSIONS, sink, error);
}

/* ---- before and after a file ---- */

static void file_end(slc_user_definitions *u)
{
    slc_free(u->clear);
    json_decref(u->root);
    u->clear = NULL;
    u->clear_count = 0;
    u->root = NULL;
}

static void hash_work(uv_work_t *work)
{
    slc_user_definitions *u = work->data;
    for (uint32_t i = 0; i < u->clear_count; i++) {
        clear_password *c = &u->clear[i];
        if (slc_password_hash(u->used, c->text, c->hash, &c->bytes) != SLC_OK)
            c->bytes = 0;
    }
}

static void users_hold_auth(slc_user_definitions *u)
{
    u->holding = true;
    slc_auth_hold(u->auth, u->held, u->held_arg);
}

static void hash_done(uv_work_t *work, int status)
{
    slc_user_definitions *u = work->data;
    (void)status;
    u->working = false;
    if (u->released)
        file_end(u);
    else
        users_hold_auth(u);
}

static void users_hold(const json_t *root, void (*held)(void *held_arg), void *held_arg, void *arg)
{
    slc_user_definitions *u = arg;
    SLC_ASSERT(u->root == NULL);
    const json_t *users = json_object_get(root, "users");
    u->root = json_incref((json_t *)(uintptr_t)root);
    u->used = u->hashing;
    u->held = held;
    u->held_arg = held_arg;
    u->released = u->holding = false;
    u->clear = slc_alloc_zero(json_array_size(users) + 1, sizeof *u->clear);
    for (size_t i = 0; i < json_array_size(users); i++) {
        const json_t *item = json_array_get(users, i);
        const json_t *password = json_object_get(item, "password");
        size_t bytes = json_string_length(password);
        if (bytes > 0 && bytes <= SLC_AUTH_PASSWORD_BYTES_MAX)
            u->clear[u->clear_count++] =
                (clear_password){.item = item, .text = slc_json_string_slice(password)};
    }
    if (u->clear_count == 0) {
        users_hold_auth(u);
        return;
    }
    u->working = true;
    u->work.data = u;
    int code = uv_queue_work(u->loop, &u->work, hash_work, hash_done);
    SLC_ASSERT(code == 0); // it fails for a NULL function only
}

static void users_release(void *arg)
{
    slc_user_definitions *u = arg;
    if (u->holding)
        slc_auth_release(u->auth);
    u->holding = false;
    u->released = true;
    if (!u->working)
        file_end(u);
}

/* ---- life ---- */

slc_user_definitions *slc_user_definitions_new(uv_loop_t *loop, slc_broker *broker, slc_auth *auth)
{
    slc_user_definitions *u = slc_alloc_zero(1, sizeof *u);
    u->loop = loop;
    u->auth = auth;
    u->ops = (slc_definitions_users){
        .export_section = users_export,
        .import_item = users_import,
        .hold = users_hold,
        .release = users_release,
        .arg = u,
    };
    slc_definitions_set_users(broker, &u->ops);
    return u;
}

void slc_user_definitions_hashing(slc_user_definitions *users, slc_auth_hashing hashing)
{
    users->hashing = hashing;
}

void slc_user_definitions_free(slc_user_definitions *users)
{
    if (users == NULL)
        return;
    file_end(users);
    slc_free(users);
}
