/** The one field `file` of a multipart/form-data body (RFC 7578): how the management UI and curl -F upload definitions. */
#ifndef SLC_HTTP_MULTIPART_H
#define SLC_HTTP_MULTIPART_H

#include "base/slice.h"

/** type: the content type; NULL: none. body is what the request has.
 *  @return what there is to read: body when it is not multipart, the content of the part named file when it is, bytes 0 when there
 *  is no such part or the body is no multipart. Points into body. */
slc_slice slc_multipart_file(const char *type, slc_slice body);

#endif
