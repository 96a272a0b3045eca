#include "app/definitions_check.h"

#include <string.h>
#include <utlist.h>

#include "app/boot_definitions.h"
#include "app/daemon_impl.h"
#include "base/alloc.h"
#include "base/clock.h"

/** What a part wants to have committed; it is, in the next round. */
typedef struct proposal {
    slc_change *changes; // owned, with their octets
    uint32_t count;
    void (*done)(slc_err rc, void *arg);
    void *arg;
    struct proposal *prev, *next;
} proposal;

typedef struct trial {
    uv_loop_t loop;
    slc_broker *broker;
    slc_auth *auth;
    proposal *proposals;
    uint32_t last_qid;
    bool done;
    slc_err rc;
    slc_error *error;
} trial;

/* ---- the world of that broker: a clock, and a store that nothing is written to ---- */

static uint64_t trial_now_ns(void *arg)
{
    (void)arg;
    return slc_clock_now_ns();
}

static uint64_t trial_wall_ms(void *arg)
{
    (void)arg;
    return slc_clock_wall_ms();
}

static void trial_random(void *arg, void *out, uint32_t bytes)
{
    (void)arg;
    slc_random_bytes(out, bytes);
}

static uint32_t trial_queue_new(void *arg, const uint8_t uuid[SLC_UUID_BYTES], uint64_t *ticket)
{
    trial *t = arg;
    (void)uuid;
    *ticket = ++t->last_qid;
    return t->last_qid;
}

/** data NULL, which deletes, stays so. */
static slc_slice copied(slc_slice s)
{
    return s.data == NULL ? s : slc_slice_of(slc_strndup((const char *)s.data, s.bytes), s.bytes);
}

static void trial_propose(void *arg, const slc_change *changes, uint32_t count,
                          void (*done)(slc_err rc, void *done_arg), void *done_arg)
{
    trial *t = arg;
    proposal *p = slc_alloc(sizeof *p);
    *p = (proposal){slc_alloc_zero(count, sizeof *p->changes), count, done, done_arg, NULL, NULL};
    for (uint32_t i = 0; i < count; i++)
        p->changes[i] =
            (slc_change){.key = copied(changes[i].key), .value = copied(changes[i].value)};
    DL_APPEND(t->proposals, p);
}

static void trial_commit(trial *t, proposal *p)
{
    slc_err rc = SLC_OK;
    DL_DELETE(t->proposals, p);
    for (uint32_t i = 0; i < p->count; i++) {
        const slc_change *c = &p->changes[i];
        slc_error error = {0};
        if (rc == SLC_OK)
            rc = slc_auth_owns(c->key) ? slc_auth_apply(t->auth, c, &error)
                                       : slc_broker_apply(t->broker, c, &error);
        slc_free((void *)c->key.data);
        slc_free((void *)c->value.data);
    }
    p->done(rc, p->arg);
    slc_free(p->changes);
    slc_free(p);
}

/* ---- the trial ---- */

static void trial_done(slc_err rc, const slc_error *error, void *arg)
{
    trial *t = arg;
    t->done = true;
    t->rc = rc;
    if (rc != SLC_OK)
        *t->error = *error;
}

static void trial_turn(trial *t)
{
    slc_broker_turn(t->broker);
    if (t->proposals != NULL)
        trial_commit(t, t->proposals);
    slc_broker_durable(t->broker, t->last_qid);
    uv_run(&t->loop, UV_RUN_NOWAIT);
}

slc_err slc_definitions_check(const slc_settings *s, slc_error *error)
{
    if (s->load_definitions == NULL)
        return SLC_OK;
    trial *t = slc_alloc_zero(1, sizeof *t);
    t->error = error;
    int rc = uv_loop_init(&t->loop);
    SLC_ASSERT(rc == 0); // it fails for want of descriptors only
    t->auth = slc_auth_new(&(slc_auth_options){
        .loop = &t->loop,
        .hashing = (slc_auth_hashing)s->password_hashing,
        .propose = trial_propose,
        .arg = t,
    });
    // Nobody publishes here, so nothing is appended, dropped or read.
    t->broker = slc_broker_new(&(slc_broker_options){
        .env =
            {
                .arg = t,
                .now_ns = trial_now_ns,
                .wall_ms = trial_wall_ms,
                .random = trial_random,
                .store_queue_new = trial_queue_new,
                .propose = trial_propose,
            },
        .default_vhost = s->default_vhost,
    });
    slc_user_definitions *users = slc_user_definitions_new(&t->loop, t->broker, t->auth);
    slc_user_definitions_hashing(users, (slc_auth_hashing)s->password_hashing);
    slc_daemon_broker_limits(t->broker, s);
    slc_broker_start(t->broker);
    while (!slc_broker_idle(t->broker))
        trial_turn(t);
    slc_boot_definitions(t->broker, s->load_definitions, false, trial_done, t);
    while (!t->done || !slc_broker_idle(t->broker))
        trial_turn(t);
    slc_broker_free(t->broker);
    slc_auth_free(t->auth);
    uv_run(&t->loop, UV_RUN_DEFAULT); // its handles close
    slc_user_definitions_free(users);
    uv_loop_close(&t->loop);
    slc_err result = t->rc;
    slc_free(t);
    return result;
}
