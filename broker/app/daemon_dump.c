// SIGUSR2: the state of the daemon in a few lines of the log, for when nothing answers any more but the loop.
#include <inttypes.h>
#include <stdio.h>

#include "app/daemon_impl.h"
#include "base/log.h"
#include "core/growers.h"

static const char *alarm_text(bool on)
{
    return on ? ", alarm" : "";
}

static void dump_held(const slc_daemon *d, slc_resource resource, const char *of)
{
    slc_growers growers;
    char text[2048];
    slc_growers_find(d->world.broker, resource, &growers);
    slc_growers_text(&growers, text, sizeof text);
    slc_log(SLC_LOG_INFO, "default", "state.held", SLC_FIELDS(SLC_F_STR("resource", of)),
            "state: most %s is held by %s", of, text[0] != '\0' ? text : "nobody");
}

void slc_daemon_dump(slc_daemon *d)
{
    slc_http_status s = {0};
    slc_broker_totals t;
    slc_daemon_status(&s, d);
    slc_broker_total(d->world.broker, &t);
    slc_log(SLC_LOG_INFO, "default", "state.objects",
            SLC_FIELDS(SLC_F_U64("connections", t.connections), SLC_F_U64("channels", t.sessions),
                       SLC_F_U64("queues", t.queues), SLC_F_U64("consumers", t.consumers),
                       SLC_F_U64("ready", t.ready), SLC_F_U64("unacked", t.unacked)),
            "state: up %" PRIu64 " s, %s; %" PRIu64 " connections, %" PRIu64 " channels, %" PRIu64
            " queues, %" PRIu64 " consumers, %" PRIu64 " messages ready, %" PRIu64 " unacked",
            s.uptime_ms / 1000, s.ready ? "serving" : "not serving", t.connections, t.sessions,
            t.queues, t.consumers, t.ready, t.unacked);
    slc_log(SLC_LOG_INFO, "default", "state.resources",
            SLC_FIELDS(SLC_F_U64("memory", s.mem_used), SLC_F_U64("memory_limit", s.mem_limit),
                       SLC_F_U64("disk_free", s.disk_free),
                       SLC_F_U64("disk_free_limit", s.disk_free_limit)),
            "state: memory %" PRIu64 " of %" PRIu64 " bytes%s; disk %" PRIu64
            " bytes free, limit %" PRIu64 "%s; %" PRIu64 " of %" PRIu64 " file descriptors",
            s.mem_used, s.mem_limit, alarm_text(s.mem_alarm), s.disk_free, s.disk_free_limit,
            alarm_text(s.disk_alarm), s.fd_used, s.fd_total);
    char text[2048] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < s.store_count && used < sizeof text; i++) {
        int n = snprintf(text + used, sizeof text - used, "%s%s %" PRIu64, i > 0 ? ", " : "",
                         s.store[i].name, s.store[i].value);
        used += n > 0 ? (size_t)n : 0;
    }
    slc_log(SLC_LOG_INFO, "default", "state.store", SLC_NO_FIELDS, "state: store: %s", text);
    dump_held(d, SLC_RESOURCE_MEMORY, "memory");
    dump_held(d, SLC_RESOURCE_DISK, "disk space");
}
