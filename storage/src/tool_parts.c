// Large contents in a survey: every part by itself, and whether those that live messages name are all there.
#include "tool_survey.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct part_reading {
    tool_survey *s;
    tool_shard *shard;
} part_reading;

// All but the last are of one size, which the writer chose: with it the number of parts is what it has to be.
static bool part_fits(const tool_part *part)
{
    uint64_t full = part->data_bytes;
    return part->index + 1 == part->parts ||
           (full > 0 && (part->content_bytes + full - 1) / full == part->parts);
}

static char *part_check(const tool_shard *shard, tool_part *part, slc_slice value)
{
    slc_chunk_head head;
    slc_slice body;
    slc_record record = {0};
    slc_error error = {0};
    if (slc_chunk_open(value, shard->id, part->lsn, &head, &body, &error) != SLC_OK ||
        slc_record_next(&body, &record, &error) != SLC_OK)
        return slc_strdup(error.text);
    if ((head.flags & SLC_CHUNK_RESIDENT) == 0 || record.type != SLC_RECORD_PART ||
        head.records != 1 || body.bytes > 0)
        return slc_strdup("it is not one part of a large content");
    part->first_lsn = record.part.first_lsn;
    part->index = record.part.index;
    part->parts = record.part.parts;
    part->content_bytes = record.part.content_bytes;
    part->data_bytes = (uint32_t)record.part.data.bytes;
    if (part->index >= part->parts || part->first_lsn > part->lsn ||
        part->lsn - part->first_lsn != part->index || !part_fits(part))
        return slc_strdup("its number and its place do not agree");
    return NULL;
}

static void part_stray(tool_survey *s, tool_shard *shard, tool_part *part, uint64_t before)
{
    tool_damage d = {.shard = shard};
    snprintf(d.where, sizeof d.where, "%04x.res, behind key %016" PRIx64, shard->id, before);
    snprintf(d.what, sizeof d.what, "there is a part whose number cannot be told");
    snprintf(d.means, sizeof d.means,
             "the message that needs it is named where it is missed; salvage leaves it out");
    slc_tool_damage(s, &d);
    part->stray = true;
    part->told = true;
    part->lsn = before; // behind the right one of that number, so that the order holds
}

// As chunk_before of tool_log.c.
static uint64_t part_before(tool_survey *s, tool_shard *shard, const tool_part *next)
{
    for (uint32_t i = shard->part_count; i > 0; i--) {
        tool_part *part = &shard->parts[i - 1];
        if (part->stray)
            continue;
        if (next->what != NULL || part->what == NULL || part->lsn < next->lsn)
            return part->lsn;
        part_stray(s, shard, part, i > 1 ? shard->parts[i - 2].lsn : 0);
    }
    return 0;
}

// Index of the first one that is not below.
static uint32_t part_from(const tool_shard *shard, uint64_t lsn)
{
    uint32_t low = 0, high = shard->part_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (shard->parts[middle].lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void part_each(const slc_pages_node *node, void *arg)
{
    part_reading *r = arg;
    tool_part part = {.bytes = (uint32_t)node->value.bytes};
    tool_shard *shard = r->shard;
    bool moved;
    bool numbered = slc_tool_lsn(shard, node, &part.lsn, &moved);
    if (moved) {
        char right[40];
        snprintf(right, sizeof right, "part %" PRIu64, part.lsn);
        slc_tool_moved(r->s, shard, "res", node, right);
    }
    if (r->s->deep)
        part.what = part_check(shard, &part, node->value);
    if (moved) {
        *STORE_PUSH(shard->moved_parts, shard->moved_part_count, shard->moved_part_capacity) = part;
        return;
    }
    uint64_t before = part_before(r->s, shard, &part);
    if (!numbered || part.lsn <= before)
        part_stray(r->s, shard, &part, before);
    *STORE_PUSH(shard->parts, shard->part_count, shard->part_capacity) = part;
}

// As chunk_return of tool_log.c.
static void part_return(tool_shard *shard, tool_part *moved)
{
    uint32_t at = part_from(shard, moved->lsn);
    for (uint32_t i = at; i < shard->part_count && shard->parts[i].lsn == moved->lsn; i++) {
        if (!shard->parts[i].stray) {
            slc_free(moved->what);
            return;
        }
    }
    (void)STORE_PUSH(shard->parts, shard->part_count, shard->part_capacity);
    memmove(&shard->parts[at + 1], &shard->parts[at],
            (shard->part_count - 1 - at) * sizeof *shard->parts);
    shard->parts[at] = *moved;
}

void slc_tool_parts_read(tool_survey *s, tool_shard *shard)
{
    part_reading r = {.s = s, .shard = shard};
    char name[16];
    snprintf(name, sizeof name, "%04x.res", shard->id);
    if (!shard->has[DB_RES])
        return;
    uint64_t found =
        slc_pages_walk(&s->pages, name, &shard->trees[DB_RES], true, !s->deep, 0, part_each, &r);
    if (!shard->torn[DB_RES] && found != shard->trees[DB_RES].entries)
        s->pages.damaged(name, UINT64_MAX, "it has another number of entries than it says",
                         s->pages.arg);
    for (uint32_t i = 0; i < shard->moved_part_count; i++)
        part_return(shard, &shard->moved_parts[i]);
    slc_free(shard->moved_parts);
    shard->moved_parts = NULL;
    shard->moved_part_count = shard->moved_part_capacity = 0;
}

/* ---- who needs them ---- */

typedef struct reference {
    uint64_t first_lsn, bytes, qseq;
    uint32_t parts, qid;
} reference;

typedef struct references {
    reference *list;
    uint32_t count, capacity;
} references;

static int reference_compare(const void *a, const void *b)
{
    const reference *x = a, *y = b;
    if (x->first_lsn != y->first_lsn)
        return x->first_lsn < y->first_lsn ? -1 : 1;
    if (x->qid != y->qid)
        return x->qid < y->qid ? -1 : 1;
    return x->qseq < y->qseq ? -1 : x->qseq > y->qseq;
}

static void references_find(tool_shard *shard, references *out)
{
    tool_queue *queue, *next;
    HASH_ITER(hh, shard->queues, queue, next)
    {
        for (uint32_t i = 0; queue->known && i < queue->count; i++) {
            const tool_entry *e = &queue->entries[i];
            if (!e->dead && e->resident_lsn != 0)
                *STORE_PUSH(out->list, out->count, out->capacity) =
                    (reference){e->resident_lsn, e->bytes, e->qseq, e->resident_parts, queue->qid};
        }
        for (uint32_t i = queue->segment_from; queue->known && i < queue->segment_to; i++) {
            const tool_segment *g = &shard->segments[i];
            for (uint32_t k = 0; !g->lost && k < g->resident_count; k++) {
                const tool_resident *r = &g->residents[k];
                if (r->qseq >= g->first && r->qseq <= g->last && !slc_tool_segment_dead(g, r->qseq))
                    *STORE_PUSH(out->list, out->count, out->capacity) =
                        (reference){r->first_lsn, r->bytes, r->qseq, r->parts, queue->qid};
            }
        }
    }
    if (out->count > 0)
        qsort(out->list, out->count, sizeof *out->list, reference_compare);
}

tool_part *slc_tool_part_at(tool_shard *shard, uint64_t lsn)
{
    uint32_t low = part_from(shard, lsn);
    bool there =
        low < shard->part_count && shard->parts[low].lsn == lsn && !shard->parts[low].stray;
    return there ? &shard->parts[low] : NULL;
}

// False: what keeps this content from being read is in what and lsn.
static bool content_check(tool_survey *s, tool_shard *shard, const reference *r, uint64_t *lsn,
                          char what[200])
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < r->parts; i++) {
        *lsn = r->first_lsn + i;
        const tool_part *part = slc_tool_part_at(shard, *lsn);
        if (part == NULL || part->lsn > shard->end_lsn) {
            snprintf(what, 200, "part %" PRIu32 " of %" PRIu32 " of a large content is missing", i,
                     r->parts);
            return false;
        }
        if (!s->deep)
            continue;
        if (part->what != NULL) {
            snprintf(what, 200, "part %" PRIu32 " of %" PRIu32 " of a large content: %s", i,
                     r->parts, part->what);
            return false;
        }
        bytes += part->data_bytes;
        if (part->first_lsn != r->first_lsn || part->index != i || part->parts != r->parts ||
            part->content_bytes != r->bytes || bytes > r->bytes) {
            snprintf(what, 200, "a part belongs to something else than the message says");
            return false;
        }
    }
    if (s->deep && bytes != r->bytes) {
        snprintf(what, 200, "the parts of a large content do not add up");
        return false;
    }
    return true;
}

// All messages that name the content are lost: one finding.
static void content_report(tool_survey *s, tool_shard *shard, const reference *r, uint32_t count,
                           uint64_t lsn, const char *what)
{
    tool_damage d = {.shard = shard, .messages = count};
    slc_buffer positions = {0};
    for (uint32_t i = 0; i < count;) {
        tool_ranges ranges = {0};
        uint32_t qid = r[i].qid;
        slc_buffer_format(&positions, "%squeue %" PRIu32 ": ", i > 0 ? "; " : "", qid);
        for (; i < count && r[i].qid == qid; i++)
            slc_tool_ranges_add(&ranges, r[i].qseq);
        slc_tool_ranges_end(&ranges);
        slc_buffer_put(&positions, ranges.text.data, ranges.text.bytes);
        slc_tool_ranges_fini(&ranges);
    }
    d.qid = r[0].qid == r[count - 1].qid ? r[0].qid : 0;
    d.positions = &positions;
    snprintf(d.where, sizeof d.where, "%04x.res, key %016" PRIx64, shard->id, lsn);
    snprintf(d.what, sizeof d.what, "%s", what);
    snprintf(d.means, sizeof d.means,
             "its content of %" PRIu64 " bytes cannot be read: lost in %" PRIu32
             " queue positions; salvage drops them",
             r->bytes, count);
    slc_tool_damage(s, &d);
    slc_buffer_fini(&positions);
}

static void unneeded_report(tool_survey *s, tool_shard *shard)
{
    for (uint32_t i = 0; i < shard->part_count; i++) {
        tool_part *part = &shard->parts[i];
        if (part->lsn > shard->end_lsn)
            s->report->unfinished++;
        if (part->what == NULL || part->told)
            continue;
        tool_damage d = {.shard = shard};
        snprintf(d.where, sizeof d.where, "%04x.res, key %016" PRIx64, shard->id, part->lsn);
        snprintf(d.what, sizeof d.what, "%s", part->what);
        snprintf(d.means, sizeof d.means, "no message needs it any more: nothing is lost");
        slc_tool_damage(s, &d);
    }
}

void slc_tool_parts_match(tool_survey *s, tool_shard *shard)
{
    references found = {0};
    references_find(shard, &found);
    for (uint32_t i = 0, end; i < found.count; i = end) {
        const reference *r = &found.list[i];
        bool agree = true;
        for (end = i; end < found.count && found.list[end].first_lsn == r->first_lsn; end++)
            agree = agree && found.list[end].parts == r->parts && found.list[end].bytes == r->bytes;
        char what[200];
        uint64_t lsn = r->first_lsn;
        bool good = content_check(s, shard, r, &lsn, what);
        if (good && !agree) {
            good = false;
            snprintf(what, sizeof what, "two records disagree about one large content");
        }
        for (uint32_t k = 0; k < r->parts; k++) {
            tool_part *part = slc_tool_part_at(shard, r->first_lsn + k);
            if (part == NULL)
                continue;
            part->needed = good;
            part->told = true;
        }
        if (good) {
            s->report->residents++;
            s->report->resident_bytes += r->bytes;
            continue;
        }
        content_report(s, shard, r, end - i, lsn, what);
        for (uint32_t k = i; k < end; k++) {
            tool_queue *queue = slc_tool_queue(shard, found.list[k].qid);
            *STORE_PUSH(shard->drops, shard->drop_count, shard->drop_capacity) =
                (tool_drop){found.list[k].qid, found.list[k].qseq};
            tool_segment *segment = slc_tool_segment_at(shard, queue, found.list[k].qseq);
            if (segment != NULL && !segment->lost) {
                slc_tool_segment_kill(segment, found.list[k].qseq);
                continue;
            }
            for (uint32_t e = 0; e < queue->count; e++)
                if (queue->entries[e].qseq == found.list[k].qseq)
                    queue->entries[e].dead = true;
        }
    }
    unneeded_report(s, shard);
    slc_free(found.list);
}
