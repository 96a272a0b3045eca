/** Configuration: RabbitMQ's `key = value` text, checked against one table of keys.
 *
 *      static const slc_config_key keys[] = {{.name = "heartbeat", .type = SLC_CONFIG_DURATION, .unit = "s", ...}, ...};
 *      slc_config *config = slc_config_new(&table);
 *      slc_config_load_file(config, "/etc/sluice/sluice.conf", &error);  // then environment, then --set: the last one wins
 *      slc_config_finish(config, unknown_is_error, &error);
 *      uint64_t heartbeat_ms = slc_config_number(config, KEY_HEARTBEAT); // an index into keys
 *
 *  The table says everything about a key: it validates, prints, answers with defaults, and writes the manual. A mistake does
 *  not stop the reading: all of them are collected as notes, each naming source, line, key, value and what is allowed.
 *
 *  Text: one `key = value` a line; `#` begins a comment; values are trimmed; single quotes keep blanks and `#`; UTF-8. A key
 *  with a placeholder ($name, or N where numbers are usual) is a list: `listeners.tcp.N` holds listeners.tcp.1,
 *  listeners.tcp.local, ... ordered by number, then by octets.
 *
 *  Ownership: the table is borrowed for the config's life; what getters return lives as long as the config.
 *  Thread: none of its own; one thread at a time. Spec: operations 4.1.
 */
#ifndef SLC_BASE_CONFIG_H
#define SLC_BASE_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/slice.h"

typedef enum slc_config_type {
    SLC_CONFIG_BOOL,    // true false on off
    SLC_CONFIG_INTEGER, // digits
    SLC_CONFIG_SIZE,    // bytes: 100, 10KB MB GB TB (10^3), 10KiB MiB GiB TiB k m g t (2^10)
    SLC_CONFIG_DURATION, // 500ms 10s 5m 2h 7d; digits alone are in the key's unit. The number is always milliseconds
    SLC_CONFIG_FRACTION, // 0.6; min and max are thousandths
    SLC_CONFIG_TEXT,     // min and max are lengths in bytes
    SLC_CONFIG_ENUM,     // one of words
    SLC_CONFIG_ADDRESS,  // [ip:]port, v6 as [::1]:5672 or ::1:5672; min and max of the port
} slc_config_type;

enum {
    SLC_CONFIG_RELOAD = 1, // may change while running
    SLC_CONFIG_SECRET =
        2, // text that may also be file:/path, env:NAME or credential:NAME; never printed
};

typedef struct slc_config_key {
    const char *name;
    slc_config_type type;
    unsigned flags;
    const char *unit;     // "ms", "s" (durations: of digits alone), else for the reader; NULL: none
    uint64_t min, max;    // both inclusive; durations in ms; max 0: no limit
    const char *fallback; // the default, in config text; NULL: not set
    const char *
        words; // space separated: the values of an ENUM; for other types what may stand instead of a value
    const char *group; // heading in the manual; equal for neighbours
    const char *doc;   // sentences for the manual
} slc_config_key;

/** Keys of RabbitMQ that have no effect here: accepted with a warning, one for all that have the same reason. */
typedef struct slc_config_idle {
    const char *pattern; // a last `*` matches any rest
    const char *why;     // ends the sentence "KEY has no effect: "
} slc_config_idle;

typedef struct slc_config_table {
    const slc_config_key *keys;
    uint32_t count;
    const slc_config_idle *idle; // the first that matches counts; ended by one without a pattern
} slc_config_table;

typedef struct slc_config_address {
    char host[46]; // numeric; "": every address, v4 and v6
    uint16_t port;
} slc_config_address;

typedef struct slc_config_value {
    const char *element; // what stands for the placeholder; "" for a plain key
    const char *text; // as given, unquoted; of a secret after slc_config_finish: the secret itself
    const char *source; // file name, "--set", ...; "default"
    uint32_t line;      // 0: no lines there
    int word;           // index into the key's words; -1: a value
    union {
        bool flag;
        uint64_t number; // integer, size, duration (ms)
        double fraction;
        slc_config_address address;
    };
    char *given; // of a secret: the form it was given in, for printing; private
} slc_config_value;

typedef struct slc_config_note {
    bool error; // else a warning
    const char *text;
} slc_config_note;

typedef struct slc_config slc_config;

/** Never NULL; a default that does not fit its own key is an assertion. */
slc_config *slc_config_new(const slc_config_table *table);
void slc_config_free(slc_config *config);

/** Read text. All mistakes become notes; the first is also in error: SLC_ESYNTAX, SLC_EINVAL. source is copied. For any bytes. */
SLC_MUST_USE slc_err slc_config_parse(slc_config *config, slc_slice text, const char *source,
                                      slc_error *error);
/** A file of at most 1 MiB: SLC_ENOTFOUND, SLC_EACCESS, SLC_ELIMIT, or as slc_config_parse. Blocks. */
SLC_MUST_USE slc_err slc_config_load_file(slc_config *config, const char *path, slc_error *error);
/** Every *.conf of a directory, in the order of their octets; a directory that is not there is fine. Blocks. */
SLC_MUST_USE slc_err slc_config_load_dir(slc_config *config, const char *dir, slc_error *error);
/** One key; source is named in messages and copied. */
SLC_MUST_USE slc_err slc_config_set(slc_config *config, const char *key, const char *value,
                                    const char *source, slc_error *error);
/** The same from "key=value", blanks around = allowed, no comments. */
SLC_MUST_USE slc_err slc_config_assign(slc_config *config, const char *assignment,
                                       const char *source, slc_error *error);
/** Every PREFIXa__b=value of environment (NULL-terminated) as a.b. Empty values do not count. */
SLC_MUST_USE slc_err slc_config_environment(slc_config *config, char *const *environment,
                                            const char *prefix, slc_error *error);

/** After the last source: fetch the secrets, judge unknown keys (each an error or a warning, with the nearest known key), note
 *  the keys of `idle` in warnings. SLC_EINVAL with the first error of all sources. Blocks (files of secrets). */
SLC_MUST_USE slc_err slc_config_finish(slc_config *config, bool unknown_is_error, slc_error *error);
/** What was found so far, in order; at most 200. */
const slc_config_note *slc_config_notes(const slc_config *config, uint32_t *count);
/** For checks of the program, behind those of the table: a note about a key as it stands. Returns SLC_EINVAL when is_error. */
slc_err slc_config_note_about(slc_config *config, bool is_error, uint32_t key, slc_error *error,
                              const char *format, ...) SLC_PRINTF(5, 6);

/** ---- getters; key is an index into the table, of the right type (asserted) ---- */

/** The value or the default; NULL when there is neither. Not for lists. */
const slc_config_value *slc_config_get(const slc_config *config, uint32_t key);
/** Whether a source gave it. For a list: any element. */
bool slc_config_is_set(const slc_config *config, uint32_t key);
/** The elements of a list, in order. NULL and 0: none was given. */
const slc_config_value *slc_config_list(const slc_config *config, uint32_t key, uint32_t *count);
/** The element of a list; NULL: not given. */
const slc_config_value *slc_config_element(const slc_config *config, uint32_t key,
                                           const char *element);

/** The plain getters want a value or a default that is not one of the words. */
bool slc_config_bool(const slc_config *config, uint32_t key);
uint64_t slc_config_number(const slc_config *config, uint32_t key); // integer, size, duration in ms
/** The same, and what a word means: word_means for any of the words, or for a key without value and default. */
uint64_t slc_config_number_or(const slc_config *config, uint32_t key, uint64_t word_means);
/** NULL when not set and without default, and when it is one of the words. */
const char *slc_config_text(const slc_config *config, uint32_t key);
/** Index into the words. */
int slc_config_enum(const slc_config *config, uint32_t key);

/** ---- printing ---- */

/** One value as people see it. */
typedef struct slc_config_entry {
    const char *name;     // in full: "listeners.tcp.1"
    const char *value;    // as a file would have it; secrets masked
    const char *fallback; // the default of its key likewise; NULL: it has none
    const char *source;   // a file's name, "--set", ...; NULL: nobody gave it, it is the default
    uint32_t line;        // 0: the source has no lines
    bool differs;         // from the default
    bool reloadable;
} slc_config_entry;
/** Every value that was given, and the defaults of the other keys, in the order of the table. */
void slc_config_each(const slc_config *config,
                     void (*each)(const slc_config_entry *entry, void *arg), void *arg);
/** `key = value` of every key with a value (all: also defaults, as comments say), secrets masked. Can be read back. */
void slc_config_print(const slc_config *config, bool all, FILE *out);
/** Calls changed for each key whose values differ: name is the key in full (listeners.tcp.1). Both from one table. */
void slc_config_diff(const slc_config *before, const slc_config *after,
                     void (*changed)(const char *name, bool needs_restart, void *arg), void *arg);
/** The keys as man(7) paragraphs, one section `.SS` per group. */
void slc_config_write_man(const slc_config_table *table, FILE *out);
/** Every key as a comment with its documentation: a file to begin with. */
void slc_config_write_sample(const slc_config_table *table, FILE *out);
/** "1 to 65535 s", "true or false", "[ip:]port": what a key allows. Returns out. */
const char *slc_config_allowed(const slc_config_key *key, char *out, size_t cap);

#endif
