/** Reading an LMDB data file without LMDB: for tools that must not write, must not crash on a damaged page, and must say
 *  which one it is. LMDB trusts its pages: a wrong offset in one is a wild pointer there.
 *
 *  The file is LMDB's data format 1 (0.9): two meta pages, the newer one names the root pages of two trees, the free list and the
 *  main database; values of the main database flagged F_SUBDATA are the roots of the named databases. No database of the
 *  store has duplicate keys. Nobody writes meanwhile. Owner: the caller's storage. Thread: one at a time.
 */
#ifndef SLC_STORE_TOOL_PAGES_H
#define SLC_STORE_TOOL_PAGES_H

#include "format.h"

enum {
    PAGES_FREE_TREE = 1
}; // flag of slc_pages_walk: keys are native integers, values lists of page numbers

typedef struct slc_pages_tree {
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries;
    uint64_t root; // UINT64_MAX: empty
} slc_pages_tree;

typedef struct slc_pages {
    int fd;
    uint32_t page_bytes;
    uint64_t file_bytes;
    uint64_t last_page, txnid;
    slc_pages_tree free_tree, main_tree;
    uint8_t *seen;       // a bit per page that a tree uses or the free list names
    uint64_t used, read; // pages that trees use; pages read so far
    /** A page is not what it should be: its part of the tree cannot be read. tree: name of the database. */
    void (*damaged)(const char *tree, uint64_t page, const char *what, void *arg);
    void (*progress)(uint64_t pages_read, void *arg); // each few MiB; may be NULL
    void *arg;
    uint8_t *value; // of a node with overflow pages
    size_t value_room;
} slc_pages;

/** Callbacks are set by the caller before the first walk. meta_what gets a sentence when one of the meta pages is bad (LMDB
 *  refuses such a file; the other one is used here), else "". */
SLC_MUST_USE slc_err slc_pages_open(slc_pages *pages, const char *path, char meta_what[128],
                                    slc_error *error);
void slc_pages_close(slc_pages *pages);

typedef struct slc_pages_node {
    slc_slice key, value; // valid during the callback
    bool subtree;         // value is the root of a named database: slc_pages_subtree
} slc_pages_node;

typedef void (*slc_pages_each)(const slc_pages_node *node, void *each_arg);

/** Call each for every entry in the order in which they stand; keys that are out of order are damage, and are passed on. With each NULL only the structure is looked at. first: mark pages as used, and
 *  say what is wrong (damaged); a second walk of the same tree passes over damaged pages in silence.
 *  keys_only: values of overflow pages are not read (node.value has their size and no data).
 *  Returns the number of entries. */
uint64_t slc_pages_walk(slc_pages *pages, const char *name, const slc_pages_tree *tree, bool first,
                        bool keys_only, unsigned flags, slc_pages_each each, void *each_arg);

SLC_MUST_USE slc_err slc_pages_subtree(const slc_pages_node *node, slc_pages_tree *out);

/** Mark the pages of the free list; the number of them. A page that a tree uses as well is damage. */
uint64_t slc_pages_free(slc_pages *pages);

#endif
