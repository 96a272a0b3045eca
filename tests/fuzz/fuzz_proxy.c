// The header of the PROXY protocol: any octets; every cut of a good header asks for more; what is used lies inside the input.
#include "fuzz.h"

#include "base/alloc.h"
#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_proxy_header header, again;
    slc_error error = {0};
    size_t used = 0, cut_used = 0;
    slc_err rc = slc_proxy_decode(slc_slice_of(data, bytes), &header, &used, &error);
    SLC_ASSERT(rc == SLC_OK || rc == SLC_ETRUNCATED || rc == SLC_ESYNTAX);
    SLC_ASSERT((rc == SLC_ESYNTAX) == (error.text[0] != '\0'));
    if (rc == SLC_ETRUNCATED)
        SLC_ASSERT(bytes < SLC_PROXY_BYTES_MAX);
    if (rc != SLC_OK)
        return 0;
    SLC_ASSERT(used > 0 && used <= bytes && used <= SLC_PROXY_BYTES_MAX);
    SLC_ASSERT(memchr(header.source, 0, sizeof header.source) != NULL);
    SLC_ASSERT(memchr(header.target, 0, sizeof header.target) != NULL);
    SLC_ASSERT(header.known == (header.source[0] != '\0'));
    for (size_t cut = 0; cut < used; cut += used / 9 + 1)
        SLC_ASSERT(slc_proxy_decode(slc_slice_of(data, cut), &again, &cut_used, NULL) ==
                   SLC_ETRUNCATED);
    SLC_ASSERT(slc_proxy_decode(slc_slice_of(data, used), &again, &cut_used, NULL) == SLC_OK &&
               cut_used == used);
    return 0;
}
