#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/settings.h"
#include "base/alloc.h"

static char root[] = "/tmp/sluice-settings-XXXXXX";
static char file[64];
static char notes[8192];
static slc_settings *settings;
static slc_error error;

static void setup(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    snprintf(file, sizeof file, "%s/sluice.conf", root);
}

static void teardown(void)
{
    static const char *const names[] = {"sluice.conf",   "other.conf", "conf.d/b.conf",
                                        "conf.d/a.conf", "password",   "conf.d"};
    slc_settings_free(settings);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", root, names[i]);
        remove(path);
    }
    rmdir(root);
}

TestSuite(settings, .init = setup, .fini = teardown, .timeout = 60);

static void put_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *out = fopen(path, "w");
    cr_assert(ne(ptr, out, NULL));
    fputs(text, out);
    fclose(out);
}

static void on_note(bool is_error, const char *text, void *arg)
{
    (void)arg;
    size_t used = strlen(notes);
    snprintf(notes + used, sizeof notes - used, "%s%s\n", is_error ? "E " : "W ", text);
}

static slc_err load_from(slc_settings_sources *sources)
{
    notes[0] = '\0';
    error = (slc_error){0};
    sources->note = on_note;
    slc_settings *loaded = NULL;
    slc_err rc = slc_settings_load(sources, &loaded, &error);
    cr_assert(eq(int, loaded != NULL, rc == SLC_OK), "out is touched on success only");
    if (rc == SLC_OK) {
        slc_settings_free(settings);
        settings = loaded;
    }
    return rc;
}

// The main file alone, with this text.
static slc_err load(const char *text)
{
    put_file("sluice.conf", text);
    return load_from(&(slc_settings_sources){.file = file});
}

static void loads(const char *text)
{
    slc_err rc = load(text);
    cr_assert(eq(int, rc, SLC_OK), "%s: %s", text, error.text);
}

static void expect_in(const char *text, const char *part)
{
    cr_expect(ne(ptr, strstr(text, part), NULL), "'%s' is not in: %s", part, text);
}

Test(settings, defaults_are_those_of_the_manual)
{
    loads("");
    cr_expect(eq(str, notes, ""));
    cr_assert(eq(u32, settings->tcp_count, 1));
    cr_expect(eq(str, settings->tcp[0].address.host, ""));
    cr_expect(eq(int, settings->tcp[0].address.port, 5672));
    cr_expect(eq(u32, settings->tcp_backlog, 128));
    cr_expect(settings->tcp_nodelay);
    cr_expect(eq(u32, settings->tcp_sndbuf_bytes, 0));
    cr_expect(eq(u32, settings->tcp_recbuf_bytes, 0));
    cr_expect(eq(u64, settings->max_connections, 0));
    cr_expect(eq(u32, settings->handshake_timeout_ms, 10000));
    cr_expect(eq(int, settings->heartbeat_s, 60));
    cr_expect(eq(u32, settings->frame_max_bytes, 131072));
    cr_expect(eq(int, settings->channel_max, 2047));
    cr_expect(eq(u64, settings->max_message_bytes, 16 * 1024 * 1024));
    cr_expect(eq(int, settings->default_consumer_prefetch, 0));
    cr_expect(eq(str, (char *)settings->product, "Sluice"));
    cr_expect(eq(str, (char *)settings->product_version, SLC_VERSION));
    cr_expect(eq(str, (char *)settings->default_user, "guest"));
    cr_expect(eq(str, (char *)settings->default_pass, "guest"));
    cr_expect(eq(str, (char *)settings->default_vhost, "/"));
    cr_expect(epsilon_eq(dbl, settings->memory_watermark_relative, 0.6, 1e-9));
    cr_expect(not(settings->memory_watermark_is_absolute));
    cr_expect(eq(u32, settings->memory_monitor_interval_ms, 2500));
    cr_expect(eq(u64, settings->memory_total_override_bytes, 0));
    cr_expect(eq(u64, settings->disk_free_limit_bytes, 1ull << 30));
    cr_expect(eq(u64, settings->cache_bytes, 64 << 20));
    cr_expect(eq(u64, settings->window_bytes, 64 << 20));
    cr_expect(eq(int, settings->store_flush, SLC_SETTINGS_FLUSH_GROUP));
    cr_expect(eq(u32, settings->store_flush_interval_ms, 500));
    cr_expect(eq(u64, settings->store_map_bytes, 0));
    cr_expect(eq(u64, settings->store_log_bytes, 256 << 20));
    cr_expect(eq(str, (char *)settings->management_socket, "/run/sluice/admin.sock"));
    cr_expect(eq(str, (char *)settings->management_group, "sluice"));
    cr_expect(eq(int, settings->log.level, SLC_LOG_INFO));
    cr_expect(not(settings->log.json));
    cr_expect(eq(ptr, (void *)settings->log.file, NULL));
    cr_expect(eq(str, (char *)settings->data_dir, "/var/lib/sluice"));
    cr_expect(eq(u64, settings->shutdown_timeout_ms, 60000));
    cr_expect(not(settings->allow_root));
    expect_in(settings->node_name, "sluice@");
    cr_expect(gt(sz, strlen(settings->node_name), strlen("sluice@")));
    cr_expect(eq(str, (char *)settings->cluster_name, (char *)settings->node_name));
}

Test(settings, every_key_reaches_the_struct)
{
    loads(
        "listeners.tcp.1 = 127.0.0.1:0\nlisteners.tcp.2 = [::1]:7\ntcp_listen_options.backlog = 9\n"
        "tcp_listen_options.nodelay = false\ntcp_listen_options.sndbuf = "
        "32KiB\ntcp_listen_options.recbuf = 64k\n"
        "max_connections = 77\nconnection_max = 55\nhandshake_timeout = 500\nheartbeat = "
        "7\nframe_max = "
        "4096\nchannel_max = 0\n"
        "max_message_size = 134217728\ndefault_consumer_prefetch = 65535\namqp.emulate_product = "
        "RabbitMQ\n"
        "amqp.emulate_version = 3.13.7\ndefault_user = u\ndefault_pass = p\ndefault_vhost = v\n"
        "vm_memory_high_watermark.absolute = 1GB\nmemory_monitor_interval = 1s\n"
        "total_memory_available_override_value = 2GiB\ndisk_free_limit.absolute = "
        "5MB\nmemory.cache_bytes = 0\n"
        "memory.window_bytes = 2MiB\nstore.flush = interval\nstore.flush_interval = "
        "20\nstore.map_size = 1GiB\n"
        "store.log_bytes = 32MiB\nmanagement.socket.path = /x/y.sock\nmanagement.socket.group = "
        "none\n"
        "log.console = false\nlog.file = x.log\nlog.dir = "
        "/logs\nlog.file.level = critical\n"
        "log.file.formatter = json\nnode.data_dir = /d\nnode.name = n@h\ncluster_name = "
        "c\nshutdown.timeout = 5\n"
        "allow_root = true\n");
    cr_expect(eq(str, notes, ""));
    cr_assert(eq(u32, settings->tcp_count, 2));
    cr_expect(eq(str, settings->tcp[0].address.host, "127.0.0.1"));
    cr_expect(eq(int, settings->tcp[0].address.port, 0));
    cr_expect(eq(str, settings->tcp[1].address.host, "::1"));
    cr_expect(eq(str, (char *)settings->tcp[1].name, "2"));
    cr_expect(eq(u32, settings->tcp_backlog, 9));
    cr_expect(not(settings->tcp_nodelay));
    cr_expect(eq(u32, settings->tcp_sndbuf_bytes, 32768));
    cr_expect(eq(u32, settings->tcp_recbuf_bytes, 65536));
    cr_expect(eq(u64, settings->max_connections, 55));
    cr_expect(eq(u32, settings->handshake_timeout_ms, 500));
    cr_expect(eq(int, settings->heartbeat_s, 7));
    cr_expect(eq(u32, settings->frame_max_bytes, 4096));
    cr_expect(eq(int, settings->channel_max, 0));
    cr_expect(eq(u64, settings->max_message_bytes, 134217728));
    cr_expect(eq(int, settings->default_consumer_prefetch, 65535));
    cr_expect(eq(str, (char *)settings->product, "RabbitMQ"));
    cr_expect(eq(str, (char *)settings->product_version, "3.13.7"));
    cr_expect(eq(str, (char *)settings->default_user, "u"));
    cr_expect(eq(str, (char *)settings->default_pass, "p"));
    cr_expect(eq(str, (char *)settings->default_vhost, "v"));
    cr_expect(settings->memory_watermark_is_absolute);
    cr_expect(eq(u64, settings->memory_watermark_absolute, 1000000000));
    cr_expect(eq(u32, settings->memory_monitor_interval_ms, 1000));
    cr_expect(eq(u64, settings->memory_total_override_bytes, 2ull << 30));
    cr_expect(eq(u64, settings->disk_free_limit_bytes, 5000000));
    cr_expect(eq(u64, settings->cache_bytes, 0));
    cr_expect(eq(u64, settings->window_bytes, 2 << 20));
    cr_expect(eq(int, settings->store_flush, SLC_SETTINGS_FLUSH_INTERVAL));
    cr_expect(eq(u32, settings->store_flush_interval_ms, 20));
    cr_expect(eq(u64, settings->store_map_bytes, 1 << 30));
    cr_expect(eq(u64, settings->store_log_bytes, 32 << 20));
    cr_expect(eq(str, (char *)settings->management_socket, "/x/y.sock"));
    cr_expect(eq(ptr, (void *)settings->management_group, NULL));
    cr_expect(eq(str, (char *)settings->data_dir, "/d"));
    cr_expect(eq(str, (char *)settings->node_name, "n@h"));
    cr_expect(eq(str, (char *)settings->cluster_name, "c"));
    cr_expect(eq(u64, settings->shutdown_timeout_ms, 5000));
    cr_expect(settings->allow_root);
    slc_log_options log = settings->log;
    cr_expect(log.console_off);
    cr_expect(eq(str, (char *)log.file, "/logs/x.log"));
    cr_expect(eq(int, log.file_level, SLC_LOG_ERROR));
    cr_expect(log.file_json);
    cr_expect(eq(str, (char *)log.node, "n@h"));
}

Test(settings, bad_values_are_refused_with_everything_a_person_needs)
{
    cr_expect(eq(int, load("heartbeat = 60\nframe_max = 100\n"), SLC_EINVAL));
    char want[256];
    snprintf(
        want, sizeof want,
        "%s:2: frame_max = 100 is not allowed: it must be a size such as 64MiB, 4 KiB to 16 MiB",
        file);
    cr_expect(eq(str, error.text, want));
    static const char *const bad[] = {"max_message_size = 129MiB",
                                      "heartbeat = 65536",
                                      "heartbeat = 1500ms",
                                      "channel_max = 65536",
                                      "listeners.tcp = 5672",
                                      "listeners.tcp.1 = localhost:5672",
                                      "listeners.tcp.1 = 65536",
                                      "max_connections = 0",
                                      "default_user = ''",
                                      "store.flush = sometimes",
                                      "log.console.level = loud",
                                      "log.console.formatter = xml",
                                      "vm_memory_high_watermark.relative = 1.5",
                                      "shutdown.timeout = forever",
                                      "handshake_timeout = 0",
                                      "hearbeat = 5",
                                      "store.mapsize = 1GiB",
                                      "default_pass = file:/nonexistent-sluice"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect(ne(int, load(bad[i]), SLC_OK), "%s", bad[i]);
        expect_in(error.text, file);
        expect_in(error.text, ":1: ");
    }
    cr_expect(eq(int, load("hearbeat = 5\nchanel_max = 3\n"), SLC_EINVAL));
    expect_in(notes, "E ");
    expect_in(notes, "unknown key hearbeat; did you mean heartbeat?\n");
    expect_in(notes, "unknown key chanel_max; did you mean channel_max?\n");
}

Test(settings, unknown_keys_may_be_tolerated)
{
    loads("hearbeat = 5\nconfig.unknown_keys = warn\n");
    expect_in(notes, "W ");
    cr_expect(eq(int, settings->heartbeat_s, 60));
}

Test(settings, a_file_of_rabbitmq_is_taken_along)
{
    loads("listeners.tcp.default = 5673\nloopback_users = none\nreverse_dns_lookups = "
          "true\nssl_options.dhfile = x\n"
          "management.tcp.port = 15672\nvm_memory_high_watermark.relative = "
          "0.4\ncluster_partition_handling = pause_minority\n"
          "log.mirroring.level = debug\nlog.federation.level = "
          "info\nsysmon_handler.thresholds.busy_ports = "
          "10\nnum_acceptors.tcp = 10\n"
          "collect_statistics_interval = 10000\ndisk_free_limit.relative = "
          "1.5\nqueue_index_embed_msgs_below = 4kb\n");
    static const char *const want[] = {
        "W reverse_dns_lookups has no effect: addresses are shown as they are\n",
        "W ssl_options.dhfile has no effect: OpenSSL decides this itself\n",
        "W cluster_partition_handling has no effect: a node stands alone so far\n",
        "W log.mirroring.level, log.federation.level have no effect: nothing is logged in that "
        "category\n",
        "W sysmon_handler.thresholds.busy_ports, num_acceptors.tcp, queue_index_embed_msgs_below "
        "have no effect: it tunes RabbitMQ's runtime, which is not here\n"};
    size_t bytes = 0;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(want); i++) {
        expect_in(notes, want[i]);
        bytes += strlen(want[i]);
    }
    cr_expect(eq(sz, strlen(notes), bytes), "%s", notes);
    cr_expect(settings->disk_free_limit_is_relative);
    cr_expect(ieee_ulp_eq(dbl, settings->disk_free_limit_relative, 1.5, 4));
    cr_expect(eq(int, settings->tcp[0].address.port, 5673));
}

Test(settings, what_new_vhosts_begin_with)
{
    loads("default_limits.vhosts.small.pattern = ^s\ndefault_limits.vhosts.small.max_queues = 7\n"
          "default_policies.operator.cap.vhost_pattern = .*\n"
          "default_policies.operator.cap.queue_pattern = ^q\n"
          "default_policies.operator.cap.expires = 2m\n"
          "default_policies.operator.cap.max_length_bytes = 1k\n"
          "default_users.qa.vhost_pattern = ^qa\ndefault_users.qa.password = secret\n"
          "default_users.qa.tags = policymaker,monitoring\ndefault_users.qa.read = .*\n");
    cr_assert(eq(u32, settings->seed_limit_count, 1));
    cr_expect(eq(str, (char *)settings->seed_limits[0].pattern, "^s"));
    cr_expect(eq(i64, settings->seed_limits[0].max_queues, 7));
    cr_expect(eq(i64, settings->seed_limits[0].max_connections, -1));
    cr_assert(eq(u32, settings->seed_policy_count, 1));
    cr_expect(eq(str, (char *)settings->seed_policies[0].name, "cap"));
    cr_expect(eq(str, (char *)settings->seed_policies[0].queue_pattern, "^q"));
    static const int64_t want[SLC_SETTINGS_SEED_VALUES] = {120000, -1, -1, 1024, -1};
    for (int i = 0; i < SLC_SETTINGS_SEED_VALUES; i++)
        cr_expect(eq(i64, settings->seed_policies[0].values[i], want[i]), "%s",
                  slc_settings_seed_value_name(i));
    cr_assert(eq(u32, settings->seed_user_count, 1));
    cr_expect(eq(str, (char *)settings->seed_users[0].password, "secret"));
    cr_expect(eq(str, (char *)settings->seed_users[0].tags, "policymaker,monitoring"));
    cr_expect(eq(ptr, (void *)settings->seed_users[0].write, NULL));
}

Test(settings, half_of_a_seed_is_refused)
{
    static const struct {
        const char *text, *note;
    } cases[] = {
        {"default_limits.vhosts.l.max_queues = 7\n",
         "default_limits.vhosts.$name.pattern is missing"},
        {"default_limits.vhosts.l.pattern = (\n", "'(' is no regular expression"},
        {"default_policies.operator.p.max_length = 7\n",
         "default_policies.operator.$name.vhost_pattern is missing"},
        {"default_policies.operator.p.vhost_pattern = .*\n", "the policy sets nothing"},
        {"default_users.u.password = x\n", "default_users.$name.vhost_pattern is missing"},
        {"default_users.u.vhost_pattern = .*\ndefault_users.u.read = [\n", "of u: "},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        cr_expect(eq(int, load(cases[i].text), SLC_EINVAL));
        expect_in(notes, cases[i].note);
    }
}

Test(settings, definitions_under_the_name_of_later_versions)
{
    loads("definitions.import_backend = local_filesystem\ndefinitions.local.path = /a\n"
          "definitions.skip_if_unchanged = true\n");
    cr_expect(eq(str, (char *)settings->load_definitions, "/a"));
    cr_expect(settings->load_definitions_changed_only);
    loads("definitions.local.path = /a\nload_definitions = /b\n");
    cr_expect(eq(str, (char *)settings->load_definitions, "/b"));
    expect_in(notes, "has no effect, load_definitions is set too");
}

Test(settings, contradictions_are_warned_of)
{
    loads("vm_memory_high_watermark.relative = 0.5\nvm_memory_high_watermark.absolute = "
          "1GB\nstore.flush_interval = 10\n"
          "listeners.tcp = none\nlisteners.tcp.1 = 5672\n");
    expect_in(notes, ":2: vm_memory_high_watermark.absolute = 1GB: has no effect");
    expect_in(notes, ":3: store.flush_interval = 10: has no effect");
    expect_in(notes, ":4: listeners.tcp = none: listeners.tcp.N have no effect");
    cr_expect(not(settings->memory_watermark_is_absolute));
    cr_expect(eq(u32, settings->tcp_count, 0));
}

Test(settings, too_many_listeners)
{
    char text[4096] = "";
    for (int i = 0; i <= SLC_SETTINGS_LISTENERS_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "listeners.tcp.%d = %d\n", i,
                 2000 + i);
    cr_expect(eq(int, load(text), SLC_EINVAL));
    expect_in(error.text, "65 listeners");
}

Test(settings, who_may_only_come_from_this_machine)
{
    loads("");
    cr_expect(slc_settings_loopback_only(settings, slc_slice_str("guest")));
    cr_expect(not(slc_settings_loopback_only(settings, slc_slice_str("alice"))));
    loads("loopback_users.alice = true\n");
    cr_expect(slc_settings_loopback_only(settings, slc_slice_str("alice")));
    cr_expect(slc_settings_loopback_only(settings, slc_slice_str("guest")));
    loads("loopback_users.guest = false\n");
    cr_expect(not(slc_settings_loopback_only(settings, slc_slice_str("guest"))));
    loads("loopback_users = none\nloopback_users.alice = true\n");
    cr_expect(not(slc_settings_loopback_only(settings, slc_slice_str("guest"))));
    cr_expect(not(slc_settings_loopback_only(settings, slc_slice_str("alice"))));
}

Test(settings, files_then_environment_then_options)
{
    char path[128], password[160];
    snprintf(path, sizeof path, "%s/conf.d", root);
    cr_assert(eq(int, mkdir(path, 0700), 0));
    put_file("sluice.conf", "heartbeat = 1\nchannel_max = 1\nframe_max = 4096\nbacklog_is = "
                            "unknown\ndefault_user = file\n");
    put_file("conf.d/a.conf", "channel_max = 2\nframe_max = 5000\n");
    put_file("conf.d/b.conf", "frame_max = 6000\nconfig.unknown_keys = warn\n");
    put_file("password", "pw\n");
    snprintf(password, sizeof password, "SLUICE_DEFAULT_PASS_FILE=%s/password", root);
    char *environment[] = {"RABBITMQ_DEFAULT_USER=rabbit",
                           "SLUICE_DEFAULT_USER=sluice",
                           "RABBITMQ_DEFAULT_VHOST=/v",
                           "SLUICE_CONF__frame_max=7000",
                           "SLUICE_CONF__tcp_listen_options__backlog=77",
                           "SLUICE_LOG_LEVEL=debug",
                           "RABBITMQ_NODE_PORT=5999",
                           "RABBITMQ_NODENAME=rabbit@there",
                           password,
                           "SLUICE_DATA_DIR=/from/environment",
                           "SLUICE_NODE_NAME=",
                           NULL};
    const char *set[] = {"tcp_listen_options.backlog=78", "node.data_dir=/from/set"};
    slc_settings_sources sources = {.file = file,
                                    .environment = environment,
                                    .set = set,
                                    .set_count = 2,
                                    .data_dir = "/from/option"};
    cr_assert(eq(int, load_from(&sources), SLC_OK), "%s", error.text);
    cr_expect(eq(int, settings->heartbeat_s, 1));
    cr_expect(eq(int, settings->channel_max, 2));
    cr_expect(eq(u32, settings->frame_max_bytes, 7000));
    cr_expect(eq(u32, settings->tcp_backlog, 78));
    cr_expect(eq(str, (char *)settings->data_dir, "/from/option"));
    cr_expect(eq(str, (char *)settings->default_user, "sluice"));
    cr_expect(eq(str, (char *)settings->default_pass, "pw"));
    cr_expect(eq(str, (char *)settings->default_vhost, "/v"));
    cr_expect(eq(str, (char *)settings->node_name, "rabbit@there"));
    cr_expect(eq(int, settings->log.level, SLC_LOG_DEBUG));
    cr_expect(eq(int, settings->tcp[0].address.port, 5999));
    cr_expect(eq(u32, settings->tcp_count, 1));

    char *bad[] = {"SLUICE_DEFAULT_VHOST=\x01", NULL};
    sources.environment = bad;
    cr_expect(eq(int, load_from(&sources), SLC_ESYNTAX));
    expect_in(error.text, "environment variable SLUICE_DEFAULT_VHOST");
}

Test(settings, the_port_variable_gives_way_to_the_file)
{
    put_file("sluice.conf", "listeners.tcp.1 = 5000\n");
    char *environment[] = {"RABBITMQ_NODE_PORT=5999", NULL};
    cr_assert(eq(int, load_from(&(slc_settings_sources){.file = file, .environment = environment}),
                 SLC_OK));
    cr_assert(eq(u32, settings->tcp_count, 1));
    cr_expect(eq(int, settings->tcp[0].address.port, 5000));
}

Test(settings, the_environment_names_the_file)
{
    char variable[128];
    put_file("other.conf", "heartbeat = 9\n");
    snprintf(variable, sizeof variable, "SLUICE_CONFIG=%s/other.conf", root);
    char *environment[] = {variable, NULL};
    cr_assert(eq(int, load_from(&(slc_settings_sources){.environment = environment}), SLC_OK));
    cr_expect(eq(int, settings->heartbeat_s, 9));
    snprintf(variable, sizeof variable, "RABBITMQ_CONFIG_FILE=%s/other",
             root); // RabbitMQ adds .conf
    cr_assert(eq(int, load_from(&(slc_settings_sources){.environment = environment}), SLC_OK));
    cr_expect(eq(int, settings->heartbeat_s, 9));
    snprintf(variable, sizeof variable, "SLUICE_CONFIG=%s/none.conf", root);
    cr_expect(
        eq(int, load_from(&(slc_settings_sources){.environment = environment}), SLC_ENOTFOUND));
    expect_in(error.text, "none.conf");
}

Test(settings, conf_d_belongs_to_sluice_conf_only)
{
    char path[128];
    snprintf(path, sizeof path, "%s/conf.d", root);
    cr_assert(eq(int, mkdir(path, 0700), 0));
    put_file("conf.d/a.conf", "heartbeat = 9\n");
    put_file("other.conf", "heartbeat = 8\n");
    snprintf(path, sizeof path, "%s/other.conf", root);
    cr_assert(eq(int, load_from(&(slc_settings_sources){.file = path}), SLC_OK));
    cr_expect(eq(int, settings->heartbeat_s, 8));
}

Test(settings, a_node_name_gets_a_host)
{
    loads("node.name = rabbit\n");
    expect_in(settings->node_name, "rabbit@");
    cr_expect(eq(ptr, strchr(settings->node_name, '.'), NULL));
}

Test(settings, log_files)
{
    loads("log.file = /whole/path.log\n");
    cr_expect(eq(str, (char *)settings->log.file, "/whole/path.log"));
    loads("log.file = false\nlog.console.level = notice\nlog.console.formatter = json\n");
    cr_expect(eq(ptr, (void *)settings->log.file, NULL));
    cr_expect(eq(int, settings->log.level, SLC_LOG_INFO));
    cr_expect(settings->log.json);
    loads("log.console.level = none\n");
    cr_expect(eq(int, settings->log.level, SLC_LOG_NONE));
}

static char changes[512];

static void on_change(const char *key, bool needs_restart, void *arg)
{
    (void)arg;
    size_t used = strlen(changes);
    snprintf(changes + used, sizeof changes - used, "%s%s ", key, needs_restart ? "!" : "");
}

Test(settings, a_reload_knows_what_changed_and_what_must_wait)
{
    loads("heartbeat = 5\nlog.console.level = info\nlisteners.tcp.1 = 1000\n");
    slc_settings *before = settings;
    settings = NULL;
    loads("heartbeat = 6s\nlog.console.level = debug\nlisteners.tcp.1 = 1001\nlisteners.tcp.2 = "
          "1002\nvm_memory_high_watermark.relative = 0.60\n");
    slc_settings_diff(before, settings, on_change, NULL);
    cr_expect(eq(str, changes, "listeners.tcp.1! listeners.tcp.2! heartbeat log.console.level "));
    slc_settings_free(before);
}

static char *text_of(void (*write)(FILE *out))
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    write(out);
    fclose(out);
    return text;
}

static void print_settings(FILE *out)
{
    slc_settings_print(settings, out);
}

Test(settings, what_is_printed_is_what_holds_and_can_be_read_back)
{
    loads("heartbeat = 5\ndefault_pass = sesame\nlisteners.tcp.1 = [::1]:5672\n");
    char *text = text_of(print_settings);
    expect_in(text, "heartbeat = 5\n");
    expect_in(text, "channel_max = 2047 # default\n");
    expect_in(text, "listeners.tcp.1 = [::1]:5672\n");
    expect_in(text, file);
    cr_expect(eq(ptr, strstr(text, "sesame"), NULL));
    cr_assert(eq(int, load(text), SLC_OK), "%s", error.text);
    cr_expect(eq(int, settings->heartbeat_s, 5));
    free(text);
}

// The sample with every comment of a key taken away holds the same as no file at all.
Test(settings, the_sample_has_every_key_with_its_default)
{
    char *text = text_of(slc_settings_sample);
    char *active = slc_alloc_zero(strlen(text) + 1, 1);
    uint32_t keys = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        cr_expect(eq(int, line[0], '#'), "%s", line);
        cr_expect(le(sz, strlen(line), 110), "%s", line);
        const char *value = strstr(line, " =");
        if (strncmp(line, "# ", 2) != 0 || value == NULL || strchr(line + 2, ' ') != value)
            continue;
        keys++;
        if (value[2] != '\0') {
            strcat(active, line + 2);
            strcat(active, "\n");
        }
    }
    cr_expect(gt(u32, keys, 45));
    loads("");
    slc_settings *before = settings;
    settings = NULL;
    loads(active);
    slc_settings_diff(before, settings, on_change, NULL);
    cr_expect(eq(str, changes, ""));
    slc_settings_free(before);
    slc_free(active);
    free(text);
}

Test(settings, the_manual_page_in_the_tree_is_up_to_date)
{
    const char *path = SLC_SOURCE_DIR "/packaging/man/sluice.conf.5";
    char *want = text_of(slc_settings_man);
    FILE *in = fopen(path, "r");
    cr_assert(ne(ptr, in, NULL), "%s is missing", path);
    char *have = slc_alloc_zero(1, strlen(want) + 2);
    size_t bytes = fread(have, 1, strlen(want) + 1, in);
    have[bytes] = '\0';
    fclose(in);
    cr_expect(eq(int, strcmp(have, want), 0), "%s is old: write it with sluiced --print-man", path);
    slc_free(have);
    free(want);
}

// ---- log, credentials, anonymous

static int level_of(const char *category)
{
    for (uint32_t i = 0; i < settings->log.category_count; i++) {
        if (strcmp(settings->log.categories[i].category, category) == 0)
            return (int)settings->log.categories[i].level;
    }
    return -1;
}

Test(settings, levels_of_outputs_and_categories)
{
    loads("log.default.level = error\nlog.exchange.level = debug\nlog.connection.level = debug\n"
          "log.queue.level = none\nlog.channel.level = notice\nlog.upgrade.level = emergency\n");
    cr_expect(eq(str, notes, ""));
    cr_expect(eq(int, settings->log.level, SLC_LOG_ERROR), "of outputs without a level");
    cr_expect(settings->log.lines, "a level alone switches an output on");
    cr_expect(eq(int, settings->log.line_level, SLC_LOG_DEBUG));
    cr_expect(eq(int, level_of("connection"), SLC_LOG_DEBUG));
    cr_expect(eq(int, level_of("queue"), SLC_LOG_NONE));
    cr_expect(eq(int, level_of("channel"), SLC_LOG_INFO));
    cr_expect(eq(int, level_of("upgrade"), SLC_LOG_ERROR));
    cr_expect(eq(int, level_of("http"), -1));
}

Test(settings, every_category_is_one_of_the_log)
{
    static const char *const names[] = {"connection", "channel", "queue", "policy", "auth",
                                        "http",       "store",   "audit", "config", "upgrade"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        char line[80];
        snprintf(line, sizeof line, "log.%s.level = error\n", names[i]);
        loads(line);
        cr_expect(eq(int, level_of(names[i]), SLC_LOG_ERROR), "%s", names[i]);
        uint32_t n = 0;
        while (slc_log_category_name(n) != NULL && strcmp(slc_log_category_name(n), names[i]) != 0)
            n++;
        cr_expect(ne(ptr, (void *)slc_log_category_name(n), NULL), "%s", names[i]);
    }
}

Test(settings, syslog_is_on_this_machine_unless_it_is_elsewhere)
{
    loads("log.syslog = true\n");
    cr_expect(settings->log.syslog.on);
    cr_expect(eq(ptr, (void *)settings->log.syslog.host, NULL));
    cr_expect(eq(str, (char *)settings->log.syslog.socket, "/dev/log"));
    cr_expect(eq(u8, settings->log.syslog.facility, 3));
    cr_expect(not(settings->log.syslog.rfc5424));
    loads("log.syslog = true\nlog.syslog.port = 1514\nlog.syslog.transport = tcp\n"
          "log.syslog.protocol = rfc5424\nlog.syslog.facility = local7\n");
    cr_expect(eq(str, (char *)settings->log.syslog.host, "127.0.0.1"));
    cr_expect(eq(u16, settings->log.syslog.port, 1514));
    cr_expect(settings->log.syslog.tcp);
    cr_expect(settings->log.syslog.rfc5424);
    cr_expect(eq(u8, settings->log.syslog.facility, 23));
    loads(
        "log.syslog.level = debug\nlog.syslog.host = logs.example\nlog.syslog.facility = kernel\n");
    cr_expect(settings->log.syslog.on);
    cr_expect(eq(str, (char *)settings->log.syslog.host, "logs.example"));
    cr_expect(eq(u8, settings->log.syslog.facility, 0));
    cr_expect(ne(int, load("log.syslog = true\nlog.syslog.ip = logs.example\n"), SLC_OK));
    expect_in(error.text, "log.syslog.ip = logs.example: it must be an address");
    cr_expect(ne(int, load("log.syslog = true\nlog.syslog.transport = tls\n"), SLC_OK));
}

Test(settings, what_is_set_in_vain_is_told)
{
    static const struct {
        char text[120], want[120];
    } cases[] = {
        {"log.console = false\nlog.console.level = info\n", "log.console is false"},
        {"log.file.level = info\n", "log.file is not set"},
        {"log.dir = /x\n", "log.file is not set"},
        {"log.file.rotation.size = 1MB\n", "log.file is not set"},
        {"log.file = /x\nlog.file.rotation.count = 5\n", "log.file.rotation.size is not set"},
        {"log.exchange = false\nlog.exchange.level = info\n", "log.exchange is not true"},
        {"log.journald.socket = /x\n", "log.journald is not true"},
        {"log.syslog.identity = x\n", "log.syslog is not true"},
        {"log.syslog = true\nlog.syslog.socket = /x\nlog.syslog.port = 5\n", "over the network"},
        {"log.syslog = true\nlog.syslog.ip = ::1\nlog.syslog.host = x\n", "log.syslog.ip is set"},
        {"credential_validator.min_length = 7\n", "has no effect with this"},
        {"credential_validator.regexp = x\n", "has no effect with this"},
        {"anonymous_login_user = guest\n", "no auth_mechanisms.N is ANONYMOUS"},
        {"anonymous_login_pass = x\n", "anonymous_login_user is none"},
        {"auth_mechanisms.1 = ANONYMOUS\n", "ANONYMOUS has no effect"},
        {"tcp_listen_options.linger.timeout = 5\n", "has no effect without"},
        {"load_definitions = /x\nmanagement.load_definitions = /y\n", "load_definitions or"},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        loads(cases[i].text);
        expect_in(notes, "W ");
        expect_in(notes, cases[i].want);
    }
}

Test(settings, credentials)
{
    loads("");
    cr_expect(eq(int, settings->credentials.rule, SLC_CREDENTIAL_ANY));
    cr_expect(eq(ptr, (void *)settings->anonymous_user, NULL));
    loads("credential_validator.validation_backend = "
          "rabbit_credential_validator_min_password_length\n");
    cr_expect(eq(int, settings->credentials.rule, SLC_CREDENTIAL_MIN_LENGTH));
    cr_expect(eq(u32, settings->credentials.min_length, 5), "RabbitMQ's default");
    static const char *const bad[] = {
        "credential_validator.validation_backend = rabbit_credential_validator_password_regexp\n",
        "credential_validator.regexp = ((\n",
        "credential_validator.validation_backend = my_validator\n",
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(bad); i++)
        cr_expect(ne(int, load(bad[i]), SLC_OK), "%s", bad[i]);
    loads("auth_mechanisms.1 = ANONYMOUS\nanonymous_login_user = web\n");
    cr_expect(eq(str, notes, ""));
    cr_expect(eq(str, (char *)settings->anonymous_user, "web"));
    cr_expect(eq(str, (char *)settings->anonymous_pass, "guest"));
    cr_expect(eq(u32, settings->mechanisms, 8));
}

Test(settings, names_of_rabbitmq_for_sockets_and_definitions)
{
    loads("tcp_listen_options.keepalive = true\ntcp_listen_options.linger.on = true\n"
          "tcp_listen_options.linger.timeout = 5\nmanagement.load_definitions = /y.json\n");
    cr_expect(eq(str, notes, ""));
    cr_expect(settings->tcp_keepalive);
    cr_expect(settings->tcp_linger);
    cr_expect(eq(u16, settings->tcp_linger_s, 5));
    cr_expect(eq(str, (char *)settings->load_definitions, "/y.json"));
    loads("definitions.local.path = /z\nmanagement.load_definitions = /y.json\n");
    cr_expect(eq(str, (char *)settings->load_definitions, "/z"));
}

Test(settings, the_file_of_the_log_may_be_rotated)
{
    loads("log.file = /x.log\nlog.file.rotation.size = 10485760\nlog.file.rotation.count = 5\n");
    cr_expect(eq(str, notes, ""));
    cr_expect(eq(u64, settings->log.file_bytes_max, 10 << 20));
    cr_expect(eq(u32, settings->log.file_old, 5));
}
