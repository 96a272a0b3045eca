// What a table and a set of values look like for people: key = value text, the manual, the sample file, differences.
#include <stdio.h>

#include "base/alloc.h"
#include "base/config_impl.h"

// ---- differences

typedef struct diff {
    const slc_config_key *key;
    void (*changed)(const char *name, bool needs_restart, void *arg);
    void *arg;
} diff;

static void diff_report(const diff *d, const char *element)
{
    char name[2 * SLC_CONFIG_NAME_BYTES_MAX];
    slc_config_full_name(d->key, element, name, sizeof name);
    d->changed(name, (d->key->flags & SLC_CONFIG_RELOAD) == 0, d->arg);
}

static bool diff_same(const slc_config_key *key, const slc_config_value *a,
                      const slc_config_value *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (strcmp(a->text, b->text) == 0)
        return true;
    if (a->word != b->word || a->word >= 0)
        return false;
    switch (key->type) { // 1024 and 1KiB are the same
    case SLC_CONFIG_BOOL:
        return a->flag == b->flag;
    case SLC_CONFIG_INTEGER:
    case SLC_CONFIG_SIZE:
    case SLC_CONFIG_DURATION:
        return a->number == b->number;
    case SLC_CONFIG_FRACTION:
        return !(a->fraction < b->fraction) && !(a->fraction > b->fraction);
    case SLC_CONFIG_ADDRESS:
        return a->address.port == b->address.port && strcmp(a->address.host, b->address.host) == 0;
    case SLC_CONFIG_TEXT:
    case SLC_CONFIG_ENUM:
        break;
    }
    return false;
}

void slc_config_diff(const slc_config *before, const slc_config *after,
                     void (*changed)(const char *name, bool needs_restart, void *arg), void *arg)
{
    SLC_ASSERT(before->table == after->table);
    for (uint32_t i = 0; i < before->table->count; i++) {
        diff d = {.key = &before->table->keys[i], .changed = changed, .arg = arg};
        size_t hole_bytes;
        if (slc_config_placeholder(d.key->name, &hole_bytes) == NULL) {
            if (!diff_same(d.key, slc_config_get(before, i), slc_config_get(after, i)))
                diff_report(&d, "");
            continue;
        }
        for (uint32_t j = 0; j < before->slots[i].count; j++) {
            const slc_config_value *value = &before->slots[i].values[j];
            if (!diff_same(d.key, value, slc_config_element(after, i, value->element)))
                diff_report(&d, value->element);
        }
        for (uint32_t j = 0; j < after->slots[i].count; j++) {
            const slc_config_value *value = &after->slots[i].values[j];
            if (slc_config_element(before, i, value->element) == NULL)
                diff_report(&d, value->element);
        }
    }
}

// ---- all of them

static void each_value(const slc_config_key *key, const slc_config_slot *slot,
                       const slc_config_value *value,
                       void (*each)(const slc_config_entry *entry, void *arg), void *arg)
{
    char name[2 * SLC_CONFIG_NAME_BYTES_MAX], shown[8192], fallback[8192];
    const slc_config_value *other = slot->fallback.text != NULL ? &slot->fallback : NULL;
    slc_config_full_name(key, value->element, name, sizeof name);
    slc_config_shown(key, value, shown, sizeof shown);
    if (other != NULL)
        slc_config_shown(key, other, fallback, sizeof fallback);
    each(&(slc_config_entry){.name = name,
                             .value = shown,
                             .fallback = other != NULL ? fallback : NULL,
                             .source = value == other ? NULL : value->source,
                             .line = value->line,
                             .differs = !diff_same(key, value, other),
                             .reloadable = (key->flags & SLC_CONFIG_RELOAD) != 0},
         arg);
}

void slc_config_each(const slc_config *config,
                     void (*each)(const slc_config_entry *entry, void *arg), void *arg)
{
    for (uint32_t i = 0; i < config->table->count; i++) {
        const slc_config_key *key = &config->table->keys[i];
        const slc_config_slot *slot = &config->slots[i];
        for (uint32_t j = 0; j < slot->count; j++)
            each_value(key, slot, &slot->values[j], each, arg);
        size_t hole_bytes;
        if (slot->count == 0 && slot->fallback.text != NULL &&
            slc_config_placeholder(key->name, &hole_bytes) == NULL)
            each_value(key, slot, &slot->fallback, each, arg);
    }
}

typedef struct print {
    bool all;
    FILE *out;
} print;

static void print_entry(const slc_config_entry *entry, void *arg)
{
    const print *p = arg;
    if (entry->source != NULL || p->all)
        fprintf(p->out, "%s = %s%s\n", entry->name, entry->value,
                entry->source == NULL ? " # default" : "");
}

void slc_config_print(const slc_config *config, bool all, FILE *out)
{
    slc_config_each(config, print_entry, &(print){all, out});
}

// ---- the manual

// roff: a backslash and a hyphen are written escaped, and no line begins with a dot or a quote.
static void man_line(const char *text, bool line_start, FILE *out)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (line_start && (*at == '.' || *at == '\''))
            fputs("\\&", out);
        line_start = *at == '\n';
        if (*at == '\\')
            fputs("\\e", out);
        else if (*at == '-')
            fputs("\\-", out);
        else
            fputc(*at, out);
    }
}

static void man_text(const char *text, FILE *out)
{
    man_line(text, false, out);
}

// Words of text in lines of at most width columns. Each line begins with prefix; man: in roff.
static void print_wrapped(const char *text, const char *prefix, size_t width, bool man, FILE *out)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t bytes = strcspn(text, " \n");
        char word[256];
        snprintf(word, sizeof word, "%.*s", (int)bytes, text);
        if (column > 0 && column + 1 + bytes > width) {
            fputc('\n', out);
            column = 0;
        }
        fputs(column == 0 ? prefix : " ", out);
        if (man)
            man_line(word, column == 0, out);
        else
            fputs(word, out);
        column += (column == 0 ? strlen(prefix) : 1) + bytes;
        text += bytes;
        text += *text != '\0';
    }
    fputc('\n', out);
}

// The name with its placeholder in italics.
static void man_name(const char *name, FILE *out)
{
    size_t bytes = 0;
    const char *hole = slc_config_placeholder(name, &bytes);
    fputs("\\fB", out);
    if (hole == NULL) {
        man_text(name, out);
    } else {
        char part[SLC_CONFIG_NAME_BYTES_MAX];
        snprintf(part, sizeof part, "%.*s", (int)(hole - name), name);
        man_text(part, out);
        snprintf(part, sizeof part, "%.*s", (int)bytes, hole);
        fputs("\\fI", out);
        man_text(part + (part[0] == '$'), out);
        fputs("\\fB", out);
        man_text(hole + bytes, out);
    }
    fputs("\\fR", out);
}

static bool group_begins(const slc_config_table *table, uint32_t i)
{
    return i == 0 || strcmp(table->keys[i].group, table->keys[i - 1].group) != 0;
}

void slc_config_write_man(const slc_config_table *table, FILE *out)
{
    for (uint32_t i = 0; i < table->count; i++) {
        const slc_config_key *key = &table->keys[i];
        char allowed[256];
        if (group_begins(table, i)) {
            fputs(".SS ", out);
            man_text(key->group, out);
            fputc('\n', out);
        }
        fputs(".TP\n", out);
        man_name(key->name, out);
        fputs(" = ", out);
        man_text(slc_config_allowed(key, allowed, sizeof allowed), out);
        fputc('\n', out);
        print_wrapped(key->doc, "", 72, true, out);
        if (key->fallback != NULL && *key->fallback != '\0') {
            fputs("Default: \\fB", out);
            man_text((key->flags & SLC_CONFIG_SECRET) != 0 ? "(see the text)" : key->fallback, out);
            fputs("\\fR", out);
            if (key->type == SLC_CONFIG_DURATION &&
                strspn(key->fallback, "0123456789") == strlen(key->fallback))
                fprintf(out, " %s", key->unit);
            fputs(".\n", out);
        }
        if (key->type == SLC_CONFIG_DURATION && key->unit != NULL)
            fprintf(out, "Digits alone are %s.\n",
                    strcmp(key->unit, "s") == 0 ? "seconds" : "milliseconds");
        if ((key->flags & SLC_CONFIG_RELOAD) != 0)
            fputs("Takes effect on reload.\n", out);
    }
}

// ---- the sample

void slc_config_write_sample(const slc_config_table *table, FILE *out)
{
    for (uint32_t i = 0; i < table->count; i++) {
        const slc_config_key *key = &table->keys[i];
        char allowed[256], name[2 * SLC_CONFIG_NAME_BYTES_MAX];
        if (group_begins(table, i))
            fprintf(out, "%s# ---- %s\n", i == 0 ? "" : "\n", key->group);
        fputc('\n', out);
        print_wrapped(key->doc, "## ", 98, false, out);
        char line[320];
        snprintf(line, sizeof line, "Allowed: %s.",
                 slc_config_allowed(key, allowed, sizeof allowed));
        print_wrapped(line, "## ", 98, false, out);
        size_t hole_bytes = 0;
        const char *hole = slc_config_placeholder(key->name, &hole_bytes);
        slc_config_full_name(key,
                             hole == NULL   ? ""
                             : *hole == 'N' ? "1"
                                            : "NAME",
                             name, sizeof name);
        bool shown = key->fallback != NULL && (key->flags & SLC_CONFIG_SECRET) == 0;
        fprintf(out, "# %s =%s%s\n", name, shown ? " " : "",
                !shown                   ? ""
                : *key->fallback == '\0' ? "''"
                                         : key->fallback);
    }
}
