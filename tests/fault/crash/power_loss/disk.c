// See disk.h.
#include "disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, SECTOR = 512 };
#define DISK_MAX (128ull << 20)

// The share of one write in one page.
typedef struct piece {
    uint64_t offset;
    uint32_t bytes, event;
    const uint8_t *data;
    bool returned;
    uint8_t flushes; // that took it along and have returned
    bool in_flush;   // the one under way takes it along
} piece;

typedef enum named {
    NAMED_NOT_YET,
    NAMED_PERHAPS, // renamed, but nothing says that the directory was flushed
    NAMED_SURE,
} named;

struct disk {
    const tape *tape;
    uint8_t *image; // what is there for certain
    uint64_t bytes; // length of the file
    uint32_t moment;
    uint8_t flushes_needed;
    bool flushing;
    piece *pieces; // in order of the writes
    uint32_t count, capacity;
    named named;
};

static _Noreturn void disk_fail(const char *text)
{
    fprintf(stderr, "power-loss: building an image: %s\n", text);
    exit(70);
}

uint64_t disk_random(uint64_t *rng, uint64_t below)
{
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    return (*rng >> 11) % below;
}

disk *disk_new(const tape *t, bool late_flush)
{
    disk *d = calloc(1, sizeof *d);
    if (d == NULL)
        disk_fail("no memory");
    d->tape = t;
    d->flushes_needed = late_flush ? 2 : 1;
    d->image = mmap(NULL, DISK_MAX, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (d->image == MAP_FAILED)
        disk_fail("no memory");
    d->named = NAMED_SURE; // made in its place, unless the tape says otherwise
    for (uint32_t i = 0; i < t->count; i++)
        if (t->events[i].kind == TAPE_NAMED)
            d->named = NAMED_NOT_YET;
    return d;
}

void disk_free(disk *d)
{
    munmap(d->image, DISK_MAX);
    free(d->pieces);
    free(d);
}

static void pieces_add(disk *d, uint32_t event)
{
    const tape_event *write = &d->tape->events[event];
    if (write->offset + write->bytes > DISK_MAX)
        disk_fail("the file is too large");
    for (uint64_t done = 0; done < write->bytes;) {
        uint64_t at = write->offset + done;
        uint64_t bytes = PAGE - at % PAGE;
        if (bytes > write->bytes - done)
            bytes = write->bytes - done;
        if (d->count == d->capacity) {
            d->capacity = d->capacity == 0 ? 1024 : 2 * d->capacity;
            d->pieces = realloc(d->pieces, d->capacity * sizeof *d->pieces);
            if (d->pieces == NULL)
                disk_fail("no memory");
        }
        d->pieces[d->count++] = (piece){.offset = at,
                                        .bytes = (uint32_t)bytes,
                                        .event = event,
                                        .data = d->tape->data + write->data + done};
        done += bytes;
    }
}

static void piece_apply(disk *d, const piece *p)
{
    memcpy(d->image + p->offset, p->data, p->bytes);
    if (p->offset + p->bytes > d->bytes)
        d->bytes = p->offset + p->bytes;
}

// A write through takes its whole pages along, with what older writes left in them.
static bool shares_page(const disk *d, const piece *p, uint32_t event)
{
    const tape_event *write = &d->tape->events[event];
    return p->event <= event && p->offset / PAGE >= write->offset / PAGE &&
           p->offset / PAGE <= (write->offset + write->bytes - 1) / PAGE;
}

static void written(disk *d, const tape_event *event)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        piece *p = &d->pieces[i];
        if (p->event == event->begin)
            p->returned = true;
        if (event->through && shares_page(d, p, event->begin))
            piece_apply(d, p);
        else
            d->pieces[kept++] = *p;
    }
    d->count = kept;
}

static void flush_begin(disk *d)
{
    if (d->flushing)
        disk_fail("two flushes at the same time");
    d->flushing = true;
    for (uint32_t i = 0; i < d->count; i++)
        d->pieces[i].in_flush = d->pieces[i].returned;
}

static void flush_end(disk *d)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        piece *p = &d->pieces[i];
        p->flushes = (uint8_t)(p->flushes + p->in_flush);
        p->in_flush = false;
        if (p->flushes >= d->flushes_needed)
            piece_apply(d, p);
        else
            d->pieces[kept++] = *p;
    }
    d->count = kept;
    d->flushing = false;
}

void disk_advance(disk *d, uint32_t moment)
{
    for (; d->moment < moment && d->moment < d->tape->count; d->moment++) {
        const tape_event *event = &d->tape->events[d->moment];
        switch ((tape_kind)event->kind) {
        case TAPE_WRITE:
            pieces_add(d, d->moment);
            break;
        case TAPE_WRITTEN:
            written(d, event);
            break;
        case TAPE_FLUSH:
            flush_begin(d);
            break;
        case TAPE_FLUSHED:
            flush_end(d);
            break;
        case TAPE_NAMED:
            d->named = NAMED_PERHAPS;
            break;
        case TAPE_OPENED:
            d->named = NAMED_SURE;
            break;
        case TAPE_DURABLE:
            break;
        }
    }
}

uint32_t disk_unflushed(const disk *d)
{
    return d->count;
}

/* ---- images ---- */

static void file_put(int fd, const uint8_t *data, uint64_t bytes, uint64_t offset)
{
    while (bytes > 0) {
        ssize_t done = pwrite(fd, data, bytes, (off_t)offset);
        if (done <= 0)
            disk_fail("an image cannot be written; is the disk of the test full?");
        data += done;
        bytes -= (uint64_t)done;
        offset += (uint64_t)done;
    }
}

// How the pieces of one image are chosen.
typedef enum choice {
    CHOOSE_NONE,
    CHOOSE_ALL,
    CHOOSE_EACH,    // each by itself, with a probability of the image
    CHOOSE_SECTORS, // the same, sector by sector
    CHOOSE_WRITES,  // whole writes
    CHOOSE_NEWEST,  // what was written last has got through, older things have not
    CHOOSE_BUT_ONE, // all but one
    CHOOSE_ONE,     // one only
    CHOICES,
} choice;

static choice choice_random(uint64_t *rng)
{
    static const uint8_t weights[CHOICES] = {2, 1, 6, 3, 2, 2, 2, 1};
    uint32_t sum = 0;
    for (uint32_t i = 0; i < CHOICES; i++)
        sum += weights[i];
    uint64_t x = disk_random(rng, sum);
    uint32_t c = 0;
    while (x >= weights[c])
        x -= weights[c++];
    return (choice)c;
}

// The range [from, to) of a page as it stood after piece `upto`: older writes that are in the range lie beneath it.
static void range_put(const disk *d, int fd, uint32_t upto, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i <= upto; i++) {
        const piece *p = &d->pieces[i];
        uint64_t begin = p->offset > from ? p->offset : from;
        uint64_t end = p->offset + p->bytes < to ? p->offset + p->bytes : to;
        if (begin < end)
            file_put(fd, p->data + (begin - p->offset), end - begin, begin);
    }
}

static void sectors_put(const disk *d, int fd, uint32_t i, uint64_t permille, uint64_t *rng)
{
    const piece *p = &d->pieces[i];
    for (uint64_t at = p->offset / SECTOR * SECTOR; at < p->offset + p->bytes; at += SECTOR)
        if (disk_random(rng, 1000) < permille)
            range_put(d, fd, i, at, at + SECTOR);
}

void disk_image(const disk *d, const char *path, uint64_t *rng)
{
    char fresh[4096];
    if (d->named == NAMED_NOT_YET || (d->named == NAMED_PERHAPS && disk_random(rng, 2) == 0)) {
        snprintf(fresh, sizeof fresh, "%s.new", path);
        path = fresh;
    }
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        disk_fail("an image cannot be created");
    file_put(fd, d->image, d->bytes, 0);
    choice how = choice_random(rng);
    uint64_t permille = 100 + disk_random(rng, 850);
    uint32_t special = d->count == 0 ? 0 : (uint32_t)disk_random(rng, d->count);
    uint64_t length = d->bytes;
    bool take_write = false;
    for (uint32_t i = 0; i < d->count; i++) {
        const piece *p = &d->pieces[i];
        if (i == 0 || d->pieces[i - 1].event != p->event)
            take_write = disk_random(rng, 2) == 0;
        if (p->offset + p->bytes > length)
            length = p->offset + p->bytes;
        bool take =
            how == CHOOSE_ALL || (how == CHOOSE_EACH && disk_random(rng, 1000) < permille) ||
            (how == CHOOSE_WRITES && take_write) || (how == CHOOSE_NEWEST && i >= special) ||
            (how == CHOOSE_BUT_ONE && i != special) || (how == CHOOSE_ONE && i == special);
        if (take)
            range_put(d, fd, i, p->offset / PAGE * PAGE, (p->offset / PAGE + 1) * PAGE);
        else if (how == CHOOSE_SECTORS)
            sectors_put(d, fd, i, permille, rng);
    }
    // The length of a file may be ahead of its data; then zeros are read.
    if (disk_random(rng, 3) == 0 && ftruncate(fd, (off_t)length) != 0)
        disk_fail("an image cannot be extended");
    close(fd);
}

bool disk_complete(const tape *t, const char *path)
{
    disk *d = disk_new(t, false);
    disk_advance(d, t->count);
    for (uint32_t i = 0; i < d->count; i++)
        piece_apply(d, &d->pieces[i]);
    bool same = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat file;
    if (fd >= 0 && fstat(fd, &file) == 0 && (uint64_t)file.st_size == d->bytes && d->bytes > 0) {
        void *map = mmap(NULL, d->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED) {
            same = memcmp(map, d->image, d->bytes) == 0;
            munmap(map, d->bytes);
        }
    }
    if (fd >= 0)
        close(fd);
    disk_free(d);
    return same;
}
