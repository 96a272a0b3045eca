/** `sluiced --store ACTION`: what an operator does with the store of a node that is stopped, or with a copy of one.
 *
 *  sluicectl has no LMDB in it; it starts this. Check and stat hold LOCK shared, so that no daemon starts meanwhile, and
 *  write nothing at all; compact and salvage hold it alone. While a daemon runs all of them are refused: a check of a store
 *  that changes would need one read transaction for minutes, and the data file would grow meanwhile. Check a backup.
 *
 *  Output: findings and the summary on standard output (stat: one JSON object), progress on standard error when that is a
 *  terminal. Thread: the main thread; there is no loop.  @spec operations 2.4, 2.5, 3
 */
#ifndef SLC_APP_STORE_TOOL_H
#define SLC_APP_STORE_TOOL_H

#include <stdbool.h>

typedef enum slc_store_action {
    SLC_STORE_ACTION_NONE,
    SLC_STORE_ACTION_STAT,
    SLC_STORE_ACTION_CHECK,
    SLC_STORE_ACTION_COMPACT,
    SLC_STORE_ACTION_SALVAGE,
} slc_store_action;

/** NONE for an unknown word. */
slc_store_action slc_store_action_of(const char *name);

/** dir: a data directory, or its store directory. yes: salvage does not ask. quiet: no progress.
 *  Returns the exit status: 0; 64 salvage without a terminal and without yes; 65 the store is damaged (and stays so), or there is
 *  none; 70 internal; 73 in use, or no room; 74 disk error; 77 no permission; 78 another version's store. */
int slc_store_tool_run(slc_store_action action, const char *dir, bool yes, bool quiet);

#endif
