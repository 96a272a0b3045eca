// Reading: lines of text, files, directories, assignments, environment. Every byte here may come from a stranger.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/config_impl.h"
#include "base/table.h"

// ---- text

static bool config_blank(char c)
{
    return c == ' ' || c == '\t';
}

static slc_slice config_trim(slc_slice text)
{
    while (text.bytes > 0 && config_blank((char)text.data[0])) {
        text.data++;
        text.bytes--;
    }
    while (text.bytes > 0 && config_blank((char)text.data[text.bytes - 1]))
        text.bytes--;
    return text;
}

static bool config_key_good(slc_slice key)
{
    if (key.bytes == 0 || key.bytes > SLC_CONFIG_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < key.bytes; i++) {
        uint8_t c = key.data[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-';
        bool dot = c == '.' && i > 0 && i + 1 < key.bytes && key.data[i - 1] != '.';
        if (!word && !dot)
            return false;
    }
    return true;
}

static bool config_text_good(slc_slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if ((text.data[i] < 0x20 && text.data[i] != '\t') || text.data[i] == 0x7f)
            return false;
    }
    return slc_utf8_check(text);
}

// The value behind "=": unquoted, without its comment. A sentence when it is not well-formed.
static const char *config_value_cut(slc_slice rest, slc_slice *value, bool *glued)
{
    rest = config_trim(rest);
    if (rest.bytes > 0 && rest.data[0] == '\'') {
        const uint8_t *end = memchr(rest.data + 1, '\'', rest.bytes - 1);
        if (end == NULL)
            return "a value that begins with a single quote must end with one";
        *value = slc_slice_of(rest.data + 1, (size_t)(end - rest.data) - 1);
        slc_slice behind = config_trim(slc_slice_of(end + 1, rest.bytes - value->bytes - 2));
        if (behind.bytes > 0 && behind.data[0] != '#')
            return "there is more text behind the closing quote";
        return NULL;
    }
    const uint8_t *comment = rest.bytes > 0 ? memchr(rest.data, '#', rest.bytes) : NULL;
    if (comment != NULL) {
        *glued = comment > rest.data && !config_blank((char)comment[-1]);
        rest.bytes = (size_t)(comment - rest.data);
    }
    *value = config_trim(rest);
    return value->bytes == 0 ? "there is no value; an empty one is written ''" : NULL;
}

static slc_err config_line(slc_config *config, slc_slice line, const char *source, uint32_t number,
                           slc_error *error)
{
    if (line.bytes > 0 && line.data[line.bytes - 1] == '\r')
        line.bytes--;
    line = config_trim(line);
    if (line.bytes == 0 || line.data[0] == '#')
        return SLC_OK;
    if (!config_text_good(line))
        return slc_config_note_at(config, SLC_ESYNTAX, error, source, number,
                                  "the line is not UTF-8 text");

    const uint8_t *equals = memchr(line.data, '=', line.bytes);
    int shown = line.bytes > 60 ? 60 : (int)line.bytes;
    if (equals == NULL)
        return slc_config_note_at(config, SLC_ESYNTAX, error, source, number,
                                  "'%.*s' is not key = value", shown, (const char *)line.data);
    slc_slice key = config_trim(slc_slice_of(line.data, (size_t)(equals - line.data)));
    if (!config_key_good(key))
        return slc_config_note_at(
            config, SLC_ESYNTAX, error, source, number,
            "'%.*s' is no key: keys are words of letters, digits, _ and - with dots between them",
            key.bytes > 60 ? 60 : (int)key.bytes,
            (const char *)(key.bytes > 0 ? key.data : line.data));
    char name[SLC_CONFIG_NAME_BYTES_MAX + 1];
    memcpy(name, key.data, key.bytes);
    name[key.bytes] = '\0';

    slc_slice value = {0};
    bool glued = false;
    const char *wrong = config_value_cut(
        slc_slice_of(equals + 1, line.bytes - (size_t)(equals - line.data) - 1), &value, &glued);
    if (wrong != NULL)
        return slc_config_note_at(config, SLC_ESYNTAX, error, source, number, "%s: %s", name,
                                  wrong);
    if (glued)
        slc_config_note_at(
            config, SLC_OK, NULL, source, number,
            "%s: the value ends before the #, which begins a comment; put it in single "
            "quotes if it is part of it",
            name);
    char *text = slc_strndup((const char *)value.data, value.bytes);
    slc_err rc = slc_config_put(config, name, text, source, number, error);
    explicit_bzero(text, value.bytes);
    slc_free(text);
    return rc;
}

slc_err slc_config_parse(slc_config *config, slc_slice text, const char *source, slc_error *error)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    if (text.bytes >= sizeof mark && memcmp(text.data, mark, sizeof mark) == 0) {
        text.data += sizeof mark;
        text.bytes -= sizeof mark;
    }
    slc_err first = SLC_OK;
    for (uint32_t number = 1; text.bytes > 0; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.bytes);
        size_t bytes = end == NULL ? text.bytes : (size_t)(end - text.data);
        slc_err rc = config_line(config, slc_slice_of(text.data, bytes), source, number,
                                 first == SLC_OK ? error : NULL);
        if (first == SLC_OK)
            first = rc;
        size_t used = end == NULL ? bytes : bytes + 1;
        text.data += used;
        text.bytes -= used;
    }
    return first;
}

// ---- sources

static slc_err config_read(const char *path, uint8_t **out, size_t *bytes, slc_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int number = errno;
    struct stat status;
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        close(fd);
        fd = -1;
        number = EISDIR;
    }
    if (fd < 0)
        return slc_error_set(error, slc_err_from_errno(number),
                             "%s: cannot read the configuration: %s", path,
                             strerrordesc_np(number));
    uint8_t *text = slc_alloc(SLC_CONFIG_FILE_BYTES_MAX + 1);
    size_t used = 0;
    ssize_t got = 1;
    while (got > 0 && used <= SLC_CONFIG_FILE_BYTES_MAX) {
        got = read(fd, text + used, SLC_CONFIG_FILE_BYTES_MAX + 1 - used);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            used += (size_t)got;
    }
    number = errno;
    close(fd);
    slc_err rc = SLC_OK;
    if (got < 0)
        rc = slc_error_set(error, slc_err_from_errno(number),
                           "%s: cannot read the configuration: %s", path, strerrordesc_np(number));
    else if (used > SLC_CONFIG_FILE_BYTES_MAX)
        rc = slc_error_set(error, SLC_ELIMIT, "%s: a configuration file has at most %d bytes", path,
                           SLC_CONFIG_FILE_BYTES_MAX);
    if (rc != SLC_OK) {
        slc_free(text);
        return rc;
    }
    *out = text;
    *bytes = used;
    return SLC_OK;
}

slc_err slc_config_load_file(slc_config *config, const char *path, slc_error *error)
{
    uint8_t *text = NULL;
    size_t bytes = 0;
    slc_error wrong = {0};
    slc_err rc = config_read(path, &text, &bytes, &wrong);
    if (rc != SLC_OK)
        return slc_config_note_new(config, rc, error, wrong.text);
    rc = slc_config_parse(config, slc_slice_of(text, bytes), path, error);
    explicit_bzero(text, bytes);
    slc_free(text);
    return rc;
}

static int config_dir_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int config_dir_wanted(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);
    return entry->d_name[0] != '.' && bytes > 5 && strcmp(entry->d_name + bytes - 5, ".conf") == 0;
}

slc_err slc_config_load_dir(slc_config *config, const char *dir, slc_error *error)
{
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, config_dir_wanted, config_dir_order);
    if (count < 0 && (errno == ENOENT || errno == ENOTDIR))
        return SLC_OK;
    if (count < 0)
        return slc_config_note_at(config, slc_err_from_errno(errno), error, dir, 0,
                                  "cannot read the directory: %s", strerrordesc_np(errno));
    slc_err first = SLC_OK;
    for (int i = 0; i < count; i++) {
        char path[4096];
        slc_err rc = SLC_OK;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name) < sizeof path)
            rc = slc_config_load_file(config, path, first == SLC_OK ? error : NULL);
        else
            rc = slc_config_note_at(config, SLC_ELIMIT, error, dir, 0,
                                    "the path of a file inside is too long");
        if (first == SLC_OK)
            first = rc;
        free(entries[i]);
    }
    free(entries);
    return first;
}

slc_err slc_config_set(slc_config *config, const char *key, const char *value, const char *source,
                       slc_error *error)
{
    if (!config_key_good(slc_slice_str(key)))
        return slc_config_note_at(config, SLC_ESYNTAX, error, source, 0, "'%.60s' is no key", key);
    if (!config_text_good(slc_slice_str(value)))
        return slc_config_note_at(config, SLC_ESYNTAX, error, source, 0,
                                  "%s: the value is not one line of UTF-8 text", key);
    return slc_config_put(config, key, value, source, 0, error);
}

slc_err slc_config_assign(slc_config *config, const char *assignment, const char *source,
                          slc_error *error)
{
    const char *equals = strchr(assignment, '=');
    if (equals == NULL)
        return slc_config_note_at(config, SLC_ESYNTAX, error, source, 0, "'%.60s' is not key=value",
                                  assignment);
    slc_slice key = config_trim(slc_slice_of(assignment, (size_t)(equals - assignment)));
    slc_slice value = config_trim(slc_slice_str(equals + 1));
    char *key_text = slc_strndup((const char *)key.data, key.bytes);
    char *value_text = slc_strndup((const char *)value.data, value.bytes);
    slc_err rc = slc_config_set(config, key_text, value_text, source, error);
    slc_free(key_text);
    slc_free(value_text);
    return rc;
}

slc_err slc_config_environment(slc_config *config, char *const *environment, const char *prefix,
                               slc_error *error)
{
    slc_err first = SLC_OK;
    size_t prefix_bytes = strlen(prefix);
    for (; *environment != NULL; environment++) {
        const char *entry = *environment;
        const char *equals = strchr(entry, '=');
        if (strncmp(entry, prefix, prefix_bytes) != 0 || equals == NULL || equals[1] == '\0')
            continue;
        char key[SLC_CONFIG_NAME_BYTES_MAX + 1], source[SLC_CONFIG_NAME_BYTES_MAX + 80];
        size_t used = 0;
        for (const char *at = entry + prefix_bytes; at < equals && used < sizeof key - 1; at++) {
            bool dot = at[0] == '_' && at[1] == '_';
            key[used++] = dot ? '.' : *at;
            at += dot;
        }
        key[used] = '\0';
        snprintf(source, sizeof source, "environment variable %.*s", (int)(equals - entry), entry);
        slc_err rc =
            slc_config_set(config, key, equals + 1, source, first == SLC_OK ? error : NULL);
        if (first == SLC_OK)
            first = rc;
    }
    return first;
}
