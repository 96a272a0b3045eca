/** Inside sluiced: its state, which the files daemon*.c share.
 *
 *      daemon.c          main, what is opened in which order and closed again
 *      daemon_life.c     phases: the turn of the loop, opening the doors, stopping
 *      daemon_options.c  settings become the options of each part; what parts ask back (auth)
 *      daemon_http.c     what the management API asks of the daemon: status, limits, shutdown
 *      daemon_admin.c    and what only administrators ask: log level, listeners, command line
 *      daemon_reload.c   SIGHUP and changed certificates
 *      daemon_signals.c  signals
 *      daemon_dump.c     SIGUSR2: the state in the log
 *
 *  One slc_daemon in a process. It owns all that it points to. Thread: the main thread, which is the loop's.
 */
#ifndef SLC_APP_DAEMON_IMPL_H
#define SLC_APP_DAEMON_IMPL_H

#include <uv.h>

#include "amqp091/amqp091.h"
#include "app/backup.h"
#include "app/instance.h"
#include "app/log_lines.h"
#include "app/monitor.h"
#include "app/options.h"
#include "app/settings.h"
#include "app/user_definitions.h"
#include "app/vhost_seeds.h"
#include "app/world.h"
#include "http/http.h"

/** Exit statuses. @spec operations 3 */
enum {
    SLC_EXIT_DAMAGED = 65, // the store, the definitions or a backup
    SLC_EXIT_INTERNAL = 70,
    SLC_EXIT_SYSTEM = 71,
    SLC_EXIT_DATA_DIR = 73,
    SLC_EXIT_DISK = 74,
    SLC_EXIT_ADDRESS = 75,
    SLC_EXIT_CONFIG = 78
};

// ---- phases ----
//
//   STARTING ──default vhost is there, listeners open──> SERVING ──stop──> QUIESCING ──broker idle, deadline──>
//   CLOSING (320 to clients) ──all gone──> ENDING (http, marks, store, definitions, net) ──> GONE
//
typedef enum slc_phase {
    SLC_PHASE_STARTING,
    SLC_PHASE_SERVING,
    SLC_PHASE_QUIESCING,
    SLC_PHASE_CLOSING,
    SLC_PHASE_ENDING,
    SLC_PHASE_GONE,
} slc_phase;

typedef struct slc_daemon {
    slc_phase phase;
    int exit_status;
    uv_loop_t loop;
    slc_options *options;
    slc_settings *settings;
    slc_instance instance;
    slc_world world;
    slc_world_recovered recovered;
    slc_net *net;
    slc_auth *auth;
    slc_user_definitions *user_definitions;
    slc_vhost_seeds *vhost_seeds;
    slc_tls *tls;   // NULL: no TLS listener
    slc_tls *https; // that of the management API, which libmicrohttpd reads by itself; NULL: none
    slc_amqp_server *amqp;
    slc_http *http;
    slc_app_backup *backup;
    slc_monitor monitor;
    slc_log_lines_box log_lines;
    bool log_silent; // by set_log_level none
    slc_listener **listeners;
    uint32_t listener_count;
    bool definitions_begun, definitions_loaded; // of load_definitions
    uint64_t started_ns;
    uint64_t stop_signal_ns;
    uint64_t stop_deadline_ms;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; // active while a turn left work behind
    uv_timer_t stop_timer;
    uv_timer_t watch_timer; // for changed certificates
    uv_timer_t due_timer;   // wakes the loop when something in the broker is due
    uint64_t due_ms;        // for which it is set; UINT64_MAX: it is not
    uv_signal_t signals[5];
} slc_daemon;

// ---- life (daemon_life.c)

/** Start the handles that run the turn; the loop exists. */
void slc_daemon_handles(slc_daemon *d);
/** A start that failed after threads run: log it, stop in order and exit with status. */
void slc_daemon_fail(slc_daemon *d, int status, const slc_error *error);
/** Begin to stop; nothing when it is under way. why is for the log. */
void slc_daemon_stop(slc_daemon *d, const char *why);

// ---- settings become options (daemon_options.c); all borrow from s

/** Bytes: the machine's memory or its override, and where the two alarms begin. */
uint64_t slc_daemon_memory_total(const slc_settings *s);
uint64_t slc_daemon_memory_limit(const slc_settings *s);
uint64_t slc_daemon_disk_limit(const slc_settings *s);
void slc_daemon_amqp_settings(const slc_settings *s, slc_amqp_settings *out);
void slc_daemon_auth_options(slc_daemon *d, const slc_settings *s, slc_auth_options *out);
void slc_daemon_world_options(const slc_daemon *d, slc_world_options *out);
slc_auth_first slc_daemon_first_user(const slc_settings *s);
/** Limits of the broker's objects; takes effect at once. */
void slc_daemon_broker_limits(slc_broker *broker, const slc_settings *s);
/** A deleted vhost takes its users' permissions with it; for slc_broker_on_vhost_gone. */
void slc_daemon_vhost_gone(slc_slice vhost, void (*drop)(void *sink, slc_slice key), void *sink,
                           void *arg);

// ---- the rest

/** Options of the management API, its questions to the daemon among them. fallback: path of the admin socket where the configured one
 *  cannot be made; borrowed, as all of *out is. (daemon_http.c) */
void slc_daemon_http_options(slc_daemon *d, const char *fallback, slc_http_options *out);
/** What only the daemon knows, for the management API; arg is the slc_daemon. (daemon_http.c) */
void slc_daemon_status(slc_http_status *out, void *arg);
/** The state of the daemon in the log (daemon_dump.c). The world is open. */
void slc_daemon_dump(slc_daemon *d);
struct slc_http_admin_ops;
/** With the daemon as their arg. (daemon_admin.c) */
const struct slc_http_admin_ops *slc_daemon_admin_ops(void);
struct slc_http_reload;
/** Read the configuration again and use it (daemon_reload.c). SLC_OK: it is in use; else nothing has changed. The outcome is in the log
 *  in any case; told may be NULL. */
slc_err slc_daemon_reload(slc_daemon *d, const struct slc_http_reload *told, slc_error *error);
/** Say what a reload would do. */
slc_err slc_daemon_reload_check(slc_daemon *d, const struct slc_http_reload *told,
                                slc_error *error);
/** Look for changed certificates from now on. */
void slc_daemon_watch_start(slc_daemon *d);
/** Catch signals (daemon_signals.c). */
void slc_daemon_signals(slc_daemon *d);

#endif
