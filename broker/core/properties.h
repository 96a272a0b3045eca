/** The properties inside a message, without the front end that decoded them: what routing needs of them.
 *
 *  props of a message are the flags and list of a basic content header as received (message.h); a front end has checked them,
 *  so that a value found here is well formed. Each call walks the list from its beginning. Thread: any. @spec amqp-semantics 1.4
 */
#ifndef SLC_CORE_PROPERTIES_H
#define SLC_CORE_PROPERTIES_H

#include <stdbool.h>

#include "base/slice.h"
#include "base/table.h"
#include "core/message.h"

/** The value is the bit of its flag. */
typedef enum slc_property {
    SLC_PROPERTY_NONE = 0,
    SLC_PROPERTY_CONTENT_TYPE = 15, // where nothing is said: the octets of a text
    SLC_PROPERTY_CONTENT_ENCODING = 14,
    SLC_PROPERTY_HEADERS = 13,       // content of the table
    SLC_PROPERTY_DELIVERY_MODE = 12, // 1 octet
    SLC_PROPERTY_PRIORITY = 11,      // 1 octet
    SLC_PROPERTY_CORRELATION_ID = 10,
    SLC_PROPERTY_REPLY_TO = 9,
    SLC_PROPERTY_EXPIRATION = 8,
    SLC_PROPERTY_MESSAGE_ID = 7,
    SLC_PROPERTY_TIMESTAMP = 6, // 8 octets, big-endian
    SLC_PROPERTY_TYPE = 5,
    SLC_PROPERTY_USER_ID = 4,
    SLC_PROPERTY_APP_ID = 3,
    SLC_PROPERTY_CLUSTER_ID = 2,
} slc_property;

/** False: the message has none; *value is not touched. The value points into the message. */
bool slc_message_property(const slc_message *message, slc_property property, slc_slice *value);
/** Append properties (flags and list) with another headers table (data NULL: none), without the property `without`, and if reply_to
 *  is not empty with that in place of the one they have. */
void slc_properties_with(slc_slice props, slc_slice headers, slc_property without,
                         slc_slice reply_to, slc_buffer *out);
/** The further routing keys of a message, those of its CC header and the hidden ones: how many; *keys is on the heap, NULL when
 *  there is none. The keys point into the message. @spec amqp-semantics 17.2 */
uint32_t slc_message_more_keys(const slc_message *message, slc_slice **keys);
/** Append the keys of the BCC header as a message hides them (message.h). */
void slc_headers_hidden_keys(slc_slice headers, slc_buffer *out);
/** What slc_message.ttl is by the expiration property: milliseconds + 1; 0: none. */
uint64_t slc_message_expiration(const slc_message *message);
/** A copy for a consumer with x-delivery-count, the number of times that the message was given back; the message itself, counted once
 *  more, when there is no memory for its body. @spec amqp-semantics 15.4 */
slc_message *slc_message_counted(slc_message *message, uint32_t returns);
/** Content of its headers table; bytes 0: none. */
slc_slice slc_message_headers(const slc_message *message);

#endif
