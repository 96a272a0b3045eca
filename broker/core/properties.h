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
    SLC_PROPERTY_HEADERS = 13,        // content of the table
    SLC_PROPERTY_CORRELATION_ID = 10, // the octets
    SLC_PROPERTY_EXPIRATION = 8,      // the octets
    SLC_PROPERTY_MESSAGE_ID = 7,      // the octets
    SLC_PROPERTY_TIMESTAMP = 6,       // 8 octets, big-endian
} slc_property;

/** False: the message has none; *value is not touched. The value points into the message. */
bool slc_message_property(const slc_message *message, slc_property property, slc_slice *value);
/** Append the flags and list of its properties with another headers table (bytes 0: none) and without the property `without`. */
void slc_message_properties_with(const slc_message *message, slc_slice headers,
                                 slc_property without, slc_buffer *out);
/** Content of its headers table; bytes 0: none. */
slc_slice slc_message_headers(const slc_message *message);

#endif
