/** The header of the PROXY protocol, version 1 (text) and 2 (binary): who is behind a load balancer.
 *
 *      v1  "PROXY TCP4 192.0.2.1 192.0.2.9 40000 5672\r\n", at most 107 octets
 *      v2  12 octets of signature, version and command, family, length (2 octets), addresses, TLVs (skipped)
 *
 *  Pure functions; thread: any.
 */
#ifndef SLC_NET_PROXY_H
#define SLC_NET_PROXY_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum { SLC_PROXY_BYTES_MAX = 4096 }; // a longer header is refused

typedef struct slc_proxy_header {
    bool
        known; // false: no addresses of TCP (UNKNOWN, LOCAL, another family): those of the socket count
    char source[64], target[64]; // numeric; IPv4 inside IPv6 shows as IPv4
    uint16_t source_port, target_port;
    bool source_loopback;
} slc_proxy_header;

/** Octets of input that the header has: *used. SLC_ETRUNCATED: more is needed, all of input belongs to the header;
 *  SLC_ESYNTAX: this is no header; error says why. */
SLC_MUST_USE slc_err slc_proxy_decode(slc_slice input, slc_proxy_header *out, size_t *used,
                                      slc_error *error);

#endif
