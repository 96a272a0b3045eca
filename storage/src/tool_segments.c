// Segments and their directory records in a survey: each by itself, and whether they agree.
#include <stdio.h>
#include <stdlib.h>

#include "tool_survey.h"

tool_segment *slc_tool_segment_at(tool_shard *shard, const tool_queue *queue, uint64_t qseq)
{
    uint32_t low = queue->segment_from, high = queue->segment_to;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (shard->segments[middle].last < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < queue->segment_to && shard->segments[low].first <= qseq ? &shard->segments[low]
                                                                         : NULL;
}

void slc_tool_segment_kill(tool_segment *segment, uint64_t qseq)
{
    uint64_t bit = qseq - segment->first;
    if (segment->dead == NULL)
        segment->dead = slc_alloc_zero((segment->last - segment->first) / 8 + 1, 1);
    segment->dead[bit / 8] |= (uint8_t)(1u << (bit % 8));
}

static void residents_take(tool_segment *segment, const slc_directory *directory)
{
    segment->resident_count = directory->residents;
    if (directory->residents == 0)
        return;
    segment->residents = slc_alloc(directory->residents * sizeof *segment->residents);
    for (uint32_t i = 0; i < directory->residents; i++) {
        slc_directory_resident d = slc_directory_resident_at(directory, i);
        segment->residents[i] = (tool_resident){d.qseq, d.first_lsn, d.bytes, d.parts};
    }
}

static void record_each(const slc_pages_node *node, void *arg)
{
    tool_reading *r = arg;
    tool_shard *shard = r->shard;
    tool_segment segment = {.has_record = true};
    slc_error error = {0};
    slc_directory directory;
    if (slc_segment_key_decode(node->key, &segment.qid, &segment.first, &error) != SLC_OK) {
        char text[40];
        tool_damage d = {.shard = shard};
        snprintf(d.where, sizeof d.where, "%04x.smd, key %s", shard->id,
                 slc_tool_hex(node->key, text));
        snprintf(d.what, sizeof d.what, "%s", error.text);
        snprintf(d.means, sizeof d.means, "no segment has it; salvage leaves it out");
        slc_tool_damage(r->s, &d);
        return;
    }
    segment.last = segment.first;
    if (slc_directory_decode(node->value, shard->id, segment.qid, segment.first, &directory,
                             &error) == SLC_OK) {
        segment.record_ok = true;
        segment.count = directory.count;
        segment.last = directory.last;
        segment.bytes = directory.bytes;
        if (directory.dead_bytes > 0) {
            segment.dead = slc_alloc(directory.dead_bytes);
            memcpy(segment.dead, directory.dead, directory.dead_bytes);
        }
        residents_take(&segment, &directory);
    } else {
        segment.what_record = slc_strdup(error.text);
    }
    *STORE_PUSH(shard->segments, shard->segment_count, shard->segment_capacity) = segment;
}

static int key_compare(uint32_t qid_a, uint64_t first_a, uint32_t qid_b, uint64_t first_b)
{
    if (qid_a != qid_b)
        return qid_a < qid_b ? -1 : 1;
    return first_a < first_b ? -1 : first_a > first_b;
}

static int segment_compare(const void *a, const void *b)
{
    const tool_segment *x = a, *y = b;
    return key_compare(x->qid, x->first, y->qid, y->first);
}

// What a value must be to be served: slots ascend, and none lies outside. NULL: fine.
static char *value_check(const tool_shard *shard, const tool_segment *segment, slc_slice value,
                         uint32_t *count, uint64_t *last, uint64_t *bytes)
{
    slc_error error = {0};
    if (slc_segment_open(value, shard->id, segment->qid, segment->first, count, &error) != SLC_OK)
        return slc_strdup(error.text);
    *bytes = *last = 0;
    for (uint32_t i = 0; i < *count; i++) {
        slc_slot slot;
        if (slc_segment_slot(value, i, &slot, &error) != SLC_OK)
            return slc_strdup(error.text);
        if ((i == 0 && slot.qseq != segment->first) || slot.qseq <= *last ||
            slot.qseq - segment->first >= SLC_SEGMENT_SPAN_MAX)
            return slc_tool_text("message %" PRIu64 " is not where its position belongs",
                                 slot.qseq);
        *last = slot.qseq;
        *bytes += slot.content_bytes;
    }
    return NULL;
}

// The directory record as its segment tells it, with the drops of the old one.
static void record_make(tool_segment *segment, slc_slice value, uint32_t count, uint64_t last,
                        uint64_t bytes)
{
    uint8_t *old = segment->record_ok && segment->last == last ? segment->dead : NULL;
    if (old == NULL)
        slc_free(segment->dead);
    slc_free(segment->residents);
    segment->dead = old;
    segment->residents = slc_alloc(count * sizeof *segment->residents);
    segment->resident_count = 0;
    segment->count = count;
    segment->last = last;
    segment->bytes = bytes;
    segment->rebuilt = true;
    uint64_t next = segment->first;
    for (uint32_t i = 0; i < count; i++) {
        slc_slot slot;
        slc_err rc = slc_segment_slot(value, i, &slot, NULL);
        SLC_ASSERT(rc == SLC_OK); // was read just now
        for (; next < slot.qseq; next++)
            slc_tool_segment_kill(segment, next);
        next++;
        if (slot.resident_lsn != 0)
            segment->residents[segment->resident_count++] = (tool_resident){
                slot.qseq, slot.resident_lsn, slot.content_bytes, slot.resident_parts};
    }
}

// Whether the record tells what the segment holds. NULL: it does.
static char *record_compare(const tool_segment *segment, slc_slice value, uint32_t count,
                            uint64_t last, uint64_t bytes)
{
    if (segment->count != count || segment->last != last || segment->bytes != bytes)
        return slc_tool_text("it says %" PRIu32 " messages up to %" PRIu64 " with %" PRIu64
                             " bytes; its segment has %" PRIu32 " up to %" PRIu64 " with %" PRIu64,
                             segment->count, segment->last, segment->bytes, count, last, bytes);
    uint64_t next = segment->first;
    uint32_t resident = 0;
    for (uint32_t i = 0; i < count; i++) {
        slc_slot slot;
        slc_err rc = slc_segment_slot(value, i, &slot, NULL);
        SLC_ASSERT(rc == SLC_OK);
        for (; next < slot.qseq; next++)
            if (!slc_tool_segment_dead(segment, next))
                return slc_tool_text("it counts position %" PRIu64
                                     " as live, which its segment does not have",
                                     next);
        next++;
        if (slot.resident_lsn == 0)
            continue;
        while (resident < segment->resident_count && segment->residents[resident].qseq < slot.qseq)
            resident++;
        const tool_resident *known =
            resident < segment->resident_count ? &segment->residents[resident] : NULL;
        if (known != NULL && known->qseq == slot.qseq
                ? known->first_lsn != slot.resident_lsn || known->parts != slot.resident_parts ||
                      known->bytes != slot.content_bytes
                : !slc_tool_segment_dead(segment, slot.qseq))
            return slc_tool_text("it does not tell the large content of message %" PRIu64,
                                 slot.qseq);
    }
    return NULL;
}

static void value_take(const tool_shard *shard, tool_segment *segment, slc_slice value, bool deep)
{
    segment->has_value = true;
    segment->value_ok = true;
    if (!deep)
        return;
    uint32_t count = 0;
    uint64_t last = 0, bytes = 0;
    segment->what_value = value_check(shard, segment, value, &count, &last, &bytes);
    segment->value_ok = segment->what_value == NULL;
    if (!segment->value_ok)
        return;
    if (segment->record_ok) {
        segment->what_record = record_compare(segment, value, count, last, bytes);
        if (segment->what_record == NULL)
            return;
    }
    record_make(segment, value, count, last, bytes);
    segment->record_ok = true;
}

static void value_each(const slc_pages_node *node, void *arg)
{
    tool_reading *r = arg;
    tool_shard *shard = r->shard;
    uint32_t qid;
    uint64_t first;
    bool moved;
    char text[40];
    if (!slc_tool_segment_key(shard, node, &qid, &first, &moved)) {
        tool_damage d = {.shard = shard};
        snprintf(d.where, sizeof d.where, "%04x.seg, key %s", shard->id,
                 slc_tool_hex(node->key, text));
        snprintf(d.what, sizeof d.what, "it is not the key of a segment");
        snprintf(d.means, sizeof d.means, "no queue can have it; salvage leaves it out");
        slc_tool_damage(r->s, &d);
        return;
    }
    if (moved) {
        char right[80];
        snprintf(right, sizeof right, "segment %" PRIu64 " of queue %" PRIu32, first, qid);
        slc_tool_moved(r->s, shard, "seg", node, right);
    }
    tool_segment segment = {.qid = qid, .first = first, .last = first};
    tool_segment *known = r->at_end == 0 ? NULL
                                         : bsearch(&segment, shard->segments, r->at_end,
                                                   sizeof segment, segment_compare);
    if (known != NULL) {
        value_take(shard, known, node->value, r->s->deep);
        return;
    }
    value_take(shard, &segment, node->value, r->s->deep);
    *STORE_PUSH(shard->segments, shard->segment_count, shard->segment_capacity) = segment;
}

// In order of keys, each queue with its own. Those that overlap an earlier one go.
static void segments_sort(tool_shard *shard)
{
    if (shard->segment_count > 0)
        qsort(shard->segments, shard->segment_count, sizeof *shard->segments, segment_compare);
    tool_queue *queue = NULL;
    const tool_segment *before = NULL;
    for (uint32_t i = 0; i < shard->segment_count; i++) {
        tool_segment *segment = &shard->segments[i];
        if (segment->qid > shard->highest_qid)
            shard->highest_qid = segment->qid;
        segment->lost = !segment->record_ok || !segment->value_ok;
        if (queue == NULL || queue->qid != segment->qid) {
            queue = slc_tool_queue(shard, segment->qid);
            if (queue == NULL && shard->torn[DB_QUE])
                queue = slc_tool_queue_missing(shard, segment->qid);
            before = NULL;
            if (queue != NULL)
                queue->segment_from = i;
        }
        if (before != NULL && before->last >= segment->first) {
            slc_free(segment->what_value);
            segment->what_value = slc_strdup("it overlaps the one in front of it");
            segment->lost = true;
            segment->last = segment->first; // so that ranges stay apart
        } else if (!segment->lost) {
            before = segment;
        }
        if (queue == NULL)
            continue;
        queue->segment_to = i + 1;
        if (queue->highest < segment->last)
            queue->highest = segment->last;
    }
}

static void segment_report(tool_survey *s, tool_shard *shard, tool_segment *segment)
{
    const tool_queue *queue = slc_tool_queue(shard, segment->qid);
    tool_damage d = {.shard = shard, .qid = segment->qid};
    tool_ranges ranges = {0};
    // Which positions are hit is known from the record; without one from nowhere.
    if (queue != NULL && segment->lost && segment->record_ok)
        for (uint64_t q = segment->first; q <= segment->last; q++)
            if (!slc_tool_segment_dead(segment, q))
                slc_tool_ranges_add(&ranges, q);
    slc_tool_ranges_end(&ranges);
    slc_buffer positions = {0};
    if (ranges.count > 0) {
        slc_buffer_format(&positions, "queue %" PRIu32 ": ", segment->qid);
        slc_buffer_put(&positions, ranges.text.data, ranges.text.bytes);
    }
    bool value_bad = segment->has_value && segment->what_value != NULL;
    snprintf(d.where, sizeof d.where, "%04x.%s, key %08" PRIx32 " %016" PRIx64, shard->id,
             value_bad || !segment->has_value ? "seg" : "smd", segment->qid, segment->first);
    const char *what = value_bad             ? segment->what_value
                       : !segment->has_value ? "the segment of a directory record is missing"
                       : segment->what_record != NULL
                           ? segment->what_record
                           : "the directory record of a segment is missing";
    snprintf(d.what, sizeof d.what, "queue %" PRIu32 ", segment %" PRIu64 ": %s%s", segment->qid,
             segment->first, what,
             value_bad && !segment->record_ok ? "; its directory record is damaged or missing"
                                              : "");
    if (queue == NULL) {
        snprintf(d.means, sizeof d.means, "its queue is deleted: no message is lost");
        segment->lost = true;
    } else if (!segment->lost) {
        snprintf(d.means, sizeof d.means,
                 "salvage makes the record anew: no message is lost; those of its %" PRIu32
                 " that were settled long ago come back",
                 segment->count);
    } else if (segment->record_ok) {
        d.messages = ranges.count;
        d.positions = &positions;
        snprintf(d.means, sizeof d.means,
                 "%" PRIu64 " messages are lost; salvage drops the segment", ranges.count);
    } else if (!s->deep) {
        snprintf(d.means, sizeof d.means, "a full check tells what it costs");
    } else if (!segment->has_value) {
        snprintf(d.means, sizeof d.means,
                 "no segment stands under this key: when the key is what is damaged, no message is "
                 "lost; salvage leaves it out");
    } else {
        snprintf(
            d.means, sizeof d.means,
            "its messages are lost, and nothing tells how many there were; salvage drops both");
        d.uncounted = true;
    }
    slc_tool_damage(s, &d);
    slc_tool_ranges_fini(&ranges);
    slc_buffer_fini(&positions);
}

void slc_tool_segments_report(tool_survey *s, tool_shard *shard)
{
    for (uint32_t i = 0; i < shard->segment_count; i++) {
        tool_segment *segment = &shard->segments[i];
        if (segment->what_record != NULL || segment->what_value != NULL || !segment->has_record ||
            !segment->has_value)
            segment_report(s, shard, segment);
    }
}

void slc_tool_segments_read(tool_survey *s, tool_shard *shard)
{
    tool_reading r = {.s = s, .shard = shard};
    (void)slc_tool_db_walk(&r, DB_SMD, true, false, record_each);
    r.at_end = shard->segment_count;
    if (r.at_end > 0)
        qsort(shard->segments, r.at_end, sizeof *shard->segments, segment_compare);
    (void)slc_tool_db_walk(&r, DB_SEG, true, !s->deep, value_each);
    segments_sort(shard);
}
