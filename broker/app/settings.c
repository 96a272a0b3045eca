#include "app/settings.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/settings_table.h"
#include "auth/pattern.h"
#include "base/alloc.h"
#include "core/broker.h"

enum settings_key {
#define SETTINGS_ENUM(id, ...) KEY_##id,
    SLC_SETTINGS_TABLE(SETTINGS_ENUM)
#undef SETTINGS_ENUM
        KEY_COUNT
};

static const slc_config_key settings_keys[KEY_COUNT] = {
#define SETTINGS_KEY(id, name_, type_, flags_, unit_, min_, max_, fallback_, words_, group_, doc_) \
    [KEY_##id] = {.name = name_,                                                                   \
                  .type = SLC_CONFIG_##type_,                                                      \
                  .flags = flags_,                                                                 \
                  .unit = unit_,                                                                   \
                  .min = min_,                                                                     \
                  .max = max_,                                                                     \
                  .fallback = fallback_,                                                           \
                  .words = words_,                                                                 \
                  .group = group_,                                                                 \
                  .doc = doc_},
    SLC_SETTINGS_TABLE(SETTINGS_KEY)
#undef SETTINGS_KEY
};

/** Values of default_policies.operator.NAME, by the names they have in the policy. */
static const struct {
    enum settings_key key;
    const char *name;
} seed_values[SLC_SETTINGS_SEED_VALUES] = {
    {KEY_SEED_POLICY_EXPIRES, "expires"},
    {KEY_SEED_POLICY_MESSAGE_TTL, "message-ttl"},
    {KEY_SEED_POLICY_MAX_LENGTH, "max-length"},
    {KEY_SEED_POLICY_MAX_LENGTH_BYTES, "max-length-bytes"},
    {KEY_SEED_POLICY_DELIVERY_LIMIT, "delivery-limit"},
};

// Keys of RabbitMQ that will mean something here. Refusing them would stop people from bringing their file along.
static const char *const settings_later[] = {
    "ssl_options.secure_renegotiate",
    "ssl_options.reuse_sessions",
    "ssl_options.reuse_session",
    "ssl_options.dhfile",
    "ssl_options.dh",
    "ssl_options.log_alert",
    "ssl_options.log_level",
    "ssl_options.bypass_pem_cache",
    "ssl_options.hibernate_after",
    "ssl_options.psk_identity",
    "ssl_allow_poodle_attack",
    "reverse_dns_lookups",
    "tcp_listen_options.keepalive",
    "tcp_listen_options.linger.*",
    "tcp_listen_options.exit_on_close",
    "tcp_listen_options.send_timeout*",
    "definitions.tls.*",
    "definitions.https.*",
    "definitions.hashing.*",
    "anonymous_login_user",
    "anonymous_login_pass",
    "auth_backends.*",
    "auth_ldap.*",
    "auth_http.*",
    "auth_oauth2.*",
    "auth_cache.*",
    "credential_validator.*",
    "vm_memory_high_watermark_paging_ratio",
    "vm_memory_calculation_strategy",
    "collect_statistics",
    "management.tcp.compress",
    "management.tcp.shutdown_timeout",
    "management.tcp.inactivity_timeout",
    "management.tcp.request_timeout",
    "management.ssl.backlog",
    "management.ssl.compress",
    "management.ssl.idle_timeout",
    "management.ssl.inactivity_timeout",
    "management.ssl.request_timeout",
    "management.ssl.honor_cipher_order",
    "management.ssl.honor_ecc_order",
    "management.ssl.client_renegotiation",
    "management.ssl.secure_renegotiate",
    "management.ssl.ciphers.*",
    "management.ssl.depth",
    "management.ssl.dh",
    "management.load_definitions",
    "management.restrictions.*",
    "management.sample_retention_policies.*",
    "management_agent.*",
    "management.oauth*",
    "prometheus.*",
    "log.file.rotation.*",
    "log.syslog",
    "log.syslog.*",
    "log.journald",
    "log.journald.*",
    "log.connection.*",
    "log.channel.*",
    "log.queue.*",
    "log.mirroring.*",
    "log.federation.*",
    "log.upgrade.*",
    "log.default.*",
    "log.ra.*",
    "log.console.use_colors",
    "log.console.stdio",
    "cluster_formation.*",
    "net_ticktime",
    "quorum_queue.*",
    "raft.*",
    "cluster_tags.*",
    "node_tags.*",
    "cluster_partition_handling",
    "cluster_partition_handling.*",
    "cluster_keepalive_interval",
    "queue_leader_locator",
    "queue_master_locator",
    "runtime_parameters.*",
    "stream.*",
    "mqtt.*",
    "stomp.*",
    "web_mqtt.*",
    "web_stomp.*",
    "motd_file",
    "product.name",
    "product.version",
    "trace_vhosts.*",
    "max_length_*",
    "message_interceptors.*",
    "deprecated_features.*",
    "feature_flags.*",
    NULL,
};

// Tuning of a runtime that is not here.
static const char *const settings_ignored[] = {
    "erlang.*",
    "sysmon_handler.*",
    "delegate_count",
    "mirroring_*",
    "mnesia_*",
    "hipe_compile",
    "background_gc_*",
    "msg_store_*",
    "queue_index_embed_msgs_below",
    "queue_index_max_journal_entries",
    "classic_queue.default_version",
    "distribution.*",
    "num_acceptors.*",
    "halt_on_upgrade_failure",
    "vm_memory_monitor.*",
    NULL,
};

static const slc_config_table settings_table = {
    .keys = settings_keys,
    .count = KEY_COUNT,
    .later = settings_later,
    .ignored = settings_ignored,
};

// ---- reading the sources

static const char *settings_variable(const slc_settings_sources *sources, const char *name)
{
    size_t bytes = strlen(name);
    for (char *const *entry = sources->environment; entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, name, bytes) == 0 && (*entry)[bytes] == '=')
            return (*entry)[bytes + 1] == '\0' ? NULL : *entry + bytes + 1;
    }
    return NULL;
}

// The main file; NULL: nobody named one and there is none at the usual place.
static char *settings_file(const slc_settings_sources *sources)
{
    if (sources->file != NULL)
        return slc_strdup(sources->file);
    const char *named = settings_variable(sources, "SLUICE_CONFIG");
    if (named != NULL)
        return slc_strdup(named);
    named = settings_variable(sources, "RABBITMQ_CONFIG_FILE");
    if (named != NULL) { // RabbitMQ adds the suffix itself
        char path[4096];
        if (access(named, F_OK) != 0 &&
            (size_t)snprintf(path, sizeof path, "%s.conf", named) < sizeof path &&
            access(path, F_OK) == 0)
            named = path;
        return slc_strdup(named);
    }
    return access(SLC_SETTINGS_FILE, F_OK) == 0 ? slc_strdup(SLC_SETTINGS_FILE) : NULL;
}

// Mistakes are notes of config; slc_config_finish gives the first as the error.
static void settings_read_files(slc_config *config, const char *file)
{
    if (file == NULL)
        return;
    (void)!slc_config_load_file(config, file, NULL);
    // Not beside a file of any name: /tmp/conf.d would be anybody's.
    const char *name = strrchr(file, '/');
    name = name == NULL ? file : name + 1;
    if (strcmp(name, "sluice.conf") != 0)
        return;
    char dir[4096];
    if ((size_t)snprintf(dir, sizeof dir, "%.*sconf.d", (int)(name - file), file) < sizeof dir)
        (void)!slc_config_load_dir(config, dir, NULL);
}

typedef struct settings_alias {
    const char *variable;
    const char *prefix; // before the variable's value
    enum settings_key key;
} settings_alias;

// In order: our own names win over RabbitMQ's.
static const settings_alias settings_aliases[] = {
    {"RABBITMQ_NODENAME", "", KEY_NODE_NAME},
    {"RABBITMQ_DEFAULT_USER", "", KEY_DEFAULT_USER},
    {"RABBITMQ_DEFAULT_PASS", "", KEY_DEFAULT_PASS},
    {"RABBITMQ_DEFAULT_PASS_FILE", "file:", KEY_DEFAULT_PASS},
    {"RABBITMQ_DEFAULT_VHOST", "", KEY_DEFAULT_VHOST},
    {"SLUICE_NODE_NAME", "", KEY_NODE_NAME},
    {"SLUICE_DATA_DIR", "", KEY_DATA_DIR},
    {"SLUICE_LOG_LEVEL", "", KEY_LOG_CONSOLE_LEVEL},
    {"SLUICE_LOG_LEVEL", "", KEY_LOG_FILE_LEVEL},
    {"SLUICE_DEFAULT_USER", "", KEY_DEFAULT_USER},
    {"SLUICE_DEFAULT_PASS", "", KEY_DEFAULT_PASS},
    {"SLUICE_DEFAULT_PASS_FILE", "file:", KEY_DEFAULT_PASS},
    {"SLUICE_DEFAULT_VHOST", "", KEY_DEFAULT_VHOST},
};

static void settings_set_from(slc_config *config, const char *variable, const char *key,
                              const char *prefix, const char *value)
{
    char source[128];
    snprintf(source, sizeof source, "environment variable %s", variable);
    size_t bytes = strlen(prefix) + strlen(value) + 1;
    char *text = slc_alloc(bytes);
    snprintf(text, bytes, "%s%s", prefix, value);
    (void)!slc_config_set(config, key, text, source, NULL);
    explicit_bzero(text, bytes);
    slc_free(text);
}

static void settings_read_environment(slc_config *config, const slc_settings_sources *sources)
{
    if (sources->environment == NULL)
        return;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(settings_aliases); i++) {
        const settings_alias *alias = &settings_aliases[i];
        const char *value = settings_variable(sources, alias->variable);
        if (value != NULL)
            settings_set_from(config, alias->variable, settings_keys[alias->key].name,
                              alias->prefix, value);
    }
    // RabbitMQ's port variable names its default listener, which exists only where the files name none.
    const char *port = settings_variable(sources, "RABBITMQ_NODE_PORT");
    if (port != NULL && !slc_config_is_set(config, KEY_TCP_N) &&
        !slc_config_is_set(config, KEY_TCP))
        settings_set_from(config, "RABBITMQ_NODE_PORT", "listeners.tcp.default", "", port);
    (void)!slc_config_environment(config, sources->environment, "SLUICE_CONF__", NULL);
}

// ---- from the table to the struct

// Takes text; it lives as long as settings.
static const char *settings_own(slc_settings *settings, char *text)
{
    SLC_ASSERT(settings->owned_count < SLC_ARRAY_COUNT(settings->owned));
    settings->owned[settings->owned_count++] = text;
    return text;
}

static const char *settings_text_or(const slc_config *config, enum settings_key key,
                                    const char *otherwise)
{
    const char *text = slc_config_text(config, key);
    return text == NULL ? otherwise : text;
}

static slc_log_level settings_level(const slc_config *config, enum settings_key key)
{
    static const slc_log_level levels[] = {
        SLC_LOG_DEBUG, SLC_LOG_INFO,  SLC_LOG_INFO, SLC_LOG_WARN,
        SLC_LOG_ERROR, SLC_LOG_ERROR, SLC_LOG_NONE}; // in the order of LEVELS
    return levels[slc_config_enum(config, key)];
}

static const char *settings_node_name(slc_settings *settings)
{
    const char *given = settings_text_or(settings->config, KEY_NODE_NAME, "sluice");
    if (strchr(given, '@') != NULL)
        return given;
    char host[256] = "localhost";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "localhost");
    host[strcspn(host, ".")] = '\0';
    char name[600];
    snprintf(name, sizeof name, "%s@%s", given, host);
    return settings_own(settings, slc_strdup(name));
}

static const char *settings_log_file(slc_settings *settings)
{
    const char *name = slc_config_text(settings->config, KEY_LOG_FILE);
    if (name == NULL || name[0] == '/')
        return name;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", slc_config_text(settings->config, KEY_LOG_DIR), name);
    return settings_own(settings, slc_strdup(path));
}

/** The tags of the first user, separated by commas. */
static char *settings_default_tags(const slc_config *config)
{
    uint32_t count = 0;
    const slc_config_value *values = slc_config_list(config, KEY_DEFAULT_TAGS_NAME, &count);
    size_t bytes = sizeof "administrator";
    bool administrator = true;
    for (uint32_t i = 0; i < count; i++) {
        bytes += strlen(values[i].element) + 1;
        if (strcmp(values[i].element, "administrator") == 0)
            administrator = values[i].flag;
    }
    char *tags = slc_alloc(bytes);
    strcpy(tags, administrator ? "administrator" : "");
    for (uint32_t i = 0; i < count; i++) {
        if (!values[i].flag || strcmp(values[i].element, "administrator") == 0)
            continue;
        if (tags[0] != '\0')
            strcat(tags, ",");
        strcat(tags, values[i].element);
    }
    return tags;
}

static void settings_fill_listeners(slc_settings *s)
{
    if (slc_config_is_set(s->config, KEY_TCP)) // its only word is none
        return;
    uint32_t count = 0;
    const slc_config_value *values = slc_config_list(s->config, KEY_TCP_N, &count);
    SLC_ASSERT(count <= SLC_SETTINGS_LISTENERS_MAX); // checked before
    for (uint32_t i = 0; i < count; i++)
        s->tcp[s->tcp_count++] =
            (slc_settings_listener){.name = values[i].element, .address = values[i].address};
    if (count == 0)
        s->tcp[s->tcp_count++] = (slc_settings_listener){.name = "1", .address.port = 5672};
}

static void settings_versions(const slc_config *c, enum settings_key key, bool *tls12, bool *tls13)
{
    uint32_t count = 0;
    const slc_config_value *values = slc_config_list(c, key, &count);
    *tls12 = *tls13 = count == 0;
    for (uint32_t i = 0; i < count; i++)
        *(values[i].word == 0 ? tls12 : tls13) = true;
}

static void settings_fill_tls(slc_settings *s)
{
    const slc_config *c = s->config;
    slc_tls_options *t = &s->tls;
    uint32_t count = 0;
    const slc_config_value *values = slc_config_list(c, KEY_SSL_N, &count);
    for (uint32_t i = 0; i < count && !slc_config_is_set(c, KEY_SSL); i++)
        s->ssl[s->ssl_count++] =
            (slc_settings_listener){.name = values[i].element, .address = values[i].address};
    t->cacertfile = slc_config_text(c, KEY_TLS_CA);
    t->certfile = slc_config_text(c, KEY_TLS_CERT);
    t->keyfile = slc_config_text(c, KEY_TLS_KEY);
    t->password = slc_config_text(c, KEY_TLS_PASSWORD);
    t->verify_peer = slc_config_enum(c, KEY_TLS_VERIFY) == 1;
    t->fail_if_no_peer_cert = slc_config_bool(c, KEY_TLS_FAIL);
    t->depth = (uint32_t)slc_config_number(c, KEY_TLS_DEPTH);
    settings_versions(c, KEY_TLS_VERSIONS, &t->tls12, &t->tls13);
    values = slc_config_list(c, KEY_TLS_CIPHERS, &count);
    for (uint32_t i = 0; i < count && i < SLC_TLS_CIPHERS_MAX; i++)
        t->ciphers[t->cipher_count++] = values[i].text;
    t->honor_cipher_order = slc_config_bool(c, KEY_TLS_CIPHER_ORDER);
    t->honor_ecc_order = slc_config_bool(c, KEY_TLS_ECC_ORDER);
    t->handshake_timeout_ms = (uint32_t)slc_config_number(c, KEY_TLS_TIMEOUT);
    values = slc_config_list(c, KEY_TLS_SNI_CERT, &count);
    for (uint32_t i = 0; i < count && i < SLC_TLS_SNI_MAX; i++) {
        const slc_config_value *key = slc_config_element(c, KEY_TLS_SNI_KEY, values[i].element);
        t->sni[t->sni_count++] = (slc_tls_sni){.name = values[i].element,
                                               .certfile = values[i].text,
                                               .keyfile = key->text}; // checked before
    }
    s->tls_watch = slc_config_bool(c, KEY_TLS_WATCH);
    s->proxy_protocol = slc_config_bool(c, KEY_PROXY);
    values = slc_config_list(c, KEY_MECHANISMS, &count);
    for (uint32_t i = 0; i < count; i++)
        s->mechanisms |= 1u << values[i].word;
    s->cert_login = (slc_tls_login)slc_config_enum(c, KEY_CERT_LOGIN);
    s->cert_san = (slc_tls_san)slc_config_enum(c, KEY_CERT_SAN);
    s->cert_san_index = (uint32_t)slc_config_number(c, KEY_CERT_SAN_INDEX);
}

// What no key of TLS can know by itself.
static void settings_check_tls(slc_config *config)
{
    uint32_t count = 0;
    const slc_config_value *values = slc_config_list(config, KEY_SSL_N, &count);
    if (count > SLC_SETTINGS_LISTENERS_MAX)
        slc_config_note_about(config, true, KEY_SSL_N, NULL,
                              "%u listeners are more than the %d that are allowed", count,
                              SLC_SETTINGS_LISTENERS_MAX);
    if (slc_config_is_set(config, KEY_SSL) && count > 0)
        slc_config_note_about(config, false, KEY_SSL, NULL, "listeners.ssl.N have no effect");
    else if (count > 0) {
        if (!slc_config_is_set(config, KEY_TLS_CERT))
            slc_config_note_about(config, true, KEY_TLS_CERT, NULL,
                                  "it is not set, and listeners.ssl.N need it");
        if (!slc_config_is_set(config, KEY_TLS_KEY))
            slc_config_note_about(config, true, KEY_TLS_KEY, NULL,
                                  "it is not set, and listeners.ssl.N need it");
    }
    slc_config_list(config, KEY_TLS_CIPHERS, &count);
    if (count > SLC_TLS_CIPHERS_MAX)
        slc_config_note_about(config, true, KEY_TLS_CIPHERS, NULL,
                              "%u are more than the %d that are allowed", count,
                              SLC_TLS_CIPHERS_MAX);
    values = slc_config_list(config, KEY_TLS_SNI_CERT, &count);
    if (count > SLC_TLS_SNI_MAX)
        slc_config_note_about(config, true, KEY_TLS_SNI_CERT, NULL,
                              "%u are more than the %d that are allowed", count, SLC_TLS_SNI_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (slc_config_element(config, KEY_TLS_SNI_KEY, values[i].element) == NULL)
            slc_config_note_about(config, true, KEY_TLS_SNI_CERT, NULL,
                                  "ssl_options.sni.%s.keyfile is missing", values[i].element);
    values = slc_config_list(config, KEY_TLS_SNI_KEY, &count);
    for (uint32_t i = 0; i < count; i++)
        if (slc_config_element(config, KEY_TLS_SNI_CERT, values[i].element) == NULL)
            slc_config_note_about(config, true, KEY_TLS_SNI_KEY, NULL,
                                  "ssl_options.sni.%s.certfile is missing", values[i].element);
}

const char *slc_settings_seed_value_name(int index)
{
    return seed_values[index].name;
}

/** The element that a list has for name; NULL: none. */
static const char *seed_text(const slc_config *c, enum settings_key key, const char *name)
{
    const slc_config_value *value = slc_config_element(c, key, name);
    return value != NULL ? value->text : NULL;
}

static int64_t seed_number(const slc_config *c, enum settings_key key, const char *name)
{
    const slc_config_value *value = slc_config_element(c, key, name);
    return value != NULL ? (int64_t)value->number : -1;
}

static void settings_fill_seeds(slc_settings *s)
{
    const slc_config *c = s->config;
    uint32_t count = 0;
    const slc_config_value *v = slc_config_list(c, KEY_SEED_LIMIT_PATTERN, &count);
    s->seed_limits = slc_alloc_zero(count + 1, sizeof *s->seed_limits);
    s->seed_limit_count = count;
    for (uint32_t i = 0; i < count; i++)
        s->seed_limits[i] = (slc_settings_seed_limit){
            .pattern = v[i].text,
            .max_connections = seed_number(c, KEY_SEED_LIMIT_CONNECTIONS, v[i].element),
            .max_queues = seed_number(c, KEY_SEED_LIMIT_QUEUES, v[i].element),
        };
    v = slc_config_list(c, KEY_SEED_POLICY_VHOST, &count);
    s->seed_policies = slc_alloc_zero(count + 1, sizeof *s->seed_policies);
    s->seed_policy_count = count;
    for (uint32_t i = 0; i < count; i++) {
        slc_settings_seed_policy *p = &s->seed_policies[i];
        p->name = v[i].element;
        p->vhost_pattern = v[i].text;
        p->queue_pattern = seed_text(c, KEY_SEED_POLICY_QUEUE, p->name);
        for (int k = 0; k < SLC_SETTINGS_SEED_VALUES; k++)
            p->values[k] = seed_number(c, seed_values[k].key, p->name);
    }
    v = slc_config_list(c, KEY_SEED_USER_VHOST, &count);
    s->seed_users = slc_alloc_zero(count + 1, sizeof *s->seed_users);
    s->seed_user_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const char *name = v[i].element;
        s->seed_users[i] = (slc_settings_seed_user){
            .name = name,
            .vhost_pattern = v[i].text,
            .password = seed_text(c, KEY_SEED_USER_PASSWORD, name),
            .tags = seed_text(c, KEY_SEED_USER_TAGS, name),
            .configure = seed_text(c, KEY_SEED_USER_CONFIGURE, name),
            .write = seed_text(c, KEY_SEED_USER_WRITE, name),
            .read = seed_text(c, KEY_SEED_USER_READ, name),
        };
    }
}

static void settings_fill(slc_settings *s)
{
    settings_fill_seeds(s);
    const slc_config *c = s->config;
    settings_fill_tls(s);
    s->node_name = settings_node_name(s);
    s->data_dir = slc_config_text(c, KEY_DATA_DIR);
    s->cluster_name = settings_text_or(c, KEY_CLUSTER_NAME, s->node_name);
    s->allow_root = slc_config_bool(c, KEY_ALLOW_ROOT);
    s->shutdown_timeout_ms = slc_config_number(c, KEY_SHUTDOWN_TIMEOUT);

    settings_fill_listeners(s);
    s->tcp_backlog = (uint32_t)slc_config_number(c, KEY_TCP_BACKLOG);
    s->tcp_nodelay = slc_config_bool(c, KEY_TCP_NODELAY);
    s->tcp_sndbuf_bytes = (uint32_t)slc_config_number_or(c, KEY_TCP_SNDBUF, 0);
    s->tcp_recbuf_bytes = (uint32_t)slc_config_number_or(c, KEY_TCP_RECBUF, 0);
    s->max_connections = slc_config_number_or(c, KEY_MAX_CONNECTIONS, 0);
    uint64_t connection_max = slc_config_number_or(c, KEY_CONNECTION_MAX, 0);
    if (s->max_connections == 0 || (connection_max != 0 && connection_max < s->max_connections))
        s->max_connections = connection_max;

    s->handshake_timeout_ms = (uint32_t)slc_config_number(c, KEY_HANDSHAKE_TIMEOUT);
    s->heartbeat_s = (uint16_t)(slc_config_number(c, KEY_HEARTBEAT) / 1000);
    s->frame_max_bytes = (uint32_t)slc_config_number(c, KEY_FRAME_MAX);
    s->initial_frame_max_bytes = (uint32_t)slc_config_number(c, KEY_INITIAL_FRAME_MAX);
    s->channel_max = (uint16_t)slc_config_number(c, KEY_CHANNEL_MAX);
    s->max_message_bytes = slc_config_number(c, KEY_MAX_MESSAGE_SIZE);
    s->default_consumer_prefetch = (uint16_t)slc_config_number(c, KEY_DEFAULT_PREFETCH);
    s->consumer_max_per_channel = (uint32_t)slc_config_number_or(c, KEY_CONSUMER_MAX, 0);
    s->consumer_timeout_ms = slc_config_number_or(c, KEY_CONSUMER_TIMEOUT, SLC_ACK_TIMEOUT_OF_KIND);
    s->x_death_trust_client = slc_config_bool(c, KEY_X_DEATH_TRUST);
    s->sac_strict = slc_config_bool(c, KEY_SAC_STRICT);
    s->ttl_head_only = slc_config_bool(c, KEY_TTL_HEAD_ONLY);
    s->on_mismatch = (int)slc_config_enum(c, KEY_ON_MISMATCH);
    s->due_max_ms = slc_config_number(c, KEY_DUE_MAX_DAYS) * 86400 * 1000;
    s->overflow_priority_head = slc_config_enum(c, KEY_OVERFLOW_PRIORITY) == 1;
    s->delivery_limit_count_nack = slc_config_bool(c, KEY_COUNT_NACK);
    s->product = settings_text_or(c, KEY_PRODUCT, "Sluice");
    s->product_version = settings_text_or(c, KEY_PRODUCT_VERSION, SLC_VERSION);

    s->default_user = slc_config_text(c, KEY_DEFAULT_USER);
    s->default_pass = slc_config_text(c, KEY_DEFAULT_PASS);
    s->default_vhost = slc_config_text(c, KEY_DEFAULT_VHOST);
    s->default_tags = settings_default_tags(c);
    s->default_configure = slc_config_text(c, KEY_DEFAULT_CONFIGURE);
    s->default_write = slc_config_text(c, KEY_DEFAULT_WRITE);
    s->default_read = slc_config_text(c, KEY_DEFAULT_READ);
    s->password_hashing = slc_config_enum(c, KEY_PASSWORD_HASHING);
    s->auth_cache_ttl_ms = (uint32_t)slc_config_number(c, KEY_AUTH_CACHE_TTL);
    s->auth_require_tls = slc_config_bool(c, KEY_AUTH_REQUIRE_TLS);
    s->auth_failure_delay_ms = (uint32_t)slc_config_number(c, KEY_AUTH_FAILURE_DELAY);
    s->auth_max_failures_per_minute = (uint32_t)slc_config_number(c, KEY_AUTH_MAX_FAILURES);
    s->channel_max_per_node = (uint32_t)slc_config_number_or(c, KEY_CHANNEL_MAX_NODE, 0);
    s->vhost_max = (uint32_t)slc_config_number_or(c, KEY_VHOST_MAX, 0);
    s->cluster_queue_limit = (uint32_t)slc_config_number_or(c, KEY_CLUSTER_QUEUE_LIMIT, 0);
    s->cluster_exchange_limit = (uint32_t)slc_config_number_or(c, KEY_CLUSTER_EXCHANGE_LIMIT, 0);
    static const char *const queue_types[] = {"classic", "quorum", "stream"};
    s->default_queue_type = queue_types[slc_config_enum(c, KEY_DEFAULT_QUEUE_TYPE)];
    s->load_definitions =
        settings_text_or(c, KEY_LOAD_DEFINITIONS, slc_config_text(c, KEY_DEF_PATH));
    s->load_definitions_changed_only = slc_config_bool(c, KEY_DEF_SKIP);

    s->memory_watermark_relative = slc_config_get(c, KEY_MEMORY_RELATIVE)->fraction;
    s->memory_watermark_is_absolute =
        slc_config_is_set(c, KEY_MEMORY_ABSOLUTE) && !slc_config_is_set(c, KEY_MEMORY_RELATIVE);
    s->memory_watermark_absolute = slc_config_number_or(c, KEY_MEMORY_ABSOLUTE, 0);
    s->memory_total_override_bytes = slc_config_number_or(c, KEY_MEMORY_TOTAL, 0);
    s->memory_monitor_interval_ms = (uint32_t)slc_config_number(c, KEY_MEMORY_INTERVAL);
    s->disk_free_limit_bytes = slc_config_number(c, KEY_DISK_LIMIT);
    s->disk_free_limit_is_relative =
        slc_config_is_set(c, KEY_DISK_RELATIVE) && !slc_config_is_set(c, KEY_DISK_LIMIT);
    if (s->disk_free_limit_is_relative)
        s->disk_free_limit_relative = slc_config_get(c, KEY_DISK_RELATIVE)->fraction;
    s->cache_bytes = slc_config_number(c, KEY_CACHE_BYTES);
    s->window_bytes = slc_config_number(c, KEY_WINDOW_BYTES);

    s->store_flush = (slc_settings_flush)slc_config_enum(c, KEY_FLUSH);
    s->store_flush_interval_ms = (uint32_t)slc_config_number(c, KEY_FLUSH_INTERVAL);
    s->store_map_bytes = slc_config_number_or(c, KEY_MAP_SIZE, 0);
    s->store_log_bytes = slc_config_number(c, KEY_LOG_BYTES);

    s->management_socket = slc_config_text(c, KEY_SOCKET_PATH);
    s->management_group = slc_config_text(c, KEY_SOCKET_GROUP);
    s->management_ip = slc_config_text(c, KEY_MGMT_IP);
    s->management_port = (int32_t)slc_config_number_or(c, KEY_MGMT_PORT, UINT64_MAX);
    s->management_idle_ms = slc_config_number(c, KEY_MGMT_IDLE);
    s->management_ssl_ip = slc_config_text(c, KEY_MGMT_SSL_IP);
    s->management_ssl_port = slc_config_is_set(c, KEY_MGMT_SSL_PORT)
                                 ? (int32_t)slc_config_number(c, KEY_MGMT_SSL_PORT)
                                 : -1;
    s->management_ca = slc_config_text(c, KEY_MGMT_SSL_CA);
    s->management_cert = slc_config_text(c, KEY_MGMT_SSL_CERT);
    s->management_key = slc_config_text(c, KEY_MGMT_SSL_KEY);
    s->management_key_password = slc_config_text(c, KEY_MGMT_SSL_PASSWORD);
    settings_versions(c, KEY_MGMT_SSL_VERSIONS, &s->management_tls12, &s->management_tls13);
    s->management_realm = slc_config_text(c, KEY_MGMT_REALM);
    s->management_body_bytes = slc_config_number(c, KEY_MGMT_BODY);
    s->management_rates_off = slc_config_enum(c, KEY_MGMT_RATES) == 2;
    s->statistics_interval_ms = slc_config_number(c, KEY_STATS_INTERVAL);
    s->management_stats_off = slc_config_bool(c, KEY_MGMT_STATS_OFF);
    s->management_queue_totals = slc_config_bool(c, KEY_MGMT_TOTALS);
    s->management_prefix = slc_config_text(c, KEY_MGMT_PREFIX);
    s->management_login_minutes = (uint32_t)slc_config_number(c, KEY_MGMT_LOGIN_TIMEOUT);
    s->management_basic_off = slc_config_bool(c, KEY_MGMT_BASIC_OFF);
    if (!slc_config_is_set(c, KEY_MGMT_CORS))
        s->management_origins = slc_config_list(c, KEY_MGMT_CORS_N, &s->management_origin_count);
    s->management_cors_age_s = slc_config_number(c, KEY_MGMT_CORS_AGE);
    s->management_csp = slc_config_text(c, KEY_MGMT_CSP);
    s->management_hsts = slc_config_text(c, KEY_MGMT_HSTS);
    s->management_content_type_options = slc_config_text(c, KEY_MGMT_NOSNIFF);
    s->management_xss_protection = slc_config_text(c, KEY_MGMT_XSS);
    s->management_frame_options = slc_config_text(c, KEY_MGMT_FRAME);
    s->management_log_dir = slc_config_text(c, KEY_MGMT_LOG_DIR);

    s->log_console_level = slc_config_bool(c, KEY_LOG_CONSOLE)
                               ? settings_level(c, KEY_LOG_CONSOLE_LEVEL)
                               : SLC_LOG_NONE;
    s->log_console_json = slc_config_enum(c, KEY_LOG_CONSOLE_FORMAT) == 1;
    s->log_file = settings_log_file(s);
    s->log_file_level = settings_level(c, KEY_LOG_FILE_LEVEL);
    s->log_file_json = slc_config_enum(c, KEY_LOG_FILE_FORMAT) == 1;
    s->log_exchange = slc_config_bool(c, KEY_LOG_EXCHANGE);
    s->log_exchange_level = settings_level(c, KEY_LOG_EXCHANGE_LEVEL);
    s->log_exchange_json = slc_config_enum(c, KEY_LOG_EXCHANGE_FORMAT) == 1;
    s->event_vhost = slc_config_text(c, KEY_EVENT_VHOST);
}

// What no key can know by itself.
static void settings_check_header(slc_config *config, uint32_t key, const char *forbidden)
{
    for (const char *at = slc_config_text(config, key); at != NULL && *at != '\0'; at++) {
        if (*at >= ' ' && *at <= '~' && strchr(forbidden, *at) == NULL)
            continue;
        slc_config_note_about(config, true, key, NULL, "only printable ASCII%s is allowed",
                              forbidden[0] != '\0' ? " without quotes and backslashes" : "");
        break;
    }
}

static void settings_check_management(slc_config *config)
{
    static const uint32_t headers[] = {KEY_MGMT_CSP, KEY_MGMT_HSTS, KEY_MGMT_NOSNIFF, KEY_MGMT_XSS,
                                       KEY_MGMT_FRAME};
    uint32_t origins = 0;
    settings_check_header(config, KEY_MGMT_REALM, "\"\\"); // it stands between quotes
    for (size_t i = 0; i < SLC_ARRAY_COUNT(headers); i++)
        settings_check_header(config, headers[i], "");
    (void)slc_config_list(config, KEY_MGMT_CORS_N, &origins);
    if (origins > SLC_SETTINGS_ORIGINS_MAX)
        slc_config_note_about(config, true, KEY_MGMT_CORS_N, NULL,
                              "%u origins are more than the %d that are allowed", origins,
                              SLC_SETTINGS_ORIGINS_MAX);
    const char *prefix = slc_config_text(config, KEY_MGMT_PREFIX);
    if (prefix == NULL)
        return;
    size_t bytes = strlen(prefix);
    if (prefix[0] != '/' || prefix[bytes - 1] == '/' || strpbrk(prefix, "?#% ") != NULL)
        slc_config_note_about(config, true, KEY_MGMT_PREFIX, NULL,
                              "it must begin with a slash, not end with one, and have no ?, #, %% "
                              "or blank");
}

/** Each element of key is a regular expression. */
static void settings_check_pattern(slc_config *config, enum settings_key key)
{
    uint32_t count = 0;
    const slc_config_value *v = slc_config_list(config, key, &count);
    for (uint32_t i = 0; i < count; i++) {
        slc_pattern *pattern = NULL;
        slc_error error = {0};
        if (slc_pattern_new(slc_slice_str(v[i].text), &pattern, &error) != SLC_OK)
            slc_config_note_about(config, true, key, NULL, "of %s: %s", v[i].element, error.text);
        slc_pattern_free(pattern);
    }
}

static void settings_check_seeds(slc_config *config)
{
    static const struct {
        enum settings_key key, needs;
    } rules[] = {
        {KEY_SEED_LIMIT_CONNECTIONS, KEY_SEED_LIMIT_PATTERN},
        {KEY_SEED_LIMIT_QUEUES, KEY_SEED_LIMIT_PATTERN},
        {KEY_SEED_POLICY_QUEUE, KEY_SEED_POLICY_VHOST},
        {KEY_SEED_POLICY_EXPIRES, KEY_SEED_POLICY_VHOST},
        {KEY_SEED_POLICY_MESSAGE_TTL, KEY_SEED_POLICY_VHOST},
        {KEY_SEED_POLICY_MAX_LENGTH, KEY_SEED_POLICY_VHOST},
        {KEY_SEED_POLICY_MAX_LENGTH_BYTES, KEY_SEED_POLICY_VHOST},
        {KEY_SEED_POLICY_DELIVERY_LIMIT, KEY_SEED_POLICY_VHOST},
        {KEY_SEED_USER_PASSWORD, KEY_SEED_USER_VHOST},
        {KEY_SEED_USER_TAGS, KEY_SEED_USER_VHOST},
        {KEY_SEED_USER_CONFIGURE, KEY_SEED_USER_VHOST},
        {KEY_SEED_USER_WRITE, KEY_SEED_USER_VHOST},
        {KEY_SEED_USER_READ, KEY_SEED_USER_VHOST},
    };
    static const enum settings_key patterns[] = {
        KEY_SEED_LIMIT_PATTERN,  KEY_SEED_POLICY_VHOST, KEY_SEED_POLICY_QUEUE, KEY_SEED_USER_VHOST,
        KEY_SEED_USER_CONFIGURE, KEY_SEED_USER_WRITE,   KEY_SEED_USER_READ};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(rules); i++) {
        uint32_t count = 0;
        const slc_config_value *v = slc_config_list(config, rules[i].key, &count);
        for (uint32_t k = 0; k < count; k++) {
            if (slc_config_element(config, rules[i].needs, v[k].element) == NULL)
                slc_config_note_about(config, true, rules[i].key, NULL,
                                      "of %s: %s is missing, so it has no effect", v[k].element,
                                      settings_keys[rules[i].needs].name);
        }
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(patterns); i++)
        settings_check_pattern(config, patterns[i]);
    uint32_t count = 0;
    const slc_config_value *v = slc_config_list(config, KEY_SEED_POLICY_VHOST, &count);
    for (uint32_t i = 0; i < count; i++) {
        bool any = false;
        for (int k = 0; k < SLC_SETTINGS_SEED_VALUES; k++)
            any |= slc_config_element(config, seed_values[k].key, v[i].element) != NULL;
        if (!any)
            slc_config_note_about(config, true, KEY_SEED_POLICY_VHOST, NULL,
                                  "of %s: the policy sets nothing", v[i].element);
    }
}

static void settings_check(slc_config *config)
{
    uint32_t listeners = 0;
    settings_check_tls(config);
    settings_check_seeds(config);
    slc_config_list(config, KEY_TCP_N, &listeners);
    if (listeners > SLC_SETTINGS_LISTENERS_MAX)
        slc_config_note_about(config, true, KEY_TCP_N, NULL,
                              "%u listeners are more than the %d that are allowed", listeners,
                              SLC_SETTINGS_LISTENERS_MAX);
    if (slc_config_number(config, KEY_HEARTBEAT) % 1000 != 0)
        slc_config_note_about(config, true, KEY_HEARTBEAT, NULL, "it must be whole seconds");
    if (slc_config_is_set(config, KEY_MEMORY_ABSOLUTE) &&
        slc_config_is_set(config, KEY_MEMORY_RELATIVE))
        slc_config_note_about(config, false, KEY_MEMORY_ABSOLUTE, NULL,
                              "has no effect, vm_memory_high_watermark.relative is set too");
    if (slc_config_is_set(config, KEY_DISK_LIMIT) && slc_config_is_set(config, KEY_DISK_RELATIVE))
        slc_config_note_about(config, false, KEY_DISK_RELATIVE, NULL,
                              "has no effect, disk_free_limit.absolute is set too");
    if (slc_config_is_set(config, KEY_FLUSH_INTERVAL) &&
        slc_config_enum(config, KEY_FLUSH) != SLC_SETTINGS_FLUSH_INTERVAL)
        slc_config_note_about(config, false, KEY_FLUSH_INTERVAL, NULL,
                              "has no effect without store.flush = interval");
    if (slc_config_is_set(config, KEY_DEF_PATH) && slc_config_is_set(config, KEY_LOAD_DEFINITIONS))
        slc_config_note_about(config, false, KEY_DEF_PATH, NULL,
                              "has no effect, load_definitions is set too");
    if (slc_config_is_set(config, KEY_TCP) && listeners > 0)
        slc_config_note_about(config, false, KEY_TCP, NULL, "listeners.tcp.N have no effect");
    settings_check_management(config);
}

slc_err slc_settings_load(const slc_settings_sources *sources, slc_settings **out, slc_error *error)
{
    slc_settings *settings = slc_alloc_zero(1, sizeof *settings);
    settings->config = slc_config_new(&settings_table);
    settings->config_file = settings_file(sources);
    slc_config *config = settings->config;

    settings_read_files(config, settings->config_file);
    settings_read_environment(config, sources);
    for (uint32_t i = 0; i < sources->set_count; i++)
        (void)!slc_config_assign(config, sources->set[i], "--set", NULL);
    if (sources->data_dir != NULL)
        (void)!slc_config_set(config, settings_keys[KEY_DATA_DIR].name, sources->data_dir,
                              "--data-dir", NULL);

    settings_check(config);
    slc_err rc = slc_config_finish(config, slc_config_enum(config, KEY_UNKNOWN_KEYS) == 0, error);
    uint32_t count = 0;
    const slc_config_note *notes = slc_config_notes(config, &count);
    for (uint32_t i = 0; i < count && sources->note != NULL; i++)
        sources->note(notes[i].error, notes[i].text, sources->arg);
    if (rc != SLC_OK) {
        slc_settings_free(settings);
        return rc;
    }
    settings_fill(settings);
    *out = settings;
    return SLC_OK;
}

void slc_settings_free(slc_settings *settings)
{
    if (settings == NULL)
        return;
    slc_free(settings->default_tags);
    slc_free(settings->seed_limits);
    slc_free(settings->seed_policies);
    slc_free(settings->seed_users);
    for (uint32_t i = 0; i < settings->owned_count; i++)
        slc_free(settings->owned[i]);
    slc_config_free(settings->config);
    slc_free(settings->config_file);
    slc_free(settings);
}

// ---- questions

bool slc_settings_emulates_before(const slc_settings *settings, int major, int minor, int patch)
{
    int v[3] = {0};
    if (strcmp(settings->product, "RabbitMQ") != 0 ||
        sscanf(settings->product_version, "%d.%d.%d", &v[0], &v[1], &v[2]) != 3)
        return false;
    const int than[3] = {major, minor, patch};
    for (int i = 0; i < 3; i++) {
        if (v[i] != than[i])
            return v[i] < than[i];
    }
    return false;
}

bool slc_settings_loopback_only(const slc_settings *settings, slc_slice user)
{
    if (slc_config_is_set(settings->config, KEY_LOOPBACK))
        return false;
    uint32_t count = 0;
    const slc_config_value *values = slc_config_list(settings->config, KEY_LOOPBACK_NAME, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (slc_slice_is(user, values[i].element))
            return values[i].flag;
    }
    return slc_slice_is(user, "guest");
}

slc_log_options slc_settings_log(const slc_settings *settings)
{
    return (slc_log_options){.level = settings->log_console_level,
                             .json = settings->log_console_json,
                             .file = settings->log_file,
                             .file_level = settings->log_file_level,
                             .file_json = settings->log_file_json,
                             .lines = settings->log_exchange,
                             .line_level = settings->log_exchange_level,
                             .line_json = settings->log_exchange_json,
                             .node = settings->node_name};
}

void slc_settings_diff(const slc_settings *before, const slc_settings *after,
                       void (*changed)(const char *key, bool needs_restart, void *arg), void *arg)
{
    slc_config_diff(before->config, after->config, changed, arg);
}

slc_err slc_settings_value(const char *key, const char *value, uint64_t *number, double *fraction,
                           slc_error *error)
{
    slc_config *config = slc_config_new(&settings_table);
    slc_err rc = slc_config_set(config, key, value, "the request", error);
    for (uint32_t i = 0; rc == SLC_OK && i < settings_table.count; i++) {
        if (strcmp(settings_keys[i].name, key) != 0)
            continue;
        if (number != NULL)
            *number = slc_config_number(config, i);
        if (fraction != NULL)
            *fraction = slc_config_get(config, i)->fraction;
    }
    slc_config_free(config);
    return rc;
}

void slc_settings_print(const slc_settings *settings, FILE *out)
{
    if (settings->config_file != NULL)
        fprintf(out, "# read from %s\n", settings->config_file);
    fprintf(out, "# node %s\n", settings->node_name);
    slc_config_print(settings->config, true, out);
}

void slc_settings_man(FILE *out)
{
    fputs(".\\\" Made by sluiced --print-man from the table of keys; do not edit.\n"
          ".TH SLUICE.CONF 5 \"2026-11-22\" \"Sluice\" \"Sluice manual\"\n"
          ".SH NAME\n"
          "sluice.conf \\- configuration of the Sluice message broker\n"
          ".SH SYNOPSIS\n"
          ".nf\n"
          "/etc/sluice/sluice.conf\n"
          "/etc/sluice/conf.d/*.conf\n"
          ".fi\n"
          ".SH DESCRIPTION\n"
          "Each line is \\fIkey\\fR = \\fIvalue\\fR, as in RabbitMQ's \\fIrabbitmq.conf\\fR,\n"
          "and keys that both have mean the same. A # begins a comment. Blanks around\n"
          "keys and values do not count; a value in single quotes keeps its blanks and\n"
          "its #. The text is UTF\\-8.\n"
          ".PP\n"
          "The main file is read first: the one of \\fB\\-\\-config\\fR, else of the\n"
          "environment, else the one above. Beside a file named sluice.conf, every file\n"
          "of conf.d that ends in .conf follows, in the order of their names; then the\n"
          "environment, then \\fB\\-\\-set\\fR. The last one wins.\n"
          ".PP\n"
          "An unknown key, a value of the wrong form or outside its range prevents the\n"
          "start (exit status 78); the message names file, line, key, value and what is\n"
          "allowed. \\fBsluiced \\-\\-check\\fR does nothing but this. Keys of RabbitMQ\n"
          "that have no effect here yet are accepted, and named in one warning.\n"
          ".PP\n"
          "Sizes: digits are bytes; KB, MB, GB and TB are powers of 1000; KiB, MiB, GiB\n"
          "and TiB, and k, m, g and t alone, are powers of 1024. Times: ms, s, m, h and\n"
          "d may follow the digits; digits alone are in the unit that the key names.\n"
          ".SH KEYS\n",
          out);
    slc_config_write_man(&settings_table, out);
    fputs(".SH ENVIRONMENT\n"
          "Empty variables do not count.\n"
          ".TP\n\\fBSLUICE_CONFIG\\fR, \\fBRABBITMQ_CONFIG_FILE\\fR\nThe main file.\n"
          ".TP\n\\fBSLUICE_DATA_DIR\\fR\nnode.data_dir\n"
          ".TP\n\\fBSLUICE_NODE_NAME\\fR, \\fBRABBITMQ_NODENAME\\fR\nnode.name\n"
          ".TP\n\\fBSLUICE_LOG_LEVEL\\fR\nlog.console.level and log.file.level\n"
          ".TP\n\\fBSLUICE_DEFAULT_USER\\fR, \\fBRABBITMQ_DEFAULT_USER\\fR\ndefault_user\n"
          ".TP\n\\fBSLUICE_DEFAULT_PASS\\fR, \\fBRABBITMQ_DEFAULT_PASS\\fR\ndefault_pass; with "
          "_FILE behind the name, a file that has it\n"
          ".TP\n\\fBSLUICE_DEFAULT_VHOST\\fR, \\fBRABBITMQ_DEFAULT_VHOST\\fR\ndefault_vhost\n"
          ".TP\n\\fBRABBITMQ_NODE_PORT\\fR\nThe port for AMQP, where no file says listeners.tcp.\n"
          ".TP\n\\fBSLUICE_CONF__\\fIa\\fB__\\fIb\\fR\nAny key: two underscores are a dot, so "
          "SLUICE_CONF__listeners__tcp__1=5673 is\n"
          "listeners.tcp.1 = 5673.\n"
          ".PP\n"
          "Where Sluice and RabbitMQ name the same key, the variable of Sluice wins.\n"
          ".SH EXAMPLE\n"
          ".nf\n"
          "listeners.tcp.local = 127.0.0.1:5672\n"
          "listeners.tcp.lan = 192.168.1.10:5672\n"
          "default_user = admin\n"
          "default_pass = file:/etc/sluice/admin.password\n"
          "vm_memory_high_watermark.absolute = 2GiB\n"
          "log.console.formatter = json\n"
          ".fi\n"
          ".SH SEE ALSO\n"
          ".BR sluiced (8),\n"
          ".BR sluicectl (8)\n",
          out);
}

void slc_settings_sample(FILE *out)
{
    fputs("# Configuration of Sluice. Every key stands here with its default, as a comment; "
          "sluice.conf(5) says more.\n"
          "# `sluiced --check` tells what is wrong, `sluiced --print-config` what holds.\n",
          out);
    slc_config_write_sample(&settings_table, out);
}
