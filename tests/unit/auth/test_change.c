// Changes of permissions that meet the deletion of their vhost: whichever comes first, nothing of a deleted vhost is left behind.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

#include "auth/auth.h"
#include "base/alloc.h"

/** What is proposed and not committed; the log of changes commits in this order. */
typedef struct proposal {
    slc_change *changes;
    uint32_t count;
    void (*done)(slc_err rc, void *arg);
    void *arg;
    struct proposal *next;
} proposal;

static uv_loop_t loop;
static slc_auth *auth;
static proposal *proposals;
static bool vhost_is_there;
static int answers;
static slc_err answer;
static char answer_text[SLC_ERROR_TEXT_BYTES];

static slc_slice copy(slc_slice slice)
{
    if (slice.data == NULL)
        return slice;
    uint8_t *data = slc_alloc(slice.bytes + 1);
    memcpy(data, slice.data, slice.bytes);
    return slc_slice_of(data, slice.bytes);
}

static void propose(void *arg, const slc_change *changes, uint32_t count,
                    void (*done)(slc_err rc, void *done_arg), void *done_arg)
{
    (void)arg;
    proposal *p = slc_alloc_zero(1, sizeof *p);
    p->changes = slc_alloc(count * sizeof *p->changes);
    for (uint32_t i = 0; i < count; i++)
        p->changes[i] = (slc_change){copy(changes[i].key), copy(changes[i].value)};
    p->count = count;
    p->done = done;
    p->arg = done_arg;
    proposal **at = &proposals;
    while (*at != NULL)
        at = &(*at)->next;
    *at = p;
}

static void commit_first(void)
{
    proposal *p = proposals;
    cr_assert(ne(ptr, p, NULL));
    proposals = p->next;
    for (uint32_t i = 0; i < p->count; i++) {
        cr_expect(eq(int, slc_auth_apply(auth, &p->changes[i], NULL), SLC_OK));
        slc_free((void *)p->changes[i].key.data);
        slc_free((void *)p->changes[i].value.data);
    }
    if (p->done != NULL)
        p->done(SLC_OK, p->arg);
    slc_free(p->changes);
    slc_free(p);
}

static bool stays(void *arg, slc_slice vhost)
{
    (void)arg;
    return slc_slice_is(vhost, "v") ? vhost_is_there : true;
}

static void answered(slc_err rc, const slc_error *error, void *arg)
{
    (void)arg;
    answers++;
    answer = rc;
    snprintf(answer_text, sizeof answer_text, "%s", error != NULL ? error->text : "");
}

static void start(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    auth = slc_auth_new(&(slc_auth_options){
        .loop = &loop, .hashing = SLC_AUTH_SHA256, .propose = propose, .vhost_stays = stays});
    slc_auth_first_user(auth,
                        &(slc_auth_first){.user = "u",
                                          .password = "p",
                                          .tags = "",
                                          .vhost = "/",
                                          .configure = "",
                                          .write = "",
                                          .read = ""},
                        NULL, NULL);
    commit_first();
    vhost_is_there = true;
}

static void stop(void)
{
    slc_auth_free(auth);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

TestSuite(auth_change, .init = start, .fini = stop);

static void ask(const char *vhost, bool topic)
{
    slc_auth_permission p = {
        .user = slc_slice_str("u"),
        .vhost = slc_slice_str(vhost),
        .write = slc_slice_str("w"),
        .read = slc_slice_str("r"),
    };
    if (topic)
        p.exchange = slc_slice_str("x");
    else
        p.configure = slc_slice_str("c");
    slc_auth_permission_put(auth, &p, topic, answered, NULL);
}

/** As core does: the permissions of the vhost go in its proposal. */
static void delete_vhost(void)
{
    vhost_is_there = false;
    slc_auth_changes changes = {0};
    slc_auth_changes_drop_vhost(auth, slc_slice_str("v"), &changes);
    if (changes.count > 0)
        propose(NULL, changes.items, changes.count, NULL, NULL);
    slc_auth_changes_fini(&changes);
}

static void count(const slc_auth_permission *p, void *arg)
{
    (void)p;
    ++*(int *)arg;
}

static int permissions_of(const char *vhost)
{
    int n = 0;
    slc_auth_each_permission(auth, (slc_slice){0}, slc_slice_str(vhost), count, &n);
    slc_auth_each_topic_permission(auth, (slc_slice){0}, slc_slice_str(vhost), count, &n);
    return n;
}

Test(auth_change, a_permission_on_its_way_goes_with_its_vhost)
{
    for (int topic = 0; topic <= 1; topic++) {
        vhost_is_there = true;
        ask("v", topic == 1);
        ask("/", topic == 1); // behind it
        uv_run(&loop, UV_RUN_DEFAULT);
        delete_vhost();
        while (proposals != NULL) {
            commit_first();
            uv_run(&loop, UV_RUN_DEFAULT);
        }
        cr_expect(eq(int, permissions_of("v"), 0));
        cr_expect(eq(int, permissions_of("/"), 1 + topic), "of another vhost");
    }
    cr_expect(eq(int, answers, 4));
}

Test(auth_change, a_permission_of_another_vhost_on_its_way_stays)
{
    ask("/", true);
    uv_run(&loop, UV_RUN_DEFAULT);
    delete_vhost();
    while (proposals != NULL)
        commit_first();
    cr_expect(eq(int, permissions_of("/"), 2));
}

Test(auth_change, a_permission_whose_turn_comes_when_its_vhost_goes_is_refused)
{
    ask("/", false);
    ask("v", false);
    uv_run(&loop, UV_RUN_DEFAULT); // the first is proposed, the second waits for it
    delete_vhost();
    commit_first();
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect(eq(int, answers, 2));
    cr_expect(eq(int, answer, SLC_ENOTFOUND));
    cr_expect(eq(str, answer_text, "vhost 'v' does not exist"));
    cr_expect(proposals == NULL);
    cr_expect(eq(int, permissions_of("v"), 0));
}

Test(auth_change, what_was_there_goes_too)
{
    ask("v", false);
    uv_run(&loop, UV_RUN_DEFAULT);
    commit_first();
    ask("v", true);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect(eq(int, permissions_of("v"), 1));
    delete_vhost();
    while (proposals != NULL)
        commit_first();
    cr_expect(eq(int, permissions_of("v"), 0));
}
