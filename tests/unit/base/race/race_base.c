// Many threads post to one mailbox and write the log at once. Criterion does not start under ThreadSanitizer, so this is a
// plain program; it is built with -fsanitize=thread whenever no other sanitizer is asked for.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mailbox.h"

enum { SENDERS = 4, ITEMS_EACH = 20000, ITEMS = SENDERS * ITEMS_EACH };

typedef struct item {
    slc_mail mail;
    uint32_t sender;
    uint32_t number;
} item;

typedef struct sender {
    uv_thread_t thread;
    uint32_t number;
    slc_mailbox *box;
} sender;

static uint32_t next_number[SENDERS];
static uint32_t received;

static void on_item(slc_mail *mail, void *arg)
{
    item *it = SLC_CONTAINER_OF(mail, item, mail);
    SLC_ASSERT(it->number == next_number[it->sender]); // order per sender
    next_number[it->sender]++;
    slc_free(it);
    if (++received == ITEMS)
        uv_stop(arg);
}

static void sender_run(void *arg)
{
    sender *s = arg;
    for (uint32_t i = 0; i < ITEMS_EACH; i++) {
        item *it = slc_alloc(sizeof *it);
        *it = (item){.sender = s->number, .number = i};
        slc_mailbox_post(s->box, &it->mail);
        slc_err rc = SLC_OK;
        SLC_ASSERT(!SLC_FAILPOINT("race.other", &rc));
        if (i % 16 == 0)
            slc_log(SLC_LOG_INFO, "default", "race.step", SLC_FIELDS(SLC_F_U64("i", i)),
                    "sender %u at %u", s->number, i);
    }
}

int main(void)
{
    char path[] = "/tmp/sluice-race-XXXXXX";
    int fd = mkstemp(path);
    SLC_ASSERT(fd >= 0);
    close(fd);
    slc_error error = {0};
    slc_log_options options = {.level = SLC_LOG_NONE, .file = path, .file_level = SLC_LOG_DEBUG};
    // Nobody is there: what happens to lines does not matter here.
    options.syslog = (slc_log_syslog_options){
        .host = "localhost", .port = 1, .tcp = true, .identity = "race", .level = SLC_LOG_DEBUG};
    options.journal_socket = "/nonexistent-sluice/socket";
    options.journal_level = SLC_LOG_DEBUG;
    SLC_ASSERT(slc_log_start(&options, &error) == SLC_OK);
#if SLC_FAILPOINTS
    SLC_ASSERT(slc_failpoint_plan("race.never=error:EIO@1000000", &error) == SLC_OK);
#endif

    uv_loop_t loop;
    SLC_ASSERT(uv_loop_init(&loop) == 0);
    slc_mailbox box;
    SLC_ASSERT(slc_mailbox_init(&box, &loop, on_item, &loop) == SLC_OK);
    sender senders[SENDERS];
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (sender){.number = i, .box = &box};
        SLC_ASSERT(uv_thread_create(&senders[i].thread, sender_run, &senders[i]) == 0);
    }
    for (uint32_t i = 0; i < 50; i++) { // reconfigure and reopen under fire
        options.file_json = i % 2 == 0;
        options.syslog.on = i % 3 == 0;
        options.journal = i % 3 == 1;
        slc_log_set_level(i % 2 == 0 ? SLC_LOG_INFO : SLC_LOG_DEBUG);
        SLC_ASSERT(slc_log_configure(&options, &error) == SLC_OK);
        slc_log_reopen();
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (uint32_t i = 0; i < SENDERS; i++)
        uv_thread_join(&senders[i].thread);
    slc_mailbox_close(&box, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    SLC_ASSERT(uv_loop_close(&loop) == 0);
    slc_log_stop();
    unlink(path);
    SLC_ASSERT(received == ITEMS);
    printf("%u items from %d senders, in order\n", received, SENDERS);
    return 0;
}
