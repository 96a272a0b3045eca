// From open chunks to a job for the store thread, and back: what a finished job changes here.
#include "store_impl.h"

bool slc_store_has_pending(const slc_store *store)
{
    for (uint32_t i = 0; i < store->shard_count; i++)
        if (store->shards[i]->pending_count > 0 || store->shards[i]->upload_first != NULL)
            return true;
    return false;
}

/* ---- building ---- */

static void job_reset(slc_shard *shard)
{
    slc_shard_job *job = &shard->job;
    slc_shard_chores_reset(shard);
    job->item_count = job->upload_count = 0;
    job->truncate_from = shard->truncate_from;
    job->end_lsn = 0;
    job->end_ticket = 0;
    job->work = false;
}

uint32_t slc_run_take(const slc_chunk *run, uint32_t part, slc_budget *budget, bool at_least_one)
{
    uint32_t left = run->lsn_count - part;
    if (run->cancelled)
        return left; // nothing is written
    uint64_t each = SLC_PART_VALUE_MAX;
    uint64_t fit =
        budget->bytes < budget->bytes_max ? (budget->bytes_max - budget->bytes) / each : 0;
    uint64_t fit_ops = budget->ops < budget->ops_max ? budget->ops_max - budget->ops : 0;
    if (fit > fit_ops)
        fit = fit_ops;
    if (fit == 0 && at_least_one)
        fit = 1;
    uint32_t take = fit < left ? (uint32_t)fit : left;
    budget->bytes += take * each;
    budget->ops += take;
    return take;
}

static bool chunk_take(const slc_chunk *chunk, slc_budget *budget)
{
    uint64_t bytes = SLC_CHUNK_HEAD_BYTES + chunk->body_bytes;
    if (budget->bytes > 0 && (budget->bytes + bytes > budget->bytes_max ||
                              budget->ops + chunk->live_ops > budget->ops_max))
        return false;
    budget->bytes += bytes;
    budget->ops += chunk->live_ops;
    return true;
}

static bool item_ends(const slc_job_item *item)
{
    return !item->chunk->glued && item->part_to == item->chunk->lsn_count;
}

// Batches end where a job ends, but never inside a glued row, and before a run, whose parts may need several jobs.
static void job_mark_batches(slc_shard *shard)
{
    slc_shard_job *job = &shard->job;
    uint32_t last_end = UINT32_MAX;
    for (uint32_t i = 0; i < job->item_count; i++)
        if (item_ends(&job->items[i]))
            last_end = i;
    for (uint32_t i = 0; i < job->item_count; i++) {
        slc_job_item *item = &job->items[i];
        item->begin = i == 0 ? !shard->in_batch : job->items[i - 1].end;
        item->end = i == last_end ||
                    (item_ends(item) && i + 1 < job->item_count && job->items[i + 1].chunk->run);
        if (item->end) {
            job->end_lsn = item->chunk->lsn + item->chunk->lsn_count - 1;
            job->end_ticket = item->chunk->last_ticket;
        }
    }
    if (job->item_count > 0)
        shard->in_batch = !job->items[job->item_count - 1].end;
}

// A job that goes on with a batch ends with it: housekeeping waits while a batch is open, and with contents that never fit into
// what is left of a job one would always be.
static void job_take_chunks(slc_shard *shard, slc_budget *budget)
{
    slc_shard_job *job = &shard->job;
    uint32_t stop = shard->drops_first > 0 ? shard->drops_first : shard->pending_count;
    while (shard->handed < stop) {
        slc_chunk *chunk = slc_shard_pending(shard, shard->handed);
        uint32_t from = shard->handed_parts, to = 1;
        if (chunk->upload_ticket > shard->uploaded_ticket)
            break; // it names parts that are not under way yet
        if (shard->in_batch && job->item_count > 0 && item_ends(&job->items[job->item_count - 1]))
            break;
        if (chunk->run) {
            uint32_t take = slc_run_take(chunk, from, budget, budget->bytes == 0);
            if (take == 0)
                break;
            to = from + take;
        } else if (!chunk_take(chunk, budget)) {
            break;
        }
        uint32_t skipped = 0;
        if (!chunk->run) {
            skipped = (uint32_t)(chunk->lsn - shard->handed_chunk - 1);
            shard->handed_chunk = chunk->lsn;
        }
        *STORE_PUSH(job->items, job->item_count, job->item_capacity) =
            (slc_job_item){.chunk = chunk, .part_from = from, .part_to = to, .skipped = skipped};
        chunk->handed = true;
        shard->handed_lsn = chunk->lsn + to - 1;
        if (to < chunk->lsn_count) {
            shard->handed_parts = to;
            break;
        }
        shard->handed_parts = 0;
        shard->handed++;
    }
}

static bool shard_build(slc_shard *shard, slc_budget *budget, bool idle, bool drops_round)
{
    slc_shard_job *job = &shard->job;
    job_reset(shard);
    if (shard->atomic)
        return false;
    if (!drops_round || shard->drops_first > 0)
        job_take_chunks(shard, budget);
    // Behind what others wait for. What became whole gets its record into the same job.
    if (!drops_round && slc_shard_uploads_take(shard, budget))
        job_take_chunks(shard, budget);
    job_mark_batches(shard);
    if (!shard->in_batch) {
        slc_shard_chores_build(shard, idle);
        if (!shard->store->blocked)
            slc_shard_migrate_build(shard, idle);
    }
    job->work = job->item_count > 0 || job->upload_count > 0 || job->truncate_from != 0 ||
                slc_shard_chores_any(shard);
    job->state = (slc_shard_state){
        .log_start = job->delete_to != 0 ? job->delete_to : shard->log_first,
        .next_qid = shard->next_qid,
        .next_res = 1,
        .hw = job->end_lsn != 0 ? job->end_lsn : shard->ended_lsn,
        .log_bytes = shard->log_bytes,
    };
    return job->work;
}

void slc_store_job_give(slc_store *store)
{
    slc_job *job = &store->job;
    job->rc = SLC_OK;
    job->error = (slc_error){0};
    job->bytes_written = job->nanoseconds = job->commits = job->syncs = 0;
    job->synced = false;
    store->busy = true;
    atomic_store(&store->more_waits, false);
    uv_sem_post(&store->wake);
}

static void notify_post(slc_store *store)
{
    if (store->notify_posted)
        return;
    store->notify_posted = true;
    slc_mailbox_post(&store->mailbox, &store->notify_mail);
}

bool slc_store_handover(slc_store *store, bool idle)
{
    SLC_ASSERT(!store->busy);
    slc_budget budget = {.bytes_max = store->options.batch_bytes,
                         .ops_max = store->options.batch_ops};
    bool work = false, drops_round = false;
    for (uint32_t i = 0; i < store->shard_count; i++)
        drops_round = drops_round || store->shards[i]->drops_first > 0;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        slc_shard *shard = store->shards[i];
        if (shard_build(shard, &budget, idle, drops_round))
            work = true;
        if (store->options.flush == SLC_STORE_FLUSH_INTERVAL && !store->blocked) {
            slc_store_ticket upto =
                shard->handed == shard->pending_count ? shard->last_ticket : shard->job.end_ticket;
            if (upto > shard->durable_ticket) {
                shard->durable_ticket = upto;
                notify_post(store);
            }
        }
    }
    if (!work)
        return false;
    store->job.drops_only = drops_round;
    store->job.restore_ballast = store->blocked && !drops_round;
    store->job.mark_clean = store->job.stop = store->job.sync_only = false;
    store->last_handover_ms = uv_now(store->options.loop);
    slc_store_job_give(store);
    return true;
}

/* ---- when to hand over ---- */

static bool store_has_open(const slc_store *store)
{
    for (uint32_t i = 0; i < store->shard_count; i++)
        if (slc_shard_has_open(store->shards[i]))
            return true;
    return false;
}

static bool store_has_chores(const slc_store *store)
{
    for (uint32_t i = 0; i < store->shard_count; i++)
        if (slc_shard_has_chores(store->shards[i]))
            return true;
    return false;
}

static void timer_set(slc_store *store, uint64_t ms)
{
    if (!uv_is_active((uv_handle_t *)&store->timer))
        uv_timer_start(&store->timer, slc_store_timer, ms, 0);
}

static bool interval_waits(slc_store *store)
{
    if (store->options.flush != SLC_STORE_FLUSH_INTERVAL || store->close_asked)
        return false;
    uint64_t due = store->last_handover_ms + store->options.flush_interval_ms;
    uint64_t now = uv_now(store->options.loop);
    uint64_t open = 0;
    for (uint32_t i = 0; i < store->shard_count; i++)
        open += (store->shards[i]->pending_count - store->shards[i]->handed) *
                (uint64_t)SLC_CHUNK_VALUE_MAX;
    if (now >= due || open >= store->options.batch_bytes)
        return false;
    timer_set(store, due - now);
    return true;
}

static void sync_give(slc_store *store)
{
    for (uint32_t i = 0; i < store->shard_count; i++)
        store->shards[i]->job.work = false;
    store->job.drops_only = store->job.restore_ballast = store->job.mark_clean = store->job.stop =
        false;
    store->job.sync_only = true;
    slc_store_job_give(store);
}

void slc_store_flush(slc_store *store)
{
    if (store->failed || !store->recovered || store->closing)
        return;
    if (store->busy) {
        if (!store->blocked && !atomic_load_explicit(&store->more_waits, memory_order_relaxed) &&
            store_has_open(store))
            atomic_store(&store->more_waits, true);
        return;
    }
    if (store->unsynced && (store->blocked || !store_has_open(store))) {
        sync_give(store);
        return;
    }
    if (store->blocked) {
        timer_set(store, STORE_RETRY_MS);
        return;
    }
    for (uint32_t i = 0; i < store->shard_count; i++) {
        slc_shard *shard = store->shards[i];
        if (slc_shard_sweeps(shard) && !shard->atomic)
            slc_shard_sweep(shard);
        // All cancelled: nothing will be written for these.
        if (shard->pending_count == 0 && !store->unsynced &&
            shard->durable_ticket < shard->last_ticket) {
            shard->committed_ticket = shard->durable_ticket = shard->last_ticket;
            notify_post(store);
        }
        if (!store->unsynced && shard->durable_upload < shard->committed_upload) {
            shard->durable_upload = shard->committed_upload;
            notify_post(store);
        }
    }
    if (store_has_open(store)) {
        if (interval_waits(store))
            return;
        if (!slc_store_handover(store, false) && store->unsynced)
            sync_give(store);
    } else if (store->close_asked) {
        slc_store_close_step(store);
    } else if (store_has_chores(store)) {
        timer_set(store, STORE_IDLE_MS);
    }
}

void slc_store_timer(uv_timer_t *timer)
{
    slc_store *store = timer->data;
    if (store->busy || store->failed || store->closing)
        return;
    if (store->blocked) {
        slc_store_space_retry(store);
        return;
    }
    for (uint32_t i = 0; i < store->shard_count; i++)
        if (!store->shards[i]->atomic)
            slc_shard_sweep(store->shards[i]);
    if (store->options.flush == SLC_STORE_FLUSH_INTERVAL && store_has_open(store) &&
        interval_waits(store))
        return;
    if (!slc_store_handover(store, true) && store_has_chores(store))
        timer_set(store, STORE_IDLE_MS);
}

/* ---- a job came back ---- */

void slc_chunk_release(slc_store *store, slc_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->op_count; i++) {
        slc_op *op = &chunk->ops[i];
        if (op->kind == OP_ENQ && op->run == NULL && (op->flags & OP_CANCELLED) == 0)
            store->options.release(op->owner, store->options.arg);
    }
    if (chunk->run && !chunk->cancelled)
        store->options.release(chunk->owner, store->options.arg);
}

static void pending_pop(slc_shard *shard, uint64_t end_lsn)
{
    while (shard->pending_count > 0) {
        slc_chunk *chunk = slc_shard_pending(shard, 0);
        if (chunk->lsn + chunk->lsn_count - 1 > end_lsn)
            break;
        SLC_ASSERT(shard->handed > 0);
        shard->pending_head++;
        shard->pending_count--;
        shard->handed--;
        if (chunk->run && chunk->slot != UINT32_MAX)
            shard->residents[chunk->slot].run = NULL;
        slc_chunk_release(shard->store, chunk);
        slc_chunk_free(shard->store, chunk);
    }
}

static void shard_committed(slc_shard *shard)
{
    slc_shard_job *job = &shard->job;
    shard->truncate_from = 0;
    for (uint32_t i = 0; i < job->item_count; i++) {
        const slc_job_item *item = &job->items[i];
        if (item->chunk->run)
            continue;
        uint32_t bytes =
            slc_store_env_takes(shard->store, SLC_CHUNK_HEAD_BYTES + item->chunk->body_bytes);
        slc_shard_lsn(shard, item->chunk->lsn)->bytes = bytes;
        shard->log_bytes += bytes;
    }
    if (job->item_count > 0)
        shard->unended = !job->items[job->item_count - 1].end;
    slc_shard_migrate_done(shard);
    slc_shard_chores_done(shard);
    if (job->end_lsn != 0) {
        shard->ended_lsn = job->end_lsn;
        shard->merge_rests = false; // drops that it had to wait for are on disk
        shard->drops_first = 0;
        pending_pop(shard, job->end_lsn);
    }
    slc_shard_uploads_written(shard);
    slc_shard_uploads_settle(shard);
    slc_store_ticket upto = shard->pending_count == 0 ? shard->last_ticket : job->end_ticket;
    if (upto > shard->committed_ticket)
        shard->committed_ticket = upto;
}

// What was committed survives a power failure from now on.
static void committed_is_durable(slc_store *store)
{
    for (uint32_t i = 0; i < store->shard_count; i++) {
        slc_shard *shard = store->shards[i];
        if (shard->durable_ticket < shard->committed_ticket)
            shard->durable_ticket = shard->committed_ticket;
        shard->durable_upload = shard->committed_upload;
    }
    store->unsynced = false;
}

static void durable_report(slc_store *store)
{
    for (uint32_t i = 0; i < store->shard_count; i++) {
        slc_shard *shard = store->shards[i];
        if (shard->reported_ticket < shard->durable_ticket) {
            shard->reported_ticket = shard->durable_ticket;
            store->options.durable(shard->id, shard->durable_ticket, store->options.arg);
        }
        if (shard->reported_upload < shard->durable_upload) {
            shard->reported_upload = shard->durable_upload;
            store->options.durable(shard->id, shard->durable_upload | SLC_TICKET_LARGE,
                                   store->options.arg);
        }
    }
}

static void store_fail(slc_store *store)
{
    store->failed = true;
    store->options.failed(&store->job.error, store->options.arg);
    if (store->close_asked)
        slc_store_close_step(store);
}

static void job_done(slc_store *store)
{
    slc_job *job = &store->job;
    store->busy = false;
    store->stats.commits += job->commits;
    store->stats.syncs += job->commits + job->syncs;
    store->stats.commit_ns += job->nanoseconds;
    store->stats.bytes_written += job->bytes_written;
    store->stats.file_bytes = job->file_bytes;
    store->stats.free_bytes = job->free_bytes;
    if (store->clean_done) {
        slc_store_close_step(store);
        return;
    }
    if (job->rc != SLC_OK && job->rc != SLC_ENOSPC) {
        store_fail(store);
        return;
    }
    // A commit, or a flush, made the commits before it durable.
    if (job->synced || job->commits > 0)
        committed_is_durable(store);
    if (job->rc == SLC_ENOSPC) {
        durable_report(store);
        slc_store_space_out(store);
        if (store->close_asked) // which does not try for ever
            slc_store_close_step(store);
        return;
    }
    for (uint32_t i = 0; i < store->shard_count; i++)
        if (store->shards[i]->job.work)
            shard_committed(store->shards[i]);
    if (job->synced)
        committed_is_durable(store);
    else
        store->unsynced = true;
    bool over = store->blocked && !job->ballast_missing && !job->drops_only;
    if (over)
        store->blocked = false;
    durable_report(store);
    if (over)
        store->options.space(false, NULL, store->options.arg);
    slc_backup_job_done(store);
    slc_store_flush(store);
    if (store->close_asked && store->blocked)
        slc_store_close_step(store);
}

void slc_store_mail(slc_mail *item, void *arg)
{
    slc_store *store = arg;
    if (item == &store->job.mail) {
        job_done(store);
        return;
    }
    SLC_ASSERT(item == &store->notify_mail);
    store->notify_posted = false;
    durable_report(store);
    if (store->close_asked)
        slc_store_close_step(store);
}
