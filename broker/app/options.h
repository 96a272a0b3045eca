/** The command line of sluiced. Thread: the main thread, before the loop. @spec operations 3 */
#ifndef SLC_APP_OPTIONS_H
#define SLC_APP_OPTIONS_H

#include "app/settings.h"

typedef struct slc_options slc_options;

/** Parse; --help, --version and --print-man are answered here. *out is NULL when the process should end with the status returned
 *  (0, or 64 after a sentence on standard error). */
int slc_options_parse(int argc, char **argv, slc_options **out);
/** What the settings are loaded from; borrowed. */
void slc_options_sources(const slc_options *options, slc_settings_sources *out);
/** --store: work on the store, set *status and return true. Without settings only when --data-dir says where it is: a copy
 *  is looked at without a configuration. */
bool slc_options_store(const slc_options *options, const slc_settings *settings, int *status);
/** --restore: the directory of a backup, or NULL. */
const char *slc_options_restore(const slc_options *options);
/** --check was asked for. */
bool slc_options_check(const slc_options *options);
/** --print-config: answer, set *status and return true when that was all; write the pid file otherwise. */
bool slc_options_settle(const slc_options *options, const slc_settings *settings, int *status);
/** The command line, word by word, with the secrets of --set masked. */
void slc_options_each(const slc_options *options, void (*each)(const char *text, void *arg),
                      void *arg);
void slc_options_free(slc_options *options);

#endif
