#include "app/boot_definitions.h"

#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/log.h"
#include "core/definitions_file.h"
#include "core/parameter.h"

enum { FILE_BYTES_MAX = 64 * 1024 * 1024, FILES_MAX = 1024 };

typedef struct boot {
    slc_broker *broker;
    char *paths[FILES_MAX];
    json_t *roots[FILES_MAX];
    uint32_t count, at;
    bool changed_only;
    crypto_hash_sha256_state hashing;
    char hash[2 * crypto_hash_sha256_BYTES + 1]; // of all files
    void (*done)(slc_err rc, const slc_error *error, void *arg);
    void *arg;
} boot;

static slc_err io_error(const char *what, const char *path, slc_error *error)
{
    int code = errno;
    return slc_error_set(error, slc_err_from_errno(code), "load_definitions: cannot %s %s: %s",
                         what, path, strerror(code));
}

static slc_err file_read(const char *path, slc_buffer *out, slc_error *error)
{
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return io_error("open", path, error);
    slc_err rc = SLC_OK;
    size_t got = 1;
    while (rc == SLC_OK && got > 0) {
        got = fread(slc_buffer_reserve(out, 65536), 1, 65536, in);
        out->bytes += got;
        if (out->bytes > FILE_BYTES_MAX)
            rc = slc_error_set(error, SLC_ELIMIT, "load_definitions: %s has more than %d octets",
                               path, FILE_BYTES_MAX);
    }
    if (rc == SLC_OK && ferror(in))
        rc = io_error("read", path, error);
    fclose(in);
    return rc;
}

static slc_err boot_parse(boot *b, slc_error *error)
{
    crypto_hash_sha256_init(&b->hashing);
    for (uint32_t i = 0; i < b->count; i++) {
        slc_buffer text = {0};
        slc_err rc = file_read(b->paths[i], &text, error);
        uint64_t bytes = text.bytes; // where one file ends counts
        crypto_hash_sha256_update(&b->hashing, (const uint8_t *)&bytes, sizeof bytes);
        crypto_hash_sha256_update(&b->hashing, text.data, text.bytes);
        if (rc == SLC_OK) {
            rc = slc_definitions_parse(slc_buffer_slice(&text), &b->roots[i], error);
            if (rc != SLC_OK)
                slc_error_wrap(error, "load_definitions: %s", b->paths[i]);
        }
        slc_buffer_fini(&text);
        if (rc != SLC_OK)
            return rc;
    }
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&b->hashing, digest);
    sodium_bin2hex(b->hash, sizeof b->hash, digest, sizeof digest);
    return SLC_OK;
}

static int is_json(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);
    return entry->d_name[0] != '.' && bytes > 5 && strcmp(entry->d_name + bytes - 5, ".json") == 0;
}

static slc_err boot_find(boot *b, const char *path, slc_error *error)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return io_error("open", path, error);
    if (!S_ISDIR(st.st_mode)) {
        b->paths[b->count++] = slc_strdup(path);
        return SLC_OK;
    }
    struct dirent **entries;
    int found = scandir(path, &entries, is_json, alphasort);
    if (found < 0)
        return io_error("list", path, error);
    slc_err rc = SLC_OK;
    if (found > FILES_MAX)
        rc = slc_error_set(error, SLC_ELIMIT, "load_definitions: %s has %d files, more than %d",
                           path, found, FILES_MAX);
    for (int i = 0; i < found; i++) {
        if (rc == SLC_OK) {
            size_t bytes = strlen(path) + strlen(entries[i]->d_name) + 2;
            char *name = slc_alloc(bytes);
            snprintf(name, bytes, "%s/%s", path, entries[i]->d_name);
            b->paths[b->count++] = name;
        }
        free(entries[i]); // NOLINT: scandir's own allocations
    }
    free(entries); // NOLINT
    return rc;
}

static void boot_end(boot *b, slc_err rc, const slc_error *error)
{
    b->done(rc, error, b->arg);
    for (uint32_t i = 0; i < b->count; i++) {
        slc_free(b->paths[i]);
        json_decref(b->roots[i]);
    }
    slc_free(b);
}

static void boot_next(boot *b);

static void boot_imported(slc_err rc, const char *report, void *arg)
{
    boot *b = arg;
    slc_error error = {0};
    if (rc != SLC_OK) {
        // The report may have more lines than an error holds: all of them go to the log.
        for (const char *line = report; *line != '\0';) {
            int bytes = (int)strcspn(line, "\n");
            slc_log(SLC_LOG_ERROR, "default", "definitions.wrong", SLC_NO_FIELDS, "%s: %.*s",
                    b->paths[b->at], bytes, line);
            line += bytes + (line[bytes] == '\n');
        }
        slc_error_set(&error, rc, "load_definitions: %s: %s", b->paths[b->at], report);
        boot_end(b, rc, &error);
        return;
    }
    slc_log(SLC_LOG_INFO, "default", "definitions.loaded", SLC_NO_FIELDS,
            "definitions of %s loaded", b->paths[b->at]);
    b->at++;
    boot_next(b);
}

/** RabbitMQ keeps it under that name, too. */
static const char hash_parameter[] = "imported_definition_hash_value";

static bool boot_is_loaded(const boot *b)
{
    const slc_parameter *p =
        slc_parameter_find(b->broker, NULL, (slc_slice){0}, slc_slice_str(hash_parameter));
    const char *hash = p != NULL ? json_string_value(p->value) : NULL;
    return hash != NULL && strcmp(hash, b->hash) == 0;
}

static void boot_noted(slc_err rc, bool created, const slc_error *error, void *arg)
{
    (void)created;
    boot_end(arg, rc, error);
}

static void boot_next(boot *b)
{
    slc_error none = {0};
    if (b->at == b->count && b->changed_only) {
        json_t *hash = json_string(b->hash);
        slc_parameter_set(b->broker, NULL, (slc_slice){0}, slc_slice_str(hash_parameter), hash,
                          boot_noted, b);
        json_decref(hash);
    } else if (b->at == b->count)
        boot_end(b, SLC_OK, &none);
    else
        slc_definitions_import(b->broker, b->roots[b->at], (slc_slice){0}, boot_imported, b);
}

void slc_boot_definitions(slc_broker *broker, const char *path, bool changed_only,
                          void (*done)(slc_err rc, const slc_error *error, void *arg), void *arg)
{
    boot *b = slc_alloc_zero(1, sizeof *b);
    b->broker = broker;
    b->changed_only = changed_only;
    b->done = done;
    b->arg = arg;
    slc_error error = {0};
    slc_err rc = boot_find(b, path, &error);
    if (rc == SLC_OK)
        rc = boot_parse(b, &error);
    if (rc == SLC_OK && changed_only && boot_is_loaded(b)) {
        slc_log(SLC_LOG_INFO, "default", "definitions.unchanged", SLC_NO_FIELDS,
                "definitions of %s were loaded before and are skipped", path);
        boot_end(b, SLC_OK, &error);
    } else if (rc != SLC_OK) {
        boot_end(b, rc, &error);
    } else {
        boot_next(b);
    }
}
