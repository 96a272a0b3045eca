// Logging in: hashes, the answer that comes later, what is known, what fails too often.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <time.h>

#include "auth/auth.h"
#include "auth/password.h"
#include "auth/pattern.h"

static uv_loop_t loop;
static slc_auth *auth;
static int answered, granted;
static slc_err answer;

static void checked(slc_err rc, const slc_error *error, void *arg)
{
    (void)error;
    (void)arg;
    answered++;
    granted += rc == SLC_OK;
    answer = rc;
}

static void start(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    auth = slc_auth_new(&(slc_auth_options){.loop = &loop,
                                            .cache_ttl_ms = 60000,
                                            .max_failures_per_minute = 3,
                                            .hashing = SLC_AUTH_SHA256});
    slc_auth_first_user(auth,
                        &(slc_auth_first){.user = "u",
                                          .password = "right",
                                          .tags = "monitoring, administrator",
                                          .vhost = "/",
                                          .configure = "^a",
                                          .write = "",
                                          .read = ".*"},
                        NULL, NULL);
}

static void stop(void)
{
    slc_auth_free(auth);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

TestSuite(auth, .init = start, .fini = stop);

static slc_err check(const char *user, const char *password, slc_auth_ticket **ticket)
{
    return slc_auth_check(auth, slc_slice_str(user), slc_slice_str(password), "192.0.2.1", true,
                          checked, NULL, ticket);
}

Test(auth, the_right_password_is_computed_once_and_known_until_the_user_changes)
{
    slc_auth_ticket *ticket;
    slc_auth_counts counts;
    for (int i = 0; i < 5; i++) // at one time: one computation
        cr_assert_eq(check("u", "right", &ticket), SLC_EPENDING);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(answered, 5);
    cr_assert_eq(answer, SLC_OK);
    cr_assert_eq(check("u", "right", &ticket), SLC_OK);
    slc_auth_counts_get(auth, &counts);
    cr_assert_eq(counts.computed, 1u);

    slc_auth_user_put(auth,
                      &(slc_auth_user_change){.put = SLC_AUTH_PUT_PASSWORD,
                                              .name = slc_slice_str("u"),
                                              .password = slc_slice_str("new")},
                      NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(check("u", "right", &ticket), SLC_EPENDING);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(answer, SLC_EACCESS);
}

Test(auth, nobody_is_answered_who_went_away)
{
    slc_auth_ticket *ticket;
    cr_assert_eq(check("u", "right", &ticket), SLC_EPENDING);
    slc_auth_cancel(ticket);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(answered, 0);
}

Test(auth, empty_and_wrong_passwords_and_unknown_users_are_refused_and_counted)
{
    slc_auth_ticket *ticket;
    slc_auth_counts counts;
    const char *const pairs[][2] = {{"u", ""}, {"u", "wrong"}, {"nobody", "right"}, {"u", "right"}};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(check(pairs[i][0], pairs[i][1], &ticket), SLC_EPENDING);
        uv_run(&loop, UV_RUN_DEFAULT);
        cr_assert_eq(answer, SLC_EACCESS);
    }
    slc_auth_counts_get(auth, &counts);
    cr_assert_eq(counts.limited, 1u); // the last: its address had failed three times
    cr_assert_eq(answered, 4);
}

Test(auth, patterns_are_searched_for_and_empty_means_nothing)
{
    slc_slice u = slc_slice_str("u"), v = slc_slice_str("/");
    cr_expect(slc_auth_may(auth, u, v, SLC_AUTH_CONFIGURE, slc_slice_str("abc")));
    cr_expect_not(slc_auth_may(auth, u, v, SLC_AUTH_CONFIGURE, slc_slice_str("bac")));
    cr_expect_not(slc_auth_may(auth, u, v, SLC_AUTH_WRITE, slc_slice_str("abc")));
    cr_expect_not(slc_auth_may(auth, u, slc_slice_str("w"), SLC_AUTH_READ, slc_slice_str("abc")));
    cr_expect_eq(slc_auth_user_find(auth, u)->tag_bits & SLC_AUTH_TAG_ADMINISTRATOR,
                 (uint32_t)SLC_AUTH_TAG_ADMINISTRATOR);
}

Test(auth, the_hash_of_rabbitmq_s_own_sample_is_understood)
{
    uint8_t hash[SLC_AUTH_HASH_BYTES_MAX];
    size_t bytes;
    cr_assert(slc_auth_hash_decode(
        slc_slice_str("0E0TmHRmVuq60zaBnIn3J5HBTjyjunCAThl4i9dsaKGA1sNx"), hash, &bytes));
    slc_slice of = slc_slice_of(hash, bytes);
    cr_expect(slc_password_verify(SLC_AUTH_SHA256, of, slc_slice_str("guest")));
    cr_expect_not(slc_password_verify(SLC_AUTH_SHA256, of, slc_slice_str("guess")));
}

Test(auth, the_hash_of_guest_is_known_beforehand)
{
    uint8_t hash[SLC_AUTH_HASH_BYTES_MAX], again[SLC_AUTH_HASH_BYTES_MAX];
    size_t bytes, more;
    slc_slice guest = slc_slice_str("guest"), other = slc_slice_str("Guest");
    cr_assert_eq(slc_password_hash_first(SLC_AUTH_ARGON2ID, guest, hash, &bytes), SLC_OK);
    cr_expect(slc_password_verify(SLC_AUTH_ARGON2ID, slc_slice_of(hash, bytes), guest));
    cr_expect_not(slc_password_verify(SLC_AUTH_ARGON2ID, slc_slice_of(hash, bytes), other));
    // It costs as much to check as any other.
    cr_assert_eq(slc_password_hash(SLC_AUTH_ARGON2ID, guest, again, &more), SLC_OK);
    cr_expect_eq(bytes, more);
    cr_expect_eq(memcmp(hash, again, strlen("$argon2id$v=19$m=19456,t=2,p=1$")), 0);

    cr_assert_eq(slc_password_hash_first(SLC_AUTH_ARGON2ID, other, hash, &bytes), SLC_OK);
    cr_expect(slc_password_verify(SLC_AUTH_ARGON2ID, slc_slice_of(hash, bytes), other));
    cr_assert_eq(slc_password_hash_first(SLC_AUTH_SHA256, guest, hash, &bytes), SLC_OK);
    cr_expect(slc_password_verify(SLC_AUTH_SHA256, slc_slice_of(hash, bytes), guest));
}

Test(auth, a_pattern_that_explodes_is_stopped)
{
    slc_pattern *pattern;
    cr_assert_eq(slc_pattern_new(slc_slice_str("^(a+)+$"), &pattern, NULL), SLC_OK);
    cr_expect_eq(
        slc_pattern_match(pattern, slc_slice_str("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")),
        SLC_PATTERN_LIMIT);
    slc_pattern_free(pattern);
}

static slc_err check_from(const char *address, const char *user, const char *password,
                          slc_auth_ticket **ticket)
{
    return slc_auth_check(auth, slc_slice_str(user), slc_slice_str(password), address, true,
                          checked, NULL, ticket);
}

Test(auth, failed_addresses_take_bounded_memory_and_the_oldest_is_forgotten)
{
    enum { ADDRESSES = 25000, KEPT = 20000 };
    slc_auth_ticket *ticket;
    slc_auth_counts counts;
    char address[32];
    for (int i = 0; i < ADDRESSES; i++) {
        snprintf(address, sizeof address, "10.0.%d.%d", i / 256, i % 256);
        cr_assert_eq(check_from(address, "u", "", &ticket), SLC_EPENDING);
        if (i % 100 == 0) { // these fail as often as they may
            cr_assert_eq(check_from(address, "u", "", &ticket), SLC_EPENDING);
            cr_assert_eq(check_from(address, "u", "", &ticket), SLC_EPENDING);
        }
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    slc_auth_counts_get(auth, &counts);
    cr_expect_eq(counts.addresses, (unsigned)KEPT);
    cr_expect_eq(counts.limited, 0u);
    cr_assert_eq(check_from("10.0.0.0", "u", "", &ticket), SLC_EPENDING); // the first: forgotten
    slc_auth_counts_get(auth, &counts);
    cr_expect_eq(counts.limited, 0u);
    cr_assert_eq(check_from("10.0.97.68", "u", "", &ticket), SLC_EPENDING); // number 24,900
    slc_auth_counts_get(auth, &counts);
    cr_expect_eq(counts.limited, 1u);
    uv_run(&loop, UV_RUN_DEFAULT);
}

Test(auth, failures_count_for_a_whole_network_of_ipv6)
{
    static const struct {
        const char *address;
        bool limited; // after three failures of 2001:db8:1:2::1 and its neighbours
    } cases[] = {
        {"2001:db8:1:2::1", true},  {"2001:db8:1:2:ffff:ffff:ffff:ffff", true},
        {"2001:db8:1:3::1", false}, {"2001:db8::1:2:0:1", false},
        {"192.0.2.1", false},       {"", false},
    };
    slc_auth_ticket *ticket;
    slc_auth_counts counts;
    for (int i = 0; i < 3; i++) {
        char address[32];
        snprintf(address, sizeof address, "2001:db8:1:2::%d", i);
        cr_assert_eq(check_from(address, "u", "", &ticket), SLC_EPENDING);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        slc_auth_counts_get(auth, &counts);
        uint64_t before = counts.limited;
        cr_assert_eq(check_from(cases[i].address, "u", "", &ticket), SLC_EPENDING);
        slc_auth_counts_get(auth, &counts);
        cr_expect_eq(counts.limited - before, cases[i].limited ? 1u : 0u, "%s", cases[i].address);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
}

Test(auth, a_flood_is_bounded_refused_unread_at_its_limit_and_nobody_else_is)
{
    enum { LOGINS = 20000, QUEUE = 10000 }; // the other half is for those who have not failed
    slc_auth_ticket *ticket;
    slc_auth_counts counts;
    char password[32];
    cr_assert_eq(check_from("192.0.2.66", "u", "", &ticket), SLC_EPENDING);
    for (int i = 0; i < LOGINS; i++) {
        snprintf(password, sizeof password, "guess %d", i);
        cr_assert_eq(check_from("192.0.2.66", i % 2 ? "u" : "nobody", password, &ticket),
                     SLC_EPENDING);
    }
    slc_auth_counts_get(auth, &counts);
    cr_expect_eq(counts.waiting, (unsigned)QUEUE);
    cr_assert_eq(check_from("192.0.2.1", "u", "right", &ticket), SLC_EPENDING);
    uint64_t begun = counts.computed;
    while (granted == 0)
        uv_run(&loop, UV_RUN_ONCE);
    slc_auth_counts_get(auth, &counts);
    // What was begun before it, those that fill the limit, and itself; not ten thousand.
    cr_expect_leq(counts.computed, begun + 4);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(answered, 1 + LOGINS + 1);
    slc_auth_counts_get(auth, &counts);
    cr_expect_leq(counts.computed, begun + 4);
    cr_expect_eq(counts.failed, 1u + LOGINS);
    cr_expect_eq(counts.waiting, 0u);
}

/** Of this process, which computes nothing else meanwhile. */
static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

Test(auth, who_guesses_pays_the_same_whether_there_is_such_a_user_or_not)
{
    static const char *const users[] = {"nobody", "u", "none", "argon"};
    double least = 1e9, most = 0;
    slc_auth_user_put(auth,
                      &(slc_auth_user_change){.put = SLC_AUTH_PUT_CREATE | SLC_AUTH_PUT_HASH,
                                              .name = slc_slice_str("none")},
                      NULL, NULL);
    slc_auth_set(auth, &(slc_auth_options){.loop = &loop, .hashing = SLC_AUTH_ARGON2ID});
    slc_auth_user_put(auth,
                      &(slc_auth_user_change){.put = SLC_AUTH_PUT_CREATE | SLC_AUTH_PUT_PASSWORD,
                                              .name = slc_slice_str("argon"),
                                              .password = slc_slice_str("pw")},
                      NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 4; i++) {
        slc_auth_ticket *ticket;
        char password[16];
        double from = cpu_s();
        for (int n = 0; n < 5; n++) {
            snprintf(password, sizeof password, "guess %d", n);
            cr_assert_eq(check_from("192.0.2.1", users[i], password, &ticket), SLC_EPENDING);
            uv_run(&loop, UV_RUN_DEFAULT);
            cr_expect_eq(answer, SLC_EACCESS);
        }
        double spent = cpu_s() - from;
        least = spent < least ? spent : least;
        most = spent > most ? spent : most;
    }
    cr_expect_lt(most, 2 * least, "%.3f and %.3f s", least, most); // without it: a thousandth
}
