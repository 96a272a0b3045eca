#include "net/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { V1_BYTES_MAX = 107, V2_FIXED_BYTES = 16 };

static const uint8_t v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                         0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static bool address_show(int family, const uint8_t *ip, char out[64])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (family == AF_INET6 && memcmp(ip, mapped, sizeof mapped) == 0) {
        family = AF_INET;
        ip += sizeof mapped;
    }
    inet_ntop(family, ip, out, 64);
    if (family == AF_INET)
        return ip[0] == 127;
    static const uint8_t loopback[16] = {[15] = 1};
    return memcmp(ip, loopback, sizeof loopback) == 0;
}

/* ---- version 1 ---- */

/** The next word of the line; each is followed by one blank or the end. */
static bool word_next(const char **at, char *out, size_t cap)
{
    size_t bytes = strcspn(*at, " ");
    if (bytes == 0 || bytes >= cap)
        return false;
    memcpy(out, *at, bytes);
    out[bytes] = '\0';
    *at += bytes;
    if (**at == ' ')
        ++*at;
    return true;
}

static bool port_read(const char *text, uint16_t *out)
{
    uint32_t port = 0;
    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > 65535)
            return false;
    }
    *out = (uint16_t)port;
    return true;
}

static slc_err v1_line(const char *line, slc_proxy_header *out, slc_error *error)
{
    char kind[16], source[64], target[64], source_port[8], target_port[8];
    uint8_t ip[16];
    const char *at = line + 6; // "PROXY "
    if (!word_next(&at, kind, sizeof kind))
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: the family is missing");
    if (strcmp(kind, "UNKNOWN") == 0)
        return SLC_OK; // whatever follows
    int family = strcmp(kind, "TCP4") == 0 ? AF_INET : strcmp(kind, "TCP6") == 0 ? AF_INET6 : 0;
    if (family == 0)
        return slc_error_set(error, SLC_ESYNTAX,
                             "PROXY header: the family must be TCP4, TCP6 or UNKNOWN");
    if (!word_next(&at, source, sizeof source) || !word_next(&at, target, sizeof target) ||
        !word_next(&at, source_port, sizeof source_port) ||
        !word_next(&at, target_port, sizeof target_port) || *at != '\0' || at[-1] == ' ')
        return slc_error_set(error, SLC_ESYNTAX,
                             "PROXY header: two addresses and two ports must follow the family");
    if (inet_pton(family, target, ip) != 1)
        return slc_error_set(error, SLC_ESYNTAX,
                             "PROXY header: the target is not an address of the family");
    address_show(family, ip, out->target);
    if (inet_pton(family, source, ip) != 1)
        return slc_error_set(error, SLC_ESYNTAX,
                             "PROXY header: the source is not an address of the family");
    out->source_loopback = address_show(family, ip, out->source);
    if (!port_read(source_port, &out->source_port) || !port_read(target_port, &out->target_port))
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: a port must be 0 to 65535");
    out->known = true;
    return SLC_OK;
}

static slc_err v1_decode(slc_slice input, slc_proxy_header *out, size_t *used, slc_error *error)
{
    char line[V1_BYTES_MAX + 1];
    size_t look = input.bytes < V1_BYTES_MAX ? input.bytes : V1_BYTES_MAX;
    const uint8_t *end = memchr(input.data, '\n', look);
    if (end == NULL && look == V1_BYTES_MAX)
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: no end of line in %d octets",
                             V1_BYTES_MAX);
    if (end == NULL)
        return SLC_ETRUNCATED;
    size_t bytes = (size_t)(end - input.data) + 1;
    if (bytes < 8 || end[-1] != '\r')
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: the line must end with CR LF");
    memcpy(line, input.data, bytes - 2);
    line[bytes - 2] = '\0';
    if (strlen(line) != bytes - 2)
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: a NUL in the line");
    *used = bytes;
    return v1_line(line, out, error);
}

/* ---- version 2 ---- */

static uint16_t u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static slc_err v2_decode(slc_slice input, slc_proxy_header *out, size_t *used, slc_error *error)
{
    if (input.bytes < V2_FIXED_BYTES)
        return SLC_ETRUNCATED;
    unsigned version = input.data[12] >> 4, command = input.data[12] & 15;
    unsigned family = input.data[13] >> 4, transport = input.data[13] & 15;
    size_t length = u16(input.data + 14);
    if (version != 2)
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: version %u is unknown", version);
    if (command > 1)
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: command %u is unknown", command);
    if (family > 3 || transport > 2)
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: address family %u.%u is unknown",
                             family, transport);
    if (V2_FIXED_BYTES + length > SLC_PROXY_BYTES_MAX)
        return slc_error_set(error, SLC_ESYNTAX, "PROXY header: %zu octets are more than %d",
                             length, SLC_PROXY_BYTES_MAX - V2_FIXED_BYTES);
    size_t ip = family == 1 ? 4 : family == 2 ? 16 : 0;
    bool tcp = command == 1 && ip > 0 && transport == 1;
    if (tcp && length < 2 * ip + 4)
        return slc_error_set(error, SLC_ESYNTAX,
                             "PROXY header: %zu octets are too few for its addresses", length);
    if (input.bytes < V2_FIXED_BYTES + length)
        return SLC_ETRUNCATED;
    *used = V2_FIXED_BYTES + length;
    if (!tcp)
        return SLC_OK;
    const uint8_t *at = input.data + V2_FIXED_BYTES;
    int af = family == 1 ? AF_INET : AF_INET6;
    out->known = true;
    out->source_loopback = address_show(af, at, out->source);
    address_show(af, at + ip, out->target);
    out->source_port = u16(at + 2 * ip);
    out->target_port = u16(at + 2 * ip + 2);
    return SLC_OK;
}

slc_err slc_proxy_decode(slc_slice input, slc_proxy_header *out, size_t *used, slc_error *error)
{
    *out = (slc_proxy_header){0};
    *used = 0;
    size_t v1 = input.bytes < 6 ? input.bytes : 6, v2 = input.bytes < 12 ? input.bytes : 12;
    if (input.bytes == 0)
        return SLC_ETRUNCATED;
    if (memcmp(input.data, v2_signature, v2) == 0)
        return v2 < 12 ? SLC_ETRUNCATED : v2_decode(input, out, used, error);
    if (memcmp(input.data, "PROXY ", v1) == 0)
        return v1 < 6 ? SLC_ETRUNCATED : v1_decode(input, out, used, error);
    return slc_error_set(error, SLC_ESYNTAX,
                         "no PROXY header, which proxy_protocol = true wants first");
}
