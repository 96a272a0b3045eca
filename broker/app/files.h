/** The files that the settings name and that are read before anything starts.
 *
 *      start ──> open_tls ──> (data directory, parts) ──> definitions
 *      --check ──> check: the same functions, all of them, every mistake; nothing is written, started or bound
 *      reload ──> check_used
 *
 *  Secrets (file:PATH, env:NAME) are read earlier, with the configuration itself. Thread: the main thread before the loop; blocks.
 *  @spec operations 3, 6
 */
#ifndef SLC_APP_FILES_H
#define SLC_APP_FILES_H

#include "app/settings.h"
#include "http/http.h"

/** The listener for HTTPS; off without management.ssl.port. Borrows from s. */
slc_http_tcp slc_files_https(const slc_settings *s);
/** Certificates, keys and authorities of the listeners that there are: readable, PEM, matching. *amqps and *https are NULL where there is
 *  none, else yours to free. SLC_EINVAL: error names key, file and rule. */
SLC_MUST_USE slc_err slc_files_open_tls(const slc_settings *s, slc_tls **amqps, slc_tls **https,
                                        slc_error *error);
/** Those of HTTPS, as slc_files_open_tls does. */
SLC_MUST_USE slc_err slc_files_open_https(const slc_settings *s, slc_tls **out, slc_error *error);
/** Look at what a daemon that runs would use from now on: all but the definitions. */
bool slc_files_check_used(const slc_settings *s,
                          void (*note)(bool is_error, const char *text, void *arg), void *arg);
/** Look at everything; note gets each mistake (not the rest of a file after its first). False: there are some. */
bool slc_files_check(const slc_settings *s,
                     void (*note)(bool is_error, const char *text, void *arg), void *arg);

#endif
