#include "app/status.h"

#include <assert.h>
#include <dirent.h>
#include <sys/resource.h>

#include "auth/sasl.h"
#include "base/alloc.h"
#include "base/clock.h"

static uint64_t open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return 0;
    uint64_t count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count > 3 ? count - 3 : 0; // ".", ".." and the one we opened to look
}

static const char *flush_name(slc_settings_flush flush)
{
    static const char *const names[] = {
        [SLC_SETTINGS_FLUSH_GROUP] = "group",
        [SLC_SETTINGS_FLUSH_FULL] = "full",
        [SLC_SETTINGS_FLUSH_INTERVAL] = "interval",
    };
    return names[flush];
}

static void status_store(slc_http_status *out, const slc_world *world)
{
    static slc_http_stat stats[32];
    slc_store_stats s;
    slc_store_stat(world->store, &s);
    const slc_http_stat all[] = {
        {"live_messages", s.live_messages},
        {"live_bytes", s.live_bytes},
        {"log_bytes", s.log_bytes},
        {"log_chunks", s.log_chunks},
        {"log_messages", s.log_messages},
        {"segments", s.segments},
        {"segment_bytes", s.segment_bytes},
        {"residents", s.residents},
        {"resident_bytes", s.resident_bytes},
        {"migrated_messages", s.migrated_messages},
        {"merged_messages", s.merged_messages},
        {"commits", s.commits},
        {"syncs", s.syncs},
        {"commit_us", s.commit_ns / 1000},
        {"batch_ops_open", s.batch_ops_open},
        {"jobs_in_flight", s.jobs_in_flight},
        {"bytes_written", s.bytes_written},
        {"cancelled", s.cancelled},
        {"file_bytes", s.file_bytes},
        {"free_bytes", s.free_bytes},
        {"map_bytes", s.map_bytes},
        {"read_longest_us", s.read_longest_ns / 1000},
    };
    static_assert(SLC_ARRAY_COUNT(all) <= SLC_ARRAY_COUNT(stats), "room for all");
    memcpy(stats, all, sizeof all);
    out->store = stats;
    out->store_count = SLC_ARRAY_COUNT(all);
}

static void status_mechanisms(slc_http_status *out, const slc_status_sources *sources)
{
    static slc_http_mechanism mechanisms[8];
    const slc_sasl_mechanism *m;
    for (uint32_t i = 0; (m = slc_sasl_at(i)) != NULL; i++) {
        SLC_ASSERT(i < SLC_ARRAY_COUNT(mechanisms));
        mechanisms[i] = (slc_http_mechanism){.name = m->name, .description = m->description};
        for (uint32_t l = 0; l < sources->listener_count; l++)
            mechanisms[i].offered |=
                slc_amqp_offers(sources->amqp, slc_slice_str(m->name),
                                slc_listener_tls(sources->listeners[l]) != NULL);
        out->mechanism_count = i + 1;
    }
    out->mechanisms = mechanisms;
}

void slc_status_fill(slc_http_status *out, const slc_status_sources *sources)
{
    static slc_http_listener listeners[2 * SLC_SETTINGS_LISTENERS_MAX];
    static const char *config_files[1];
    static const char *log_files[4];
    const slc_settings *settings = sources->settings;
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    *out = (slc_http_status){
        .uptime_ms = (slc_clock_now_ns() - sources->started_ns) / SLC_NS_PER_MS,
        .mem_used = slc_process_memory("RssAnon:"),
        .mem_rss = slc_process_memory("VmRSS:"),
        .mem_limit = sources->monitor->memory_limit,
        .mem_alarm = sources->monitor->memory_alarm,
        .disk_free = sources->monitor->disk_free,
        .disk_free_limit = sources->monitor->disk_limit,
        .disk_alarm = sources->monitor->disk_alarm,
        .disk_cause = sources->world->disk_full ? sources->world->disk_error.text : NULL,
        .fd_used = open_descriptors(),
        .fd_total = limit.rlim_cur,
        .data_dir = sources->instance->dir,
        .config_files = config_files,
        .log_files = log_files,
        .listeners = listeners,
        .listener_count = sources->listener_count,
        .store_flush = flush_name(settings->store_flush),
        .ready = sources->ready,
    };
    if (settings->config_file != NULL)
        config_files[out->config_file_count++] = settings->config_file;
    if (settings->log.file != NULL)
        log_files[out->log_file_count++] = settings->log.file;
    if (!settings->log.console_off)
        log_files[out->log_file_count++] = "<stderr>"; // as RabbitMQ says <stdout>
    if (settings->log.syslog.on)
        log_files[out->log_file_count++] = "<syslog>";
    if (settings->log.journal)
        log_files[out->log_file_count++] = "<journald>";
    for (uint32_t i = 0; i < sources->listener_count; i++) {
        listeners[i] = (slc_http_listener){
            .protocol = slc_listener_tls(sources->listeners[i]) != NULL ? "amqp/ssl" : "amqp",
            .purpose = slc_listener_tls(sources->listeners[i]) != NULL ? "AMQP 0-9-1 over TLS"
                                                                       : "AMQP 0-9-1",
            .ip = slc_listener_host(sources->listeners[i]),
            .port = slc_listener_port(sources->listeners[i]),
            .suspended = slc_listener_suspended(sources->listeners[i]),
        };
    }
    static slc_http_certificate certificates[256];
    out->certificates = certificates;
    for (size_t t = 0; t < SLC_ARRAY_COUNT(sources->tls); t++) {
        uint32_t count = 0;
        const slc_tls_cert *certs =
            sources->tls[t] != NULL ? slc_tls_certs(sources->tls[t], &count) : NULL;
        for (uint32_t i = 0; i < count && out->certificate_count < SLC_ARRAY_COUNT(certificates);
             i++)
            certificates[out->certificate_count++] =
                (slc_http_certificate){.key = certs[i].key,
                                       .file = certs[i].file,
                                       .subject = certs[i].subject,
                                       .issuer = certs[i].issuer,
                                       .serial = certs[i].serial,
                                       .not_before = certs[i].not_before,
                                       .not_after = certs[i].not_after};
    }
    status_mechanisms(out, sources);
    status_store(out, sources->world);
}
