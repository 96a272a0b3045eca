/** JSON out: a streaming writer into a growing buffer.
 *
 *  No tree: each call appends. The writer places commas and knows one bit per level, so a list of 10,000 queues costs what its
 *  text costs. Keys are literals of ours and are not escaped; strings are (octets that are not UTF-8 become U+FFFD).
 *
 *      slc_json w = slc_json_to(&buffer);
 *      slc_json_open(&w, '{');
 *      slc_json_put_text(&w, "name", "q1");
 *      slc_json_put_u64(&w, "messages", 5);
 *      slc_json_close(&w, '}');
 *
 *  Calls that do not pair (a value without a key inside an object, a wrong closing bracket) are mistakes of ours; unit tests
 *  compare with jansson. Owner: the caller's storage, nothing to free. Thread: any, one at a time.
 */
#ifndef SLC_HTTP_JSON_H
#define SLC_HTTP_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/table.h"

enum { SLC_JSON_DEPTH_MAX = 63 };

typedef struct slc_json {
    slc_buffer *out;  // borrowed
    uint64_t started; // bit n: level n has an element, so the next one needs a comma
    uint32_t depth;
} slc_json;

static inline slc_json slc_json_to(slc_buffer *out)
{
    return (slc_json){.out = out};
}

/** bracket: '{' or '['; the matching one closes. */
void slc_json_open(slc_json *w, char bracket);
void slc_json_close(slc_json *w, char bracket);
/** The key of the next value; a literal without characters that need escaping. */
void slc_json_key_bytes(slc_json *w, const char *key, size_t bytes);
#define slc_json_key(w, key) slc_json_key_bytes((w), (key), strlen(key))

void slc_json_slice(slc_json *w, slc_slice text);
void slc_json_text(slc_json *w, const char *text); // NULL: null
void slc_json_u64(slc_json *w, uint64_t value);
void slc_json_i64(slc_json *w, int64_t value);
void slc_json_bool(slc_json *w, bool value);
void slc_json_null(slc_json *w);
/** The shortest text that reads back as the same number; NaN and infinities are null. */
void slc_json_double(slc_json *w, double value);
/** A whole value that is JSON already. */
void slc_json_raw(slc_json *w, slc_slice value);
/** A field table as an object, or base64 of its octets as a string when raw. */
void slc_json_table(slc_json *w, slc_slice content, bool raw);

/** key and value in one call. */
#define slc_json_put_slice(w, key, value)  (slc_json_key(w, key), slc_json_slice(w, value))
#define slc_json_put_text(w, key, value)   (slc_json_key(w, key), slc_json_text(w, value))
#define slc_json_put_u64(w, key, value)    (slc_json_key(w, key), slc_json_u64(w, value))
#define slc_json_put_i64(w, key, value)    (slc_json_key(w, key), slc_json_i64(w, value))
#define slc_json_put_bool(w, key, value)   (slc_json_key(w, key), slc_json_bool(w, value))
#define slc_json_put_null(w, key)          (slc_json_key(w, key), slc_json_null(w))
#define slc_json_put_double(w, key, value) (slc_json_key(w, key), slc_json_double(w, value))

/** RFC 4648 base64 with padding, appended. */
void slc_base64_encode(slc_slice octets, slc_buffer *out);

#endif
