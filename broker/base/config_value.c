// One value of the configuration: its text, type, range, and what it prints as.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/config_impl.h"

enum { SECRET_BYTES_MAX = 4096 };

// Leading digits of text; false when there are none or they exceed 64 bits. *rest is behind them.
static bool value_digits(const char *text, uint64_t *out, const char **rest)
{
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    *rest = at;
    return at != text;
}

typedef struct value_unit {
    const char *name;
    uint64_t factor;
} value_unit;

// As RabbitMQ has it: k and KiB are 2^10, KB is 10^3; upper and lower case are the same.
static const value_unit size_units[] = {
    {"", 1},
    {"b", 1},
    {"k", 1ull << 10},
    {"kib", 1ull << 10},
    {"kb", 1000},
    {"m", 1ull << 20},
    {"mib", 1ull << 20},
    {"mb", 1000000},
    {"g", 1ull << 30},
    {"gib", 1ull << 30},
    {"gb", 1000000000},
    {"t", 1ull << 40},
    {"tib", 1ull << 40},
    {"tb", 1000000000000},
};

static const value_unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
};

static bool value_scaled(const char *text, const value_unit *units, size_t count, const char *bare,
                         uint64_t *out)
{
    uint64_t number;
    const char *unit;
    if (!value_digits(text, &number, &unit))
        return false;
    while (*unit == ' ')
        unit++;
    if (*unit == '\0')
        unit = bare;
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(units[i].name, unit) == 0)
            return !__builtin_mul_overflow(number, units[i].factor, out);
    }
    return false;
}

static bool value_fraction(const char *text, double *out)
{
    uint64_t whole, part = 0, scale = 1;
    const char *rest;
    if (!value_digits(text, &whole, &rest) || whole > 1000000)
        return false;
    if (*rest == '.') {
        const char *digits = rest + 1;
        if (!value_digits(digits, &part, &rest) || rest - digits > 9)
            return false;
        for (ptrdiff_t i = 0; i < rest - digits; i++)
            scale *= 10;
    }
    if (*rest != '\0')
        return false;
    *out = (double)whole + (double)part / (double)scale;
    return true;
}

static bool value_address(const char *text, slc_config_address *out)
{
    slc_config_address address = {0};
    const char *port = text;
    const char *colon = strrchr(text, ':');
    if (colon != NULL) {
        const char *host = text;
        size_t bytes = (size_t)(colon - text);
        if (bytes >= 2 && host[0] == '[' && host[bytes - 1] == ']') {
            host++;
            bytes -= 2;
        }
        if (bytes == 0 || bytes >= sizeof address.host)
            return false;
        memcpy(address.host, host, bytes);
        struct in6_addr numeric;
        bool v6 = inet_pton(AF_INET6, address.host, &numeric) == 1;
        if (!v6 && (host != text || inet_pton(AF_INET, address.host, &numeric) != 1))
            return false;
        port = colon + 1;
    }
    uint64_t number;
    const char *rest;
    if (!value_digits(port, &number, &rest) || *rest != '\0' || number > 65535)
        return false;
    address.port = (uint16_t)number;
    *out = address;
    return true;
}

// Index of text among the words; -1: none of them.
static int value_word(const char *words, const char *text)
{
    size_t bytes = strlen(text);
    int index = 0;
    for (const char *at = words; at != NULL && *at != '\0'; index++) {
        size_t length = strcspn(at, " ");
        if (length == bytes && memcmp(at, text, bytes) == 0)
            return index;
        at += length + (at[length] == ' ');
    }
    return -1;
}

static bool value_bool(const char *text, bool *out)
{
    *out = strcmp(text, "true") == 0 || strcmp(text, "on") == 0;
    return *out || strcmp(text, "false") == 0 || strcmp(text, "off") == 0;
}

static bool value_in_range(const slc_config_key *key, uint64_t number)
{
    return number >= key->min && (key->max == 0 || number <= key->max);
}

slc_err slc_config_value_parse(const slc_config_key *key, slc_config_value *value)
{
    const char *text = value->text;
    value->word = value_word(key->words, text);
    if (value->word >= 0)
        return SLC_OK;
    bool good = false;
    uint64_t measure = 0; // what min and max apply to
    const char *rest;
    switch (key->type) {
    case SLC_CONFIG_BOOL:
        return value_bool(text, &value->flag) ? SLC_OK : SLC_EINVAL;
    case SLC_CONFIG_ENUM:
        return SLC_EINVAL;
    case SLC_CONFIG_INTEGER:
        good = value_digits(text, &value->number, &rest) && *rest == '\0';
        measure = value->number;
        break;
    case SLC_CONFIG_SIZE:
        good = value_scaled(text, size_units, SLC_ARRAY_COUNT(size_units), "", &value->number);
        measure = value->number;
        break;
    case SLC_CONFIG_DURATION:
        good = value_scaled(text, duration_units, SLC_ARRAY_COUNT(duration_units), key->unit,
                            &value->number);
        measure = value->number;
        break;
    case SLC_CONFIG_FRACTION:
        good = value_fraction(text, &value->fraction);
        return good && value->fraction * 1000 >= (double)key->min &&
                       (key->max == 0 || value->fraction * 1000 <= (double)key->max)
                   ? SLC_OK
                   : SLC_EINVAL;
    case SLC_CONFIG_TEXT:
        good = true;
        measure = strlen(text);
        break;
    case SLC_CONFIG_ADDRESS:
        good = value_address(text, &value->address);
        measure = value->address.port;
        break;
    }
    return good && value_in_range(key, measure) ? SLC_OK : SLC_EINVAL;
}

// ---- what a key allows, in words

static void append(char *out, size_t cap, const char *format, ...) SLC_PRINTF(3, 4);
static void append(char *out, size_t cap, const char *format, ...)
{
    size_t used = strlen(out);
    va_list args;
    va_start(args, format);
    vsnprintf(out + used, cap - used, format, args);
    va_end(args);
}

static void allowed_words(const char *words, const char *last, char *out, size_t cap)
{
    for (const char *at = words; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, " ");
        const char *next = at + length + (at[length] == ' ');
        append(out, cap, "%s%.*s", at == words ? "" : *next == '\0' ? last : ", ", (int)length, at);
        at = next;
    }
}

static void allowed_size(uint64_t bytes, char *out, size_t cap)
{
    static const char *const names[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    uint32_t unit = 0;
    while (bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < SLC_ARRAY_COUNT(names)) {
        bytes /= 1024;
        unit++;
    }
    append(out, cap, "%" PRIu64 " %s", bytes, names[unit]);
}

static void allowed_time(uint64_t ms, char *out, size_t cap)
{
    if (ms > 0 && ms % 86400000 == 0)
        append(out, cap, "%" PRIu64 " d", ms / 86400000);
    else if (ms > 0 && ms % 3600000 == 0)
        append(out, cap, "%" PRIu64 " h", ms / 3600000);
    else if (ms % 1000 == 0)
        append(out, cap, "%" PRIu64 " s", ms / 1000);
    else
        append(out, cap, "%" PRIu64 " ms", ms);
}

static void allowed_number(const slc_config_key *key, uint64_t number, char *out, size_t cap)
{
    if (key->type == SLC_CONFIG_SIZE)
        allowed_size(number, out, cap);
    else if (key->type == SLC_CONFIG_DURATION)
        allowed_time(number, out, cap);
    else if (key->type == SLC_CONFIG_FRACTION)
        append(out, cap, "%g", (double)number / 1000);
    else
        append(out, cap, "%" PRIu64, number);
}

const char *slc_config_allowed(const slc_config_key *key, char *out, size_t cap)
{
    out[0] = '\0';
    switch (key->type) {
    case SLC_CONFIG_BOOL:
        append(out, cap, "true or false");
        break;
    case SLC_CONFIG_ENUM:
        if (strchr(key->words, ' ') == NULL)
            append(out, cap, "the word ");
        allowed_words(key->words, " or ", out, cap);
        return out;
    case SLC_CONFIG_ADDRESS:
        append(out, cap, "[ip:]port with a numeric ip");
        break;
    case SLC_CONFIG_TEXT:
        append(out, cap, key->max == 0 ? "text" : "text of %" PRIu64 " to %" PRIu64 " bytes",
               key->min, key->max);
        break;
    case SLC_CONFIG_INTEGER:
    case SLC_CONFIG_SIZE:
    case SLC_CONFIG_DURATION:
    case SLC_CONFIG_FRACTION:
        append(out, cap, "%s",
               key->type == SLC_CONFIG_SIZE       ? "a size such as 64MiB, "
               : key->type == SLC_CONFIG_DURATION ? "a time such as 500ms, 10s or 5m, "
                                                  : "");
        allowed_number(key, key->min, out, cap);
        if (key->max == 0) {
            append(out, cap, " or more");
        } else {
            append(out, cap, " to ");
            allowed_number(key, key->max, out, cap);
        }
        if (key->type == SLC_CONFIG_INTEGER && key->unit != NULL)
            append(out, cap, " %s", key->unit);
        break;
    }
    if (key->words != NULL) {
        append(out, cap, ", or ");
        allowed_words(key->words, " or ", out, cap);
    }
    return out;
}

// ---- secrets

static bool secret_is_reference(const char *text)
{
    return strncmp(text, "file:", 5) == 0 || strncmp(text, "env:", 4) == 0 ||
           strncmp(text, "credential:", 11) == 0;
}

static slc_err secret_read(const char *path, char **out, slc_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return slc_error_set(error, slc_err_from_errno(errno), "cannot read %s: %s", path,
                             strerrordesc_np(errno));
    char text[SECRET_BYTES_MAX + 1];
    ssize_t bytes = read(fd, text, sizeof text);
    int number = errno;
    close(fd);
    if (bytes < 0)
        return slc_error_set(error, slc_err_from_errno(number), "cannot read %s: %s", path,
                             strerrordesc_np(number));
    size_t length = (size_t)bytes;
    if (length > SECRET_BYTES_MAX)
        return slc_error_set(error, SLC_ELIMIT, "%s has more than %d bytes", path,
                             SECRET_BYTES_MAX);
    if (length > 0 && text[length - 1] == '\n')
        length--;
    if (length > 0 && text[length - 1] == '\r')
        length--;
    if (length == 0)
        return slc_error_set(error, SLC_EINVAL, "%s is empty", path);
    if (memchr(text, '\0', length) != NULL || memchr(text, '\n', length) != NULL)
        return slc_error_set(error, SLC_EINVAL, "%s has more than one line, or octets of value 0",
                             path);
    *out = slc_strndup(text, length);
    explicit_bzero(text, sizeof text);
    return SLC_OK;
}

slc_err slc_config_secret_fetch(slc_config_value *value, slc_error *error)
{
    if (value->given != NULL)
        return SLC_OK;
    const char *text = value->text;
    char *secret = NULL;
    slc_err rc = SLC_OK;
    if (strncmp(text, "file:", 5) == 0) {
        rc = secret_read(text + 5, &secret, error);
    } else if (strncmp(text, "env:", 4) == 0) {
        const char *found = getenv(text + 4);
        if (found == NULL || *found == '\0')
            rc = slc_error_set(error, SLC_ENOTFOUND, "the environment variable %s is not set",
                               text + 4);
        else
            secret = slc_strdup(found);
    } else if (strncmp(text, "credential:", 11) == 0) {
        const char *dir = getenv("CREDENTIALS_DIRECTORY");
        char path[4096];
        if (dir == NULL || *dir == '\0')
            rc = slc_error_set(error, SLC_ENOTFOUND,
                               "systemd gave no credentials (CREDENTIALS_DIRECTORY is not set)");
        else if (text[11] == '\0' || strchr(text + 11, '/') != NULL || text[11] == '.')
            rc = slc_error_set(error, SLC_EINVAL, "'%s' is no name of a credential", text + 11);
        else if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, text + 11) >= sizeof path)
            rc = slc_error_set(error, SLC_ELIMIT, "the path of the credential is too long");
        else
            rc = secret_read(path, &secret, error);
    } else if (strncmp(text, "encrypted:", 10) == 0) {
        rc = slc_error_set(error, SLC_ENOTIMPL,
                           "encrypted: values need RabbitMQ's decoder; use file:/path, env:NAME or "
                           "credential:NAME");
    }
    if (rc != SLC_OK || secret == NULL)
        return rc;
    value->given = (char *)(uintptr_t)value->text; // both are ours; text is const for the readers
    value->text = secret;
    return SLC_OK;
}

void slc_config_shown(const slc_config_key *key, const slc_config_value *value, char *out,
                      size_t cap)
{
    const char *text = value->given != NULL ? value->given : value->text;
    if ((key->flags & SLC_CONFIG_SECRET) != 0 && !secret_is_reference(text))
        text = "********";
    size_t bytes = strlen(text);
    bool quote = bytes == 0 || strchr(text, '#') != NULL || text[0] == ' ' || text[0] == '\'' ||
                 text[bytes - 1] == ' ' || strchr(text, '\t') != NULL;
    snprintf(out, cap, quote ? "'%s'" : "%s", text);
}
