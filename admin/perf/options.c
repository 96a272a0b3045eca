#include "perf/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

typedef enum option_kind {
    OPTION_TITLE, // a heading in --help
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_U32,
    OPTION_U64,
    OPTION_BYTES,  // u32; K and M allowed
    OPTION_NUMBER, // double
    OPTION_MODE,   // -f persistent|mandatory, may be repeated
} option_kind;

typedef struct option {
    char letter; // 0: none
    const char *name;
    const char *argument;
    option_kind kind;
    size_t offset;     // of the field
    size_t set_offset; // of a bool that remembers it was given; 0: none
    double min, max;
    const char *help;
} option;

#define FIELD(name) offsetof(slc_perf_options, name)
#define U32_MAX     4294967295.0
#define COUNT_MAX   1e15

static const option options[] = {
    {.name = "Broker", .kind = OPTION_TITLE},
    {'h', "uri", "URI", OPTION_TEXT, FIELD(uri), 0, 0, 0,
     "amqp://user:password@host:port/vhost, or amqps:// for TLS "
     "[amqp://guest:guest@127.0.0.1:5672/%2F]"},
    {0, "cacert", "FILE", OPTION_TEXT, FIELD(ca), 0, 0, 0,
     "with amqps: these authorities must vouch for the broker and its name [nobody is asked]"},
    {0, "id", "TEXT", OPTION_TEXT, FIELD(id), 0, 0, 0,
     "name of this run: in the output and in generated names [random]"},
    {.name = "Topology", .kind = OPTION_TITLE},
    {'u', "queue", "NAME", OPTION_TEXT, FIELD(queue), 0, 0, 0,
     "queue; it stays afterwards [a generated one, deleted at the end]"},
    {0, "queues", "N", OPTION_U32, FIELD(queues), 0, 1, 65535,
     "this many queues, NAME-1 to NAME-N [1]"},
    {0, "queue-pattern", "TEXT", OPTION_TEXT, FIELD(queue_pattern), 0, 0, 0,
     "queue names, with one %d in it"},
    {0, "queue-pattern-from", "N", OPTION_U32, FIELD(queue_from), 0, 0, 1e9,
     "first number of the pattern [1]"},
    {0, "queue-pattern-to", "N", OPTION_U32, FIELD(queue_to), 0, 0, 1e9,
     "last number of the pattern"},
    {'e', "exchange", "NAME", OPTION_TEXT, FIELD(exchange), 0, 0, 0,
     "exchange [the default exchange]"},
    {'t', "type", "TYPE", OPTION_TEXT, FIELD(type), 0, 0, 0,
     "declare the exchange as direct, fanout or topic [direct if -e is given]"},
    {'k', "routing-key", "KEY", OPTION_TEXT, FIELD(routing_key), 0, 0, 0,
     "one key for all queues [each queue's own name]"},
    {0, "fanout", "N", OPTION_U32, FIELD(fanout), 0, 1, 10000,
     "a fanout exchange with N queues and a consumer each"},
    {0, "bindings", "N", OPTION_U32, FIELD(bindings), 0, 1, 99999,
     "a topic exchange with N wildcard bindings; every message matches one"},
    {0, "queue-args", "KEY=VALUE,...", OPTION_TEXT, FIELD(queue_args), 0, 0, 0,
     "arguments of the queues; whole numbers are numbers, the rest is text"},
    {0, "predeclared", NULL, OPTION_FLAG, FIELD(predeclared), 0, 0, 0,
     "declare and delete nothing"},
    {0, "purge", NULL, OPTION_FLAG, FIELD(purge), 0, 0, 0, "empty the queues first"},
    {.name = "Load", .kind = OPTION_TITLE},
    {'x', "producers", "N", OPTION_U32, FIELD(producers), FIELD(producers_set), 0, 10000,
     "publishing connections [1]"},
    {'y', "consumers", "N", OPTION_U32, FIELD(consumers), FIELD(consumers_set), 0, 10000,
     "consuming connections [1]"},
    {'s', "size", "BYTES", OPTION_BYTES, FIELD(size), FIELD(size_set), 0, 134217728,
     "body size; K and M are allowed [16]"},
    {'c', "confirm", "WINDOW", OPTION_U32, FIELD(confirm), 0, 1, SLC_PERF_CONFIRM_MAX,
     "publisher confirms with at most WINDOW outstanding [off]"},
    {'q', "qos", "N", OPTION_U32, FIELD(qos), 0, 0, 65535,
     "prefetch of each consumer; 0: no limit [0]"},
    {'A', "multi-ack-every", "N", OPTION_U32, FIELD(ack_every), FIELD(ack_every_set), 1, 65535,
     "ack every N deliveries with one multiple ack [1: each]"},
    {'a', "autoack", NULL, OPTION_FLAG, FIELD(autoack), 0, 0, 0, "consume without acks"},
    {0, "refuse", NULL, OPTION_FLAG, FIELD(refuse), 0, 0, 0,
     "nack without requeue where it would ack: the messages are dead-lettered or dropped"},
    {'f', "flag", "FLAG", OPTION_MODE, 0, 0, 0, 0,
     "persistent (queues durable, delivery mode 2) or mandatory; may be repeated"},
    {0, "expiration", "MS", OPTION_U32, FIELD(expiration_ms), FIELD(expiration_set), 0, U32_MAX,
     "each message expires after this many milliseconds"},
    {0, "priorities", "N", OPTION_U32, FIELD(priorities), 0, 1, 256,
     "messages have the priorities 0 to N - 1 in turn"},
    {'r', "rate", "N", OPTION_NUMBER, FIELD(rate), 0, 0.001, 1e8,
     "messages a second of each producer [as fast as it goes]"},
    {'R', "consumer-rate", "N", OPTION_NUMBER, FIELD(consumer_rate), 0, 0.001, 1e8,
     "messages a second of each consumer [as fast as it goes]"},
    {'C', "pmessages", "N", OPTION_U64, FIELD(pmessages), 0, 1, COUNT_MAX,
     "messages of each producer; consumers then wait for all of them"},
    {'D', "cmessages", "N", OPTION_U64, FIELD(cmessages), 0, 1, COUNT_MAX,
     "messages of each consumer"},
    {'z', "time", "SECONDS", OPTION_NUMBER, FIELD(seconds), 0, 0.001, 1e7, "stop after this time"},
    {0, "warmup", "SECONDS", OPTION_NUMBER, FIELD(warmup_s), 0, 0, 1e7,
     "count rates and latencies only after this time [0]"},
    {0, "grace", "SECONDS", OPTION_NUMBER, FIELD(grace_s), 0, 0.001, 1e7,
     "at the end wait this long without progress for what is missing; for confirms at least 10 "
     "[10]"},
    {0, "fill", NULL, OPTION_FLAG, FIELD(fill), 0, 0, 0, "publish only, into --queue (needs -C)"},
    {0, "drain", NULL, OPTION_FLAG, FIELD(drain), 0, 0, 0, "consume what --queue has, then stop"},
    {0, "connections-only", "N", OPTION_U32, FIELD(connections_only), 0, 1, 1000000,
     "open N connections with a channel and leave them idle until -z, or a signal"},
    {0, "verify", NULL, OPTION_FLAG, FIELD(verify), 0, 0, 0,
     "check sequence, duplicates, order and checksum of every message (-s 24 or more)"},
    {.name = "Output", .kind = OPTION_TITLE},
    {0, "json", NULL, OPTION_FLAG, FIELD(json), 0, 0, 0, "one JSON object instead of text"},
    {'i', "interval", "SECONDS", OPTION_NUMBER, FIELD(interval_s), 0, 0, 1e7,
     "progress lines on standard error; 0: none [1 on a terminal, else 0]"},
    {0, "help", NULL, OPTION_FLAG, FIELD(help), 0, 0, 0, "this text"},
    {'V', "version", NULL, OPTION_FLAG, FIELD(version), 0, 0, 0, "print the version"},
};

void slc_perf_options_help(FILE *out)
{
    fputs("usage: sluice-perf [option...]\n"
          "Load generator for AMQP 0-9-1 brokers: publishes, consumes, measures.\n",
          out);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(options); i++) {
        const option *o = &options[i];
        if (o->kind == OPTION_TITLE) {
            fprintf(out, "\n%s\n", o->name);
            continue;
        }
        char left[64];
        char letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        fprintf(out, "  %-30s %s\n", left, o->help);
    }
    fputs("\nExit status: 0 done, 64 wrong options, 65 --verify found an error, 69 no broker or "
          "closed by it,\n"
          "75 expected messages or confirms did not come.\n",
          out);
}

static const option *option_by_letter(char letter)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(options); i++)
        if (options[i].kind != OPTION_TITLE && options[i].letter == letter)
            return &options[i];
    return NULL;
}

static const option *option_by_name(const char *name, size_t bytes)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(options); i++)
        if (options[i].kind != OPTION_TITLE && strlen(options[i].name) == bytes &&
            memcmp(options[i].name, name, bytes) == 0)
            return &options[i];
    return NULL;
}

static slc_err option_range_error(const option *o, const char *value, slc_error *error)
{
    const char *what = o->kind == OPTION_NUMBER  ? "a number"
                       : o->kind == OPTION_BYTES ? "a size"
                                                 : "a whole number";
    return slc_error_set(error, SLC_EINVAL, "--%s %s: it must be %s from %.15g to %.15g", o->name,
                         value, what, o->min, o->max);
}

/** Value into the field. Numbers are compared as doubles: every bound is below 2^53. */
static slc_err option_store(const option *o, const char *value, slc_perf_options *out,
                            slc_error *error)
{
    void *field = (char *)out + o->offset;
    if (o->set_offset)
        *(bool *)((char *)out + o->set_offset) = true;
    if (o->kind == OPTION_FLAG) {
        *(bool *)field = true;
        return SLC_OK;
    }
    if (o->kind == OPTION_TEXT) {
        *(const char **)field = value;
        return SLC_OK;
    }
    if (o->kind == OPTION_MODE) {
        if (strcmp(value, "persistent") == 0)
            out->persistent = true;
        else if (strcmp(value, "mandatory") == 0)
            out->mandatory = true;
        else
            return slc_error_set(error, SLC_EINVAL, "--flag %s: it must be persistent or mandatory",
                                 value);
        return SLC_OK;
    }

    char *end = NULL;
    double number;
    errno = 0;
    if (o->kind == OPTION_NUMBER) {
        number = isdigit((unsigned char)value[0]) || value[0] == '.' ? strtod(value, &end) : NAN;
    } else {
        if (!isdigit((unsigned char)value[0]))
            return option_range_error(o, value, error);
        unsigned long long whole = strtoull(value, &end, 10);
        number = (double)whole;
        if (o->kind == OPTION_BYTES && end != NULL && (*end == 'K' || *end == 'k')) {
            number *= 1024;
            end++;
        } else if (o->kind == OPTION_BYTES && end != NULL && (*end == 'M' || *end == 'm')) {
            number *= 1048576;
            end++;
        }
    }
    if (!(number >= o->min && number <= o->max) || errno != 0 || end == NULL || *end != '\0')
        return option_range_error(o, value, error);
    switch (o->kind) {
    case OPTION_NUMBER:
        *(double *)field = number;
        break;
    case OPTION_U64:
        *(uint64_t *)field = (uint64_t)number;
        break;
    default:
        *(uint32_t *)field = (uint32_t)number;
    }
    return SLC_OK;
}

static slc_err options_read(int argc, char **argv, slc_perf_options *out, slc_error *error)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        const option *o;
        const char *value = NULL;
        if (word[0] == '-' && word[1] == '-') {
            const char *name = word + 2;
            const char *equals = strchr(name, '=');
            o = option_by_name(name, equals ? (size_t)(equals - name) : strlen(name));
            value = equals ? equals + 1 : NULL;
        } else if (word[0] == '-' && word[1] != '\0') {
            o = option_by_letter(word[1]);
            value = word[2] ? word + 2 : NULL;
        } else {
            return slc_error_set(error, SLC_EINVAL,
                                 "unexpected argument '%s': there are only options", word);
        }
        if (o == NULL)
            return slc_error_set(error, SLC_EINVAL, "unknown option %s", word);
        if (o->kind == OPTION_FLAG && value != NULL)
            return slc_error_set(error, SLC_EINVAL, "%s: --%s takes no value", word, o->name);
        if (o->kind != OPTION_FLAG && value == NULL) {
            if (++i >= argc)
                return slc_error_set(error, SLC_EINVAL, "--%s needs a value (%s)", o->name,
                                     o->argument);
            value = argv[i];
        }
        slc_err rc = option_store(o, value, out, error);
        if (rc != SLC_OK)
            return rc;
    }
    return SLC_OK;
}

/** Percent-decoded copy of bytes octets; NULL when an escape is bad. */
static char *uri_decode(const char *text, size_t bytes)
{
    char *out = slc_alloc(bytes + 1);
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != '%') {
            out[n++] = text[i];
            continue;
        }
        if (i + 2 >= bytes || !isxdigit((unsigned char)text[i + 1]) ||
            !isxdigit((unsigned char)text[i + 2])) {
            slc_free(out);
            return NULL;
        }
        char hex[3] = {text[i + 1], text[i + 2], 0};
        out[n++] = (char)strtoul(hex, NULL, 16);
        i += 2;
    }
    out[n] = 0;
    return out;
}

/** amqp[s]://[user[:password]@]host[:port][/vhost]; an IPv6 host stands in brackets. No path means vhost "/". */
static slc_err options_uri(slc_perf_options *o, slc_error *error)
{
    static const char plain[] = "amqp://", secure[] = "amqps://";
    o->tls = strncmp(o->uri, secure, sizeof secure - 1) == 0;
    if (!o->tls && strncmp(o->uri, plain, sizeof plain - 1) != 0)
        return slc_error_set(error, SLC_EINVAL, "--uri %s: it must begin with amqp:// or amqps://",
                             o->uri);
    if (o->ca != NULL && !o->tls)
        return slc_error_set(error, SLC_EINVAL, "--cacert needs a --uri that begins with amqps://");
    const char *at = o->uri + (o->tls ? sizeof secure : sizeof plain) - 1;
    size_t authority = strcspn(at, "/?");
    const char *path = at + authority;
    if (strchr(path, '?') != NULL)
        return slc_error_set(error, SLC_EINVAL, "--uri %s: query parameters are not supported",
                             o->uri);

    const char *amp = memrchr(at, '@', authority);
    if (amp != NULL) {
        const char *colon = memchr(at, ':', (size_t)(amp - at));
        const char *user_end = colon ? colon : amp;
        o->user = uri_decode(at, (size_t)(user_end - at));
        o->pass = colon ? uri_decode(colon + 1, (size_t)(amp - colon - 1)) : slc_strdup("");
        authority -= (size_t)(amp + 1 - at);
        at = amp + 1;
    } else {
        o->user = slc_strdup("guest");
        o->pass = slc_strdup("guest");
    }

    const char *host_end;
    if (authority > 0 && at[0] == '[') {
        host_end = memchr(at, ']', authority);
        if (host_end == NULL)
            return slc_error_set(error, SLC_EINVAL, "--uri %s: the ']' after the host is missing",
                                 o->uri);
        o->host = slc_strndup(at + 1, (size_t)(host_end - at - 1));
        host_end++;
    } else {
        host_end = memchr(at, ':', authority);
        if (host_end == NULL)
            host_end = at + authority;
        o->host = slc_strndup(at, (size_t)(host_end - at));
    }
    if (o->host[0] == '\0')
        return slc_error_set(error, SLC_EINVAL, "--uri %s: the host is missing", o->uri);
    o->port = o->tls ? 5671 : 5672;
    if (host_end < path) {
        char *end = NULL;
        unsigned long port = host_end[0] == ':' && isdigit((unsigned char)host_end[1])
                                 ? strtoul(host_end + 1, &end, 10)
                                 : 0;
        if (port < 1 || port > 65535 || end != path)
            return slc_error_set(error, SLC_EINVAL, "--uri %s: the port must be from 1 to 65535",
                                 o->uri);
        o->port = (uint16_t)port;
    }
    o->vhost = path[0] == '/' ? uri_decode(path + 1, strlen(path + 1)) : slc_strdup("/");
    if (o->user == NULL || o->pass == NULL || o->vhost == NULL)
        return slc_error_set(error, SLC_EINVAL,
                             "--uri %s: a '%%' must be followed by two hexadecimal digits", o->uri);
    if (strlen(o->vhost) > 255)
        return slc_error_set(error, SLC_EINVAL, "--uri: the vhost has more than 255 octets");
    return SLC_OK;
}

#define REFUSE(...) return slc_error_set(error, SLC_EINVAL, __VA_ARGS__)

static slc_err options_check_names(slc_perf_options *o, slc_error *error)
{
    bool pattern_range = o->queue_to != UINT32_MAX || o->queue_from != UINT32_MAX;
    if (o->queue_pattern != NULL) {
        const char *percent = strchr(o->queue_pattern, '%');
        if (percent == NULL || percent[1] != 'd' || strchr(percent + 1, '%') != NULL)
            REFUSE("--queue-pattern %s: it must have exactly one %%d and no other %%",
                   o->queue_pattern);
        if (o->queue != NULL || o->queues != 0)
            REFUSE("--queue-pattern excludes --queue and --queues");
        if (o->queue_from == UINT32_MAX)
            o->queue_from = 1;
        if (o->queue_to == UINT32_MAX)
            REFUSE("--queue-pattern needs --queue-pattern-to");
        if (o->queue_to < o->queue_from || o->queue_to - o->queue_from >= 65535)
            REFUSE("--queue-pattern-to %u: it must be from %u (--queue-pattern-from) to %u",
                   o->queue_to, o->queue_from, o->queue_from + 65534);
    } else if (pattern_range) {
        REFUSE("--queue-pattern-from and --queue-pattern-to need --queue-pattern");
    }
    const char *names[] = {o->queue, o->queue_pattern, o->exchange, o->routing_key, o->id};
    const char *options_of[] = {"queue", "queue-pattern", "exchange", "routing-key", "id"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++)
        if (names[i] != NULL && strlen(names[i]) > 200)
            REFUSE("--%s: it must not have more than 200 octets", options_of[i]);
    if (o->queue != NULL && o->queue[0] == '\0')
        REFUSE("--queue: the name must not be empty");
    if (o->id != NULL && o->id[0] == '\0')
        REFUSE("--id: it must not be empty");
    return SLC_OK;
}

static slc_err options_check_queue_args(const slc_perf_options *o, slc_error *error)
{
    if (o->queue_args == NULL)
        return SLC_OK;
    if (o->predeclared || o->drain)
        REFUSE(
            "--queue-args needs queues that are declared: it excludes --predeclared and --drain");
    for (const char *at = o->queue_args;; at++) {
        size_t bytes = strcspn(at, ",");
        const char *equals = memchr(at, '=', bytes);
        if (equals == NULL || equals == at || equals - at > 255)
            REFUSE("--queue-args %s: it must be KEY=VALUE, more of them separated by commas",
                   o->queue_args);
        at += bytes;
        if (*at == '\0')
            return SLC_OK;
    }
}

static slc_err options_check_topology(slc_perf_options *o, slc_error *error)
{
    slc_err rc = options_check_names(o, error);
    if (rc == SLC_OK)
        rc = options_check_queue_args(o, error);
    if (rc != SLC_OK)
        return rc;
    bool named = o->queue != NULL || o->queue_pattern != NULL;
    if (o->type != NULL && strcmp(o->type, "direct") != 0 && strcmp(o->type, "fanout") != 0 &&
        strcmp(o->type, "topic") != 0)
        REFUSE("--type %s: it must be direct, fanout or topic", o->type);
    if (o->fanout != 0) {
        if (o->queues != 0 || named || o->bindings != 0 || o->consumers_set || o->type != NULL ||
            o->predeclared)
            REFUSE("--fanout makes its own exchange, queues and consumers: it excludes --type, "
                   "--queue, --queues, "
                   "--queue-pattern, --bindings, --consumers and --predeclared");
        o->type = "fanout";
        o->queues = o->fanout;
        o->consumers = o->fanout;
    }
    if (o->bindings != 0) {
        if (o->type != NULL && strcmp(o->type, "topic") != 0)
            REFUSE("--bindings needs a topic exchange: --type %s does not fit", o->type);
        if (o->predeclared || o->routing_key != NULL)
            REFUSE("--bindings makes its own bindings and keys: it excludes --predeclared and "
                   "--routing-key");
        o->type = "topic";
    }
    if (o->exchange != NULL && o->exchange[0] == '\0' && o->type != NULL)
        REFUSE("--type %s: the default exchange has no other type than its own", o->type);
    if (o->exchange != NULL && o->exchange[0] != '\0' && o->type == NULL && !o->predeclared)
        o->type = "direct";
    if (o->predeclared && o->type != NULL)
        REFUSE("--predeclared declares no exchange: it excludes --type");
    if (o->routing_key != NULL && o->type == NULL &&
        (o->exchange == NULL || o->exchange[0] == '\0'))
        REFUSE(
            "--routing-key needs --exchange or --type: the default exchange routes by queue name");
    if (o->predeclared && !named && o->exchange != NULL && o->exchange[0] != '\0' &&
        o->routing_key == NULL)
        REFUSE("--predeclared with --exchange needs --routing-key or --queue: there is no other "
               "key to publish with");
    if (o->predeclared && !named &&
        (o->consumers != 0 || o->exchange == NULL || o->exchange[0] == '\0'))
        REFUSE("--predeclared needs --queue or --queue-pattern");
    if (o->queues == 0)
        o->queues = 1;
    return SLC_OK;
}

static slc_err options_check_modes(slc_perf_options *o, slc_error *error)
{
    bool named = o->queue != NULL || o->queue_pattern != NULL;
    if ((o->fill ? 1 : 0) + (o->drain ? 1 : 0) + (o->connections_only ? 1 : 0) > 1)
        REFUSE("--fill, --drain and --connections-only exclude each other");
    if (o->connections_only &&
        (o->producers_set || o->consumers_set || o->verify || o->fanout || o->bindings || named ||
         o->queues != 0 || o->exchange != NULL || o->type != NULL || o->routing_key != NULL ||
         o->purge || o->predeclared || o->queue_args != NULL || o->persistent || o->warmup_s > 0))
        REFUSE("--connections-only opens idle connections and nothing else: of the other options "
               "only --uri, --id, --time, --json "
               "and --interval go with it");
    if (o->connections_only)
        o->producers = o->consumers = 0;
    if (o->fill) {
        if (o->consumers_set && o->consumers != 0)
            REFUSE("--fill publishes only: leave out --consumers");
        if (o->pmessages == 0 || !named)
            REFUSE("--fill needs --queue (or --queue-pattern) and --pmessages");
        o->consumers = 0;
    }
    if (o->drain) {
        if (o->producers_set && o->producers != 0)
            REFUSE("--drain consumes only: leave out --producers");
        if (!named)
            REFUSE("--drain needs --queue or --queue-pattern");
        if (o->exchange != NULL || o->type != NULL || o->routing_key != NULL || o->bindings ||
            o->fanout || o->purge || o->persistent)
            REFUSE("--drain declares nothing: it excludes --exchange, --type, --routing-key, "
                   "--bindings, --fanout, --purge and "
                   "--flag persistent");
        o->producers = 0;
    }
    if (!o->connections_only && o->producers == 0 && o->consumers == 0)
        REFUSE("--producers 0 --consumers 0: nothing to do");
    return SLC_OK;
}

static slc_err options_check_load(const slc_perf_options *o, slc_error *error)
{
    if (o->producers == 0 && (o->confirm != 0 || o->rate > 0 || o->pmessages != 0 || o->mandatory ||
                              o->size_set || o->expiration_set || o->priorities != 0))
        REFUSE("--size, --confirm, --rate, --pmessages, --expiration, --priorities and --flag "
               "mandatory need a producer");
    if (o->consumers == 0 && (o->qos != 0 || o->ack_every_set || o->autoack || o->refuse ||
                              o->consumer_rate > 0 || o->cmessages != 0))
        REFUSE("--qos, --multi-ack-every, --autoack, --refuse, --consumer-rate and --cmessages "
               "need a consumer");
    if (o->autoack && o->refuse)
        REFUSE("--autoack excludes --refuse: nothing is answered");
    if (o->autoack && o->ack_every_set)
        REFUSE("--autoack excludes --multi-ack-every: nothing is acked");
    if (o->autoack && o->qos != 0)
        REFUSE("--autoack excludes --qos: a consumer without acks has no prefetch limit");
    if (o->qos != 0 && o->ack_every > o->qos)
        REFUSE("--multi-ack-every %u: with --qos %u it must not be larger than that, or no ack "
               "would ever be sent",
               o->ack_every, o->qos);
    if (o->verify && o->producers != 0 && o->size < SLC_PERF_BODY_VERIFIED)
        REFUSE("--verify needs --size %d or more: sequence and checksum stand in the body",
               SLC_PERF_BODY_VERIFIED);
    if (o->verify && o->consumers == 0)
        REFUSE("--verify needs a consumer");
    if (o->warmup_s > 0 && o->seconds > 0 && o->warmup_s >= o->seconds)
        REFUSE("--warmup %g: it must be shorter than --time %g", o->warmup_s, o->seconds);
    return SLC_OK;
}

static void options_make_id(slc_perf_options *o)
{
    uint32_t random = 0;
    slc_random_bytes(&random, sizeof random);
    char *id = slc_alloc(32);
    snprintf(id, 32, "%u-%08x", (unsigned)getpid(), random);
    o->id = o->id_made = id;
}

void slc_perf_options_fini(slc_perf_options *o)
{
    slc_free(o->host);
    slc_free(o->user);
    slc_free(o->pass);
    slc_free(o->vhost);
    slc_free(o->id_made);
}

slc_err slc_perf_options_parse(int argc, char **argv, slc_perf_options *out, slc_error *error)
{
    *out = (slc_perf_options){
        .uri = "amqp://guest:guest@127.0.0.1:5672/%2F",
        .queue_from = UINT32_MAX,
        .queue_to = UINT32_MAX,
        .producers = 1,
        .consumers = 1,
        .size = 16,
        .ack_every = 1,
        .grace_s = 10,
        .interval_s = -1,
    };
    slc_err rc = options_read(argc, argv, out, error);
    if (rc != SLC_OK || out->help || out->version)
        return rc;
    if ((rc = options_uri(out, error)) != SLC_OK ||
        (rc = options_check_modes(out, error)) != SLC_OK ||
        (rc = options_check_topology(out, error)) != SLC_OK ||
        (rc = options_check_load(out, error)) != SLC_OK)
        return rc;
    if (out->exchange == NULL)
        out->exchange = "";
    if (out->id == NULL)
        options_make_id(out);
    if (out->interval_s < 0)
        out->interval_s = isatty(2) ? 1 : 0;
    return SLC_OK;
}
