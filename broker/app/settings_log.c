// log.*: what each output and each category is, and which keys stand alone.
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "app/settings_impl.h"
#include "base/alloc.h"

static const struct {
    enum slc_settings_key key;
    const char *name;
} categories[] = {
    {KEY_LOG_CONNECTION_LEVEL, "connection"},
    {KEY_LOG_CHANNEL_LEVEL, "channel"},
    {KEY_LOG_QUEUE_LEVEL, "queue"},
    {KEY_LOG_POLICY_LEVEL, "policy"},
    {KEY_LOG_AUTH_LEVEL, "auth"},
    {KEY_LOG_HTTP_LEVEL, "http"},
    {KEY_LOG_STORE_LEVEL, "store"},
    {KEY_LOG_AUDIT_LEVEL, "audit"},
    {KEY_LOG_CONFIG_LEVEL, "config"},
    {KEY_LOG_UPGRADE_LEVEL, "upgrade"},
};
static_assert(SLC_ARRAY_COUNT(categories) <= SLC_SETTINGS_CATEGORIES_MAX, "room in slc_settings");

static slc_log_level level_of(const slc_config *config, enum slc_settings_key key)
{
    static const slc_log_level levels[] = {
        SLC_LOG_DEBUG, SLC_LOG_INFO,  SLC_LOG_INFO,  SLC_LOG_WARN, SLC_LOG_ERROR,
        SLC_LOG_ERROR, SLC_LOG_ERROR, SLC_LOG_ERROR, SLC_LOG_NONE}; // in the order of LEVELS
    return levels[slc_config_enum(config, key)];
}

/** As in RabbitMQ: log.default.level is that of outputs without one. */
static slc_log_level output_level(const slc_config *config, enum slc_settings_key key)
{
    if (!slc_config_is_set(config, key) && slc_config_is_set(config, KEY_LOG_DEFAULT_LEVEL))
        key = KEY_LOG_DEFAULT_LEVEL;
    return level_of(config, key);
}

/** As in RabbitMQ: a level alone switches an output on. */
static bool output_on(const slc_config *config, enum slc_settings_key key,
                      enum slc_settings_key level)
{
    if (slc_config_is_set(config, key) || !slc_config_is_set(config, level))
        return slc_config_bool(config, key);
    return level_of(config, level) != SLC_LOG_NONE;
}

static bool syslog_remote(const slc_config *config)
{
    return slc_config_is_set(config, KEY_LOG_SYSLOG_IP) ||
           slc_config_is_set(config, KEY_LOG_SYSLOG_HOST) ||
           slc_config_is_set(config, KEY_LOG_SYSLOG_PORT) ||
           slc_config_is_set(config, KEY_LOG_SYSLOG_TRANSPORT);
}

static void fill_syslog(const slc_config *c, slc_log_syslog_options *o)
{
    // RFC 5424, table 1, in the order of FACILITIES; kernel is another name of kern.
    static const uint8_t facilities[] = {0,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                         12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
    *o = (slc_log_syslog_options){
        .on = output_on(c, KEY_LOG_SYSLOG, KEY_LOG_SYSLOG_LEVEL),
        .level = output_level(c, KEY_LOG_SYSLOG_LEVEL),
        .json = slc_config_enum(c, KEY_LOG_SYSLOG_FORMAT) == 1,
        .socket = slc_config_text(c, KEY_LOG_SYSLOG_SOCKET),
        .port = (uint16_t)slc_config_number(c, KEY_LOG_SYSLOG_PORT),
        .tcp = slc_config_enum(c, KEY_LOG_SYSLOG_TRANSPORT) == 1,
        .rfc5424 = slc_config_enum(c, KEY_LOG_SYSLOG_PROTOCOL) == 1,
        .facility = facilities[slc_config_enum(c, KEY_LOG_SYSLOG_FACILITY)],
        .identity = slc_config_text(c, KEY_LOG_SYSLOG_IDENTITY),
    };
    if (slc_config_is_set(c, KEY_LOG_SYSLOG_IP))
        o->host = slc_config_text(c, KEY_LOG_SYSLOG_IP);
    else if (slc_config_is_set(c, KEY_LOG_SYSLOG_HOST))
        o->host = slc_config_text(c, KEY_LOG_SYSLOG_HOST);
    else if (syslog_remote(c))
        o->host = "127.0.0.1";
}

/** The whole path; NULL: no file. */
static const char *log_file(slc_settings *settings)
{
    const char *name = slc_config_text(settings->config, KEY_LOG_FILE);
    if (name == NULL || name[0] == '/')
        return name;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", slc_config_text(settings->config, KEY_LOG_DIR), name);
    return slc_settings_own(settings, slc_strdup(path));
}

void slc_settings_fill_log(slc_settings *s)
{
    const slc_config *c = s->config;
    uint32_t count = 0;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(categories); i++) {
        if (slc_config_is_set(c, categories[i].key))
            s->log_categories[count++] = (slc_log_category_level){
                .category = categories[i].name, .level = level_of(c, categories[i].key)};
    }
    s->log = (slc_log_options){
        .console_off = !slc_config_bool(c, KEY_LOG_CONSOLE),
        .level = output_level(c, KEY_LOG_CONSOLE_LEVEL),
        .json = slc_config_enum(c, KEY_LOG_CONSOLE_FORMAT) == 1,
        .file = log_file(s),
        .file_level = output_level(c, KEY_LOG_FILE_LEVEL),
        .file_json = slc_config_enum(c, KEY_LOG_FILE_FORMAT) == 1,
        .file_bytes_max = slc_config_number(c, KEY_LOG_FILE_SIZE),
        .file_old = (uint32_t)slc_config_number(c, KEY_LOG_FILE_COUNT),
        .node = s->node_name,
        .lines = output_on(c, KEY_LOG_EXCHANGE, KEY_LOG_EXCHANGE_LEVEL),
        .line_level = output_level(c, KEY_LOG_EXCHANGE_LEVEL),
        .line_json = slc_config_enum(c, KEY_LOG_EXCHANGE_FORMAT) == 1,
        .journal = output_on(c, KEY_LOG_JOURNALD, KEY_LOG_JOURNALD_LEVEL),
        .journal_level = output_level(c, KEY_LOG_JOURNALD_LEVEL),
        .journal_socket = slc_config_text(c, KEY_LOG_JOURNALD_SOCKET),
        .categories = s->log_categories,
        .category_count = count,
    };
    fill_syslog(c, &s->log.syslog);
}

/** Each of keys is set in vain. SLUICE_LOG_LEVEL sets that of the file on the way, so the environment is not meant. */
static void check_idle(slc_config *config, const enum slc_settings_key *keys, size_t count,
                       const char *why)
{
    for (size_t i = 0; i < count; i++) {
        if (slc_config_is_set(config, keys[i]) &&
            strncmp(slc_config_get(config, keys[i])->source, "environment", 11) != 0)
            slc_config_note_about(config, false, keys[i], NULL, "has no effect, %s", why);
    }
}

void slc_settings_check_log(slc_config *config)
{
    static const enum slc_settings_key console[] = {KEY_LOG_CONSOLE_LEVEL, KEY_LOG_CONSOLE_FORMAT};
    static const enum slc_settings_key file[] = {KEY_LOG_FILE_LEVEL, KEY_LOG_FILE_FORMAT,
                                                 KEY_LOG_DIR, KEY_LOG_FILE_SIZE,
                                                 KEY_LOG_FILE_COUNT};
    static const enum slc_settings_key count[] = {KEY_LOG_FILE_COUNT};
    static const enum slc_settings_key exchange[] = {KEY_LOG_EXCHANGE_LEVEL,
                                                     KEY_LOG_EXCHANGE_FORMAT};
    static const enum slc_settings_key syslog[] = {
        KEY_LOG_SYSLOG_LEVEL,    KEY_LOG_SYSLOG_FORMAT,   KEY_LOG_SYSLOG_IDENTITY,
        KEY_LOG_SYSLOG_FACILITY, KEY_LOG_SYSLOG_PROTOCOL, KEY_LOG_SYSLOG_SOCKET,
        KEY_LOG_SYSLOG_IP,       KEY_LOG_SYSLOG_HOST,     KEY_LOG_SYSLOG_PORT,
        KEY_LOG_SYSLOG_TRANSPORT};
    static const enum slc_settings_key journal[] = {KEY_LOG_JOURNALD_LEVEL,
                                                    KEY_LOG_JOURNALD_SOCKET};
    static const enum slc_settings_key socket[] = {KEY_LOG_SYSLOG_SOCKET};
    static const enum slc_settings_key host[] = {KEY_LOG_SYSLOG_HOST};
    bool syslog_on = output_on(config, KEY_LOG_SYSLOG, KEY_LOG_SYSLOG_LEVEL);
    if (!slc_config_bool(config, KEY_LOG_CONSOLE))
        check_idle(config, console, SLC_ARRAY_COUNT(console), "log.console is false");
    if (slc_config_text(config, KEY_LOG_FILE) == NULL)
        check_idle(config, file, SLC_ARRAY_COUNT(file), "log.file is not set");
    else if (slc_config_number(config, KEY_LOG_FILE_SIZE) == 0)
        check_idle(config, count, SLC_ARRAY_COUNT(count), "log.file.rotation.size is not set");
    if (!output_on(config, KEY_LOG_EXCHANGE, KEY_LOG_EXCHANGE_LEVEL))
        check_idle(config, exchange, SLC_ARRAY_COUNT(exchange), "log.exchange is not true");
    if (!output_on(config, KEY_LOG_JOURNALD, KEY_LOG_JOURNALD_LEVEL))
        check_idle(config, journal, SLC_ARRAY_COUNT(journal), "log.journald is not true");
    if (!syslog_on)
        check_idle(config, syslog, SLC_ARRAY_COUNT(syslog), "log.syslog is not true");
    else if (syslog_remote(config))
        check_idle(config, socket, SLC_ARRAY_COUNT(socket),
                   "syslog is reached over the network (log.syslog.ip, host, port, transport)");
    if (syslog_on && slc_config_is_set(config, KEY_LOG_SYSLOG_IP))
        check_idle(config, host, SLC_ARRAY_COUNT(host), "log.syslog.ip is set too");

    const char *ip = slc_config_text(config, KEY_LOG_SYSLOG_IP);
    unsigned char address[16];
    if (ip != NULL && inet_pton(AF_INET, ip, address) != 1 && inet_pton(AF_INET6, ip, address) != 1)
        slc_config_note_about(config, true, KEY_LOG_SYSLOG_IP, NULL,
                              "it must be an address; a name is for log.syslog.host");
}
