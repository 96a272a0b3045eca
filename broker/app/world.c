#include "app/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"

enum { EXIT_IO = 74, SHARD = 0 };

/* ---- what core asks ---- */

static uint64_t env_now_ns(void *arg)
{
    (void)arg;
    return slc_clock_now_ns();
}

static uint64_t env_wall_ms(void *arg)
{
    const slc_world *world = arg;
    return (uint64_t)((int64_t)uv_now(world->loop) + world->wall_offset_ms);
}

static void env_random(void *arg, void *out, uint32_t bytes)
{
    (void)arg;
    slc_random_bytes(out, bytes);
}

static uint32_t env_queue_new(void *arg, const uint8_t uuid[SLC_UUID_BYTES], uint64_t *ticket)
{
    slc_world *world = arg;
    slc_uuid copy;
    memcpy(copy.octets, uuid, sizeof copy.octets);
    return slc_store_queue_new(world->store, SHARD, &copy, ticket);
}

static uint64_t env_queue_del(void *arg, uint32_t qid)
{
    slc_world *world = arg;
    return slc_store_queue_del(world->store, SHARD, qid);
}

static uint64_t env_append(void *arg, slc_message *message, const slc_env_target *targets,
                           uint32_t count)
{
    slc_world *world = arg;
    world->held_bytes += slc_message_content_bytes(message);
    slc_store_content content = {
        .data = message->content,
        .bytes = slc_message_content_bytes(message),
        .owner = slc_message_ref(message),
    };
    return slc_store_append(world->store, SHARD, &content, message->ts_ms, message->priority,
                            targets, count);
}

static uint64_t env_drop(void *arg, uint32_t qid, uint64_t qseq, int reason, bool *cancelled)
{
    slc_world *world = arg;
    return slc_store_drop(world->store, SHARD, qid, qseq, (slc_drop_reason)reason, cancelled);
}

static uint64_t env_drop_range(void *arg, uint32_t qid, uint64_t first, uint64_t last, int reason)
{
    slc_world *world = arg;
    return slc_store_drop_range(world->store, SHARD, qid, first, last, (slc_drop_reason)reason);
}

static void env_atomic(void *arg, bool begin)
{
    slc_world *world = arg;
    if (begin)
        slc_store_atomic_begin(world->store, SHARD);
    else
        slc_store_atomic_end(world->store, SHARD);
}

typedef struct world_read {
    slc_env_read_cb cb;
    void *arg;
} world_read;

static void world_read_done(slc_err rc, const slc_store_message *messages, uint32_t count,
                            void *arg, const slc_error *error)
{
    world_read *request = arg;
    if (rc != SLC_OK)
        slc_log(SLC_LOG_ERROR, "store", "store.read",
                SLC_FIELDS(SLC_F_STR("error", slc_err_name(rc))),
                "cannot read messages back: %s; the queue stands still at this message",
                error != NULL ? error->text : slc_err_text(rc));
    request->cb(rc, messages, count, request->arg);
    slc_free(request);
}

static void env_read(void *arg, uint32_t qid, uint64_t from_qseq, uint32_t count_max,
                     uint64_t bytes_max, slc_env_read_cb cb, void *cb_arg)
{
    slc_world *world = arg;
    world_read *request = slc_alloc(sizeof *request);
    *request = (world_read){cb, cb_arg};
    slc_store_read(world->store, SHARD, qid, from_qseq, count_max, bytes_max, world_read_done,
                   request);
}

static void env_delivered(void *arg, uint32_t qid, uint64_t highest_qseq)
{
    slc_world *world = arg;
    slc_store_delivered(world->store, SHARD, qid, highest_qseq);
}

struct slc_world_proposal {
    slc_world *world;
    char actor[256];
    void (*done)(slc_err rc, void *arg);
    void *arg;
    struct slc_world_proposal *prev, *next;
};
typedef struct slc_world_proposal world_proposal;

static void world_proposed(slc_err rc, void *arg)
{
    world_proposal *p = arg;
    slc_world *world = p->world;
    DL_DELETE(world->proposals, p);
    slc_broker_act_as(world->broker, p->actor);
    if (p->done != NULL)
        p->done(rc, p->arg);
    slc_broker_act_as(world->broker, NULL);
    slc_free(p);
}

void slc_world_propose(slc_world *world, const slc_change *changes, uint32_t count,
                       void (*done)(slc_err rc, void *done_arg), void *done_arg)
{
    world_proposal *p = slc_alloc_zero(1, sizeof *p);
    p->world = world;
    p->done = done;
    p->arg = done_arg;
    snprintf(p->actor, sizeof p->actor, "%s", slc_broker_actor(world->broker));
    DL_APPEND(world->proposals, p);
    slc_control_propose(world->control, changes, count, world_proposed, p);
}

static void env_propose(void *arg, const slc_env_change *changes, uint32_t count,
                        void (*done)(slc_err, void *), void *done_arg)
{
    slc_world_propose(arg, changes, count, done, done_arg);
}

/* ---- what the parts report ---- */

static void store_release(void *owner, void *arg)
{
    slc_world *world = arg;
    uint64_t bytes = slc_message_content_bytes(owner);
    SLC_ASSERT(world->held_bytes >= bytes);
    world->held_bytes -= bytes;
    slc_message_unref(owner);
}

static void store_durable(uint16_t shard, slc_store_ticket up_to, void *arg)
{
    slc_world *world = arg;
    (void)shard;
    slc_broker_durable(world->broker, up_to);
}

_Noreturn static void world_fail(const char *what, const slc_error *error)
{
    slc_log(SLC_LOG_ERROR, "store", "store.failed", SLC_FIELDS(SLC_F_STR("error", error->text)),
            "stopping at once: %s failed (%s). Nothing was confirmed that is not on disk. Check "
            "the disk and its cables "
            "(dmesg), then start sluiced again: it recovers by itself",
            what, error->text);
    slc_log_stop();
    _exit(EXIT_IO);
}

static void store_failed(const slc_error *error, void *arg)
{
    (void)arg;
    world_fail("writing the message store", error);
}

static void store_space(bool blocked, const slc_error *error, void *arg)
{
    slc_world *world = arg;
    world->disk_full = blocked;
    world->disk_error = error != NULL ? *error : (slc_error){0};
}

static void control_failed(const slc_error *error, void *arg)
{
    (void)arg;
    world_fail("writing the definitions", error);
}

static void control_apply(const slc_control_change *change, uint64_t index, void *arg)
{
    slc_world *world = arg;
    (void)index;
    slc_error error = {0};
    // Results come in the order of the proposals; at the start there are none.
    slc_broker_act_as(world->broker, world->proposals != NULL ? world->proposals->actor : NULL);
    slc_err rc = slc_auth_owns(change->key) ? slc_auth_apply(world->auth, change, &error)
                                            : slc_broker_apply(world->broker, change, &error);
    if (rc != SLC_OK) {
        slc_log(SLC_LOG_ERROR, "upgrade", "definitions.unreadable",
                SLC_FIELDS(SLC_F_STR("error", slc_err_name(rc))), "stopping: %s", error.text);
        slc_log_stop();
        _exit(rc == SLC_EVERSION ? 78 : EXIT_IO);
    }
    slc_broker_act_as(world->broker, NULL);
}

/* ---- recovery ---- */

typedef struct recovery {
    slc_world *world;
    slc_world_recovered counts;
} recovery;

static bool recover_queue(uint16_t shard, const slc_store_queue *queue, void *arg)
{
    recovery *r = arg;
    (void)shard;
    if (!slc_broker_recover_queue(r->world->broker, queue->qid, queue->uuid.octets,
                                  queue->next_qseq, queue->messages, queue->bytes,
                                  queue->delivered_qseq))
        return false;
    r->counts.messages += queue->messages;
    r->counts.bytes += queue->bytes;
    return true;
}

/* ---- close: marks, store, definitions, broker ---- */

typedef struct closing {
    slc_world *world;
    void (*done)(void *arg);
    void *arg;
} closing;

static void control_closed(void *arg)
{
    closing *c = arg;
    c->world->control = NULL;
    world_proposal *p, *next; // that it did not come to
    DL_FOREACH_SAFE(c->world->proposals, p, next)
    {
        DL_DELETE(c->world->proposals, p);
        slc_free(p);
    }
    slc_broker_free(c->world->broker);
    c->world->broker = NULL;
    c->done(c->arg);
    slc_free(c);
}

static void store_closed(void *arg)
{
    closing *c = arg;
    c->world->store = NULL;
    if (c->world->control != NULL)
        slc_control_close(c->world->control, control_closed, c);
    else
        control_closed(c);
}

static void undone(void *arg)
{
    (void)arg;
}

/** The way back out of a world that did not open: nothing else is on the loop yet, so it can run until all is closed. */
static void world_undo(slc_world *world)
{
    closing *c = slc_alloc(sizeof *c);
    *c = (closing){world, undone, NULL};
    if (world->store != NULL)
        slc_store_close(world->store, store_closed, c);
    else
        store_closed(c);
    uv_run(world->loop, UV_RUN_DEFAULT);
}

typedef struct first_user_wish {
    void (*done)(void *arg);
    void *arg;
} first_user_wish;

static void first_user_done(slc_err rc, const slc_error *error, void *arg)
{
    first_user_wish *wish = arg;
    if (rc != SLC_OK)
        slc_log(SLC_LOG_ERROR, "auth", "auth.first_user",
                SLC_FIELDS(SLC_F_STR("error", error->text)), "nobody can log in: %s", error->text);
    wish->done(wish->arg);
    slc_free(wish);
}

static void count_vhost(slc_vhost *vhost, void *arg)
{
    (void)vhost;
    ++*(uint32_t *)arg;
}

void slc_world_first_user(slc_world *world, const slc_auth_first *first, void (*done)(void *arg),
                          void *arg)
{
    if (slc_auth_user_count(world->auth) > 0) {
        done(arg);
        return;
    }
    if (!world->first_start) {
        slc_log(SLC_LOG_WARN, "auth", "auth.no_users", SLC_NO_FIELDS,
                "there are no users, so nobody can log in over the network; add one with "
                "'sluicectl add_user' and 'sluicectl set_permissions'");
        done(arg);
        return;
    }
    slc_log(SLC_LOG_INFO, "auth", "auth.first_user", SLC_FIELDS(SLC_F_STR("user", first->user)),
            "first start: creating user '%s'", first->user);
    first_user_wish *wish = slc_alloc(sizeof *wish);
    *wish = (first_user_wish){done, arg};
    slc_auth_first_user(world->auth, first, first_user_done, wish);
}

void slc_world_turn(slc_world *world)
{
    if (world->held_bytes > world->window_bytes)
        slc_broker_flow(world->broker, true);
    else if (world->held_bytes <= world->window_bytes / 2)
        slc_broker_flow(world->broker, false);
}

uint64_t slc_world_wall_ms(const slc_world *world)
{
    return (uint64_t)((int64_t)uv_now(world->loop) + world->wall_offset_ms);
}

void slc_world_sync_clock(slc_world *world)
{
    // Against what uv_now() would say if it were read at this moment: the loop's own time may be some milliseconds old,
    // and the wall clock would run ahead by that, and a delayed message come too early.
    world->wall_offset_ms =
        (int64_t)slc_clock_wall_ms() - (int64_t)(slc_clock_now_ns() / SLC_NS_PER_MS);
}

slc_err slc_world_open(slc_world *world, const slc_world_options *options,
                       slc_world_recovered *recovered, slc_error *error)
{
    world->window_bytes = options->window_bytes;
    slc_world_sync_clock(world);
    slc_broker_options broker_options = {
        .env =
            {
                .arg = world,
                .now_ns = env_now_ns,
                .wall_ms = env_wall_ms,
                .random = env_random,
                .store_queue_new = env_queue_new,
                .store_queue_del = env_queue_del,
                .store_append = env_append,
                .store_drop = env_drop,
                .store_atomic = env_atomic,
                .store_drop_range = env_drop_range,
                .store_read = env_read,
                .store_delivered = env_delivered,
                .propose = env_propose,
            },
        .cache_bytes = options->cache_bytes,
        .overflow_priority_head = options->overflow_priority_head,
        .ttl_head_only = options->ttl_head_only,
        .on_mismatch = options->on_mismatch,
        .due_max_ms = options->due_max_ms,
        .nack_uncounted = options->nack_uncounted,
        .x_death_trusted = options->x_death_trusted,
        .passive_needs_nothing = options->passive_needs_nothing,
        .x_death_drops_cc = options->x_death_drops_cc,
        .default_prefetch = options->default_prefetch,
        .unknown_type_ends_connection = options->unknown_type_ends_connection,
        .sac_loose = options->sac_loose,
        .session_consumers_max = options->session_consumers_max,
        .ack_timeout_ms = options->ack_timeout_ms,
        .default_vhost = options->default_vhost,
        .node = options->node,
        .event_vhost = options->event_vhost,
        .log_lines = options->log_lines,
        .vhost_new = options->vhost_new,
        .vhost_new_arg = options->vhost_new_arg,
    };
    world->broker = slc_broker_new(&broker_options);

    char dir[4096];
    snprintf(dir, sizeof dir, "%s/control", options->data_dir);
    slc_control_options control_options = {
        .dir = dir,
        .loop = world->loop,
        .apply = control_apply,
        .failed = control_failed,
        .arg = world,
    };
    slc_err rc = slc_control_open(&control_options, &world->control, error);
    if (rc != SLC_OK)
        goto undo;
    rc = slc_control_load(world->control, error);
    if (rc != SLC_OK)
        goto undo;

    snprintf(dir, sizeof dir, "%s/store", options->data_dir);
    slc_store_options store_options = {
        .dir = dir,
        .loop = world->loop,
        .map_size = options->map_size,
        .flush = options->flush,
        .flush_interval_ms = options->flush_interval_ms,
        .log_bytes = options->log_bytes,
        .release = store_release,
        .durable = store_durable,
        .failed = store_failed,
        .space = store_space,
        .arg = world,
    };
    rc = slc_store_open(&store_options, &world->store, error);
    if (rc != SLC_OK)
        goto undo;
    recovery r = {.world = world};
    rc = slc_store_recover(world->store, recover_queue, &r, error);
    if (rc != SLC_OK)
        goto undo;
    slc_broker_totals
        totals; // the store has more: of a priority queue each level, and delayed exchanges
    slc_broker_total(world->broker, &totals);
    r.counts.queues = totals.queues;
    *recovered = r.counts;
    uint32_t vhosts = 0;
    slc_broker_each_vhost(world->broker, count_vhost, &vhosts);
    world->first_start = vhosts == 0;
    // Before the default vhost is proposed: after a crash between the two there is a user without a vhost, never a vhost that
    // nobody can enter.
    if (options->first_user.user != NULL) {
        // As RabbitMQ: no start, before anything is created.
        if (world->first_start && slc_auth_user_count(world->auth) == 0)
            rc = slc_auth_password_allowed(world->auth, slc_slice_str(options->first_user.user),
                                           slc_slice_str(options->first_user.password), error);
        if (rc != SLC_OK) {
            slc_error_wrap(error, "default_pass of user '%s'", options->first_user.user);
            goto undo;
        }
        slc_world_first_user(world, &options->first_user, undone, NULL);
    }
    slc_broker_start(world->broker);
    return SLC_OK;

undo:
    world_undo(world);
    return rc;
}

void slc_world_close(slc_world *world, void (*done)(void *arg), void *arg)
{
    closing *c = slc_alloc(sizeof *c);
    *c = (closing){world, done, arg};
    slc_broker_stop(world->broker);
    slc_store_close(world->store, store_closed, c);
}
