#include "app/log_lines.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

typedef struct log_lines_item {
    slc_mail mail; // first
    slc_log_level level;
    uint64_t time_s;
    bool json;
    size_t bytes;
    char text[];
} log_lines_item;

static uint64_t item_bytes(size_t text_bytes)
{
    return sizeof(log_lines_item) + text_bytes;
}

/** @thread the log's */
static void on_line(const slc_log_line *line, void *arg)
{
    slc_log_lines_box *box = arg;
    uint64_t bytes = item_bytes(line->bytes);
    uint64_t before = atomic_fetch_add_explicit(&box->bytes, bytes, memory_order_relaxed);
    if (before + bytes > SLC_LOG_LINES_BYTES_MAX) {
        atomic_fetch_sub_explicit(&box->bytes, bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&box->dropped, 1, memory_order_relaxed);
        return;
    }
    log_lines_item *item = slc_alloc(sizeof *item + line->bytes);
    item->level = line->level;
    item->time_s = line->time_s;
    item->json = line->json;
    item->bytes = line->bytes;
    memcpy(item->text, line->text, line->bytes);
    slc_mailbox_post(&box->mailbox, &item->mail);
}

static void say_dropped(slc_log_lines_box *box)
{
    uint64_t dropped = atomic_load_explicit(&box->dropped, memory_order_relaxed);
    if (dropped == box->told)
        return;
    slc_log_mute(true);
    slc_log(SLC_LOG_WARN, "default", "log.exchange.dropped",
            SLC_FIELDS(SLC_F_U64("lines", dropped - box->told)),
            "%" PRIu64 " log lines were not published to amq.rabbitmq.log: they came faster than "
            "they could be",
            dropped - box->told);
    slc_log_mute(false);
    box->told = dropped;
}

static void handle_line(slc_mail *mail, void *arg)
{
    slc_log_lines_box *box = arg;
    log_lines_item *item = (log_lines_item *)mail;
    slc_log_mute(true);
    slc_broker_log_line(box->broker, slc_log_level_name(item->level), item->time_s, item->json,
                        slc_slice_of(item->text, item->bytes));
    slc_log_mute(false);
    uint64_t bytes = item_bytes(item->bytes);
    slc_free(item);
    if (atomic_fetch_sub_explicit(&box->bytes, bytes, memory_order_relaxed) == bytes)
        say_dropped(box);
}

slc_err slc_log_lines_open(slc_log_lines_box *box, uv_loop_t *loop, slc_broker *broker,
                           slc_error *error)
{
    *box = (slc_log_lines_box){.broker = broker};
    slc_err rc = slc_mailbox_init(&box->mailbox, loop, handle_line, box);
    if (rc != SLC_OK)
        return slc_error_set(error, rc, "cannot make the mailbox of log lines: %s",
                             slc_err_text(rc));
    slc_mailbox_unref(&box->mailbox);
    box->open = true;
    slc_log_lines(on_line, box);
    return SLC_OK;
}

static void box_closed(uv_handle_t *handle)
{
    (void)handle;
}

void slc_log_lines_close(slc_log_lines_box *box)
{
    if (!box->open)
        return;
    box->open = false;
    slc_log_lines(NULL, NULL);
    slc_mailbox_close(&box->mailbox, box_closed);
}
