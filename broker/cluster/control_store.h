/** The control plane's environment on disk. Private to control*.c.
 *
 *      meta   "format"  u32: 1                 "applied"  u64: index of the last command that is in state
 *      log    index u64 -> command             the last SLC_CONTROL_LOG_KEPT; a new member of a cluster starts from state
 *      state  key -> value                     what all commands lead to
 *
 *      command = version u8 (1), count u32, changes, XXH3-64 of all that u64
 *      change  = op u8 (1 put, 2 delete), key bytes u16, value bytes u32, key, value
 *
 *  All numbers are big-endian. A command, its index in meta and its changes in state are one transaction.
 *  Thread: open, load and close on one thread while no append runs; append on the control thread.
 */
#ifndef SLC_CLUSTER_CONTROL_STORE_H
#define SLC_CLUSTER_CONTROL_STORE_H

#include <lmdb.h>

#include "cluster/control.h"

enum {
    SLC_CONTROL_FORMAT = 1,
    SLC_CONTROL_COMMAND_VERSION = 1,
    SLC_CONTROL_LOG_KEPT = 4096,
    SLC_CONTROL_KEY_BYTES_MAX = 511,
    SLC_CONTROL_VALUE_BYTES_MAX = 1024 * 1024,
    SLC_CONTROL_COMMAND_BYTES_MAX = 64 * 1024 * 1024,
};

typedef struct slc_control_store {
    char *dir;
    MDB_env *env;
    MDB_dbi meta, log, state;
    uint64_t applied; // the last command's index
    uint64_t
        reserved; // bytes of the data file, from its start, that are known to have blocks on the disk
} slc_control_store;

/** One encoded command. */
typedef struct slc_control_command {
    slc_slice bytes; // as in the log; borrowed
    uint64_t index;  // given by append
} slc_control_command;

SLC_MUST_USE slc_err slc_control_store_open(slc_control_store *store, const char *dir,
                                            uint64_t map_bytes, slc_error *error);
void slc_control_store_close(slc_control_store *store);
SLC_MUST_USE slc_err slc_control_store_load(slc_control_store *store,
                                            void (*apply)(const slc_control_change *change,
                                                          uint64_t index, void *arg),
                                            void *arg, slc_error *error);

/** One transaction for count commands, in order; sets their indexes. SLC_OK: durable. SLC_ENOSPC, SLC_ELIMIT: nothing changed, and trying fewer
 *  may work. Anything else: nobody knows what is on the disk. half: a fail point wants to die between the writes and the commit. */
SLC_MUST_USE slc_err slc_control_store_append(slc_control_store *store,
                                              slc_control_command **commands, uint32_t count,
                                              bool half, slc_error *error);

/** A copy of the environment in a new directory dir, synced; SLC_OK or nothing is left of it. Any thread, while appends run. */
SLC_MUST_USE slc_err slc_control_store_copy(const slc_control_store *store, const char *dir,
                                            slc_error *error);

/** Bytes that the encoding takes; SLC_ELIMIT when something is out of its bounds. */
slc_err slc_control_command_size(const slc_control_change *changes, uint32_t count, size_t *bytes);
/** Encode into out, which has that size. */
void slc_control_command_encode(const slc_control_change *changes, uint32_t count, uint8_t *out,
                                size_t bytes);
/** Check version, checksum and shape: SLC_EVERSION, SLC_ECORRUPT. count gets the number of changes. */
SLC_MUST_USE slc_err slc_control_command_check(slc_slice command, uint32_t *count);
/** Walk the changes of a checked command; *at begins at 0. False at the end. */
bool slc_control_command_next(slc_slice command, size_t *at, slc_control_change *change);

#endif
