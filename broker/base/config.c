// The set of values: lists, notes, what is left to judge at the end, getters. Types are in config_value.c, reading in config_read.c.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/config_impl.h"
#include "base/table.h"

static const char config_default_source[] = "default";

const char *slc_config_placeholder(const char *name, size_t *bytes)
{
    for (const char *part = name; part != NULL; part = strchr(part, '.')) {
        part += *part == '.';
        size_t length = strcspn(part, ".");
        if (part[0] == '$' || (length == 1 && part[0] == 'N')) {
            *bytes = length;
            return part;
        }
    }
    return NULL;
}

void slc_config_full_name(const slc_config_key *key, const char *element, char *out, size_t cap)
{
    size_t bytes = 0;
    const char *hole = slc_config_placeholder(key->name, &bytes);
    if (hole == NULL || *element == '\0')
        snprintf(out, cap, "%s", key->name);
    else
        snprintf(out, cap, "%.*s%s%s", (int)(hole - key->name), key->name, element, hole + bytes);
}

slc_config *slc_config_new(const slc_config_table *table)
{
    slc_config *config = slc_alloc_zero(1, sizeof *config);
    config->table = table;
    config->slots = slc_alloc_zero(table->count, sizeof config->slots[0]);
    for (uint32_t i = 0; i < table->count; i++) {
        const slc_config_key *key = &table->keys[i];
        slc_config_value *fallback = &config->slots[i].fallback;
        *fallback = (slc_config_value){
            .element = "", .text = key->fallback, .source = config_default_source};
        if (key->fallback == NULL)
            continue;
        slc_err rc = slc_config_value_parse(key, fallback);
        SLC_ASSERT(rc == SLC_OK);
    }
    return config;
}

// Values own their texts; const only for those who read them.
static void config_free_text(const char *text)
{
    slc_free((void *)(uintptr_t)text);
}

static void config_value_fini(slc_config_value *value)
{
    if (value->given != NULL)
        explicit_bzero((void *)(uintptr_t)value->text, strlen(value->text));
    config_free_text(value->element);
    config_free_text(value->text);
    config_free_text(value->source);
    slc_free(value->given);
}

void slc_config_free(slc_config *config)
{
    if (config == NULL)
        return;
    for (uint32_t i = 0; i < config->table->count; i++) {
        slc_config_slot *slot = &config->slots[i];
        for (uint32_t j = 0; j < slot->count; j++)
            config_value_fini(&slot->values[j]);
        slc_free(slot->values);
    }
    for (uint32_t i = 0; i < config->note_count; i++)
        config_free_text(config->notes[i].text);
    for (uint32_t i = 0; i < config->unknown_count; i++) {
        slc_free(config->unknown[i].key);
        slc_free(config->unknown[i].source);
    }
    for (uint32_t i = 0; i < config->idle_count; i++)
        config_free_text(config->idle[i].pattern);
    slc_free(config->slots);
    slc_free(config->notes);
    slc_free(config->unknown);
    slc_free(config->idle);
    slc_free(config);
}

// Room for one more element; count grows by doubling.
static void *config_grown(void *array, uint32_t count, size_t bytes)
{
    if (count == 0)
        return slc_realloc(array, 4 * bytes);
    if (count >= 4 && (count & (count - 1)) == 0)
        return slc_realloc(array, 2 * (size_t)count * bytes);
    return array;
}

// ---- notes

slc_err slc_config_note_new(slc_config *config, slc_err rc, slc_error *error, const char *text)
{
    if (rc != SLC_OK && config->first_rc == SLC_OK) {
        config->first_rc = rc;
        config->first_error = config->note_count;
    }
    if (config->note_count < SLC_CONFIG_NOTES_MAX) {
        config->notes = config_grown(config->notes, config->note_count, sizeof config->notes[0]);
        config->notes[config->note_count++] =
            (slc_config_note){.error = rc != SLC_OK, .text = slc_strdup(text)};
    } else if (config->first_error == config->note_count) {
        config->first_error =
            config->note_count - 1; // an error behind 200 warnings takes the last place
        config_free_text(config->notes[config->first_error].text);
        config->notes[config->first_error] =
            (slc_config_note){.error = true, .text = slc_strdup(text)};
    }
    return rc == SLC_OK ? SLC_OK : slc_error_set(error, rc, "%s", text);
}

const slc_config_note *slc_config_notes(const slc_config *config, uint32_t *count)
{
    *count = config->note_count;
    return config->notes;
}

static void config_place(char *out, size_t cap, const char *source, uint32_t line)
{
    if (line > 0)
        snprintf(out, cap, "%s:%u", source, line);
    else
        snprintf(out, cap, "%s", source);
}

slc_err slc_config_note_at(slc_config *config, slc_err rc, slc_error *error, const char *source,
                           uint32_t line, const char *format, ...)
{
    char place[300], text[1024], note[1400];
    config_place(place, sizeof place, source, line);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(note, sizeof note, "%s: %s", place, text);
    return slc_config_note_new(config, rc, error, note);
}

slc_err slc_config_note_about(slc_config *config, bool is_error, uint32_t key, slc_error *error,
                              const char *format, ...)
{
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const slc_config_value *value = slc_config_get(config, key);
    slc_err rc = is_error ? SLC_EINVAL : SLC_OK;
    if (value == NULL)
        return slc_config_note_at(config, rc, error, config->table->keys[key].name, 0, "%s", text);
    char shown[256];
    slc_config_shown(&config->table->keys[key], value, shown, sizeof shown);
    return slc_config_note_at(config, rc, error, value->source, value->line, "%s = %s: %s",
                              config->table->keys[key].name, shown, text);
}

// ---- setting

// Numbers by value, before names; names by octets.
static int config_element_compare(const char *a, const char *b)
{
    bool a_number = a[strspn(a, "0123456789")] == '\0',
         b_number = b[strspn(b, "0123456789")] == '\0';
    if (a_number != b_number)
        return a_number ? -1 : 1;
    if (a_number) {
        const char *x = a + strspn(a, "0"), *y = b + strspn(b, "0");
        size_t x_bytes = strlen(x), y_bytes = strlen(y);
        if (x_bytes != y_bytes)
            return x_bytes < y_bytes ? -1 : 1;
        int order = strcmp(x, y);
        if (order != 0)
            return order;
    }
    return strcmp(a, b);
}

// Takes the texts inside value.
static void config_slot_put(slc_config_slot *slot, const slc_config_value *value)
{
    uint32_t at = 0;
    int order = 1;
    while (at < slot->count &&
           (order = config_element_compare(slot->values[at].element, value->element)) < 0)
        at++;
    if (at < slot->count && order == 0) { // the last one wins
        config_value_fini(&slot->values[at]);
        slot->values[at] = *value;
        return;
    }
    slot->values = config_grown(slot->values, slot->count, sizeof slot->values[0]);
    memmove(&slot->values[at + 1], &slot->values[at], (slot->count - at) * sizeof slot->values[0]);
    slot->values[at] = *value;
    slot->count++;
}

static bool config_element_good(const char *element, size_t bytes)
{
    return bytes > 0 && memchr(element, '.', bytes) == NULL;
}

// Whether name is this key; what stands for its placeholder goes to element.
static bool config_key_matches(const slc_config_key *key, const char *name, const char **element,
                               size_t *element_bytes)
{
    size_t hole_bytes = 0;
    const char *hole = slc_config_placeholder(key->name, &hole_bytes);
    *element = "";
    *element_bytes = 0;
    if (hole == NULL)
        return strcmp(key->name, name) == 0;
    size_t before = (size_t)(hole - key->name), after = strlen(hole + hole_bytes),
           bytes = strlen(name);
    if (bytes <= before + after || memcmp(key->name, name, before) != 0 ||
        memcmp(hole + hole_bytes, name + bytes - after, after) != 0)
        return false;
    *element = name + before;
    *element_bytes = bytes - before - after;
    return config_element_good(*element, *element_bytes);
}

/** Why a key has no effect; NULL: it is none of those. */
static const char *config_idle_why(const slc_config_idle *idle, const char *name)
{
    for (; idle != NULL && idle->pattern != NULL; idle++) {
        size_t bytes = strlen(idle->pattern);
        bool prefix = bytes > 0 && idle->pattern[bytes - 1] == '*';
        if (prefix ? strncmp(idle->pattern, name, bytes - 1) == 0
                   : strcmp(idle->pattern, name) == 0)
            return idle->why;
    }
    return NULL;
}

static void config_remember_idle(slc_config *config, const char *name, const char *why)
{
    for (uint32_t i = 0; i < config->idle_count; i++) {
        if (strcmp(config->idle[i].pattern, name) == 0)
            return;
    }
    if (config->idle_count == SLC_CONFIG_NOTES_MAX)
        return;
    config->idle = config_grown(config->idle, config->idle_count, sizeof config->idle[0]);
    config->idle[config->idle_count++] = (slc_config_idle){.pattern = slc_strdup(name), .why = why};
}

static void config_remember_unknown(slc_config *config, const char *name, const char *source,
                                    uint32_t line)
{
    for (uint32_t i = 0; i < config->unknown_count; i++) {
        if (strcmp(config->unknown[i].key, name) == 0)
            return;
    }
    if (config->unknown_count == SLC_CONFIG_NOTES_MAX)
        return;
    config->unknown =
        config_grown(config->unknown, config->unknown_count, sizeof config->unknown[0]);
    config->unknown[config->unknown_count++] =
        (slc_config_unknown){.key = slc_strdup(name), .source = slc_strdup(source), .line = line};
}

slc_err slc_config_put(slc_config *config, const char *name, const char *text, const char *source,
                       uint32_t line, slc_error *error)
{
    for (uint32_t i = 0; i < config->table->count; i++) {
        const slc_config_key *key = &config->table->keys[i];
        const char *element;
        size_t element_bytes;
        if (!config_key_matches(key, name, &element, &element_bytes))
            continue;
        slc_config_value value = {.text = text, .element = "", .source = source};
        slc_err rc = slc_config_value_parse(key, &value);
        if (rc != SLC_OK) {
            char shown[256], allowed[256];
            slc_config_shown(key, &value, shown, sizeof shown);
            return slc_config_note_at(config, rc, error, source, line,
                                      "%s = %s is not allowed: it must be %s", name, shown,
                                      slc_config_allowed(key, allowed, sizeof allowed));
        }
        value.element = slc_strndup(element, element_bytes);
        if (config->slots[i].count == SLC_CONFIG_ELEMENTS_MAX &&
            slc_config_element(config, i, value.element) == NULL) {
            config_free_text(value.element);
            return slc_config_note_at(config, SLC_ELIMIT, error, source, line,
                                      "%s: a list has at most %d elements", name,
                                      SLC_CONFIG_ELEMENTS_MAX);
        }
        value.text = slc_strdup(text);
        value.source = slc_strdup(source);
        value.line = line;
        config_slot_put(&config->slots[i], &value);
        return SLC_OK;
    }
    const char *why = config_idle_why(config->table->idle, name);
    if (why != NULL)
        config_remember_idle(config, name, why);
    else
        config_remember_unknown(config, name, source, line);
    return SLC_OK;
}

// ---- the end of reading

uint32_t slc_config_distance(const char *a, const char *b)
{
    enum { MAX = SLC_CONFIG_NAME_BYTES_MAX + 1 };
    uint32_t rows[3][MAX + 1];
    size_t a_bytes = strnlen(a, MAX - 1), b_bytes = strnlen(b, MAX - 1);
    for (uint32_t j = 0; j <= b_bytes; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        uint32_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *twice = rows[(i + 1) % 3];
        now[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            uint32_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                twice[j - 2] + 1 < best)
                best = twice[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[a_bytes % 3][b_bytes];
}

// The key that was probably meant, with the element of name in its place; false: nothing is near.
static bool config_nearest(const slc_config *config, const char *name, char *out, size_t cap)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < config->table->count; i++) {
        const slc_config_key *key = &config->table->keys[i];
        char candidate[2 * SLC_CONFIG_NAME_BYTES_MAX];
        size_t hole_bytes = 0;
        const char *hole = slc_config_placeholder(key->name, &hole_bytes);
        char element[SLC_CONFIG_NAME_BYTES_MAX + 1] = "";
        if (hole != NULL) { // the part of name at the same place
            uint32_t part = 0;
            for (const char *at = key->name; at < hole; at++)
                part += *at == '.';
            const char *at = name;
            for (; part > 0 && at != NULL; part--) {
                at = strchr(at, '.');
                at = at == NULL ? NULL : at + 1;
            }
            if (at != NULL)
                snprintf(element, sizeof element, "%.*s", (int)strcspn(at, "."), at);
        }
        slc_config_full_name(key, element, candidate, sizeof candidate);
        uint32_t distance = slc_config_distance(name, candidate);
        if (distance < best) {
            best = distance;
            snprintf(out, cap, "%s", candidate);
        }
    }
    return best <= 2 || best <= strlen(name) / 4;
}

static void config_note_unknown(slc_config *config, bool is_error)
{
    for (uint32_t i = 0; i < config->unknown_count; i++) {
        const slc_config_unknown *unknown = &config->unknown[i];
        char nearest[2 * SLC_CONFIG_NAME_BYTES_MAX];
        bool near = config_nearest(config, unknown->key, nearest, sizeof nearest);
        slc_config_note_at(config, is_error ? SLC_EINVAL : SLC_OK, NULL, unknown->source,
                           unknown->line, "unknown key %s%s%s%s", unknown->key,
                           near ? "; did you mean " : "", near ? nearest : "", near ? "?" : "");
    }
}

static bool config_idle_is_first(const slc_config *config, uint32_t number)
{
    for (uint32_t i = 0; i < number; i++) {
        if (strcmp(config->idle[i].why, config->idle[number].why) == 0)
            return false;
    }
    return true;
}

static void config_note_idle(slc_config *config)
{
    for (uint32_t i = 0; i < config->idle_count; i++) {
        if (!config_idle_is_first(config, i))
            continue;
        slc_buffer text = {0};
        uint32_t keys = 0;
        for (uint32_t j = i; j < config->idle_count; j++) {
            if (strcmp(config->idle[j].why, config->idle[i].why) == 0)
                slc_buffer_format(&text, "%s%s", keys++ == 0 ? "" : ", ", config->idle[j].pattern);
        }
        slc_buffer_format(&text, " %s no effect: %s", keys == 1 ? "has" : "have",
                          config->idle[i].why);
        slc_buffer_put(&text, "", 1);
        slc_config_note_new(config, SLC_OK, NULL, (const char *)text.data);
        slc_buffer_fini(&text);
    }
}

static void config_fetch_secrets(slc_config *config)
{
    for (uint32_t i = 0; i < config->table->count; i++) {
        const slc_config_key *key = &config->table->keys[i];
        if ((key->flags & SLC_CONFIG_SECRET) == 0)
            continue;
        for (uint32_t j = 0; j < config->slots[i].count; j++) {
            slc_config_value *value = &config->slots[i].values[j];
            slc_error wrong = {0};
            slc_err rc = slc_config_secret_fetch(value, &wrong);
            char name[SLC_CONFIG_NAME_BYTES_MAX * 2];
            slc_config_full_name(key, value->element, name, sizeof name);
            if (rc != SLC_OK)
                slc_config_note_at(config, rc, NULL, value->source, value->line, "%s: %s", name,
                                   wrong.text);
        }
    }
}

slc_err slc_config_finish(slc_config *config, bool unknown_is_error, slc_error *error)
{
    config_note_unknown(config, unknown_is_error);
    config_fetch_secrets(config);
    config_note_idle(config);
    if (config->first_rc == SLC_OK)
        return SLC_OK;
    return slc_error_set(error, config->first_rc, "%s", config->notes[config->first_error].text);
}

// ---- getters

const slc_config_value *slc_config_get(const slc_config *config, uint32_t key)
{
    SLC_ASSERT(key < config->table->count);
    const slc_config_slot *slot = &config->slots[key];
    if (slot->count > 0)
        return &slot->values[0];
    return slot->fallback.text != NULL ? &slot->fallback : NULL;
}

bool slc_config_is_set(const slc_config *config, uint32_t key)
{
    SLC_ASSERT(key < config->table->count);
    return config->slots[key].count > 0;
}

const slc_config_value *slc_config_list(const slc_config *config, uint32_t key, uint32_t *count)
{
    SLC_ASSERT(key < config->table->count);
    *count = config->slots[key].count;
    return config->slots[key].values;
}

const slc_config_value *slc_config_element(const slc_config *config, uint32_t key,
                                           const char *element)
{
    SLC_ASSERT(key < config->table->count);
    const slc_config_slot *slot = &config->slots[key];
    for (uint32_t i = 0; i < slot->count; i++) {
        if (strcmp(slot->values[i].element, element) == 0)
            return &slot->values[i];
    }
    return NULL;
}

bool slc_config_bool(const slc_config *config, uint32_t key)
{
    const slc_config_value *value = slc_config_get(config, key);
    SLC_ASSERT(config->table->keys[key].type == SLC_CONFIG_BOOL);
    SLC_ASSERT(value != NULL && value->word < 0);
    return value->flag;
}

static bool config_is_number(const slc_config *config, uint32_t key)
{
    slc_config_type type = config->table->keys[key].type;
    return type == SLC_CONFIG_INTEGER || type == SLC_CONFIG_SIZE || type == SLC_CONFIG_DURATION;
}

uint64_t slc_config_number(const slc_config *config, uint32_t key)
{
    const slc_config_value *value = slc_config_get(config, key);
    SLC_ASSERT(config_is_number(config, key));
    SLC_ASSERT(value != NULL && value->word < 0);
    return value->number;
}

uint64_t slc_config_number_or(const slc_config *config, uint32_t key, uint64_t word_means)
{
    const slc_config_value *value = slc_config_get(config, key);
    SLC_ASSERT(config_is_number(config, key));
    return value == NULL || value->word >= 0 ? word_means : value->number;
}

const char *slc_config_text(const slc_config *config, uint32_t key)
{
    const slc_config_value *value = slc_config_get(config, key);
    SLC_ASSERT(config->table->keys[key].type == SLC_CONFIG_TEXT);
    return value == NULL || value->word >= 0 ? NULL : value->text;
}

int slc_config_enum(const slc_config *config, uint32_t key)
{
    const slc_config_value *value = slc_config_get(config, key);
    SLC_ASSERT(value != NULL && value->word >= 0);
    return value->word;
}
