/** Reading the JSON body of a request with the leniency that clients of RabbitMQ count on.
 *
 *  rabbitmqadmin sends nearly every value as a string: booleans may be "true" or "false", integers may be "1". Unknown keys are
 *  ignored. A reader that returns false has filled *error (SLC_EINVAL) with key, value and rule. Borrowed: what is returned
 *  lives as long as the body. Thread: any.  @spec management-api 1.5
 */
#ifndef SLC_HTTP_BODY_H
#define SLC_HTTP_BODY_H

#include <jansson.h>

#include "base/slice.h"
#include "base/table.h"
#include "http/request.h"

/** The body, {} when there is none; NULL: it is no object, and the answer is filled (400 not_json). */
const json_t *slc_body_object(slc_http_request *request);
/** Every key must be there: RabbitMQ's `[{key_missing,a},{key_missing,b}]`. */
bool slc_body_need(const json_t *body, const char *const *keys, uint32_t count, slc_error *error);
bool slc_body_bool(const json_t *body, const char *key, bool otherwise, bool *out,
                   slc_error *error);
/** Within [low, high]. */
bool slc_body_integer(const json_t *body, const char *key, int64_t low, int64_t high,
                      int64_t otherwise, int64_t *out, slc_error *error);
/** otherwise when the key is absent or null. */
bool slc_body_text(const json_t *body, const char *key, slc_slice otherwise, slc_slice *out,
                   slc_error *error);
/** Append the field table of `key`; absent, null and [] are an empty one. */
bool slc_body_table(const json_t *body, const char *key, slc_buffer *out, slc_error *error);
/** Append the octets of base64 text; false: it is none (*out may have grown). */
bool slc_base64_decode(slc_slice text, slc_buffer *out);

#endif
