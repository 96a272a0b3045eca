/** load_definitions tried out: into a broker that has no disk, no clients and nothing in it, and that is thrown away.
 *
 *      empty broker, its default vhost ──> slc_boot_definitions, as at a start ──> free
 *
 *  So the check is the import. It knows nothing of the data directory: a file that names a vhost which only the data has is refused here.
 *  Thread: the main thread before the loop (it runs one of its own); blocks, for some time with many passwords in clear text.
 */
#ifndef SLC_APP_DEFINITIONS_CHECK_H
#define SLC_APP_DEFINITIONS_CHECK_H

#include "app/settings.h"

/** SLC_OK also without load_definitions. Otherwise error names file, object and rule; all lines of a longer report are in the log. */
SLC_MUST_USE slc_err slc_definitions_check(const slc_settings *s, slc_error *error);

#endif
