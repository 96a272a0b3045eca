/** The keys of sluiced. Private to settings*.c. One line a key:
 *  X(id, name, type, flags, unit, min, max, default, words, group, sentence)
 */
#ifndef SLC_APP_SETTINGS_TABLE_H
#define SLC_APP_SETTINGS_TABLE_H

#include "base/config.h"

#define KIB 1024ull
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)
#define TIB (1024ull * GIB)
#define SEC 1000ull
#define DAY (86400ull * SEC)

#define LEVELS "debug info notice warning error critical alert emergency none"
#define FACILITIES                                                                                 \
    "kern kernel user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert "    \
    "clock local0 local1 local2 local3 local4 local5 local6 local7"

// clang-format off
#define SLC_SETTINGS_TABLE(X)                                                                                                   \
    X(NODE_NAME, "node.name", TEXT, 0, NULL, 1, 255, NULL, NULL, "Node",                                                        \
      "Name of this node in lists, logs and, later, its cluster. Without an @ the name of the host is added. "                  \
      "Unless it is set: sluice@ and the short name of the host.")                                                              \
    X(DATA_DIR, "node.data_dir", TEXT, 0, NULL, 1, 3800, "/var/lib/sluice", NULL, "Node",                                       \
      "Directory of everything that is kept. One daemon at a time: it is locked.")                                              \
    X(CLUSTER_NAME, "cluster_name", TEXT, 0, NULL, 1, 255, NULL, NULL, "Node",                                                  \
      "Name that clients see in connection.start and tools in their headings. Unless it is set: the node's name.")              \
    X(ALLOW_ROOT, "allow_root", BOOL, 0, NULL, 0, 0, "false", NULL, "Node",                                                     \
      "Run as user root. A broker needs no rights of root.")                                                                    \
    X(SHUTDOWN_TIMEOUT, "shutdown.timeout", DURATION, SLC_CONFIG_RELOAD, "s", 0, DAY, "60", NULL, "Node",                       \
      "How long an orderly stop may take before the connections are cut. What was confirmed is safe either way.")               \
    X(UNKNOWN_KEYS, "config.unknown_keys", ENUM, 0, NULL, 0, 0, "error", "error warn", "Node",                                  \
      "What a key that nobody knows is: an error that prevents the start, or a warning.")                                       \
                                                                                                                                \
    X(TCP, "listeners.tcp", ENUM, 0, NULL, 0, 0, NULL, "none", "Listeners",                                                     \
      "none: no AMQP over plain TCP, whatever listeners.tcp.N say.")                                                            \
    X(TCP_N, "listeners.tcp.N", ADDRESS, 0, NULL, 0, 65535, NULL, NULL, "Listeners",                                            \
      "An address for AMQP. A port alone means every address, IPv4 and IPv6; port 0 takes a free one. "                         \
      "N is a number or a name. Without any of these keys: port 5672 on every address.")                                        \
    X(SSL, "listeners.ssl", ENUM, 0, NULL, 0, 0, NULL, "none", "Listeners",                                                     \
      "none: no AMQP over TLS, whatever listeners.ssl.N say.")                                                                  \
    X(SSL_N, "listeners.ssl.N", ADDRESS, 0, NULL, 0, 65535, NULL, NULL, "Listeners",                                            \
      "An address for AMQP over TLS (5671 is usual), as for listeners.tcp.N. Needs ssl_options.certfile and keyfile.")          \
    X(PROXY, "proxy_protocol", BOOL, 0, NULL, 0, 0, "false", NULL, "Listeners",                                                 \
      "Every AMQP connection begins with a header of the PROXY protocol, version 1 or 2, that names the real peer. "            \
      "Only for listeners that nobody but the proxy can reach: the header is believed.")                                        \
    X(TCP_BACKLOG, "tcp_listen_options.backlog", INTEGER, 0, "connections", 1, 65535, "128", NULL, "Listeners",                 \
      "Connections that wait to be accepted; the system may lower it.")                                                         \
    X(TCP_NODELAY, "tcp_listen_options.nodelay", BOOL, 0, NULL, 0, 0, "true", NULL, "Listeners",                                \
      "Send small packets at once (TCP_NODELAY).")                                                                              \
    X(TCP_SNDBUF, "tcp_listen_options.sndbuf", SIZE, 0, NULL, KIB, GIB, NULL, NULL, "Listeners",                                \
      "Send buffer of a connection's socket. Unless it is set: what the system chooses.")                                       \
    X(TCP_RECBUF, "tcp_listen_options.recbuf", SIZE, 0, NULL, KIB, GIB, NULL, NULL, "Listeners",                                \
      "Receive buffer of a connection's socket. Unless it is set: what the system chooses.")                                    \
    X(TCP_KEEPALIVE, "tcp_listen_options.keepalive", BOOL, 0, NULL, 0, 0, "false", NULL, "Listeners",                          \
      "The system asks silent peers whether they are there (SO_KEEPALIVE), for clients without heartbeats.")                   \
    X(TCP_LINGER, "tcp_listen_options.linger.on", BOOL, 0, NULL, 0, 0, "false", NULL, "Listeners",                             \
      "A connection that is closed waits for tcp_listen_options.linger.timeout until its last octets are acknowledged, and is " \
      "reset then (SO_LINGER). With a timeout of 0 it is reset at once.")                                                      \
    X(TCP_LINGER_TIMEOUT, "tcp_listen_options.linger.timeout", INTEGER, 0, "s", 0, 65535, "0", NULL, "Listeners",              \
      "That time, in seconds.")                                                                                                \
    X(MAX_CONNECTIONS, "max_connections", INTEGER, SLC_CONFIG_RELOAD, "connections", 1, 10000000, "infinity", "infinity",       \
      "Listeners", "AMQP connections at one time; one more is refused.")                                                        \
    X(CONNECTION_MAX, "connection_max", INTEGER, SLC_CONFIG_RELOAD, "connections", 1, 10000000, "infinity", "infinity",         \
      "Listeners", "RabbitMQ's name for max_connections. Of both the lower counts.")                                            \
                                                                                                                                \
    X(HANDSHAKE_TIMEOUT, "handshake_timeout", DURATION, SLC_CONFIG_RELOAD, "ms", 1, 3600 * SEC, "10000", NULL, "Protocol",      \
      "A client that has not opened its connection by then is dropped.")                                                        \
    X(HEARTBEAT, "heartbeat", DURATION, SLC_CONFIG_RELOAD, "s", 0, 65535 * SEC, "60", NULL, "Protocol",                         \
      "Heartbeat interval that is offered to clients, in whole seconds. 0: none.")                                              \
    X(FRAME_MAX, "frame_max", SIZE, 0, NULL, 4 * KIB, 16 * MIB, "131072", NULL, "Protocol",                                     \
      "Largest frame that is offered to clients. A connection may need as much memory in each direction.")                      \
    X(INITIAL_FRAME_MAX, "initial_frame_max", SIZE, SLC_CONFIG_RELOAD, NULL, 4 * KIB, MIB, "131072", NULL, "Protocol",          \
      "Largest frame that is taken from a client before frame_max is negotiated (a login token may be long).")                  \
    X(CHANNEL_MAX, "channel_max", INTEGER, SLC_CONFIG_RELOAD, "channels", 0, 65535, "2047", NULL, "Protocol",                                   \
      "Highest channel number that is offered to clients. 0: no limit.")                                                        \
    X(CHANNEL_MAX_NODE, "channel_max_per_node", INTEGER, SLC_CONFIG_RELOAD, "channels", 0, 100000000, "infinity", "infinity",   \
      "Protocol", "Open channels of all connections together; one more is refused. 0 is no limit either.")                      \
    X(VHOST_MAX, "vhost_max", INTEGER, SLC_CONFIG_RELOAD, "vhosts", 1, 1000000, "infinity", "infinity", "Protocol",             \
      "Virtual hosts; one more is refused.")                                                                                    \
    X(CLUSTER_QUEUE_LIMIT, "cluster_queue_limit", INTEGER, SLC_CONFIG_RELOAD, "queues", 1, 100000000, "infinity", "infinity",   \
      "Protocol", "Queues of all virtual hosts together; one more is refused.")                                                 \
    X(CLUSTER_EXCHANGE_LIMIT, "cluster_exchange_limit", INTEGER, SLC_CONFIG_RELOAD, "exchanges", 1, 100000000, "infinity",      \
      "infinity", "Protocol", "Exchanges of all virtual hosts together, the predeclared ones too; one more is refused.")        \
    X(DEFAULT_QUEUE_TYPE, "default_queue_type", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "classic", "classic quorum stream",        \
      "Protocol", "Type of durable queues that are declared without x-queue-type, where their virtual host names none.")        \
    X(MAX_MESSAGE_SIZE, "max_message_size", SIZE, 0, NULL, 1, 128 * MIB, "16MiB", NULL, "Protocol",                             \
      "Largest message body. A larger one closes its channel with PRECONDITION_FAILED.")                                        \
    X(DEFAULT_PREFETCH, "default_consumer_prefetch", INTEGER, 0, "messages", 0, 65535, "0", NULL, "Protocol",                   \
      "Unacknowledged messages of a consumer whose channel never sent basic.qos. 0: no limit.")                                 \
    X(CONSUMER_MAX, "consumer_max_per_channel", INTEGER, 0, "consumers", 1, 10000000, "infinity", "infinity", "Protocol",       \
      "Consumers of a channel; one more closes its connection with NOT_ALLOWED.")                                               \
    X(CONSUMER_TIMEOUT, "consumer_timeout", DURATION, SLC_CONFIG_RELOAD, "ms", 0, 3650 * DAY, NULL, NULL, "Protocol",           \
      "A delivery that is not acknowledged by then costs its consumer, or its channel; x-consumer-timeout of a consumer or "    \
      "queue comes first. 0: never. Unless it is set: 30 minutes for quorum queues, never for classic ones.")                   \
    X(SAC_STRICT, "sac.strict", BOOL, 0, NULL, 0, 0, "true", NULL, "Protocol",                                                  \
      "The next single active consumer of a queue gets messages only when all is settled that the cancelled one still holds, "  \
      "so that the order of the queue holds.")                                                                                  \
    X(OVERFLOW_PRIORITY, "overflow.priority", ENUM, 0, NULL, 0, 0, "lowest", "lowest head", "Protocol",                         \
      "What a priority queue over its length limit drops first: the lowest priority, or like RabbitMQ its head, the highest.")   \
    X(TTL_HEAD_ONLY, "ttl.head_only", BOOL, 0, NULL, 0, 0, "false", NULL, "Protocol",                                           \
      "A message expires only when it is the first of its queue, or of its priority, as in RabbitMQ; else on time, wherever "   \
      "it stands.")                                                                                                             \
    X(ON_MISMATCH, "declare.on_mismatch", ENUM, 0, NULL, 0, 0, "error", "error ignore update", "Protocol",                      \
      "What declaring a queue does that exists with other properties. error: PRECONDITION_FAILED. ignore: the queue stays as "  \
      "it is and the client is told that all is well. update: the queue gets the new arguments, but for what cannot change "    \
      "(durable, auto-delete, x-queue-type, x-max-priority, x-single-active-consumer), which is an error. An exclusive queue "  \
      "of another connection is refused in any case.")                                                                          \
    X(DUE_MAX_DAYS, "due.max_days", INTEGER, 0, "days", 1, 36500, "3650", NULL, "Protocol",                                     \
      "Longest delay of a message of an x-delayed-message exchange; a longer one is cut to it.")                                \
    X(COUNT_NACK, "delivery_limit.count_nack", BOOL, 0, NULL, 0, 0, "true", NULL, "Protocol",                                   \
      "A basic.nack with requeue counts for the delivery limit, as in RabbitMQ up to 4.2.")                                     \
    X(X_DEATH_TRUST, "x_death.trust_client", BOOL, 0, NULL, 0, 0, "false", NULL, "Protocol",                                    \
      "An x-death header that a client wrote counts as history of the message, as in RabbitMQ before 4.0 (and whenever "        \
      "amqp.emulate_version is below that), for clients that publish a dead message again and count its deaths.")               \
    X(PRODUCT, "amqp.emulate_product", TEXT, 0, NULL, 1, 255, NULL, NULL, "Protocol",                                           \
      "Product in connection.start, for clients that insist on RabbitMQ. Unless it is set: Sluice.")                            \
    X(PRODUCT_VERSION, "amqp.emulate_version", TEXT, 0, NULL, 1, 255, NULL, NULL, "Protocol",                                   \
      "Version in connection.start. Unless it is set: that of Sluice. With amqp.emulate_product = RabbitMQ and a version below " \
      "3.13.3 an unknown exchange type ends the connection (503), as it did there, and not just the channel (406).")            \
                                                                                                                                \
    X(TLS_CA, "ssl_options.cacertfile", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, NULL, NULL, "TLS",                              \
      "PEM file of the authorities whose client certificates are accepted; also completes our own chain.")                      \
    X(TLS_CERT, "ssl_options.certfile", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, NULL, NULL, "TLS",                              \
      "PEM file of the server's certificate, its chain behind it. Read again at a reload (SIGHUP); what cannot be used then is " \
      "logged and the old one stays.")                                                                                          \
    X(TLS_KEY, "ssl_options.keyfile", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, NULL, NULL, "TLS",                                \
      "PEM file of the private key of that certificate.")                                                                       \
    X(TLS_PASSWORD, "ssl_options.password", TEXT, SLC_CONFIG_RELOAD | SLC_CONFIG_SECRET, NULL, 1, 1024, NULL, NULL, "TLS",      \
      "Password of an encrypted private key; better file:/path, env:NAME, or credential:NAME.")                                 \
    X(TLS_VERIFY, "ssl_options.verify", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "verify_none", "verify_none verify_peer", "TLS",   \
      "verify_peer: ask clients for a certificate and refuse one that ssl_options.cacertfile does not vouch for.")              \
    X(TLS_FAIL, "ssl_options.fail_if_no_peer_cert", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "false", NULL, "TLS",                  \
      "With verify_peer: refuse clients without a certificate.")                                                                \
    X(TLS_DEPTH, "ssl_options.depth", INTEGER, SLC_CONFIG_RELOAD, "certificates", 0, 100, "1", NULL, "TLS",                     \
      "Intermediate certificates that may stand between a client's and the authority's.")                                       \
    X(TLS_VERSIONS, "ssl_options.versions.N", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, "tlsv1.2 tlsv1.3", "TLS",              \
      "A version that is spoken. Without any of these keys: both.")                                                             \
    X(TLS_CIPHERS, "ssl_options.ciphers.N", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 127, NULL, NULL, "TLS",                           \
      "A cipher suite by OpenSSL's or IANA's name, in order of preference. A version without any suite in the list is not spoken. " \
      "Without any of these keys: OpenSSL's choice.")                                                                           \
    X(TLS_CIPHER_ORDER, "ssl_options.honor_cipher_order", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "false", NULL, "TLS",            \
      "The server's order of cipher suites counts, not the client's.")                                                          \
    X(TLS_ECC_ORDER, "ssl_options.honor_ecc_order", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "false", NULL, "TLS",                  \
      "The server's order of elliptic curves counts. OpenSSL has one switch for both orders.")                                  \
    X(TLS_RENEGOTIATION, "ssl_options.client_renegotiation", ENUM, 0, NULL, 0, 0, "false", "false", "TLS",                      \
      "Clients cannot renegotiate: nothing but false is possible.")                                                             \
    X(TLS_CRL, "ssl_options.crl_check", ENUM, 0, NULL, 0, 0, "false", "false", "TLS",                                           \
      "Lists of revoked certificates are not read: nothing but false is possible.")                                             \
    X(TLS_SNI_CERT, "ssl_options.sni.$name.certfile", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, NULL, NULL, "TLS",                \
      "A further certificate, for clients that ask for a host name it is made for. $name is only a label, without dots.")       \
    X(TLS_SNI_KEY, "ssl_options.sni.$name.keyfile", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, NULL, NULL, "TLS",                  \
      "The private key of that certificate.")                                                                                   \
    X(TLS_WATCH, "ssl_options.watch", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "false", NULL, "TLS",                                \
      "Look at the files, also those of management.ssl, every two seconds and read them again when they have changed.") \
    X(TLS_TIMEOUT, "ssl_handshake_timeout", DURATION, SLC_CONFIG_RELOAD, "ms", 1, 3600 * SEC, "5000", NULL, "TLS",              \
      "A client that has not completed its TLS handshake by then is dropped.")                                                  \
    X(MECHANISMS, "auth_mechanisms.N", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, "PLAIN AMQPLAIN EXTERNAL ANONYMOUS", "TLS",           \
      "A SASL mechanism that is offered. EXTERNAL (the client certificate names the user) is offered on TLS listeners only, "   \
      "ANONYMOUS only with anonymous_login_user. "                                                                              \
      "Without any of these keys: PLAIN and AMQPLAIN.")                                                                         \
    X(CERT_LOGIN, "ssl_cert_login_from", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "distinguished_name",                             \
      "distinguished_name common_name subject_alternative_name", "TLS",                                                         \
      "Where EXTERNAL finds the name of the user in the certificate.")                                                          \
    X(CERT_SAN, "ssl_cert_login_san_type", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "dns", "dns ip email uri other_name", "TLS",    \
      "Kind of the subject alternative name that counts.")                                                                      \
    X(CERT_SAN_INDEX, "ssl_cert_login_san_index", INTEGER, SLC_CONFIG_RELOAD, NULL, 0, 1000, "0", NULL, "TLS",                  \
      "Which one of that kind, from 0.")                                                                                        \
                                                                                                                                \
    X(DEFAULT_USER, "default_user", TEXT, 0, NULL, 1, 255, "guest", NULL, "Users",                                              \
      "Administrator who is created at the first start.")                                                                       \
    X(DEFAULT_PASS, "default_pass", TEXT, SLC_CONFIG_SECRET, NULL, 1, 4096, "guest", NULL, "Users",                             \
      "Password of that user, guest unless it is set. Better than the password itself: file:/path, env:NAME, or "               \
      "credential:NAME (a file of systemd's credentials directory).")                                                           \
    X(DEFAULT_VHOST, "default_vhost", TEXT, 0, NULL, 1, 255, "/", NULL, "Users",                                                \
      "Virtual host that is created at the first start.")                                                                       \
    X(DEFAULT_TAGS_NAME, "default_user_tags.$name", BOOL, 0, NULL, 0, 0, NULL, NULL, "Users",                                    \
      "true: that user has this tag. administrator unless default_user_tags.administrator = false.")                            \
    X(DEFAULT_CONFIGURE, "default_permissions.configure", TEXT, 0, NULL, 0, 4096, ".*", NULL, "Users",                          \
      "What that user may configure in the default virtual host: a regular expression for names.")                              \
    X(DEFAULT_WRITE, "default_permissions.write", TEXT, 0, NULL, 0, 4096, ".*", NULL, "Users",                                  \
      "What that user may write to there.")                                                                                     \
    X(DEFAULT_READ, "default_permissions.read", TEXT, 0, NULL, 0, 4096, ".*", NULL, "Users",                                    \
      "What that user may read from there.")                                                                                    \
    X(SEED_LIMIT_PATTERN, "default_limits.vhosts.$name.pattern", TEXT, 0, NULL, 0, 4096, NULL, NULL, "Users", "Virtual hosts whose names this regular expression finds get these limits when they are created. $name is only a label.")\
    X(SEED_LIMIT_CONNECTIONS, "default_limits.vhosts.$name.max_connections", INTEGER, 0, "connections", 0, 100000000, NULL, NULL, "Users", "Their limit of connections.")\
    X(SEED_LIMIT_QUEUES, "default_limits.vhosts.$name.max_queues", INTEGER, 0, "queues", 0, 100000000, NULL, NULL, "Users", "Their limit of queues.")\
    X(SEED_POLICY_VHOST, "default_policies.operator.$name.vhost_pattern", TEXT, 0, NULL, 0, 4096, NULL, NULL, "Users", "Virtual hosts whose names this regular expression finds get the operator policy $name when they are created.")\
    X(SEED_POLICY_QUEUE, "default_policies.operator.$name.queue_pattern", TEXT, 0, NULL, 0, 4096, NULL, NULL, "Users", "The pattern of that policy, for the names of queues. Unless it is set: all.")\
    X(SEED_POLICY_EXPIRES, "default_policies.operator.$name.expires", DURATION, 0, "ms", 1, 3650 * DAY, NULL, NULL, "Users", "Life of a queue that is not used.")\
    X(SEED_POLICY_MESSAGE_TTL, "default_policies.operator.$name.message_ttl", DURATION, 0, "ms", 0, 3650 * DAY, NULL, NULL, "Users", "Life of a message.")\
    X(SEED_POLICY_MAX_LENGTH, "default_policies.operator.$name.max_length", INTEGER, 0, "messages", 0, 4294967295ull, NULL, NULL, "Users", "Messages in a queue.")\
    X(SEED_POLICY_MAX_LENGTH_BYTES, "default_policies.operator.$name.max_length_bytes", SIZE, 0, NULL, 0, 0, NULL, NULL, "Users", "Bytes of messages in a queue.")\
    X(SEED_POLICY_DELIVERY_LIMIT, "default_policies.operator.$name.delivery_limit", INTEGER, 0, "deliveries", 0, 4294967295ull, NULL, NULL, "Users", "Unsuccessful deliveries of a message of a quorum queue.")\
    X(SEED_USER_VHOST, "default_users.$name.vhost_pattern", TEXT, 0, NULL, 0, 4096, NULL, NULL, "Users", "The user $name gets permissions in virtual hosts whose names this regular expression finds, when they are created. A user who is not there yet is created then.")\
    X(SEED_USER_PASSWORD, "default_users.$name.password", TEXT, SLC_CONFIG_SECRET, NULL, 1, 1024, NULL, NULL, "Users", "Password of that user. Unless it is set, no password logs in.")\
    X(SEED_USER_TAGS, "default_users.$name.tags", TEXT, 0, NULL, 0, 1024, NULL, NULL, "Users", "Tags of that user, separated by commas.")\
    X(SEED_USER_CONFIGURE, "default_users.$name.configure", TEXT, 0, NULL, 0, 4096, NULL, NULL, "Users", "What that user may configure there: a regular expression for names. Unless it is set: nothing.")\
    X(SEED_USER_WRITE, "default_users.$name.write", TEXT, 0, NULL, 0, 4096, NULL, NULL, "Users", "What that user may write to there.")\
    X(SEED_USER_READ, "default_users.$name.read", TEXT, 0, NULL, 0, 4096, NULL, NULL, "Users", "What that user may read from there.")\
    X(PASSWORD_HASHING, "password_hashing_module", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "argon2id",                             \
      "argon2id rabbit_password_hashing_sha256 rabbit_password_hashing_sha512", "Users",                                        \
      "How new passwords are kept. With the last two, users log in to a RabbitMQ that takes the definitions; argon2id it keeps "   \
      "without knowing it.")                                                                                                    \
    X(CREDENTIAL_BACKEND, "credential_validator.validation_backend", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0,                      \
      "rabbit_credential_validator_accept_everything", "rabbit_credential_validator_accept_everything "                        \
      "rabbit_credential_validator_min_password_length rabbit_credential_validator_password_regexp", "Users",                  \
      "What a new password must be like: anything, long enough (credential_validator.min_length), or such that a regular "     \
      "expression finds something in it (credential_validator.regexp). It counts for add_user, change_password, PUT "          \
      "/api/users, passwords in definitions and default_pass; hashes are taken as they are.")                                  \
    X(CREDENTIAL_LENGTH, "credential_validator.min_length", INTEGER, SLC_CONFIG_RELOAD, "octets", 0, 1024, "5", NULL, "Users", \
      "Least length for the second of these.")                                                                                 \
    X(CREDENTIAL_REGEXP, "credential_validator.regexp", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 4096, NULL, NULL, "Users",           \
      "Regular expression (Perl's) for the third. One that needs too many steps finds nothing.")                               \
    X(ANONYMOUS_USER, "anonymous_login_user", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 255, "none", "none", "Users",                  \
      "Whoever comes by the SASL mechanism ANONYMOUS, which auth_mechanisms.N must name, is this user. none: nobody. RabbitMQ " \
      "has guest here.")                                                                                                       \
    X(ANONYMOUS_PASS, "anonymous_login_pass", TEXT, SLC_CONFIG_RELOAD | SLC_CONFIG_SECRET, NULL, 1, 1024, "guest", NULL,       \
      "Users", "Password of that user, guest unless it is set; better file:/path, env:NAME, or credential:NAME.")              \
    X(AUTH_CACHE_TTL, "auth.cache_ttl", DURATION, SLC_CONFIG_RELOAD, "s", 0, DAY, "60", NULL, "Users",                          \
      "How long a password that was right is known without computing its hash again. 0: never.")                                \
    X(AUTH_FAILURE_DELAY, "auth.failure_delay", DURATION, SLC_CONFIG_RELOAD, "ms", 0, 60 * SEC, "200", NULL, "Users",           \
      "Least time until a refused login is answered.")                                                                          \
    X(AUTH_MAX_FAILURES, "auth.max_failures_per_minute", INTEGER, SLC_CONFIG_RELOAD, "logins", 0, 1000000, "300", NULL,         \
      "Users", "Refused logins of one address (IPv6: of one /64) after which its others are refused unread, for the rest of "   \
      "the minute. Passwords that are known (auth.cache_ttl) pass. 0: no limit.")                                               \
    X(AUTH_REQUIRE_TLS, "auth.require_tls", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "false", NULL, "Users",                        \
      "AMQP clients of other machines are offered no login unless they come over TLS. A proxy that ends TLS counts as none.")   \
    X(LOAD_DEFINITIONS, "load_definitions", TEXT, 0, NULL, 1, 3800, NULL, NULL, "Users",                                        \
      "A file of definitions (JSON, as RabbitMQ exports them), or a directory of *.json, loaded at every start before "         \
      "anybody can connect. Where it has users, default_user is not created.")                                                  \
    X(DEF_BACKEND, "definitions.import_backend", ENUM, 0, NULL, 0, 0, "local_filesystem", "local_filesystem", "Users", "Where definitions.local.path is: here.")\
    X(DEF_PATH, "definitions.local.path", TEXT, 0, NULL, 1, 3800, NULL, NULL, "Users", "The same as load_definitions, which comes first.")\
    X(MGMT_LOAD_DEFINITIONS, "management.load_definitions", TEXT, 0, NULL, 1, 3800, NULL, NULL, "Users",                       \
      "An older name of load_definitions, which comes first.")                                                                 \
    X(DEF_SKIP, "definitions.skip_if_unchanged", BOOL, 0, NULL, 0, 0, "false", NULL, "Users", "Load definitions only when the files are not those that were loaded last: what was changed or deleted since then stays so.")\
    X(LOOPBACK, "loopback_users", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, "none", "Users",                                   \
      "none: every user may connect from anywhere, whatever loopback_users.NAME say.")                                          \
    X(LOOPBACK_NAME, "loopback_users.$name", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, NULL, "Users",                          \
      "true: this user may connect from this machine only; with proxy_protocol the proxy must be on it too. guest is such a "   \
      "user unless loopback_users.guest = false.")                                                                              \
                                                                                                                                \
    X(MEMORY_RELATIVE, "vm_memory_high_watermark.relative", FRACTION, SLC_CONFIG_RELOAD, NULL, 0, 1000, "0.6", NULL,            \
      "Resources", "Share of the memory (of the machine, or of the control group if that is less) above which publishers are "  \
      "blocked. 0 blocks them always.")                                                                                         \
    X(MEMORY_ABSOLUTE, "vm_memory_high_watermark.absolute", SIZE, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, NULL, "Resources",       \
      "The same limit in bytes. Counts when vm_memory_high_watermark.relative is not set.")                                     \
    X(MEMORY_INTERVAL, "memory_monitor_interval", DURATION, SLC_CONFIG_RELOAD, "ms", 10, 3600 * SEC, "2500", NULL,              \
      "Resources", "How often the memory in use is looked at.")                                                                 \
    X(MEMORY_TOTAL, "total_memory_available_override_value", SIZE, SLC_CONFIG_RELOAD, NULL, MIB, 0, NULL, NULL, "Resources",    \
      "Memory there is, where the system's answer is wrong.")                                                                   \
    X(DISK_LIMIT, "disk_free_limit.absolute", SIZE, SLC_CONFIG_RELOAD, NULL, 0, 0, "1GiB", NULL, "Resources",                   \
      "Free space of the data directory's file system, with what is free inside the store, below which publishers are blocked.") \
    X(DISK_RELATIVE, "disk_free_limit.relative", FRACTION, SLC_CONFIG_RELOAD, NULL, 0, 100000, NULL, NULL, "Resources",         \
      "The same limit as a share of the memory. Counts when disk_free_limit.absolute is not set.")                              \
    X(CACHE_BYTES, "memory.cache_bytes", SIZE, 0, NULL, 0, TIB, "64MiB", NULL, "Resources",                                     \
      "Waiting messages in memory, of all queues; stored ones beyond it are read back when their turn comes near. What consumers hold " \
      "unacknowledged comes on top: a prefetch limit bounds it.")             \
    X(WINDOW_BYTES, "memory.window_bytes", SIZE, 0, NULL, MIB, TIB, "64MiB", NULL, "Resources",                                 \
      "Messages that may wait for the store before publishers are slowed down.")                                                \
                                                                                                                                \
    X(FLUSH, "store.flush", ENUM, 0, NULL, 0, 0, "group", "group full interval", "Store",                                       \
      "group: many messages share one sync, confirms come after it. full: the same with the strictest sync. "                   \
      "interval: confirms do not wait for the disk, a power failure may lose the last store.flush_interval.")                   \
    X(FLUSH_INTERVAL, "store.flush_interval", DURATION, 0, "ms", 1, 3600 * SEC, "500", NULL, "Store",                           \
      "Time between syncs with store.flush = interval.")                                                                        \
    X(MAP_SIZE, "store.map_size", SIZE, 0, NULL, MIB, 64 * TIB, "auto", "auto", "Store",                                        \
      "Address space of the store, the most it can grow to. auto: the larger of 64 GiB and twice the file system.")             \
    X(LOG_BYTES, "store.log_bytes", SIZE, 0, NULL, 16 * MIB, TIB, "256MiB", NULL, "Store",                                      \
      "Messages in the log of the store before the oldest of them are moved to segments of their queues.")                      \
                                                                                                                                \
    X(SOCKET_PATH, "management.socket.path", TEXT, 0, NULL, 1, 107, "/run/sluice/admin.sock", NULL, "Management",               \
      "Socket of sluicectl. When it cannot be made there, it is admin.sock in the data directory.")                             \
    X(SOCKET_GROUP, "management.socket.group", TEXT, 0, NULL, 1, 255, "sluice", "none", "Management",                           \
      "Members of this group are administrators on that socket, as are root and the daemon's own user.")                        \
    X(MGMT_IP, "management.tcp.ip", TEXT, 0, NULL, 1, 45, NULL, NULL, "Management",                                             \
      "Address of the management API. Unless it is set: every address, IPv4 and IPv6.")                                         \
    X(MGMT_PORT, "management.tcp.port", INTEGER, 0, NULL, 0, 65535, "15672", "none", "Management",                              \
      "Port of the management API; 0 takes a free one. none: it is on its unix socket only.")                                   \
    X(MGMT_IDLE, "management.tcp.idle_timeout", DURATION, 0, "ms", SEC, DAY, "60000", NULL, "Management",                       \
      "A connection on which nothing moves for this long is closed, also inside of a request. Whole seconds count.")            \
    X(MGMT_SSL_IP, "management.ssl.ip", TEXT, 0, NULL, 1, 45, NULL, NULL, "Management",                                         \
      "Address of the management API over HTTPS. Unless it is set: every address, IPv4 and IPv6.")                              \
    X(MGMT_SSL_PORT, "management.ssl.port", INTEGER, 0, NULL, 0, 65535, NULL, NULL, "Management",                               \
      "Port of the management API over HTTPS; 0 takes a free one. Unless it is set there is none.")                             \
    X(MGMT_SSL_CA, "management.ssl.cacertfile", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, NULL, NULL, "Management", \
      "Authorities (PEM) of the certificates that clients may show there.")                                                     \
    X(MGMT_SSL_CERT, "management.ssl.certfile", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, NULL, NULL, "Management", \
      "Certificate of that port, with its chain (PEM).")                                                                        \
    X(MGMT_SSL_KEY, "management.ssl.keyfile", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, NULL, NULL, "Management", \
      "Private key of that certificate (PEM).")                                                                                 \
    X(MGMT_SSL_PASSWORD, "management.ssl.password", TEXT, SLC_CONFIG_RELOAD | SLC_CONFIG_SECRET, NULL, 0, 1024, NULL, NULL, "Management", \
      "Password of that key.")                                                                                                  \
    X(MGMT_SSL_VERSIONS, "management.ssl.versions.N", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, "tlsv1.2 tlsv1.3", "Management", \
      "A version that is spoken there. Without any of these keys: both.")                                                       \
    X(MGMT_SSL_VERIFY, "management.ssl.verify", ENUM, 0, NULL, 0, 0, "verify_none", "verify_none", "Management",                \
      "Users are known by name and password there, not by certificates: nothing but verify_none is possible.")                  \
    X(MGMT_SSL_FAIL, "management.ssl.fail_if_no_peer_cert", ENUM, 0, NULL, 0, 0, "false", "false", "Management",                \
      "For the same reason nothing but false is possible.")                                                                     \
    X(MGMT_REALM, "management.auth_realm", TEXT, 0, NULL, 1, 255, "RabbitMQ Management", NULL, "Management",                    \
      "Realm in the challenge for a user name. Some monitoring scripts log in only when they see the default.")                 \
    X(MGMT_BODY, "management.http.max_body_size", SIZE, 0, NULL, KIB, GIB, "20000000", NULL, "Management",                      \
      "Largest body of a request to the management API.")                                                                       \
    X(MGMT_PREFIX, "management.path_prefix", TEXT, 0, NULL, 1, 255, NULL, NULL, "Management",                                   \
      "What stands before every path of the management API over TCP, such as /broker; a proxy may want it.")                    \
    X(MGMT_LOGIN_TIMEOUT, "management.login_session_timeout", INTEGER, 0, "minutes", 1, 525600, "480", NULL, "Management",      \
      "A session of a browser (POST /api/login) that is not used for so long is over.")                                         \
    X(MGMT_BASIC_OFF, "management.disable_basic_auth", BOOL, 0, NULL, 0, 0, "false", NULL, "Management",                        \
      "Refuse basic authentication, so that only sessions of POST /api/login get in.")                                          \
    X(MGMT_OPERATOR_LOCK, "management.restrictions.operator_policy_changes.disabled", BOOL, 0, NULL, 0, 0, "false", NULL, "Management", \
      "Operator policies cannot be changed through the management API over the network (405); sluicectl on its socket can.")   \
    X(MGMT_CORS, "management.cors.allow_origins", ENUM, 0, NULL, 0, 0, NULL, "none", "Management",                              \
      "none: no page of another origin may use the management API, whatever management.cors.allow_origins.N say.")              \
    X(MGMT_CORS_N, "management.cors.allow_origins.N", TEXT, 0, NULL, 1, 255, NULL, NULL, "Management",                          \
      "An origin whose pages may use the management API, such as https://example.com. *: any.")                                 \
    X(MGMT_CORS_AGE, "management.cors.max_age", INTEGER, 0, "s", 0, 86400, "1800", NULL, "Management",                          \
      "How long a browser may remember that.")                                                                                  \
    X(MGMT_CSP, "management.csp.policy", TEXT, 0, NULL, 1, 1000, "default-src 'self'; object-src 'none'; frame-ancestors 'none'", NULL, "Management", \
      "Content-Security-Policy of every answer.")                                                                               \
    X(MGMT_HSTS, "management.hsts.policy", TEXT, 0, NULL, 1, 255, NULL, NULL, "Management",                                     \
      "Strict-Transport-Security of every answer. Unless it is set there is none.")                                             \
    X(MGMT_NOSNIFF, "management.headers.content_type_options", TEXT, 0, NULL, 1, 255, "nosniff", NULL, "Management",            \
      "X-Content-Type-Options of every answer.")                                                                                \
    X(MGMT_XSS, "management.headers.xss_protection", TEXT, 0, NULL, 1, 255, NULL, NULL, "Management",                           \
      "X-XSS-Protection of every answer. Unless it is set there is none.")                                                      \
    X(MGMT_FRAME, "management.headers.frame_options", TEXT, 0, NULL, 1, 255, "DENY", NULL, "Management",                        \
      "X-Frame-Options of every answer.")                                                                                       \
    X(MGMT_LOG_DIR, "management.http_log_dir", TEXT, 0, NULL, 1, 3800, NULL, NULL, "Management",                                \
      "Directory of an access log of the management API, a file an hour, which nobody deletes. Unless it is set "               \
      "there is none.")                                                                                                         \
    X(MGMT_RATES, "management.rates_mode", ENUM, 0, NULL, 0, 0, "basic", "basic detailed none", "Management",                   \
      "none: no rates and no message_stats. detailed is basic: which channel publishes to which exchange is not "               \
      "counted, those lists are empty.")                                                                                        \
    X(STATS_INTERVAL, "collect_statistics_interval", DURATION, 0, "ms", 100, DAY, "5000", NULL, "Management",                   \
      "Least time that a rate covers. Counters are read when they are asked for, so nothing happens meanwhile.")                \
    X(MGMT_STATS_OFF, "management.disable_stats", BOOL, 0, NULL, 0, 0, "false", NULL, "Management",                             \
      "Lists of queues and connections have only what names them, as with disable_stats=true in a request.")                    \
    X(MGMT_TOTALS, "management.enable_queue_totals", BOOL, 0, NULL, 0, 0, "false", NULL, "Management",                          \
      "With management.disable_stats: queues have their three counts of messages.")                                             \
                                                                                                                                \
    X(LOG_DEFAULT_LEVEL, "log.default.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                        \
      "Least level of every output that has none of its own. notice means info, critical and what is above means error. "      \
      "Unless it is set: info.")                                                                                               \
    X(LOG_CONNECTION_LEVEL, "log.connection.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                  \
      "The same for lines about connections, in every output: it counts instead of the output's level, higher or lower.")      \
    X(LOG_CHANNEL_LEVEL, "log.channel.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                        \
      "The same for channels, and errors on them.")                                                                            \
    X(LOG_QUEUE_LEVEL, "log.queue.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                            \
      "The same for queues.")                                                                                                  \
    X(LOG_POLICY_LEVEL, "log.policy.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                          \
      "The same for policies.")                                                                                                \
    X(LOG_AUTH_LEVEL, "log.auth.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                              \
      "The same for logins and users.")                                                                                        \
    X(LOG_HTTP_LEVEL, "log.http.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                              \
      "The same for the management API.")                                                                                      \
    X(LOG_STORE_LEVEL, "log.store.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                            \
      "The same for the store.")                                                                                               \
    X(LOG_AUDIT_LEVEL, "log.audit.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                            \
      "The same for what was changed through sluicectl and the management API, and by whom.")                                  \
    X(LOG_CONFIG_LEVEL, "log.config.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                          \
      "The same for the configuration and reloads.")                                                                           \
    X(LOG_UPGRADE_LEVEL, "log.upgrade.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, NULL, LEVELS, "Log",                        \
      "The same for changes of formats on disk.")                                                                              \
    X(LOG_CONSOLE, "log.console", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "true", NULL, "Log",                                     \
      "Log to standard error.")                                                                                                 \
    X(LOG_CONSOLE_LEVEL, "log.console.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "info", LEVELS, "Log",                       \
      "Least level that is written there.")                                                                                     \
    X(LOG_CONSOLE_FORMAT, "log.console.formatter", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "plaintext", "plaintext json", "Log",    \
      "Lines for people or JSON objects.")                                                                                      \
    X(LOG_DIR, "log.dir", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 3800, "/var/log/sluice", NULL, "Log",                               \
      "Directory of log.file.")                                                                                                 \
    X(LOG_FILE, "log.file", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 255, "false", "false", "Log",                                     \
      "Log to this file too: a name in log.dir, or a whole path. SIGUSR1 reopens it.")                                          \
    X(LOG_FILE_LEVEL, "log.file.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "info", LEVELS, "Log",                             \
      "Least level that is written there.")                                                                                     \
    X(LOG_FILE_FORMAT, "log.file.formatter", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "plaintext", "plaintext json", "Log",          \
      "Lines for people or JSON objects.")                                                                                      \
    X(LOG_FILE_SIZE, "log.file.rotation.size", SIZE, SLC_CONFIG_RELOAD, NULL, 0, 0, "0", NULL, "Log",                          \
      "A line that would make the file longer goes to a new one. 0: any length; then logrotate may rotate it.")                \
    X(LOG_FILE_COUNT, "log.file.rotation.count", INTEGER, SLC_CONFIG_RELOAD, "files", 0, 1000, "0", NULL, "Log",               \
      "So many old files are kept then, with .0 (the newest), .1 and so on behind the name. 0: none.")                         \
    X(LOG_SYSLOG, "log.syslog", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "false", NULL, "Log",                                     \
      "Log to syslog too. A log.syslog.level alone switches it on. A daemon that is not there or does not keep up loses lines; " \
      "the other outputs say so once.")                                                                                        \
    X(LOG_SYSLOG_LEVEL, "log.syslog.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "info", LEVELS, "Log",                        \
      "Least level that is written there.")                                                                                    \
    X(LOG_SYSLOG_FORMAT, "log.syslog.formatter", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "plaintext", "plaintext json", "Log",    \
      "The sentence, or a JSON object, behind the header of syslog.")                                                          \
    X(LOG_SYSLOG_IDENTITY, "log.syslog.identity", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 48, "sluiced", NULL, "Log",                \
      "Name of the program in those lines.")                                                                                   \
    X(LOG_SYSLOG_FACILITY, "log.syslog.facility", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "daemon", FACILITIES, "Log",            \
      "Facility of those lines.")                                                                                              \
    X(LOG_SYSLOG_PROTOCOL, "log.syslog.protocol", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "rfc3164", "rfc3164 rfc5424", "Log",    \
      "Form of the header.")                                                                                                   \
    X(LOG_SYSLOG_SOCKET, "log.syslog.socket", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 107, "/dev/log", NULL, "Log",                  \
      "Socket of the syslog daemon of this machine. It is used unless one of log.syslog.ip, host, port and transport is set.") \
    X(LOG_SYSLOG_IP, "log.syslog.ip", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 45, NULL, NULL, "Log",                                 \
      "Address of a syslog daemon that is reached over the network.")                                                          \
    X(LOG_SYSLOG_HOST, "log.syslog.host", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 253, NULL, NULL, "Log",                            \
      "The same as a name. Unless one of both is set: 127.0.0.1.")                                                             \
    X(LOG_SYSLOG_PORT, "log.syslog.port", INTEGER, SLC_CONFIG_RELOAD, NULL, 1, 65535, "514", NULL, "Log",                      \
      "Its port.")                                                                                                             \
    X(LOG_SYSLOG_TRANSPORT, "log.syslog.transport", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "udp", "udp tcp", "Log",              \
      "How it is reached. Over TCP the octets of each message are counted before it (RFC 6587). TLS is not spoken: a syslog daemon " \
      "of this machine can do that.")                                                                                          \
    X(LOG_JOURNALD, "log.journald", BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "false", NULL, "Log",                                 \
      "Log to systemd's journal with fields (PRIORITY, MESSAGE, SYSLOG_IDENTIFIER, SLUICE_CATEGORY, SLUICE_EVENT, SLUICE_NODE, and " \
      "SLUICE_ before the name of each field of the event). A log.journald.level alone switches it on. Where standard error is the " \
      "journal too, log.console is off then.")                                                                                 \
    X(LOG_JOURNALD_LEVEL, "log.journald.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "info", LEVELS, "Log",                    \
      "Least level that is written there.")                                                                                    \
    X(LOG_JOURNALD_SOCKET, "log.journald.socket", TEXT, SLC_CONFIG_RELOAD, NULL, 1, 107, "/run/systemd/journal/socket", NULL, "Log", \
      "Socket of the journal.")                                                                                                \
    X(LOG_EXCHANGE, "log.exchange", BOOL, 0, NULL, 0, 0, "false", NULL, "Log",                                                  \
      "Publish the lines of the log to the topic exchange amq.rabbitmq.log of default_vhost; the routing key is the level: "    \
      "debug, info, warning, error. A log.exchange.level alone switches it on.")                                                \
    X(LOG_EXCHANGE_LEVEL, "log.exchange.level", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "info", LEVELS, "Log",                     \
      "Least level that is published there.")                                                                                   \
    X(LOG_EXCHANGE_FORMAT, "log.exchange.formatter", ENUM, SLC_CONFIG_RELOAD, NULL, 0, 0, "plaintext", "plaintext json", "Log",  \
      "Lines for people or JSON objects.")                                                                                      \
    X(EVENT_VHOST, "event_exchange.vhost", TEXT, 0, NULL, 1, 255, NULL, NULL, "Log",                                            \
      "Publish events (queue.created, connection.closed, ...) to the topic exchange amq.rabbitmq.event of this virtual host. "  \
      "Unless it is set: no events.")
// clang-format on

#endif
