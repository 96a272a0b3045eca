// Contents that are larger than a hand-over: their parts go to disk ahead of the batch that names them, so that what other
// publishers submit meanwhile need not wait for them.
//
//      slc_store_append ──> waiting ──parts, some in each job──> whole ──> placed ──batch on disk──> settled
//                              │                                            ^
//                              └──something behind it wants its place───────┘
//
//   waiting  Its parts have their LSNs, nothing else knows of it: no record, no entry in the index, no place in the log. Parts
//            go out in the order of the uploads. Small batches pass it by, so their LSNs are above those of parts that are
//            not written yet; a crash leaves parts that nobody names, which recovery deletes.
//   placed   Its ENQ is the last record of the open batch, with an LSN above its parts and above all that passed it by. From
//            here on it is like any other message: it is read, dropped, cancelled (when no part of it was handed over), and
//            what is submitted later stands behind it.
//   settled  The batch with the ENQ is on disk (or the message was cancelled): the content is released.
//
// What must hold:
//   - The ENQ is handed over with its last parts or later: a chunk that names parts (chunk->upload_ticket) waits until all uploads up
//     to that one were handed over whole. So a record never names parts that are not there.
//   - Positions of a queue ascend in the log: an append to a queue that a waiting upload goes to has that one placed first,
//     unless it waits as well, since uploads are placed in their order. It has its place then while parts are missing, and
//     all that is submitted later waits for them, as it has to.
//   - A drop stands behind its message, so does the end of a queue: those place it, too, and a read, which wants it in the index.
//   - Its ticket is of the shard's sequence but marked SLC_TICKET_LARGE, since later ones may be durable earlier. Uploads
//     are settled in their order, so the marked ones are cumulative among themselves.
//   - A backup copies parts in the order of their LSNs and relies on later ones having higher numbers (backup_copy.c): while one
//     runs nothing is uploaded, and it begins when no upload is left.
#include "store_impl.h"

bool slc_shard_upload_wanted(const slc_shard *shard, uint64_t bytes, uint32_t count)
{
    const slc_store *store = shard->store;
    return bytes > store->options.batch_bytes && count <= STORE_FANOUT_MAX && !shard->atomic &&
           store->options.flush != SLC_STORE_FLUSH_INTERVAL && !store->blocked &&
           store->backup == NULL;
}

void slc_shard_upload_new(slc_shard *shard, const slc_store_content *content, uint64_t ts_ms,
                          uint8_t priority, const slc_store_target *targets, uint32_t count)
{
    slc_upload *upload = slc_alloc_zero(1, sizeof *upload);
    upload->ts_ms = ts_ms;
    upload->priority = priority;
    upload->target_count = count;
    upload->targets = slc_alloc(count * sizeof *targets);
    memcpy(upload->targets, targets, count * sizeof *targets);
    // Its parts have the numbers in front of whatever comes next; the open chunk may not take records that name them.
    slc_chunk *tail = slc_shard_tail(shard);
    if (tail != NULL)
        tail->closed = true;
    upload->run = slc_shard_run_new(shard, content);
    upload->run->upload = upload;
    upload->ticket = shard->last_ticket + 1; // that of the append
    *(shard->upload_last != NULL ? &shard->upload_last->next : &shard->upload_first) = upload;
    shard->upload_last = upload;
    if (shard->upload_waiting == NULL)
        shard->upload_waiting = upload;
    for (uint32_t i = 0; i < count; i++) {
        slc_squeue *queue = slc_shard_queue(shard, targets[i].qid);
        SLC_ASSERT(queue != NULL);
        queue->upload = upload;
    }
}

void slc_shard_uploads_place(slc_shard *shard, const slc_upload *last)
{
    for (bool through = false; !through;) {
        slc_upload *upload = shard->upload_waiting;
        SLC_ASSERT(upload != NULL);
        through = upload == last;
        shard->upload_waiting = upload->next;
        upload->placed = true;
        for (uint32_t i = 0; i < upload->target_count; i++) {
            slc_squeue *queue = slc_shard_queue(shard, upload->targets[i].qid);
            if (queue->upload == upload)
                queue->upload = NULL;
        }
        slc_chunk *run = upload->run;
        // Where parts are missing, what was submitted before does not have to wait for them.
        slc_chunk *tail = slc_shard_tail(shard);
        if (tail != NULL && upload->handed < run->lsn_count)
            tail->closed = true;
        slc_chunk *chunk = slc_shard_run_enqueue(shard, run, upload->ts_ms, upload->priority,
                                                 upload->targets, upload->target_count);
        SLC_ASSERT(chunk->lsn >= run->lsn + run->lsn_count);
        upload->enq_lsn = chunk->lsn;
        chunk->upload_ticket = upload->ticket;
        chunk->last_ticket = shard->last_ticket;
        slc_free(upload->targets);
        upload->targets = NULL;
    }
}

void slc_shard_uploads_place_queue(slc_shard *shard, const slc_squeue *queue)
{
    if (queue != NULL && queue->upload != NULL)
        slc_shard_uploads_place(shard, queue->upload);
}

void slc_shard_uploads_place_message(slc_shard *shard, const slc_squeue *queue, uint64_t qseq)
{
    if (queue == NULL || queue->upload == NULL)
        return;
    for (const slc_upload *upload = shard->upload_waiting; upload != NULL; upload = upload->next)
        for (uint32_t i = 0; i < upload->target_count; i++)
            if (upload->targets[i].qid == queue->qid && upload->targets[i].qseq == qseq) {
                slc_shard_uploads_place(shard, upload);
                return;
            }
}

bool slc_shard_uploads_open(const slc_shard *shard)
{
    return shard->upload_last != NULL && shard->uploaded_ticket < shard->upload_last->ticket;
}

// Nothing of it is left to be handed over.
static bool upload_whole(const slc_upload *upload)
{
    return upload->run->cancelled || upload->handed == upload->run->lsn_count;
}

bool slc_shard_uploads_take(slc_shard *shard, slc_budget *budget)
{
    slc_shard_job *job = &shard->job;
    bool whole = false;
    if (!slc_shard_uploads_open(shard))
        return false;
    // However much is submitted beside them, they go on.
    uint64_t share = budget->bytes_max / 4;
    if (budget->bytes + share > budget->bytes_max)
        budget->bytes = budget->bytes_max - share;
    for (slc_upload *upload = shard->upload_first; upload != NULL; upload = upload->next) {
        slc_chunk *run = upload->run;
        if (!upload_whole(upload)) {
            uint32_t take = slc_run_take(run, upload->handed, budget, job->upload_count == 0);
            if (take == 0)
                return whole;
            *STORE_PUSH(job->uploads, job->upload_count, job->upload_capacity) = (slc_job_item){
                .chunk = run, .part_from = upload->handed, .part_to = upload->handed + take};
            upload->handed += take;
            run->handed = true;
            if (!upload_whole(upload))
                return whole;
        }
        if (shard->uploaded_ticket < upload->ticket) {
            shard->uploaded_ticket = upload->ticket;
            whole = true;
        }
        if (!upload->placed)
            slc_shard_uploads_place(shard, upload);
    }
    return whole;
}

void slc_shard_uploads_written(slc_shard *shard)
{
    const slc_shard_job *job = &shard->job;
    for (uint32_t i = 0; i < job->upload_count; i++)
        job->uploads[i].chunk->upload->written = job->uploads[i].part_to;
}

void slc_shard_uploads_settle(slc_shard *shard)
{
    slc_upload *upload;
    while ((upload = shard->upload_first) != NULL &&
           (upload->run->cancelled || (upload->placed && upload->enq_lsn <= shard->ended_lsn))) {
        shard->upload_first = upload->next;
        if (shard->upload_first == NULL)
            shard->upload_last = NULL;
        if (shard->uploaded_ticket < upload->ticket)
            shard->uploaded_ticket = upload->ticket;
        shard->committed_upload = upload->ticket;
        slc_shard_upload_free(shard, upload);
    }
}

void slc_shard_upload_free(slc_shard *shard, slc_upload *upload)
{
    slc_chunk *run = upload->run;
    if (run->slot != UINT32_MAX)
        shard->residents[run->slot].run = NULL;
    slc_chunk_release(shard->store, run);
    slc_chunk_free(shard->store, run);
    slc_free(upload->targets);
    slc_free(upload);
}

uint64_t slc_shard_uploads_undo(slc_shard *shard, uint64_t from)
{
    uint64_t end = 0;
    shard->job.upload_count = 0;
    shard->uploaded_ticket =
        shard->upload_first != NULL ? shard->upload_first->ticket - 1 : shard->last_ticket;
    bool whole = true;
    for (slc_upload *upload = shard->upload_first; upload != NULL; upload = upload->next) {
        slc_chunk *run = upload->run;
        if (from != 0 && run->lsn >= from)
            upload->written = 0;
        upload->handed = upload->written;
        whole = whole && upload_whole(upload);
        if (whole)
            shard->uploaded_ticket = upload->ticket;
        if (end < run->lsn + run->lsn_count)
            end = run->lsn + run->lsn_count;
    }
    return end;
}
