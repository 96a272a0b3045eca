/** What an operator can have done to the running daemon, for the paths below sluice/ that nobody but an administrator may use. The
 *  daemon fills the table.
 *
 *  Thread: the loop's.  @spec operations 2.5, 4.6; management-api 11
 */
#ifndef SLC_HTTP_ADMIN_H
#define SLC_HTTP_ADMIN_H

#include "base/config.h"
#include "base/error.h"

/** What came of reading the configuration again. Texts are borrowed for the call. */
typedef struct slc_http_reload {
    void (*note)(bool is_error, const char *text, void *arg);
    void (*changed)(const char *key, bool needs_restart, void *arg);
    void *arg;
} slc_http_reload;

typedef struct slc_http_admin_ops {
    /** Every value of the configuration in force. */
    void (*config)(void (*each)(const slc_config_entry *entry, void *each_arg), void *each_arg,
                   void *arg);
    /** Read the configuration again and use it, or only say what would come of it (check). Any other code than SLC_OK: nothing has
     *  changed, and every mistake was noted. SLC_EBUSY: not now. */
    slc_err (*reload)(bool check, const slc_http_reload *told, slc_error *error, void *arg);
    /** Of all sinks that are on, until the next reload or start. SLC_EINVAL: there is no such level. */
    slc_err (*log_level)(const char *level, slc_error *error, void *arg);
    /** Take connections of clients, or no more of them. Of those that cannot be opened again error names one. */
    slc_err (*listeners)(bool open, slc_error *error, void *arg);
    /** The command line, and those of the environment that configure; secrets masked. */
    void (*process)(void (*argument)(const char *text, void *each_arg),
                    void (*variable)(const char *name, const char *value, void *each_arg),
                    void *each_arg, void *arg);
    /** What TLS listeners offer, or would offer. */
    void (*ciphers)(void (*each)(const char *openssl, const char *iana, void *each_arg),
                    void *each_arg, void *arg);
} slc_http_admin_ops;

#endif
