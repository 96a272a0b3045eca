// A list command: choose columns, fetch, turn objects into rows.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ctl.h"

enum { COLUMNS_MAX = 64 };

typedef struct chosen {
    const slc_ctl_column *columns[COLUMNS_MAX];
    const char *names[COLUMNS_MAX];
    uint32_t count;
} chosen;

const slc_ctl_column *slc_ctl_list_column(const slc_ctl_list *list, slc_slice name)
{
    for (const slc_ctl_column *c = list->columns; c->name != NULL; c++) {
        if (slc_slice_is(name, c->name))
            return c;
    }
    return NULL;
}

// "name,messages" or one name; a column counts once, unknown ones are gathered.
static void choose(const slc_ctl_list *list, const char *text, chosen *out, slc_buffer *unknown)
{
    while (*text != '\0') {
        size_t bytes = strcspn(text, ",");
        slc_slice name = slc_slice_of(text, bytes);
        text += bytes + (text[bytes] == ',');
        if (bytes == 0)
            continue;
        const slc_ctl_column *column = slc_ctl_list_column(list, name);
        if (column == NULL) {
            if (unknown->bytes > 0)
                slc_buffer_put(unknown, ",", 1);
            slc_buffer_put(unknown, name.data, name.bytes);
            continue;
        }
        bool known = false;
        for (uint32_t i = 0; i < out->count; i++)
            known |= out->columns[i] == column;
        if (!known && out->count < COLUMNS_MAX) {
            out->columns[out->count] = column;
            out->names[out->count++] = column->name;
        }
    }
}

static int choose_columns(slc_ctl *ctl, chosen *out)
{
    const slc_ctl_list *list = ctl->command->list;
    slc_buffer unknown = {0};
    for (int i = 0; i < ctl->arg_count; i++)
        choose(list, ctl->args[i], out, &unknown);
    if (out->count == 0 && unknown.bytes == 0)
        choose(list, list->defaults, out, &unknown);
    if (ctl->sort != NULL && slc_ctl_list_column(list, slc_slice_str(ctl->sort)) == NULL)
        choose(list, ctl->sort, out, &unknown);
    int rc = CTL_OK;
    if (unknown.bytes > 0)
        rc = slc_ctl_usage_error(ctl, "Info key(s) %.*s are not supported",
                                 SLC_SLICE_FMT(slc_buffer_slice(&unknown)));
    slc_buffer_fini(&unknown);
    return rc;
}

static const char *column_path(const slc_ctl_column *column)
{
    return column->path != NULL ? column->path : column->name;
}

// Ask for what is shown and no more: a list of two columns costs the daemon two columns.
static void query_add(const slc_ctl *ctl, const chosen *columns, slc_buffer *path)
{
    const slc_ctl_list *list = ctl->command->list;
    bool table = false;
    uint32_t named = 0;
    for (uint32_t i = 0; i < columns->count; i++) {
        table |= columns->columns[i]->table;
        const char *at = column_path(columns->columns[i]);
        if (!list->server_columns || at[0] == '\0' || at[0] == '=')
            continue;
        slc_buffer_text(path, named++ == 0 ? "?columns=" : ",");
        slc_buffer_put(path, at, strcspn(at, "."));
    }
    if (list->server_columns && named == 0)
        slc_buffer_text(path, "?columns=name");
    if (table)
        slc_buffer_text(path, list->server_columns ? "&arguments=raw" : "?arguments=raw");
}

static const json_t *object_at(const json_t *object, const char *path)
{
    while (object != NULL && *path != '\0') {
        char key[64];
        size_t bytes = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)bytes, path);
        object = json_object_get(object, key);
        path += bytes + (path[bytes] == '.');
    }
    return object;
}

static slc_ctl_cell cell_from_json(const json_t *value)
{
    slc_ctl_cell cell = {0};
    switch (json_typeof(value)) {
    case JSON_STRING:
        cell.kind = CELL_TEXT;
        cell.text = slc_slice_of(json_string_value(value), json_string_length(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        cell.kind = CELL_BOOL;
        cell.boolean = json_is_true(value);
        break;
    case JSON_INTEGER:
    case JSON_REAL: {
        slc_buffer number = {0};
        if (json_is_integer(value))
            slc_buffer_format(&number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else
            slc_buffer_format(&number, "%.17g", json_real_value(value));
        cell.kind = CELL_NUMBER;
        cell.text = slc_buffer_slice(&number);
        cell.owned = true;
        break;
    }
    case JSON_ARRAY:
        return slc_ctl_json_cell(value);
    case JSON_NULL:
    case JSON_OBJECT:
        break; // no column of ours is one; empty
    }
    return cell;
}

static slc_ctl_cell cell_of(const slc_ctl_column *column, const json_t *object)
{
    const char *path = column_path(column);
    if (path[0] == '\0')
        return (slc_ctl_cell){0};
    if (path[0] == '=')
        return (slc_ctl_cell){.kind = CELL_TEXT, .text = slc_slice_str(path + 1)};
    const json_t *value = object_at(object, path);
    if (value == NULL)
        return (slc_ctl_cell){0};
    slc_ctl_cell cell = cell_from_json(value);
    if (column->json) {
        slc_ctl_cell_fini(&cell);
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        cell = (slc_ctl_cell){.kind = CELL_TEXT, .owned = true};
        size_t bytes = text != NULL ? strlen(text) : 0;
        cell.text = slc_slice_of(slc_strndup(text != NULL ? text : "", bytes), bytes);
        free(text); // NOLINT: jansson's own allocation
        return cell;
    }
    if (column->table) {
        slc_buffer octets = {0};
        bool good = slc_ctl_base64_decode(cell.text, &octets) &&
                    slc_table_check(slc_buffer_slice(&octets), NULL) == SLC_OK;
        slc_ctl_cell_fini(&cell);
        if (good)
            return (slc_ctl_cell){
                .kind = CELL_AMQP_TABLE, .owned = true, .text = slc_buffer_slice(&octets)};
        slc_buffer_fini(&octets);
        return cell;
    }
    if (column->from != NULL && cell.kind == CELL_TEXT && slc_slice_is(cell.text, column->from))
        cell.text = slc_slice_str(column->to);
    return cell;
}

/* ---- sorting ---- */

static const slc_ctl_column *sort_column;
static bool sort_reverse;

static int cell_compare(const slc_ctl_cell *a, const slc_ctl_cell *b)
{
    if (a->kind == CELL_NUMBER && b->kind == CELL_NUMBER) {
        double x = strtod((const char *)a->text.data, NULL),
               y = strtod((const char *)b->text.data, NULL);
        return x < y ? -1 : x > y;
    }
    if (a->kind == CELL_BOOL && b->kind == CELL_BOOL)
        return (int)a->boolean - (int)b->boolean;
    return slc_slice_compare(a->text, b->text);
}

// qsort is not stable; equal rows keep the daemon's order by their place.
typedef struct sortable {
    const json_t *object;
    slc_ctl_cell key;
    size_t place;
} sortable;

static int sortable_compare(const void *x, const void *y)
{
    const sortable *a = x, *b = y;
    int order = cell_compare(&a->key, &b->key);
    if (sort_reverse)
        order = -order;
    return order != 0 ? order : (a->place < b->place ? -1 : 1);
}

static void print_rows(slc_ctl *ctl, const chosen *columns, const json_t *array)
{
    size_t count = 0;
    sortable *rows = slc_alloc_zero(json_array_size(array) + 1, sizeof *rows);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *object = json_array_get(array, i);
        const char *vhost = json_string_value(json_object_get(object, "vhost"));
        if (ctl->command->list->of_vhost && (vhost == NULL || strcmp(vhost, ctl->vhost) != 0))
            continue;
        rows[count] = (sortable){.object = object, .place = i};
        if (ctl->sort != NULL)
            rows[count].key = cell_of(sort_column, object);
        count++;
    }
    if (ctl->sort != NULL)
        qsort(rows, count, sizeof *rows, sortable_compare);
    else if (ctl->reverse)
        for (size_t i = 0; i < count / 2; i++) {
            sortable swap = rows[i];
            rows[i] = rows[count - 1 - i];
            rows[count - 1 - i] = swap;
        }

    slc_ctl_output out;
    slc_ctl_output_begin(&out, ctl, stdout, columns->names, columns->count);
    out.is_whole = ctl->command->list->of_vhost;
    for (size_t i = 0; i < count; i++) {
        slc_ctl_cell cells[COLUMNS_MAX];
        for (uint32_t k = 0; k < columns->count; k++)
            cells[k] = cell_of(columns->columns[k], rows[i].object);
        slc_ctl_output_row(&out, cells);
        for (uint32_t k = 0; k < columns->count; k++)
            slc_ctl_cell_fini(&cells[k]);
    }
    slc_ctl_output_end(&out);
    for (size_t i = 0; i < count; i++)
        slc_ctl_cell_fini(&rows[i].key);
    slc_free(rows);
}

int slc_ctl_list_run(slc_ctl *ctl)
{
    const slc_ctl_list *list = ctl->command->list;
    chosen columns = {0};
    int rc = choose_columns(ctl, &columns);
    if (rc != CTL_OK)
        return rc;
    if (ctl->sort != NULL) {
        sort_column = slc_ctl_list_column(list, slc_slice_str(ctl->sort));
        sort_reverse = ctl->reverse;
    }
    if (list->timeout_banner && ctl->alias && ctl->timeout_s >= 0)
        slc_ctl_banner(ctl, "Timeout: %.1f seconds ...", ctl->timeout_s);
    slc_ctl_banner(ctl, list->banner, ctl->vhost);

    slc_buffer path = {0};
    slc_buffer_text(&path, list->path);
    if (list->by_vhost) {
        slc_buffer_text(&path, "/");
        slc_ctl_path_segment(&path, ctl->vhost);
    }
    // The sort column must come along even when it is not shown.
    chosen asked = columns;
    if (ctl->sort != NULL && asked.count < COLUMNS_MAX)
        asked.columns[asked.count++] = sort_column;
    query_add(ctl, &asked, &path);
    slc_buffer_put(&path, "", 1);

    slc_ctl_reply reply;
    rc = slc_ctl_request(ctl, "GET", (const char *)path.data, NULL, &reply);
    slc_buffer_fini(&path);
    if (rc != CTL_OK)
        return rc;
    json_t *nothing = json_array();
    if (reply.status == 404 && ctl->alias && list->by_vhost)
        print_rows(ctl, &columns, nothing); // rabbitmqctl: no such vhost has no rows
    else if (reply.status == 404 && list->by_vhost)
        rc = slc_ctl_error(CTL_DATA, "Virtual host '%s' does not exist", ctl->vhost);
    else if (reply.status != 200 || !json_is_array(reply.body))
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    else
        print_rows(ctl, &columns, ctl->offline ? nothing : reply.body);
    json_decref(nothing);
    slc_ctl_reply_fini(&reply);
    return rc;
}
