#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ftw.h>
#include <inttypes.h>
#include <lmdb.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/map.h"
#include "cluster/control.h"
#include "cluster/control_store.h"

// A model of the state beside the control plane: what apply was told.
typedef struct object {
    char key[600];
    uint8_t *value;
    size_t bytes;
    UT_hash_handle hh;
} object;

typedef struct plane {
    uv_loop_t loop;
    uv_timer_t deadline;
    slc_control *control;
    object *objects;
    uint64_t last_index;
    uint32_t applied, answered;
    slc_err last_rc;
    uint32_t failed;
    bool in_propose, timed_out, closed;
    char order[4096]; // applied keys and answers, as they came
} plane;

static char root[] = "/tmp/sluice-control-XXXXXX";
static char dir[64];

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void make_root(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    snprintf(dir, sizeof dir, "%s/control", root);
}

static void remove_root(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(control, .init = make_root, .fini = remove_root, .timeout = 60);

static void on_apply(const slc_control_change *change, uint64_t index, void *arg)
{
    plane *p = arg;
    char key[600];
    SLC_ASSERT(!p->in_propose);
    SLC_ASSERT(index >= p->last_index);
    p->last_index = index;
    p->applied++;
    snprintf(key, sizeof key, "%.*s", SLC_SLICE_FMT(change->key));
    size_t used = strlen(p->order);
    snprintf(p->order + used, sizeof p->order - used, "%c%s ",
             change->value.data == NULL ? '-' : '+', key);
    object *found = NULL;
    HASH_FIND_STR(p->objects, key, found);
    if (change->value.data == NULL) {
        if (found != NULL) {
            HASH_DEL(p->objects, found);
            slc_free(found->value);
            slc_free(found);
        }
        return;
    }
    if (found == NULL) {
        found = slc_alloc_zero(1, sizeof *found);
        snprintf(found->key, sizeof found->key, "%s", key);
        HASH_ADD_STR(p->objects, key, found);
    }
    slc_free(found->value);
    found->value = slc_alloc(change->value.bytes + 1);
    memcpy(found->value, change->value.data, change->value.bytes);
    found->value[change->value.bytes] = 0;
    found->bytes = change->value.bytes;
}

static void on_failed(const slc_error *error, void *arg)
{
    ((plane *)arg)->failed++;
    SLC_ASSERT(error->code != SLC_OK);
    SLC_ASSERT(error->text[0] != '\0');
}

static void on_proposed(slc_err rc, void *arg)
{
    plane *p = arg;
    SLC_ASSERT(!p->in_propose);
    p->answered++;
    p->last_rc = rc;
    size_t used = strlen(p->order);
    snprintf(p->order + used, sizeof p->order - used, "=%d ", (int)rc);
}

static void on_deadline(uv_timer_t *timer)
{
    ((plane *)timer->data)->timed_out = true;
}

static slc_err try_start(plane *p, uint64_t map_bytes, slc_error *error)
{
    *p = (plane){0};
    SLC_ASSERT(uv_loop_init(&p->loop) == 0);
    SLC_ASSERT(uv_timer_init(&p->loop, &p->deadline) == 0);
    p->deadline.data = p;
    slc_control_options options = {.dir = dir,
                                   .map_bytes = map_bytes,
                                   .loop = &p->loop,
                                   .apply = on_apply,
                                   .failed = on_failed,
                                   .arg = p};
    slc_err rc = slc_control_open(&options, &p->control, error);
    if (rc == SLC_OK)
        rc = slc_control_load(p->control, error);
    p->order[0] = '\0';
    return rc;
}

static void start(plane *p)
{
    slc_error error = {0};
    slc_err rc = try_start(p, 0, &error);
    if (rc != SLC_OK)
        fprintf(stderr, "%s\n", error.text);
    SLC_ASSERT(rc == SLC_OK);
}

static void propose(plane *p, uint32_t count, const slc_control_change *changes)
{
    p->in_propose = true;
    slc_control_propose(p->control, changes, count, on_proposed, p);
    p->in_propose = false;
}

static slc_control_change put(const char *key, const char *value)
{
    return (slc_control_change){.key = slc_slice_str(key), .value = slc_slice_str(value)};
}

static slc_control_change del(const char *key)
{
    return (slc_control_change){.key = slc_slice_str(key)};
}

// Run the loop until count proposals were answered.
static void answers(plane *p, uint32_t count)
{
    uv_timer_start(&p->deadline, on_deadline, 20000, 0);
    while (p->answered < count && !p->timed_out)
        uv_run(&p->loop, UV_RUN_ONCE);
    uv_timer_stop(&p->deadline);
    SLC_ASSERT(!p->timed_out);
}

static void on_closed(void *arg)
{
    ((plane *)arg)->closed = true;
}

static void forget(plane *p)
{
    uv_close((uv_handle_t *)&p->deadline, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    SLC_ASSERT(uv_loop_close(&p->loop) == 0);
    object *o, *next;
    HASH_ITER(hh, p->objects, o, next)
    {
        HASH_DEL(p->objects, o);
        slc_free(o->value);
        slc_free(o);
    }
}

static void stop(plane *p)
{
    slc_control_close(p->control, on_closed, p);
    while (!p->closed)
        uv_run(&p->loop, UV_RUN_ONCE);
    forget(p);
}

static const char *value_of(plane *p, const char *key)
{
    object *found = NULL;
    HASH_FIND_STR(p->objects, key, found);
    return found == NULL ? "(none)" : (const char *)found->value;
}

Test(control, state_is_there_after_reopening)
{
    plane p;
    start(&p);
    cr_expect(eq(u32, p.applied, 0));
    propose(&p, 2, (slc_control_change[]){put("a", "1"), put("b", "2")});
    propose(&p, 3, (slc_control_change[]){put("a", "3"), del("b"), del("never")});
    propose(&p, 1, (slc_control_change[]){put("empty", "")});
    answers(&p, 3);
    cr_expect(eq(int, p.last_rc, SLC_OK));
    stop(&p);

    start(&p);
    cr_expect(eq(u32, HASH_COUNT(p.objects), 2));
    cr_expect(eq(str, (char *)value_of(&p, "a"), "3"));
    cr_expect(eq(str, (char *)value_of(&p, "empty"), ""));
    cr_expect(eq(u64, p.last_index, 3));
    propose(&p, 1, (slc_control_change[]){put("c", "4")});
    answers(&p, 1);
    cr_expect(eq(u64, p.last_index, 4), "indexes go on where they were");
    stop(&p);
}

Test(control, apply_then_answer_in_the_order_of_proposing)
{
    plane p;
    start(&p);
    propose(&p, 2, (slc_control_change[]){put("a", "1"), put("b", "1")});
    propose(&p, 1, (slc_control_change[]){del("a")});
    propose(&p, 1, (slc_control_change[]){put("a", "2")});
    cr_expect(eq(u32, p.applied, 0), "never inside propose");
    answers(&p, 3);
    cr_expect(eq(str, p.order, "+a +b =0 -a =0 +a =0 "));
    stop(&p);
}

Test(control, close_finishes_what_was_proposed)
{
    plane p;
    start(&p);
    for (int i = 0; i < 300; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        propose(&p, 1, (slc_control_change[]){put(key, "v")});
    }
    stop(&p);
    cr_expect(eq(u32, p.answered, 300));
    start(&p);
    cr_expect(eq(u32, HASH_COUNT(p.objects), 300));
    stop(&p);
}

Test(control, sizes_at_and_beyond_their_bounds)
{
    plane p;
    start(&p);
    char key[SLC_CONTROL_KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    uint8_t *value = slc_alloc_zero(1, SLC_CONTROL_VALUE_BYTES_MAX + 1);
    slc_control_change change = {.key = slc_slice_of(key, SLC_CONTROL_KEY_BYTES_MAX),
                                 .value = slc_slice_of(value, SLC_CONTROL_VALUE_BYTES_MAX)};
    propose(&p, 1, &change);
    answers(&p, 1);
    cr_expect(eq(int, p.last_rc, SLC_OK));

    change.key.bytes++;
    propose(&p, 1, &change);
    answers(&p, 2);
    cr_expect(eq(int, p.last_rc, SLC_ELIMIT));
    change = (slc_control_change){.key = slc_slice_str("x"),
                                  .value = slc_slice_of(value, SLC_CONTROL_VALUE_BYTES_MAX + 1)};
    propose(&p, 1, &change);
    answers(&p, 3);
    cr_expect(eq(int, p.last_rc, SLC_ELIMIT));
    propose(&p, 1, (slc_control_change[]){put("", "x")});
    answers(&p, 4);
    cr_expect(eq(int, p.last_rc, SLC_ELIMIT));
    cr_expect(eq(u32, p.failed, 0));
    stop(&p);

    start(&p);
    cr_expect(eq(u32, HASH_COUNT(p.objects), 1));
    cr_expect(eq(sz, p.objects->bytes, SLC_CONTROL_VALUE_BYTES_MAX));
    stop(&p);
    slc_free(value);
}

// What a random history leads to is what a reopened plane loads.
Test(control, a_random_history_comes_back)
{
    plane p, q;
    start(&p);
    uint64_t seed = slc_clock_now_ns(), x = seed | 1;
    for (uint32_t round = 1; round <= 400; round++) {
        slc_control_change changes[8];
        char keys[8][16], values[8][200];
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint32_t count = 1 + (uint32_t)(x % 8);
        for (uint32_t i = 0; i < count; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            snprintf(keys[i], sizeof keys[i], "key-%u", (unsigned)(x % 40));
            memset(values[i], 'a' + (int)(x % 26), 199);
            values[i][x % 199] = '\0';
            changes[i] = x % 3 == 0 ? del(keys[i]) : put(keys[i], values[i]);
        }
        propose(&p, count, changes);
        if (x % 16 == 0)
            answers(&p, round);
    }
    answers(&p, 400);
    slc_control_close(p.control, on_closed, &p);
    while (!p.closed)
        uv_run(&p.loop, UV_RUN_ONCE);

    start(&q);
    cr_expect(eq(u32, HASH_COUNT(q.objects), HASH_COUNT(p.objects)), "seed %" PRIu64, seed);
    for (object *o = p.objects; o != NULL; o = o->hh.next)
        cr_expect(eq(str, (char *)value_of(&q, o->key), (char *)o->value),
                  "seed %" PRIu64 " key %s", seed, o->key);
    stop(&q);
    forget(&p);
}

// A map of 1 MiB fills up: the proposals that no longer fit are refused and change nothing, deletes make room again.
Test(control, a_full_map_refuses_and_recovers)
{
    plane p;
    slc_error error = {0};
    cr_assert(eq(int, try_start(&p, 1024 * 1024, &error), SLC_OK), "%s", error.text);
    static char value[20000];
    memset(value, 'v', sizeof value - 1);
    uint32_t stored = 0, sent = 0;
    while (p.last_rc == SLC_OK && sent < 100) {
        char key[16];
        snprintf(key, sizeof key, "k%u", sent);
        // Two changes: neither may be there when the command is refused.
        propose(&p, 2, (slc_control_change[]){put(key, value), put("count", key)});
        answers(&p, ++sent);
        stored += p.last_rc == SLC_OK;
    }
    cr_expect(eq(int, p.last_rc, SLC_ENOSPC));
    cr_expect(gt(u32, stored, 5));
    cr_expect(eq(u32, p.failed, 0), "a full disk is no reason to stop");
    char last[16];
    snprintf(last, sizeof last, "k%u", stored - 1);
    cr_expect(eq(str, (char *)value_of(&p, "count"), last));

    // A batch in which only some fit: the large ones fail alone.
    p.order[0] = '\0';
    uint32_t before = p.answered;
    propose(&p, 1, (slc_control_change[]){put("big1", value)});
    propose(&p, 1, (slc_control_change[]){put("small", "s")});
    propose(&p, 1, (slc_control_change[]){put("big2", value)});
    answers(&p, before + 3);
    char want[64];
    snprintf(want, sizeof want, "=%d +small =0 =%d ", SLC_ENOSPC, SLC_ENOSPC);
    cr_expect(eq(str, p.order, want));
    stop(&p);

    cr_assert(eq(int, try_start(&p, 1024 * 1024, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, HASH_COUNT(p.objects), stored + 2));
    cr_expect(eq(str, (char *)value_of(&p, "small"), "s"));
    cr_expect(eq(str, (char *)value_of(&p, "count"), last));
    cr_expect(eq(str, (char *)value_of(&p, "big1"), "(none)"));
    stop(&p);
}

// A file system of 2 MiB of this process alone; false where nobody may mount.
static bool mount_small(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", root, "tmpfs", 0, "size=2m") == 0;
}

// LMDB cannot tell a full disk from a broken one, we must: refused, not fatal, and what is small or deletes still goes through.
Test(control, a_full_disk_refuses_and_recovers)
{
    if (!mount_small())
        cr_skip_test("no file system can be mounted here");
    plane p;
    start(&p);
    static char value[20000];
    memset(value, 'v', sizeof value - 1);
    uint32_t sent = 0, stored = 0;
    while (p.last_rc == SLC_OK && sent < 500) {
        char key[16];
        snprintf(key, sizeof key, "k%u", sent);
        propose(&p, 1, (slc_control_change[]){put(key, value)});
        answers(&p, ++sent);
        stored += p.last_rc == SLC_OK;
    }
    cr_expect(eq(int, p.last_rc, SLC_ENOSPC));
    cr_expect(gt(u32, stored, 5));
    for (uint32_t i = 0; i < stored; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        propose(&p, 1, (slc_control_change[]){del(key)});
        answers(&p, ++sent);
        cr_expect(eq(int, p.last_rc, SLC_OK), "delete %u", i);
    }
    propose(&p, 1, (slc_control_change[]){put("small", "s")});
    answers(&p, ++sent);
    cr_expect(eq(int, p.last_rc, SLC_OK));
    cr_expect(eq(u32, p.failed, 0));
    stop(&p);
    start(&p);
    cr_expect(eq(u32, HASH_COUNT(p.objects), 1));
    stop(&p);
    remove_root();
    umount2(root, MNT_DETACH);
}

static MDB_env *raw_open(void)
{
    MDB_env *env = NULL;
    SLC_ASSERT(mdb_env_create(&env) == 0);
    SLC_ASSERT(mdb_env_set_maxdbs(env, 8) == 0);
    SLC_ASSERT(mdb_env_set_mapsize(env, 1 << 30) == 0);
    SLC_ASSERT(mdb_env_open(env, dir, 0, 0600) == 0);
    return env;
}

static void raw_put(const char *database, const void *key, size_t key_bytes, const void *value,
                    size_t bytes)
{
    MDB_env *env = raw_open();
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    SLC_ASSERT(mdb_txn_begin(env, NULL, 0, &txn) == 0);
    SLC_ASSERT(mdb_dbi_open(txn, database, 0, &dbi) == 0);
    MDB_val k = {.mv_size = key_bytes, .mv_data = (void *)(uintptr_t)key};
    MDB_val v = {.mv_size = bytes, .mv_data = (void *)(uintptr_t)value};
    SLC_ASSERT(mdb_put(txn, dbi, &k, &v, 0) == 0);
    SLC_ASSERT(mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
}

static size_t raw_entries(const char *database)
{
    MDB_env *env = raw_open();
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    MDB_stat stat;
    SLC_ASSERT(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0);
    SLC_ASSERT(mdb_dbi_open(txn, database, 0, &dbi) == 0);
    SLC_ASSERT(mdb_stat(txn, dbi, &stat) == 0);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return stat.ms_entries;
}

Test(control, the_log_is_bounded)
{
    plane p;
    start(&p);
    for (uint32_t i = 0; i < SLC_CONTROL_LOG_KEPT + 500; i++) {
        propose(&p, 1, (slc_control_change[]){put("same", "x")});
        if (i % 1000 == 0)
            answers(&p, i + 1);
    }
    answers(&p, SLC_CONTROL_LOG_KEPT + 500);
    stop(&p);
    cr_expect(eq(sz, raw_entries("log"), SLC_CONTROL_LOG_KEPT));
    cr_expect(eq(sz, raw_entries("state"), 1));
    start(&p);
    cr_expect(eq(u64, p.last_index, SLC_CONTROL_LOG_KEPT + 500));
    stop(&p);
}

Test(control, a_newer_format_is_refused)
{
    plane p;
    start(&p);
    stop(&p);
    raw_put("meta", "format", 6, "\0\0\0\2", 4);
    slc_error error = {0};
    cr_expect(eq(int, try_start(&p, 0, &error), SLC_EVERSION));
    cr_expect(ne(ptr, strstr(error.text, "format 2"), NULL), "%s", error.text);
    forget(&p);
}

Test(control, damage_in_the_log_is_found)
{
    plane p;
    start(&p);
    propose(&p, 1, (slc_control_change[]){put("a", "1")});
    answers(&p, 1);
    stop(&p);
    raw_put("log", "\0\0\0\0\0\0\0\1", 8, "nonsense that is long enough", 28);
    slc_error error = {0};
    cr_expect(eq(int, try_start(&p, 0, &error), SLC_ECORRUPT));
    cr_expect(ne(ptr, strstr(error.text, "command 1"), NULL), "%s", error.text);
    stop(&p);
    raw_put("meta", "applied", 7, "\0\0\0\0\0\0\0\5", 8);
    cr_expect(eq(int, try_start(&p, 0, &error), SLC_ECORRUPT));
    stop(&p);
}

Test(control, a_directory_that_cannot_be_made)
{
    snprintf(dir, sizeof dir, "%s/missing/control", root);
    plane p;
    slc_error error = {0};
    cr_expect(eq(int, try_start(&p, 0, &error), SLC_ENOTFOUND));
    cr_expect(ne(ptr, strstr(error.text, dir), NULL), "%s", error.text);
    forget(&p);
}

Test(control, a_command_is_decoded_as_it_was_encoded_and_damage_is_found)
{
    slc_control_change changes[] = {put("key", "value"), del("gone"), put("empty", "")};
    size_t bytes = 0;
    cr_assert(eq(int, slc_control_command_size(changes, 3, &bytes), SLC_OK));
    uint8_t *encoded = slc_alloc(bytes);
    slc_control_command_encode(changes, 3, encoded, bytes);
    slc_slice command = slc_slice_of(encoded, bytes);
    uint32_t count = 0;
    cr_assert(eq(int, slc_control_command_check(command, &count), SLC_OK));
    cr_expect(eq(u32, count, 3));
    size_t at = 0;
    slc_control_change change;
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert(slc_control_command_next(command, &at, &change));
        cr_expect(slc_slice_equal(change.key, changes[i].key));
        cr_expect(slc_slice_equal(change.value, changes[i].value));
        cr_expect(eq(int, change.value.data == NULL, changes[i].value.data == NULL));
    }
    cr_expect(not(slc_control_command_next(command, &at, &change)));

    for (size_t i = 0; i < bytes; i++) {
        encoded[i] ^= 0x10;
        cr_expect(eq(int, slc_control_command_check(command, &count), SLC_ECORRUPT), "octet %zu",
                  i);
        encoded[i] ^= 0x10;
        uint8_t *cut =
            slc_alloc(i + 1); // its own memory, so that a sanitizer sees one octet too far
        memcpy(cut, encoded, i);
        cr_expect(eq(int, slc_control_command_check(slc_slice_of(cut, i), &count), SLC_ECORRUPT),
                  "cut at %zu", i);
        slc_free(cut);
    }
    slc_free(encoded);
}

#if SLC_FAILPOINTS

// A child proposes 20 commands one after the other, writes the number of each that was answered to a pipe, and dies at the
// n-th pass of the fail point. What it was told is durable must be there, every command is there as a whole or not at all, and
// at most the one in flight is there without an answer.
static void crash_at(const char *plan)
{
    int ends[2];
    SLC_ASSERT(pipe(ends) == 0);
    pid_t child = fork();
    SLC_ASSERT(child >= 0);
    if (child == 0) {
        slc_error error = {0};
        SLC_ASSERT(slc_failpoint_plan(plan, &error) == SLC_OK);
        plane p;
        start(&p);
        for (uint32_t i = 1; i <= 20; i++) {
            char key[16], value[16];
            snprintf(key, sizeof key, "k%u", i);
            snprintf(value, sizeof value, "v%u", i);
            propose(&p, 3, (slc_control_change[]){put(key, value), put("last", value), del("k3")});
            answers(&p, i);
            if (p.last_rc == SLC_OK) {
                uint8_t number = (uint8_t)i;
                SLC_ASSERT(write(ends[1], &number, 1) == 1);
            }
        }
        _exit(0);
    }
    close(ends[1]);
    uint8_t number = 0, told = 0;
    while (read(ends[0], &number, 1) == 1)
        told = number;
    close(ends[0]);
    int status = 0;
    cr_assert(eq(int, waitpid(child, &status, 0), child));
    cr_assert(ne(int, WIFSIGNALED(status), 0), "%s: exit status %d", plan, WEXITSTATUS(status));
    cr_assert(eq(int, WTERMSIG(status), SIGKILL));

    plane p;
    start(&p);
    uint32_t there = (uint32_t)p.last_index;
    cr_expect(ge(u32, there, told), "%s: told %u, found %u", plan, told, there);
    cr_expect(le(u32, there, told + 1u), "%s: told %u, found %u", plan, told, there);
    for (uint32_t i = 1; i <= 20; i++) {
        char key[16], value[16];
        snprintf(key, sizeof key, "k%u", i);
        snprintf(value, sizeof value, "v%u", i);
        bool want = i <= there && i != 3;
        cr_expect(eq(str, (char *)value_of(&p, key), want ? value : (char *)"(none)"), "%s: %s",
                  plan, key);
    }
    char last[16];
    snprintf(last, sizeof last, "v%u", there);
    cr_expect(eq(str, (char *)value_of(&p, "last"), there > 0 ? last : (char *)"(none)"), "%s",
              plan);
    propose(&p, 1, (slc_control_change[]){put("on", "we go")});
    answers(&p, 1);
    cr_expect(eq(int, p.last_rc, SLC_OK));
    stop(&p);
}

Test(control, crash_before_a_transaction)
{
    crash_at("ctl.append.before=crash@1");
}

Test(control, crash_before_a_later_transaction)
{
    crash_at("ctl.append.before=crash@7");
}

Test(control, crash_between_write_and_commit)
{
    crash_at("ctl.append.before=half@5");
}

Test(control, crash_after_a_transaction)
{
    crash_at("ctl.append.after=crash@1");
}

Test(control, crash_after_a_later_transaction)
{
    crash_at("ctl.append.after=crash@9");
}

Test(control, no_space_is_answered_and_goes_by)
{
    plane p;
    slc_error error = {0};
    start(&p);
    cr_assert(eq(int, slc_failpoint_plan("ctl.append.before=error:ENOSPC@2", &error), SLC_OK));
    propose(&p, 1, (slc_control_change[]){put("a", "1")});
    answers(&p, 1);
    cr_expect(eq(int, p.last_rc, SLC_OK));
    propose(&p, 1, (slc_control_change[]){put("a", "2")});
    answers(&p, 2);
    cr_expect(eq(int, p.last_rc, SLC_ENOSPC));
    propose(&p, 1, (slc_control_change[]){put("b", "3")});
    answers(&p, 3);
    cr_expect(eq(int, p.last_rc, SLC_OK));
    cr_expect(eq(str, (char *)value_of(&p, "a"), "1"));
    cr_expect(eq(u32, p.failed, 0));
    stop(&p);
}

Test(control, an_io_error_is_fatal_and_said_once)
{
    plane p;
    slc_error error = {0};
    start(&p);
    cr_assert(eq(int, slc_failpoint_plan("ctl.append.before=error:EIO@2", &error), SLC_OK));
    for (uint32_t i = 1; i <= 5; i++) {
        propose(&p, 1, (slc_control_change[]){put("a", "1")});
        answers(&p, i);
        cr_expect(eq(int, p.last_rc, i == 1 ? SLC_OK : SLC_EIO), "proposal %u", i);
        cr_expect(eq(u32, p.failed, i == 1 ? 0 : 1));
    }
    stop(&p);
}

// While one transaction waits, the proposals of that time gather into the next: one pass of the fail point for all of them.
Test(control, what_queues_up_shares_a_transaction)
{
    plane p;
    slc_error error = {0};
    start(&p);
    // The third transaction would fail; it must not be needed.
    cr_assert(eq(
        int,
        slc_failpoint_plan("ctl.append.before=delay:300@1;ctl.append.before=error:EIO@3+", &error),
        SLC_OK));
    propose(&p, 1, (slc_control_change[]){put("first", "1")});
    for (uint32_t i = 0; i < 100; i++)
        propose(&p, 1, (slc_control_change[]){put("more", "2")});
    answers(&p, 101);
    cr_expect(eq(u32, p.failed, 0));
    cr_expect(eq(int, p.last_rc, SLC_OK));
    stop(&p);
}

#endif
