// Signals: SIGTERM and SIGINT stop (the second time at once), SIGHUP reloads, SIGUSR1 opens the log file anew,
// SIGUSR2 writes the state to the log.
#include <signal.h>
#include <unistd.h>

#include "app/daemon_impl.h"
#include "base/clock.h"
#include "base/log.h"

enum { REPEAT_MS = 1000 };

static void on_signal(uv_signal_t *handle, int number)
{
    slc_daemon *d = handle->data;
    switch (number) {
    case SIGTERM:
    case SIGINT:
        if (d->phase >= SLC_PHASE_QUIESCING) {
            if (slc_clock_now_ns() - d->stop_signal_ns < REPEAT_MS * SLC_NS_PER_MS)
                break; // one stop, sent to the process and to its group
            slc_log(SLC_LOG_WARN, "default", "stop.now", SLC_NO_FIELDS,
                    "second signal: stopping at once");
            slc_log_stop();
            _exit(128 + number);
        }
        d->stop_signal_ns = slc_clock_now_ns();
        slc_daemon_stop(d, number == SIGTERM ? "SIGTERM" : "SIGINT");
        break;
    case SIGHUP:
        if (d->phase == SLC_PHASE_SERVING)
            (void)!slc_daemon_reload(d, NULL, &(slc_error){0}); // it is in the log
        break;
    case SIGUSR1:
        slc_log_reopen();
        break;
    case SIGUSR2:
        if (d->phase == SLC_PHASE_SERVING || d->phase == SLC_PHASE_QUIESCING ||
            d->phase == SLC_PHASE_CLOSING)
            slc_daemon_dump(d);
        break;
    default:
        break;
    }
}

void slc_daemon_signals(slc_daemon *d)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(numbers); i++) {
        uv_signal_init(&d->loop, &d->signals[i]);
        d->signals[i].data = d;
        uv_signal_start(&d->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&d->signals[i]);
    }
}
