// One thing in the files goes wrong, by chance: a value is gone, cut, flipped, under another key, or says with a right checksum
// what cannot be. Whatever a start or a read then refuses, check has to name; what check finds whole has to start and be read
// to the last message; and what salvage made has to be whole.
//
// A failure prints the seed; DAMAGE_SEED=n runs that one alone, DAMAGE_ROUNDS=n more of them.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <lmdb.h>
#include <slc/store_tools.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "format.h"
#include "subject.h"

enum { MANY = 1200, LARGE_EACH = 60, FIXED_SEEDS = 30, FRESH_SEEDS = 10 };

static uint64_t rng;

static uint64_t rnd(uint64_t below)
{
    rng = rng * 6364136223846793005ull + 1442695040888963407ull;
    return (rng >> 33) % below;
}

// Segments, a log with messages and drops, large contents in both, a deleted queue. Closed.
static void fill(subject *s)
{
    subject_init(s, false);
    s->log_bytes = 100000;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
    uint32_t a = s_queue_new(s, 'a'), gone = s_queue_new(s, 'x'), b = s_queue_new(s, 'b');
    slc_store_ticket last = s_append(s, gone, 1, 100);
    for (uint64_t i = 1; i <= MANY; i++) {
        slc_store_target targets[] = {{a, i, 0}, {b, i, 0}};
        last = i % LARGE_EACH == 0 ? s_append_many(s, targets, 2, 70000)
                                   : s_append_many(s, targets, 1, i % 900);
        if (i % 100 == 0)
            cr_assert(s_wait(s, last));
        if (i > 300 && i % 7 == 0)
            s_drop(s, a, i - 300, NULL);
    }
    s_queue_del(s, gone);
    s_settle(s);
    last = s_append(s, a, MANY + 1, 500);
    cr_assert(s_wait(s, last));
    s_drop(s, a, 5, NULL);
    cr_assert(s_wait(s, s_drop(s, a, 500, NULL)));
    subject_close(s);
}

static const char *const databases[] = {"0000.st",  "0000.que", "0000.log",
                                        "0000.res", "0000.seg", "0000.smd"};
enum { ST, QUE, LOG, RES, SEG, SMD };

typedef struct patient {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint8_t key[16], value[SLC_CHUNK_VALUE_MAX];
    size_t key_bytes, value_bytes;
} patient;

static void take(patient *p, size_t index)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    cr_assert(eq(int, mdb_cursor_open(p->txn, p->dbi, &cursor), 0));
    for (size_t i = 0; i <= index; i++)
        cr_assert(eq(int, mdb_cursor_get(cursor, &key, &value, MDB_NEXT), 0));
    memcpy(p->key, key.mv_data, p->key_bytes = key.mv_size);
    memcpy(p->value, value.mv_data, p->value_bytes = value.mv_size);
    mdb_cursor_close(cursor);
}

static void put(patient *p)
{
    MDB_val key = {p->key_bytes, p->key}, value = {p->value_bytes, p->value};
    cr_assert(eq(int, mdb_put(p->txn, p->dbi, &key, &value, 0), 0));
}

static void removed(patient *p)
{
    MDB_val key = {p->key_bytes, p->key};
    cr_assert(eq(int, mdb_del(p->txn, p->dbi, &key, NULL), 0));
}

static uint64_t nudged(uint64_t number)
{
    uint64_t by = 1 + rnd(4);
    return rnd(2) == 0 ? number + by : number - by;
}

// Another number in one field, with a checksum to match: what a mistake of ours would leave behind.
static const char *lie(patient *p, unsigned which)
{
    slc_slice in = slc_slice_of(p->value, p->value_bytes);
    if (which == ST) {
        slc_shard_state state;
        cr_assert(eq(int, slc_state_decode(in, 0, &state, NULL), SLC_OK));
        uint64_t *const fields[] = {&state.hw, &state.log_start};
        if (rnd(3) == 0)
            state.next_qid = (uint32_t)nudged(state.next_qid);
        else
            fields[rnd(2)][0] = nudged(*fields[rnd(2)]);
        slc_state_encode(p->value, 0, &state);
        return "another number in the state";
    }
    if (which == LOG) {
        uint64_t lsn;
        slc_chunk_head head;
        slc_slice records;
        memcpy(&lsn, p->key, sizeof lsn);
        cr_assert(eq(int, slc_chunk_open(in, 0, be64toh(lsn), &head, &records, NULL), SLC_OK));
        switch (rnd(3)) {
        case 0:
            head.skipped = (uint32_t)nudged(head.skipped);
            break;
        case 1:
            head.records = (uint16_t)nudged(head.records);
            break;
        default:
            if (records.bytes > 0)
                p->value[SLC_CHUNK_HEAD_BYTES + rnd(records.bytes)] ^= (uint8_t)(1u << rnd(8));
        }
        slc_chunk_seal(p->value, 0, &head);
        return "a chunk that says something else";
    }
    p->value[rnd(p->value_bytes)] ^= (uint8_t)(1u << rnd(8));
    return "a flipped bit";
}

static const char *hurt(patient *p, unsigned which, size_t entries, size_t index)
{
    take(p, index);
    switch (rnd(which == ST ? 3 : 6)) {
    case 0:
        removed(p);
        return "a value that is gone";
    case 1:
        p->value_bytes -= 1 + rnd(p->value_bytes);
        put(p);
        return "a value that was cut";
    case 2: {
        const char *what = lie(p, which);
        put(p);
        return what;
    }
    case 3: // under a key that it does not have
        removed(p);
        p->key[rnd(p->key_bytes)] ^= (uint8_t)(1u << rnd(8));
        put(p);
        return "a damaged key";
    default: {
        static patient other;
        other = *p;
        take(&other, (index + 1 + rnd(entries)) % entries);
        memcpy(p->value, other.value, other.value_bytes);
        p->value_bytes = other.value_bytes;
        put(p);
        return "another one's value";
    }
    }
}

static void opened(patient *p, const char *dir, const char *database)
{
    cr_assert(eq(int, mdb_env_create(&p->env), 0));
    mdb_env_set_maxdbs(p->env, 8);
    mdb_env_set_mapsize(p->env, 1u << 30);
    cr_assert(eq(int, mdb_env_open(p->env, dir, 0, 0600), 0));
    cr_assert(eq(int, mdb_txn_begin(p->env, NULL, 0, &p->txn), 0));
    cr_assert(eq(int, mdb_dbi_open(p->txn, database, 0, &p->dbi), 0));
}

static void closed(patient *p)
{
    cr_assert(eq(int, mdb_txn_commit(p->txn), 0));
    mdb_env_close(p->env);
}

// What happened, for the message of a failure.
static void damage(const char *dir, char text[96])
{
    static patient p;
    MDB_stat stat;
    unsigned which = (unsigned)rnd(SLC_ARRAY_COUNT(databases));
    opened(&p, dir, databases[which]);
    cr_assert(eq(int, mdb_stat(p.txn, p.dbi, &stat), 0));
    cr_assert(gt(sz, stat.ms_entries, 0), "%s is empty", databases[which]);
    size_t index = rnd(3) == 0 ? stat.ms_entries - 1 : rnd(stat.ms_entries);
    const char *what = hurt(&p, which, stat.ms_entries, index);
    snprintf(text, 96, "%s in %s, entry %zu of %zu", what, databases[which], index,
             stat.ms_entries);
    closed(&p);
}

// Start it and read everything. SLC_OK: all of it came.
static slc_err use(subject *s, const char *dir, slc_error *error)
{
    *s = (subject){.log_bytes = 100000};
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    slc_err rc = subject_open(s, error);
    if (rc != SLC_OK)
        return rc;
    rc = s->read_error.code;
    *error = s->read_error;
    subject_close(s);
    return rc;
}

static void round_of(const subject *whole, uint64_t seed)
{
    char first[96], second[96], what[96], kept[256];
    snprintf(first, sizeof first, "%.60s.a", whole->dir);
    snprintf(second, sizeof second, "%.60s.b", whole->dir);
    rng = seed * 0x9e3779b97f4a7c15ull + 1;
    dir_copy(whole->dir, first);
    damage(first, what);
    dir_copy(first, second);

    static subject s;
    slc_store_report report;
    slc_error refused = {0}, found = {0}, error = {0};
    slc_store_tool tool = {.dir = second};
    slc_err use_rc = use(&s, first, &refused), check_rc = slc_store_check(&tool, &report, &found);
    cr_assert(use_rc == SLC_OK || check_rc != SLC_OK,
              "seed %llu, %s: check says that all is well, and: %s", (unsigned long long)seed, what,
              refused.text);
    if (check_rc == SLC_OK) {
        cr_assert(eq(u64, s.message_count, report.messages), "seed %llu, %s",
                  (unsigned long long)seed, what);
    } else if (check_rc == SLC_ECORRUPT) {
        slc_err rc = slc_store_salvage(&tool, &report, kept, sizeof kept, &error);
        if (rc == SLC_EVERSION) { // a record that only a newer program can have written
            free(s.messages);
            return;
        }
        cr_assert(rc == SLC_OK, "seed %llu, %s: salvage: %s", (unsigned long long)seed, what,
                  error.text);
        rc = slc_store_check(&tool, &report, &error);
        cr_assert(rc == SLC_OK, "seed %llu, %s: what salvage made: %s", (unsigned long long)seed,
                  what, error.text);
        free(s.messages);
        rc = use(&s, second, &error);
        cr_assert(rc == SLC_OK, "seed %llu, %s: what salvage made: %s", (unsigned long long)seed,
                  what, error.text);
        cr_assert(eq(u64, s.message_count, report.messages), "seed %llu, %s",
                  (unsigned long long)seed, what);
    } else {
        cr_assert(eq(int, check_rc, SLC_EVERSION), "seed %llu, %s: %s", (unsigned long long)seed,
                  what, found.text);
    }
    free(s.messages);
    dir_remove(first);
    dir_remove(second);
}

Test(damage, what_a_start_refuses_check_names_and_salvage_mends, .timeout = 120)
{
    static subject whole;
    fill(&whole);
    const char *one = getenv("DAMAGE_SEED"), *more = getenv("DAMAGE_ROUNDS");
    uint64_t fresh = 0, rounds = more != NULL ? strtoull(more, NULL, 10) : FRESH_SEEDS;
    slc_random_bytes(&fresh, 4);
    if (one != NULL) {
        round_of(&whole, strtoull(one, NULL, 10));
    } else {
        for (uint64_t i = 1; i <= FIXED_SEEDS; i++)
            round_of(&whole, i);
        for (uint64_t i = 0; i < rounds; i++)
            round_of(&whole, fresh + i);
    }
    subject_fini(&whole);
}

// Nothing else tells a start of the messages in it.
Test(damage, a_segment_whose_directory_record_is_gone_is_missed, .timeout = 120)
{
    static subject s;
    static patient p;
    fill(&s);
    opened(&p, s.dir, databases[SMD]);
    take(&p, 1);
    removed(&p);
    closed(&p);
    slc_error error = {0};
    cr_expect(eq(int, subject_open(&s, &error), SLC_ECORRUPT));
    cr_expect(strstr(error.text, "directory records in 0000.smd") != NULL, "%s", error.text);
    subject_fini(&s);
}
