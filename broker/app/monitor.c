#include "app/monitor.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/cgroup.h"
#include "base/log.h"
#include "core/growers.h"

#define DISK_CHECK_BYTES (64ull << 20)
#define TRIM_BYTES       (48ull << 20)
enum { TRIM_INTERVAL_MS = 10000 };

uint64_t slc_process_memory(const char *field)
{
    FILE *in = fopen("/proc/self/status", "re");
    if (in == NULL)
        return 0;
    char line[256];
    uint64_t bytes = 0;
    size_t field_bytes = strlen(field);
    while (bytes == 0 && fgets(line, sizeof line, in) != NULL) {
        if (strncmp(line, field, field_bytes) == 0)
            bytes = strtoull(line + field_bytes, NULL, 10) * 1024;
    }
    fclose(in);
    return bytes;
}

uint64_t slc_total_memory(void)
{
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t limit = slc_cgroup_memory_limit("");
    return limit < total ? limit : total;
}

static void monitor_apply(slc_monitor *m)
{
    slc_amqp_refresh(m->amqp); // what waits to be written to each
    slc_broker_pressure(m->world->broker, m->memory_alarm, m->disk_alarm);
}

/** Who holds most and what can be done, for the line of an alarm; "" when it goes off. */
static void monitor_blame(const slc_monitor *m, slc_resource resource, bool alarm, char *out,
                          size_t cap)
{
    const slc_growers *growers = slc_broker_growers(m->world->broker, resource);
    char text[1500];
    out[0] = '\0';
    if (!alarm)
        return;
    slc_growers_text(growers, text, sizeof text);
    snprintf(out, cap, "%s%s; %s",
             growers->count > 0 ? ". Most is held by " : ". No queue holds any", text,
             slc_growers_advice(resource));
}

/** A backlog that has gone leaves free memory inside the heap, which counts as used until it is given back. Not often, since it
 *  takes milliseconds, and not while the heap is in use. */
static void monitor_trim(slc_monitor *m)
{
    uint64_t now = uv_now(m->world->loop);
    bool slack = m->memory_used >= slc_message_bytes_alive() + TRIM_BYTES;
    // While the alarm is on publishers wait for memory: every bit that can be given back counts.
    if (!m->memory_alarm && (!slack || now - m->trimmed_ms < TRIM_INTERVAL_MS))
        return;
    m->trimmed_ms = now;
    slc_message_trim();
    malloc_trim(0);
}

static void monitor_memory(slc_monitor *m)
{
    uint64_t used = slc_process_memory("RssAnon:");
    uint64_t messages = slc_message_bytes_alive();
    m->memory_used = used > messages ? used : messages;
    m->memory_checked_ms = uv_now(m->world->loop);
    monitor_trim(m);
    bool alarm = m->memory_alarm ? m->memory_used > m->memory_limit / 20 * 19
                                 : m->memory_used > m->memory_limit;
    if (alarm == m->memory_alarm)
        return;
    m->memory_alarm = alarm;
    monitor_apply(m);
    char blame[2000];
    monitor_blame(m, SLC_RESOURCE_MEMORY, alarm, blame, sizeof blame);
    slc_log(SLC_LOG_WARN, "default", alarm ? "alarm.memory.set" : "alarm.memory.clear",
            SLC_FIELDS(SLC_F_U64("used_bytes", m->memory_used),
                       SLC_F_U64("limit_bytes", m->memory_limit)),
            "memory resource limit alarm %s: %" PRIu64
            " MiB of anonymous memory in use, the limit is %" PRIu64 " MiB%s%s",
            alarm ? "set" : "cleared", m->memory_used >> 20, m->memory_limit >> 20,
            alarm ? "; publishers are blocked until consumers have made room" : "", blame);
}

static void monitor_disk(slc_monitor *m)
{
    struct statvfs fs;
    if (statvfs(m->data_dir, &fs) != 0)
        return;
    m->disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    slc_store_stats stats;
    slc_store_stat(m->world->store, &stats);
    uint64_t room = m->disk_free + stats.free_bytes;
    bool full = m->world->disk_full;
    bool low = m->disk_alarm ? room < m->disk_limit + m->disk_limit / 5 : room < m->disk_limit;
    bool alarm = full || low;
    if (alarm == m->disk_alarm)
        return;
    m->disk_alarm = alarm;
    monitor_apply(m);
    char blame[2000];
    monitor_blame(m, SLC_RESOURCE_DISK, alarm, blame, sizeof blame);
    slc_log(SLC_LOG_WARN, "default", alarm ? "alarm.disk.set" : "alarm.disk.clear",
            SLC_FIELDS(SLC_F_U64("free_bytes", m->disk_free),
                       SLC_F_U64("store_free_bytes", stats.free_bytes),
                       SLC_F_U64("limit_bytes", m->disk_limit)),
            "disk resource limit alarm %s: %s%s%" PRIu64 " MiB are free under %s and %" PRIu64
            " MiB inside the store, the limit is %" PRIu64 " MiB%s%s",
            alarm ? "set" : "cleared", full ? m->world->disk_error.text : "", full ? "; " : "",
            m->disk_free >> 20, m->data_dir, stats.free_bytes >> 20, m->disk_limit >> 20,
            alarm ? "; publishers are blocked, consumers go on and free space" : "", blame);
}

static void monitor_tick(uv_timer_t *timer)
{
    slc_monitor *m = timer->data;
    slc_world_sync_clock(m->world);
    slc_broker_tick(m->world->broker);
    monitor_disk(m);
    if (m->memory_alarm || uv_now(m->world->loop) - m->memory_checked_ms >= m->memory_interval_ms)
        monitor_memory(m);
}

void slc_monitor_start(slc_monitor *monitor, slc_world *world, slc_amqp_server *amqp,
                       const char *data_dir, uint64_t memory_limit, uint64_t disk_limit,
                       uint32_t memory_interval_ms)
{
    *monitor = (slc_monitor){
        .world = world,
        .amqp = amqp,
        .data_dir = data_dir,
        .memory_limit = memory_limit,
        .disk_limit = disk_limit,
        .memory_interval_ms = memory_interval_ms,
    };
    monitor_memory(monitor);
    monitor_disk(monitor);
    uv_timer_init(world->loop, &monitor->timer);
    monitor->timer.data = monitor;
    uint64_t interval = memory_interval_ms < 1000 ? memory_interval_ms : 1000;
    uv_timer_start(&monitor->timer, monitor_tick, interval, interval);
    uv_unref((uv_handle_t *)&monitor->timer);
}

void slc_monitor_turn(slc_monitor *monitor)
{
    if (!monitor->memory_alarm && slc_message_bytes_alive() > monitor->memory_limit)
        monitor_memory(monitor);
    slc_store_stats stats;
    slc_store_stat(monitor->world->store, &stats);
    if (stats.bytes_written - monitor->written_at_check >= DISK_CHECK_BYTES) {
        monitor->written_at_check = stats.bytes_written;
        monitor_disk(monitor);
    }
    if (monitor->world->disk_full != monitor->disk_alarm && monitor->world->disk_full)
        monitor_disk(monitor);
}

void slc_monitor_limits(slc_monitor *monitor, uint64_t memory_limit, uint64_t disk_limit)
{
    monitor->memory_limit = memory_limit;
    monitor->disk_limit = disk_limit;
    monitor_memory(monitor);
    monitor_disk(monitor);
}

void slc_monitor_stop(slc_monitor *monitor)
{
    uv_close((uv_handle_t *)&monitor->timer, NULL);
}
