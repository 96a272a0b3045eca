// The main program of a fuzz target when it is not fuzzing: every file of the folders named on the
// command line, and every beginning of it, goes through the target. Found inputs stay tests that
// way, in builds without clang too.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { FILE_BYTES_MAX = 1 << 20, PREFIXES_MAX = 512 };

/** In a block of exactly its size, so that the address sanitizer sees the first octet too far. */
static void run_once(const uint8_t *data, size_t bytes)
{
    uint8_t *exact = malloc(bytes > 0 ? bytes : 1);
    if (exact == NULL) {
        perror("malloc");
        exit(1);
    }
    memcpy(exact, data, bytes);
    LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
}

static void run_file(const char *path)
{
    static uint8_t data[FILE_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    size_t bytes = fread(data, 1, sizeof data, file);
    if (ferror(file) || !feof(file)) {
        fprintf(stderr, "%s: cannot read it, or it has more than %d octets\n", path,
                FILE_BYTES_MAX);
        exit(1);
    }
    fclose(file);
    run_once(data, bytes);
    for (size_t prefix = 0; prefix < bytes && prefix < PREFIXES_MAX; prefix++)
        run_once(data, prefix);
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir == NULL) {
            fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
            return 1;
        }
        for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
            if (entry->d_name[0] == '.')
                continue;
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            run_file(path);
            files++;
        }
        closedir(dir);
    }
    if (files == 0) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER...; no input was found\n", argv[0]);
        return 1;
    }
    printf("%d inputs replayed\n", files);
    return 0;
}
