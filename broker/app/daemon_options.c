// Settings become the options of the parts, at start and at a reload; and what the users' part asks back of the others.
#include <stdio.h>
#include <string.h>

#include "app/daemon_impl.h"
#include "app/user_events.h"
#include "core/permission.h"

uint64_t slc_daemon_memory_total(const slc_settings *s)
{
    return s->memory_total_override_bytes > 0 ? s->memory_total_override_bytes : slc_total_memory();
}

uint64_t slc_daemon_memory_limit(const slc_settings *s)
{
    if (s->memory_watermark_is_absolute)
        return s->memory_watermark_absolute;
    return (uint64_t)((double)slc_daemon_memory_total(s) * s->memory_watermark_relative);
}

uint64_t slc_daemon_disk_limit(const slc_settings *s)
{
    if (!s->disk_free_limit_is_relative)
        return s->disk_free_limit_bytes;
    return (uint64_t)((double)slc_daemon_memory_total(s) * s->disk_free_limit_relative);
}

void slc_daemon_amqp_settings(const slc_settings *s, slc_amqp_settings *out)
{
    *out = (slc_amqp_settings){
        .heartbeat_s = s->heartbeat_s,
        .channel_max = s->channel_max,
        .frame_max = s->frame_max_bytes,
        .initial_frame_max = s->initial_frame_max_bytes,
        .max_message_bytes = s->max_message_bytes,
        .handshake_timeout_ms = s->handshake_timeout_ms,
        .connections_max = (uint32_t)s->max_connections,
        .channels_max = s->channel_max_per_node,
        .node = s->node_name,
        .product = s->product,
        .version = s->product_version,
        .cluster_name = s->cluster_name,
        .mechanisms = s->mechanisms,
        .anonymous_user = s->anonymous_user,
        .anonymous_pass = s->anonymous_pass,
        .require_tls = s->auth_require_tls,
        .cert_login = s->cert_login,
        .cert_san = s->cert_san,
        .cert_san_index = s->cert_san_index,
    };
}

static bool auth_loopback_only(void *arg, slc_slice user)
{
    const slc_daemon *d = arg;
    return slc_settings_loopback_only(d->settings, user);
}

static void auth_propose(void *arg, const slc_change *changes, uint32_t count,
                         void (*done)(slc_err rc, void *done_arg), void *done_arg)
{
    slc_daemon *d = arg;
    slc_world_propose(&d->world, changes, count, done, done_arg);
}

static const char *auth_actor(void *arg)
{
    const slc_daemon *d = arg;
    return slc_broker_actor(d->world.broker);
}

static void auth_act_as(void *arg, const char *user)
{
    slc_daemon *d = arg;
    slc_broker_act_as(d->world.broker, user);
}

static bool auth_vhost_stays(void *arg, slc_slice name)
{
    const slc_daemon *d = arg;
    const slc_vhost *vhost = slc_broker_vhost(d->world.broker, name);
    return vhost != NULL && !slc_vhost_is_doomed(vhost);
}

static void auth_changed(void *arg)
{
    slc_daemon *d = arg;
    slc_broker_permissions_changed(d->world.broker);
}

static void auth_user_deleted(void *arg, slc_slice user)
{
    slc_daemon *d = arg;
    char reason[300];
    snprintf(reason, sizeof reason, "user '%.*s' was deleted", SLC_SLICE_FMT(user));
    slc_broker_close_user(d->world.broker, user, reason);
}

static void auth_event(void *arg, const slc_auth_event *event)
{
    const slc_daemon *d = arg;
    slc_user_event(d->world.broker, event);
    if (strcmp(event->name, "user.tags.set") == 0)
        slc_broker_impersonator(d->world.broker, event->user->name,
                                (event->user->tag_bits & SLC_AUTH_TAG_IMPERSONATOR) != 0);
}

/** A vhost is deleted: what its users may do there goes with it. */
void slc_daemon_vhost_gone(slc_slice vhost, void (*drop)(void *sink, slc_slice key), void *sink,
                           void *arg)
{
    const slc_daemon *d = arg;
    slc_auth_changes changes = {0};
    slc_auth_changes_drop_vhost(d->auth, vhost, &changes);
    for (uint32_t i = 0; i < changes.count; i++)
        drop(sink, changes.items[i].key);
    slc_auth_changes_fini(&changes);
}

void slc_daemon_auth_options(slc_daemon *d, const slc_settings *s, slc_auth_options *out)
{
    *out = (slc_auth_options){
        .loop = &d->loop,
        .cache_ttl_ms = s->auth_cache_ttl_ms,
        .failure_delay_ms = s->auth_failure_delay_ms,
        .max_failures_per_minute = s->auth_max_failures_per_minute,
        .hashing = (slc_auth_hashing)s->password_hashing,
        .credentials = s->credentials,
        .loopback_only = auth_loopback_only,
        .propose = auth_propose,
        .actor = auth_actor,
        .act_as = auth_act_as,
        .changed = auth_changed,
        .user_deleted = auth_user_deleted,
        .event = auth_event,
        .vhost_stays = auth_vhost_stays,
        .arg = d,
    };
}

void slc_daemon_broker_limits(slc_broker *broker, const slc_settings *s)
{
    slc_broker_limits limits = {
        .vhosts = s->vhost_max,
        .queues = s->cluster_queue_limit,
        .exchanges = s->cluster_exchange_limit,
        .default_queue_type = s->default_queue_type,
    };
    slc_broker_set_limits(broker, &limits);
}

static slc_store_flush_mode flush_mode(const slc_settings *s)
{
    switch (s->store_flush) {
    case SLC_SETTINGS_FLUSH_FULL:
        return SLC_STORE_FLUSH_FULL;
    case SLC_SETTINGS_FLUSH_INTERVAL:
        return SLC_STORE_FLUSH_INTERVAL;
    case SLC_SETTINGS_FLUSH_GROUP:
        break;
    }
    return SLC_STORE_FLUSH_GROUP;
}

slc_auth_first slc_daemon_first_user(const slc_settings *s)
{
    return (slc_auth_first){
        .user = s->default_user,
        .password = s->default_pass,
        .tags = s->default_tags,
        .vhost = s->default_vhost,
        .configure = s->default_configure,
        .write = s->default_write,
        .read = s->default_read,
    };
}

void slc_daemon_world_options(const slc_daemon *d, slc_world_options *out)
{
    const slc_settings *s = d->settings;
    *out = (slc_world_options){
        .data_dir = d->instance.dir,
        .map_size = s->store_map_bytes,
        .log_bytes = s->store_log_bytes,
        .cache_bytes = s->cache_bytes,
        .window_bytes = s->window_bytes,
        .flush = flush_mode(s),
        .flush_interval_ms = s->store_flush_interval_ms,
        .overflow_priority_head = s->overflow_priority_head,
        .ttl_head_only = s->ttl_head_only,
        .on_mismatch = (slc_on_mismatch)s->on_mismatch,
        .due_max_ms = s->due_max_ms,
        .nack_uncounted = !s->delivery_limit_count_nack,
        .x_death_trusted = s->x_death_trust_client || slc_settings_emulates_before(s, 4, 0, 0),
        .passive_needs_nothing = slc_settings_emulates_before(s, 4, 2, 6),
        .x_death_drops_cc = slc_settings_emulates_before(s, 3, 13, 0),
        .default_prefetch = s->default_consumer_prefetch,
        .unknown_type_ends_connection = slc_settings_emulates_before(s, 3, 13, 3),
        .sac_loose = !s->sac_strict,
        .session_consumers_max = s->consumer_max_per_channel,
        .ack_timeout_ms = s->consumer_timeout_ms,
        .default_vhost = s->default_vhost,
        .node = s->node_name,
        .event_vhost = s->event_vhost,
        .log_lines = s->log.lines,
        .vhost_new = slc_vhost_seeds_begin,
        .vhost_new_arg = d->vhost_seeds,
        .first_user = s->load_definitions == NULL ? slc_daemon_first_user(s) : (slc_auth_first){0},
    };
}
