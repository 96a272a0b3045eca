// Opening, closing and figures of a store.
#include "store_impl.h"

slc_err slc_store_open(const slc_store_options *options, slc_store **out, slc_error *error)
{
    SLC_ASSERT(options->release != NULL);
    SLC_ASSERT(options->durable != NULL);
    SLC_ASSERT(options->failed != NULL);
    SLC_ASSERT(options->space != NULL);
    slc_store *store = slc_alloc_zero(1, sizeof *store);
    store->options = *options;
    store->dir = slc_strdup(options->dir);
    store->options.dir = store->dir;
    if (store->options.batch_bytes == 0)
        store->options.batch_bytes = STORE_BATCH_BYTES;
    if (store->options.log_bytes == 0)
        store->options.log_bytes = STORE_LOG_BYTES;
    if (store->options.batch_ops == 0)
        store->options.batch_ops = STORE_BATCH_OPS;
    slc_err rc = slc_store_env_open(store, error);
    if (rc != SLC_OK)
        goto free_store;
    if (uv_sem_init(&store->wake, 0) != 0) {
        rc = slc_error_set(error, SLC_EINTERNAL, "creating a semaphore");
        goto close_env;
    }
    rc = slc_mailbox_init(&store->mailbox, store->options.loop, slc_store_mail, store);
    if (rc != SLC_OK) {
        slc_error_set(error, rc, "creating the store's mailbox");
        goto destroy_wake;
    }
    uv_timer_init(store->options.loop, &store->timer);
    store->timer.data = store;
    store->handles_open = 2;
    slc_store_env_size(store, &store->stats.file_bytes, &store->stats.free_bytes);
    *out = store;
    return SLC_OK;

destroy_wake:
    uv_sem_destroy(&store->wake);
close_env:
    slc_store_env_close(store);
free_store:
    for (uint32_t i = 0; i < store->shard_count; i++)
        slc_store_shard_free(store->shards[i]);
    slc_free(store->shards);
    slc_free(store->dir);
    slc_free(store);
    return rc;
}

static void store_free(slc_store *store)
{
    void (*done)(void *arg) = store->close_done;
    void *arg = store->close_arg;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        slc_shard *shard = store->shards[i];
        // After a failure there are contents that never were written.
        for (uint32_t k = 0; k < shard->pending_count; k++)
            slc_chunk_release(store, slc_shard_pending(shard, k));
        for (slc_upload *upload; (upload = shard->upload_first) != NULL;) {
            shard->upload_first = upload->next;
            slc_shard_upload_free(shard, upload);
        }
        slc_store_shard_free(shard);
    }
    slc_store_env_close(store);
    for (uint32_t i = 0; i < store->spare_count; i++) {
        slc_free(store->spare[i]->ops);
        slc_free(store->spare[i]->heads);
        slc_free(store->spare[i]);
    }
    uv_sem_destroy(&store->wake);
    slc_free(store->shards);
    slc_free(store->dir);
    slc_free(store);
    if (done != NULL)
        done(arg);
}

static void handle_closed(uv_handle_t *handle)
{
    slc_store *store = handle->data;
    if (--store->handles_open == 0)
        store_free(store);
}

static void mailbox_closed(uv_handle_t *handle)
{
    slc_mailbox *box = SLC_CONTAINER_OF((uv_async_t *)handle, slc_mailbox, async);
    slc_store *store = SLC_CONTAINER_OF(box, slc_store, mailbox);
    if (--store->handles_open == 0)
        store_free(store);
}

static void close_handles(slc_store *store)
{
    if (store->thread_running)
        uv_thread_join(&store->thread);
    store->thread_running = false;
    store->closing = true;
    uv_close((uv_handle_t *)&store->timer, handle_closed);
    slc_mailbox_close(&store->mailbox, mailbox_closed);
}

// Numbers that the log does not tell and that changed since the start. True: there were some.
static bool close_save(slc_store *store)
{
    uint32_t count = 0;
    for (uint32_t s = 0; s < store->shard_count; s++) {
        slc_shard *shard = store->shards[s];
        slc_shard_job *job = &shard->job;
        slc_shard_chores_reset(shard);
        job->item_count = job->upload_count = 0;
        job->end_lsn = 0;
        job->truncate_from = shard->truncate_from;
        job->work = false;
        for (uint32_t p = 0; p < shard->queue_page_count && count < STORE_DELETE_MAX; p++) {
            for (uint32_t i = 0; shard->queue_pages[p] != NULL && i < STORE_QUEUE_PAGE; i++) {
                slc_squeue *queue = shard->queue_pages[p][i];
                if (queue == NULL || (queue->saved_qseq == queue->next_qseq &&
                                      queue->saved_delivered == queue->delivered))
                    continue;
                *STORE_PUSH(job->saves, job->save_count, job->save_capacity) = (slc_job_save){
                    .qid = queue->qid,
                    .value = {queue->uuid, queue->next_qseq, queue->delivered},
                };
                queue->saved_qseq = queue->next_qseq;
                queue->saved_delivered = queue->delivered;
                slc_shard_unsaved_remove(shard, queue);
                job->work = true;
                if (++count == STORE_DELETE_MAX)
                    break;
            }
        }
        job->state = (slc_shard_state){
            .log_start = shard->log_first,
            .next_qid = shard->next_qid,
            .next_res = 1,
            .hw = shard->ended_lsn,
            .log_bytes = shard->log_bytes,
        };
    }
    return count > 0;
}

static void stop_thread(slc_store *store, bool clean)
{
    for (uint32_t i = 0; i < store->shard_count; i++)
        store->shards[i]->job.work = false;
    store->clean_done = true;
    store->job.drops_only = store->job.restore_ballast = store->job.sync_only = false;
    store->job.mark_clean = clean;
    store->job.stop = true;
    slc_store_job_give(store);
}

void slc_store_close_step(slc_store *store)
{
    enum { ATTEMPTS = 20 };
    if (!store->close_asked || store->busy || store->closing)
        return;
    if (!store->thread_running || store->clean_done) {
        if (store->reads_open == 0)
            close_handles(store);
        return;
    }
    if (store->failed) {
        stop_thread(store, false);
        return;
    }
    if (store->unsynced && (store->blocked || !slc_store_has_pending(store))) {
        slc_store_flush(store);
        return;
    }
    if (slc_store_has_pending(store)) {
        if (!store->blocked)
            slc_store_handover(store, false);
        else if (++store->close_attempts > ATTEMPTS)
            stop_thread(store, false); // no room: what was not confirmed is lost
        else
            slc_store_flush(store); // sets the timer
        return;
    }
    if (store->notify_posted || store->reads_open > 0)
        return;
    if (close_save(store)) {
        store->job.drops_only = store->job.restore_ballast = store->job.mark_clean =
            store->job.stop = store->job.sync_only = false;
        slc_store_job_give(store);
        return;
    }
    stop_thread(store, true);
}

void slc_store_close(slc_store *store, void (*done)(void *arg), void *arg)
{
    SLC_ASSERT(!store->close_asked);
    for (uint32_t i = 0; i < store->shard_count; i++)
        SLC_ASSERT(!store->shards[i]->atomic);
    store->close_asked = true;
    store->close_done = done;
    store->close_arg = arg;
    // Cancelled submissions that nobody reported yet.
    slc_store_flush(store);
    slc_store_close_step(store);
}

void slc_store_stat(const slc_store *store, slc_store_stats *out)
{
    *out = store->stats;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        const slc_shard *shard = store->shards[i];
        out->log_bytes += shard->log_bytes;
        out->log_chunks += shard->ended_lsn + 1 - shard->log_first;
        for (uint32_t k = shard->handed; k < shard->pending_count; k++)
            out->batch_ops_open += slc_shard_pending(shard, k)->live_ops;
        for (const slc_upload *u = shard->upload_waiting; u != NULL; u = u->next) {
            out->batch_ops_open++;
            out->live_messages += u->target_count;
            out->live_bytes += u->target_count * u->run->data_bytes;
        }
    }
    out->jobs_in_flight = store->busy;
    out->map_bytes = store->map_size;
}
