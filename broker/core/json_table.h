/** JSON and AMQP field tables, the way RabbitMQ's HTTP API converts them, and JSON as Erlang prints it in its error texts.
 *
 *      integer -> l (64 bit)   real -> d   string -> S   true, false -> t   null -> V   array -> A   object -> F
 *
 *  The way back is slc_table_json. Owner: results are the caller's. Thread: any.  @spec management-api 1.5, 6
 */
#ifndef SLC_CORE_JSON_TABLE_H
#define SLC_CORE_JSON_TABLE_H

#include <jansson.h>

#include "base/table.h"

/** Append object's pairs to out as a table's content. NULL, JSON null and an empty array count as an empty object. SLC_EINVAL with a
 *  sentence: it is no object, a key is longer than 255 octets, it is nested deeper than a table may be. */
SLC_MUST_USE slc_err slc_table_from_json(const json_t *object, slc_buffer *out, slc_error *error);

/** Tags: append "a,b" of a list of strings, or of a string that is that already. False: value is neither. */
bool slc_json_tags(const json_t *value, slc_buffer *out);
/** The way back: append ["a","b"]. */
void slc_tags_json(slc_slice tags, slc_buffer *out);

/** `<<"x">>`, `[{<<"k">>,1}]`, `null`: RabbitMQ's error texts quote a value so. Cut after about cap octets. */
void slc_json_erlang(const json_t *value, slc_buffer *out, size_t cap);
/** The same into a terminated string of cap octets; returns text. */
const char *slc_json_erlang_text(const json_t *value, char *text, size_t cap);

/** A string as a slice (it may hold NUL). */
static inline slc_slice slc_json_string_slice(const json_t *string)
{
    return slc_slice_of(json_string_value(string), json_string_length(string));
}

#endif
