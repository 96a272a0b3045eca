/** What a disk was asked to do, in order: every write and flush of the store's data file, and what the store reported.
 *
 *  tape.c defines pwrite, pwritev, write, writev, fdatasync, fsync and rename for the whole program. Symbols of the executable win
 *  over those of libc, so the calls that LMDB makes from its shared library arrive here too; tape_complete proves it by
 *  rebuilding the file from the tape. A flush of the watched file does not reach the disk: it takes a random time of up to
 *  a few milliseconds, as a disk would, and returns.
 *
 *  The tape lies in shared memory: one process records, its parent reads when that has ended.
 *
 *  Thread: the interposed calls and tape_note from any; the rest before recording begins or after it ended.
 */
#ifndef POWER_LOSS_TAPE_H
#define POWER_LOSS_TAPE_H

#include <stdbool.h>
#include <stdint.h>

enum { TAPE_EVENTS_MAX = 400000 };
#define TAPE_DATA_MAX (160ull << 20)

typedef enum tape_kind {
    TAPE_WRITE,   // begins: from here on any part of it may be on the disk
    TAPE_WRITTEN, // returned; with `through` (O_DSYNC) it is on the disk
    TAPE_FLUSH,   // begins: takes along what was written before
    TAPE_FLUSHED, // returned
    TAPE_DURABLE, // the store reported `ticket`
    TAPE_NAMED,   // the file got its name by rename; what was written before went to NAME.new
    TAPE_OPENED,  // slc_store_open and recover returned
} tape_kind;

typedef struct tape_event {
    uint8_t kind;
    bool through;
    uint32_t begin;         // of TAPE_WRITTEN and TAPE_FLUSHED: event that it ends
    uint64_t offset, bytes; // of a write, in the file
    union {
        uint64_t data; // of a write: where its bytes are in tape_data
        uint64_t ticket;
    };
} tape_event;

typedef struct tape {
    uint32_t count;
    uint64_t data_bytes;
    uint64_t seed; // of the flushes' times
    tape_event events[TAPE_EVENTS_MAX];
    uint8_t data[];
} tape;

/** Shared memory for a tape; ends the program when there is none. */
tape *tape_new(void);
/** Forget everything; the memory goes back to the system. */
void tape_clear(tape *t, uint64_t seed);

/** From now on record what this process does to the file at path, or at path.new until that is renamed to it (path need not exist yet; path stays the caller's and must
 *  outlive the recording). NULL: stop. */
void tape_record(tape *t, const char *path);
/** Flushes of files return at once without reaching the disk: for a process that opens images which nobody keeps. */
void tape_no_flush(void);
void tape_note(tape_kind kind, uint64_t ticket);
/** Number of events so far; what is submitted now can appear on the disk with event tape_now() at the earliest. */
uint32_t tape_now(void);
/** What was written so far. */
uint64_t tape_bytes(void);

/** Event is a write of (a part of) one of LMDB's two meta pages. */
bool tape_is_meta(const tape_event *event);

#endif
