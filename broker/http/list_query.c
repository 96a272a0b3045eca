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

uint32_t slc_list_query_needs(const slc_path *path, slc_slice names[2])
{
    slc_slice value;
    uint32_t count = 0;
    if (param(path, "sort", &value))
        names[count++] = until(value, '.');
    if (param(path, "page", &value) && param(path, "name", &value))
        names[count++] = slc_slice_str("name");
    return count;
}

bool slc_list_query_again(const slc_path *path)
{
    slc_slice value;
    return param(path, "sort", &value) || param(path, "page", &value) ||
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

/** Keep what the query names; NULL: answered with 400. */
static json_t *list_filter(slc_http_request *request, json_t *list)
{
    slc_slice wanted;
    slc_pattern *pattern = NULL;
    if (!param(&request->path, "name", &wanted))
        return json_incref(list);
    if (slc_path_flag(&request->path, "use_regex")) {
        slc_error error = {0};
        slc_buffer text = {0};
        slc_buffer_text(&text, "(?i)");
        slc_buffer_put(&text, wanted.data, wanted.bytes);
        slc_err rc = slc_pattern_new(slc_buffer_slice(&text), &pattern, &error);
        slc_buffer_fini(&text);
        if (rc != SLC_OK) {
            slc_http_fail(request, 400, "bad_request", "invalid regex: %s", error.text);
            return NULL;
        }
    }
    json_t *kept = json_array();
    uint64_t until_ns = slc_clock_now_ns() + FILTER_NS_MAX;
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name == NULL)
            continue;
        slc_pattern_verdict verdict = pattern != NULL
                                          ? slc_pattern_match(pattern, slc_slice_str(name))
                                      : name_contains(name, wanted) ? SLC_PATTERN_YES
                                                                    : SLC_PATTERN_NO;
        if (verdict == SLC_PATTERN_YES)
            json_array_append(kept, item);
        if (verdict == SLC_PATTERN_LIMIT || (pattern != NULL && slc_clock_now_ns() > until_ns)) {
            // Ten thousand names at the limit of one match each would take half a minute.
            slc_http_fail(request, 400, "bad_request",
                          "invalid regex: it takes too much work; make it simpler");
            json_decref(kept);
            kept = NULL;
            break;
        }
    }
    slc_pattern_free(pattern);
    return kept;
}

/* ---- sort ---- */

typedef struct sort_item {
    json_t *item;
    const json_t *key; // NULL: it has none
    size_t index;
} sort_item;

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

static int item_compare(const void *a, const void *b)
{
    const sort_item *x = a, *y = b;
    int order = key_compare(x->key, y->key);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static json_t *list_sort(const slc_http_request *request, json_t *list)
{
    slc_slice path;
    size_t count = json_array_size(list);
    if (!param(&request->path, "sort", &path) || count == 0)
        return json_incref(list);
    sort_item *items = slc_alloc(count * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(list, i);
        items[i] = (sort_item){item, key_of(item, path), i};
    }
    qsort(items, count, sizeof *items, item_compare);
    bool reverse = slc_path_flag(&request->path, "sort_reverse");
    json_t *sorted = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append(sorted, items[reverse ? count - 1 - i : i].item);
    slc_free(items);
    return sorted;
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

/** The page as an object; NULL: answered with 400. */
static json_t *list_page(slc_http_request *request, json_t *list, size_t total)
{
    slc_slice text;
    uint64_t page = 1, size = SLC_LIST_PAGE_DEFAULT;
    (void)slc_path_param(&request->path, "page", &text);
    bool good = whole_number(text, 1, UINT32_MAX, &page);
    if (slc_path_param(&request->path, "page_size", &text))
        good = whole_number(text, 1, SLC_LIST_PAGE_MAX, &size) && good;
    if (!good) {
        slc_http_fail(request, 400, "invalid_pagination_parameters",
                      "page is a number from 1, page_size one from 1 to %d", SLC_LIST_PAGE_MAX);
        return NULL;
    }
    size_t count = json_array_size(list);
    uint64_t pages = (count + size - 1) / size;
    if (page > pages && page > 1) { // an empty list has a first page, though no pages
        slc_http_fail(request, 400, "page_out_of_range",
                      "page: %" PRIu64 ", page_size: %" PRIu64
                      ", length: %zu: the last page is %" PRIu64,
                      page, size, count, pages);
        return NULL;
    }
    json_t *items = json_array();
    for (size_t i = (page - 1) * size; i < count && i < page * size; i++)
        json_array_append(items, json_array_get(list, i));
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "filtered_count", (json_int_t)count,
                     "item_count", (json_int_t)json_array_size(items), "page", (json_int_t)page,
                     "page_count", (json_int_t)pages, "page_size", (json_int_t)size, "total_count",
                     (json_int_t)total, "items", items);
}

/* ---- all of it ---- */

static void body_write(slc_http_request *request, const json_t *value)
{
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    request->body.bytes = 0;
    size_t bytes = json_dumpb(value, NULL, 0, flags);
    char *to = (char *)slc_buffer_reserve(&request->body, bytes + 1);
    request->body.bytes = json_dumpb(value, to, bytes, flags);
}

static json_t *list_rewrite(slc_http_request *request, json_t *list)
{
    slc_slice value;
    bool paged = slc_path_param(&request->path, "page", &value);
    size_t total = json_array_size(list);
    json_t *kept = paged ? list_filter(request, list) : json_incref(list);
    if (kept == NULL)
        return NULL;
    json_t *sorted = list_sort(request, kept);
    json_decref(kept);
    if (param(&request->path, "columns", &value)) {
        json_t *tree = columns_tree(value);
        json_t *narrow = columns_apply(sorted, tree);
        json_decref(tree);
        json_decref(sorted);
        sorted = narrow;
    }
    json_t *result = paged ? list_page(request, sorted, total) : json_incref(sorted);
    json_decref(sorted);
    return result;
}

static bool wants_nothing(const slc_http_request *request)
{
    static const char *const whole[] = {"definitions", "all-configuration", "sluice"};
    const slc_path *path = &request->path;
    slc_slice value;
    if (request->method != SLC_HTTP_GET || request->status != 200 || path->segment_count < 2)
        return true;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(whole); i++) {
        if (slc_slice_is(path->segments[1], whole[i]))
            return true;
    }
    // A page that is empty is a bad one.
    return !slc_path_param(path, "page", &value) && !param(path, "sort", &value) &&
           (!param(path, "columns", &value) || request->columns_done);
}

void slc_list_query(slc_http_request *request)
{
    if (wants_nothing(request))
        return;
    json_t *value = json_loadb((const char *)request->body.data, request->body.bytes,
                               JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    json_t *result = NULL;
    slc_slice columns;
    if (json_is_array(value)) {
        result = list_rewrite(request, value);
    } else if (json_is_object(value) && param(&request->path, "columns", &columns)) {
        json_t *tree = columns_tree(columns);
        result = columns_apply(value, tree);
        json_decref(tree);
    } else if (value == NULL) {
        // A key with a NUL inside is legal in a table, and nothing that this parser can hold.
        slc_http_fail(request, 500, "internal_error",
                      "an entry cannot be sorted: the key of one of its arguments has a NUL octet");
    }
    if (result != NULL)
        body_write(request, result);
    json_decref(result);
    json_decref(value);
}
