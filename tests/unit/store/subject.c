#include "subject.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store_impl.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void body_fill(uint8_t *data, uint64_t bytes, uint32_t qid, uint64_t qseq)
{
    uint64_t x = (uint64_t)qid * 0x9e3779b97f4a7c15ull + qseq * 0xbf58476d1ce4e5b9ull + bytes;
    for (uint64_t i = 0; i < bytes; i++) {
        if (i % 8 == 0)
            x = x * 6364136223846793005ull + 1442695040888963407ull;
        data[i] = (uint8_t)(x >> (8 * (i % 8)));
    }
}

uint64_t body_hash(uint64_t bytes, uint32_t qid, uint64_t qseq)
{
    uint8_t *data = malloc(bytes + 1);
    body_fill(data, bytes, qid, qseq);
    uint64_t hash = XXH3_64bits(data, bytes);
    free(data);
    return hash;
}

void dir_remove(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    closedir(d);
    rmdir(dir);
}

static void file_copy(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC),
        out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    SLC_ASSERT(in >= 0);
    SLC_ASSERT(out >= 0);
    static char buffer[1 << 16];
    for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;)
        SLC_ASSERT(write(out, buffer, (size_t)n) == n);
    close(in);
    close(out);
}

void dir_copy(const char *from, const char *to)
{
    mkdir(to, 0700);
    char a[512], b[512];
    snprintf(a, sizeof a, "%s/data.mdb", from);
    snprintf(b, sizeof b, "%s/data.mdb", to);
    file_copy(a, b);
}

void subject_init(subject *s, bool model)
{
    *s = (subject){.model = model};
    if (model) {
        s->disk = model_disk_new();
    } else {
        const char *base = getenv("TMPDIR");
        if (base == NULL || strlen(base) > sizeof s->dir - 24)
            base = "/tmp";
        snprintf(s->dir, sizeof s->dir, "%s/slc-store-XXXXXX", base);
        SLC_ASSERT(mkdtemp(s->dir) != NULL);
    }
}

void subject_fini(subject *s)
{
    if (s->real != NULL || s->mock != NULL)
        subject_close(s);
    if (s->model)
        model_disk_free(s->disk);
    else
        dir_remove(s->dir);
    free(s->messages);
    free(s->read_data);
}

/* ---- callbacks ---- */

static void on_release(void *owner, void *arg)
{
    subject *s = arg;
    body *b = owner;
    SLC_ASSERT(++b->released == 1);
    memset(b->data, 0xee, b->bytes); // whoever still uses it is found out
    free(b);
    s->releases++;
}

static void on_durable(uint16_t shard, slc_store_ticket up_to, void *arg)
{
    subject *s = arg;
    SLC_ASSERT(shard == 0);
    bool large = (up_to & SLC_TICKET_LARGE) != 0;
    slc_store_ticket *durable = large ? &s->durable_large : &s->durable;
    SLC_ASSERT((up_to & ~SLC_TICKET_LARGE) > *durable);
    *durable = up_to & ~SLC_TICKET_LARGE;
    s->durable_calls++;
}

static void on_failed(const slc_error *error, void *arg)
{
    subject *s = arg;
    s->failures++;
    s->failure = *error;
}

static void on_space(bool blocked, const slc_error *error, void *arg)
{
    subject *s = arg;
    SLC_ASSERT(blocked != s->blocked);
    SLC_ASSERT(blocked == (error != NULL));
    s->blocked = blocked;
    s->was_blocked = s->was_blocked || blocked;
}

static void on_closed(void *arg)
{
    ((subject *)arg)->closed = true;
}

static bool visit_queue(uint16_t shard, const slc_store_queue *queue, void *arg)
{
    subject *s = arg;
    SLC_ASSERT(shard == 0);
    if (memcmp(&queue->uuid, &s->unwanted, sizeof queue->uuid) == 0 && s->unwanted.octets[0] != 0)
        return false;
    SLC_ASSERT(s->queue_count < SLC_ARRAY_COUNT(s->queues));
    s->queues[s->queue_count++] =
        (seen_queue){queue->qid,      queue->uuid,  queue->next_qseq,
                     queue->messages, queue->bytes, queue->delivered_qseq};
    return true;
}

static void message_seen(subject *s, const slc_store_message *m)
{
    const seen_queue *queue = &s->queues[s->queue_count - 1];
    while (queue->qid != s->read_qid)
        queue--;
    SLC_ASSERT(m->qseq < queue->next_qseq);
    if (s->message_count == s->message_capacity) {
        s->message_capacity = s->message_capacity == 0 ? 64 : s->message_capacity * 2;
        s->messages = realloc(s->messages, s->message_capacity * sizeof *s->messages);
    }
    seen_message *seen = &s->messages[s->message_count++];
    seen->qid = queue->qid;
    seen->m.qseq = m->qseq;
    seen->m.content_bytes = m->content.bytes;
    seen->m.hash = XXH3_64bits(m->content.data, m->content.bytes);
    seen->m.ts_ms = m->ts_ms;
    seen->m.expires_ms = m->expires_ms;
    seen->m.priority = m->priority;
    seen->m.delivered = m->qseq <= queue->delivered_qseq;
}

/* ---- reading ---- */

static void on_read(slc_err rc, const slc_store_message *messages, uint32_t count, void *arg,
                    const slc_error *error)
{
    subject *s = arg;
    s->read_calls++;
    s->read_rc = rc;
    s->read_end = count == 0;
    SLC_ASSERT((error != NULL) == (rc != SLC_OK));
    if (error != NULL)
        s->read_error = *error;
    for (uint32_t i = 0; i < count; i++) {
        SLC_ASSERT(messages[i].qseq >= s->read_next);
        s->read_next = messages[i].qseq + 1;
        if (s->wanted == NULL) {
            message_seen(s, &messages[i]);
            continue;
        }
        bool wanted = false;
        for (uint32_t k = 0; k < s->wanted_count && !wanted; k++)
            wanted = s->wanted[k] == messages[i].qseq;
        if (!wanted)
            continue;
        s->read_qseqs[s->read_count] = messages[i].qseq;
        s->read_bytes[s->read_count++] = messages[i].content.bytes;
        if (s->read_total + messages[i].content.bytes >= s->read_room) {
            s->read_room = 2 * (s->read_total + messages[i].content.bytes) + 4096;
            s->read_data = realloc(s->read_data, s->read_room);
        }
        if (messages[i].content.bytes > 0)
            memcpy(s->read_data + s->read_total, messages[i].content.data,
                   messages[i].content.bytes);
        s->read_total += messages[i].content.bytes;
    }
}

static void read_once(subject *s, uint32_t count_max, uint64_t bytes_max)
{
    uint32_t calls = s->read_calls;
    if (s->model)
        model_store_read(s->mock, s->read_qid, s->read_next, count_max, bytes_max, on_read, s);
    else
        slc_store_read(s->real, 0, s->read_qid, s->read_next, count_max, bytes_max, on_read, s);
    SLC_ASSERT(s->read_calls == calls); // never inside
    for (uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
         s->read_calls == calls && slc_clock_now_ns() < until;)
        s_turn(s);
    SLC_ASSERT(s->read_calls == calls + 1);
}

// What lives after a recovery, page by page; the summaries have to agree.
static void queues_read(subject *s)
{
    for (uint32_t i = 0; i < s->queue_count; i++) {
        uint32_t before = s->message_count;
        s->wanted = NULL;
        s->read_qid = s->queues[i].qid;
        s->read_next = 1;
        do
            read_once(s, 500, 1 << 20);
        while (!s->read_end && s->read_rc == SLC_OK);
        if (s->read_rc == SLC_OK)
            SLC_ASSERT(s->queues[i].messages == s->message_count - before);
    }
}

void s_read(subject *s, uint32_t qid, const uint64_t *qseqs, uint32_t count, uint64_t bytes_max)
{
    s->read_count = 0;
    s->read_total = 0;
    s->read_rc = SLC_OK;
    s->read_match = true;
    if (count == 0)
        return;
    s->wanted = qseqs;
    s->wanted_count = count;
    s->read_qid = qid;
    s->read_next = qseqs[0];
    if (bytes_max != UINT64_MAX) {
        read_once(s, count, bytes_max);
    } else {
        do
            read_once(s, 700, 3 << 20);
        while (!s->read_end && s->read_rc == SLC_OK && s->read_next <= qseqs[count - 1]);
    }
    s->read_match = s->read_rc == SLC_OK;
    uint64_t at = 0;
    for (uint32_t i = 0; i < s->read_count; i++) {
        uint8_t *want = malloc(s->read_bytes[i] + 1);
        body_fill(want, s->read_bytes[i], qid, s->read_qseqs[i]);
        s->read_match = s->read_match && memcmp(want, s->read_data + at, s->read_bytes[i]) == 0;
        at += s->read_bytes[i];
        free(want);
    }
}

/* ---- life ---- */

slc_err subject_open(subject *s, slc_error *error)
{
    s->durable = s->durable_large = s->large = 0;
    s->durable_calls = s->failures = 0;
    s->queue_count = s->message_count = 0;
    s->blocked = s->closed = false;
    slc_store_options options = {
        .dir = s->dir,
        .loop = &s->loop,
        .map_size = s->map_size != 0 ? s->map_size : 1ull << 30,
        .batch_bytes = s->batch_bytes,
        .log_bytes = s->log_bytes,
        .flush = s->flush,
        .flush_interval_ms = s->flush_interval_ms,
        .release = on_release,
        .durable = on_durable,
        .failed = on_failed,
        .space = on_space,
        .arg = s,
    };
    if (s->model) {
        s->mock = model_store_open(s->disk, &options);
        slc_err rc = model_store_recover(s->mock, visit_queue, s, error);
        if (rc == SLC_OK)
            queues_read(s);
        return rc;
    }
    uv_loop_init(&s->loop);
    slc_err rc = slc_store_open(&options, &s->real, error);
    if (rc != SLC_OK) {
        uv_loop_close(&s->loop);
        return rc;
    }
    rc = slc_store_recover(s->real, visit_queue, s, error);
    if (rc != SLC_OK)
        subject_close(s);
    else
        queues_read(s);
    return rc;
}

void subject_close(subject *s)
{
    if (s->model) {
        model_store_close(s->mock, on_closed, s);
        s->mock = NULL;
        return;
    }
    slc_store_close(s->real, on_closed, s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    SLC_ASSERT(s->closed);
    SLC_ASSERT(uv_loop_close(&s->loop) == 0);
    s->real = NULL;
}

void subject_crash(subject *s)
{
    if (s->model) {
        model_store_crash(s->mock);
        s->mock = NULL;
        return;
    }
    char copy[96];
    snprintf(copy, sizeof copy, "%s.copy", s->dir);
    // A job may be under way; a plain copy of the file would be torn by its writes as no crash could tear it.
    mkdir(copy, 0700);
    SLC_ASSERT(mdb_env_copy(s->real->env, copy) == 0);
    subject_close(s);
    dir_remove(s->dir);
    SLC_ASSERT(rename(copy, s->dir) == 0);
}

/* ---- operations ---- */

uint32_t s_queue_new(subject *s, uint8_t uuid_tag)
{
    slc_uuid uuid = {{uuid_tag, 1, 2, 3}};
    return s->model ? model_store_queue_new(s->mock, &uuid, NULL)
                    : slc_store_queue_new(s->real, 0, &uuid, NULL);
}

slc_store_ticket s_queue_del(subject *s, uint32_t qid)
{
    return s->model ? model_store_queue_del(s->mock, qid) : slc_store_queue_del(s->real, 0, qid);
}

slc_store_ticket s_append_many(subject *s, const slc_store_target *targets, uint32_t count,
                               uint64_t bytes)
{
    body *b = malloc(sizeof *b + bytes);
    b->released = 0;
    b->bytes = bytes;
    body_fill(b->data, bytes, targets[0].qid, targets[0].qseq);
    s->appends++;
    slc_store_content content = {b->data, bytes, b};
    uint64_t ts_ms = 1000 + targets[0].qseq;
    uint8_t priority = (uint8_t)(targets[0].qseq % 10);
    slc_store_ticket ticket =
        s->model ? model_store_append(s->mock, &content, ts_ms, priority, targets, count)
                 : slc_store_append(s->real, 0, &content, ts_ms, priority, targets, count);
    if ((ticket & SLC_TICKET_LARGE) != 0)
        s->large = ticket & ~SLC_TICKET_LARGE;
    return ticket & ~SLC_TICKET_LARGE;
}

slc_store_ticket s_append(subject *s, uint32_t qid, uint64_t qseq, uint64_t bytes)
{
    return s_append_many(s, &(slc_store_target){qid, qseq, qseq * 7}, 1, bytes);
}

slc_store_ticket s_drop(subject *s, uint32_t qid, uint64_t qseq, bool *cancelled)
{
    return s->model ? model_store_drop(s->mock, qid, qseq, SLC_DROP_ACK, cancelled)
                    : slc_store_drop(s->real, 0, qid, qseq, SLC_DROP_ACK, cancelled);
}

slc_store_ticket s_drop_range(subject *s, uint32_t qid, uint64_t first, uint64_t last)
{
    return s->model ? model_store_drop_range(s->mock, qid, first, last, SLC_DROP_PURGE)
                    : slc_store_drop_range(s->real, 0, qid, first, last, SLC_DROP_PURGE);
}

void s_atomic(subject *s, bool begin)
{
    if (s->model)
        (begin ? model_store_atomic_begin : model_store_atomic_end)(s->mock);
    else
        (begin ? slc_store_atomic_begin : slc_store_atomic_end)(s->real, 0);
}

void s_flush(subject *s)
{
    if (s->model)
        model_store_flush(s->mock);
    else
        slc_store_flush(s->real);
}

void s_delivered(subject *s, uint32_t qid, uint64_t qseq)
{
    if (s->model)
        model_store_delivered(s->mock, qid, qseq);
    else
        slc_store_delivered(s->real, 0, qid, qseq);
}

static void wake(uv_timer_t *timer)
{
    (void)timer;
}

void s_turn(subject *s)
{
    if (s->model) {
        model_store_step(s->mock);
        return;
    }
    uv_timer_t timer; // so that the loop cannot sleep for ever
    uv_timer_init(&s->loop, &timer);
    uv_timer_start(&timer, wake, 5, 5); // repeats: one that is due at once does not end the wait
    uv_run(&s->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&s->loop, UV_RUN_NOWAIT);
}

static bool all_durable(const subject *s, slc_store_ticket ticket)
{
    return s->durable >= ticket && (s->large > ticket || s->durable_large >= s->large);
}

bool s_wait(subject *s, slc_store_ticket ticket)
{
    s_flush(s);
    for (uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
         !all_durable(s, ticket) && s->failures == 0 && slc_clock_now_ns() < until;)
        s_turn(s);
    return all_durable(s, ticket);
}

void s_settle(subject *s)
{
    if (s->model)
        return;
    slc_store_stats last, now;
    slc_store_stat(s->real, &last);
    s_flush(s);
    for (uint32_t quiet = 0; quiet < 25;) {
        s_turn(s);
        slc_store_stat(s->real, &now);
        quiet = now.commits == last.commits && now.jobs_in_flight == 0 ? quiet + 1 : 0;
        last = now;
    }
}

bool s_live(const subject *s, uint32_t qid, uint64_t qseq)
{
    for (uint32_t i = 0; i < s->message_count; i++)
        if (s->messages[i].qid == qid && s->messages[i].m.qseq == qseq)
            return true;
    return false;
}

uint32_t s_recovered_count(const subject *s, uint32_t qid)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->message_count; i++)
        count += s->messages[i].qid == qid;
    return count;
}
