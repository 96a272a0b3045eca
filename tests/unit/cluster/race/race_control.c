// The control plane under a loop that proposes as fast as it can, many times opened and closed. Built with -fsanitize=thread
// whenever no other sanitizer is asked for (Criterion does not start there).
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/alloc.h"
#include "cluster/control.h"

enum { ROUNDS = 5, PROPOSALS = 300 };

static uint32_t applied, answered;

static void on_apply(const slc_control_change *change, uint64_t index, void *arg)
{
    (void)change, (void)index, (void)arg;
    applied++;
}

static void on_failed(const slc_error *error, void *arg)
{
    (void)arg;
    fprintf(stderr, "%s\n", error->text);
    abort();
}

static void on_proposed(slc_err rc, void *arg)
{
    (void)arg;
    SLC_ASSERT(rc == SLC_OK);
    answered++;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

int main(void)
{
    char dir[] = "/tmp/sluice-race-XXXXXX";
    SLC_ASSERT(mkdtemp(dir) != NULL);
    for (int round = 0; round < ROUNDS; round++) {
        uv_loop_t loop;
        SLC_ASSERT(uv_loop_init(&loop) == 0);
        slc_control_options options = {
            .dir = dir, .loop = &loop, .apply = on_apply, .failed = on_failed};
        slc_control *control = NULL;
        slc_error error = {0};
        SLC_ASSERT(slc_control_open(&options, &control, &error) == SLC_OK);
        applied = answered = 0;
        SLC_ASSERT(slc_control_load(control, &error) == SLC_OK);
        SLC_ASSERT(applied == (round == 0 ? 0 : PROPOSALS));
        applied = 0;
        for (uint32_t i = 0; i < PROPOSALS; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%u", i);
            slc_control_change change = {.key = slc_slice_str(key), .value = slc_slice_str(key)};
            slc_control_propose(control, &change, 1, on_proposed, NULL);
            if (i % 7 == 0)
                uv_run(&loop, UV_RUN_NOWAIT);
        }
        slc_control_close(control, NULL, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        SLC_ASSERT(uv_loop_close(&loop) == 0);
        SLC_ASSERT(answered == PROPOSALS);
        SLC_ASSERT(applied == PROPOSALS);
    }
    SLC_ASSERT(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
    printf("%d rounds of %d proposals\n", ROUNDS, PROPOSALS);
    return 0;
}
