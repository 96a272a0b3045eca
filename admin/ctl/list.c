// A list command: choose columns, fetch, turn objects into rows.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "ctl.h"

enum { COLUMNS_MAX = 64 };

typedef struct chosen {
    const slc_ctl_column *columns[COLUMNS_MAX];
    const char *names[COLUMNS_MAX];
    uint32_t count;
} chosen;

// What the arguments and --columns, --sort, --reverse and --filter make of a list.
typedef struct view {
    const slc_ctl *ctl;
    const slc_ctl_column *columns; // all there are; ends with name NULL
    chosen shown;
    chosen asked; // with what only order and filters look at
    const slc_ctl_column *sort;
    slc_ctl_filter filters[CTL_FILTERS_MAX];
    uint32_t filter_count;
} view;

const slc_ctl_column *slc_ctl_column_find(const slc_ctl_column *columns, slc_slice name)
{
    for (const slc_ctl_column *c = columns; c->name != NULL; c++) {
        if (slc_slice_is(name, c->name))
            return c;
    }
    return NULL;
}

static void chosen_add(chosen *out, const slc_ctl_column *column)
{
    for (uint32_t i = 0; i < out->count; i++) {
        if (out->columns[i] == column)
            return;
    }
    SLC_ASSERT(out->count < COLUMNS_MAX);
    out->columns[out->count] = column;
    out->names[out->count++] = column->name;
}

typedef struct unknown_names {
    slc_slice names[COLUMNS_MAX]; // the first ones
    uint32_t count;
} unknown_names;

// NULL: it is gathered among the unknown ones.
static const slc_ctl_column *column_named(const view *v, slc_slice name, unknown_names *unknown)
{
    const slc_ctl_column *column = slc_ctl_column_find(v->columns, name);
    for (uint32_t i = 0; column == NULL && i < unknown->count; i++) {
        if (slc_slice_equal(unknown->names[i], name))
            return NULL;
    }
    if (column == NULL && unknown->count < COLUMNS_MAX)
        unknown->names[unknown->count++] = name;
    return column;
}

static int name_compare(const void *a, const void *b)
{
    return slc_slice_compare(*(const slc_slice *)a, *(const slc_slice *)b);
}

static int unknown_error(const slc_ctl *ctl, unknown_names *unknown)
{
    slc_buffer text = {0};
    qsort(unknown->names, unknown->count, sizeof unknown->names[0], name_compare);
    for (uint32_t i = 0; i < unknown->count; i++) {
        slc_buffer_text(&text, i > 0 ? "," : "");
        slc_buffer_put(&text, unknown->names[i].data, unknown->names[i].bytes);
    }
    int rc = slc_ctl_usage_error(ctl, "Info key(s) %.*s are not supported",
                                 SLC_SLICE_FMT(slc_buffer_slice(&text)));
    slc_buffer_fini(&text);
    return rc;
}

// "name,messages" or one name; a column counts once.
static void choose(view *v, const char *text, unknown_names *unknown)
{
    while (*text != '\0') {
        size_t bytes = strcspn(text, ",");
        const slc_ctl_column *column =
            bytes > 0 ? column_named(v, slc_slice_of(text, bytes), unknown) : NULL;
        if (column != NULL)
            chosen_add(&v->shown, column);
        text += bytes + (text[bytes] == ',');
    }
}

static void view_fini(view *v)
{
    for (uint32_t i = 0; i < v->filter_count; i++)
        slc_ctl_filter_fini(&v->filters[i]);
    v->filter_count = 0;
}

static bool filters_parse(view *v, unknown_names *unknown, slc_buffer *wrong)
{
    for (uint32_t i = 0; i < v->ctl->filter_count; i++) {
        slc_ctl_filter *filter = &v->filters[i];
        if (!slc_ctl_filter_parse(v->ctl->filters[i], filter, wrong))
            return false;
        v->filter_count++;
        filter->column = column_named(v, filter->name, unknown);
        if (filter->column != NULL)
            chosen_add(&v->asked, filter->column);
    }
    return true;
}

// defaults: names, when none are given; with args_are_columns the arguments are such.
static int view_init(view *v, const slc_ctl *ctl, const slc_ctl_column *columns,
                     const char *defaults, bool args_are_columns)
{
    unknown_names unknown = {0};
    slc_buffer wrong = {0};
    *v = (view){.ctl = ctl, .columns = columns};
    for (int i = 0; args_are_columns && i < ctl->arg_count; i++)
        choose(v, ctl->args[i], &unknown);
    if (ctl->columns != NULL)
        choose(v, ctl->columns, &unknown);
    if (v->shown.count == 0 && unknown.count == 0) {
        if (ctl->all_vhosts)
            choose(v, "vhost", &unknown);
        choose(v, defaults, &unknown);
    }
    v->asked = v->shown;
    if (ctl->sort != NULL) {
        v->sort = column_named(v, slc_slice_str(ctl->sort), &unknown);
        if (v->sort != NULL)
            chosen_add(&v->asked, v->sort);
    }
    int rc = CTL_OK;
    if (!filters_parse(v, &unknown, &wrong))
        rc = slc_ctl_usage_error(ctl, "%.*s", SLC_SLICE_FMT(slc_buffer_slice(&wrong)));
    else if (unknown.count > 0)
        rc = unknown_error(ctl, &unknown);
    slc_buffer_fini(&wrong);
    if (rc != CTL_OK)
        view_fini(v);
    return rc;
}

static const char *column_path(const slc_ctl_column *column)
{
    return column->path != NULL ? column->path : column->name;
}

static bool columns_have_rates(const chosen *columns)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        if (columns->columns[i]->rate_of != NULL)
            return true;
    }
    return false;
}

// Ask for what is needed and no more: a list of two columns costs the daemon two columns.
static void query_add(const slc_ctl_list *list, const chosen *columns, slc_buffer *path)
{
    bool table = false;
    uint32_t named = 0;
    for (uint32_t i = 0; i < columns->count; i++) {
        const slc_ctl_column *column = columns->columns[i];
        table |= column->table;
        const char *at = column->rate_of != NULL ? column->rate_of : column_path(column);
        if (!list->server_columns || at[0] == '\0' || at[0] == '=')
            continue;
        slc_buffer_text(path, named++ == 0 ? "?columns=" : ",");
        slc_buffer_put(path, at, strcspn(at, "."));
    }
    if (list->server_columns && named == 0)
        slc_buffer_text(path, "?columns=name");
    if (columns_have_rates(columns))
        slc_buffer_text(path, ",pid");
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

// As short as it can be read back.
static void real_text(double value, slc_buffer *out)
{
    char text[32];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    slc_buffer_text(out, text);
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
            real_text(json_real_value(value), &number);
        cell.kind = CELL_NUMBER;
        slc_buffer_put(&number, "", 1); // for strtod
        cell.text = slc_slice_of(number.data, number.bytes - 1);
        cell.owned = true;
        break;
    }
    case JSON_ARRAY:
    case JSON_OBJECT:
        return slc_ctl_json_cell(value);
    case JSON_NULL:
        break;
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
    if (column->json || column->object) {
        slc_ctl_cell_fini(&cell);
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        cell = (slc_ctl_cell){.kind = column->object ? CELL_OBJECT : CELL_JSON, .owned = true};
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
    if (column->tuple && cell.kind == CELL_TEXT)
        cell.kind = CELL_TUPLE;
    return cell;
}

/* ---- rows ---- */

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
    bool reverse;
} sortable;

static int sortable_compare(const void *x, const void *y)
{
    const sortable *a = x, *b = y;
    int order = cell_compare(&a->key, &b->key);
    if (a->reverse)
        order = -order;
    return order != 0 ? order : (a->place < b->place ? -1 : 1);
}

static void rows_reverse(sortable *rows, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        sortable swap = rows[i];
        rows[i] = rows[count - 1 - i];
        rows[count - 1 - i] = swap;
    }
}

static bool row_passes(const view *v, const json_t *object)
{
    bool passes = true;
    for (uint32_t i = 0; i < v->filter_count && passes; i++) {
        slc_ctl_cell cell = cell_of(v->filters[i].column, object);
        passes = slc_ctl_filter_passes(&v->filters[i], &cell, v->ctl->alias);
        slc_ctl_cell_fini(&cell);
    }
    return passes;
}

// vhost: of those only, NULL: all. whole: as slc_ctl_output.is_whole.
static void view_print(const view *v, const json_t *array, const char *vhost, bool whole)
{
    const slc_ctl *ctl = v->ctl;
    size_t count = 0;
    sortable *rows = slc_alloc_zero(json_array_size(array) + 1, sizeof *rows);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *object = json_array_get(array, i);
        const char *own = json_string_value(json_object_get(object, "vhost"));
        if ((vhost != NULL && (own == NULL || strcmp(own, vhost) != 0)) || !row_passes(v, object))
            continue;
        rows[count] = (sortable){.object = object, .place = i, .reverse = ctl->reverse};
        if (v->sort != NULL)
            rows[count].key = cell_of(v->sort, object);
        count++;
    }
    if (v->sort != NULL)
        qsort(rows, count, sizeof *rows, sortable_compare);
    else if (ctl->reverse)
        rows_reverse(rows, count);

    slc_ctl_output out;
    slc_ctl_output_begin(&out, ctl, stdout, v->shown.names, v->shown.count);
    out.is_whole = whole;
    for (size_t i = 0; i < count; i++) {
        slc_ctl_cell cells[COLUMNS_MAX];
        for (uint32_t k = 0; k < v->shown.count; k++)
            cells[k] = cell_of(v->shown.columns[k], rows[i].object);
        slc_ctl_output_row(&out, cells);
        for (uint32_t k = 0; k < v->shown.count; k++)
            slc_ctl_cell_fini(&cells[k]);
    }
    slc_ctl_output_end(&out);
    for (size_t i = 0; i < count; i++)
        slc_ctl_cell_fini(&rows[i].key);
    slc_free(rows);
}

/* ---- rates: two looks, some time apart ---- */

enum { RATE_MS = 1000 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// What changed since before, by identity, which no other object ever has: a queue that was made anew begins at 0.
static void rates_put(const chosen *columns, const json_t *before, json_t *after, double seconds)
{
    json_t *known = json_object(), *object;
    size_t i;
    json_array_foreach(before, i, object)
    {
        const char *pid = json_string_value(json_object_get(object, "pid"));
        if (pid != NULL)
            json_object_set(known, pid, object);
    }
    json_array_foreach(after, i, object)
    {
        const char *pid = json_string_value(json_object_get(object, "pid"));
        const json_t *then = pid != NULL ? json_object_get(known, pid) : NULL;
        for (uint32_t k = 0; k < columns->count; k++) {
            const slc_ctl_column *column = columns->columns[k];
            if (column->rate_of == NULL)
                continue;
            double change = json_number_value(json_object_get(object, column->rate_of)) -
                            json_number_value(json_object_get(then, column->rate_of));
            double tenths = (double)(int64_t)(change / seconds * 10 + 0.5);
            json_object_set_new(object, column->name, json_real(tenths / 10));
        }
    }
    json_decref(known);
}

// The list of path; with rates, that of a moment later.
static int list_fetch(slc_ctl *ctl, const char *path, const chosen *columns, slc_ctl_reply *reply)
{
    int rc = slc_ctl_request(ctl, "GET", path, NULL, reply);
    if (rc != CTL_OK || reply->status != 200 || !columns_have_rates(columns))
        return rc;
    slc_ctl_reply before = *reply;
    uint64_t began_ns = now_ns();
    bool hurried = ctl->timeout_s >= 0 && ctl->timeout_s * 1000 < 2 * RATE_MS;
    slc_ctl_pause_ms(hurried ? (uint64_t)(ctl->timeout_s * 500) : RATE_MS);
    rc = slc_ctl_request(ctl, "GET", path, NULL, reply);
    if (rc == CTL_OK)
        rates_put(columns, before.body, reply->body, (double)(now_ns() - began_ns) / 1e9);
    slc_ctl_reply_fini(&before);
    return rc;
}

/* ---- a list ---- */

static bool is_shown_here(const slc_ctl *ctl)
{
    // Of one node all queues are its own, and on a node that is up.
    return ctl->online || !ctl->offline;
}

static void list_path(const slc_ctl *ctl, const view *v, slc_buffer *path)
{
    const slc_ctl_list *list = ctl->command->list;
    slc_buffer_text(path, list->path);
    if (list->by_vhost && !ctl->all_vhosts) {
        slc_buffer_text(path, "/");
        slc_ctl_path_segment(path, ctl->vhost);
    }
    query_add(list, &v->asked, path);
    slc_buffer_put(path, "", 1);
}

int slc_ctl_list_run(slc_ctl *ctl)
{
    const slc_ctl_list *list = ctl->command->list;
    view v;
    int rc = view_init(&v, ctl, list->columns, list->defaults, true);
    if (rc != CTL_OK)
        return rc;
    if (list->timeout_banner && ctl->alias && ctl->timeout_s >= 0)
        slc_ctl_banner(ctl, "Timeout: %.1f seconds ...", ctl->timeout_s);
    if (!ctl->all_vhosts)
        slc_ctl_banner(ctl, list->banner, ctl->vhost);

    slc_buffer path = {0};
    list_path(ctl, &v, &path);
    slc_ctl_reply reply;
    rc = list_fetch(ctl, (const char *)path.data, &v.asked, &reply);
    slc_buffer_fini(&path);
    if (rc != CTL_OK) {
        view_fini(&v);
        return rc;
    }
    const char *vhost = list->of_vhost && !ctl->all_vhosts ? ctl->vhost : NULL;
    bool no_vhost = reply.status == 404 && list->by_vhost;
    bool good = reply.status == 200 && json_is_array(reply.body);
    json_t *nothing = json_array();
    if (no_vhost && !ctl->alias)
        rc = slc_ctl_error(CTL_DATA, "Virtual host '%s' does not exist", ctl->vhost);
    else if (!no_vhost && !good)
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    else // rabbitmqctl: no such vhost has no rows
        view_print(&v, good && is_shown_here(ctl) ? reply.body : nothing, vhost, list->of_vhost);
    json_decref(nothing);
    slc_ctl_reply_fini(&reply);
    view_fini(&v);
    return rc;
}

int slc_ctl_rows(slc_ctl *ctl, char *path, const char *const *columns, const char *const *keys,
                 uint32_t count)
{
    return slc_ctl_rows_of(ctl, path, columns, keys, count, CTL_OK);
}

int slc_ctl_rows_of(slc_ctl *ctl, char *path, const char *const *columns, const char *const *keys,
                    uint32_t count, int not_found)
{
    slc_ctl_column all[9] = {0};
    slc_buffer names = {0};
    SLC_ASSERT(count < SLC_ARRAY_COUNT(all));
    for (uint32_t i = 0; i < count; i++) {
        all[i] = (slc_ctl_column){.name = columns[i], .path = keys[i]};
        slc_buffer_format(&names, "%s,", columns[i]);
    }
    slc_buffer_put(&names, "", 1);
    int rc = slc_ctl_columns_of(ctl, path, all, (const char *)names.data, not_found);
    slc_buffer_fini(&names);
    return rc;
}

int slc_ctl_columns_of(slc_ctl *ctl, char *path, const slc_ctl_column *columns, const char *shown,
                       int not_found)
{
    view v;
    slc_ctl_reply reply = {0};
    int rc = view_init(&v, ctl, columns, shown, false);
    if (rc == CTL_OK)
        rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK) {
        view_fini(&v);
        return rc;
    }
    if (reply.status / 100 == 2)
        view_print(&v, reply.body, NULL, true);
    else if (reply.status != 404 || not_found != CTL_OK)
        rc = slc_ctl_reply_error(&reply, reply.status == 404 ? not_found : CTL_DATA);
    else
        rc = ctl->arg_count > 0 ? slc_ctl_no_user(ctl, ctl->args[0], false) : slc_ctl_no_vhost(ctl);
    slc_ctl_reply_fini(&reply);
    view_fini(&v);
    return rc;
}
