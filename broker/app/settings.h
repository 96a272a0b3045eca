/** The settings of sluiced: THE table of its keys and a plain struct filled from it.
 *
 *      file (and conf.d beside it) ──> environment ──> --set ──> slc_config ──> checks across keys ──> slc_settings
 *
 *  A new key is one line of SLC_SETTINGS_TABLE in settings_table.h, one member here and one assignment in settings_fill.c. The table writes
 *  sluice.conf(5) and the sample file too, so a key cannot be undocumented.
 *
 *  Ownership: strings belong to the settings. Thread: plain data; loaded and freed on the main thread.
 *  Spec: operations 3, 4, 9.
 */
#ifndef SLC_APP_SETTINGS_H
#define SLC_APP_SETTINGS_H

#include <stdint.h>
#include <stdio.h>

#include "auth/credentials.h"
#include "base/config.h"
#include "base/log.h"
#include "net/tls.h"

enum { SLC_SETTINGS_LISTENERS_MAX = 64, SLC_SETTINGS_ORIGINS_MAX = 32 };

typedef struct slc_settings_listener {
    const char *name; // the N of listeners.tcp.N
    slc_config_address address;
} slc_settings_listener;

typedef enum slc_settings_flush {
    SLC_SETTINGS_FLUSH_GROUP,
    SLC_SETTINGS_FLUSH_FULL,
    SLC_SETTINGS_FLUSH_INTERVAL,
} slc_settings_flush;

enum { SLC_SETTINGS_SEED_VALUES = 5, SLC_SETTINGS_CATEGORIES_MAX = 16 };

/** What new vhosts begin with: default_limits.vhosts, default_policies.operator, default_users. -1 and NULL: not set. */
typedef struct slc_settings_seed_limit {
    const char *pattern;
    int64_t max_connections, max_queues;
} slc_settings_seed_limit;

typedef struct slc_settings_seed_policy {
    const char *name, *vhost_pattern, *queue_pattern;
    int64_t values[SLC_SETTINGS_SEED_VALUES]; // named by slc_settings_seed_value_name
} slc_settings_seed_policy;

typedef struct slc_settings_seed_user {
    const char *name, *vhost_pattern;
    const char *password; // secret
    const char *tags, *configure, *write, *read;
} slc_settings_seed_user;

typedef struct slc_settings {
    slc_config *config;
    char *config_file; // the main file that was read; NULL: none

    // node
    const char *node_name; // always with an @
    const char *data_dir;
    const char *cluster_name; // the node's name unless given
    bool allow_root;
    uint64_t shutdown_timeout_ms;

    // listeners
    slc_settings_listener tcp[SLC_SETTINGS_LISTENERS_MAX];
    uint32_t tcp_count;
    slc_settings_listener ssl[SLC_SETTINGS_LISTENERS_MAX];
    uint32_t ssl_count;
    slc_tls_options tls; // counts when there are such listeners
    bool tls_watch;
    bool proxy_protocol;
    bool auth_require_tls;
    unsigned mechanisms; // SLC_AMQP_MECHANISM_...; 0: the default
    slc_tls_login cert_login;
    slc_tls_san cert_san;
    uint32_t cert_san_index;
    uint32_t tcp_backlog;
    bool tcp_nodelay;
    uint32_t tcp_sndbuf_bytes; // 0: the system's
    uint32_t tcp_recbuf_bytes;
    bool tcp_keepalive, tcp_linger;
    uint16_t tcp_linger_s;
    uint64_t max_connections; // 0: no limit

    // protocol
    uint32_t handshake_timeout_ms;
    uint16_t heartbeat_s; // 0: off
    uint32_t frame_max_bytes;
    uint16_t channel_max; // 0: no limit
    uint64_t max_message_bytes;
    uint16_t default_consumer_prefetch; // 0: no limit
    uint32_t consumer_max_per_channel;  // 0: no limit
    uint64_t consumer_timeout_ms;       // 0: none; SLC_ACK_TIMEOUT_OF_KIND
    bool sac_strict, x_death_trust_client;
    bool overflow_priority_head, delivery_limit_count_nack, ttl_head_only;
    int on_mismatch; // an slc_on_mismatch
    uint64_t due_max_ms;
    const char *product; // in connection.start
    const char *product_version;
    uint32_t initial_frame_max_bytes;

    // first start
    const char *default_user;
    const char *default_pass; // secret
    const char *default_vhost;
    char *default_tags; // separated by commas; owned
    const char *default_configure, *default_write, *default_read;

    // new vhosts; owned, the texts are config's
    slc_settings_seed_limit *seed_limits;
    slc_settings_seed_policy *seed_policies;
    slc_settings_seed_user *seed_users;
    uint32_t seed_limit_count, seed_policy_count, seed_user_count;

    // users
    int password_hashing; // slc_auth_hashing
    slc_credentials_options credentials;
    const char *anonymous_user; // NULL: nobody
    const char *anonymous_pass; // secret
    uint32_t auth_cache_ttl_ms, auth_failure_delay_ms, auth_max_failures_per_minute;

    // limits; 0: none
    uint32_t channel_max_per_node, vhost_max, cluster_queue_limit, cluster_exchange_limit;
    const char *default_queue_type;
    const char *load_definitions; // file or directory; NULL: none
    bool load_definitions_changed_only;

    // resources
    double
        memory_watermark_relative; // of the memory there is; counts unless the absolute one is not 0
    uint64_t memory_watermark_absolute; // bytes
    bool memory_watermark_is_absolute;
    uint64_t memory_total_override_bytes; // 0: ask the system
    uint32_t memory_monitor_interval_ms;
    uint64_t disk_free_limit_bytes;
    bool disk_free_limit_is_relative; // then it is the share of the memory there is
    double disk_free_limit_relative;
    uint64_t cache_bytes;
    uint64_t window_bytes;

    // store
    slc_settings_flush store_flush;
    uint32_t store_flush_interval_ms;
    uint64_t store_map_bytes; // 0: automatic
    uint64_t store_log_bytes;

    // management
    const char *management_socket;
    const char *management_group;                  // NULL: none
    const char *management_ip, *management_ssl_ip; // NULL: every address
    int32_t management_port, management_ssl_port;  // -1: off
    const char *management_ca, *management_cert, *management_key;
    const char *management_key_password; // secret
    bool management_tls12, management_tls13;
    const char *management_realm;
    uint64_t management_body_bytes;
    const char *management_prefix; // NULL: none; so are the other texts
    bool management_rates_off, management_stats_off, management_queue_totals;
    uint64_t statistics_interval_ms;
    uint32_t management_login_minutes;
    bool management_basic_off, management_operator_lock;
    const slc_config_value *management_origins;
    uint32_t management_origin_count;
    uint64_t management_cors_age_s;
    const char *management_csp, *management_hsts, *management_content_type_options;
    const char *management_xss_protection, *management_frame_options;
    const char *management_log_dir;
    uint64_t management_idle_ms;

    slc_log_options log; // .lines: to amq.rabbitmq.log
    slc_log_category_level log_categories[SLC_SETTINGS_CATEGORIES_MAX];
    const char *event_vhost; // of amq.rabbitmq.event; NULL: no events

    char *owned[8]; // texts made up here; private
    uint32_t owned_count;
} slc_settings;

typedef struct slc_settings_sources {
    const char *
        file; // --config; NULL: $SLUICE_CONFIG, $RABBITMQ_CONFIG_FILE, or the default when it exists
    const char *const *set; // --set key=value, in order
    uint32_t set_count;
    const char *data_dir;     // --data-dir; NULL: not given
    char *const *environment; // NULL-terminated; NULL: none
    /** Every error and warning, in order, a sentence each. May be NULL. */
    void (*note)(bool is_error, const char *text, void *arg);
    void *arg;
} slc_settings_sources;

/** The file that is read when nobody names one. */
#ifndef SLC_SETTINGS_FILE
#define SLC_SETTINGS_FILE "/etc/sluice/sluice.conf"
#endif

/** Read all sources. On any error (exit 78) error has the first sentence and *out is untouched. Blocks: call it at start, and for a
 *  reload (the files are small). Beside a file named sluice.conf, conf.d/ *.conf are read too. */
SLC_MUST_USE slc_err slc_settings_load(const slc_settings_sources *sources, slc_settings **out,
                                       slc_error *error);
void slc_settings_free(slc_settings *settings);

/** "max-length": the name that a value of a seeded policy has there. */
const char *slc_settings_seed_value_name(int index);
/** Whether user may only connect from this machine (loopback_users). */
bool slc_settings_loopback_only(const slc_settings *settings, slc_slice user);
/** It says that it is a RabbitMQ (amqp.emulate_*) older than this. */
bool slc_settings_emulates_before(const slc_settings *settings, int major, int minor, int patch);

/** Which keys differ, and whether each waits for a restart. Computed defaults (a host's name) do not count. */
void slc_settings_diff(const slc_settings *before, const slc_settings *after,
                       void (*changed)(const char *key, bool needs_restart, void *arg), void *arg);
/** One value as the configuration would take it: the number (a size in bytes) or the fraction of that key. SLC_EINVAL with key, value and
 *  rule. */
SLC_MUST_USE slc_err slc_settings_value(const char *key, const char *value, uint64_t *number,
                                        double *fraction, slc_error *error);
/** The effective configuration as a file that can be read back; secrets masked. */
/** "key=value" as it may be shown, that is with its secret masked; a key that nobody knows could be a mistyped secret, so its value
 *  is masked too. Returns out. */
const char *slc_settings_masked(const char *assignment, char *out, size_t cap);
/** The effective configuration as a file that can be read back; secrets masked. */
void slc_settings_print(const slc_settings *settings, FILE *out);
/** sluice.conf(5). packaging/man/sluice.conf.5 is this; a test compares them. */
void slc_settings_man(FILE *out);
/** sluice.conf with every key as a comment. */
void slc_settings_sample(FILE *out);

#endif
