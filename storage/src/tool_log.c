// The log in a survey: which chunks can be read, where it ends, and what lives after its replay. The rules are those of
// recovery (recover.c); what recovery refuses is damage here, and the survey goes on behind it.
#include "tool_survey.h"

#include <stdio.h>

static const char *const unknown_targets = "what else was in it cannot be told";

/* ---- chunks ---- */

static void qid_note(tool_shard *shard, uint32_t qid)
{
    if (qid > shard->highest_qid)
        shard->highest_qid = qid;
}

// QNEW and the entry are written in one transaction, and so are QDEL and its end: one without the other is damage.
static void queue_note(tool_shard *shard, const slc_record *record)
{
    tool_queue *queue = slc_tool_queue(shard, record->queue.qid);
    if (record->type == SLC_RECORD_QDEL) {
        if (queue != NULL && queue->missing) {
            slc_free(queue->what);
            queue->what = NULL;
            queue->known = queue->missing = false;
        }
        return;
    }
    if (queue == NULL)
        queue = slc_tool_queue_missing(shard, record->queue.qid);
    if (queue->what == NULL || queue->uuid_from_log)
        return;
    queue->value.uuid = record->queue.uuid;
    queue->known = queue->uuid_from_log = true;
}

static void record_note(tool_shard *shard, const slc_record *record)
{
    if (record->type == SLC_RECORD_DROP)
        qid_note(shard, record->drop.qid);
    for (uint32_t i = 0; record->type == SLC_RECORD_ENQ && i < record->enq.targets; i++) {
        uint32_t qid = slc_record_target(record, i).qid;
        qid_note(shard, qid);
        if (shard->torn[DB_QUE] && qid != 0 && slc_tool_queue(shard, qid) == NULL)
            (void)slc_tool_queue_missing(shard, qid);
    }
    if (record->type != SLC_RECORD_QNEW && record->type != SLC_RECORD_QDEL)
        return;
    qid_note(shard, record->queue.qid);
    queue_note(shard, record);
}

// NULL: every record of the body can be read.
static char *records_check(tool_survey *s, tool_shard *shard, const slc_chunk_head *head,
                           slc_slice body)
{
    uint32_t records = 0;
    for (; body.bytes > 0; records++) {
        slc_record record;
        slc_error error = {0};
        slc_err rc = slc_record_next(&body, &record, &error);
        if (rc == SLC_EVERSION)
            s->newer = true;
        if (rc != SLC_OK)
            return slc_strdup(error.text);
        if (record.type == SLC_RECORD_PART)
            return slc_strdup("a part of a large content stands in the log");
        if (record.type == SLC_RECORD_ENQ && (record.flags & SLC_ENQ_RESIDENT) != 0 &&
            (record.enq.resident_parts == 0 || record.enq.resident_lsn == 0 ||
             record.enq.resident_lsn >= head->lsn ||
             record.enq.resident_parts > head->lsn - record.enq.resident_lsn))
            return slc_strdup("a large message names parts that are not in front of it");
        record_note(shard, &record);
    }
    return records == head->records
               ? NULL
               : slc_tool_text("it has %" PRIu32 " records and says %u", records, head->records);
}

typedef struct log_reading {
    tool_survey *s;
    tool_shard *shard;
} log_reading;

static void chunk_stray(tool_survey *s, tool_shard *shard, tool_chunk *chunk, uint64_t before)
{
    tool_damage d = {.shard = shard};
    snprintf(d.where, sizeof d.where, "%04x.log, behind key %016" PRIx64, shard->id, before);
    snprintf(d.what, sizeof d.what, "there is a chunk whose number cannot be told");
    snprintf(d.means, sizeof d.means,
             "what is in it is lost; the gap tells which one it was; salvage leaves it out");
    slc_tool_damage(s, &d);
    chunk->stray = true;
}

// The number of the last chunk that has one. A chunk that is whole knows its number; one in front of it that is not
// and claims a higher one is under a damaged key.
static uint64_t chunk_before(tool_survey *s, tool_shard *shard, const tool_chunk *next)
{
    uint32_t i = shard->chunk_count;
    for (; i > 0; i--) {
        tool_chunk *chunk = &shard->chunks[i - 1];
        if (chunk->stray)
            continue;
        if (!next->ok || chunk->ok || chunk->lsn < next->lsn)
            return chunk->lsn;
        uint32_t k = i - 1;
        while (k > 0 && shard->chunks[k - 1].stray)
            k--;
        chunk_stray(s, shard, chunk, k > 0 ? shard->chunks[k - 1].lsn : 0);
    }
    return 0;
}

static void chunk_each(const slc_pages_node *node, void *arg)
{
    log_reading *r = arg;
    tool_shard *shard = r->shard;
    tool_chunk chunk = {.bytes = (uint32_t)node->value.bytes};
    bool moved;
    bool numbered = slc_tool_lsn(shard, node, &chunk.lsn, &moved);
    if (moved) {
        char right[40];
        snprintf(right, sizeof right, "chunk %" PRIu64, chunk.lsn);
        slc_tool_moved(r->s, shard, "log", node, right);
    }
    slc_chunk_head head;
    slc_slice body;
    slc_error error = {0};
    if (slc_chunk_open(node->value, shard->id, chunk.lsn, &head, &body, &error) == SLC_OK) {
        chunk.what = records_check(r->s, r->shard, &head, body);
        chunk.ok = chunk.what == NULL;
        chunk.flags = head.flags;
        chunk.skipped = head.skipped;
    } else {
        chunk.what = slc_strdup(error.text);
        // Its flags decide where the log ends. As found, when the rest of the head is what it should be.
        const uint8_t *data = node->value.data;
        bool plausible = node->value.bytes >= SLC_CHUNK_HEAD_BYTES &&
                         (data[1] & ~(SLC_CHUNK_BATCH_BEGIN | SLC_CHUNK_BATCH_END)) == 0 &&
                         slc_get64(data + 8) == chunk.lsn;
        chunk.flags = plausible ? data[1] : SLC_CHUNK_BATCH_END;
    }
    if (moved) {
        chunk.copy = slc_alloc(node->value.bytes);
        memcpy(chunk.copy, node->value.data, node->value.bytes);
        *STORE_PUSH(shard->moved_chunks, shard->moved_chunk_count, shard->moved_chunk_capacity) =
            chunk;
        return;
    }
    uint64_t before = chunk_before(r->s, shard, &chunk);
    if (!numbered || chunk.lsn <= before)
        chunk_stray(r->s, shard, &chunk, before);
    *STORE_PUSH(shard->chunks, shard->chunk_count, shard->chunk_capacity) = chunk;
}

// Put one that stood under a wrong key where it belongs. One that stands there already has the better right.
static void chunk_return(tool_shard *shard, tool_chunk *moved)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < shard->chunk_count; i++) {
        const tool_chunk *chunk = &shard->chunks[i];
        if (!chunk->stray && chunk->lsn == moved->lsn) {
            slc_free(moved->what);
            slc_free(moved->copy);
            return;
        }
        if (!chunk->stray && chunk->lsn < moved->lsn)
            at = i + 1;
    }
    (void)STORE_PUSH(shard->chunks, shard->chunk_count, shard->chunk_capacity);
    memmove(&shard->chunks[at + 1], &shard->chunks[at],
            (shard->chunk_count - 1 - at) * sizeof *shard->chunks);
    shard->chunks[at] = *moved;
}

static void gap_report(tool_survey *s, const tool_shard *shard, uint64_t first, uint64_t last)
{
    tool_damage d = {.shard = shard};
    snprintf(d.where, sizeof d.where, "%04x.log, key %016" PRIx64, shard->id, first);
    if (first == last)
        snprintf(d.what, sizeof d.what, "chunk %" PRIu64 " is missing", first);
    else
        snprintf(d.what, sizeof d.what, "chunks %" PRIu64 " to %" PRIu64 " are missing", first,
                 last);
    snprintf(
        d.means, sizeof d.means,
        "the messages in them are lost and cannot be told; messages that they settled come back. "
        "Salvage closes the gap");
    d.uncounted = true;
    slc_tool_damage(s, &d);
}

// The numbers in front of a chunk: those of the chunk before it, or passed over.
static void order_check(tool_survey *s, tool_shard *shard)
{
    uint64_t expected = shard->state_rebuilt ? 0 : shard->state.log_start;
    bool begun = false;
    for (uint32_t i = 0; i < shard->chunk_count; i++) {
        tool_chunk *chunk = &shard->chunks[i];
        uint64_t from = chunk->lsn - (chunk->ok ? chunk->skipped : 0);
        if (chunk->stray)
            continue;
        bool front = !begun;
        begun = true;
        if (expected == 0) {
            expected = chunk->lsn + 1;
            continue;
        }
        if (!chunk
                 ->ok) // how many it passed over is not known; all of them is what salvage will say
            from = chunk->lsn < expected ? chunk->lsn : expected;
        if ((chunk->ok && chunk->skipped >= chunk->lsn) || chunk->lsn < expected ||
            (!front && from < expected)) {
            tool_damage d = {.shard = shard};
            snprintf(d.where, sizeof d.where, "%04x.log, key %016" PRIx64, shard->id, chunk->lsn);
            if (front)
                snprintf(d.what, sizeof d.what,
                         "the log begins with chunk %" PRIu64 ", and the shard state says %" PRIu64,
                         chunk->lsn, expected);
            else
                snprintf(d.what, sizeof d.what,
                         "chunk %" PRIu64 " claims numbers of the chunk in front of it",
                         chunk->lsn);
            snprintf(d.means, sizeof d.means,
                     "the log cannot be followed; no message is lost; salvage numbers it right");
            slc_tool_damage(s, &d);
        } else if (from > expected) {
            gap_report(s, shard, expected, from - 1);
        }
        expected = chunk->lsn + 1;
    }
}

static void end_find(tool_survey *s, tool_shard *shard)
{
    shard->end_lsn = 0;
    uint32_t count = shard->chunk_count;
    while (count > 0 && (shard->chunks[count - 1].stray ||
                         (shard->chunks[count - 1].flags & SLC_CHUNK_BATCH_END) == 0))
        count--;
    if (count > 0)
        shard->end_lsn = shard->chunks[count - 1].lsn;
    else if (shard->state.log_start > 0)
        shard->end_lsn = shard->state.log_start - 1;
    s->report->unfinished += shard->chunk_count - count;
}

void slc_tool_log_read(tool_survey *s, tool_shard *shard)
{
    log_reading r = {.s = s, .shard = shard};
    char name[16];
    snprintf(name, sizeof name, "%04x.log", shard->id);
    if (!shard->has[DB_LOG])
        return;
    uint64_t found =
        slc_pages_walk(&s->pages, name, &shard->trees[DB_LOG], true, false, 0, chunk_each, &r);
    if (!shard->torn[DB_LOG] && found != shard->trees[DB_LOG].entries)
        s->pages.damaged(name, UINT64_MAX, "it has another number of entries than it says",
                         s->pages.arg);
    for (uint32_t i = 0; i < shard->moved_chunk_count; i++)
        chunk_return(shard, &shard->moved_chunks[i]);
    slc_free(shard->moved_chunks);
    shard->moved_chunks = NULL;
    shard->moved_chunk_count = shard->moved_chunk_capacity = 0;
}

/* ---- in order ---- */

typedef struct log_walk {
    tool_shard *shard;
    uint32_t at; // index of the next chunk
    slc_tool_chunk_each each;
    void *arg;
} log_walk;

static void walk_copies(log_walk *w)
{
    for (; w->at < w->shard->chunk_count && w->shard->chunks[w->at].copy != NULL; w->at++) {
        tool_chunk *chunk = &w->shard->chunks[w->at];
        w->each(chunk, slc_slice_of(chunk->copy, chunk->bytes), w->arg);
    }
}

static void walk_each(const slc_pages_node *node, void *arg)
{
    log_walk *w = arg;
    uint64_t lsn;
    bool moved;
    (void)slc_tool_lsn(w->shard, node, &lsn, &moved);
    if (moved)
        return;
    walk_copies(w);
    SLC_ASSERT(w->at < w->shard->chunk_count); // the same entries as the first time
    w->each(&w->shard->chunks[w->at++], node->value, w->arg);
}

void slc_tool_log_walk(tool_survey *s, tool_shard *shard, slc_tool_chunk_each each, void *arg)
{
    log_walk w = {.shard = shard, .each = each, .arg = arg};
    char name[16];
    snprintf(name, sizeof name, "%04x.log", shard->id);
    if (shard->has[DB_LOG])
        (void)slc_pages_walk(&s->pages, name, &shard->trees[DB_LOG], false, false, 0, walk_each,
                             &w);
    walk_copies(&w);
}

/* ---- replay ---- */

static uint32_t entry_from(const tool_queue *queue, uint64_t qseq)
{
    uint32_t low = 0, high = queue->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (queue->entries[middle].qseq < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Kill what lives in [first, last]; or only count it.
static uint64_t range_drop(tool_shard *shard, tool_queue *queue, uint64_t first, uint64_t last,
                           bool apply)
{
    uint64_t live = 0;
    for (uint32_t i = entry_from(queue, first); i < queue->count && queue->entries[i].qseq <= last;
         i++) {
        live += !queue->entries[i].dead;
        queue->entries[i].dead |= apply;
    }
    for (uint32_t i = 0; apply && i < queue->lost_count; i++)
        queue->lost[i].dead |= queue->lost[i].qseq >= first && queue->lost[i].qseq <= last;
    for (uint32_t i = queue->segment_from; i < queue->segment_to; i++) {
        tool_segment *segment = &shard->segments[i];
        if (segment->first > last)
            break;
        if (segment->last < first || !segment->record_ok)
            continue;
        uint64_t from = first > segment->first ? first : segment->first;
        uint64_t to = last < segment->last ? last : segment->last;
        for (uint64_t q = from; q <= to; q++) {
            if (slc_tool_segment_dead(segment, q))
                continue;
            live++;
            if (apply)
                slc_tool_segment_kill(segment, q);
        }
    }
    return live;
}

static uint64_t drop_record(tool_shard *shard, const slc_record *record, bool apply)
{
    uint64_t live = 0;
    tool_queue *queue = slc_tool_queue(shard, record->drop.qid);
    for (uint32_t i = 0; queue != NULL && i < record->drop.ranges; i++) {
        uint64_t first;
        uint32_t count;
        slc_record_range(record, i, &first, &count);
        if (count > 0 && first <= UINT64_MAX - count)
            live += range_drop(shard, queue, first, first + count - 1, apply);
    }
    return live;
}

// The queue in which a target lives in the log. One whose segment is lost and that stands in the log still is not lost.
static tool_queue *target_queue(tool_shard *shard, const slc_store_target *target)
{
    tool_queue *queue = target->qid == 0 ? NULL : slc_tool_queue(shard, target->qid);
    tool_segment *segment = queue == NULL ? NULL : slc_tool_segment_at(shard, queue, target->qseq);
    if (segment == NULL)
        return queue;
    if (!segment->lost)
        return NULL;
    slc_tool_segment_kill(segment, target->qseq);
    return queue;
}

static bool enq_apply(tool_shard *shard, uint64_t lsn, const slc_record *record)
{
    for (uint32_t i = 0; i < record->enq.targets; i++) {
        slc_store_target target = slc_record_target(record, i);
        tool_queue *queue = target_queue(shard, &target);
        if (queue == NULL)
            continue;
        if (target.qseq == 0 ||
            (queue->count > 0 && queue->entries[queue->count - 1].qseq >= target.qseq))
            return false;
        *STORE_PUSH(queue->entries, queue->count, queue->capacity) =
            (tool_entry){.qseq = target.qseq,
                         .lsn = lsn,
                         .bytes = record->enq.content_bytes,
                         .resident_lsn = record->enq.resident_lsn,
                         .resident_parts = record->enq.resident_parts};
        if (queue->highest < target.qseq)
            queue->highest = target.qseq;
    }
    return true;
}

static void enq_lost(tool_shard *shard, uint32_t chunk, const slc_record *record)
{
    for (uint32_t i = 0; i < record->enq.targets; i++) {
        slc_store_target target = slc_record_target(record, i);
        tool_queue *queue = target.qid == 0 ? NULL : slc_tool_queue(shard, target.qid);
        if (queue == NULL || slc_tool_segment_at(shard, queue, target.qseq) != NULL)
            continue;
        uint32_t at = entry_from(queue, target.qseq);
        if (at < queue->count && queue->entries[at].qseq == target.qseq)
            queue->entries[at].dead = true; // applied before the mistake was seen
        *STORE_PUSH(queue->lost, queue->lost_count, queue->lost_capacity) =
            (tool_lost){.qseq = target.qseq, .chunk = chunk};
    }
}

// What a chunk without a right checksum seems to hold: to be named, never to be believed.
static void chunk_guess(tool_shard *shard, uint32_t index, slc_slice value)
{
    shard->chunks[index].unread = true;
    if (value.bytes <= SLC_CHUNK_HEAD_BYTES)
        return;
    slc_slice body = slc_chunk_body(value);
    slc_record record;
    while (body.bytes > 0 && slc_record_next(&body, &record, NULL) == SLC_OK) {
        if (record.type == SLC_RECORD_ENQ)
            enq_lost(shard, index, &record);
        else if (record.type == SLC_RECORD_DROP)
            shard->chunks[index].returned += drop_record(shard, &record, false);
    }
    shard->chunks[index].unread = body.bytes > 0;
}

static void replay_each(tool_chunk *chunk, slc_slice value, void *arg)
{
    tool_shard *shard = arg;
    uint64_t lsn = chunk->lsn;
    if (chunk->stray || lsn > shard->end_lsn)
        return;
    slc_slice body = chunk->ok ? slc_chunk_body(value) : slc_slice_of(NULL, 0);
    while (body.bytes > 0) {
        slc_record record;
        slc_err rc = slc_record_next(&body, &record, NULL);
        SLC_ASSERT(rc == SLC_OK); // records_check
        if (record.type == SLC_RECORD_ENQ && !enq_apply(shard, lsn, &record)) {
            chunk->ok = false;
            chunk->what = slc_strdup("positions in a queue do not ascend");
            break;
        }
        if (record.type == SLC_RECORD_DROP)
            (void)drop_record(shard, &record, true);
    }
    if (!chunk->ok)
        chunk_guess(shard, (uint32_t)(chunk - shard->chunks), value);
}

// As recovery: what ends earlier than the state knows has lost chunks.
static void end_check(tool_survey *s, tool_shard *shard)
{
    if (shard->state_rebuilt || shard->end_lsn >= shard->state.hw)
        return;
    tool_damage d = {.shard = shard};
    snprintf(d.where, sizeof d.where, "%04x.log, behind key %016" PRIx64, shard->id,
             shard->end_lsn);
    snprintf(d.what, sizeof d.what,
             "the last ended batch ends with chunk %" PRIu64
             ", the shard state knows one that ended with chunk %" PRIu64
             ": chunks at the end of the log are missing",
             shard->end_lsn, shard->state.hw);
    snprintf(
        d.means, sizeof d.means,
        "the messages in them are lost and cannot be told; messages that they settled come back. "
        "Salvage ends the log there");
    d.uncounted = true;
    slc_tool_damage(s, &d);
}

void slc_tool_log_replay(tool_survey *s, tool_shard *shard)
{
    order_check(s, shard);
    end_find(s, shard);
    end_check(s, shard);
    slc_tool_log_walk(s, shard, replay_each, shard);
}

/* ---- report ---- */

static void chunk_report(tool_survey *s, tool_shard *shard, uint32_t index)
{
    const tool_chunk *chunk = &shard->chunks[index];
    tool_damage d = {.shard = shard};
    slc_buffer positions = {0};
    uint32_t queues = 0, only = 0;
    tool_queue *queue, *next;
    HASH_ITER(hh, shard->queues, queue, next)
    {
        tool_ranges ranges = {0};
        for (uint32_t i = 0; i < queue->lost_count; i++)
            if (queue->lost[i].chunk == index && !queue->lost[i].dead)
                slc_tool_ranges_add(&ranges, queue->lost[i].qseq);
        slc_tool_ranges_end(&ranges);
        if (ranges.count > 0) {
            slc_buffer_format(&positions, "%squeue %" PRIu32 ": ", queues > 0 ? "; " : "",
                              queue->qid);
            slc_buffer_put(&positions, ranges.text.data, ranges.text.bytes);
            queues++;
            only = queue->qid;
        }
        d.messages += ranges.count;
        slc_tool_ranges_fini(&ranges);
    }
    d.qid = queues == 1 ? only : 0;
    d.positions = &positions;
    snprintf(d.where, sizeof d.where, "%04x.log, key %016" PRIx64, shard->id, chunk->lsn);
    snprintf(d.what, sizeof d.what, "%s", chunk->what);
    if (chunk->lsn > shard->end_lsn)
        snprintf(d.means, sizeof d.means,
                 "it is of a batch that was never finished: no message is lost");
    else
        snprintf(d.means, sizeof d.means,
                 "%" PRIu64 " messages are lost and %" PRIu64
                 " that it settled come back, as far as it can be read; %s. Salvage puts an empty "
                 "chunk in its place",
                 d.messages, chunk->returned, unknown_targets);
    d.uncounted = chunk->unread && chunk->lsn <= shard->end_lsn;
    s->report->returned += chunk->returned;
    slc_tool_damage(s, &d);
    slc_buffer_fini(&positions);
}

void slc_tool_log_report(tool_survey *s, tool_shard *shard)
{
    for (uint32_t i = 0; i < shard->chunk_count; i++)
        if (!shard->chunks[i].ok && !shard->chunks[i].stray)
            chunk_report(s, shard, i);
}
