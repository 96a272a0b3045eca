#include "app/vhost_seeds.h"

#include <jansson.h>

#include "auth/password.h"
#include "auth/pattern.h"
#include "base/alloc.h"
#include "base/log.h"

typedef struct seed_limit {
    slc_pattern *vhosts;
    json_t *value;
} seed_limit;

typedef struct seed_policy {
    slc_pattern *vhosts;
    char *name;
    json_t *value;
} seed_policy;

typedef struct seed_user {
    slc_pattern *vhosts;
    char *name, *tags, *configure, *write, *read; // all there
    uint8_t hash[SLC_AUTH_HASH_BYTES_MAX];
    size_t hash_bytes; // 0: no password
} seed_user;

struct slc_vhost_seeds {
    const slc_auth *auth;
    slc_auth_hashing hashing;
    seed_limit *limits;
    seed_policy *policies;
    seed_user *users;
    uint32_t limit_count, policy_count, user_count;
};

static slc_pattern *pattern_of(const char *text)
{
    slc_pattern *pattern = NULL;
    slc_err rc = slc_pattern_new(slc_slice_str(text), &pattern, NULL);
    SLC_ASSERT(rc == SLC_OK); // the settings checked it
    return pattern;
}

static void put_number(json_t *object, const char *key, int64_t value)
{
    if (value >= 0)
        json_object_set_new(object, key, json_integer(value));
}

static char *text_or_empty(const char *text)
{
    return slc_strdup(text != NULL ? text : "");
}

slc_vhost_seeds *slc_vhost_seeds_new(const slc_settings *s, const slc_auth *auth)
{
    slc_vhost_seeds *seeds = slc_alloc_zero(1, sizeof *seeds);
    seeds->auth = auth;
    seeds->hashing = (slc_auth_hashing)s->password_hashing;
    seeds->limit_count = s->seed_limit_count;
    seeds->policy_count = s->seed_policy_count;
    seeds->user_count = s->seed_user_count;
    seeds->limits = slc_alloc_zero(s->seed_limit_count + 1, sizeof *seeds->limits);
    seeds->policies = slc_alloc_zero(s->seed_policy_count + 1, sizeof *seeds->policies);
    seeds->users = slc_alloc_zero(s->seed_user_count + 1, sizeof *seeds->users);
    for (uint32_t i = 0; i < s->seed_limit_count; i++) {
        const slc_settings_seed_limit *from = &s->seed_limits[i];
        seed_limit *limit = &seeds->limits[i];
        limit->vhosts = pattern_of(from->pattern);
        limit->value = json_object();
        put_number(limit->value, "max-connections", from->max_connections);
        put_number(limit->value, "max-queues", from->max_queues);
    }
    for (uint32_t i = 0; i < s->seed_policy_count; i++) {
        const slc_settings_seed_policy *from = &s->seed_policies[i];
        json_t *definition = json_object();
        for (int k = 0; k < SLC_SETTINGS_SEED_VALUES; k++)
            put_number(definition, slc_settings_seed_value_name(k), from->values[k]);
        seeds->policies[i] = (seed_policy){
            .vhosts = pattern_of(from->vhost_pattern),
            .name = slc_strdup(from->name),
            .value = json_pack("{s:s,s:o,s:i,s:s}", "pattern",
                               from->queue_pattern != NULL ? from->queue_pattern : ".*",
                               "definition", definition, "priority", 0, "apply-to", "queues"),
        };
    }
    for (uint32_t i = 0; i < s->seed_user_count; i++) {
        const slc_settings_seed_user *from = &s->seed_users[i];
        seed_user *user = &seeds->users[i];
        *user = (seed_user){
            .vhosts = pattern_of(from->vhost_pattern),
            .name = slc_strdup(from->name),
            .tags = text_or_empty(from->tags),
            .configure = text_or_empty(from->configure),
            .write = text_or_empty(from->write),
            .read = text_or_empty(from->read),
        };
        if (from->password != NULL &&
            (slc_auth_password_allowed(auth, slc_slice_str(from->name),
                                       slc_slice_str(from->password), NULL) != SLC_OK ||
             slc_password_hash(seeds->hashing, slc_slice_str(from->password), user->hash,
                               &user->hash_bytes) != SLC_OK))
            user->hash_bytes =
                0; // not allowed (logged), or no memory: a user whom no password lets in
    }
    return seeds;
}

void slc_vhost_seeds_free(slc_vhost_seeds *seeds)
{
    if (seeds == NULL)
        return;
    for (uint32_t i = 0; i < seeds->limit_count; i++) {
        slc_pattern_free(seeds->limits[i].vhosts);
        json_decref(seeds->limits[i].value);
    }
    for (uint32_t i = 0; i < seeds->policy_count; i++) {
        slc_pattern_free(seeds->policies[i].vhosts);
        slc_free(seeds->policies[i].name);
        json_decref(seeds->policies[i].value);
    }
    for (uint32_t i = 0; i < seeds->user_count; i++) {
        seed_user *user = &seeds->users[i];
        char *const owned[] = {user->name, user->tags, user->configure, user->write, user->read};
        slc_pattern_free(user->vhosts);
        for (size_t k = 0; k < SLC_ARRAY_COUNT(owned); k++)
            slc_free(owned[k]);
    }
    slc_free(seeds->limits);
    slc_free(seeds->policies);
    slc_free(seeds->users);
    slc_free(seeds);
}

static void begin_user(const slc_vhost_seeds *seeds, const seed_user *user, slc_slice vhost,
                       slc_vhost_begin *begin)
{
    slc_auth_changes changes = {0};
    slc_error error = {0};
    slc_auth_user_change change = {
        .put = SLC_AUTH_PUT_CREATE | SLC_AUTH_PUT_TAGS | SLC_AUTH_PUT_HASH,
        .name = slc_slice_str(user->name),
        .tags = slc_slice_str(user->tags),
        .password_hash = slc_slice_of(user->hash, user->hash_bytes),
        .hashing = seeds->hashing,
    };
    slc_auth_permission permission = {
        .user = change.name,
        .vhost = vhost,
        .configure = slc_slice_str(user->configure),
        .write = slc_slice_str(user->write),
        .read = slc_slice_str(user->read),
    };
    slc_err rc = slc_auth_changes_user(seeds->auth, &change, &changes, &error);
    if (rc == SLC_OK || rc == SLC_EEXIST)
        rc = slc_auth_changes_permission(&permission, false, &changes, &error);
    if (rc != SLC_OK)
        slc_log(SLC_LOG_ERROR, "auth", "vhost.seed_failed",
                SLC_FIELDS(SLC_F_STR("user", user->name)),
                "default_users.%s is left out of a new vhost: %s", user->name, error.text);
    for (uint32_t i = 0; rc == SLC_OK && i < changes.count; i++)
        begin->put(begin, changes.items[i].key, changes.items[i].value);
    slc_auth_changes_fini(&changes);
}

void slc_vhost_seeds_begin(slc_slice name, slc_vhost_begin *begin, void *arg)
{
    const slc_vhost_seeds *seeds = arg;
    for (uint32_t i = 0; i < seeds->limit_count; i++) {
        if (slc_pattern_match(seeds->limits[i].vhosts, name) == SLC_PATTERN_YES)
            begin->parameter(begin, "vhost-limits", "limits", seeds->limits[i].value);
    }
    for (uint32_t i = 0; i < seeds->policy_count; i++) {
        if (slc_pattern_match(seeds->policies[i].vhosts, name) == SLC_PATTERN_YES)
            begin->parameter(begin, "operator_policy", seeds->policies[i].name,
                             seeds->policies[i].value);
    }
    for (uint32_t i = 0; i < seeds->user_count; i++) {
        if (slc_pattern_match(seeds->users[i].vhosts, name) == SLC_PATTERN_YES)
            begin_user(seeds, &seeds->users[i], name, begin);
    }
}
