// The table of keys as slc_config wants it, and RabbitMQ's keys that have no effect here.
#include "app/settings_impl.h"

const slc_config_key slc_settings_keys[KEY_COUNT] = {
#define SETTINGS_KEY(id, name_, type_, flags_, unit_, min_, max_, fallback_, words_, group_, doc_) \
    [KEY_##id] = {.name = name_,                                                                   \
                  .type = SLC_CONFIG_##type_,                                                      \
                  .flags = flags_,                                                                 \
                  .unit = unit_,                                                                   \
                  .min = min_,                                                                     \
                  .max = max_,                                                                     \
                  .fallback = fallback_,                                                           \
                  .words = words_,                                                                 \
                  .group = group_,                                                                 \
                  .doc = doc_},
    SLC_SETTINGS_TABLE(SETTINGS_KEY)
#undef SETTINGS_KEY
};

const slc_settings_seed_key slc_settings_seeds[SLC_SETTINGS_SEED_VALUES] = {
    {KEY_SEED_POLICY_EXPIRES, "expires"},
    {KEY_SEED_POLICY_MESSAGE_TTL, "message-ttl"},
    {KEY_SEED_POLICY_MAX_LENGTH, "max-length"},
    {KEY_SEED_POLICY_MAX_LENGTH_BYTES, "max-length-bytes"},
    {KEY_SEED_POLICY_DELIVERY_LIMIT, "delivery-limit"},
};

// Keys of RabbitMQ that will mean something here. Refusing them would stop people from bringing their file along.
static const char *const settings_later[] = {
    "ssl_options.secure_renegotiate",
    "ssl_options.reuse_sessions",
    "ssl_options.reuse_session",
    "ssl_options.dhfile",
    "ssl_options.dh",
    "ssl_options.log_alert",
    "ssl_options.log_level",
    "ssl_options.bypass_pem_cache",
    "ssl_options.hibernate_after",
    "ssl_options.psk_identity",
    "ssl_allow_poodle_attack",
    "reverse_dns_lookups",
    "tcp_listen_options.keepalive",
    "tcp_listen_options.linger.*",
    "tcp_listen_options.exit_on_close",
    "tcp_listen_options.send_timeout*",
    "definitions.tls.*",
    "definitions.https.*",
    "definitions.hashing.*",
    "anonymous_login_user",
    "anonymous_login_pass",
    "auth_backends.*",
    "auth_ldap.*",
    "auth_http.*",
    "auth_oauth2.*",
    "auth_cache.*",
    "credential_validator.*",
    "vm_memory_high_watermark_paging_ratio",
    "vm_memory_calculation_strategy",
    "collect_statistics",
    "management.tcp.compress",
    "management.tcp.shutdown_timeout",
    "management.tcp.inactivity_timeout",
    "management.tcp.request_timeout",
    "management.ssl.backlog",
    "management.ssl.compress",
    "management.ssl.idle_timeout",
    "management.ssl.inactivity_timeout",
    "management.ssl.request_timeout",
    "management.ssl.honor_cipher_order",
    "management.ssl.honor_ecc_order",
    "management.ssl.client_renegotiation",
    "management.ssl.secure_renegotiate",
    "management.ssl.ciphers.*",
    "management.ssl.depth",
    "management.ssl.dh",
    "management.load_definitions",
    "management.restrictions.*",
    "management.sample_retention_policies.*",
    "management_agent.*",
    "management.oauth*",
    "prometheus.*",
    "log.file.rotation.*",
    "log.syslog",
    "log.syslog.*",
    "log.journald",
    "log.journald.*",
    "log.connection.*",
    "log.channel.*",
    "log.queue.*",
    "log.mirroring.*",
    "log.federation.*",
    "log.upgrade.*",
    "log.default.*",
    "log.ra.*",
    "log.console.use_colors",
    "log.console.stdio",
    "cluster_formation.*",
    "net_ticktime",
    "quorum_queue.*",
    "raft.*",
    "cluster_tags.*",
    "node_tags.*",
    "cluster_partition_handling",
    "cluster_partition_handling.*",
    "cluster_keepalive_interval",
    "queue_leader_locator",
    "queue_master_locator",
    "runtime_parameters.*",
    "stream.*",
    "mqtt.*",
    "stomp.*",
    "web_mqtt.*",
    "web_stomp.*",
    "motd_file",
    "product.name",
    "product.version",
    "trace_vhosts.*",
    "max_length_*",
    "message_interceptors.*",
    "deprecated_features.*",
    "feature_flags.*",
    NULL,
};

// Tuning of a runtime that is not here.
static const char *const settings_ignored[] = {
    "erlang.*",
    "sysmon_handler.*",
    "delegate_count",
    "mirroring_*",
    "mnesia_*",
    "hipe_compile",
    "background_gc_*",
    "msg_store_*",
    "queue_index_embed_msgs_below",
    "queue_index_max_journal_entries",
    "classic_queue.default_version",
    "distribution.*",
    "num_acceptors.*",
    "halt_on_upgrade_failure",
    "vm_memory_monitor.*",
    NULL,
};

const slc_config_table slc_settings_table = {
    .keys = slc_settings_keys,
    .count = KEY_COUNT,
    .later = settings_later,
    .ignored = settings_ignored,
};
