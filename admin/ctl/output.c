// Rows on stdout: TSV, aligned columns for a terminal, boxes, CSV, JSON.
//
// TSV, CSV and JSON are written row by row. The two aligned forms keep the rows, because a column is as wide as its widest cell.
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/alloc.h"
#include "ctl.h"

static void list_text(slc_slice json, slc_buffer *out)
{
    json_t *list = json_loadb((const char *)json.data, json.bytes, JSON_ALLOW_NUL, NULL);
    slc_buffer_text(out, "[");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        slc_buffer_text(out, i > 0 ? ", " : "");
        slc_buffer_put(out, json_string_value(item), json_string_length(item));
    }
    slc_buffer_text(out, "]");
    json_decref(list);
}

// As rabbitmqctl writes a map of texts.
static void object_text(slc_slice json, slc_buffer *out)
{
    json_t *object = json_loadb((const char *)json.data, json.bytes, 0, NULL), *value;
    const char *key, *before = "";
    slc_buffer_text(out, "[");
    json_object_foreach(object, key, value)
    {
        slc_buffer_format(out, "%s{%s, %s}", before, key, json_string_value(value));
        before = ", ";
    }
    slc_buffer_text(out, "]");
    json_decref(object);
}

slc_ctl_cell slc_ctl_json_cell(const json_t *value)
{
    if (value == NULL || json_is_null(value))
        return (slc_ctl_cell){0};
    if (json_is_string(value))
        return (slc_ctl_cell){
            .kind = CELL_TEXT,
            .text = slc_slice_of(json_string_value(value), json_string_length(value))};
    char *json = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    size_t bytes = json != NULL ? strlen(json) : 0;
    slc_ctl_cell cell = {.kind = json_is_array(value) ? CELL_LIST : CELL_TEXT, .owned = true};
    cell.text = slc_slice_of(slc_strndup(json != NULL ? json : "", bytes), bytes);
    free(json); // NOLINT: jansson's own allocation
    return cell;
}

void slc_ctl_cell_text(const slc_ctl_cell *cell, bool alias, slc_buffer *out)
{
    switch (cell->kind) {
    case CELL_NONE:
        break;
    case CELL_TEXT:
    case CELL_NUMBER:
    case CELL_TUPLE:
    case CELL_JSON:
        slc_buffer_put(out, cell->text.data, cell->text.bytes);
        break;
    case CELL_BOOL:
        slc_buffer_text(out, cell->boolean ? "true" : "false");
        break;
    case CELL_AMQP_TABLE:
        if (alias)
            slc_ctl_erlang_table(cell->text, out);
        else
            slc_table_text(cell->text, out);
        break;
    case CELL_LIST:
        list_text(cell->text, out);
        break;
    case CELL_OBJECT:
        if (alias)
            object_text(cell->text, out);
        else
            slc_buffer_put(out, cell->text.data, cell->text.bytes);
        break;
    }
}

void slc_ctl_json_string(slc_slice text, slc_buffer *out)
{
    static const char from[] = "\t\n\r\b\f", to[] = "tnrbf";
    slc_buffer plain = {0};
    slc_json_string(text, &plain);
    // The short escapes that rabbitmqctl uses for \u0009 and its like.
    for (size_t i = 0; i < plain.bytes; i++) {
        const char *at = (const char *)plain.data + i;
        const char *found = NULL;
        if (at[0] == '\\' && at[1] == 'u' && memcmp(at + 2, "00", 2) == 0 &&
            (at[4] == '0' || at[4] == '1'))
            found = strchr(from, (int)strtol((char[]){at[4], at[5], '\0'}, NULL, 16));
        if (found != NULL && *found != '\0') {
            slc_buffer_put(out, (char[]){'\\', to[found - from]}, 2);
            i += 5;
        } else if (at[0] == '\\') {
            slc_buffer_put(out, at,
                           2); // a pair, so that "\\u0009" in the text itself is left alone
            i++;
        } else {
            slc_buffer_put(out, at, 1);
        }
    }
    slc_buffer_fini(&plain);
}

// Erlang has addresses as tuples too. False: a name.
static bool tuple_json(slc_slice text, slc_buffer *out)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t octets[sizeof(struct in6_addr)];
    if (text.bytes == 0 || text.bytes >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    if (copy[0] == '{') {
        slc_buffer_format(out, "[%.*s]", (int)text.bytes - 2, copy + 1);
        return true;
    }
    int family = strchr(copy, ':') != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(family, copy, octets) != 1)
        return false;
    for (int i = 0; i < (family == AF_INET ? 4 : 8); i++) {
        int number = family == AF_INET ? octets[i] : octets[2 * i] << 8 | octets[2 * i + 1];
        slc_buffer_format(out, "%s%d", i == 0 ? "[" : ",", number);
    }
    slc_buffer_text(out, "]");
    return true;
}

void slc_ctl_cell_json(const slc_ctl_cell *cell, bool alias, slc_buffer *out)
{
    switch (cell->kind) {
    case CELL_NONE:
        slc_buffer_text(out, alias ? "\"\"" : "null");
        break;
    case CELL_TEXT:
        slc_ctl_json_string(cell->text, out);
        break;
    case CELL_NUMBER:
        slc_buffer_put(out, cell->text.data, cell->text.bytes);
        break;
    case CELL_BOOL:
        slc_buffer_text(out, cell->boolean ? "true" : "false");
        break;
    case CELL_AMQP_TABLE:
        if (alias)
            slc_ctl_typed_json(cell->text, out);
        else
            slc_table_json(cell->text, out);
        break;
    case CELL_TUPLE:
        if (!alias || !tuple_json(cell->text, out))
            slc_ctl_json_string(cell->text, out);
        break;
    case CELL_LIST:
    case CELL_OBJECT:
        slc_buffer_put(out, cell->text.data, cell->text.bytes);
        break;
    case CELL_JSON:
        if (alias)
            slc_ctl_json_string(cell->text, out);
        else
            slc_buffer_put(out, cell->text.data, cell->text.bytes);
        break;
    }
}

static void flush_buffer(slc_ctl_output *out, slc_buffer *line)
{
    fwrite(line->data, 1, line->bytes, out->file);
    slc_buffer_fini(line);
}

/* ---- TSV and CSV ---- */

// A value may not break the row apart; rabbitmqctl prints it as it is.
static void tsv_put(slc_slice text, bool raw, slc_buffer *line)
{
    for (size_t i = 0; i < text.bytes; i++) {
        char c = (char)text.data[i];
        const char *escaped = c == '\t'   ? "\\t"
                              : c == '\n' ? "\\n"
                              : c == '\r' ? "\\r"
                              : c == '\\' ? "\\\\"
                                          : NULL;
        if (escaped != NULL && !raw)
            slc_buffer_text(line, escaped);
        else
            slc_buffer_put(line, &c, 1);
    }
}

static void csv_put(slc_slice text, slc_buffer *line)
{
    slc_buffer_put(line, "\"", 1);
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] == '"')
            slc_buffer_put(line, "\"", 1);
        slc_buffer_put(line, text.data + i, 1);
    }
    slc_buffer_put(line, "\"", 1);
}

static void text_header(slc_ctl_output *out)
{
    bool csv = out->ctl->format == CTL_CSV;
    slc_buffer line = {0};
    for (uint32_t i = 0; i < out->column_count; i++) {
        if (i > 0)
            slc_buffer_text(&line, csv ? "," : "\t");
        if (csv)
            csv_put(slc_slice_str(out->columns[i]), &line);
        else
            slc_buffer_text(&line, out->columns[i]);
    }
    slc_buffer_put(&line, "\n", 1);
    flush_buffer(out, &line);
}

static void text_row(slc_ctl_output *out, const slc_ctl_cell *cells)
{
    bool csv = out->ctl->format == CTL_CSV;
    slc_buffer line = {0}, text = {0};
    for (uint32_t i = 0; i < out->column_count; i++) {
        if (i > 0)
            slc_buffer_text(&line, csv ? "," : "\t");
        text.bytes = 0;
        slc_ctl_cell_text(&cells[i], out->ctl->alias, &text);
        if (csv)
            csv_put(slc_buffer_slice(&text), &line);
        else
            tsv_put(slc_buffer_slice(&text), out->ctl->alias, &line);
    }
    slc_buffer_put(&line, "\n", 1);
    slc_buffer_fini(&text);
    flush_buffer(out, &line);
}

/* ---- JSON ---- */

static void json_row(slc_ctl_output *out, const slc_ctl_cell *cells)
{
    slc_buffer line = {0};
    if (out->ctl->format == CTL_JSON && out->rows > 0)
        slc_buffer_put(&line, ",", 1);
    slc_buffer_put(&line, "{", 1);
    for (uint32_t i = 0; i < out->column_count; i++) {
        if (i > 0)
            slc_buffer_put(&line, ",", 1);
        slc_json_string(slc_slice_str(out->columns[i]), &line);
        slc_buffer_put(&line, ":", 1);
        slc_ctl_cell_json(&cells[i], out->ctl->alias, &line);
    }
    slc_buffer_text(&line, "}\n");
    flush_buffer(out, &line);
}

/* ---- aligned ---- */

// Columns that a text takes on a terminal; octets that are no text of the locale count one each.
static size_t text_width(slc_slice text)
{
    mbstate_t state = {0};
    size_t width = 0;
    for (size_t i = 0; i < text.bytes;) {
        wchar_t c;
        size_t n = mbrtowc(&c, (const char *)text.data + i, text.bytes - i, &state);
        if (n == 0 || n > text.bytes - i) {
            state = (mbstate_t){0};
            n = 1;
            width++;
        } else {
            int w = wcwidth(c);
            width += w > 0 ? (size_t)w : 0;
        }
        i += n;
    }
    return width;
}

static void row_keep(slc_ctl_output *out, const slc_ctl_cell *cells)
{
    uint64_t needed = (out->rows + 1) * out->column_count;
    if (needed > out->kept_cap) {
        out->kept_cap = needed * 2;
        out->kept = slc_realloc(out->kept, out->kept_cap * sizeof *out->kept);
    }
    for (uint32_t i = 0; i < out->column_count; i++) {
        // As text already; a control character must not move the terminal's cursor.
        slc_buffer plain = {0}, text = {0};
        slc_ctl_cell_text(&cells[i], out->ctl->alias, &plain);
        for (size_t k = 0; k < plain.bytes; k++) {
            uint8_t c = plain.data[k];
            if (c < 0x20 || c == 0x7f)
                slc_buffer_format(&text, c == '\t' ? "\\t" : c == '\n' ? "\\n" : "\\x%02x", c);
            else
                slc_buffer_put(&text, &c, 1);
        }
        slc_buffer_fini(&plain);
        out->kept[out->rows * out->column_count + i] =
            (slc_ctl_cell){.kind = cells[i].kind, .owned = true, .text = slc_buffer_slice(&text)};
    }
}

static void put_times(slc_buffer *line, const char *text, size_t times)
{
    while (times-- > 0)
        slc_buffer_text(line, text);
}

static void rule(slc_ctl_output *out, const size_t *widths, const char *left, const char *middle,
                 const char *right)
{
    slc_buffer line = {0};
    slc_buffer_text(&line, left);
    for (uint32_t i = 0; i < out->column_count; i++) {
        put_times(&line, "─", widths[i] + 2);
        slc_buffer_text(&line, i + 1 < out->column_count ? middle : right);
    }
    slc_buffer_put(&line, "\n", 1);
    flush_buffer(out, &line);
}

static void aligned_line(slc_ctl_output *out, const size_t *widths, const slc_slice *texts,
                         const bool *right, bool bold)
{
    bool box = out->ctl->format == CTL_PRETTY_TABLE;
    slc_buffer line = {0};
    if (bold && !box)
        slc_buffer_text(&line, "\033[1m");
    if (box)
        slc_buffer_text(&line, "│ ");
    for (uint32_t i = 0; i < out->column_count; i++) {
        size_t pad = widths[i] - text_width(texts[i]);
        bool last = i + 1 == out->column_count;
        if (right[i])
            put_times(&line, " ", pad);
        slc_buffer_put(&line, texts[i].data, texts[i].bytes);
        if (!right[i] && (box || !last))
            put_times(&line, " ", pad);
        slc_buffer_text(&line, box ? (last ? " │" : " │ ") : last ? "" : "  ");
    }
    if (bold && !box)
        slc_buffer_text(&line, "\033[0m");
    slc_buffer_put(&line, "\n", 1);
    flush_buffer(out, &line);
}

static void aligned_end(slc_ctl_output *out)
{
    if (out->rows == 0)
        return;
    bool box = out->ctl->format == CTL_PRETTY_TABLE;
    uint32_t count = out->column_count;
    size_t *widths = slc_alloc_zero(count, sizeof *widths);
    bool *right = slc_alloc_zero(count, sizeof *right);
    slc_slice *texts = slc_alloc_zero(count, sizeof *texts);
    for (uint32_t i = 0; i < count; i++) {
        texts[i] = slc_slice_str(out->columns[i]);
        widths[i] = out->ctl->no_headers ? 0 : texts[i].bytes;
        right[i] = true; // numbers stand right
        for (uint64_t row = 0; row < out->rows; row++) {
            const slc_ctl_cell *cell = &out->kept[row * count + i];
            size_t width = text_width(cell->text);
            widths[i] = width > widths[i] ? width : widths[i];
            right[i] &= cell->kind == CELL_NUMBER;
        }
    }
    if (box)
        rule(out, widths, "┌", "┬", "┐");
    if (!out->ctl->no_headers) {
        aligned_line(out, widths, texts, right, getenv("NO_COLOR") == NULL);
        if (box)
            rule(out, widths, "├", "┼", "┤");
    }
    for (uint64_t row = 0; row < out->rows; row++) {
        for (uint32_t i = 0; i < count; i++)
            texts[i] = out->kept[row * count + i].text;
        aligned_line(out, widths, texts, right, false);
    }
    if (box)
        rule(out, widths, "└", "┴", "┘");
    slc_free(widths);
    slc_free(right);
    slc_free(texts);
}

/* ---- the parts together ---- */

static bool is_aligned(const slc_ctl_output *out)
{
    return out->ctl->format == CTL_PRETTY_TABLE || (out->ctl->format == CTL_TABLE && out->ctl->tty);
}

void slc_ctl_output_begin(slc_ctl_output *out, const slc_ctl *ctl, FILE *file,
                          const char *const *columns, uint32_t column_count)
{
    *out = (slc_ctl_output){
        .ctl = ctl, .file = file, .columns = columns, .column_count = column_count};
    if (ctl->format == CTL_JSON)
        fputs("[\n", file);
}

void slc_ctl_output_row(slc_ctl_output *out, const slc_ctl_cell *cells)
{
    if (is_aligned(out)) {
        row_keep(out, cells);
    } else if (out->ctl->format == CTL_JSON || out->ctl->format == CTL_JSON_STREAM) {
        json_row(out, cells);
    } else {
        // rabbitmqctl prints the header with the first row, so an empty list prints nothing; and -s leaves CSV's alone.
        bool no_headers = out->ctl->no_headers && out->ctl->format == CTL_TABLE;
        if (out->rows == 0 && !no_headers)
            text_header(out);
        text_row(out, cells);
    }
    out->rows++;
}

void slc_ctl_output_end(slc_ctl_output *out)
{
    if (is_aligned(out))
        aligned_end(out);
    if (out->ctl->format == CTL_JSON)
        fputs("]\n", out->file);
    if (out->is_whole && out->rows == 0 && out->ctl->alias && out->ctl->format == CTL_TABLE)
        fputs("\n", out->file);
    for (uint64_t i = 0; is_aligned(out) && i < out->rows * out->column_count; i++)
        slc_ctl_cell_fini(&out->kept[i]);
    slc_free(out->kept);
    out->kept = NULL;
}

void slc_ctl_banner(const slc_ctl *ctl, const char *format, ...)
{
    // rabbitmqctl: with the formats that people read, on stdout. We: on stderr, when somebody looks.
    bool readable = ctl->format == CTL_TABLE || ctl->format == CTL_PRETTY_TABLE;
    if (ctl->quiet || (ctl->alias ? !readable : !isatty(STDERR_FILENO)))
        return;
    FILE *out = ctl->alias ? stdout : stderr;
    va_list args;
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    fputc('\n', out);
}

bool slc_ctl_wants_json(const slc_ctl *ctl)
{
    return ctl->format == CTL_JSON || ctl->format == CTL_JSON_STREAM;
}

void slc_ctl_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    putchar('\n');
}
