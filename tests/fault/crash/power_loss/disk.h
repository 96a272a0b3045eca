/** A disk that loses power: from a tape to the file that a machine would find when it comes back.
 *
 *  At moment m the events before m have happened. What a flush that returned took along is there. Of everything else that
 *  was written, also by writes still under way, a random part is there: page by page of 4 KiB (or sector by sector of 512
 *  octets), in any combination, each in any of the states it was given since.
 *
 *  Thread: one.
 */
#ifndef POWER_LOSS_DISK_H
#define POWER_LOSS_DISK_H

#include "tape.h"

typedef struct disk disk;

/** late_flush: a flush takes effect only when the next one returns, as if the program had forgotten it. For controls. */
disk *disk_new(const tape *t, bool late_flush);
void disk_free(disk *d);
/** Go forward to moment; never back. */
void disk_advance(disk *d, uint32_t moment);
/** Pages and parts of pages that were written and not flushed. */
uint32_t disk_unflushed(const disk *d);
/** Write an image for the moment to path; to path.new while the file has not got its name (TAPE_NAMED), and by chance
 *  until the store was opened, since only then the directory is known to have been flushed. rng: state of the caller's random numbers. */
void disk_image(const disk *d, const char *path, uint64_t *rng);
/** True when the whole tape gives exactly the file at path: every write was caught. */
bool disk_complete(const tape *t, const char *path);

/** Uniform below `below`; advances the state. */
uint64_t disk_random(uint64_t *rng, uint64_t below);

#endif
