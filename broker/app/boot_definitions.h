/** Definitions that are loaded at every start, before anybody can connect: load_definitions.
 *
 *      start ──> read and parse all files ──> import one after the other ──> done
 *
 *  path is a file, or a directory whose *.json are taken in order of their names. Thread: the loop; reading blocks, so at start
 *  only.  @spec operations 4.2
 */
#ifndef SLC_APP_BOOT_DEFINITIONS_H
#define SLC_APP_BOOT_DEFINITIONS_H

#include "core/broker.h"

/** changed_only: not when these files are those that were loaded last so (a global parameter keeps their hash). done runs once, maybe inside this call. Not SLC_OK: error names the file and what is wrong in it; nothing of that file was
 *  applied. */
void slc_boot_definitions(slc_broker *broker, const char *path, bool changed_only,
                          void (*done)(slc_err rc, const slc_error *error, void *arg), void *arg);

#endif
