/** Watches memory and disk space and raises the two alarms that block publishers.
 *
 *  Memory: anonymous memory (RssAnon; pages of the store's map are reclaimable) against the watermark, each
 *  memory_monitor_interval, and the bytes of all messages on every turn, so that a burst between two looks is seen too. The
 *  alarm goes off below 95 % of the limit. Disk: free space of the data directory each second and for each 64 MiB written;
 *  off again 20 % above the limit. What is free inside the store's file counts as free: the file does not shrink when messages go, and
 *  what comes in fills it first. Thread: the loop.  @spec operations 8, amqp-semantics 19.2
 */
#ifndef SLC_APP_MONITOR_H
#define SLC_APP_MONITOR_H

#include <stdint.h>
#include <uv.h>

#include "amqp091/amqp091.h"
#include "app/world.h"

typedef struct slc_monitor {
    slc_world *world;
    slc_amqp_server *amqp;
    const char *data_dir;
    uint64_t memory_limit; // bytes
    uint64_t disk_limit;   // bytes
    uint64_t memory_used;
    uint64_t disk_free;        // on the file system
    uint64_t written_at_check; // store's bytes_written at the last look at the disk
    uint64_t memory_checked_ms, trimmed_ms;
    uint32_t memory_interval_ms;
    bool memory_alarm, disk_alarm;
    uv_timer_t timer;
} slc_monitor;

/** Looks once and starts the timer. amqp, whose connections may be who holds most, and data_dir are borrowed. */
void slc_monitor_start(slc_monitor *monitor, slc_world *world, slc_amqp_server *amqp,
                       const char *data_dir, uint64_t memory_limit, uint64_t disk_limit,
                       uint32_t memory_interval_ms);
/** Cheap; at the end of each loop turn. */
void slc_monitor_turn(slc_monitor *monitor);
void slc_monitor_limits(slc_monitor *monitor, uint64_t memory_limit, uint64_t disk_limit);
void slc_monitor_stop(slc_monitor *monitor);

/** Bytes of "RssAnon:" or "VmRSS:" of this process; 0 when /proc cannot be read. */
uint64_t slc_process_memory(const char *field);
/** Physical memory, or less when a cgroup limits us. */
uint64_t slc_total_memory(void);

#endif
