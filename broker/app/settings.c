// Load all sources into one slc_settings, and the questions that others ask of it.
#include "app/settings.h"

#include <stdio.h>
#include <string.h>

#include "app/settings_impl.h"
#include "base/alloc.h"

slc_err slc_settings_load(const slc_settings_sources *sources, slc_settings **out, slc_error *error)
{
    slc_settings *settings = slc_alloc_zero(1, sizeof *settings);
    settings->config = slc_config_new(&slc_settings_table);
    settings->config_file = slc_settings_file(sources);
    slc_config *config = settings->config;

    slc_settings_read_files(config, settings->config_file);
    slc_settings_read_environment(config, sources);
    for (uint32_t i = 0; i < sources->set_count; i++)
        (void)!slc_config_assign(config, sources->set[i], "--set", NULL);
    if (sources->data_dir != NULL)
        (void)!slc_config_set(config, slc_settings_keys[KEY_DATA_DIR].name, sources->data_dir,
                              "--data-dir", NULL);

    slc_settings_check(config);
    slc_err rc = slc_config_finish(config, slc_config_enum(config, KEY_UNKNOWN_KEYS) == 0, error);
    uint32_t count = 0;
    const slc_config_note *notes = slc_config_notes(config, &count);
    for (uint32_t i = 0; i < count && sources->note != NULL; i++)
        sources->note(notes[i].error, notes[i].text, sources->arg);
    if (rc != SLC_OK) {
        slc_settings_free(settings);
        return rc;
    }
    slc_settings_fill(settings);
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

void slc_settings_diff(const slc_settings *before, const slc_settings *after,
                       void (*changed)(const char *key, bool needs_restart, void *arg), void *arg)
{
    slc_config_diff(before->config, after->config, changed, arg);
}

slc_err slc_settings_value(const char *key, const char *value, uint64_t *number, double *fraction,
                           slc_error *error)
{
    slc_config *config = slc_config_new(&slc_settings_table);
    slc_err rc = slc_config_set(config, key, value, "the request", error);
    for (uint32_t i = 0; rc == SLC_OK && i < slc_settings_table.count; i++) {
        if (strcmp(slc_settings_keys[i].name, key) != 0)
            continue;
        if (number != NULL)
            *number = slc_config_number(config, i);
        if (fraction != NULL)
            *fraction = slc_config_get(config, i)->fraction;
    }
    slc_config_free(config);
    return rc;
}

typedef struct masked {
    const char *name; // up to its end of bytes
    size_t bytes;
    char *out;
    size_t cap;
} masked;

static void masked_entry(const slc_config_entry *entry, void *arg)
{
    const masked *m = arg;
    if (entry->source != NULL && strlen(entry->name) == m->bytes &&
        memcmp(entry->name, m->name, m->bytes) == 0)
        snprintf(m->out, m->cap, "%s=%s", entry->name, entry->value);
}

const char *slc_settings_masked(const char *assignment, char *out, size_t cap)
{
    size_t bytes = strcspn(assignment, "=");
    if (assignment[bytes] == '\0') { // no assignment: nothing to hide
        snprintf(out, cap, "%s", assignment);
        return out;
    }
    while (bytes > 0 && assignment[bytes - 1] == ' ')
        bytes--;
    slc_config *config = slc_config_new(&slc_settings_table);
    (void)!slc_config_assign(config, assignment, "", NULL);
    snprintf(out, cap, "%.*s=********", (int)bytes, assignment);
    slc_config_each(config, masked_entry, &(masked){assignment, bytes, out, cap});
    slc_config_free(config);
    return out;
}

void slc_settings_print(const slc_settings *settings, FILE *out)
{
    if (settings->config_file != NULL)
        fprintf(out, "# read from %s\n", settings->config_file);
    fprintf(out, "# node %s\n", settings->node_name);
    slc_config_print(settings->config, true, out);
}

const char *slc_settings_seed_value_name(int index)
{
    return slc_settings_seeds[index].name;
}
