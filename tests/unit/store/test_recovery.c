// What recovery refuses, and what it repairs.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <lmdb.h>
#include <slc/store_tools.h>
#include <stdio.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "format.h"
#include "subject.h"

// A store with messages 1..300 in queue 1 (message 50 dropped, 200 large), closed.
static uint32_t fill(subject *s)
{
    subject_init(s, false);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
    uint32_t q = s_queue_new(s, 'q');
    for (uint64_t i = 1; i <= 300; i++) {
        slc_store_ticket last = s_append(s, q, i, i == 200 ? 150000 : 1000);
        if (i % 50 == 0)
            cr_assert(s_wait(s, last));
    }
    cr_assert(s_wait(s, s_drop(s, q, 50, NULL)));
    subject_close(s);
    return q;
}

typedef struct surgery {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi log, st, sys, que;
} surgery;

static void surgery_begin(surgery *x, const subject *s)
{
    cr_assert(eq(int, mdb_env_create(&x->env), 0));
    mdb_env_set_maxdbs(x->env, 8);
    mdb_env_set_mapsize(x->env, 1u << 30);
    cr_assert(eq(int, mdb_env_open(x->env, s->dir, 0, 0600), 0));
    cr_assert(eq(int, mdb_txn_begin(x->env, NULL, 0, &x->txn), 0));
    cr_assert(eq(int, mdb_dbi_open(x->txn, "0000.log", 0, &x->log), 0));
    cr_assert(eq(int, mdb_dbi_open(x->txn, "0000.st", 0, &x->st), 0));
    cr_assert(eq(int, mdb_dbi_open(x->txn, "0000.que", 0, &x->que), 0));
    cr_assert(eq(int, mdb_dbi_open(x->txn, "sys", 0, &x->sys), 0));
}

static void surgery_end(surgery *x)
{
    cr_assert(eq(int, mdb_txn_commit(x->txn), 0));
    mdb_env_close(x->env);
}

static size_t chunk_take(surgery *x, uint64_t lsn, uint8_t out[SLC_CHUNK_VALUE_MAX])
{
    uint64_t key = htobe64(lsn);
    MDB_val k = {8, &key}, v;
    cr_assert(eq(int, mdb_get(x->txn, x->log, &k, &v), 0));
    memcpy(out, v.mv_data, v.mv_size);
    return v.mv_size;
}

static void chunk_put(surgery *x, uint64_t lsn, uint8_t *value, size_t bytes)
{
    uint64_t key = htobe64(lsn);
    MDB_val k = {8, &key}, v = {bytes, value};
    cr_assert(eq(int, mdb_put(x->txn, x->log, &k, &v, 0), 0));
}

static uint64_t chunk_last(surgery *x)
{
    MDB_cursor *c;
    MDB_val k, v;
    cr_assert(eq(int, mdb_cursor_open(x->txn, x->log, &c), 0));
    cr_assert(eq(int, mdb_cursor_get(c, &k, &v, MDB_LAST), 0));
    uint64_t lsn;
    memcpy(&lsn, k.mv_data, 8);
    mdb_cursor_close(c);
    return be64toh(lsn);
}

static void refused(subject *s, slc_err code, const char *named)
{
    slc_error error = {0};
    cr_expect(eq(int, subject_open(s, &error), code), "%s", error.text);
    cr_expect(strstr(error.text, named) != NULL, "'%s' does not name %s", error.text, named);
    cr_expect(eq(u32, s->message_count, 0), "nothing is served");
    subject_fini(s);
}

Test(recovery, a_flipped_bit_is_found_and_named, .timeout = 60)
{
    static subject s;
    fill(&s);
    static uint8_t value[SLC_CHUNK_VALUE_MAX];
    surgery x;
    surgery_begin(&x, &s);
    size_t bytes = chunk_take(&x, 2, value);
    value[bytes / 2] ^= 0x10;
    chunk_put(&x, 2, value, bytes);
    surgery_end(&x);
    refused(&s, SLC_ECORRUPT, "chunk 2");
}

Test(recovery, a_missing_last_chunk_is_found, .timeout = 60)
{
    static subject s;
    fill(&s);
    surgery x;
    surgery_begin(&x, &s);
    uint64_t key = htobe64(chunk_last(&x));
    MDB_val k = {8, &key};
    cr_assert(eq(int, mdb_del(x.txn, x.log, &k, NULL), 0));
    surgery_end(&x);
    slc_error error = {0};
    cr_expect(eq(int, subject_open(&s, &error), SLC_ECORRUPT));
    cr_expect(strstr(error.text, "chunks at the end of the log are missing") != NULL, "%s",
              error.text);

    // The tools see it as a start does, and salvage makes a start possible.
    slc_store_report report;
    slc_store_tool tool = {.dir = s.dir};
    cr_expect(eq(int, slc_store_check(&tool, &report, &error), SLC_ECORRUPT));
    cr_expect(eq(u64, report.damages, 1));
    cr_expect(strstr(error.text, "chunks at the end of the log are missing") != NULL, "%s",
              error.text);
    char kept[256];
    cr_assert(eq(int, slc_store_salvage(&tool, &report, kept, sizeof kept, &error), SLC_OK), "%s",
              error.text);
    cr_assert(eq(int, slc_store_check(&tool, &report, &error), SLC_OK), "%s", error.text);
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, s.message_count, 300), "the chunk held the drop of one of them");
    subject_fini(&s);
}

Test(recovery, a_flipped_bit_in_the_last_chunk_is_not_taken_for_an_unfinished_batch, .timeout = 60)
{
    static subject s;
    fill(&s);
    static uint8_t value[SLC_CHUNK_VALUE_MAX];
    surgery x;
    surgery_begin(&x, &s);
    uint64_t last = chunk_last(&x);
    size_t bytes = chunk_take(&x, last, value);
    value[1] ^= SLC_CHUNK_BATCH_END;
    chunk_put(&x, last, value, bytes);
    surgery_end(&x);
    refused(&s, SLC_ECORRUPT, "damaged");
}

Test(recovery, a_gap_in_the_numbers_is_refused, .timeout = 60)
{
    static subject s;
    fill(&s);
    surgery x;
    surgery_begin(&x, &s);
    uint64_t key = htobe64(3);
    MDB_val k = {8, &key};
    cr_assert(eq(int, mdb_del(x.txn, x.log, &k, NULL), 0));
    surgery_end(&x);
    refused(&s, SLC_ECORRUPT, "chunk 3");
}

Test(recovery, a_lost_front_is_refused, .timeout = 60)
{
    static subject s;
    fill(&s);
    surgery x;
    surgery_begin(&x, &s);
    uint64_t key = htobe64(1);
    MDB_val k = {8, &key};
    cr_assert(eq(int, mdb_del(x.txn, x.log, &k, NULL), 0));
    surgery_end(&x);
    refused(&s, SLC_ECORRUPT, "chunk 1 ");
}

Test(recovery, a_chunk_under_another_key_is_refused, .timeout = 60)
{
    static subject s;
    fill(&s);
    static uint8_t value[SLC_CHUNK_VALUE_MAX];
    surgery x;
    surgery_begin(&x, &s);
    size_t bytes = chunk_take(&x, 2, value);
    chunk_put(&x, 3, value, bytes);
    surgery_end(&x);
    refused(&s, SLC_ECORRUPT, "chunk 3");
}

Test(recovery, damaged_state_and_queue_entries_are_refused, .timeout = 60)
{
    for (int which = 0; which < 2; which++) {
        static subject s;
        fill(&s);
        surgery x;
        surgery_begin(&x, &s);
        uint32_t qid = htobe32(1);
        MDB_val k = which == 0 ? (MDB_val){1, "s"} : (MDB_val){4, &qid}, v;
        MDB_dbi dbi = which == 0 ? x.st : x.que;
        uint8_t value[128];
        cr_assert(eq(int, mdb_get(x.txn, dbi, &k, &v), 0));
        memcpy(value, v.mv_data, v.mv_size);
        value[10] ^= 1;
        v.mv_data = value;
        cr_assert(eq(int, mdb_put(x.txn, dbi, &k, &v, 0), 0));
        surgery_end(&x);
        refused(&s, SLC_ECORRUPT, which == 0 ? "0000.st" : "queue 1");
    }
}

Test(recovery, a_store_of_another_version_is_refused, .timeout = 60)
{
    static const struct {
        uint32_t format;
        const char *told;
    } cases[] = {
        {SLC_FORMAT_VERSION - 1,
         "of an older version of Sluice; this one reads format 2: go on with "
         "the version that wrote it, or consume with it what waits"},
        {77, "has format 77 of a newer version of Sluice; this one reads format 2: go on with the "
             "version that wrote it"},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        static subject s;
        fill(&s);
        surgery x;
        surgery_begin(&x, &s);
        uint8_t version[4];
        slc_put32(version, cases[i].format);
        MDB_val k = {6, "format"}, v = {4, version};
        cr_assert(eq(int, mdb_put(x.txn, x.sys, &k, &v, 0), 0));
        surgery_end(&x);
        refused(&s, SLC_EVERSION, cases[i].told);
    }
}

// Without it the shard would look like one that never held anything.
Test(recovery, a_missing_state_is_refused, .timeout = 60)
{
    static subject s;
    fill(&s);
    surgery x;
    surgery_begin(&x, &s);
    MDB_val k = {1, "s"};
    cr_assert(eq(int, mdb_del(x.txn, x.st, &k, NULL), 0));
    surgery_end(&x);
    refused(&s, SLC_ECORRUPT, "queue 1 of 0000.que");
}

Test(recovery, a_batch_without_end_is_cut_off_and_its_numbers_are_used_again, .timeout = 60)
{
    static subject s;
    uint32_t q = fill(&s);
    static uint8_t value[SLC_CHUNK_VALUE_MAX];
    surgery x;
    surgery_begin(&x, &s);
    uint64_t last = chunk_last(&x);
    for (uint32_t i = 0; i < 3; i++) { // parts of an upload that never got its message
        uint32_t head = slc_part_encode(value + SLC_CHUNK_HEAD_BYTES, last + 1, i, 9, 500000, 1000);
        slc_chunk_seal(value, 0,
                       &(slc_chunk_head){.version = SLC_FORMAT_VERSION,
                                         .flags = (uint8_t)(SLC_CHUNK_RESIDENT | (i == 0)),
                                         .records = 1,
                                         .lsn = last + 1 + i,
                                         .body_bytes = head + 1000});
        chunk_put(&x, last + 1 + i, value, SLC_CHUNK_HEAD_BYTES + head + 1000);
    }
    surgery_end(&x);
    slc_error error = {0};
    for (int twice = 0; twice < 2; twice++) {
        cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
        cr_expect(eq(u32, s.message_count, 299 + (uint32_t)twice));
        if (twice == 0)
            cr_assert(s_wait(&s, s_append(&s, q, 301, 2 * SLC_PART_DATA_MAX)));
        subject_crash(&s);
    }
    surgery_begin(&x, &s);
    cr_expect(eq(u64, chunk_last(&x), last + 3), "two parts and a message, dense");
    surgery_end(&x);
    subject_fini(&s);
}

Test(recovery, recovering_twice_is_recovering_once, .timeout = 60)
{
    static subject s;
    fill(&s);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    uint32_t count = s.message_count;
    slc_store_stats first, second;
    slc_store_stat(s.real, &first);
    cr_expect(eq(int, slc_store_recover(s.real, NULL, NULL, &error), SLC_EUNEXPECTED));
    for (uint32_t i = 0; i < 3; i++) {
        subject_crash(&s);
        cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
        slc_store_stat(s.real, &second);
        cr_expect(eq(u32, s.message_count, count));
        cr_expect(eq(u64, first.log_bytes, second.log_bytes));
        cr_expect(eq(u64, first.log_chunks, second.log_chunks));
        cr_expect(eq(u64, first.live_bytes, second.live_bytes));
    }
    subject_fini(&s);
}

Test(recovery, damage_that_appears_while_running_is_an_error_of_the_read, .timeout = 60)
{
    static subject s;
    uint32_t q = fill(&s);
    static uint8_t value[SLC_CHUNK_VALUE_MAX];
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    surgery x;
    surgery_begin(&x, &s);
    size_t bytes = chunk_take(&x, 2, value);
    mdb_txn_abort(x.txn);
    mdb_env_close(x.env);
    // Straight into the file, as a bad disk does it.
    char path[96];
    snprintf(path, sizeof path, "%s/data.mdb", s.dir);
    FILE *f = fopen(path, "r+b");
    cr_assert(f != NULL);
    static uint8_t page[4096];
    bool done = false;
    for (long at = 0; fread(page, 1, sizeof page, f) == sizeof page && !done; at += 4096) {
        if (memcmp(page + 16, value, SLC_CHUNK_HEAD_BYTES) == 0) {
            fseek(f, at + 16 + (long)bytes / 2, SEEK_SET);
            fputc(value[bytes / 2] ^ 0x40, f);
            fflush(f);
            done = true;
        }
    }
    fclose(f);
    cr_assert(done);
    uint64_t qseqs[300];
    for (uint64_t i = 0; i < 300; i++)
        qseqs[i] = i + 1;
    s_read(&s, q, qseqs, 300, UINT64_MAX);
    cr_expect(eq(int, s.read_rc, SLC_ECORRUPT));
    cr_expect(lt(u32, s.read_count, 300), "only what stands in front of the damage");
    cr_expect(s.read_end);
    cr_expect(strstr(s.read_error.text, "chunk 2") != NULL, "%s", s.read_error.text);
    s_read(&s, q, (uint64_t[]){300}, 1, UINT64_MAX);
    cr_expect(eq(int, s.read_rc, SLC_OK), "other chunks are still good");
    subject_fini(&s);
}

#if SLC_FAILPOINTS
Test(recovery, an_error_in_the_scan_leaves_everything_as_it_was, .timeout = 60)
{
    static subject s;
    fill(&s);
    slc_error error = {0};
    for (uint32_t pass = 1; pass <= 4; pass++) {
        char plan[64];
        snprintf(plan, sizeof plan, "rec.scan.mid=error:EIO@%u", pass);
        cr_assert(eq(int, slc_failpoint_plan(plan, NULL), SLC_OK));
        cr_expect(eq(int, subject_open(&s, &error), SLC_EIO));
    }
    cr_assert(eq(int, slc_failpoint_plan(NULL, NULL), SLC_OK));
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, s.message_count, 299));
    subject_fini(&s);
}
#endif
