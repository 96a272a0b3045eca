#include "http/list_query.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "auth/pattern.h"
#include "base/alloc.h"
#include "base/clock.h"

static const uint64_t FILTER_NS_MAX = UINT64_C(1000000000); // of one list with use_regex

static bool param(const slc_path *path, const char *name, slc_slice *value)
{
    return slc_path_param(path, name, value) && value->bytes > 0;
}

static slc_slice until(slc_slice text, char end)
{
    const uint8_t *at = text.bytes > 0 ? memchr(text.data, end, text.bytes) : NULL;
    return at != NULL ? slc_slice_of(text.data, (size_t)(at - text.data)) : text;
}

static slc_slice behind(slc_slice text, slc_slice front)
{
    size_t bytes = front.bytes < text.bytes ? front.bytes + 1 : text.bytes;
    return slc_slice_of(text.data + bytes, text.bytes - bytes);
}

uint32_t slc_list_query_needs(const slc_path *path, slc_slice names[SLC_LIST_NEEDS_MAX])
{
    static const char *const order[] = {"vhost",       "name",           "source", "destination",
                                        "routing_key", "properties_key", "user"};
    slc_slice value;
    uint32_t count = 0;
    if (!slc_path_param(path, "sort", &value)) {
        for (size_t i = 0; i < SLC_ARRAY_COUNT(order); i++)
            names[count++] = slc_slice_str(order[i]);
        return count;
    }
    if (value.bytes > 0)
        names[count++] = until(value, '.');
    if (param(path, "page", &value) && param(path, "name", &value))
        names[count++] = slc_slice_str("name");
    return count;
}

bool slc_list_query_again(const slc_path *path)
{
    slc_slice value;
    return !slc_path_param(path, "sort", &value) || value.bytes > 0 ||
           param(path, "page", &value) ||
           (param(path, "columns", &value) && memchr(value.data, '.', value.bytes) != NULL);
}

static const json_t *member(const json_t *object, slc_slice name)
{
    char key[256];
    if (name.bytes >= sizeof key || !json_is_object(object))
        return NULL;
    memcpy(key, name.data, name.bytes);
    key[name.bytes] = '\0';
    return json_object_get(object, key);
}

/* ---- filter ---- */

static bool name_contains(const char *name, slc_slice part)
{
    size_t bytes = strlen(name);
    for (size_t i = 0; i + part.bytes <= bytes; i++) {
        if (strncasecmp(name + i, (const char *)part.data, part.bytes) == 0)
            return true;
    }
    return false;
}

typedef struct list_filter {
    bool on;
    slc_slice wanted;
    slc_pattern *pattern; // NULL: a part of the name
    uint64_t spent_ns;    // on matching
    bool too_much;        // of it: the answer is 400
} list_filter;

/** False: answered with 400. */
static bool filter_init(slc_http_request *request, list_filter *filter)
{
    slc_slice value;
    *filter = (list_filter){0};
    filter->on = slc_path_param(&request->path, "page", &value) &&
                 param(&request->path, "name", &filter->wanted);
    if (!filter->on || !slc_path_flag(&request->path, "use_regex"))
        return true;
    slc_error error = {0};
    slc_buffer text = {0};
    slc_buffer_text(&text, "(?i)");
    slc_buffer_put(&text, filter->wanted.data, filter->wanted.bytes);
    slc_err rc = slc_pattern_new(slc_buffer_slice(&text), &filter->pattern, &error);
    slc_buffer_fini(&text);
    if (rc == SLC_OK)
        return true;
    slc_http_fail(request, 400, "bad_request", "invalid regex: %s", error.text);
    return false;
}

static bool filter_keeps(list_filter *filter, const json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    if (!filter->on)
        return true;
    if (name == NULL || filter->too_much)
        return false;
    if (filter->pattern == NULL)
        return name_contains(name, filter->wanted);
    uint64_t began_ns = slc_clock_now_ns();
    slc_pattern_verdict verdict = slc_pattern_match(filter->pattern, slc_slice_str(name));
    filter->spent_ns += slc_clock_now_ns() - began_ns;
    // Ten thousand names at the limit of one match each would take half a minute.
    filter->too_much = verdict == SLC_PATTERN_LIMIT || filter->spent_ns > FILTER_NS_MAX;
    return verdict == SLC_PATTERN_YES;
}

/* ---- sort ---- */

/** An entry of the list: where its text lies, and what it is sorted by. Entries are parsed one by one, so that a list of many
 *  costs no more memory than its text. */
typedef struct list_item {
    slc_slice text;
    json_t *key;      // with sort=; NULL: it has none
    slc_buffer order; // without: its names, each with a NUL behind
    size_t index;
} list_item;

static const json_t *key_of(const json_t *item, slc_slice path)
{
    while (path.bytes > 0 && item != NULL) {
        slc_slice front = until(path, '.');
        item = member(item, front);
        path = behind(path, front);
    }
    return item;
}

// Erlang's order of what JSON can say: numbers, atoms, objects, lists, strings.
static int key_rank(const json_t *key)
{
    switch (json_typeof(key)) {
    case JSON_INTEGER:
    case JSON_REAL:
        return 1;
    case JSON_FALSE:
        return 2;
    case JSON_NULL:
        return 3;
    case JSON_TRUE:
        return 4;
    case JSON_OBJECT:
        return 5;
    case JSON_ARRAY:
        return 6;
    case JSON_STRING:
        break;
    }
    return 7;
}

static int key_compare(const json_t *a, const json_t *b)
{
    if (a == NULL || b == NULL)
        return (a != NULL) - (b != NULL);
    if (key_rank(a) != key_rank(b))
        return key_rank(a) - key_rank(b);
    if (json_is_string(a))
        return strcmp(json_string_value(a), json_string_value(b));
    if (json_is_integer(a) && json_is_integer(b))
        return (json_integer_value(a) > json_integer_value(b)) -
               (json_integer_value(a) < json_integer_value(b));
    if (json_is_number(a))
        return (json_number_value(a) > json_number_value(b)) -
               (json_number_value(a) < json_number_value(b));
    if (json_is_array(a))
        return (json_array_size(a) > json_array_size(b)) -
               (json_array_size(a) < json_array_size(b));
    return 0;
}

static int order_compare(const slc_buffer *a, const slc_buffer *b)
{
    size_t least = a->bytes < b->bytes ? a->bytes : b->bytes;
    int order = least > 0 ? memcmp(a->data, b->data, least) : 0;
    return order != 0 ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int item_compare(const void *a, const void *b)
{
    const list_item *x = a, *y = b;
    int order = key_compare(x->key, y->key);
    if (order == 0)
        order = order_compare(&x->order, &y->order);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

// RabbitMQ's order where the query names none: by vhost, then by what entries of such a list are called.
static void order_of(const json_t *item, slc_buffer *out)
{
    static const char *const bindings[] = {"vhost", "source", "destination", "routing_key",
                                           "properties_key"};
    static const char *const permissions[] = {"vhost", "user"};
    static const char *const others[] = {"vhost", "name"};
    const char *const *names = others;
    size_t count = SLC_ARRAY_COUNT(others);
    if (json_object_get(item, "source") != NULL) {
        names = bindings;
        count = SLC_ARRAY_COUNT(bindings);
    } else if (json_object_get(item, "name") == NULL) {
        names = permissions;
        count = SLC_ARRAY_COUNT(permissions);
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_object_get(item, names[i]));
        slc_buffer_text(out, text != NULL ? text : "");
        slc_buffer_octet(out, '\0');
    }
}

/* ---- columns ---- */

// {"name": true, "message_stats": {"publish": true}}: true keeps all of it.
static json_t *columns_tree(slc_slice columns)
{
    json_t *tree = json_object();
    while (columns.bytes > 0) {
        slc_slice path = until(columns, ',');
        columns = behind(columns, path);
        json_t *at = tree;
        while (path.bytes > 0 && json_is_object(at)) {
            char key[256];
            slc_slice front = until(path, '.');
            path = behind(path, front);
            if (front.bytes >= sizeof key)
                break; // no field has such a name
            memcpy(key, front.data, front.bytes);
            key[front.bytes] = '\0';
            json_t *next = json_object_get(at, key);
            if (path.bytes == 0)
                json_object_set_new(at, key, json_true());
            else if (next == NULL)
                json_object_set_new(at, key, json_object());
            at = json_object_get(at, key);
        }
    }
    return tree;
}

static json_t *columns_apply(json_t *value, const json_t *tree)
{
    if (json_is_true(tree))
        return json_incref(value);
    if (json_is_array(value)) {
        json_t *list = json_array();
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_t *kept = columns_apply(json_array_get(value, i), tree);
            if (kept != NULL)
                json_array_append_new(list, kept);
        }
        return list;
    }
    if (!json_is_object(value))
        return NULL; // the path goes on, the value does not
    json_t *object = json_object();
    const char *key;
    json_t *below;
    json_object_foreach(value, key, below)
    {
        const json_t *branch = json_object_get(tree, key);
        json_t *kept = branch != NULL ? columns_apply(below, branch) : NULL;
        if (kept != NULL)
            json_object_set_new(object, key, kept);
    }
    return object;
}

/* ---- pages ---- */

static bool whole_number(slc_slice text, uint64_t low, uint64_t high, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || *out > high)
            return false;
        *out = *out * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.bytes > 0 && *out >= low && *out <= high;
}

typedef struct list_page {
    bool on;
    uint64_t page, size, pages;
    size_t from, to; // of the entries
} list_page;

/** False: answered with 400. */
static bool page_init(slc_http_request *request, size_t count, list_page *out)
{
    slc_slice text;
    *out = (list_page){.page = 1, .size = SLC_LIST_PAGE_DEFAULT, .to = count};
    out->on = slc_path_param(&request->path, "page", &text);
    if (!out->on)
        return true;
    bool good = whole_number(text, 1, UINT32_MAX, &out->page);
    if (slc_path_param(&request->path, "page_size", &text))
        good = whole_number(text, 1, SLC_LIST_PAGE_MAX, &out->size) && good;
    if (!good) {
        slc_http_fail(request, 400, "invalid_pagination_parameters",
                      "page is a number from 1, page_size one from 1 to %d", SLC_LIST_PAGE_MAX);
        return false;
    }
    out->pages = (count + out->size - 1) / out->size;
    if (out->page > out->pages &&
        out->page > 1) { // an empty list has a first page, though no pages
        slc_http_fail(request, 400, "page_out_of_range",
                      "page: %" PRIu64 ", page_size: %" PRIu64
                      ", length: %zu: the last page is %" PRIu64,
                      out->page, out->size, count, out->pages);
        return false;
    }
    out->from = (out->page - 1) * out->size;
    if (out->to > out->page * out->size)
        out->to = out->page * out->size;
    return true;
}

/* ---- all of it ---- */

static json_t *parse(slc_slice text)
{
    return json_loadb((const char *)text.data, text.bytes, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
}

static void dump(const json_t *value, slc_buffer *out)
{
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    size_t bytes = json_dumpb(value, NULL, 0, flags);
    char *to = (char *)slc_buffer_reserve(out, bytes + 1);
    out->bytes += json_dumpb(value, to, bytes, flags);
}

// Where the entry at text ends. The text is JSON that we wrote.
static size_t entry_bytes(slc_slice text)
{
    uint32_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (depth == 0 && (c == ',' || c == ']')) {
            return i;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return text.bytes;
}

typedef struct list {
    list_item *items;
    size_t count, capacity;
    size_t total; // also those that the filter dropped
} list;

static void list_add(list *l, slc_slice text, list_filter *filter, const slc_slice *sort)
{
    list_item item = {.text = text, .index = l->total++};
    bool needed = filter->on || sort == NULL || sort->bytes > 0;
    // A key with a NUL inside is legal in a table, and nothing that this parser can hold: such an entry has no names.
    json_t *value = needed ? parse(text) : NULL;
    if (!filter_keeps(filter, value)) {
        json_decref(value);
        return;
    }
    if (sort == NULL)
        order_of(value, &item.order);
    else if (sort->bytes > 0)
        item.key = json_incref((json_t *)(uintptr_t)key_of(value, *sort));
    json_decref(value);
    if (l->count == l->capacity) {
        l->capacity = l->capacity > 0 ? 2 * l->capacity : 64;
        l->items = slc_realloc(l->items, l->capacity * sizeof *l->items);
    }
    l->items[l->count++] = item;
}

static void list_fini(list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        json_decref(l->items[i].key);
        slc_buffer_fini(&l->items[i].order);
    }
    slc_free(l->items);
}

/** False: its columns cannot be chosen. */
static bool entry_write(const list_item *item, const json_t *tree, slc_buffer *out)
{
    if (tree == NULL) {
        slc_buffer_put(out, item->text.data, item->text.bytes);
        return true;
    }
    json_t *value = parse(item->text);
    json_t *kept = value != NULL ? columns_apply(value, tree) : NULL;
    if (kept != NULL)
        dump(kept, out);
    json_decref(kept);
    json_decref(value);
    return kept != NULL;
}

static void fail_columns(slc_http_request *request)
{
    slc_http_fail(
        request, 500, "internal_error",
        "an entry cannot be taken apart: the key of one of its arguments has a NUL octet");
}

static void list_write(slc_http_request *request, const list *l, const list_page *page)
{
    slc_slice columns;
    json_t *tree = NULL;
    slc_buffer out = {0};
    slc_json w = slc_json_to(&out);
    bool good = true;
    if (param(&request->path, "columns", &columns) && !request->columns_done)
        tree = columns_tree(columns);
    if (page->on) {
        slc_json_open(&w, '{');
        slc_json_put_u64(&w, "filtered_count", l->count);
        slc_json_put_u64(&w, "item_count", page->to > page->from ? page->to - page->from : 0);
        slc_json_put_u64(&w, "page", page->page);
        slc_json_put_u64(&w, "page_count", page->pages);
        slc_json_put_u64(&w, "page_size", page->size);
        slc_json_put_u64(&w, "total_count", l->total);
        slc_json_key(&w, "items");
    }
    slc_buffer_octet(&out, '[');
    for (size_t i = page->from; good && i < page->to; i++) {
        if (i > page->from)
            slc_buffer_octet(&out, ',');
        good = entry_write(&l->items[i], tree, &out);
    }
    slc_buffer_text(&out, page->on ? "]}" : "]");
    json_decref(tree);
    slc_buffer_fini(&request->body);
    request->body = out;
    if (!good)
        fail_columns(request);
}

static void list_rewrite(slc_http_request *request)
{
    slc_slice body = slc_buffer_slice(&request->body), sort;
    bool named = slc_path_param(&request->path, "sort", &sort);
    list_filter filter;
    list_page page;
    list l = {0};
    if (!filter_init(request, &filter))
        return;
    for (size_t at = 1; at + 1 < body.bytes && !filter.too_much;) {
        slc_slice rest = slc_slice_of(body.data + at, body.bytes - at);
        size_t bytes = entry_bytes(rest);
        list_add(&l, slc_slice_of(rest.data, bytes), &filter, named ? &sort : NULL);
        at += bytes + 1;
    }
    if (l.count > 0 && (!named || sort.bytes > 0))
        qsort(l.items, l.count, sizeof *l.items, item_compare);
    if (named && slc_path_flag(&request->path, "sort_reverse")) {
        for (size_t i = 0; i < l.count / 2; i++) {
            list_item other = l.items[i];
            l.items[i] = l.items[l.count - 1 - i];
            l.items[l.count - 1 - i] = other;
        }
    }
    if (filter.too_much)
        slc_http_fail(request, 400, "bad_request",
                      "invalid regex: it takes too much work; make it simpler");
    else if (page_init(request, l.count, &page))
        list_write(request, &l, &page);
    slc_pattern_free(filter.pattern);
    list_fini(&l);
}

static bool is_whole(const slc_path *path)
{
    static const char *const whole[] = {"definitions", "all-configuration", "sluice", "store"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(whole); i++) {
        if (slc_slice_is(path->segments[1], whole[i]))
            return true;
    }
    return false;
}

static void object_rewrite(slc_http_request *request)
{
    slc_slice columns;
    if (!param(&request->path, "columns", &columns) || request->columns_done)
        return;
    json_t *value = parse(slc_buffer_slice(&request->body));
    json_t *tree = columns_tree(columns);
    json_t *kept = json_is_object(value) ? columns_apply(value, tree) : NULL;
    request->body.bytes = kept != NULL ? 0 : request->body.bytes;
    if (kept != NULL)
        dump(kept, &request->body);
    else if (value == NULL)
        fail_columns(request);
    json_decref(kept);
    json_decref(tree);
    json_decref(value);
}

void slc_list_query(slc_http_request *request)
{
    if (request->method != SLC_HTTP_GET || request->status != 200 || request->body.bytes < 2 ||
        request->path.segment_count < 2 || is_whole(&request->path))
        return;
    if (request->body.data[0] == '[')
        list_rewrite(request);
    else if (request->body.data[0] == '{')
        object_rewrite(request);
}
