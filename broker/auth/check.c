// Checking passwords without stopping the loop.
//
//     slc_auth_check ──known pair──> SLC_OK
//           │
//           ├── the address failed too often ─────────────────────────────┐
//           ▼                                                             ▼
//        job (one for each pair) ──queue──> worker ──wrong──> delayed ──timer──> done(SLC_EACCESS)
//                                              └──right──> done(SLC_OK), the pair is known
//
// A ticket is one peer that waits; it is in the list of its job, or in `delayed`. A job without tickets that has not begun
// is dropped: peers that go away cost nothing. Of the jobs that wait, one of an address with the fewest failures is next, so
// that guessing makes the guesser wait and nobody else.
#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>

#include "auth/auth_impl.h"
#include "auth/password.h"

enum {
    KNOWN_MAX = 20000,
    FAILURES_MAX = 20000,
    QUEUE_MAX = 20000,
    ANSWERS_PER_TURN = 100, // each ends a connection
    MINUTE_MS = 60000,
    ADDRESS_BYTES = 64,
};

struct auth_known {
    uint8_t mac[AUTH_MAC_BYTES];
    uint64_t serial; // of the user when it was checked
    uint64_t until_ms;
    UT_hash_handle hh;
};

struct auth_address {
    char name[ADDRESS_BYTES];
    uint32_t failures; // since from_ms
    uint64_t from_ms;
    UT_hash_handle hh;
};

struct slc_auth_ticket {
    slc_auth *auth;
    auth_job *job; // NULL: in auth->delayed
    slc_auth_checked done;
    void *arg;
    bool loopback;
    char address[ADDRESS_BYTES];
    slc_slice user; // owned
    uint64_t from_ms, due_ms;
    slc_error error;
    slc_auth_ticket *prev, *next;
};

struct auth_job {
    uint8_t mac[AUTH_MAC_BYTES];
    slc_auth *auth;
    slc_slice user, password, hash; // owned; hash of an unknown user: bytes 0
    slc_auth_hashing hashing;
    uint64_t serial; // 0: unknown user
    bool running, right;
    slc_auth_ticket *tickets; // DL
    uv_work_t work;
    auth_job *prev, *next; // of auth->queue
    UT_hash_handle hh;     // of auth->jobs by mac
};

static uint64_t now_ms(const slc_auth *auth)
{
    return uv_now(auth->options.loop);
}

static void pair_mac(const slc_auth *auth, slc_slice user, slc_slice password,
                     uint8_t out[AUTH_MAC_BYTES])
{
    crypto_auth_hmacsha256_state state;
    uint64_t user_bytes = user.bytes;
    crypto_auth_hmacsha256_init(&state, auth->mac_key, sizeof auth->mac_key);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)&user_bytes, sizeof user_bytes);
    crypto_auth_hmacsha256_update(&state, user.data, user.bytes);
    crypto_auth_hmacsha256_update(&state, password.data, password.bytes);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

/* ---- pairs that are known to be right ---- */

static void known_drop(slc_auth *auth, auth_known *known)
{
    HASH_DELETE(hh, auth->known, known);
    sodium_memzero(known, sizeof *known);
    slc_free(known);
}

static bool known_find(slc_auth *auth, const uint8_t *mac, slc_slice user)
{
    auth_known *known;
    HASH_FIND(hh, auth->known, mac, AUTH_MAC_BYTES, known);
    if (known == NULL)
        return false;
    const auth_user *record = auth_user_find(auth, user);
    if (record != NULL && record->serial == known->serial && now_ms(auth) < known->until_ms)
        return true;
    known_drop(auth, known);
    return false;
}

static void known_add(slc_auth *auth, const auth_job *job)
{
    if (auth->options.cache_ttl_ms == 0)
        return;
    auth_known *known;
    HASH_FIND(hh, auth->known, job->mac, AUTH_MAC_BYTES, known);
    if (known != NULL)
        known_drop(auth, known);
    // Oldest first: those over are at the front.
    while (auth->known != NULL &&
           (HASH_COUNT(auth->known) >= KNOWN_MAX || auth->known->until_ms <= now_ms(auth)))
        known_drop(auth, auth->known);
    known = slc_alloc_zero(1, sizeof *known);
    memcpy(known->mac, job->mac, AUTH_MAC_BYTES);
    known->serial = job->serial;
    known->until_ms = now_ms(auth) + auth->options.cache_ttl_ms;
    HASH_ADD(hh, auth->known, mac, AUTH_MAC_BYTES, known);
}

/* ---- addresses that fail ---- */

/** Whom failures are counted for: an IPv4 address, or the 64 bits of an IPv6 address that a network gives away. Whoever has
 *  one of those addresses has them all. */
static void address_key(const char *address, char out[ADDRESS_BYTES])
{
    struct in6_addr v6;
    snprintf(out, ADDRESS_BYTES, "%s", address);
    if (inet_pton(AF_INET6, address, &v6) != 1)
        return;
    memset(v6.s6_addr + 8, 0, 8);
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &v6, text, sizeof text);
    snprintf(out, ADDRESS_BYTES, "%s/64", text);
}

static auth_address *address_find(slc_auth *auth, const char *name)
{
    auth_address *address;
    HASH_FIND(hh, auth->failures, name, strlen(name), address);
    if (address != NULL && now_ms(auth) - address->from_ms >= MINUTE_MS) {
        HASH_DELETE(hh, auth->failures, address);
        slc_free(address);
        address = NULL;
    }
    return address;
}

static uint32_t address_failures(slc_auth *auth, const char *name)
{
    const auth_address *address = name[0] != '\0' ? address_find(auth, name) : NULL;
    return address != NULL ? address->failures : 0;
}

static bool address_limited(slc_auth *auth, const char *name)
{
    uint32_t max = auth->options.max_failures_per_minute;
    return max > 0 && address_failures(auth, name) >= max;
}

/** Half of the queue is for those who have not failed: who guesses must not fill it for the others. */
static bool queue_full(slc_auth *auth, const char *address)
{
    uint32_t max = address_failures(auth, address) > 0 ? QUEUE_MAX / 2 : QUEUE_MAX;
    return auth->queued >= max;
}

static void address_failed(slc_auth *auth, const char *name)
{
    if (name[0] == '\0')
        return;
    auth_address *address = address_find(auth, name);
    if (address == NULL) {
        if (HASH_COUNT(auth->failures) >= FAILURES_MAX) {
            auth_address *oldest = auth->failures;
            HASH_DELETE(hh, auth->failures, oldest);
            slc_free(oldest);
        }
        address = slc_alloc_zero(1, sizeof *address);
        snprintf(address->name, sizeof address->name, "%s", name);
        address->from_ms = now_ms(auth);
        HASH_ADD_STR(auth->failures, name, address);
    }
    address->failures++;
}

/* ---- tickets ---- */

static void ticket_free(slc_auth_ticket *ticket)
{
    auth_drop(&ticket->user);
    slc_free(ticket);
}

static void timer_cb(uv_timer_t *timer);

static void timer_set(slc_auth *auth)
{
    if (auth->freed || auth->delayed == NULL)
        return;
    uint64_t now = now_ms(auth);
    uint64_t due = auth->delayed->due_ms;
    uv_timer_start(&auth->timer, timer_cb, due > now ? due - now : 0, 0);
}

/** ticket is in no list. Its error says why. */
static void ticket_refuse(slc_auth_ticket *ticket)
{
    slc_auth *auth = ticket->auth;
    auth->counts.failed++;
    ticket->job = NULL;
    ticket->due_ms = ticket->from_ms + auth->options.failure_delay_ms;
    // Nearly always the last: whoever came later is due later.
    slc_auth_ticket *before = auth->delayed != NULL ? auth->delayed->prev : NULL;
    while (before != NULL && before->due_ms > ticket->due_ms)
        before = before == auth->delayed ? NULL : before->prev;
    if (before != NULL)
        DL_APPEND_ELEM(auth->delayed, before, ticket);
    else
        DL_PREPEND(auth->delayed, ticket);
    timer_set(auth);
}

static void timer_cb(uv_timer_t *timer)
{
    slc_auth *auth = timer->data;
    for (int i = 0; i < ANSWERS_PER_TURN && !auth->freed && auth->delayed != NULL &&
                    auth->delayed->due_ms <= now_ms(auth);
         i++) {
        slc_auth_ticket *ticket = auth->delayed;
        DL_DELETE(auth->delayed, ticket);
        ticket->done(SLC_EACCESS, &ticket->error, ticket->arg);
        ticket_free(ticket);
    }
    timer_set(auth);
}

static bool loopback_refused(slc_auth *auth, slc_slice user, bool loopback)
{
    return !loopback && auth->options.loopback_only != NULL &&
           auth->options.loopback_only(auth->options.arg, user);
}

static void error_loopback(slc_slice user, slc_error *error)
{
    slc_error_set(error, SLC_EACCESS, "user '%.*s' can only connect via localhost",
                  SLC_SLICE_FMT(user));
}

static void error_invalid(slc_slice user, slc_error *error)
{
    slc_error_set(error, SLC_EACCESS, "user '%.*s' - invalid credentials", SLC_SLICE_FMT(user));
}

static void error_limited(const char *address, slc_error *error)
{
    slc_error_set(error, SLC_EACCESS,
                  "too many failed logins from %s within a minute (auth.max_failures_per_minute)",
                  address);
}

/* ---- jobs ---- */

/** In no list any more. */
static void job_free(auth_job *job)
{
    if (job->password.bytes > 0)
        sodium_memzero((void *)(uintptr_t)job->password.data, job->password.bytes);
    auth_drop(&job->user);
    auth_drop(&job->password);
    auth_drop(&job->hash);
    slc_free(job);
}

/** Every ticket gets the answer; callbacks may cancel others of the same job. */
static void job_answer(auth_job *job, bool limited)
{
    slc_auth *auth = job->auth;
    while (job->tickets != NULL) {
        slc_auth_ticket *ticket = job->tickets;
        DL_DELETE(job->tickets, ticket);
        if (job->right && !loopback_refused(auth, ticket->user, ticket->loopback)) {
            ticket->done(SLC_OK, NULL, ticket->arg);
            ticket_free(ticket);
            continue;
        }
        if (limited) {
            auth->counts.limited++;
            error_limited(ticket->address, &ticket->error);
        } else {
            address_failed(auth, ticket->address);
            if (job->right)
                error_loopback(ticket->user, &ticket->error);
            else
                error_invalid(ticket->user, &ticket->error);
        }
        ticket_refuse(ticket);
    }
}

static void job_work(uv_work_t *work)
{
    auth_job *job = SLC_CONTAINER_OF(work, auth_job, work);
    bool known = job->hash.bytes > 0;
    job->right = known && slc_password_verify(job->hashing, job->hash, job->password);
    // Who guesses must not learn from the time whether the user exists, or how the password is kept.
    if (!job->right && (!known || job->hashing != SLC_AUTH_ARGON2ID))
        slc_password_waste(job->password);
}

static void jobs_start(slc_auth *auth);

/** What is to be compared, as of now. */
static void job_refresh(auth_job *job)
{
    const auth_user *record = auth_user_find(job->auth, job->user);
    auth_drop(&job->hash);
    job->hash = auth_copy(record != NULL ? record->info.password_hash : (slc_slice){0});
    job->hashing = record != NULL ? record->info.hashing : SLC_AUTH_ARGON2ID;
    job->serial = record != NULL ? record->serial : 0;
}

static void job_enqueue(auth_job *job)
{
    DL_APPEND(job->auth->queue, job);
    job->auth->queued++;
}

static void job_done(uv_work_t *work, int status)
{
    auth_job *job = SLC_CONTAINER_OF(work, auth_job, work);
    slc_auth *auth = job->auth;
    (void)status;
    auth->running--;
    job->running = false;
    const auth_user *record = auth_user_find(auth, job->user);
    if ((record != NULL ? record->serial : 0) != job->serial) {
        // The user was changed meanwhile: what was right then is not what counts now.
        job->right = false;
        if (!auth->freed && job->tickets != NULL) {
            job_enqueue(job);
            jobs_start(auth);
            auth_unref(auth);
            return;
        }
    }
    HASH_DELETE(hh, auth->jobs, job);
    job->running = true; // a callback that cancels must not free it
    if (!auth->freed) {
        if (job->right)
            known_add(auth, job);
        job_answer(job, false);
        jobs_start(auth);
    }
    job_free(job);
    auth_unref(auth);
}

static void job_unqueue(auth_job *job)
{
    DL_DELETE(job->auth->queue, job);
    job->auth->queued--;
}

/** The next to compute: first come, first served among those whose address failed least. NULL: nothing waits. Who has met the
 *  limit since it was queued is refused on the way, all of them in one pass: a flood may be twenty thousand long. */
static auth_job *jobs_next(slc_auth *auth)
{
    auth_job *best = NULL;
    uint32_t best_failures = UINT32_MAX, max = auth->options.max_failures_per_minute;
    auth_job *job, *next;
    DL_FOREACH_SAFE(auth->queue, job, next)
    {
        uint32_t failures = address_failures(auth, job->tickets->address);
        if (max > 0 && failures >= max) {
            job_unqueue(job);
            HASH_DELETE(hh, auth->jobs, job);
            job_answer(job, true); // late, so nothing is called inside
            job_free(job);
        } else if (failures < best_failures) {
            best = job;
            best_failures = failures;
            if (failures == 0)
                break;
        }
    }
    return best;
}

static void jobs_start(slc_auth *auth)
{
    auth_job *job;
    while (auth->running < auth->running_max && (job = jobs_next(auth)) != NULL) {
        job_unqueue(job);
        job_refresh(job);
        job->running = true;
        auth->running++;
        auth->counts.computed++;
        auth->refs++;
        int code = uv_queue_work(auth->options.loop, &job->work, job_work, job_done);
        SLC_ASSERT(code == 0);
    }
}

static auth_job *job_ensure(slc_auth *auth, const uint8_t *mac, slc_slice user, slc_slice password)
{
    auth_job *job;
    HASH_FIND(hh, auth->jobs, mac, AUTH_MAC_BYTES, job);
    if (job != NULL)
        return job;
    job = slc_alloc_zero(1, sizeof *job);
    job->auth = auth;
    memcpy(job->mac, mac, AUTH_MAC_BYTES);
    job->user = auth_copy(user);
    job->password = auth_copy(password);
    HASH_ADD(hh, auth->jobs, mac, AUTH_MAC_BYTES, job);
    job_enqueue(job);
    return job;
}

slc_err slc_auth_check(slc_auth *auth, slc_slice user, slc_slice password, const char *address,
                       bool loopback, slc_auth_checked done, void *arg, slc_auth_ticket **out)
{
    uint8_t mac[AUTH_MAC_BYTES];
    auth->counts.attempts++;
    pair_mac(auth, user, password, mac);
    bool known = password.bytes > 0 && known_find(auth, mac, user);
    if (known && !loopback_refused(auth, user, loopback)) {
        auth->counts.cached++;
        return SLC_OK;
    }
    slc_auth_ticket *ticket = slc_alloc_zero(1, sizeof *ticket);
    ticket->auth = auth;
    ticket->done = done;
    ticket->arg = arg;
    ticket->loopback = loopback;
    ticket->user = auth_copy(user);
    ticket->from_ms = now_ms(auth);
    address_key(address, ticket->address);
    *out = ticket;
    bool limited = address_limited(auth, ticket->address);
    bool full = queue_full(auth, ticket->address);
    if (limited || known || full || password.bytes == 0 ||
        password.bytes > SLC_AUTH_PASSWORD_BYTES_MAX) {
        if (limited) {
            auth->counts.limited++;
            error_limited(ticket->address, &ticket->error);
        } else if (full) {
            slc_error_set(&ticket->error, SLC_EACCESS, "too many logins wait to be checked");
        } else {
            address_failed(auth, ticket->address);
            if (known)
                error_loopback(user, &ticket->error);
            else
                error_invalid(user, &ticket->error);
        }
        ticket_refuse(ticket);
        return SLC_EPENDING;
    }
    auth_job *job = job_ensure(auth, mac, user, password);
    ticket->job = job;
    DL_APPEND(job->tickets, ticket);
    jobs_start(auth);
    return SLC_EPENDING;
}

void slc_auth_cancel(slc_auth_ticket *ticket)
{
    slc_auth *auth = ticket->auth;
    auth_job *job = ticket->job;
    if (job == NULL) {
        DL_DELETE(auth->delayed, ticket);
    } else {
        DL_DELETE(job->tickets, ticket);
        if (job->tickets == NULL && !job->running) {
            job_unqueue(job);
            HASH_DELETE(hh, auth->jobs, job);
            job_free(job);
        }
    }
    ticket_free(ticket);
}

slc_err slc_auth_check_external(const slc_auth *auth, slc_slice user, bool loopback,
                                slc_error *error)
{
    if (auth_user_find(auth, user) == NULL)
        return slc_error_set(error, SLC_EACCESS, "user '%.*s' - not found", SLC_SLICE_FMT(user));
    if (!loopback && auth->options.loopback_only != NULL &&
        auth->options.loopback_only(auth->options.arg, user)) {
        error_loopback(user, error);
        return SLC_EACCESS;
    }
    return SLC_OK;
}

void slc_auth_counts_get(const slc_auth *auth, slc_auth_counts *out)
{
    *out = auth->counts;
    out->waiting = auth->queued;
    out->addresses = HASH_COUNT(auth->failures);
}

/* ---- life ---- */

static void timer_closed(uv_handle_t *handle)
{
    auth_unref(handle->data);
}

void auth_checks_init(slc_auth *auth)
{
    randombytes_buf(auth->mac_key, sizeof auth->mac_key);
    // The loop and the store's threads need the machine too.
    unsigned cores = uv_available_parallelism();
    auth->running_max = cores / 2 < 1 ? 1 : cores / 2 > 4 ? 4 : cores / 2;
    uv_timer_init(auth->options.loop, &auth->timer);
    auth->timer.data = auth;
    auth->refs++;
}

void auth_checks_fini(slc_auth *auth)
{
    while (auth->delayed != NULL)
        slc_auth_cancel(auth->delayed);
    auth_job *job, *next;
    HASH_ITER(hh, auth->jobs, job, next)
    {
        while (job->tickets != NULL) {
            slc_auth_ticket *ticket = job->tickets;
            bool last = ticket->next == NULL && !job->running;
            slc_auth_cancel(ticket); // the last one takes a waiting job with it
            if (last)
                break;
        }
    }
    while (auth->known != NULL)
        known_drop(auth, auth->known);
    while (auth->failures != NULL) {
        auth_address *address = auth->failures;
        HASH_DELETE(hh, auth->failures, address);
        slc_free(address);
    }
    uv_close((uv_handle_t *)&auth->timer, timer_closed);
}
