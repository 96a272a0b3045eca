#include "perf/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

static const uint64_t CONFIRM_GRACE_NS = 10000000000u;

enum { RUN_EVENTS = 256, RUN_TIMEOUT_MS = 30000, RUN_CLOSE_MS = 2000, RUN_TIMER_SLACK_NS = 1000 };

static volatile sig_atomic_t run_interrupted;

void slc_perf_run_interrupt(void)
{
    run_interrupted = 1;
}

void slc_perf_run_watch(slc_perf_run *run, slc_perf_watch *watch, uint32_t events)
{
    if (watch->events == events)
        return;
    int op = watch->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    struct epoll_event event = {.events = events, .data.ptr = watch};
    int failed = epoll_ctl(run->epoll_fd, op, watch->fd, &event);
    SLC_ASSERT(failed == 0);
    watch->events = events;
}

static double run_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static slc_err run_open_idle(slc_perf_run *run, slc_error *error)
{
    uint32_t count = run->options->connections_only;
    run->idle = slc_alloc_zero(count, sizeof *run->idle);
    for (uint32_t i = 0; i < count && !run_interrupted; i++) {
        slc_perf_idle *idle = &run->idle[i];
        slc_err rc = slc_perf_conn_open(&idle->conn, run->options, RUN_TIMEOUT_MS, error);
        if (rc != SLC_OK) {
            slc_error_wrap(error, "connection %u of %u", i + 1, count);
            return rc;
        }
        idle->watch = (slc_perf_watch){.fd = idle->conn.fd, .kind = SLC_PERF_WATCH_IDLE};
        run->idle_count++;
        slc_perf_run_watch(run, &idle->watch, EPOLLIN);
    }
    return SLC_OK;
}

static slc_err run_open_load(slc_perf_run *run, slc_error *error)
{
    const slc_perf_options *o = run->options;
    run->consumers = slc_alloc_zero(o->consumers + 1, sizeof *run->consumers);
    run->producers = slc_alloc_zero(o->producers + 1, sizeof *run->producers);
    run->consumer_count = o->consumers;
    run->producer_count = o->producers;
    for (uint32_t i = 0; i < o->consumers; i++)
        run->consumers[i].conn.fd = -1;
    for (uint32_t i = 0; i < o->producers; i++)
        run->producers[i].conn.fd = -1;
    for (uint32_t i = 0; i < o->consumers; i++) {
        slc_err rc = slc_perf_consumer_open(&run->consumers[i], run, i, error);
        if (rc != SLC_OK)
            return rc;
        run->consumers_left++;
    }
    for (uint32_t i = 0; i < o->producers; i++) {
        slc_err rc = slc_perf_producer_open(&run->producers[i], run, i, error);
        if (rc != SLC_OK)
            return rc;
        run->producers_left++;
    }
    if (run->streams > SLC_PERF_STREAMS_MAX)
        return slc_error_set(error, SLC_ELIMIT,
                             "%u producers times their routes are more than %d streams",
                             o->producers, SLC_PERF_STREAMS_MAX);
    return SLC_OK;
}

slc_err slc_perf_run_open(slc_perf_run *run, const slc_perf_options *options, slc_error *error)
{
    *run = (slc_perf_run){.options = options, .goal = UINT64_MAX, .control.fd = -1};
    slc_histogram_init(&run->latency);
    slc_histogram_init(&run->confirm_latency);
    slc_perf_topology_init(&run->topology, options);
    run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    SLC_ASSERT(run->epoll_fd >= 0);
    // Timers of a paced run should not be 50 us late, which is the default slack.
    prctl(PR_SET_TIMERSLACK, RUN_TIMER_SLACK_NS);
    slc_err rc = slc_perf_conn_open(&run->control, options, RUN_TIMEOUT_MS, error);
    if (rc != SLC_OK)
        return rc;
    uint64_t before_ns = slc_clock_now_ns();
    if (options->connections_only > 0) {
        rc = run_open_idle(run, error);
    } else {
        rc = slc_perf_topology_declare(&run->topology, options, &run->control, error);
        if (rc == SLC_OK && options->drain && options->cmessages == 0)
            rc = slc_perf_topology_count(&run->topology, &run->control, &run->goal, error);
        before_ns = slc_clock_now_ns();
        if (rc == SLC_OK)
            rc = run_open_load(run, error);
        if (rc == SLC_OK && options->verify) {
            // Where a message goes to one queue only, the queue need not tell its tracks apart.
            uint32_t queues =
                run->topology.copies > 1 || options->drain ? run->topology.queue_count : 1;
            slc_perf_verify_init(&run->verify, queues, run->streams,
                                 options->consumers <= run->topology.queue_count);
        }
    }
    run->open_s = (double)(slc_clock_now_ns() - before_ns) / 1e9;
    return rc;
}

/** The end of the measured time. */
static void run_end(slc_perf_run *run)
{
    if (run->ended)
        return;
    run->ended = true;
    run->measuring = false;
    run->counts_end = run->counts;
    if (run->publish_end_ns == 0)
        run->publish_end_ns = run->now_ns;
    run->consume_end_ns = run->now_ns;
    run->cpu_s = run_cpu_s() - run->cpu_start_s;
}

static slc_err run_idle_read(slc_perf_conn *conn, slc_error *error)
{
    slc_err rc = slc_perf_conn_fill(conn, error);
    while (rc == SLC_OK) {
        slc_amqp_frame frame;
        size_t used;
        rc = slc_amqp_frame_decode(
            slc_slice_of(conn->in + conn->in_from, conn->in_to - conn->in_from), conn->frame_max,
            &frame, &used, error);
        if (rc == SLC_OK) {
            conn->in_from += used;
            if (frame.type == SLC_AMQP_FRAME_METHOD)
                rc = slc_perf_conn_cold_method(conn, frame.payload, error);
        }
    }
    return rc == SLC_EAGAIN || rc == SLC_ETRUNCATED ? SLC_OK : rc;
}

static slc_err run_event(slc_perf_watch *watch, uint32_t events, slc_error *error)
{
    slc_err rc = SLC_OK;
    switch (watch->kind) {
    case SLC_PERF_WATCH_PRODUCER: {
        slc_perf_producer *p = SLC_CONTAINER_OF(watch, slc_perf_producer, watch);
        if (events & ~(uint32_t)EPOLLOUT)
            rc = slc_perf_producer_read(p, error);
        return rc == SLC_OK ? slc_perf_producer_pump(p, error) : rc;
    }
    case SLC_PERF_WATCH_CONSUMER: {
        slc_perf_consumer *c = SLC_CONTAINER_OF(watch, slc_perf_consumer, watch);
        return events & ~(uint32_t)EPOLLOUT ? slc_perf_consumer_read(c, error)
                                            : slc_perf_consumer_pump(c, error);
    }
    default:
        return run_idle_read(&SLC_CONTAINER_OF(watch, slc_perf_idle, watch)->conn, error);
    }
}

/** Every connection that has a pace, or all of them when the run ends. */
static slc_err run_pump_all(slc_perf_run *run, slc_error *error)
{
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < run->producer_count && rc == SLC_OK; i++)
        rc = slc_perf_producer_pump(&run->producers[i], error);
    for (uint32_t i = 0; i < run->consumer_count && rc == SLC_OK; i++)
        rc = slc_perf_consumer_pump(&run->consumers[i], error);
    return rc;
}

static void run_progress(slc_perf_run *run)
{
    double seconds = run->options->interval_s;
    const slc_perf_counts *now = &run->counts, *then = &run->tick_counts;
    fprintf(stderr, "%6.1f s  published %.0f/s", (double)(run->now_ns - run->start_ns) / 1e9,
            (double)(now->published - then->published) / seconds);
    if (run->options->confirm > 0)
        fprintf(stderr, "  confirmed %.0f/s", (double)(now->confirmed - then->confirmed) / seconds);
    fprintf(stderr, "  consumed %.0f/s\n", (double)(now->consumed - then->consumed) / seconds);
    run->tick_counts = *now;
}

/** One turn: wait for sockets or for until_ns, serve what is ready. */
static slc_err run_turn(slc_perf_run *run, uint64_t until_ns, slc_error *error)
{
    struct epoll_event events[RUN_EVENTS];
    if (run->pace_next_ns < until_ns)
        until_ns = run->pace_next_ns;
    if (run->tick_ns < until_ns)
        until_ns = run->tick_ns;
    uint64_t wait_ns = until_ns > run->now_ns ? until_ns - run->now_ns : 0;
    if (wait_ns > SLC_NS_PER_S)
        wait_ns = SLC_NS_PER_S; // a signal that came just before the wait is seen soon enough
    struct timespec timeout = {(time_t)(wait_ns / SLC_NS_PER_S), (long)(wait_ns % SLC_NS_PER_S)};
    int n = epoll_pwait2(run->epoll_fd, events, RUN_EVENTS, &timeout, NULL);
    if (n < 0 && errno == ENOSYS) // a kernel before 5.11: to the millisecond
        n = epoll_wait(run->epoll_fd, events, RUN_EVENTS, (int)(wait_ns / SLC_NS_PER_MS));
    if (n < 0 && errno != EINTR)
        return slc_error_set(error, SLC_EINTERNAL, "epoll: %s", strerror(errno));
    run->now_ns = slc_clock_now_ns();
    slc_err rc = SLC_OK;
    for (int i = 0; i < n && rc == SLC_OK; i++)
        rc = run_event(events[i].data.ptr, events[i].events, error);
    if (rc == SLC_OK && run->now_ns >= run->pace_next_ns) {
        run->pace_next_ns = UINT64_MAX;
        rc = run_pump_all(run, error);
    }
    if (run->now_ns >= run->tick_ns) {
        run_progress(run);
        run->tick_ns += (uint64_t)(run->options->interval_s * 1e9);
    }
    if (!run->measuring && !run->ended && run->now_ns >= run->measure_ns) {
        run->measuring = true;
        run->counts_start = run->counts;
        run->measure_ns = run->now_ns;
    }
    return rc;
}

/** How many messages the consumers must see in all, now that every producer is done. */
static uint64_t run_goal(const slc_perf_run *run)
{
    const slc_perf_options *o = run->options;
    bool known = !o->predeclared || o->exchange[0] == '\0'; // else the bindings are somebody else's
    bool wanted = (o->pmessages > 0 && !run->cut) || o->verify;
    if (run->producer_count == 0 || o->cmessages > 0 || !known || !wanted)
        return run->goal;
    return (run->counts.published - run->counts.nacked - run->counts.returned) *
           run->topology.copies;
}

static slc_err run_stop(slc_perf_run *run, bool cut, slc_error *error)
{
    run->stopping = true;
    run->cut = cut;
    run_end(run);
    return run_pump_all(run, error);
}

/** Is the load done, apart from saying good-bye? */
static bool run_complete(slc_perf_run *run)
{
    if (run->producers_left > 0)
        // Without a count producers publish as long as somebody consumes.
        return run->consumer_count > 0 && run->consumers_left == 0 && run->options->pmessages == 0;
    if (run->publish_end_ns == 0 && run->producer_count > 0)
        run->publish_end_ns = run->now_ns;
    if (run->consumers_left == 0)
        return run->idle_count == 0;
    uint64_t goal = run_goal(run);
    return goal != UINT64_MAX && run->counts.consumed >= goal;
}

static bool run_must_move(const slc_perf_run *run)
{
    if (run->stopping || run->options->drain)
        return true;
    if (run->producer_count == 0 || run->options->pmessages == 0)
        return false;
    for (uint32_t i = 0; i < run->producer_count; i++)
        if (run->producers[i].state == SLC_PERF_RUNNING)
            return false;
    return true;
}

/** Nothing happened for --grace although something is due. */
static slc_err run_check_stuck(slc_perf_run *run, slc_error *error)
{
    const slc_perf_counts *c = &run->counts;
    uint64_t mark = c->published + c->confirmed + c->nacked + c->consumed + run->producers_left +
                    run->consumers_left;
    uint64_t grace_ns = (uint64_t)(run->options->grace_s * 1e9);
    if (run->options->consumer_rate > 0)
        grace_ns += (uint64_t)(2e9 / run->options->consumer_rate);
    if (mark != run->moved_mark || !run_must_move(run)) {
        run->moved_mark = mark;
        run->moved_ns = run->now_ns;
        return SLC_OK;
    }
    uint64_t unconfirmed = 0;
    for (uint32_t i = 0; i < run->producer_count; i++)
        if (run->producers[i].times != NULL)
            unconfirmed += run->producers[i].outstanding;
    // A short --grace is for what consumers leave behind, which may be meant. The broker answers in any case.
    uint64_t goal = run_goal(run);
    bool left_behind = goal != UINT64_MAX && goal > c->consumed;
    if ((unconfirmed > 0 || run->producers_left > 0 || !left_behind) && grace_ns < CONFIRM_GRACE_NS)
        grace_ns = CONFIRM_GRACE_NS;
    if (run->now_ns - run->moved_ns < grace_ns)
        return SLC_OK;
    if (unconfirmed > 0)
        return slc_error_set(error, SLC_ETIMEDOUT,
                             "%llu messages were not confirmed within %g s of the last answer",
                             (unsigned long long)unconfirmed, (double)grace_ns / 1e9);
    if (run->producers_left > 0)
        return slc_error_set(error, SLC_ETIMEDOUT,
                             "the broker did not read all messages: no progress for %g s",
                             (double)grace_ns / 1e9);
    if (left_behind)
        return slc_error_set(error, SLC_ETIMEDOUT,
                             "%llu of %llu messages did not arrive: no progress for %g s",
                             (unsigned long long)(goal - c->consumed), (unsigned long long)goal,
                             (double)grace_ns / 1e9);
    return slc_error_set(error, SLC_ETIMEDOUT,
                         "the broker did not close the channels: no progress for %g s",
                         (double)grace_ns / 1e9);
}

/** Consumers have seen what is due: their last acks and good-bye. */
static slc_err run_finish_consumers(slc_perf_run *run, slc_error *error)
{
    uint64_t goal = run_goal(run);
    if (run->producers_left > 0 || (goal != UINT64_MAX && run->counts.consumed < goal &&
                                    (run->options->verify && !run->options->drain)))
        return SLC_OK;
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < run->consumer_count && rc == SLC_OK; i++)
        rc = slc_perf_consumer_finish(&run->consumers[i], error);
    return rc;
}

static slc_err run_subscribe(slc_perf_run *run, slc_error *error)
{
    for (uint32_t i = 0; i < run->consumer_count; i++)
        slc_perf_consumer_start(&run->consumers[i]);
    uint64_t deadline_ns = run->now_ns + (uint64_t)RUN_TIMEOUT_MS * SLC_NS_PER_MS;
    while (run->subscribed < run->subscriptions && !run_interrupted) {
        slc_err rc = run_turn(run, deadline_ns, error);
        if (rc != SLC_OK)
            return rc;
        if (run->now_ns >= deadline_ns)
            return slc_error_set(error, SLC_ETIMEDOUT, "waiting for basic.consume-ok");
    }
    return SLC_OK;
}

static void run_start_clock(slc_perf_run *run)
{
    const slc_perf_options *o = run->options;
    run->now_ns = run->start_ns = run->moved_ns = slc_clock_now_ns();
    run->stop_ns = o->seconds > 0 ? run->start_ns + (uint64_t)(o->seconds * 1e9) : UINT64_MAX;
    run->measure_ns = run->start_ns + (uint64_t)(o->warmup_s * 1e9);
    run->tick_ns = o->interval_s > 0 ? run->start_ns + (uint64_t)(o->interval_s * 1e9) : UINT64_MAX;
    run->pace_next_ns = UINT64_MAX;
    run->cpu_start_s = run_cpu_s();
    run->measuring = o->warmup_s <= 0;
}

slc_err slc_perf_run_drive(slc_perf_run *run, slc_error *error)
{
    run_start_clock(run);
    slc_err rc = run_subscribe(run, error);
    if (rc != SLC_OK)
        return rc;
    if (run->producer_count > 0) {
        run_start_clock(run); // consumers wait already: time begins with the first message
        for (uint32_t i = 0; i < run->producer_count; i++)
            slc_perf_producer_start(&run->producers[i], i);
        rc = run_pump_all(run, error);
    }
    while (rc == SLC_OK) {
        if (!run->stopping && (run_interrupted || run->now_ns >= run->stop_ns))
            rc = run_stop(run, true, error);
        else if (!run->stopping && run_complete(run))
            rc = run_stop(run, false, error);
        if (rc == SLC_OK && run->stopping)
            rc = run_finish_consumers(run, error);
        if (rc != SLC_OK || (run->stopping && run->producers_left == 0 && run->consumers_left == 0))
            break;
        if ((rc = run_check_stuck(run, error)) == SLC_OK)
            rc = run_turn(run,
                          run->stopping    ? run->now_ns + 100 * SLC_NS_PER_MS
                          : run->measuring ? run->stop_ns
                                           : run->measure_ns,
                          error);
    }
    run_end(run);
    if (run->options->verify)
        slc_perf_verify_finish(&run->verify);
    return rc;
}

slc_err slc_perf_run_close(slc_perf_run *run, slc_error *error)
{
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < run->consumer_count; i++)
        slc_perf_consumer_fini(&run->consumers[i]);
    for (uint32_t i = 0; i < run->producer_count; i++)
        slc_perf_producer_fini(&run->producers[i]);
    for (uint32_t i = 0; i < run->idle_count; i++)
        slc_perf_conn_fini(&run->idle[i].conn);
    if (run->control.fd >= 0) {
        if (run->options->connections_only == 0)
            rc = slc_perf_topology_delete(&run->topology, run->options, &run->control, error);
        slc_perf_conn_close(&run->control, RUN_CLOSE_MS);
    }
    slc_perf_verify_fini(&run->verify);
    slc_perf_body_fini(&run->body);
    slc_perf_topology_fini(&run->topology);
    slc_free(run->consumers);
    slc_free(run->producers);
    slc_free(run->idle);
    close(run->epoll_fd);
    return rc;
}
