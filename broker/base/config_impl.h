/** Private to config*.c. */
#ifndef SLC_BASE_CONFIG_IMPL_H
#define SLC_BASE_CONFIG_IMPL_H

#include "base/config.h"

enum {
    SLC_CONFIG_NOTES_MAX = 200,
    SLC_CONFIG_ELEMENTS_MAX = 256, // of one list

    SLC_CONFIG_FILE_BYTES_MAX = 1024 * 1024,
    SLC_CONFIG_NAME_BYTES_MAX = 160
};

typedef struct slc_config_slot {
    slc_config_value *values; // of a plain key 0 or 1; of a list ordered by element
    uint32_t count;
    slc_config_value fallback; // text NULL: none
} slc_config_slot;

typedef struct slc_config_unknown {
    char *key;
    char *source;
    uint32_t line;
} slc_config_unknown;

struct slc_config {
    const slc_config_table *table;
    slc_config_slot *slots; // one per key
    slc_config_note *notes;
    uint32_t note_count;
    slc_config_unknown *unknown; // each key once
    uint32_t unknown_count;
    slc_config_idle *idle; // names given that have no effect, each once
    uint32_t idle_count;
    slc_err first_rc; // of the first note that is an error
    uint32_t first_error;
};

/** Remember a sentence. rc SLC_OK: a warning, which leaves error alone; else an error, which is returned and put there. */
slc_err slc_config_note_new(slc_config *config, slc_err rc, slc_error *error, const char *text);
/** The same with "source:line: " before it. */
slc_err slc_config_note_at(slc_config *config, slc_err rc, slc_error *error, const char *source,
                           uint32_t line, const char *format, ...) SLC_PRINTF(6, 7);
/** Set a key whose name is well-formed; an unknown one is remembered for the end. */
slc_err slc_config_put(slc_config *config, const char *name, const char *text, const char *source,
                       uint32_t line, slc_error *error);

/** Fill the typed part of value from its text. SLC_EINVAL: it is not one. */
slc_err slc_config_value_parse(const slc_config_key *key, slc_config_value *value);
/** Replace a secret's text by what file:, env: or credential: names. */
slc_err slc_config_secret_fetch(slc_config_value *value, slc_error *error);
/** Distance of two names in edits (insert, delete, replace, swap of neighbours). */
uint32_t slc_config_distance(const char *a, const char *b);
/** Where the placeholder begins in a key's name; NULL for a plain key. bytes: of the placeholder. */
const char *slc_config_placeholder(const char *name, size_t *bytes);
/** The full name of one element into out. */
void slc_config_full_name(const slc_config_key *key, const char *element, char *out, size_t cap);
/** Value text for people: quoted where it needs to be, masked when secret. */
void slc_config_shown(const slc_config_key *key, const slc_config_value *value, char *out,
                      size_t cap);

#endif
