// The survey's frame: databases, keys, the shard state, queue entries, totals.
#include "tool_survey.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const db_names[DB_COUNT] = {"st", "log", "que", "res", "seg", "smd"};

/* ---- words ---- */

char *slc_tool_text(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return slc_strdup(text);
}

void slc_tool_damage(tool_survey *s, const tool_damage *damage)
{
    if (s->report->damages++ == 0)
        slc_error_set(s->error, SLC_ECORRUPT, "%s: %s", damage->where, damage->what);
    s->report->lost += damage->messages;
    s->report->uncounted += damage->uncounted;
    if (s->tool->damage == NULL)
        return;
    slc_buffer text = {0};
    slc_buffer_put(&text, damage->positions != NULL ? (const char *)damage->positions->data : "",
                   damage->positions != NULL ? damage->positions->bytes : 0);
    slc_buffer_octet(&text, 0);
    const slc_store_damage out = {
        .where = damage->where,
        .what = damage->what,
        .means = damage->means,
        .shard = damage->shard != NULL ? damage->shard->id : 0,
        .qid = damage->qid,
        .messages = damage->messages,
        .positions = (const char *)text.data,
    };
    s->tool->damage(&out, s->tool->arg);
    slc_buffer_fini(&text);
}

static void ranges_put(tool_ranges *r)
{
    if (r->last == 0)
        return;
    const char *comma = r->text.bytes > 0 ? ", " : "";
    if (r->first == r->last)
        slc_buffer_format(&r->text, "%s%" PRIu64, comma, r->first);
    else
        slc_buffer_format(&r->text, "%s%" PRIu64 "-%" PRIu64, comma, r->first, r->last);
}

void slc_tool_ranges_add(tool_ranges *r, uint64_t position)
{
    r->count++;
    if (r->last != 0 && position == r->last + 1) {
        r->last = position;
        return;
    }
    ranges_put(r);
    r->first = r->last = position;
}

void slc_tool_ranges_end(tool_ranges *r)
{
    ranges_put(r);
    r->last = 0;
}

void slc_tool_ranges_fini(tool_ranges *r)
{
    slc_buffer_fini(&r->text);
    *r = (tool_ranges){0};
}

const char *slc_tool_hex(slc_slice key, char text[40])
{
    size_t at = 0;
    for (size_t i = 0; i < key.bytes && i < 16; i++)
        at += (size_t)snprintf(text + at, 40 - at, "%02x", key.data[i]);
    text[at] = 0;
    return text;
}

/* ---- keys ---- */

bool slc_tool_lsn(const tool_shard *shard, const slc_pages_node *node, uint64_t *lsn, bool *moved)
{
    slc_chunk_head head;
    slc_slice body;
    bool fits = node->key.bytes == sizeof *lsn;
    *moved = false;
    *lsn = 0;
    if (fits) {
        memcpy(lsn, node->key.data, sizeof *lsn);
        *lsn = be64toh(*lsn);
    }
    if (node->value.data == NULL || node->value.bytes < SLC_CHUNK_HEAD_BYTES)
        return *lsn != 0;
    uint64_t own = slc_get64(node->value.data + 8);
    if (own != *lsn && own != 0 &&
        slc_chunk_open(node->value, shard->id, own, &head, &body, NULL) == SLC_OK) {
        *lsn = own;
        *moved = true;
    }
    return *lsn != 0;
}

bool slc_tool_segment_key(const tool_shard *shard, const slc_pages_node *node, uint32_t *qid,
                          uint64_t *first, bool *moved)
{
    uint32_t count;
    bool fits = slc_segment_key_decode(node->key, qid, first, NULL) == SLC_OK;
    *moved = false;
    if (node->value.data == NULL || node->value.bytes < SLC_SEGMENT_HEAD_BYTES)
        return fits;
    uint32_t own_qid = slc_get32(node->value.data + 8);
    uint64_t own_first = slc_get64(node->value.data + 16);
    if ((!fits || own_qid != *qid || own_first != *first) && own_qid != 0 && own_first != 0 &&
        slc_segment_open(node->value, shard->id, own_qid, own_first, &count, NULL) == SLC_OK) {
        *qid = own_qid;
        *first = own_first;
        *moved = fits = true;
    }
    return fits;
}

void slc_tool_moved(tool_survey *s, const tool_shard *shard, const char *kind,
                    const slc_pages_node *node, const char *right)
{
    char text[40];
    tool_damage d = {.shard = shard};
    snprintf(d.where, sizeof d.where, "%04x.%s, key %s", shard->id, kind,
             slc_tool_hex(node->key, text));
    snprintf(d.what, sizeof d.what, "the key is damaged: %s stands under it", right);
    snprintf(d.means, sizeof d.means, "it is whole: no message is lost; salvage puts it right");
    slc_tool_damage(s, &d);
}

/* ---- queues ---- */

tool_queue *slc_tool_queue(tool_shard *shard, uint32_t qid)
{
    tool_queue *queue;
    HASH_FIND(hh, shard->queues, &qid, sizeof qid, queue);
    return queue;
}

tool_queue *slc_tool_queue_make(tool_shard *shard, uint32_t qid)
{
    tool_queue *queue = slc_tool_queue(shard, qid);
    if (queue != NULL)
        return queue;
    queue = slc_alloc_zero(1, sizeof *queue);
    queue->qid = qid;
    HASH_ADD(hh, shard->queues, qid, sizeof queue->qid, queue);
    return queue;
}

tool_queue *slc_tool_queue_missing(tool_shard *shard, uint32_t qid)
{
    tool_queue *queue = slc_tool_queue_make(shard, qid);
    queue->what = slc_strdup("its entry is missing");
    queue->missing = queue->rebuilt = true;
    return queue;
}

// What is left of a queue entry's bytes is better than nothing: a wrong uuid is one that the definitions do not know.
static void queue_guess(tool_queue *queue, slc_slice value)
{
    if (value.bytes < SLC_QUEUE_VALUE_BYTES)
        return;
    memcpy(queue->value.uuid.octets, value.data + 8, sizeof queue->value.uuid.octets);
    uint64_t next = slc_get64(value.data + 24);
    queue->value.next_qseq = next < (uint64_t)1 << 48 ? next : 0;
    queue->known = true;
}

static void queue_each(const slc_pages_node *node, void *arg)
{
    tool_reading *r = arg;
    uint32_t qid = 0;
    char text[40];
    tool_damage d = {.shard = r->shard};
    slc_error error = {0};
    if (node->key.bytes == sizeof qid) {
        memcpy(&qid, node->key.data, sizeof qid);
        qid = be32toh(qid);
    }
    uint32_t own = slc_queue_value_qid(node->value);
    slc_queue_value value;
    bool moved = own != 0 && own != qid &&
                 slc_queue_value_decode(node->value, r->shard->id, own, &value, NULL) == SLC_OK;
    if (qid == 0 && !moved) {
        snprintf(d.where, sizeof d.where, "%04x.que, key %s", r->shard->id,
                 slc_tool_hex(node->key, text));
        snprintf(d.what, sizeof d.what, "it is not the number of a queue");
        snprintf(d.means, sizeof d.means, "no queue has it; salvage leaves the entry out");
        slc_tool_damage(r->s, &d);
        return;
    }
    if (moved) {
        snprintf(text, sizeof text, "the entry of queue %" PRIu32, own);
        slc_tool_moved(r->s, r->shard, "que", node, text);
        // The queue whose key this is may have lost its entry for it.
        if (qid != 0 && (r->shard->state_rebuilt || qid < r->shard->state.next_qid))
            (void)slc_tool_queue_make(r->shard, qid);
        qid = own;
    }
    tool_queue *queue = slc_tool_queue_make(r->shard, qid);
    if (qid > r->shard->highest_qid)
        r->shard->highest_qid = qid;
    if (queue->known) // it was found under another key
        return;
    if (slc_queue_value_decode(node->value, r->shard->id, qid, &queue->value, &error) == SLC_OK) {
        queue->known = true;
        return;
    }
    queue->what = slc_strdup(error.text);
    queue->rebuilt = true;
    queue_guess(queue, node->value);
}

// Those under whose key stood the entry of another one, and nowhere their own.
static void queues_missing(tool_shard *shard)
{
    tool_queue *queue, *next;
    HASH_ITER(hh, shard->queues, queue, next)
    {
        if (!queue->known && queue->what == NULL)
            (void)slc_tool_queue_missing(shard, queue->qid);
    }
}

// After the log was read: it may have told the uuid.
static void queues_report(tool_survey *s, tool_shard *shard)
{
    tool_queue *queue, *next;
    HASH_ITER(hh, shard->queues, queue, next)
    {
        if (queue->what == NULL)
            continue;
        uint64_t live = 0;
        for (uint32_t i = 0; i < queue->count; i++)
            live += !queue->entries[i].dead;
        for (uint32_t i = queue->segment_from; i < queue->segment_to; i++) {
            const tool_segment *g = &shard->segments[i];
            for (uint64_t q = g->first; !g->lost && q <= g->last; q++)
                live += !slc_tool_segment_dead(g, q);
        }
        tool_damage d = {.shard = shard, .qid = queue->qid};
        snprintf(d.where, sizeof d.where, "%04x.que, key %08" PRIx32, shard->id, queue->qid);
        snprintf(d.what, sizeof d.what, "queue %" PRIu32 ": %s", queue->qid, queue->what);
        if (queue->uuid_from_log)
            snprintf(d.means, sizeof d.means,
                     "salvage makes it anew with the uuid in the log; its %" PRIu64
                     " messages stay, all marked as redelivered",
                     live);
        else if (queue->known)
            snprintf(d.means, sizeof d.means,
                     "salvage makes it anew with the uuid as it stands there; if that is what is "
                     "damaged, no queue has it, and its %" PRIu64
                     " messages are deleted at the next start",
                     live);
        else {
            d.messages = live;
            snprintf(d.means, sizeof d.means,
                     "nothing tells whose messages these are; salvage drops the queue with its "
                     "%" PRIu64 " messages",
                     live);
        }
        slc_tool_damage(s, &d);
    }
}

/* ---- the state ---- */

static void state_each(const slc_pages_node *node, void *arg)
{
    tool_reading *r = arg;
    slc_error error = {0};
    if (!slc_slice_is(node->key, "s"))
        return;
    r->at = 1;
    if (slc_state_decode(node->value, r->shard->id, &r->shard->state, &error) == SLC_OK)
        return;
    r->shard->state_rebuilt = true;
    tool_damage d = {.shard = r->shard};
    snprintf(d.where, sizeof d.where, "%04x.st, key s", r->shard->id);
    snprintf(d.what, sizeof d.what, "%s", error.text);
    snprintf(d.means, sizeof d.means,
             "salvage makes it anew from the other databases: no message is lost");
    slc_tool_damage(r->s, &d);
}

// What recovery takes from the state, made from what is there.
static void state_check(tool_survey *s, tool_shard *shard, bool found)
{
    bool empty =
        shard->trees[DB_QUE].entries == 0 && shard->chunk_count == 0 && shard->segment_count == 0;
    bool missing = !found && !empty;
    bool low = !shard->state_rebuilt && !missing && shard->state.next_qid <= shard->highest_qid;
    if (!found)
        shard->state = (slc_shard_state){.log_start = 1, .next_qid = 1};
    if (missing || low) {
        shard->state_rebuilt = true;
        tool_damage d = {.shard = shard};
        snprintf(d.where, sizeof d.where, "%04x.st, key s", shard->id);
        snprintf(d.what, sizeof d.what,
                 missing ? "it is missing" : "the next queue number in it is taken already");
        snprintf(d.means, sizeof d.means,
                 "salvage makes it anew from the other databases: no message is lost");
        slc_tool_damage(s, &d);
    }
    if (!shard->state_rebuilt)
        return;
    const tool_chunk *front = NULL, *back = NULL;
    for (uint32_t i = 0; i < shard->chunk_count; i++) {
        const tool_chunk *chunk = &shard->chunks[i];
        front = front == NULL && !chunk->stray ? chunk : front;
        back = chunk->stray ? back : chunk;
    }
    uint64_t last = back != NULL ? back->lsn : 0;
    if (back == NULL && shard->part_count > 0)
        last = shard->parts[shard->part_count - 1].lsn;
    shard->state = (slc_shard_state){
        .epoch = shard->state.epoch,
        .log_start = front == NULL ? last + 1 : front->lsn - (front->ok ? front->skipped : 0),
        .hw = last,
        .next_qid = shard->highest_qid + 1,
        .next_res = 1,
    };
}

/* ---- databases ---- */

static void structure_damaged(const char *tree, uint64_t page, const char *what, void *arg)
{
    tool_survey *s = arg;
    tool_damage d = {0};
    for (uint32_t i = 0; i < s->shard_count; i++)
        for (int k = 0; k < DB_COUNT; k++) {
            char name[16];
            snprintf(name, sizeof name, "%04x.%s", s->shards[i].id, db_names[k]);
            if (strcmp(name, tree) == 0) {
                tool_shard *shard = &s->shards[i];
                shard->torn[k] = true;
                d.shard = shard;
                // Of what is lost with one of the two segment trees the other one tells.
                d.uncounted =
                    k == DB_LOG || k == DB_QUE || (shard->torn[DB_SEG] && shard->torn[DB_SMD]);
            }
        }
    if (page == UINT64_MAX)
        snprintf(d.where, sizeof d.where, "%s", tree);
    else
        snprintf(d.where, sizeof d.where, "%s, page %" PRIu64, tree, page);
    snprintf(d.what, sizeof d.what, "%s", what);
    snprintf(
        d.means, sizeof d.means,
        strcmp(tree, "free list") == 0
            ? "no message is lost, but the next writes may destroy some; salvage writes the file "
              "anew"
            : "what stands behind it cannot be read; what else is named tells what that costs");
    slc_tool_damage(s, &d);
}

static tool_shard *shard_make(tool_survey *s, uint16_t id)
{
    for (uint32_t i = 0; i < s->shard_count; i++)
        if (s->shards[i].id == id)
            return &s->shards[i];
    tool_shard *shard = STORE_PUSH(s->shards, s->shard_count, s->shard_capacity);
    *shard = (tool_shard){.id = id, .state = {.log_start = 1, .next_qid = 1}};
    for (int i = 0; i < DB_COUNT; i++)
        shard->trees[i].root = UINT64_MAX;
    return shard;
}

static void database_each(const slc_pages_node *node, void *arg)
{
    tool_survey *s = arg;
    char name[16] = {0};
    slc_pages_tree tree;
    unsigned id = 0;
    int length = 0;
    if (slc_pages_subtree(node, &tree) != SLC_OK || node->key.bytes >= sizeof name) {
        structure_damaged("main database", s->pages.main_tree.root,
                          "one of its entries is no database", s);
        return;
    }
    memcpy(name, node->key.data, node->key.bytes);
    slc_store_report *report = s->report;
    if (report->database_count < SLC_STORE_TOOL_DATABASES) {
        slc_store_database *out = &report->databases[report->database_count];
        snprintf(out->name, sizeof out->name, "%s", name);
        out->entries = tree.entries;
        out->bytes =
            (tree.branch_pages + tree.leaf_pages + tree.overflow_pages) * s->pages.page_bytes;
    }
    report->database_count++;
    if (strcmp(name, "sys") == 0) {
        s->sys = tree;
        s->has_sys = true;
        return;
    }
    for (int k = 0; k < DB_COUNT; k++) {
        if (sscanf(name, "%4x.%n", &id, &length) == 1 && length == 5 &&
            strcmp(name + 5, db_names[k]) == 0) {
            tool_shard *shard = shard_make(s, (uint16_t)id);
            shard->trees[k] = tree;
            shard->has[k] = true;
        }
    }
}

static void sys_each(const slc_pages_node *node, void *arg)
{
    tool_survey *s = arg;
    slc_slice value = node->value;
    tool_damage d = {0};
    const char *what = NULL;
    snprintf(d.where, sizeof d.where, "sys, key %.*s", SLC_SLICE_FMT(node->key));
    if (slc_slice_is(node->key, "format")) {
        s->has_format = value.bytes == 4;
        s->format = s->has_format ? slc_get32(value.data) : 0;
    } else if (slc_slice_is(node->key, "env_uuid")) {
        s->has_uuid = value.bytes == sizeof s->uuid;
        if (s->has_uuid)
            memcpy(s->uuid, value.data, sizeof s->uuid);
        else
            what = "it does not have 16 bytes";
    } else if (slc_slice_is(node->key, "clean")) {
        s->report->clean = value.bytes == 1 && value.data[0] == 1;
        if (value.bytes != 1 || value.data[0] > 1)
            what = "it is neither 0 nor 1";
    } else if (slc_slice_is(node->key, "tick")) {
        if (value.bytes != 8)
            what = "it does not have 8 bytes";
    } else if (node->key.bytes > 8 && memcmp(node->key.data, "ballast.", 8) == 0) {
        for (size_t i = 0; i < value.bytes && what == NULL; i++)
            if (value.data[i] != 0)
                what = "the reserve of zeros has something else in it: this file was written by "
                       "others than the store";
    }
    if (what == NULL)
        return;
    snprintf(d.what, sizeof d.what, "%s", what);
    snprintf(d.means, sizeof d.means, "no message is lost; salvage makes it anew");
    slc_tool_damage(s, &d);
}

static void progress_note(uint64_t done, void *arg)
{
    tool_survey *s = arg;
    // The log is read twice; near enough.
    s->tool->progress("reading the store", done, s->pages.last_page + 1, s->tool->arg);
}

uint64_t slc_tool_db_walk(tool_reading *r, tool_db db, bool first, bool keys_only,
                          slc_pages_each each)
{
    char name[16];
    snprintf(name, sizeof name, "%04x.%s", r->shard->id, db_names[db]);
    if (!r->shard->has[db])
        return 0;
    uint64_t found =
        slc_pages_walk(&r->s->pages, name, &r->shard->trees[db], first, keys_only, 0, each, r);
    if (first && !r->shard->torn[db] && found != r->shard->trees[db].entries)
        structure_damaged(name, UINT64_MAX, "it has another number of entries than it says", r->s);
    return found;
}

static void totals_add(tool_survey *s, tool_shard *shard)
{
    slc_store_report *report = s->report;
    tool_queue *queue, *next;
    HASH_ITER(hh, shard->queues, queue, next)
    {
        if (!queue->known)
            continue;
        report->queues++;
        for (uint32_t i = 0; i < queue->count; i++)
            if (!queue->entries[i].dead) {
                report->log_messages++;
                report->bytes += queue->entries[i].bytes;
            }
        for (uint32_t i = queue->segment_from; i < queue->segment_to; i++) {
            const tool_segment *g = &shard->segments[i];
            uint64_t live = 0;
            for (uint64_t q = g->first; !g->lost && q <= g->last; q++)
                live += !slc_tool_segment_dead(g, q);
            report->segment_messages += live;
            report->bytes += live == 0 ? 0 : g->bytes / g->count * live;
            report->segments += !g->lost;
            report->segment_bytes += g->lost ? 0 : g->bytes;
        }
    }
    for (uint32_t i = 0; i < shard->chunk_count; i++)
        report->log_bytes += shard->chunks[i].bytes;
    report->log_chunks += shard->chunk_count;
    report->messages = report->log_messages + report->segment_messages;
}

static void shard_survey(tool_survey *s, tool_shard *shard)
{
    tool_reading r = {.s = s, .shard = shard};
    (void)slc_tool_db_walk(&r, DB_ST, true, false, state_each);
    bool found = r.at == 1;
    (void)slc_tool_db_walk(&r, DB_QUE, true, false, queue_each);
    queues_missing(shard);
    slc_tool_segments_read(s, shard);
    slc_tool_parts_read(s, shard);
    slc_tool_log_read(s, shard);
    state_check(s, shard, found);
    slc_tool_log_replay(s, shard);
    slc_tool_segments_report(s, shard);
    queues_report(s, shard);
    slc_tool_log_report(s, shard);
    slc_tool_parts_match(s, shard);
    totals_add(s, shard);
}

static slc_err sys_survey(tool_survey *s, slc_error *error)
{
    if (s->has_sys)
        (void)slc_pages_walk(&s->pages, "sys", &s->sys, true, false, 0, sys_each, s);
    if (!s->has_sys && s->shard_count == 0 && s->report->damages > 0)
        return slc_error_set(error, SLC_ECORRUPT,
                             "the page of %s/data.mdb that names its databases is damaged: nothing "
                             "in it can be found; restore a backup",
                             s->tool->dir);
    if (!s->has_format && s->shard_count == 0)
        return slc_error_set(error, SLC_ENOTFOUND, "%s/data.mdb is not a store of Sluice",
                             s->tool->dir);
    tool_damage d = {.where = "sys, key format", .means = "salvage makes it anew"};
    if (s->has_format && s->format != SLC_FORMAT_VERSION && s->format > 0xffff) {
        snprintf(d.what, sizeof d.what, "it says format %" PRIu32 ", which cannot be", s->format);
        slc_tool_damage(s, &d);
    } else if (s->has_format && s->format != SLC_FORMAT_VERSION) {
        return slc_store_format_refuse(s->tool->dir, s->format, error);
    } else if (!s->has_format) {
        snprintf(d.what, sizeof d.what, "it is missing");
        slc_tool_damage(s, &d);
    }
    return SLC_OK;
}

slc_err slc_tool_survey(tool_survey *s, const slc_store_tool *tool, const char *file, bool deep,
                        slc_store_report *report, slc_error *error)
{
    *s = (tool_survey){
        .tool = tool, .report = report, .error = error, .deep = deep, .pages = {.fd = -1}};
    *report = (slc_store_report){0};
    char path[TOOL_PATH_BYTES], meta_what[128];
    if (!slc_tool_path(tool, file, path))
        return slc_error_set(error, SLC_EINVAL, "the path of the store is too long");
    slc_err rc = slc_pages_open(&s->pages, path, meta_what, error);
    if (rc != SLC_OK)
        return rc;
    s->pages.damaged = structure_damaged;
    s->pages.progress = tool->progress != NULL ? progress_note : NULL;
    s->pages.arg = s;
    if (meta_what[0] != 0) {
        tool_damage d = {.where = "data.mdb",
                         .means =
                             "the file cannot be opened; the other meta page is good, and what "
                             "it knows is what salvage keeps"};
        snprintf(d.what, sizeof d.what, "%s", meta_what);
        slc_tool_damage(s, &d);
    }
    (void)slc_pages_walk(&s->pages, "main database", &s->pages.main_tree, true, false, 0,
                         database_each, s);
    rc = sys_survey(s, error);
    for (uint32_t i = 0; i < s->shard_count && rc == SLC_OK; i++)
        shard_survey(s, &s->shards[i]);
    if (rc != SLC_OK)
        return rc;
    report->file_bytes = s->pages.file_bytes;
    report->page_bytes = s->pages.page_bytes;
    report->pages = s->pages.last_page + 1;
    report->pages_free = slc_pages_free(&s->pages);
    report->pages_used = s->pages.used + 2;
    return SLC_OK;
}

void slc_tool_survey_free(tool_survey *s)
{
    for (uint32_t i = 0; i < s->shard_count; i++) {
        tool_shard *shard = &s->shards[i];
        tool_queue *queue, *next;
        HASH_ITER(hh, shard->queues, queue, next)
        {
            HASH_DEL(shard->queues, queue);
            slc_free(queue->what);
            slc_free(queue->entries);
            slc_free(queue->lost);
            slc_free(queue);
        }
        for (uint32_t k = 0; k < shard->segment_count; k++) {
            slc_free(shard->segments[k].dead);
            slc_free(shard->segments[k].residents);
            slc_free(shard->segments[k].what_record);
            slc_free(shard->segments[k].what_value);
        }
        for (uint32_t k = 0; k < shard->chunk_count; k++) {
            slc_free(shard->chunks[k].what);
            slc_free(shard->chunks[k].copy);
        }
        for (uint32_t k = 0; k < shard->part_count; k++)
            slc_free(shard->parts[k].what);
        slc_free(shard->segments);
        slc_free(shard->chunks);
        slc_free(shard->parts);
        slc_free(shard->drops);
    }
    slc_free(s->shards);
    slc_pages_close(&s->pages);
}

/* ---- what the operator calls ---- */

static slc_err survey_only(const slc_store_tool *tool, bool deep, slc_store_report *out,
                           slc_error *error)
{
    tool_survey s;
    slc_error found = {0};
    slc_err rc = slc_tool_survey(&s, tool, "data.mdb", deep, out, &found);
    slc_tool_survey_free(&s);
    if (rc == SLC_OK && out->damages > 0)
        rc = SLC_ECORRUPT;
    if (rc != SLC_OK)
        slc_error_set(error, rc, "%s", found.text);
    return rc;
}

slc_err slc_store_figures(const slc_store_tool *tool, slc_store_report *out, slc_error *error)
{
    return survey_only(tool, false, out, error);
}

slc_err slc_store_check(const slc_store_tool *tool, slc_store_report *out, slc_error *error)
{
    return survey_only(tool, true, out, error);
}
