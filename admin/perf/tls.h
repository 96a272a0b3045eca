/** TLS of the load generator's connections: OpenSSL on the non-blocking socket itself. It knows no AMQP.
 *
 *  Thread: one. Memory: slc_perf_tls_free.
 */
#ifndef SLC_PERF_TLS_H
#define SLC_PERF_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct ssl_st;

/** ca: a file with authorities, one of which must vouch for the peer and its host name or address; NULL: any certificate will do. */
SLC_MUST_USE slc_err slc_perf_tls_new(int fd, const char *host, const char *ca, struct ssl_st **out,
                                      slc_error *error);
/** NULL is fine. Nothing is said to the peer. */
void slc_perf_tls_free(struct ssl_st *tls);

/** SLC_EAGAIN: again when the socket has *events (of poll). */
SLC_MUST_USE slc_err slc_perf_tls_handshake(struct ssl_st *tls, short *events, slc_error *error);
/** At most one record. SLC_EAGAIN: the socket is empty; SLC_ECLOSED: the peer closed. */
SLC_MUST_USE slc_err slc_perf_tls_read(struct ssl_st *tls, void *to, size_t room, size_t *got,
                                       slc_error *error);
/** Has a record been read that was larger than the room? */
bool slc_perf_tls_pending(const struct ssl_st *tls);
/** At most one record. SLC_EAGAIN: the socket is full; the next write must begin with the same octets. */
SLC_MUST_USE slc_err slc_perf_tls_write(struct ssl_st *tls, const void *from, size_t bytes,
                                        size_t *written, slc_error *error);

#endif
