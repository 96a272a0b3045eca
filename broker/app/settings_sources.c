// Where values come from: the main file, conf.d beside it, the environment. Later ones win.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/settings_impl.h"
#include "base/alloc.h"

static const char *settings_variable(const slc_settings_sources *sources, const char *name)
{
    size_t bytes = strlen(name);
    for (char *const *entry = sources->environment; entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, name, bytes) == 0 && (*entry)[bytes] == '=')
            return (*entry)[bytes + 1] == '\0' ? NULL : *entry + bytes + 1;
    }
    return NULL;
}

char *slc_settings_file(const slc_settings_sources *sources)
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

void slc_settings_read_files(slc_config *config, const char *file)
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
    enum slc_settings_key key;
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

void slc_settings_read_environment(slc_config *config, const slc_settings_sources *sources)
{
    if (sources->environment == NULL)
        return;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(settings_aliases); i++) {
        const settings_alias *alias = &settings_aliases[i];
        const char *value = settings_variable(sources, alias->variable);
        if (value != NULL)
            settings_set_from(config, alias->variable, slc_settings_keys[alias->key].name,
                              alias->prefix, value);
    }
    // RabbitMQ's port variable names its default listener, which exists only where the files name none.
    const char *port = settings_variable(sources, "RABBITMQ_NODE_PORT");
    if (port != NULL && !slc_config_is_set(config, KEY_TCP_N) &&
        !slc_config_is_set(config, KEY_TCP))
        settings_set_from(config, "RABBITMQ_NODE_PORT", "listeners.tcp.default", "", port);
    (void)!slc_config_environment(config, sources->environment, "SLUICE_CONF__", NULL);
}
