#include "perf/report.h"

#include <jansson.h>

static double report_seconds(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
}

static double report_rate(uint64_t from, uint64_t to, double seconds)
{
    return seconds > 0 ? (double)(to - from) / seconds : 0;
}

/** Of the load generator itself, per message handled (published or consumed). */
static double report_cpu_us(const slc_perf_run *run)
{
    uint64_t messages = run->counts_end.published + run->counts_end.consumed;
    return messages ? run->cpu_s * 1e6 / (double)messages : 0;
}

static void report_latency_line(const char *name, const slc_histogram *h, FILE *out)
{
    if (h->count == 0)
        return;
    fprintf(out, "%s p50 %.1f us, p95 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us\n", name,
            (double)slc_histogram_percentile(h, 50) / 1e3,
            (double)slc_histogram_percentile(h, 95) / 1e3,
            (double)slc_histogram_percentile(h, 99) / 1e3,
            (double)slc_histogram_percentile(h, 99.9) / 1e3, (double)h->max / 1e3);
}

void slc_perf_report_text(const slc_perf_run *run, FILE *out)
{
    const slc_perf_options *o = run->options;
    const slc_perf_counts *from = &run->counts_start, *to = &run->counts_end;
    double publish_s = report_seconds(run->measure_ns, run->publish_end_ns);
    double consume_s = report_seconds(run->measure_ns, run->consume_end_ns);
    fprintf(out, "id: %s, broker: %s %s\n", o->id,
            run->control.product[0] ? run->control.product : "unknown", run->control.version);
    if (o->connections_only > 0) {
        fprintf(out, "%u connections opened in %.3f s (%.0f us each), held for %.1f s\n",
                run->idle_count, run->open_s,
                run->idle_count ? run->open_s * 1e6 / run->idle_count : 0,
                report_seconds(run->start_ns, run->consume_end_ns));
        return;
    }
    if (run->producer_count > 0) {
        fprintf(out, "published: %llu messages, %.0f messages/s, %.1f MB/s",
                (unsigned long long)run->counts.published,
                report_rate(from->published, to->published, publish_s),
                report_rate(from->published, to->published, publish_s) * o->size / 1e6);
        if (o->confirm > 0)
            fprintf(out, "; confirmed: %llu, refused: %llu",
                    (unsigned long long)run->counts.confirmed,
                    (unsigned long long)run->counts.nacked);
        if (o->mandatory)
            fprintf(out, "; returned: %llu", (unsigned long long)run->counts.returned);
        fputc('\n', out);
    }
    if (run->consumer_count > 0)
        fprintf(out, "consumed: %llu messages, %.0f messages/s; redelivered: %llu\n",
                (unsigned long long)run->counts.consumed,
                report_rate(from->consumed, to->consumed, consume_s),
                (unsigned long long)run->counts.redelivered);
    report_latency_line("latency:", &run->latency, out);
    report_latency_line("confirm latency:", &run->confirm_latency, out);
    if (o->verify) {
        const slc_perf_verify_counts *v = &run->verify.counts;
        fprintf(out,
                "verified: %llu; gaps: %llu, duplicates: %llu, out of order: %llu, bad checksums: "
                "%llu, foreign: %llu\n",
                (unsigned long long)v->checked, (unsigned long long)v->gaps,
                (unsigned long long)v->duplicates, (unsigned long long)v->out_of_order,
                (unsigned long long)v->bad_checksum, (unsigned long long)v->foreign);
    }
    fprintf(out, "generator: %.3f us of CPU per message, %.2f cores\n", report_cpu_us(run),
            consume_s > 0 ? run->cpu_s / report_seconds(run->start_ns, run->consume_end_ns) : 0);
}

static json_t *report_u64(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/** null when nothing was measured */
static json_t *report_latency(const slc_histogram *h)
{
    if (h->count == 0)
        return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "count", report_u64(h->count));
    json_object_set_new(o, "mean", json_real(slc_histogram_mean(h) / 1e3));
    json_object_set_new(o, "min", json_real((double)h->min / 1e3));
    static const struct {
        const char *name;
        double percent;
    } points[] = {{"p50", 50}, {"p95", 95}, {"p99", 99}, {"p999", 99.9}};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
        json_object_set_new(
            o, points[i].name,
            json_real((double)slc_histogram_percentile(h, points[i].percent) / 1e3));
    json_object_set_new(o, "max", json_real((double)h->max / 1e3));
    return o;
}

static json_t *report_verify(const slc_perf_run *run)
{
    if (!run->options->verify)
        return json_null();
    const slc_perf_verify_counts *v = &run->verify.counts;
    json_t *o = json_object();
    json_object_set_new(o, "checked", report_u64(v->checked));
    json_object_set_new(o, "gaps", report_u64(v->gaps));
    json_object_set_new(o, "duplicates", report_u64(v->duplicates));
    json_object_set_new(o, "redelivered", report_u64(v->redelivered));
    json_object_set_new(o, "out_of_order", report_u64(v->out_of_order));
    json_object_set_new(o, "bad_checksum", report_u64(v->bad_checksum));
    json_object_set_new(o, "foreign", report_u64(v->foreign));
    return o;
}

static json_t *report_load(const slc_perf_options *o)
{
    json_t *load = json_object();
    json_object_set_new(load, "producers", report_u64(o->producers));
    json_object_set_new(load, "consumers", report_u64(o->consumers));
    json_object_set_new(load, "queues", report_u64(o->queues));
    json_object_set_new(load, "bindings", report_u64(o->bindings));
    json_object_set_new(load, "size", report_u64(o->size));
    json_object_set_new(load, "persistent", json_boolean(o->persistent));
    json_object_set_new(load, "confirm", report_u64(o->confirm));
    json_object_set_new(load, "qos", report_u64(o->qos));
    json_object_set_new(load, "autoack", json_boolean(o->autoack));
    json_object_set_new(load, "ack_every", report_u64(o->ack_every));
    json_object_set_new(load, "rate", json_real(o->rate));
    return load;
}

void slc_perf_report_json(const slc_perf_run *run, const char *problem, int status, FILE *out)
{
    const slc_perf_options *o = run->options;
    const slc_perf_counts *from = &run->counts_start, *to = &run->counts_end;
    double publish_s = report_seconds(run->measure_ns, run->publish_end_ns);
    double consume_s = report_seconds(run->measure_ns, run->consume_end_ns);
    json_t *j = json_object();
    json_object_set_new(j, "id", json_string(o->id));
    json_object_set_new(j, "status", json_integer(status));
    json_object_set_new(j, "error", problem ? json_string(problem) : json_null());
    json_t *broker = json_object();
    json_object_set_new(broker, "product", json_string(run->control.product));
    json_object_set_new(broker, "version", json_string(run->control.version));
    json_object_set_new(j, "broker", broker);
    json_object_set_new(j, "load", report_load(o));
    json_object_set_new(j, "seconds",
                        json_real(report_seconds(run->start_ns, run->consume_end_ns)));
    json_object_set_new(j, "cut", json_boolean(run->cut));
    json_object_set_new(j, "published", report_u64(run->counts.published));
    json_object_set_new(j, "confirmed", report_u64(run->counts.confirmed));
    json_object_set_new(j, "nacked", report_u64(run->counts.nacked));
    json_object_set_new(j, "returned", report_u64(run->counts.returned));
    json_object_set_new(j, "consumed", report_u64(run->counts.consumed));
    json_object_set_new(j, "redelivered", report_u64(run->counts.redelivered));
    json_object_set_new(j, "publish_rate",
                        json_real(report_rate(from->published, to->published, publish_s)));
    json_object_set_new(j, "confirm_rate",
                        json_real(report_rate(from->confirmed, to->confirmed, publish_s)));
    json_object_set_new(j, "consume_rate",
                        json_real(report_rate(from->consumed, to->consumed, consume_s)));
    json_object_set_new(j, "latency_us", report_latency(&run->latency));
    json_object_set_new(j, "confirm_latency_us", report_latency(&run->confirm_latency));
    json_object_set_new(j, "verify", report_verify(run));
    json_object_set_new(j, "connections",
                        report_u64(run->idle_count + run->producer_count + run->consumer_count));
    json_object_set_new(j, "open_seconds", json_real(run->open_s));
    json_object_set_new(j, "generator_cpu_seconds", json_real(run->cpu_s));
    json_object_set_new(j, "generator_cpu_us_per_message", json_real(report_cpu_us(run)));
    json_dumpf(j, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    fputc('\n', out);
    json_decref(j);
}
