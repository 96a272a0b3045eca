// The pages of an LMDB file, read with pread and believed in nothing.
#include "tool_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

enum {
    PAGE_HEAD_BYTES = 16,
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    PAGE_META = 0x08,
    PAGE_KIND = 0x2f, // these and LEAF2
    NODE_HEAD_BYTES = 8,
    NODE_BIGDATA = 0x01,
    NODE_SUBDATA = 0x02,
    TREE_BYTES = 48,
    META_BYTES = 24 + 2 * TREE_BYTES + 16,
    DEPTH_MAX = 32,
    KEY_MAX = 511,
    VALUE_MAX = 1 << 20,      // ours have at most 64 KiB
    FREE_VALUE_MAX = 1 << 28, // a list of the free list
    PROGRESS_PAGES = 1024,
    PAGE_BYTES_MAX = 65536,
};

static const uint32_t meta_magic = 0xbeefc0de;

/* ---- opening ---- */

static uint16_t native16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t native32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t native64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static slc_pages_tree tree_decode(const uint8_t *at)
{
    return (slc_pages_tree){.flags = native16(at + 4),
                            .depth = native16(at + 6),
                            .branch_pages = native64(at + 8),
                            .leaf_pages = native64(at + 16),
                            .overflow_pages = native64(at + 24),
                            .entries = native64(at + 32),
                            .root = native64(at + 40)};
}

static bool read_at(slc_pages *pages, void *out, size_t bytes, uint64_t offset)
{
    uint8_t *at = out;
    while (bytes > 0) {
        ssize_t got = pread(pages->fd, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

// NULL: a good meta page; else what is wrong with it.
static const char *meta_read(slc_pages *pages, uint64_t offset, uint8_t meta[META_BYTES])
{
    uint8_t page[PAGE_HEAD_BYTES + META_BYTES];
    if (!read_at(pages, page, sizeof page, offset))
        return "cannot be read";
    memcpy(meta, page + PAGE_HEAD_BYTES, META_BYTES);
    if ((native16(page + 10) & PAGE_META) == 0 || native32(meta) != meta_magic)
        return "is not a meta page";
    if (native32(meta + 4) != 1)
        return "has an unknown version";
    uint32_t page_bytes = native32(meta + 24);
    if (page_bytes < 512 || page_bytes > PAGE_BYTES_MAX || (page_bytes & (page_bytes - 1)) != 0)
        return "has an impossible page size";
    if (native64(meta + META_BYTES - 16) > pages->file_bytes)
        return "has an impossible last page";
    return NULL;
}

static slc_err metas_read(slc_pages *pages, const char *path, char meta_what[128], slc_error *error)
{
    uint8_t metas[2][META_BYTES];
    const char *wrong[2];
    wrong[0] = meta_read(pages, 0, metas[0]);
    uint32_t page_bytes = wrong[0] == NULL ? native32(metas[0] + 24) : 512;
    do { // without the first, the second is where it says itself that it is
        wrong[1] = meta_read(pages, page_bytes, metas[1]);
        if (wrong[1] == NULL && native32(metas[1] + 24) != page_bytes)
            wrong[1] = "has an impossible page size";
    } while (wrong[0] != NULL && wrong[1] != NULL && (page_bytes *= 2) <= PAGE_BYTES_MAX);
    if (wrong[0] != NULL && wrong[1] != NULL)
        return slc_error_set(
            error, SLC_ECORRUPT,
            "%s is not an LMDB file of this machine's kind: both of its meta pages "
            "are unusable (the first one %s)",
            path, wrong[0]);
    for (int i = 0; i < 2; i++)
        if (wrong[i] != NULL)
            snprintf(meta_what, 128, "meta page %d %s", i, wrong[i]);
    const uint8_t *meta =
        wrong[0] != NULL                                                            ? metas[1]
        : wrong[1] != NULL                                                          ? metas[0]
        : native64(metas[0] + META_BYTES - 8) < native64(metas[1] + META_BYTES - 8) ? metas[1]
                                                                                    : metas[0];
    pages->page_bytes = page_bytes;
    pages->free_tree = tree_decode(meta + 24);
    pages->main_tree = tree_decode(meta + 24 + TREE_BYTES);
    pages->last_page = native64(meta + META_BYTES - 16);
    pages->txnid = native64(meta + META_BYTES - 8);
    return SLC_OK;
}

slc_err slc_pages_open(slc_pages *pages, const char *path, char meta_what[128], slc_error *error)
{
    *pages = (slc_pages){.fd = open(path, O_RDONLY | O_CLOEXEC)};
    meta_what[0] = 0;
    struct stat stat;
    if (pages->fd < 0 || fstat(pages->fd, &stat) != 0) {
        slc_err rc = slc_err_from_errno(errno);
        slc_error_set(error, rc, "cannot open %s: %s", path, strerror(errno));
        slc_pages_close(pages);
        return rc;
    }
    pages->file_bytes = (uint64_t)stat.st_size;
    slc_err rc = metas_read(pages, path, meta_what, error);
    if (rc != SLC_OK) {
        slc_pages_close(pages);
        return rc;
    }
    pages->seen = slc_alloc_zero(pages->last_page / 8 + 1, 1);
    return SLC_OK;
}

void slc_pages_close(slc_pages *pages)
{
    if (pages->fd >= 0)
        close(pages->fd);
    slc_free(pages->seen);
    slc_free(pages->value);
    *pages = (slc_pages){.fd = -1};
}

/* ---- walking ---- */

typedef struct walk {
    slc_pages *pages;
    const char *name;
    bool first, keys_only;
    unsigned flags;
    slc_pages_each each;
    void *each_arg;
    uint64_t entries;
    uint8_t keys[2][KEY_MAX]; // the last one in order, and the one before that
    size_t key_bytes[2];
} walk;

static void walk_damaged(walk *w, uint64_t page, const char *what)
{
    if (w->first && w->pages->damaged != NULL)
        w->pages->damaged(w->name, page, what, w->pages->arg);
}

// Claim count pages for this tree. False: one is not there, or belongs to something else.
static bool pages_claim(walk *w, uint64_t page, uint64_t count)
{
    slc_pages *p = w->pages;
    if (page < 2 || page > p->last_page || count > p->last_page - page + 1) {
        walk_damaged(w, page, "it lies outside the file");
        return false;
    }
    if (!w->first)
        return true;
    for (uint64_t i = page; i < page + count; i++) {
        if ((p->seen[i / 8] >> (i % 8) & 1) != 0) {
            walk_damaged(w, i, "it is used twice");
            return false;
        }
    }
    for (uint64_t i = page; i < page + count; i++)
        p->seen[i / 8] |= (uint8_t)(1u << (i % 8));
    p->used += count;
    return true;
}

static bool pages_read(walk *w, uint64_t page, void *out, size_t bytes)
{
    slc_pages *p = w->pages;
    if (!read_at(p, out, bytes, page * p->page_bytes)) {
        walk_damaged(w, page,
                     (page + 1) * p->page_bytes > p->file_bytes ? "the file ends before it"
                                                                : "the disk cannot read it");
        return false;
    }
    uint64_t before = p->read / PROGRESS_PAGES;
    p->read += (bytes + p->page_bytes - 1) / p->page_bytes;
    if (p->progress != NULL && p->read / PROGRESS_PAGES != before)
        p->progress(p->read, p->arg);
    return true;
}

static bool value_big(walk *w, const uint8_t *at, size_t bytes, slc_slice *out)
{
    slc_pages *p = w->pages;
    uint64_t page = native64(at);
    uint64_t count = (bytes + PAGE_HEAD_BYTES + p->page_bytes - 1) / p->page_bytes;
    if (bytes > ((w->flags & PAGES_FREE_TREE) != 0 ? (size_t)FREE_VALUE_MAX : (size_t)VALUE_MAX)) {
        walk_damaged(w, page, "a value has an impossible size");
        return false;
    }
    if (!pages_claim(w, page, count))
        return false;
    if (w->keys_only) {
        *out = slc_slice_of(NULL, bytes);
        return true;
    }
    size_t wanted = bytes + PAGE_HEAD_BYTES;
    if (p->value_room < wanted) {
        p->value = slc_realloc(p->value, wanted);
        p->value_room = wanted;
    }
    if (!pages_read(w, page, p->value, wanted))
        return false;
    if (native64(p->value) != page || (native16(p->value + 10) & PAGE_KIND) != PAGE_OVERFLOW ||
        native32(p->value + 12) != count) {
        walk_damaged(w, page, "it should begin a large value and says something else");
        return false;
    }
    *out = slc_slice_of(p->value + PAGE_HEAD_BYTES, bytes);
    return true;
}

static bool key_above(const walk *w, int which, slc_slice key)
{
    if (w->key_bytes[which] == 0)
        return true;
    if ((w->flags & PAGES_FREE_TREE) != 0)
        return native64(w->keys[which]) < native64(key.data);
    return slc_slice_compare(slc_slice_of(w->keys[which], w->key_bytes[which]), key) < 0;
}

static void key_keep(walk *w, int which, slc_slice key)
{
    memcpy(w->keys[which], key.data, key.bytes);
    w->key_bytes[which] = key.bytes;
}

// Entries stand in the order of their keys. One that is out of order is passed on like the others, since what it holds may
// say what it is; when it was the one in front of this one that is too high, this one counts from now on.
static void key_order(walk *w, uint64_t page, slc_slice key)
{
    bool above = key_above(w, 0, key);
    if (!above)
        walk_damaged(w, page, "its keys are not in order");
    if (above) {
        memcpy(w->keys[1], w->keys[0], w->key_bytes[0]);
        w->key_bytes[1] = w->key_bytes[0];
        key_keep(w, 0, key);
    } else if (key_above(w, 1, key)) {
        key_keep(w, 0, key);
    }
}

static void leaf_node(walk *w, uint64_t page, const uint8_t *node, size_t room)
{
    size_t key_bytes = native16(node + 6);
    size_t bytes = native16(node) | (size_t)native16(node + 2) << 16;
    unsigned flags = native16(node + 4);
    bool big = (flags & NODE_BIGDATA) != 0;
    if (key_bytes == 0 || key_bytes > KEY_MAX ||
        (flags & ~(unsigned)(NODE_BIGDATA | NODE_SUBDATA)) != 0 ||
        NODE_HEAD_BYTES + key_bytes + (big ? sizeof(uint64_t) : bytes) > room) {
        walk_damaged(w, page, "an entry in it does not fit");
        return;
    }
    slc_pages_node found = {
        .key = slc_slice_of(node + NODE_HEAD_BYTES, key_bytes),
        .value = slc_slice_of(node + NODE_HEAD_BYTES + key_bytes, bytes),
        .subtree = (flags & NODE_SUBDATA) != 0,
    };
    if ((w->flags & PAGES_FREE_TREE) != 0 && key_bytes != sizeof(uint64_t)) {
        walk_damaged(w, page, "a key in it has an impossible size");
        return;
    }
    key_order(w, page, found.key);
    if (big && !value_big(w, found.value.data, bytes, &found.value))
        return;
    w->entries++;
    if (w->each != NULL)
        w->each(&found, w->each_arg);
}

static bool page_check(walk *w, uint64_t page, const uint8_t *bytes, uint32_t depth_left)
{
    uint32_t size = w->pages->page_bytes;
    unsigned kind = native16(bytes + 10) & PAGE_KIND;
    uint32_t lower = native16(bytes + 12), upper = native16(bytes + 14);
    const char *what = NULL;
    if (native64(bytes) != page)
        what = "it has the number of another page";
    else if (kind != (depth_left > 0 ? PAGE_BRANCH : PAGE_LEAF))
        what = depth_left > 0 ? "it is not a branch of the tree" : "it is not a leaf of the tree";
    else if (lower < PAGE_HEAD_BYTES || lower > upper || upper > size || lower % 2 != 0)
        what = "its bounds are impossible";
    if (what != NULL)
        walk_damaged(w, page, what);
    return what == NULL;
}

static void page_walk(walk *w, uint64_t page, uint32_t depth_left)
{
    if (!pages_claim(w, page, 1))
        return;
    uint32_t size = w->pages->page_bytes;
    uint8_t *bytes = slc_alloc(size);
    if (!pages_read(w, page, bytes, size) || !page_check(w, page, bytes, depth_left))
        goto free_bytes;
    uint32_t count = (native16(bytes + 12) - PAGE_HEAD_BYTES) / 2u;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t offset = native16(bytes + PAGE_HEAD_BYTES + 2 * (size_t)i);
        if (offset < native16(bytes + 14) || offset + NODE_HEAD_BYTES > size) {
            walk_damaged(w, page, "an entry lies outside it");
        } else if (depth_left == 0) {
            leaf_node(w, page, bytes + offset, size - offset);
        } else {
            const uint8_t *node = bytes + offset;
            uint64_t child = native16(node) | (uint64_t)native16(node + 2) << 16 |
                             (uint64_t)native16(node + 4) << 32;
            page_walk(w, child, depth_left - 1);
        }
    }
free_bytes:
    slc_free(bytes);
}

uint64_t slc_pages_walk(slc_pages *pages, const char *name, const slc_pages_tree *tree, bool first,
                        bool keys_only, unsigned flags, slc_pages_each each, void *each_arg)
{
    walk w = {.pages = pages,
              .name = name,
              .first = first,
              .keys_only = keys_only,
              .flags = flags,
              .each = each,
              .each_arg = each_arg};
    if (tree->root == UINT64_MAX) {
        if (tree->entries != 0)
            walk_damaged(&w, tree->root, "a database with entries has no root");
        return 0;
    }
    if (tree->depth == 0 || tree->depth > DEPTH_MAX) {
        walk_damaged(&w, tree->root, "the depth of its tree is impossible");
        return 0;
    }
    page_walk(&w, tree->root, tree->depth - 1u);
    return w.entries;
}

slc_err slc_pages_subtree(const slc_pages_node *node, slc_pages_tree *out)
{
    if (!node->subtree || node->value.bytes != TREE_BYTES || node->value.data == NULL)
        return SLC_ECORRUPT;
    *out = tree_decode(node->value.data);
    return SLC_OK;
}

/* ---- the free list ---- */

typedef struct freeing {
    slc_pages *pages;
    uint64_t count;
} freeing;

static void free_note(freeing *f, uint64_t page)
{
    slc_pages *p = f->pages;
    const char *what = NULL;
    if (page < 2 || page > p->last_page)
        what = "the free list names it, and it lies outside the file";
    else if ((p->seen[page / 8] >> (page % 8) & 1) != 0)
        what = "it is free and in use at once";
    if (what != NULL) {
        if (p->damaged != NULL)
            p->damaged("free list", page, what, p->arg);
        return;
    }
    p->seen[page / 8] |= (uint8_t)(1u << (page % 8));
    f->count++;
}

static void free_each(const slc_pages_node *node, void *arg)
{
    freeing *f = arg;
    size_t room = node->value.bytes / sizeof(uint64_t);
    uint64_t count = room > 0 ? native64(node->value.data) : 0;
    if (room == 0 || count > room - 1) {
        if (f->pages->damaged != NULL)
            f->pages->damaged("free list", f->pages->free_tree.root,
                              "one of its lists is longer than its value", f->pages->arg);
        return;
    }
    for (uint64_t i = 1; i <= count; i++)
        free_note(f, native64(node->value.data + i * sizeof(uint64_t)));
}

uint64_t slc_pages_free(slc_pages *pages)
{
    // The tree's own pages first, so that none of its lists can name one of them unnoticed.
    (void)slc_pages_walk(pages, "free list", &pages->free_tree, true, true, PAGES_FREE_TREE, NULL,
                         NULL);
    freeing f = {.pages = pages};
    (void)slc_pages_walk(pages, "free list", &pages->free_tree, false, false, PAGES_FREE_TREE,
                         free_each, &f);
    return f.count;
}
