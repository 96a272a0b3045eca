// Rules across keys: what no key can know by itself. Each mistake is a note of the configuration.
#include <string.h>

#include "app/settings_impl.h"
#include "auth/pattern.h"
#include "base/alloc.h"

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
static void settings_check_pattern(slc_config *config, enum slc_settings_key key)
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
        enum slc_settings_key key, needs;
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
    static const enum slc_settings_key patterns[] = {
        KEY_SEED_LIMIT_PATTERN,  KEY_SEED_POLICY_VHOST, KEY_SEED_POLICY_QUEUE, KEY_SEED_USER_VHOST,
        KEY_SEED_USER_CONFIGURE, KEY_SEED_USER_WRITE,   KEY_SEED_USER_READ};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(rules); i++) {
        uint32_t count = 0;
        const slc_config_value *v = slc_config_list(config, rules[i].key, &count);
        for (uint32_t k = 0; k < count; k++) {
            if (slc_config_element(config, rules[i].needs, v[k].element) == NULL)
                slc_config_note_about(config, true, rules[i].key, NULL,
                                      "of %s: %s is missing, so it has no effect", v[k].element,
                                      slc_settings_keys[rules[i].needs].name);
        }
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(patterns); i++)
        settings_check_pattern(config, patterns[i]);
    uint32_t count = 0;
    const slc_config_value *v = slc_config_list(config, KEY_SEED_POLICY_VHOST, &count);
    for (uint32_t i = 0; i < count; i++) {
        bool any = false;
        for (int k = 0; k < SLC_SETTINGS_SEED_VALUES; k++)
            any |= slc_config_element(config, slc_settings_seeds[k].key, v[i].element) != NULL;
        if (!any)
            slc_config_note_about(config, true, KEY_SEED_POLICY_VHOST, NULL,
                                  "of %s: the policy sets nothing", v[i].element);
    }
}

static void settings_check_credentials(slc_config *config)
{
    slc_credential_rule rule = (slc_credential_rule)slc_config_enum(config, KEY_CREDENTIAL_BACKEND);
    const char *regexp = slc_config_text(config, KEY_CREDENTIAL_REGEXP);
    slc_pattern *pattern = NULL;
    slc_error error = {0};
    if (regexp != NULL && slc_pattern_new(slc_slice_str(regexp), &pattern, &error) != SLC_OK)
        slc_config_note_about(config, true, KEY_CREDENTIAL_REGEXP, NULL, "%s", error.text);
    slc_pattern_free(pattern);
    if (rule == SLC_CREDENTIAL_REGEXP && regexp == NULL)
        slc_config_note_about(config, true, KEY_CREDENTIAL_BACKEND, NULL,
                              "credential_validator.regexp is missing");
    if (rule != SLC_CREDENTIAL_REGEXP && regexp != NULL)
        slc_config_note_about(config, false, KEY_CREDENTIAL_REGEXP, NULL,
                              "has no effect with this credential_validator.validation_backend");
    if (rule != SLC_CREDENTIAL_MIN_LENGTH && slc_config_is_set(config, KEY_CREDENTIAL_LENGTH))
        slc_config_note_about(config, false, KEY_CREDENTIAL_LENGTH, NULL,
                              "has no effect with this credential_validator.validation_backend");
}

static void settings_check_users(slc_config *config)
{
    enum { ANONYMOUS = 3 }; // the word of auth_mechanisms.N
    uint32_t count = 0;
    bool offered = false;
    const slc_config_value *v = slc_config_list(config, KEY_MECHANISMS, &count);
    for (uint32_t i = 0; i < count; i++)
        offered |= v[i].word == ANONYMOUS;
    bool anybody = slc_config_text(config, KEY_ANONYMOUS_USER) != NULL;
    if (offered && !anybody)
        slc_config_note_about(config, false, KEY_MECHANISMS, NULL,
                              "ANONYMOUS has no effect, anonymous_login_user is none");
    if (anybody && !offered)
        slc_config_note_about(config, false, KEY_ANONYMOUS_USER, NULL,
                              "has no effect, no auth_mechanisms.N is ANONYMOUS");
    if (!anybody && slc_config_is_set(config, KEY_ANONYMOUS_PASS))
        slc_config_note_about(config, false, KEY_ANONYMOUS_PASS, NULL,
                              "has no effect, anonymous_login_user is none");
    settings_check_credentials(config);
}

void slc_settings_check(slc_config *config)
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
    if (slc_config_is_set(config, KEY_MGMT_LOAD_DEFINITIONS) &&
        (slc_config_is_set(config, KEY_LOAD_DEFINITIONS) ||
         slc_config_is_set(config, KEY_DEF_PATH)))
        slc_config_note_about(config, false, KEY_MGMT_LOAD_DEFINITIONS, NULL,
                              "has no effect, load_definitions or definitions.local.path is set "
                              "too");
    if (slc_config_is_set(config, KEY_TCP_LINGER_TIMEOUT) &&
        !slc_config_bool(config, KEY_TCP_LINGER))
        slc_config_note_about(config, false, KEY_TCP_LINGER_TIMEOUT, NULL,
                              "has no effect without tcp_listen_options.linger.on = true");
    if (slc_config_is_set(config, KEY_TCP) && listeners > 0)
        slc_config_note_about(config, false, KEY_TCP, NULL, "listeners.tcp.N have no effect");
    settings_check_management(config);
    settings_check_users(config);
    slc_settings_check_log(config);
}
