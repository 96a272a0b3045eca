// From the table of values to the struct that the parts of the daemon read.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/settings_impl.h"
#include "base/alloc.h"
#include "core/broker.h"

const char *slc_settings_own(slc_settings *settings, char *text)
{
    SLC_ASSERT(settings->owned_count < SLC_ARRAY_COUNT(settings->owned));
    settings->owned[settings->owned_count++] = text;
    return text;
}

static const char *settings_text_or(const slc_config *config, enum slc_settings_key key,
                                    const char *otherwise)
{
    const char *text = slc_config_text(config, key);
    return text == NULL ? otherwise : text;
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
    return slc_settings_own(settings, slc_strdup(name));
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

static void settings_versions(const slc_config *c, enum slc_settings_key key, bool *tls12,
                              bool *tls13)
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

/** The element that a list has for name; NULL: none. */
static const char *seed_text(const slc_config *c, enum slc_settings_key key, const char *name)
{
    const slc_config_value *value = slc_config_element(c, key, name);
    return value != NULL ? value->text : NULL;
}

static int64_t seed_number(const slc_config *c, enum slc_settings_key key, const char *name)
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
            p->values[k] = seed_number(c, slc_settings_seeds[k].key, p->name);
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

void slc_settings_fill(slc_settings *s)
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
    s->tcp_keepalive = slc_config_bool(c, KEY_TCP_KEEPALIVE);
    s->tcp_linger = slc_config_bool(c, KEY_TCP_LINGER);
    s->tcp_linger_s = (uint16_t)slc_config_number(c, KEY_TCP_LINGER_TIMEOUT);
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
    s->credentials = (slc_credentials_options){
        .rule = (slc_credential_rule)slc_config_enum(c, KEY_CREDENTIAL_BACKEND),
        .min_length = (uint32_t)slc_config_number(c, KEY_CREDENTIAL_LENGTH),
        .regexp = slc_config_text(c, KEY_CREDENTIAL_REGEXP)};
    s->anonymous_user = slc_config_text(c, KEY_ANONYMOUS_USER);
    s->anonymous_pass = slc_config_text(c, KEY_ANONYMOUS_PASS);
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
    s->load_definitions = settings_text_or(
        c, KEY_LOAD_DEFINITIONS,
        settings_text_or(c, KEY_DEF_PATH, slc_config_text(c, KEY_MGMT_LOAD_DEFINITIONS)));
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
    s->management_operator_lock = slc_config_bool(c, KEY_MGMT_OPERATOR_LOCK);
    if (!slc_config_is_set(c, KEY_MGMT_CORS))
        s->management_origins = slc_config_list(c, KEY_MGMT_CORS_N, &s->management_origin_count);
    s->management_cors_age_s = slc_config_number(c, KEY_MGMT_CORS_AGE);
    s->management_csp = slc_config_text(c, KEY_MGMT_CSP);
    s->management_hsts = slc_config_text(c, KEY_MGMT_HSTS);
    s->management_content_type_options = slc_config_text(c, KEY_MGMT_NOSNIFF);
    s->management_xss_protection = slc_config_text(c, KEY_MGMT_XSS);
    s->management_frame_options = slc_config_text(c, KEY_MGMT_FRAME);
    s->management_log_dir = slc_config_text(c, KEY_MGMT_LOG_DIR);

    slc_settings_fill_log(s);
    s->event_vhost = slc_config_text(c, KEY_EVENT_VHOST);
}
