// A configuration file, and what is printed from it.
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/config.h"

// One key of each type and of each peculiarity: list by number, list by name, secret, word, unit, limits.
static const slc_config_key keys[] = {
    {.name = "flag", .type = SLC_CONFIG_BOOL, .fallback = "true", .group = "A", .doc = "A flag."},
    {.name = "count",
     .type = SLC_CONFIG_INTEGER,
     .min = 1,
     .max = 65535,
     .fallback = "7",
     .words = "infinity",
     .group = "A",
     .doc = "A count."},
    {.name = "size.limit",
     .type = SLC_CONFIG_SIZE,
     .flags = SLC_CONFIG_RELOAD,
     .min = 4096,
     .fallback = "1MiB",
     .group = "A",
     .doc = "A size."},
    {.name = "time.short",
     .type = SLC_CONFIG_DURATION,
     .unit = "ms",
     .max = 3600000,
     .fallback = "500",
     .group = "A",
     .doc = "A time."},
    {.name = "time.long",
     .type = SLC_CONFIG_DURATION,
     .unit = "s",
     .fallback = "60",
     .group = "A",
     .doc = "A time."},
    {.name = "share",
     .type = SLC_CONFIG_FRACTION,
     .max = 1000,
     .fallback = "0.6",
     .group = "A",
     .doc = "A share."},
    {.name = "name", .type = SLC_CONFIG_TEXT, .min = 1, .max = 20, .group = "B", .doc = "A name."},
    {.name = "secret",
     .type = SLC_CONFIG_TEXT,
     .flags = SLC_CONFIG_SECRET,
     .min = 1,
     .max = 100,
     .group = "B",
     .doc = "A secret."},
    {.name = "level",
     .type = SLC_CONFIG_ENUM,
     .fallback = "info",
     .words = "debug info error",
     .group = "B",
     .doc = "A level."},
    {.name = "listeners.N",
     .type = SLC_CONFIG_ADDRESS,
     .max = 65535,
     .group = "C",
     .doc = "Addresses."},
    {.name = "users.$name", .type = SLC_CONFIG_BOOL, .group = "C", .doc = "Flags of users."},
    {.name = "users.$name.tag",
     .type = SLC_CONFIG_TEXT,
     .max = 50,
     .group = "C",
     .doc = "Texts of users."},
};
static const slc_config_idle idle[] = {
    {"ssl.*", "it is later"}, {"cluster.name", "it is later"}, {"erlang.*", "it is not here"}, {0}};
static const slc_config_table table = {
    .keys = keys,
    .count = SLC_ARRAY_COUNT(keys),
    .idle = idle,
};

/** Every mistake has a sentence, an error code goes with an error note. True: none is an error. */
static bool check_notes(const slc_config *config)
{
    uint32_t count;
    const slc_config_note *notes = slc_config_notes(config, &count);
    bool sound = true;
    SLC_ASSERT(count <= 200);
    for (uint32_t i = 0; i < count; i++) {
        SLC_ASSERT(notes[i].text != NULL && notes[i].text[0] != '\0');
        sound = sound && !notes[i].error;
    }
    return sound;
}

static void check_in_range(const slc_config_key *key, const slc_config_value *value)
{
    if (value->word >= 0) {
        SLC_ASSERT(key->words != NULL);
        return;
    }
    switch (key->type) {
    case SLC_CONFIG_INTEGER:
    case SLC_CONFIG_SIZE:
    case SLC_CONFIG_DURATION:
        SLC_ASSERT(value->number >= key->min && (key->max == 0 || value->number <= key->max));
        break;
    case SLC_CONFIG_FRACTION:
        SLC_ASSERT(value->fraction >= (double)key->min / 1000.0 &&
                   (key->max == 0 || value->fraction <= (double)key->max / 1000.0));
        break;
    case SLC_CONFIG_TEXT:
        SLC_ASSERT((key->flags & SLC_CONFIG_SECRET) != 0 ||
                   (strlen(value->text) >= key->min && strlen(value->text) <= key->max));
        break;
    case SLC_CONFIG_ADDRESS:
        SLC_ASSERT(strlen(value->address.host) < sizeof value->address.host);
        break;
    case SLC_CONFIG_BOOL:
        break;
    case SLC_CONFIG_ENUM: // must have been a word
        SLC_ASSERT(false);
    }
}

static void check_values(const slc_config *config)
{
    for (uint32_t i = 0; i < table.count; i++) {
        if (strchr(keys[i].name, '$') == NULL && strcmp(keys[i].name, "listeners.N") != 0) {
            const slc_config_value *value = slc_config_get(config, i);
            SLC_ASSERT(value != NULL || keys[i].fallback == NULL);
            if (value != NULL)
                check_in_range(&keys[i], value);
            continue;
        }
        uint32_t count;
        const slc_config_value *list = slc_config_list(config, i, &count);
        SLC_ASSERT((count == 0) == (list == NULL));
        for (uint32_t k = 0; k < count; k++) {
            check_in_range(&keys[i], &list[k]);
            SLC_ASSERT(slc_config_element(config, i, list[k].element) == &list[k]);
        }
    }
}

static void count_change(const char *name, bool needs_restart, void *arg)
{
    (void)name;
    (void)needs_restart;
    ++*(uint32_t *)arg;
}

/** What is printed reads back as the same configuration. */
static void check_printed(const slc_config *config)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    SLC_ASSERT(out != NULL);
    slc_config_print(config, false, out);
    fclose(out);
    slc_config *again = slc_config_new(&table);
    slc_error error = {0};
    SLC_ASSERT(slc_config_parse(again, (slc_slice){(const uint8_t *)text, bytes}, "printed",
                                &error) == SLC_OK);
    uint32_t changes = 0;
    slc_config_diff(config, again, count_change, &changes);
    SLC_ASSERT(changes == 0 || slc_config_is_set(config, 7)); // a secret is masked
    slc_config_free(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_config *config = slc_config_new(&table);
    slc_error error = {0};
    slc_err rc = slc_config_parse(config, (slc_slice){data, bytes}, "fuzz.conf", &error);
    bool sound = check_notes(config);
    SLC_ASSERT(sound == (rc == SLC_OK));
    SLC_ASSERT(rc == SLC_OK || error.text[0] != '\0');
    // A secret may name a file or a variable: finishing would fetch it.
    if (sound && !slc_config_is_set(config, 7)) {
        rc = slc_config_finish(config, false, &error);
        SLC_ASSERT(check_notes(config) == (rc == SLC_OK));
    }
    if (rc == SLC_OK) {
        check_values(config);
        check_printed(config);
    }
    slc_config_free(config);
    return 0;
}
